//! Tells open dashboards that something has changed, a few times a second at most: fifty of them must cost a payment
//! nothing, so they look by themselves instead of being woken by each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::control::Outcome;
use super::super::{Reply, Sending, Surfaces};
use crate::door::Door;

/// How often a look is taken.
const LOOK: Duration = Duration::from_millis(250);
/// After so many looks without news something is said all the same: a connection that is dead shows.
const QUIET: u32 = 60;

/// A stream of events, one for each change that was seen.
pub(super) fn stream(surfaces: &Surfaces) -> Outcome {
    let place = surfaces.work.stream()?;
    let (sender, receiver) = mpsc::channel(1);
    let (door, mut stop) = (Arc::clone(&surfaces.door), surfaces.stop.clone());
    tokio::spawn(async move {
        let _place = place;
        let (mut seen, mut quiet) = (String::new(), 0);
        loop {
            let shown = signature(&door);
            quiet = if shown == seen { quiet + 1 } else { 0 };
            let event = match quiet {
                0 => format!("data: {shown}\n\n"),
                QUIET => ": still here\n\n".to_owned(),
                _ => String::new(),
            };
            quiet %= QUIET;
            seen = shown;
            if !event.is_empty() && sender.send(Bytes::from(event)).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = sender.closed() => return,
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    });
    let reply = Reply::text(200, "retry: 1000\n\n");
    Ok(Reply { content_type: "text/event-stream".into(), sending: Sending::Live(receiver), ..reply }
        .with("Cache-Control", "no-store"))
}

/// What is different when a page would be: the journal, the clock's hand, the queue, what lies ahead.
fn signature(door: &Door) -> String {
    let clock = door.clock();
    let stands = if clock.is_paused() { clock.now().to_string() } else { String::new() };
    door.read(|gateway| {
        let queued: u64 = gateway.chooser().queued().map(|next| u64::from(next.times)).sum();
        let (scenarios, merchants) = (gateway.repertoire().added().count(), gateway.rules().accounts.iter().len());
        format!("{} {stands} {queued} {} {scenarios} {merchants}", gateway.journal().last(), gateway.scheduled())
    })
}
