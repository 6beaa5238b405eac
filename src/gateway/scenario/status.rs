//! What `checkstatus` answers apart from the truth.

use serde::{Deserialize, Serialize};

use super::super::timestamp::Span;
use super::answer::{Fault, ScriptedRefusal};
use super::step::Shown;
use super::{Fields, is_default};

/// For a time or for a number of calls, `checkstatus` answers this. Without `calls` and `for` it lasts for ever.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Phase {
    /// For so many calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// For so long.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// From when the span counts.
    #[serde(skip_serializing_if = "is_default")]
    pub since: Since,
    /// The state that is told instead of the true one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Shown>,
    /// A refusal instead of any state; 611 is "not found".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<ScriptedRefusal>,
    /// Fields of the answer that are added, changed or removed.
    #[serde(skip_serializing_if = "is_default")]
    pub fields: Fields,
    /// How long the answer is kept back, in the sandbox's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Span>,
    /// What happens to the answer on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// From when a phase's span counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Since {
    /// The end of the phase before, for the first one the acceptance of the payment.
    #[default]
    Before,
    /// The payment's first result; until then the phase goes on.
    Settled,
}
