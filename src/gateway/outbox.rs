//! Postbacks between falling due and coming back: in order per transaction, and bounded in number.

use compact_str::CompactString;
use std::collections::{HashMap, VecDeque};

use super::postback::Postback;

/// How many postbacks may be under way at once; more wait their turn.
pub const IN_FLIGHT_LIMIT: usize = 256;

/// One postback under way, and those that must not overtake it.
#[derive(Debug)]
struct Lane {
    under_way: Postback,
    behind: VecDeque<Postback>,
}

/// What waits, and what is under way.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Postback>,
    /// The lanes with a postback under way, each with what must not overtake it.
    lanes: HashMap<CompactString, Lane>,
}

impl Outbox {
    /// Takes a postback that is due.
    pub fn put(&mut self, postback: Postback) {
        self.waiting.push_back(postback);
    }

    /// How many have not left.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.lanes.values().map(|lane| lane.behind.len()).sum::<usize>()
    }

    /// Whether `release` has something to do.
    pub fn may_release(&self) -> bool {
        !self.waiting.is_empty() && self.lanes.len() < IN_FLIGHT_LIMIT
    }

    /// The postbacks that leave now: of one lane at most one is under way.
    pub fn release(&mut self) -> Vec<Postback> {
        let mut leaving = Vec::new();
        while self.lanes.len() < IN_FLIGHT_LIMIT {
            let Some(postback) = self.waiting.pop_front() else { break };
            match self.lanes.get_mut(&postback.lane) {
                Some(lane) => lane.behind.push_back(postback),
                None => {
                    let lane = Lane { under_way: postback.clone(), behind: VecDeque::new() };
                    self.lanes.insert(postback.lane.clone(), lane);
                    leaving.push(postback);
                }
            }
        }
        leaving
    }

    /// One came back: what it held up is next. False when none of this lane was under way.
    pub fn take_back(&mut self, lane: &str) -> bool {
        let Some(lane) = self.lanes.remove(lane) else { return false };
        for next in lane.behind.into_iter().rev() {
            self.waiting.push_front(next);
        }
        true
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.lanes.len()
    }

    /// All that have not come back: those under way in the order of their numbers, then those that wait.
    pub fn all(&self) -> Vec<Postback> {
        let mut all: Vec<Postback> = self.lanes.values().map(|lane| lane.under_way.clone()).collect();
        all.extend(self.lanes.values().flat_map(|lane| lane.behind.iter().cloned()));
        all.sort_by_key(|postback| postback.number);
        all.extend(self.waiting.iter().cloned());
        all
    }

    /// Forgets those of a merchant that have not left.
    pub fn forget_merchant(&mut self, merchant: &str) {
        let other = |postback: &Postback| *postback.merchant != *merchant;
        self.waiting.retain(other);
        self.lanes.values_mut().for_each(|lane| lane.behind.retain(other));
    }
}
