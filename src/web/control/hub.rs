//! All waits of the sandbox. One task follows the journal for all of them: it shows an entry to those waits only that
//! it may concern, and rests nine times as long as it worked, so that waiting costs the payments next to nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::search::{Key, Subject, View};
use super::waiting::{Page, Seen, Wait, locked, number_key};
use super::work::Turn;
use crate::door::Door;
use crate::gateway::journal::{Entry, Event};
use crate::gateway::transaction::Transaction;

/// How many entries are taken from the journal under one lock.
const ROUND: usize = 200;
/// How long a round may last, unless one entry alone takes longer.
const ROUND_TIME: Duration = Duration::from_micros(500);
/// The shortest rest between two rounds, and what each wait adds to it once all entries were shown.
const REST: Duration = Duration::from_millis(1);
const REST_PER_WAIT: Duration = Duration::from_micros(4);

/// The waits, and the task that follows the journal for them while there are any.
#[derive(Debug)]
pub(super) struct Hub {
    door: Arc<Door>,
    stop: watch::Receiver<bool>,
    waits: Mutex<Waits>,
}

/// The waits by what they name, each with the number of the last entry that it has looked at itself.
#[derive(Debug, Default)]
struct Waits {
    named: HashMap<Key, BTreeMap<u64, (u64, Arc<Wait>)>>,
    /// Those that name nothing.
    others: BTreeMap<u64, (u64, Arc<Wait>)>,
    count: usize,
    /// How many of them are for payments: only those need to know to which payment an entry belongs.
    for_payments: usize,
    last_id: u64,
    /// The number of the last entry that was shown to them.
    cursor: u64,
    /// In which of the restored states.
    world: u64,
    is_followed: bool,
}

/// What comes after a round.
enum Next {
    End,
    Wait,
    GoOn,
}

impl Hub {
    pub(super) fn new(door: Arc<Door>, stop: watch::Receiver<bool>) -> Hub {
        Hub { door, stop, waits: Mutex::default() }
    }

    /// Returns true once the wait is met, and false when the sandbox ends before.
    pub(super) async fn until(self: &Arc<Hub>, wait: &Arc<Wait>, turn: &mut Turn<'_>) -> bool {
        let mut stop = self.stop.clone();
        let mut after = wait.condition.after;
        loop {
            let seen = wait.look(&self.door, after, turn).await;
            if wait.is_met() {
                return true;
            }
            let (place, shown) = self.enter(wait, seen);
            if shown.world != seen.world {
                wait.progress().restored = true;
            } else if shown.entry > seen.entry {
                // The others were shown these entries before this wait was among them.
                wait.look_on(&self.door, seen, turn).await;
            }
            turn.rest();
            loop {
                if wait.is_met() {
                    return true;
                }
                if std::mem::take(&mut wait.progress().restored) {
                    after = 0;
                    break;
                }
                tokio::select! {
                    () = wait.news.notified() => {}
                    _ = stop.wait_for(|stop| *stop) => return false,
                }
            }
            drop(place);
        }
    }

    /// Puts a wait among the others. Returns its place, and how far the others were shown.
    fn enter(self: &Arc<Hub>, wait: &Arc<Wait>, seen: Seen) -> (Place, Seen) {
        let cursor = seen.entry;
        let mut waits = locked(&self.waits);
        waits.last_id += 1;
        waits.count += 1;
        waits.for_payments += usize::from(wait.condition.subject == Subject::Transaction);
        let id = waits.last_id;
        match &wait.condition.keys {
            None => drop(waits.others.insert(id, (cursor, Arc::clone(wait)))),
            Some(keys) => {
                for key in keys {
                    waits.named.entry(key.clone()).or_default().insert(id, (cursor, Arc::clone(wait)));
                }
            }
        }
        if !waits.is_followed {
            (waits.is_followed, waits.cursor, waits.world) = (true, cursor, seen.world);
            tokio::spawn(Arc::clone(self).follow());
        }
        (Place { hub: Arc::clone(self), wait: Arc::clone(wait), id }, Seen { world: waits.world, entry: waits.cursor })
    }

    async fn follow(self: Arc<Hub>) {
        let (mut changes, mut stop) = (self.door.watch(), self.stop.clone());
        loop {
            let began = Instant::now();
            let next = self.round(began);
            if matches!(next, Next::End) {
                return;
            }
            let shortest = match next {
                Next::Wait => REST + REST_PER_WAIT * u32::try_from(locked(&self.waits).count).unwrap_or(u32::MAX),
                Next::End | Next::GoOn => REST,
            };
            let rest = tokio::time::sleep((began.elapsed() * 9).max(shortest));
            let rested = async {
                rest.await;
                if matches!(next, Next::Wait) {
                    changes.changed().await;
                }
            };
            tokio::select! {
                () = rested => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Shows the waits what is new.
    fn round(&self, began: Instant) -> Next {
        let mut waits = locked(&self.waits);
        if waits.count == 0 {
            waits.is_followed = false;
            return Next::End;
        }
        let page = self.door.read(|gateway| {
            let mut page = Page::after(gateway, waits.cursor, ROUND);
            if waits.for_payments > 0 {
                page.find_payments(gateway, |found| waits.has_payment(found));
            }
            page
        });
        if page.world != waits.world {
            (waits.world, waits.cursor) = (page.world, page.last);
            waits.all(|_, wait| {
                wait.progress().restored = true;
                wait.news.notify_one();
            });
            return Next::Wait;
        }
        if page.evicted > waits.cursor {
            waits.all(|from, wait| wait.miss(waits.cursor.max(from), page.evicted));
        }
        let mut shown = HashSet::new();
        for entry in page.entries {
            waits.cursor = entry.number;
            if matches!(entry.event, Event::Reset { .. }) {
                shown.clear();
            }
            if let Some((tid, found)) = page.payments.get_key_value(entry.event.tid())
                && shown.insert(tid)
            {
                waits.show_payment(found);
            }
            waits.show(entry);
            if began.elapsed() > ROUND_TIME {
                return Next::GoOn;
            }
        }
        waits.cursor = page.end;
        if page.end < page.last { Next::GoOn } else { Next::Wait }
    }
}

impl Waits {
    fn under(&self, key: &Key) -> impl Iterator<Item = &(u64, Arc<Wait>)> {
        self.named.get(key).into_iter().flat_map(BTreeMap::values)
    }

    fn all(&self, mut tell: impl FnMut(u64, &Wait)) {
        let named = self.named.values().flat_map(BTreeMap::values);
        let mut waits: Vec<&(u64, Arc<Wait>)> = named.chain(self.others.values()).collect();
        // A wait that names several things stands in several places.
        waits.sort_unstable_by_key(|(_, wait)| Arc::as_ptr(wait));
        waits.dedup_by_key(|(_, wait)| Arc::as_ptr(wait));
        waits.into_iter().for_each(|(from, wait)| tell(*from, wait));
    }

    fn has_payment(&self, found: &Transaction) -> bool {
        let concerned = |(_, wait): &(u64, Arc<Wait>)| wait.condition.concerns_payment(found);
        !self.others.is_empty() || self.of_payment(found).any(concerned)
    }

    fn of_payment(&self, found: &Transaction) -> impl Iterator<Item = &(u64, Arc<Wait>)> {
        let keys = [Key::Refid(found.order.refid.clone()), Key::Tid(found.tid.clone())];
        keys.into_iter().flat_map(|key| self.named.get(&key)).flat_map(BTreeMap::values)
    }

    fn show_payment(&self, found: &Transaction) {
        let mut view = None;
        for (_, wait) in self.of_payment(found).chain(self.others.values()) {
            if wait.condition.concerns_payment(found) {
                let view = view.get_or_insert_with(|| Arc::new(View::of_payment(found)));
                wait.consider(found.tid.clone(), view);
            }
        }
    }

    fn show(&self, entry: Entry) {
        let keys = match &entry.event {
            Event::Reset { merchant } => return self.all(|_, wait| wait.forget(merchant.as_deref())),
            Event::Call(call) => vec![Key::Refid(call.refid.clone()), Key::Tid(call.tid.clone())],
            Event::Delivery(delivery) => {
                let postback = &delivery.postback;
                let (refid, tid) = (postback.refid.clone(), postback.tid.clone());
                vec![Key::Refid(refid), Key::Tid(tid), Key::Postback(postback.number)]
            }
            _ => return,
        };
        let named = keys.iter().flat_map(|key| self.under(key));
        let mut view: Option<Arc<View>> = None;
        for (from, wait) in named.chain(self.others.values()) {
            if entry.number > *from && wait.condition.concerns(&entry) {
                let view = view.get_or_insert_with(|| Arc::new(View::of(entry.clone())));
                wait.consider(number_key(&entry), view);
            }
        }
    }
}

/// The place of a wait among the others. Dropping it takes the wait away.
struct Place {
    hub: Arc<Hub>,
    wait: Arc<Wait>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waits = locked(&self.hub.waits);
        waits.count -= 1;
        waits.for_payments -= usize::from(self.wait.condition.subject == Subject::Transaction);
        waits.others.remove(&self.id);
        for key in self.wait.condition.keys.iter().flatten() {
            if let Some(same) = waits.named.get_mut(key) {
                same.remove(&self.id);
                if same.is_empty() {
                    waits.named.remove(key);
                }
            }
        }
    }
}
