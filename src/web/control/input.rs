//! What callers send: parameters after the `?`, and JSON bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::super::{Body, Request};
use super::Problem;
use crate::fixtures::read_json;
use crate::gateway::Gateway;
use crate::gateway::values::excerpt;

/// The parameters of a call, each one of those that it knows.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    pub(super) fn parse(request: &Request, known: &[&str]) -> Result<Query, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(request.query().as_bytes()) {
            if !known.contains(&&*name) {
                let hint =
                    if known.is_empty() { "it takes none".into() } else { format!("it takes {}", known.join(", ")) };
                return Err(Problem::unusable(format!("there is no parameter '{}'", excerpt(&name)), hint));
            }
            if !value.is_empty() {
                parameters.insert(name.into_owned(), value.into_owned());
            }
        }
        Ok(Query(parameters))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = |_| Problem::unusable(format!("{name}: '{}' is not a number", excerpt(text)), "write digits only");
        text.parse().map(Some).map_err(wrong)
    }

    /// How many are wanted, at most 1000.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        self.limit_or(100)
    }

    /// The same, with a default.
    pub(super) fn limit_or(&self, default: u64) -> Result<usize, Problem> {
        let limit = self.number("limit")?.unwrap_or(default);
        Ok(usize::try_from(limit.clamp(1, 1000)).unwrap_or(1000))
    }

    /// The merchant that is named, who must be one.
    pub(super) fn merchant(&self, gateway: &Gateway) -> Result<Option<Arc<str>>, Problem> {
        self.get("merchant").map(|username| merchant(gateway, username)).transpose()
    }
}

/// The merchant with this user.
pub(super) fn merchant(gateway: &Gateway, username: &str) -> Result<Arc<str>, Problem> {
    let account = gateway.rules().accounts.get(username);
    account.map(|account| Arc::clone(&account.merchant.username)).ok_or_else(|| {
        let message = format!("there is no merchant '{}'", excerpt(username));
        Problem::not_found(
            message,
            "GET /__sandbox/api/merchants lists them, and PUT makes one. With --open, every name is one",
        )
    })
}

/// The body as JSON; nothing at all is read as an empty object.
pub(super) fn body<T: DeserializeOwned>(request: &Request, example: &str) -> Result<T, Problem> {
    let bytes = match &request.body {
        Body::Whole(bytes) => bytes,
        Body::TooLarge | Body::Streamed(_) => {
            return Err(Problem::new(413, "too-large", "the body is too large", "send less at once"));
        }
    };
    let text = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes[..] };
    read_json(text).map_err(|why| Problem::unusable(format!("the body: {why}"), format!("such as {example}")))
}

pub(super) fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
