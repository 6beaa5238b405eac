//! One payment: what was ordered, and what has become of it.

use compact_str::CompactString;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checkout::Answer;
use super::choice::Choice;
use super::method::Method;
use super::profile::{MomTransactionIdForm, Profile};
use super::record::Record;
use super::scenario::{Action, Scenario, Settlement, Step};
use super::system::System;
use super::timestamp::Timestamp;
use super::values::{Amount, Currency, StatusId};

/// A `pay` request that passed every check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The account that asked.
    pub merchant: Arc<str>,
    /// The system that it was made in.
    #[serde(default, skip_serializing_if = "System::is_sandbox")]
    pub system: System,
    /// The merchant's own reference, unchanged.
    pub refid: CompactString,
    /// The payer's number as it was sent.
    pub msisdn: CompactString,
    /// How much.
    pub amount: Amount,
    /// In what.
    #[serde(default, skip_serializing_if = "Currency::is_default")]
    pub currency: Currency,
    /// How.
    pub method: Method,
    /// The bank's id, where one was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bankid: Option<CompactString>,
    /// The retailer's id.
    pub retailerid: CompactString,
    /// Where the result is posted, as it was sent.
    pub returl: CompactString,
    /// Where the payer's browser goes in the end, as it was sent.
    pub redirecturl: CompactString,
    /// Everything else that was sent, by KPay's name and in the order of arrival; a value that is not text stays JSON.
    pub record: Record,
}

/// What has become of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Successful, failed, or the processor's error.
    pub statusid: StatusId,
    /// In words.
    pub statusdesc: Arc<str>,
    /// The operator's own id. Empty when it failed (D), unless the profile tells the seconds of completion (O).
    pub momtransactionid: CompactString,
    /// When.
    pub at: Timestamp,
    /// When there was first one, this or another.
    pub first_at: Timestamp,
}

/// A payment.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    /// KPay's id.
    pub tid: CompactString,
    /// The id of its checkout page, which is not the tid (D).
    pub checkout: CompactString,
    /// What was asked for.
    pub order: Order,
    /// How KPay is to its merchant.
    pub profile: Arc<Profile>,
    /// The script it follows.
    pub scenario: Arc<Scenario>,
    /// Why this one.
    pub choice: Choice,
    /// When it was accepted.
    pub created: Timestamp,
    /// `None` while it is pending.
    pub outcome: Option<Outcome>,
    /// What the payer has done on the checkout page.
    pub answer: Option<Box<Answer>>,
    /// What `momtransactionid` will be if it succeeds: drawn when it is made, so that the order in which
    /// payments settle does not change what later ones draw.
    pub(super) reserved_momtransactionid: CompactString,
    /// How far its script is.
    pub(super) progress: Progress,
    /// How often it was asked for.
    pub(super) asked: Asked,
}

/// How far a transaction is in its script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The step that comes next.
    pub(super) step: u32,
    /// Counts interventions: what was put down before one no longer counts.
    pub(super) turn: u32,
    /// It stands still at an `await`.
    pub(super) awaiting: bool,
}

/// How far a transaction is in what `checkstatus` answers apart from the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The phase.
    pub(super) phase: u32,
    /// When it began.
    pub(super) since: Timestamp,
    /// How many calls it has answered.
    pub(super) calls: u32,
}

impl Asked {
    /// Returns the count of a transaction that nobody has asked for.
    pub(super) fn never(created: Timestamp) -> Asked {
        Asked { phase: 0, since: created, calls: 0 }
    }
}

impl Transaction {
    /// Whether what the payer does still matters: its script comes to an `await`, or stands at one.
    pub fn asks_payer(&self) -> bool {
        let ahead = self.scenario.steps.get(self.progress.step as usize..).unwrap_or_default();
        ahead.iter().any(|step| matches!(step.action, Action::Await(_)))
    }

    /// A field that was sent beside those that an order interprets, such as `details`.
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.order.record.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The step of its script that comes next, or that it stands at.
    pub fn next_step(&self) -> Option<&Step> {
        self.scenario.steps.get(self.progress.step as usize)
    }

    /// The operator's id of its success, or what that will be.
    pub fn momtransactionid(&self) -> &str {
        let known = self.outcome.as_ref().map(|outcome| &*outcome.momtransactionid);
        known.filter(|id| !id.is_empty()).unwrap_or(&self.reserved_momtransactionid)
    }

    /// The operator's id of a payment that failed; mostly it has none.
    pub(super) fn failed_momtransactionid(&self) -> &str {
        let has_id = self.profile.momtransactionid == MomTransactionIdForm::Seconds;
        self.outcome.as_ref().filter(|_| has_id).map_or("", |outcome| &outcome.momtransactionid)
    }

    /// Gives it a result. A later one replaces an earlier one.
    pub(super) fn settle(
        &mut self,
        settlement: &Settlement,
        text: Arc<str>,
        momtransactionid: CompactString,
        now: Timestamp,
    ) -> &Outcome {
        let has_id =
            settlement.statusid.as_str() == "01" || self.profile.momtransactionid == MomTransactionIdForm::Seconds;
        let first = self.outcome.as_ref().map_or(now, |outcome| outcome.first_at);
        self.outcome.insert(Outcome {
            first_at: first,
            statusid: settlement.statusid.clone(),
            statusdesc: settlement.statusdesc.clone().unwrap_or(text),
            momtransactionid: if has_id { momtransactionid } else { CompactString::default() },
            at: now,
        })
    }
}
