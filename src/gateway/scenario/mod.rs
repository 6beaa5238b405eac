//! Scenarios: how a payment is answered and how it goes on. `fixtures/scenarios/*.json`.

use serde::Deserialize;

use super::return_code::{Grade, ReturnCode};
use super::timestamp::Span;
use super::values::{Msisdn, StatusId};

/// A script for payments.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, which is also its file's.
    pub name: Box<str>,
    /// One line about it.
    pub description: Box<str>,
    /// How sure we are that KPay does so.
    pub grade: Grade,
    /// Which payments it takes; none by itself when left out.
    pub when: Option<When>,
    /// What `pay` is answered with.
    pub answer: Script,
    /// What happens then, one after the other.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A condition on the request.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The payer's number is one of these, however it is spelled.
    pub msisdn: Vec<Msisdn>,
}

/// What `pay` is answered with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Script {
    /// `PENDING` (D).
    Accepted,
    /// Settled at once (D).
    Settled(Settlement),
    /// Refused by the processor; the transaction exists and has failed.
    Refused(ScriptedRefusal),
}

/// A refusal by script.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedRefusal {
    /// The guide's number.
    pub retcode: Scripted,
    /// Words of the processor, sent where the profile knows `statusmsg`.
    pub statusmsg: Option<Box<str>>,
}

/// A return code named by the guide's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct Scripted(pub ReturnCode);

impl TryFrom<u16> for Scripted {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        ReturnCode::scripted(number)
            .map(Scripted)
            .ok_or_else(|| format!("{number} is no return code of `pay`: write 606, for one"))
    }
}

/// One step, `after` the one before it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How long after the step before; when left out, the profile says for this action.
    pub after: Option<Span>,
    /// What happens.
    #[serde(rename = "do")]
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The transaction gets its result.
    Settle(Settlement),
    /// The merchant's listener is told what the transaction is now.
    Postback,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// `01`, `02`, or a processor's own error code.
    pub statusid: StatusId,
    /// Its words; the profile's for that status when left out.
    pub statusdesc: Option<Box<str>>,
}

impl Scenario {
    /// Whether it takes a payment by this payer.
    pub fn takes(&self, msisdn: &Msisdn) -> bool {
        self.when.as_ref().is_some_and(|when| when.msisdn.contains(msisdn))
    }

    /// What a file can hold that reads well and can never work.
    pub fn complaint(&self) -> Option<String> {
        if self.when.as_ref().is_some_and(|when| when.msisdn.is_empty()) {
            return Some("when.msisdn: an empty list never matches; name a number or leave `when` out".into());
        }
        None
    }
}
