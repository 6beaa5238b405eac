//! What a run has met: codes, scenarios, kinds of delivery. Counted when it happens, so that it outlives the
//! journal's entries.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::journal::{Action, Event};
use super::postback::Verdict;
use super::return_code::ReturnCode;

/// The counts, by merchant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tallies(BTreeMap<Arc<str>, Tally>);

/// The counts of one merchant, or of all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Payments accepted.
    pub accepted: u64,
    /// `checkstatus` calls that were answered with a state.
    pub checked: u64,
    /// Refusals by code.
    pub refused: BTreeMap<ReturnCode, u64>,
    /// Payments by scenario.
    pub scenarios: BTreeMap<Arc<str>, u64>,
    /// Deliveries by kind.
    pub deliveries: BTreeMap<DeliveryKind, u64>,
}

/// A kind of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryKind {
    /// The listener answered as the guide asks.
    Acknowledged,
    /// It answered otherwise.
    Flagged,
    /// It was not reached.
    Failed,
    /// It was tried more than once.
    Repeated,
}

impl DeliveryKind {
    /// All of them.
    pub const ALL: [DeliveryKind; 4] = [Self::Acknowledged, Self::Flagged, Self::Failed, Self::Repeated];
}

impl Tallies {
    /// Counts what happened; what is nobody's stands under an empty name.
    pub(super) fn count(&mut self, event: &Event) {
        if !matches!(event, Event::Call(_) | Event::Delivery(_)) {
            return;
        }
        let merchant = event.merchant().unwrap_or_default();
        if !self.0.contains_key(merchant) {
            self.0.insert(merchant.into(), Tally::default());
        }
        self.0.get_mut(merchant).expect("it was put there").count(event);
    }

    /// The counts of one merchant, or of all together.
    pub fn of(&self, merchant: Option<&str>) -> Tally {
        if let Some(merchant) = merchant {
            return self.0.get(merchant).cloned().unwrap_or_default();
        }
        let mut sum = Tally::default();
        self.0.values().for_each(|tally| sum.add(tally));
        sum
    }

    /// Adds the counts of at most `count` merchants after `last` to `sum`. Returns the last of them, or `None` if there
    /// are no more.
    pub fn add_after(&self, last: Option<&str>, count: usize, sum: &mut Tally) -> Option<Arc<str>> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut end = None;
        for (merchant, tally) in self.0.range::<str, _>((from, Bound::Unbounded)).take(count) {
            sum.add(tally);
            end = Some(Arc::clone(merchant));
        }
        end
    }

    /// Counts what a merchant did as nobody's from now on: its account is gone, and what was covered stays.
    pub(super) fn disown(&mut self, merchant: &str) {
        if let Some(tally) = self.0.remove(merchant) {
            self.0.entry("".into()).or_default().add(&tally);
        }
    }

    /// Returns the highest count.
    pub(super) fn highest(&self) -> u64 {
        let counts = self.0.values().flat_map(|tally| {
            let own = [tally.accepted, tally.checked].into_iter();
            own.chain(tally.refused.values().chain(tally.scenarios.values()).chain(tally.deliveries.values()).copied())
        });
        counts.max().unwrap_or(0)
    }

    pub(super) fn forget_merchant(&mut self, merchant: &str) {
        self.0.remove(merchant);
    }
}

impl Tally {
    /// Counts a call or a delivery.
    pub(super) fn count(&mut self, event: &Event) {
        match event {
            Event::Call(call) => {
                match (&call.refusal, call.action) {
                    (Some(refusal), _) => *self.refused.entry(refusal.code).or_default() += 1,
                    (None, Action::Pay) => self.accepted += 1,
                    (None, _) => self.checked += 1,
                }
                if let Some(decision) = &call.decision {
                    match self.scenarios.get_mut(&decision.scenario) {
                        Some(count) => *count += 1,
                        None => drop(self.scenarios.insert(decision.scenario.clone(), 1)),
                    }
                }
            }
            Event::Delivery(delivery) => {
                let kind = match delivery.verdict() {
                    Verdict::Acknowledged => DeliveryKind::Acknowledged,
                    Verdict::Unacknowledged(_) | Verdict::Rejected(_) => DeliveryKind::Flagged,
                    Verdict::Failed(_) => DeliveryKind::Failed,
                };
                *self.deliveries.entry(kind).or_default() += 1;
                if delivery.postback.attempt > 1 {
                    *self.deliveries.entry(DeliveryKind::Repeated).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, other: &Tally) {
        self.accepted += other.accepted;
        self.checked += other.checked;
        add(&mut self.refused, &other.refused);
        add(&mut self.scenarios, &other.scenarios);
        add(&mut self.deliveries, &other.deliveries);
    }
}

fn add<K: Ord + Clone>(sum: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (key, count) in more {
        *sum.entry(key.clone()).or_default() += count;
    }
}
