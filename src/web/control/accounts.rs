//! Merchants' accounts.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::{Request, Surfaces};
use super::input::{self, Query, body};
use super::work::Listing;
use super::{Outcome, Problem, ok};
use crate::fixtures::read_json;
use crate::gateway::merchant::{Account, Merchant};
use crate::gateway::values::excerpt;

pub(super) async fn list(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["after", "limit", "merchant"])?;
    let (after, limit) = (query.get("after").unwrap_or_default(), query.limit_or(1000)?);
    // One more than the page has tells that there are more.
    let accounts: Vec<Arc<Account>> = surfaces.door.read(|gateway| {
        let all = &gateway.rules().accounts;
        match query.merchant(gateway)? {
            Some(username) => Ok(all.get(&username).cloned().into_iter().collect()),
            None => Ok::<_, Problem>(all.after(after).take(limit + 1).cloned().collect()),
        }
    })?;
    let mut turn = surfaces.work.begin();
    let mut listing = Listing::default();
    for account in accounts.iter().take(limit) {
        if !listing.add(json!(account.merchant)) {
            break;
        }
        turn.give_way().await;
    }
    let listed = listing.values.len();
    let last = accounts.get(listed.wrapping_sub(1)).filter(|_| listed < accounts.len());
    ok(&json!({ "merchants": listing.values, "next_after": last.map(|account| &account.merchant.username) }))
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
