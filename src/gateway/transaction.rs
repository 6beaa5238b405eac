//! One payment: what was ordered, and what has become of it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::method::Method;
use super::scenario::{Scenario, Settlement};
use super::timestamp::Timestamp;

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

/// A positive amount in hundredths of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u64);

impl Amount {
    /// More than this is taken for a mistake.
    const MOST: u64 = 999_999_999_999_999;

    /// Reads an amount; the error says what was wrong and what to write.
    pub fn parse(text: &str) -> Result<Amount, String> {
        let wrong = |why: &str| Err(format!("'{}' {why}", excerpt(text)));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if text.starts_with('-') {
            return wrong("is not a positive number");
        }
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return wrong("is not a positive number: write digits only, such as 5000");
        }
        if fraction.trim_end_matches('0').len() > 2 {
            return wrong("has more than two decimals");
        }
        let whole = whole.trim_start_matches('0');
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
        if whole > Self::MOST {
            return wrong("is more than 999999999999999, the most that the sandbox takes");
        }
        let hundredths =
            fraction.bytes().chain(*b"00").take(2).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        match whole * 100 + hundredths {
            0 => wrong("is not a positive number"),
            amount => Ok(Amount(amount)),
        }
    }

    /// Whether it lies between two whole amounts, both included.
    pub fn within(self, min: u64, max: u64) -> bool {
        (min.saturating_mul(100)..=max.saturating_mul(100)).contains(&self.0)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, cents) => write!(f, "{whole}.{cents:02}"),
        }
    }
}

/// The currencies that KPay takes (D).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Currency {
    /// Rwandan francs, the default.
    Rwf,
    /// US dollars.
    Usd,
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Currency::Rwf => "RWF",
            Currency::Usd => "USD",
        })
    }
}

/// A payer's number for comparison: `07…`, `2507…` and `+250 7…` are the same.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Msisdn(Box<str>);

impl Msisdn {
    /// Reads a number; the error says what was wrong and what to write.
    pub fn parse(text: &str) -> Result<Msisdn, String> {
        let digits: String = text.chars().filter(|c| !matches!(c, '+' | ' ' | '-' | '(' | ')' | '.')).collect();
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !(9..=15).contains(&digits.len()) {
            return Err(format!("'{}' is not a phone number: write it like 0783300000 or 250783300000", excerpt(text)));
        }
        let national = match digits.strip_prefix("250") {
            Some(rest) if rest.len() == 9 => format!("0{rest}"),
            _ => digits,
        };
        Ok(Msisdn(national.into()))
    }

    /// The national form, `07XXXXXXXX` for a Rwandan number.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Msisdn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Msisdn::parse(&text)
    }
}

/// What was sent, short enough for a sentence.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// KPay's `statusid` of a result: `01`, `02`, or a processor's own error code. Pending (`03`) is not a result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StatusId(Box<str>);

impl TryFrom<String> for StatusId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "03" => Err("a payment cannot settle as 03, which means pending: leave the step out".into()),
            _ if (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(StatusId(text.into()))
            }
            _ => Err(format!(
                "'{}' is no statusid: write \"01\", \"02\" or a processor's error code of digits",
                excerpt(&text)
            )),
        }
    }
}

impl StatusId {
    /// As on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
