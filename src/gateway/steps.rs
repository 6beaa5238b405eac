//! What a script does when its time has come: settle and post; and what comes of a delivery.

use std::sync::Arc;

use super::journal::Event;
use super::ledger::Position;
use super::masking;
use super::postback::{Again, Delivery, Postback};
use super::profile::MomTransactionIdForm;
use super::scenario::{Action, Hold, Posting, Release, Settlement};
use super::timestamp::Timestamp;
use super::transaction::Transaction;
use super::wire::{self, Told};
use super::{Due, Gateway, Held};

impl Gateway {
    pub(super) fn settle(&mut self, position: Position, settlement: &Settlement, by_hand: bool, now: Timestamp) {
        let Some(transaction) = self.ledger.get_mut(position) else { return };
        let momtransactionid = match transaction.profile.momtransactionid {
            MomTransactionIdForm::Number => transaction.momtransactionid().into(),
            MomTransactionIdForm::Seconds => now.unix_seconds().to_string().into(),
        };
        let text = transaction.profile.shared_text(settlement.statusid.as_str());
        let outcome = transaction.settle(settlement, text, momtransactionid, now);
        let (statusid, statusdesc) = (outcome.statusid.as_str().into(), Arc::clone(&outcome.statusdesc));
        self.journal.add(
            now,
            Event::Settled {
                merchant: Arc::clone(&transaction.order.merchant),
                tid: transaction.tid.clone(),
                statusid,
                statusdesc,
                by_hand,
            },
        );
    }

    /// Puts the transaction's next step down, after what happened at `now`.
    pub(super) fn schedule(&mut self, position: Position, now: Timestamp) {
        let Some(transaction) = self.ledger.get(position) else { return };
        let Some(step) = transaction.scenario.steps.get(transaction.progress.step as usize) else { return };
        let profile = &transaction.profile;
        let at = match (&step.after, &step.action) {
            (Some(span), _) => now.after(span.0),
            (None, Action::Settle(_)) => profile.settles.moment(now),
            (None, Action::Postback(_)) => now.after(profile.posts_after.0),
            (None, Action::Await(_)) => now,
        };
        self.agenda.put(at, Due::Step(position, transaction.progress.turn));
    }

    /// Performs the transaction's next step, unless it has had another turn since.
    pub(super) fn perform(&mut self, position: Position, turn: u32, at: Timestamp) {
        let Some(transaction) = self.ledger.get(position).filter(|found| found.progress.turn == turn) else { return };
        let scenario = Arc::clone(&transaction.scenario);
        // A restored world may say that it is further than its script goes.
        let Some(step) = scenario.steps.get(transaction.progress.step as usize) else { return };
        match &step.action {
            Action::Settle(settlement) => {
                self.settle(position, settlement, false, at);
                self.go_on(position, at);
            }
            Action::Await(wait) => self.await_payer(position, wait, at),
            Action::Postback(posting) => match &posting.hold {
                Some(hold) => self.hold(position, posting, hold, at),
                None => {
                    let last = self.post(position, posting, at).unwrap_or(at);
                    self.go_on(position, last);
                }
            },
        }
    }

    /// The script goes on behind the step that was done at `at`.
    pub(super) fn go_on(&mut self, position: Position, at: Timestamp) {
        if let Some(transaction) = self.ledger.get_mut(position) {
            transaction.progress.step += 1;
            transaction.progress.awaiting = false;
            self.schedule(position, at);
        }
    }

    /// Keeps a postback back; when enough wait, they leave one after the other, and their scripts go on.
    fn hold(&mut self, position: Position, posting: &Posting, hold: &Hold, at: Timestamp) {
        let Some(transaction) = self.ledger.get(position) else { return };
        let (turn, merchant) = (transaction.progress.turn, Arc::clone(&transaction.order.merchant));
        let tid = transaction.tid.clone();
        let postback = self.compose(position, posting).expect("it is there");
        let lane = postback.lane.clone();
        let pool = self.pools.entry(lane.clone()).or_default();
        pool.push(Held { postback, position, turn });
        let waiting = u32::try_from(pool.len()).unwrap_or(u32::MAX);
        self.journal.add(at, Event::Held { merchant, tid, waiting, until: hold.until });
        if waiting < hold.until {
            return;
        }
        let mut leaving = self.pools.remove(&lane).unwrap_or_default();
        match hold.release {
            Release::Unchanged => {}
            Release::Reversed => leaving.reverse(),
            Release::Shuffled => self.shuffle(&mut leaving),
        }
        for Held { postback, position, turn } in leaving {
            self.outbox.put(postback);
            if self.ledger.get(position).is_some_and(|held| held.progress.turn == turn) {
                self.go_on(position, at);
            }
        }
    }

    /// Sends a postback, and puts its repetitions down; the moment of the last one.
    pub(super) fn post(&mut self, position: Position, posting: &Posting, at: Timestamp) -> Option<Timestamp> {
        let postback = self.compose(position, posting)?;
        let repetitions = if posting.until_acknowledged { 1 } else { posting.count };
        let mut last = at;
        for repetition in 0..repetitions {
            if repetition == 0 {
                self.outbox.put(postback.clone());
                continue;
            }
            self.postbacks += 1;
            last = last.after(posting.every.0);
            self.agenda.put(last, Due::Send(Box::new(Postback { number: self.postbacks, ..postback.clone() })));
        }
        Some(last)
    }

    /// The postback that follows a settlement by hand.
    pub(super) fn tell(&mut self, position: Position, turn: u32) {
        if self.ledger.get(position).is_some_and(|found| found.progress.turn == turn)
            && let Some(postback) = self.compose(position, &Posting::default())
        {
            self.outbox.put(postback);
        }
    }

    /// Writes a postback: KPay's, as its profile has it, and as the script changes it.
    pub(super) fn compose(&mut self, position: Position, posting: &Posting) -> Option<Postback> {
        let transaction = self.ledger.get(position)?;
        self.postbacks += 1;
        let Transaction { tid, order, profile, scenario, .. } = transaction;
        let mut body = match (&posting.body, &posting.says) {
            (Some(raw), _) => wire::with_placeholders(transaction, |own| own.fill(raw)).into_bytes(),
            (None, says) => {
                let told = Told::of(transaction, says.as_ref());
                let body = wire::status(transaction, told);
                wire::with_fields(body, &posting.fields, transaction)
            }
        };
        body.truncate(posting.cut_at.unwrap_or(usize::MAX));
        let again = if posting.until_acknowledged {
            Again::UntilAcknowledged(posting.every, posting.count - 1)
        } else {
            Again::Retry
        };
        let lane = if scenario.holds() { format!("{}\n{}", order.merchant, scenario.name).into() } else { tid.clone() };
        let target = posting.target.as_deref().map(|text| wire::with_placeholders(transaction, |own| own.fill(text)));
        Some(Postback {
            number: self.postbacks,
            generation: 0,
            merchant: Arc::clone(&order.merchant),
            lane,
            tid: tid.clone(),
            refid: order.refid.clone(),
            attempt: 1,
            again: Some(again),
            method: posting.method.clone().unwrap_or_else(|| "POST".into()),
            target: target.map_or_else(|| order.returl.clone(), Into::into),
            content_type: posting.content_type.clone().unwrap_or_else(|| profile.postback_content_type.clone()),
            body: body.into(),
        })
    }

    /// Takes note of a delivery, and puts another attempt down where that is wanted.
    pub fn handle_delivery(&mut self, delivery: Delivery, now: Timestamp) {
        let postback = &delivery.postback;
        if !self.outbox.take_back(postback) {
            return;
        }
        // Its merchant was reset meanwhile: it belongs to a world that is gone.
        if self.ledger.by_tid(&postback.merchant, &postback.tid).is_none() {
            return;
        }
        if let Some((pause, again)) = delivery.next_attempt(self.settings.retries) {
            self.postbacks += 1;
            let (number, attempt) = (self.postbacks, postback.attempt.saturating_add(1));
            let next = Postback { number, attempt, again: Some(again), ..postback.clone() };
            self.agenda.put(now.after(pause), Due::Send(Box::new(next)));
        }
        let told = |ticket: &super::Ticket| ticket.until_postback && ticket.tid == postback.tid;
        let tickets: Vec<u64> = self.tickets.iter().filter(|(_, ticket)| told(ticket)).map(|(id, _)| *id).collect();
        self.journal.add(now, Event::Delivery(Arc::new(masking::delivery(delivery))));
        for ticket in tickets {
            self.release(ticket, now);
        }
    }
}
