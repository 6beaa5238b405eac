//! Merchants' accounts.

use serde_json::{Map, Value, json};

use super::super::{Request, Surfaces};
use super::input::{self, body};
use super::{Outcome, Problem, ok};
use crate::fixtures::read_json;
use crate::gateway::merchant::Merchant;
use crate::gateway::values::excerpt;

pub(super) fn list(surfaces: &Surfaces) -> Outcome {
    surfaces.door.read(|gateway| {
        let merchants: Vec<&Merchant> = gateway.rules().accounts.iter().map(|account| &account.merchant).collect();
        ok(&json!({ "merchants": merchants }))
    })
}

pub(super) fn one(surfaces: &Surfaces, username: &str) -> Outcome {
    surfaces.door.read(|gateway| {
        input::merchant(gateway, username)?;
        ok(&json!(gateway.rules().accounts.get(username).map(|account| &account.merchant)))
    })
}

pub(super) fn put(surfaces: &Surfaces, request: &Request, username: &str) -> Outcome {
    let example = r#"{"password": "secret", "whitelist": ["127.0.0.1"], "retailers": {"02": "enabled"}}"#;
    let changes: Map<String, Value> = body(request, example)?;
    if let Some(other) = changes.get("username").filter(|other| *other != username) {
        let message = format!("username: {} is not the one of the address", excerpt(&other.to_string()));
        return Err(Problem::unusable(message, "make them the same, or leave it out of the body"));
    }
    surfaces.door.apply(|gateway, _| {
        // What is left out stays as it is.
        let mut account = match gateway.rules().accounts.get(username) {
            Some(account) => json!(account.merchant),
            None if changes.contains_key("password") || changes.contains_key("any_password") => json!({}),
            None => {
                let message = format!("password: '{}' is a new merchant and needs one", excerpt(username));
                return Err(Problem::unusable(message, format!("such as {example}, or \"any_password\": true")));
            }
        };
        account["username"] = username.into();
        for (name, value) in changes {
            account[name] = value;
        }
        let read = read_json(account.to_string().as_bytes());
        let merchant: Merchant = read.map_err(|why| Problem::unusable(why, format!("such as {example}")))?;
        gateway.put_merchant(merchant).map_err(|why| Problem::unusable(why, format!("such as {example}")))?;
        ok(&json!(gateway.rules().accounts.get(username).map(|account| &account.merchant)))
    })
}

pub(super) fn remove(surfaces: &Surfaces, username: &str) -> Outcome {
    surfaces.door.apply(|gateway, now| {
        input::merchant(gateway, username)?;
        gateway.remove_merchant(username, now);
        ok(&json!({ "removed": username }))
    })
}
