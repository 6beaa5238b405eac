//! The journal, in pages and live.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::{Reply, Request, Sending, Surfaces};
use super::input::Query;
use super::{Outcome, Problem, ok};
use crate::gateway::Gateway;
use crate::gateway::journal::Entry;
use crate::view;

pub(super) fn journal(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["after", "limit", "merchant", "tid"])?;
    let (after, limit) = (query.number("after")?.unwrap_or(0), query.limit()?);
    surfaces.door.read(|gateway| {
        let merchant = query.merchant(gateway)?;
        let wanted = |entry: &&Entry| {
            concerns(entry, merchant.as_deref()) && query.get("tid").is_none_or(|tid| entry.event.tid() == tid)
        };
        let entries: Vec<&Entry> = gateway.journal().after(after).filter(wanted).take(limit).collect();
        let last = entries.last().map_or(after, |entry| entry.number);
        ok(&json!({
            "entries": entries.into_iter().map(view::whole).collect::<Vec<_>>(),
            "after": last,
            "last": gateway.journal().last(),
            "evicted": gateway.journal().evicted().saturating_sub(after),
        }))
    })
}

/// A merchant sees its own, and what concerns everybody.
fn concerns(entry: &Entry, merchant: Option<&str>) -> bool {
    merchant.is_none() || entry.event.merchant().is_none_or(|whose| Some(whose) == merchant)
}

/// Keeps a silent connection from looking dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many entries are read at once.
const BATCH: usize = 200;

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
    let (sender, receiver) = mpsc::channel(16);
    let follower = Follower { merchant, cursor };
    tokio::spawn(follower.follow(Arc::clone(&surfaces.door), surfaces.stop.clone(), sender));
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
    async fn follow(
        mut self,
        door: Arc<crate::door::Door>,
        mut stop: tokio::sync::watch::Receiver<bool>,
        sender: mpsc::Sender<Bytes>,
    ) {
        let mut changes = door.watch();
        loop {
            loop {
                let (text, more) = door.read(|gateway| self.next(gateway));
                if !text.is_empty() && sender.send(text.into()).await.is_err() {
                    return;
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

    /// The next entries as events, and whether there may be more.
    fn next(&mut self, gateway: &Gateway) -> (String, bool) {
        let journal = gateway.journal();
        // Another world was restored, whose entries have other numbers.
        if journal.last() < self.cursor {
            self.cursor = 0;
        }
        let mut text = String::new();
        let evicted = journal.evicted().saturating_sub(self.cursor);
        if evicted > 0 {
            text += &event("evicted", journal.evicted(), &json!({ "count": evicted }));
            self.cursor = journal.evicted();
        }
        let mut read = 0;
        for entry in journal.after(self.cursor).take(BATCH) {
            (self.cursor, read) = (entry.number, read + 1);
            if concerns(entry, self.merchant.as_deref()) {
                let value = view::entry(entry);
                text += &event(value["event"].as_str().unwrap_or("entry"), entry.number, &value);
            }
        }
        (text, read == BATCH)
    }
}

fn event(name: &str, id: u64, data: &Value) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}
