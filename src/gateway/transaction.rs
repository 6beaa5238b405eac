//! One payment: what was ordered, and what has become of it.

use std::sync::Arc;

use super::method::Method;
use super::scenario::{Scenario, Settlement};
use super::timestamp::Timestamp;
use super::values::{Amount, Currency, StatusId};

/// A `pay` request that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The account that asked.
    pub merchant: Box<str>,
    /// The merchant's own reference, unchanged.
    pub refid: Box<str>,
    /// The payer's number as it was sent.
    pub msisdn: Box<str>,
    /// How much.
    pub amount: Amount,
    /// In what.
    pub currency: Currency,
    /// How.
    pub method: Method,
    /// The bank's id, where one was sent.
    pub bankid: Option<Box<str>>,
    /// The retailer's id.
    pub retailerid: Box<str>,
    /// Where the result is posted, as it was sent.
    pub returl: Box<str>,
    /// Where the payer's browser goes in the end, as it was sent.
    pub redirecturl: Box<str>,
    /// Everything else that was sent, by KPay's name and in the order of arrival; a value that is not text stays JSON.
    pub record: Box<[(Box<str>, Box<str>)]>,
}

/// What has become of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Successful, failed, or the processor's error.
    pub statusid: StatusId,
    /// In words.
    pub statusdesc: Box<str>,
    /// The operator's own id; empty unless it succeeded (D).
    pub momtransactionid: Box<str>,
    /// When.
    pub at: Timestamp,
}

/// A payment.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// KPay's id.
    pub tid: Box<str>,
    /// The id of its checkout page, which is not the tid (D).
    pub checkout: Box<str>,
    /// What was asked for.
    pub order: Order,
    /// The script it follows.
    pub scenario: Arc<Scenario>,
    /// When it was accepted.
    pub created: Timestamp,
    /// `None` while it is pending.
    pub outcome: Option<Outcome>,
    /// What `momtransactionid` will be if it succeeds: drawn when it is made, so that the order in which
    /// payments settle does not change what later ones draw.
    pub(super) reserved_momtransactionid: Box<str>,
}

impl Transaction {
    /// Gives it a result. A later one replaces an earlier one.
    pub(super) fn settle(
        &mut self,
        settlement: &Settlement,
        text: Box<str>,
        momtransactionid: Box<str>,
        now: Timestamp,
    ) {
        let successful = settlement.statusid.as_str() == "01";
        self.outcome = Some(Outcome {
            statusid: settlement.statusid.clone(),
            statusdesc: settlement.statusdesc.clone().unwrap_or(text),
            momtransactionid: if successful { momtransactionid } else { Box::default() },
            at: now,
        });
    }
}
