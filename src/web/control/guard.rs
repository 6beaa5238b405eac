//! Who may call the control API: nobody's web page, and from beyond this machine only who has the token.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use subtle::ConstantTimeEq;

use super::super::Surfaces;
use super::Problem;
use super::input::percent_decoded;
use crate::courier::SENDER_HEADER;

/// The cookie in which a browser brings the token. Only our own pages can make it do so: it is sent with nobody else's.
pub(in crate::web) const TOKEN_COOKIE: &str = "kpay-sandbox-token";

fn is_token(given: &str, token: &str) -> bool {
    given.as_bytes().ct_eq(token.as_bytes()).into()
}

/// Who may call.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// The names under which the sandbox is served.
    pub names: Vec<String>,
    /// The origin of `--public-url`.
    pub public: Option<String>,
    /// What calls must carry.
    pub token: Option<String>,
    /// Whether others than this machine can reach the port.
    pub beyond_loopback: bool,
    /// Whether they may call without a token.
    pub open: bool,
}

/// Why these headers are refused; `None` when they are not.
pub(in crate::web) fn complaint(surfaces: &Surfaces, headers: &HeaderMap) -> Option<Problem> {
    surfaces.guard.check(headers).err()
}

/// Returns true if a browser sent this request for a page, and not because of an address that somebody typed in.
pub(in crate::web) fn is_browsers(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "none")
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Guard {
    /// A cookie for who knows the token; `None` for others, and where there is no token.
    pub(in crate::web) fn cookie(&self, given: &str) -> Option<String> {
        let token = self.token.as_ref().filter(|token| is_token(given, token))?;
        let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
        Some(format!("{TOKEN_COOKIE}={token}; Path=/__sandbox; HttpOnly; SameSite=Strict"))
    }

    /// Returns true if other machines can reach the port, and nothing says who of them may call.
    pub fn is_closed(&self) -> bool {
        self.beyond_loopback && self.token.is_none() && !self.open
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(HOST).unwrap_or_default();
        // A page whose own name leads here (DNS rebinding) says that name.
        if !self.is_served(host) {
            let message = format!("the Host '{}' is none that this sandbox serves", shown(host));
            return Err(Problem::new(403, "host", message, "use localhost, or start with --host NAME"));
        }
        if let Some(message) = self.foreign_sender(headers) {
            return Err(Problem::new(403, "origin", message, "call the API from a test or a terminal"));
        }
        let Some(token) = &self.token else {
            if self.is_closed() {
                let message = "this sandbox can be reached from other machines, so its control API is closed";
                let hint = "start it with --control-token TOKEN, or with --control-open to let anybody use it";
                return Err(Problem::new(403, "closed", message, hint));
            }
            return Ok(());
        };
        let bearer = text(AUTHORIZATION).and_then(|value| value.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, given)| given.trim());
        let cookies = text(COOKIE).unwrap_or_default().split(';');
        let cookie = cookies.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == TOKEN_COOKIE);
        let given = bearer.map(str::to_owned).or(cookie.map(|(_, given)| percent_decoded(given)));
        if given.as_deref().is_some_and(|given| is_token(given, token)) {
            return Ok(());
        }
        let message =
            if given.is_some() { "the bearer token is not the right one" } else { "a bearer token is required" };
        let hint = "send Authorization: Bearer TOKEN with the sandbox's --control-token";
        Err(Problem::new(401, "token", message, hint))
    }

    /// Returns why a request may do nothing here: a web page that is not ours sent it, or a sandbox as a postback.
    pub(in crate::web) fn foreign_sender(&self, headers: &HeaderMap) -> Option<String> {
        if headers.contains_key(SENDER_HEADER) {
            return Some("this request is a postback of a sandbox: give your own listener as returl".to_owned());
        }
        let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or("?"));
        let host = text(HOST).unwrap_or_default();
        // A page can have a name of its own that leads here (DNS rebinding). It says that name as Host and as Origin.
        if is_browsers(headers) && !self.is_served(host) {
            return Some(format!(
                "a page of {} may not use the sandbox: start it with --host NAME if that is its name",
                shown(host)
            ));
        }
        let same = |origin: &str| {
            ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host))
                || self.public.as_deref() == Some(origin)
        };
        if let Some(origin) = text(ORIGIN).filter(|origin| !same(origin)) {
            return Some(format!("a page of {} may not drive the sandbox", shown(origin)));
        }
        let site = headers.get(SEC_FETCH_SITE).and_then(|site| site.to_str().ok());
        let foreign = site.filter(|site| !matches!(*site, "same-origin" | "none"));
        foreign.map(|_| "a page of another site may not use the sandbox".to_owned())
    }

    /// An address cannot be rebound, so any will do; a name must be one of ours.
    pub(in crate::web) fn is_served(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name.parse::<IpAddr>().is_ok() || name.ends_with(".localhost") || self.names.contains(&name)
    }
}

fn shown(text: &str) -> String {
    crate::gateway::values::excerpt(text).escape_debug().to_string()
}
