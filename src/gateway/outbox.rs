//! Postbacks between falling due and coming back: in order per transaction, and bounded in number.

use std::collections::{HashMap, VecDeque};

use super::postback::Postback;

/// How many postbacks may be under way at once; more wait their turn.
pub const IN_FLIGHT_LIMIT: usize = 256;

/// What waits, and what is under way.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Postback>,
    /// The transactions with a postback under way, by tid, each with what must not overtake it.
    lanes: HashMap<Box<str>, VecDeque<Postback>>,
}

impl Outbox {
    /// Takes a postback that is due.
    pub fn put(&mut self, postback: Postback) {
        self.waiting.push_back(postback);
    }

    /// How many have not left.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.lanes.values().map(VecDeque::len).sum::<usize>()
    }

    /// Whether `release` has something to do.
    pub fn may_release(&self) -> bool {
        !self.waiting.is_empty() && self.lanes.len() < IN_FLIGHT_LIMIT
    }

    /// The postbacks that leave now: of one transaction at most one is under way.
    pub fn release(&mut self) -> Vec<Postback> {
        let mut leaving = Vec::new();
        while self.lanes.len() < IN_FLIGHT_LIMIT {
            let Some(postback) = self.waiting.pop_front() else { break };
            match self.lanes.get_mut(&postback.tid) {
                Some(lane) => lane.push_back(postback),
                None => {
                    self.lanes.insert(postback.tid.clone(), VecDeque::new());
                    leaving.push(postback);
                }
            }
        }
        leaving
    }

    /// One came back: what it held up is next. False when none of this transaction was under way.
    pub fn take_back(&mut self, tid: &str) -> bool {
        let Some(lane) = self.lanes.remove(tid) else { return false };
        for next in lane.into_iter().rev() {
            self.waiting.push_front(next);
        }
        true
    }
}
