//! One wait: what it has found so far, and how it looks at what there is already.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use compact_str::{CompactString, ToCompactString};
use tokio::sync::Notify;

use super::search::{BATCH, Condition, Subject, View};
use super::work::Turn;
use crate::door::Door;
use crate::gateway::Gateway;
use crate::gateway::journal::{Entry, Event};
use crate::gateway::transaction::Transaction;

/// One wait.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) condition: Condition,
    /// How many must match.
    count: usize,
    progress: Mutex<Progress>,
    /// Told when the wait is met, or must begin again.
    pub(super) news: Notify,
}

/// How far a wait is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// What matches, by number of the entry or by tid.
    pub(super) matched: BTreeMap<CompactString, Arc<View>>,
    /// The nearest that does not match, and how many of its fields do not.
    pub(super) nearest: Option<(usize, Arc<View>)>,
    /// How many entries were evicted before they could be looked at.
    pub(super) gone: u64,
    /// Another state was restored, whose entries have other numbers.
    pub(super) restored: bool,
}

impl Wait {
    pub(super) fn new(condition: Condition, count: usize) -> Wait {
        Wait { condition, count, progress: Mutex::default(), news: Notify::new() }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        locked(&self.progress)
    }

    pub(super) fn is_met(&self) -> bool {
        self.progress().matched.len() >= self.count
    }

    pub(super) fn consider(&self, key: CompactString, view: &Arc<View>) {
        let mut progress = self.progress();
        if progress.matched.len() >= self.count {
            return;
        }
        let off = self.condition.mismatches(view);
        if off == 0 {
            progress.matched.insert(key, Arc::clone(view));
            if progress.matched.len() >= self.count {
                self.news.notify_one();
            }
            return;
        }
        // A payment that matched may do so no longer.
        progress.matched.remove(&key);
        if progress.nearest.as_ref().is_none_or(|(least, _)| off <= *least) {
            progress.nearest = Some((off, Arc::clone(view)));
        }
    }

    fn consider_payment(&self, found: &Transaction) {
        self.consider(found.tid.clone(), &Arc::new(View::of_payment(found)));
    }

    /// Forgets what one merchant has done, or what everybody has.
    pub(super) fn forget(&self, merchant: Option<&str>) {
        let mut progress = self.progress();
        progress.matched.retain(|_, view| merchant.is_some_and(|merchant| view.value["merchant"] != merchant));
        if merchant.is_none() || self.condition.merchant.as_deref() == merchant {
            progress.gone = 0;
        }
    }

    /// Takes note of the entries after `cursor` up to `last`, which were evicted before they could be looked at.
    pub(super) fn miss(&self, cursor: u64, last: u64) {
        if self.condition.subject != Subject::Transaction {
            self.progress().gone += last.saturating_sub(cursor);
        }
    }

    /// Looks at all that there is already: entries after number `after`. Returns how far it came.
    pub(super) async fn look(&self, door: &Door, after: u64, turn: &mut Turn<'_>) -> Seen {
        let world = door.read(|gateway| gateway.journal().world());
        if self.condition.subject != Subject::Transaction {
            return self.look_on(door, Seen { world, entry: after }, turn).await;
        }
        let (cursor, named) = door.read(|gateway| (gateway.journal().last(), self.condition.named_payments(gateway)));
        let mut place = if named.is_some() { usize::MAX } else { 0 };
        named.iter().flatten().for_each(|found| self.consider_payment(found));
        loop {
            let page: Option<Vec<Transaction>> = door.read(|gateway| {
                let ledger = gateway.ledger();
                let page = ledger.page(place, BATCH).filter(|found| self.condition.concerns_payment(found));
                (place < ledger.places()).then(|| page.cloned().collect())
            });
            let Some(page) = page else { break };
            place += BATCH;
            for found in page {
                self.consider_payment(&found);
                turn.give_way().await;
            }
            turn.give_way().await;
        }
        self.look_on(door, Seen { world, entry: cursor }, turn).await
    }

    /// Looks at the entries after those that were seen, until there are no more of them.
    pub(super) async fn look_on(&self, door: &Door, seen: Seen, turn: &mut Turn<'_>) -> Seen {
        let Seen { mut world, entry: mut cursor } = seen;
        while !self.is_met() {
            let page = door.read(|gateway| {
                let mut page = Page::after(gateway, cursor, BATCH);
                if self.condition.subject == Subject::Transaction {
                    page.find_payments(gateway, |found| self.condition.concerns_payment(found));
                }
                page.entries
                    .retain(|entry| self.condition.concerns(entry) || matches!(entry.event, Event::Reset { .. }));
                page
            });
            if page.world != world {
                (world, cursor) = (page.world, 0);
                continue;
            }
            self.miss(cursor, page.evicted.min(page.last));
            cursor = page.end;
            for entry in page.entries {
                if let Event::Reset { merchant } = &entry.event {
                    self.forget(merchant.as_deref());
                } else {
                    let key = number_key(&entry);
                    self.consider(key, &Arc::new(View::of(entry)));
                }
                turn.give_way().await;
            }
            for found in page.payments.values() {
                self.consider_payment(found);
                turn.give_way().await;
            }
            turn.give_way().await;
            if cursor >= page.last {
                break;
            }
        }
        Seen { world, entry: cursor }
    }
}

/// How far a look came: the number of the last entry, in which of the restored states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) world: u64,
    pub(super) entry: u64,
}

/// Some entries of the journal, and the payments that they are about.
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// By tid.
    pub(super) payments: BTreeMap<CompactString, Transaction>,
    /// The number of the newest evicted entry, and of the newest one of all.
    pub(super) evicted: u64,
    pub(super) last: u64,
    /// The number of the last entry of this page.
    pub(super) end: u64,
    /// Which of the restored states this is.
    pub(super) world: u64,
}

impl Page {
    pub(super) fn after(gateway: &Gateway, cursor: u64, count: usize) -> Page {
        let journal = gateway.journal();
        let entries: Vec<Entry> = journal.after(cursor).take(count).cloned().collect();
        let end = if entries.len() < count { journal.last() } else { entries[count - 1].number };
        Page {
            entries,
            payments: BTreeMap::new(),
            evicted: journal.evicted(),
            last: journal.last(),
            end,
            world: journal.world(),
        }
    }

    pub(super) fn find_payments(&mut self, gateway: &Gateway, wanted: impl Fn(&Transaction) -> bool) {
        let tids: HashSet<&str> = self.entries.iter().map(|entry| entry.event.tid()).collect();
        let found = tids.into_iter().filter_map(|tid| gateway.ledger().find(tid)).filter(|found| wanted(found));
        self.payments = found.map(|found| (found.tid.clone(), found.clone())).collect();
    }
}

pub(super) fn number_key(entry: &Entry) -> CompactString {
    format!("{:020}", entry.number).to_compact_string()
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
