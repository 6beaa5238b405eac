//! The payer's side: what somebody does on the checkout page or with the phone, and what that does to the money. It ends
//! the `await` of the payment's script, which settles; a script that awaits nobody goes its own way.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::card::Charge;
use super::journal::Event;
use super::ledger::Position;
use super::scenario::{Action, Await, Settlement};
use super::timestamp::Timestamp;
use super::transaction::Transaction;
use super::{Due, Gateway};

/// What a payer does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Pays by a card, of which no more is known than this.
    Card {
        /// Its brand.
        brand: Box<str>,
        /// The last four digits of its number.
        last_four: Box<str>,
    },
    /// Approves on the phone, or at this bank.
    Approve {
        /// The bank's id.
        bankid: Option<CompactString>,
    },
    /// Rejects.
    Reject,
    /// Enters a wrong PIN.
    WrongPin,
    /// Lets the time for an answer pass.
    Expire,
    /// Goes back to the shop without paying.
    Cancel,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Card { brand, last_four } => write!(f, "entered a {brand} card ending in {last_four}"),
            Act::Approve { bankid: Some(bankid) } => write!(f, "approved at bank {bankid}"),
            Act::Approve { bankid: None } => f.write_str("approved"),
            Act::Reject => f.write_str("rejected"),
            Act::WrongPin => f.write_str("entered a wrong PIN"),
            Act::Expire => f.write_str("let the time pass"),
            Act::Cancel => f.write_str("cancelled"),
        }
    }
}

/// What a payer has done, and what it comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What it was.
    pub act: Act,
    /// The result that it means.
    pub(super) settlement: Settlement,
    /// When the processor is done with it.
    pub(super) due: Timestamp,
}

impl Gateway {
    /// Takes a card. False when the payment already has its result, or its payer has acted already: paying
    /// twice pays once.
    pub fn handle_card(&mut self, checkout: &str, charge: Charge, now: Timestamp) -> bool {
        let Charge { brand, last_four, settlement, after } = charge;
        let act = Act::Card { brand: brand.into(), last_four };
        self.take_answer(checkout, Answer { act, settlement, due: now.after(after.0) }, now)
    }

    /// Takes any other act of the payer; false as above.
    pub fn handle_payer(&mut self, checkout: &str, act: Act, now: Timestamp) -> bool {
        let failed = |words: &str| Settlement::failed(Some(words.into()));
        let settlement = match &act {
            Act::Approve { .. } | Act::Card { .. } => Settlement::successful(),
            Act::Reject => failed("The payer rejected the payment."),
            Act::WrongPin => failed("The payer entered a wrong PIN."),
            Act::Cancel => failed("The payer cancelled the payment."),
            Act::Expire => self.in_vain(checkout),
        };
        self.take_answer(checkout, Answer { act, settlement, due: now }, now)
    }

    /// What a payment comes to when its payer does not answer: as its script says.
    fn in_vain(&self, checkout: &str) -> Settlement {
        let step = self.ledger.by_checkout(checkout).and_then(Transaction::next_step);
        let otherwise = step.and_then(|step| match &step.action {
            Action::Await(wait) => wait.otherwise.clone(),
            _ => None,
        });
        otherwise.unwrap_or_else(|| Settlement::failed(Some("The payer did not answer in time.".into())))
    }

    fn take_answer(&mut self, checkout: &str, answer: Answer, now: Timestamp) -> bool {
        let Some(position) = self.ledger.position_by_checkout(checkout) else { return false };
        let Some(transaction) = self.ledger.get_mut(position) else { return false };
        if transaction.outcome.is_some() || transaction.answer.is_some() {
            return false;
        }
        let (due, act) = (answer.due, answer.act.clone());
        transaction.answer = Some(Box::new(answer));
        let (merchant, tid) = (Arc::clone(&transaction.order.merchant), transaction.tid.clone());
        if transaction.progress.awaiting {
            // The payer's time no longer runs out.
            transaction.progress.turn += 1;
            self.agenda.put(due, Due::Answer(position, transaction.progress.turn));
        }
        self.journal.add(now, Event::Payer { merchant, tid, act });
        true
    }

    /// Stands still until the payer has answered, or goes on when the payer's time is over.
    pub(super) fn await_payer(&mut self, position: Position, wait: &Await, at: Timestamp) {
        let Some(transaction) = self.ledger.get_mut(position) else { return };
        if transaction.progress.awaiting {
            let settlement = wait.otherwise.clone().unwrap_or_else(|| Settlement::failed(None));
            transaction.answer = Some(Box::new(Answer { act: Act::Expire, settlement: settlement.clone(), due: at }));
            self.settle(position, &settlement, false, at);
            return self.go_on(position, at);
        }
        transaction.progress.awaiting = true;
        let turn = transaction.progress.turn;
        if let Some(answer) = &transaction.answer {
            self.agenda.put(answer.due.max(at), Due::Answer(position, turn));
            return;
        }
        if let Some(span) = wait.up_to {
            self.agenda.put(at.after(span.0), Due::Step(position, turn));
        }
        let (merchant, tid) = (Arc::clone(&transaction.order.merchant), transaction.tid.clone());
        self.journal.add(at, Event::Awaits { merchant, tid });
    }

    /// The processor is done with what the payer answered: the script goes on.
    pub(super) fn settle_as_answered(&mut self, position: Position, turn: u32, at: Timestamp) {
        let Some(transaction) = self.ledger.get(position).filter(|found| found.progress.turn == turn) else { return };
        if let Some(answer) = transaction.answer.clone().filter(|_| transaction.progress.awaiting) {
            self.settle(position, &answer.settlement, false, at);
            self.go_on(position, at);
        }
    }
}
