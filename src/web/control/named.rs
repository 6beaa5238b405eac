//! The merchant that a call names. It may stand in the query or in the body of every call.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Uri;
use serde_json::value::RawValue;

use super::super::{Body, Request, Surfaces};
use super::Problem;
use crate::gateway::values::excerpt;

/// Returns the call with its merchant in the query, if the body has it.
pub(super) fn in_query(request: &Request) -> Result<Option<Request>, Problem> {
    let Body::Whole(bytes) = &request.body else { return Ok(None) };
    let names_one = std::str::from_utf8(bytes).is_ok_and(|text| text.contains("\"merchant\""));
    let fields = names_one.then(|| serde_json::from_slice::<BTreeMap<&str, &RawValue>>(bytes).ok()).flatten();
    let Some(mut fields) = fields else { return Ok(None) };
    let Some(merchant) = fields.remove("merchant") else { return Ok(None) };
    let merchant: Option<String> = serde_json::from_str(merchant.get())
        .map_err(|_| Problem::unusable("merchant: it is not a text", r#"such as "merchant": "your_username""#))?;
    let mut query = request.query().to_owned();
    if let Some(merchant) = merchant {
        if let Some(other) = of_query(request).filter(|other| *other != merchant) {
            let message =
                format!("merchant: the query has '{}' and the body '{}'", excerpt(&other), excerpt(&merchant));
            return Err(Problem::unusable(message, "write it once"));
        }
        query = form_urlencoded::Serializer::new(query).append_pair("merchant", &merchant).finish();
    }
    let rest = serde_json::to_vec(&fields).map_err(|error| Problem::unusable(error.to_string(), "send JSON"))?;
    let uri: Uri = format!("{}?{query}", request.path())
        .parse()
        .map_err(|_| Problem::unusable("merchant: it is too long", "write a username of 1 to 128 characters"))?;
    Ok(Some(Request {
        method: request.method.clone(),
        uri,
        headers: request.headers.clone(),
        body: Body::Whole(Bytes::from(rest)),
        ..*request
    }))
}

fn of_query(request: &Request) -> Option<String> {
    let mut pairs = form_urlencoded::parse(request.query().as_bytes());
    pairs.find(|(name, value)| name == "merchant" && !value.is_empty()).map(|(_, value)| value.into_owned())
}

/// Under `--open`, makes an account for the merchant that a call names, before its first payment.
pub(super) fn welcome(surfaces: &Surfaces, request: &Request, path: &[&str]) -> Result<(), Problem> {
    let in_path = match (request.method.as_str(), path) {
        ("GET", ["merchants", username]) => Some((*username).to_owned()),
        _ => None,
    };
    let Some(username) = in_path.or_else(|| of_query(request)) else { return Ok(()) };
    let is_new = surfaces
        .door
        .read(|gateway| gateway.settings().open.is_some() && gateway.rules().accounts.get(&username).is_none());
    if !is_new {
        return Ok(());
    }
    let welcomed = surfaces.door.apply(|gateway, _| gateway.welcome(&username));
    welcomed.map_err(|why| Problem::unusable(format!("merchant: {why}"), "name another one"))
}
