//! The sandbox as a whole: what it is, reset, save and restore, what it has met.

use std::io;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Body, Reply, Request, STATE_LIMIT, Sending, Surfaces, pipe};
use super::input::{Query, body};
use super::{Outcome, Problem, clock, ok};
use crate::gateway::tally::Tally;
use crate::saved::{self, ReadError};
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
struct Reset {}

pub(super) fn reset(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let Reset {} = body(request, r#"{"merchant": "your_username"}"#)?;
    let merchant = surfaces.door.read(|gateway| query.merchant(gateway))?;
    match &merchant {
        Some(username) => surfaces.door.apply(|gateway, now| gateway.reset_merchant(username, now)),
        None => surfaces.door.reset(),
    }
    ok(&json!({ "reset": merchant.as_deref().unwrap_or("everything") }))
}

/// Runs what takes long on a thread of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    // A panic has been reported where it happened.
    done.map_err(|_| Problem::new(500, "internal", "it failed inside the sandbox", "see its log"))
}

pub(super) async fn save(surfaces: &Surfaces) -> Outcome {
    let (door, info) = (Arc::clone(&surfaces.door), surfaces.info.clone());
    let measured = aside(move || {
        let (_, snapshot) = door.save();
        let length = saved::length(&snapshot, &info).unwrap_or(u64::MAX);
        (snapshot, info, length)
    });
    let (snapshot, info, length) = measured.await?;
    // Nothing is saved that could not be restored.
    if length > STATE_LIMIT as u64 {
        let message = format!("the state has {length} bytes, and PUT state takes {STATE_LIMIT} at most");
        return Err(Problem::new(413, "too-large", message, "reset merchants, or keep the state with --state FILE"));
    }
    let (sender, reader) = pipe();
    tokio::task::spawn_blocking(move || {
        let mut writer = sender.writer();
        // An error means that the client is gone. One that is not sees that the end is missing.
        let _ = saved::write(&snapshot, &info, &mut writer).and_then(|()| writer.finish());
    });
    let reply = Reply { sending: Sending::Streamed(reader), ..Reply::json(200, Vec::new()) };
    Ok(reply.with("Cache-Control", "no-store"))
}

pub(super) async fn restore(surfaces: &Surfaces, request: &Request) -> Outcome {
    let from: Box<dyn io::Read + Send> = match &request.body {
        Body::Whole(bytes) => Box::new(io::Cursor::new(bytes.clone())),
        Body::Streamed(upload) => Box::new(upload.take().ok_or_else(too_large)?),
        Body::TooLarge => return Err(too_large()),
    };
    let door = Arc::clone(&surfaces.door);
    let restored = aside(move || {
        let settings = door.read(|gateway| gateway.settings().clone());
        saved::read(&settings, from).map(|(now, gateway)| door.restore(now, gateway))
    });
    restored.await?.map_err(not_restored)?;
    info(surfaces)
}

fn too_large() -> Problem {
    let message = format!("the body is too large: a saved state has {STATE_LIMIT} bytes at most");
    Problem::new(413, "too-large", message, "start the sandbox with --state FILE, which reads a larger one")
}

fn not_restored(error: ReadError) -> Problem {
    match &error {
        ReadError::Io(why) if why.kind() == io::ErrorKind::FileTooLarge => too_large(),
        ReadError::Io(why) if why.kind() == io::ErrorKind::TimedOut => {
            Problem::new(408, "timeout", why.to_string(), "send the state without a pause")
        }
        ReadError::OtherFormat { version, .. } => {
            let hint = format!("restore it with version {version}");
            Problem::new(409, "format", error.to_string(), hint)
        }
        _ => Problem::unusable(error.to_string(), "send what GET /__sandbox/api/state answered"),
    }
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
