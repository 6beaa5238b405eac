//! Long work in short turns. A call whose work grows with the journal or the ledger looks at a bounded part under one
//! lock, and gives way to all other requests every millisecond.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};

use super::Problem;
use super::hub::Hub;
use crate::door::Door;

/// How long one call works before it gives way.
const SLICE: Duration = Duration::from_millis(1);
/// The most live streams of events.
const STREAMS: usize = 256;
/// The most matches that all waits together may wait for.
const WAITS: usize = 10_000;
/// The most bytes of values in one response.
const LISTING: usize = 4 * 1024 * 1024;

/// The work of the control API and the dashboard that takes long, and its limits.
#[derive(Debug)]
pub struct Work {
    /// Only one call works for long at a time, whatever the number of threads. The queue is fair.
    turns: Semaphore,
    streams: Arc<Semaphore>,
    waits: Arc<Semaphore>,
    pub(super) hub: Arc<Hub>,
}

impl Work {
    /// No work yet on the state behind this door.
    pub fn new(door: Arc<Door>, stop: watch::Receiver<bool>) -> Work {
        let (streams, waits) = (Arc::new(Semaphore::new(STREAMS)), Arc::new(Semaphore::new(WAITS)));
        Work { turns: Semaphore::new(1), streams, waits, hub: Arc::new(Hub::new(door, stop)) }
    }

    /// Begins the work of one call.
    pub(in crate::web) fn begin(&self) -> Turn<'_> {
        Turn { turns: &self.turns, turn: None, since: Instant::now() }
    }

    /// Takes the place of one live stream.
    pub(in crate::web) fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let taken = Arc::clone(&self.streams).try_acquire_owned();
        taken.map_err(|_| Problem::busy(format!("{STREAMS} live streams are open"), "Close one, and try again."))
    }

    /// The number of live streams, at least 1.
    pub(super) fn live_streams(&self) -> u32 {
        u32::try_from(STREAMS - self.streams.available_permits()).unwrap_or(u32::MAX).max(1)
    }

    /// Takes the place of a wait for so many matches.
    pub(super) fn place_to_wait(&self, count: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let taken = Arc::clone(&self.waits).try_acquire_many_owned(u32::try_from(count).unwrap_or(u32::MAX));
        taken.map_err(|_| {
            let message = format!("the waits of this sandbox already wait for {WAITS} matches together");
            Problem::busy(message, "End some waits, and try again.")
        })
    }
}

/// The work of one call.
#[derive(Debug)]
pub(in crate::web) struct Turn<'a> {
    turns: &'a Semaphore,
    turn: Option<SemaphorePermit<'a>>,
    since: Instant,
}

impl Turn<'_> {
    /// Lets the others work while this call waits.
    pub(super) fn rest(&mut self) {
        self.turn = None;
    }

    /// Gives way to all other requests after a millisecond of work. Short work never waits for long work.
    pub(in crate::web) async fn give_way(&mut self) {
        if self.since.elapsed() < SLICE {
            return;
        }
        self.turn = None;
        tokio::task::yield_now().await;
        // The semaphore is never closed: without a permit the work goes on all the same.
        self.turn = self.turns.acquire().await.ok();
        self.since = Instant::now();
    }
}

/// The values of a response, up to 4 MiB of them and at least one.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) values: Vec<Value>,
    bytes: usize,
}

impl Listing {
    /// Adds a value. Returns false, and adds nothing, if the response has no room for it.
    pub(super) fn add(&mut self, value: Value) -> bool {
        let bytes = self.bytes + size(&value);
        if bytes > LISTING && !self.values.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.values.push(value);
        true
    }
}

/// The size of a value as text, roughly.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 8,
        Value::Array(values) => values.iter().map(size).sum::<usize>() + 8,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value) + 16).sum::<usize>() + 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_ends_at_its_limit_and_has_at_least_one_value() {
        let mut listing = Listing::default();
        assert!(listing.add("x".repeat(2 * LISTING).into()), "the first one always");
        assert!(!listing.add(1.into()));
        let mut listing = Listing::default();
        let mut added = 0;
        while listing.add(serde_json::json!({ "body": "x".repeat(100_000) })) {
            added += 1;
        }
        assert_eq!((added, listing.values.len()), (41, 41));
    }
}
