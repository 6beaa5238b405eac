//! The journal, in pages and live.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::super::{Reply, Request, Sending, Surfaces};
use super::input::Query;
use super::work::{Listing, Work};
use super::{Outcome, Problem, ok};
use crate::door::Door;
use crate::gateway::journal::Entry;
use crate::view;

pub(super) async fn journal(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["after", "limit", "merchant", "tid"])?;
    let (after, limit) = (query.number("after")?.unwrap_or(0), query.limit()?);
    let merchant = surfaces.door.read(|gateway| query.merchant(gateway))?;
    let wanted = |entry: &Entry| {
        concerns(entry, merchant.as_deref()) && query.get("tid").is_none_or(|tid| entry.event.tid() == tid)
    };
    let mut turn = surfaces.work.begin();
    let (mut listing, mut cursor, mut last) = (Listing::default(), after, after);
    'pages: loop {
        let room = limit - listing.values.len();
        let (page, end) = surfaces.door.read(|gateway| {
            let (mut page, mut end) = (Vec::new(), None);
            for entry in gateway.journal().after(cursor).take(LOOKED_AT) {
                end = Some(entry.number);
                if wanted(entry) {
                    page.push(entry.clone());
                }
                if page.len() == room.min(BATCH) {
                    break;
                }
            }
            (page, end)
        });
        for entry in page {
            if !listing.add(view::whole(&entry)) {
                break 'pages;
            }
            last = entry.number;
            turn.give_way().await;
        }
        turn.give_way().await;
        let Some(end) = end.filter(|_| listing.values.len() < limit) else { break };
        cursor = end;
    }
    let (newest, evicted) = surfaces.door.read(|gateway| (gateway.journal().last(), gateway.journal().evicted()));
    ok(&json!({
        "entries": listing.values,
        "after": last,
        "last": newest,
        "evicted": evicted.saturating_sub(after),
    }))
}

/// How many entries are looked at under one lock.
const LOOKED_AT: usize = 1000;

/// A merchant sees its own, and what concerns everybody.
fn concerns(entry: &Entry, merchant: Option<&str>) -> bool {
    merchant.is_none() || entry.event.merchant().is_none_or(|whose| Some(whose) == merchant)
}

/// Keeps a silent connection from looking dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many entries are copied under one lock.
const BATCH: usize = 200;
/// The size after which an event stream sends what it has, in bytes.
const PIECE: usize = 64 * 1024;
/// The shortest rest of a stream between two looks.
const REST: Duration = Duration::from_millis(10);

pub(super) fn live(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["after", "merchant"])?;
    let resumed = request.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let resumed = resumed.map(|id| {
        id.parse().map_err(|_| {
            Problem::unusable("Last-Event-ID is not a number", "send the id of the last event that you had")
        })
    });
    let (cursor, merchant) = surfaces.door.read(|gateway| {
        let merchant = query.merchant(gateway)?;
        let after = resumed.transpose()?.or(query.number("after")?);
        Ok::<_, Problem>((after.unwrap_or(gateway.journal().last()), merchant))
    })?;
    let place = surfaces.work.stream()?;
    let (sender, receiver) = mpsc::channel(2);
    let follower = Follower { merchant, cursor };
    let (door, work, stop) = (Arc::clone(&surfaces.door), Arc::clone(&surfaces.work), surfaces.stop.clone());
    tokio::spawn(async move {
        follower.follow(&door, &work, stop, sender).await;
        drop(place);
    });
    let reply = Reply::text(200, ": the journal, live\n\n");
    Ok(Reply { content_type: "text/event-stream".into(), sending: Sending::Live(receiver), ..reply }
        .with("Cache-Control", "no-store"))
}

/// A reader of the journal: a slow one falls behind and catches up, it loses nothing that is still there.
struct Follower {
    merchant: Option<Arc<str>>,
    cursor: u64,
}

impl Follower {
    async fn follow(mut self, door: &Door, work: &Work, mut stop: watch::Receiver<bool>, sender: mpsc::Sender<Bytes>) {
        let mut changes = door.watch();
        loop {
            loop {
                let began = Instant::now();
                let (text, more) = self.next(door);
                // All streams together take a fifth of one processor at most, however many there are.
                let rest = (began.elapsed() * 4 * work.live_streams()).max(REST);
                if !text.is_empty() && sender.send(text.into()).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = sender.closed() => return,
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                if !more {
                    break;
                }
            }
            let silent = tokio::select! {
                () = changes.changed() => false,
                () = tokio::time::sleep(HEARTBEAT) => true,
                () = sender.closed() => return,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            if silent && sender.send(Bytes::from_static(b": still here\n\n")).await.is_err() {
                return;
            }
        }
    }

    /// Returns the next entries as events, and true if there may be more.
    fn next(&mut self, door: &Door) -> (String, bool) {
        let (evicted, last, entries): (u64, u64, Vec<Entry>) = door.read(|gateway| {
            let journal = gateway.journal();
            // Another world was restored, whose entries have other numbers.
            if journal.last() < self.cursor {
                self.cursor = 0;
            }
            (journal.evicted(), journal.last(), journal.after(self.cursor).take(BATCH).cloned().collect())
        });
        let mut text = String::new();
        if evicted > self.cursor {
            text += &event("evicted", evicted, &json!({ "count": evicted - self.cursor }));
            self.cursor = evicted;
        }
        for entry in entries {
            self.cursor = entry.number;
            if concerns(&entry, self.merchant.as_deref()) {
                let value = view::entry(&entry);
                text += &event(value["event"].as_str().unwrap_or("entry"), entry.number, &value);
            }
            if text.len() > PIECE {
                break;
            }
        }
        (text, self.cursor < last)
    }
}

fn event(name: &str, id: u64, data: &Value) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}
