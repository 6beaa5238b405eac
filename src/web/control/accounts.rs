//! Merchants' accounts.

use serde_json::json;

use super::super::{Request, Surfaces};
use super::input::{self, body};
use super::{Outcome, Problem, ok};
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
    let mut merchant: Merchant = body(request, example)?;
    if !merchant.username.is_empty() && *merchant.username != *username {
        let message = format!("username: '{}' is not the one of the address", excerpt(&merchant.username));
        return Err(Problem::unusable(message, "make them the same, or leave it out of the body"));
    }
    merchant.username = username.into();
    surfaces.door.apply(|gateway, _| {
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
