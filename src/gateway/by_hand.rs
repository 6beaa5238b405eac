//! What a developer does to the gateway: settle, post, replay, choose what comes next, change scenarios and accounts.

use std::sync::Arc;

use super::agenda::Place;
use super::choice::Next;
use super::ledger::Position;
use super::merchant::Merchant;
use super::postback::{Delivery, Postback};
use super::scenario::{Action, Posting, Scenario, Settlement};
use super::timestamp::Timestamp;
use super::{Due, Gateway};

impl Gateway {
    /// Gives a transaction its result, in place of the next `settle` or `await` of its script, which goes on
    /// behind it; where nothing is left of the script, one postback follows. False when there is no such tid.
    pub fn settle_by_hand(&mut self, tid: &str, settlement: &Settlement, now: Timestamp) -> bool {
        let Some(position) = self.ledger.position(tid) else { return false };
        self.settle(position, settlement, true, now);
        // A postback that waits for others tells what is no longer true; its step comes again, or was replaced.
        self.pools.values_mut().for_each(|pool| pool.retain(|held| held.position != position));
        let Some(transaction) = self.ledger.get_mut(position) else { return false };
        let rest = transaction.scenario.steps.get(transaction.progress.step as usize..).unwrap_or_default();
        let replaced = rest.iter().position(|step| !matches!(step.action, Action::Postback(_)));
        let nothing_left = rest.is_empty();
        transaction.progress.turn += 1;
        match replaced {
            Some(steps) => {
                transaction.progress.step += u32::try_from(steps).unwrap_or(0);
                self.go_on(position, now);
            }
            None if nothing_left => {
                let (at, turn) = (now.after(transaction.profile.posts_after.0), transaction.progress.turn);
                self.agenda.put(at, Due::Tell(position, turn));
            }
            None => self.schedule(position, now),
        }
        true
    }

    /// Posts now, beside what the script does; the number of the first postback.
    pub fn post_by_hand(&mut self, tid: &str, posting: &Posting, now: Timestamp) -> Result<u64, String> {
        posting.complaint().map_or(Ok(()), Err)?;
        if posting.hold.is_some() {
            return Err("hold: a postback by hand leaves at once: leave it out".into());
        }
        let position = self.ledger.position(tid).ok_or_else(|| format!("there is no transaction {tid}"))?;
        let number = self.postbacks + 1;
        self.post(position, posting, now);
        Ok(number)
    }

    /// Sends the bytes of a recorded delivery again. Returns the number of the new postback, or `None` if the
    /// transaction was forgotten since.
    pub fn replay(&mut self, delivery: &Delivery) -> Option<u64> {
        let recorded = &delivery.postback;
        self.ledger.by_tid(&recorded.merchant, &recorded.tid)?;
        self.postbacks += 1;
        let postback = Postback { number: self.postbacks, attempt: 1, again: None, ..recorded.clone() };
        self.outbox.put(postback);
        Some(self.postbacks)
    }

    /// Puts a scenario into the queue.
    pub fn queue(&mut self, next: Next) -> Result<(), String> {
        self.chooser.queue(next)
    }

    /// Empties the queue, of one merchant or of everybody.
    pub fn clear_queue(&mut self, merchant: Option<&str>) {
        self.chooser.clear_next(merchant);
        if let Some(merchant) = merchant {
            self.emptied(&merchant.into());
        }
    }

    /// Adds a scenario, for one merchant or for everybody.
    pub fn put_scenario(&mut self, scenario: Scenario, merchant: Option<Arc<str>>) -> Result<Arc<Scenario>, String> {
        self.repertoire.put(scenario, merchant)
    }

    /// Takes an added scenario away; false when there is none.
    pub fn remove_scenario(&mut self, name: &str, merchant: Option<&str>) -> Result<bool, String> {
        let removed = self.repertoire.remove(name, merchant)?;
        if let Some(merchant) = merchant {
            self.emptied(&merchant.into());
        }
        Ok(removed)
    }

    /// Adds or changes an account.
    pub fn put_merchant(&mut self, merchant: Merchant) -> Result<(), String> {
        if let Some(name) = &merchant.scenario
            && self.repertoire.get(name, Some(&merchant.username)).is_none()
        {
            return Err(format!("scenario: there is no scenario '{name}'"));
        }
        self.rules.accounts.put(merchant, &self.rules.profiles)
    }

    /// Takes an account away, with what it did; false when there is none.
    pub fn remove_merchant(&mut self, username: &str, now: Timestamp) -> bool {
        let Some(account) = self.rules.accounts.get(username).cloned() else { return false };
        self.rules.accounts.remove(username);
        self.reset_merchant(&account.merchant.username, now);
        true
    }

    /// What is still to happen to a transaction by its script: moments, in order.
    pub fn ahead(&self, tid: &str) -> Vec<Timestamp> {
        self.ahead_after(tid, None, usize::MAX).0
    }

    /// The same among at most `count` entries of the agenda after a place, and the place to go on after, if any.
    pub fn ahead_after(&self, tid: &str, after: Option<Place>, count: usize) -> (Vec<Timestamp>, Option<Place>) {
        let Some(position) = self.ledger.position(tid) else { return (Vec::new(), None) };
        let concerns = |due: &Due| match due {
            Due::Step(other, turn) | Due::Tell(other, turn) | Due::Answer(other, turn) => {
                *other == position && self.is_turn(position, *turn)
            }
            Due::Send(postback) => *postback.tid == *tid,
            Due::Release(_) => false,
        };
        let mut end = None;
        let page = self.agenda.page(after, count).inspect(|(place, _)| end = Some(*place));
        let moments = page.filter(|(_, due)| concerns(due)).map(|(place, _)| place.at).collect();
        (moments, end)
    }

    fn is_turn(&self, position: Position, turn: u32) -> bool {
        self.ledger.get(position).is_some_and(|found| found.progress.turn == turn)
    }

    /// Whether a transaction waits for the payer.
    pub fn awaits_payer(&self, tid: &str) -> bool {
        self.ledger.find(tid).is_some_and(|found| found.progress.awaiting)
    }
}
