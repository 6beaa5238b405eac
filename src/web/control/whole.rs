//! The sandbox as a whole: what it is, reset, save and restore, what it has met.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Request, Surfaces};
use super::input::{self, Query, body};
use super::{Outcome, Problem, clock, ok};
use crate::gateway::Timestamp;
use crate::gateway::state::State;
use crate::gateway::tally::Tally;
use crate::view;

pub(super) fn info(surfaces: &Surfaces) -> Outcome {
    let mut object = surfaces.info.clone();
    object["clock"] = clock::state(surfaces);
    let (transactions, merchants, last) = surfaces
        .door
        .read(|gateway| (gateway.ledger().len(), gateway.rules().accounts.iter().len(), gateway.journal().last()));
    object["transactions"] = transactions.into();
    object["merchants"] = merchants.into();
    object["journal_last"] = last.into();
    ok(&object)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    merchant: Option<String>,
}

pub(super) fn reset(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let Reset { merchant } = body(request, r#"{"merchant": "your_username"}"#)?;
    let merchant = surfaces.door.read(|gateway| match &merchant {
        Some(username) => input::merchant(gateway, username).map(Some),
        None => query.merchant(gateway),
    })?;
    match &merchant {
        Some(username) => surfaces.door.apply(|gateway, now| gateway.reset_merchant(username, now)),
        None => surfaces.door.reset(),
    }
    ok(&json!({ "reset": merchant.as_deref().unwrap_or("everything") }))
}

/// What `GET state` answers and `PUT state` takes.
#[derive(serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    /// The program's version: another one may mean other things by the same words.
    version: String,
    /// The clock's time, in microseconds since 1970.
    now: Timestamp,
    /// What `GET info` told: for whoever reads the report.
    info: Value,
    gateway: State,
}

pub(super) fn save(surfaces: &Surfaces) -> Outcome {
    let (now, gateway) = surfaces.door.save();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    ok(&json!(Saved { version, now, info: surfaces.info.clone(), gateway }))
}

pub(super) fn restore(surfaces: &Surfaces, request: &Request) -> Outcome {
    let hint = "send what GET /__sandbox/api/state answered";
    let saved: Saved = body(request, "what GET /__sandbox/api/state answered")?;
    if saved.version != env!("CARGO_PKG_VERSION") {
        let message = format!("it was saved by version {}, this is {}", saved.version, env!("CARGO_PKG_VERSION"));
        return Err(Problem::new(409, "version", message, "restore it with the version that saved it"));
    }
    surfaces.door.restore(saved.now, saved.gateway).map_err(|why| Problem::unusable(why, hint))?;
    info(surfaces)
}

pub(super) async fn coverage(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let merchant = surfaces.door.read(|gateway| query.merchant(gateway))?;
    ok(&counted(surfaces, merchant.as_deref()).await)
}

/// How many merchants' counts are added up under one lock.
const MERCHANTS: usize = 100;

/// What was covered, of one merchant or of all.
pub(in crate::web) async fn counted(surfaces: &Surfaces, merchant: Option<&str>) -> Value {
    let mut turn = surfaces.work.begin();
    let (mut tally, mut last) = (Tally::default(), None);
    match merchant {
        Some(_) => tally = surfaces.door.read(|gateway| gateway.journal().tallies().of(merchant)),
        None => loop {
            let next = surfaces
                .door
                .read(|gateway| gateway.journal().tallies().add_after(last.as_deref(), MERCHANTS, &mut tally));
            turn.give_way().await;
            if next.is_none() {
                break;
            }
            last = next;
        },
    }
    surfaces.door.read(|gateway| view::coverage(gateway, merchant, &tally))
}
