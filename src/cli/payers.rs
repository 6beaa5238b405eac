//! The lines of `exec` about payments that wait for their payer: a link to the checkout page on this machine.

use std::sync::Arc;
use std::time::Duration;

use crate::door::Door;
use crate::gateway::Gateway;
use crate::gateway::journal::Event;
use crate::log::say;

/// The rest between two looks, so that following the journal costs payments nothing.
const PAUSE: Duration = Duration::from_millis(50);
/// How many payments get a line.
const LINES: usize = 20;

/// Tells each payment that begins to wait for its payer, until it is dropped.
pub(super) async fn tell(door: Arc<Door>, base: String) {
    let mut journal = door.watch();
    let (mut cursor, mut left) = (0, LINES);
    while left > 0 {
        journal.changed().await;
        let lines = door.read(|gateway| new_lines(gateway, &base, &mut cursor, left));
        left -= lines.len();
        lines.iter().for_each(|line| say(line));
        tokio::time::sleep(PAUSE).await;
    }
    say(&format!("further payments that wait for their payer are on the dashboard: {base}/__sandbox/?status=pending"));
}

/// The lines of the entries after `cursor`, which moves on.
fn new_lines(gateway: &Gateway, base: &str, cursor: &mut u64, most: usize) -> Vec<String> {
    let journal = gateway.journal();
    // Another state was restored, whose entries have other numbers.
    let after = std::mem::replace(cursor, journal.last()).min(journal.last());
    let waiting = journal.after(after).filter_map(|entry| match &entry.event {
        Event::Awaits { tid, .. } => gateway.ledger().find(tid),
        _ => None,
    });
    let line = |refid: &str, checkout: &str| format!("{refid} waits for its payer: {base}/checkout/{checkout}");
    waiting.take(most).map(|found| line(&found.order.refid, &found.checkout)).collect()
}
