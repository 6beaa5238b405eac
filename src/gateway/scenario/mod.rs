//! Scenarios: how a payment is answered and how it goes on, as data. `fixtures/scenarios/*.json`.
//!
//! What a step does when its time has come is `gateway/steps.rs`'s.

mod answer;
mod check;
mod condition;
mod fields;
mod form;
mod status;
mod step;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use answer::{Decision, Fault, HttpFault, ResetPoint, Script, Scripted, ScriptedRefusal, Wait};
pub use condition::{Matcher, When};
pub use fields::{Fields, Placeholders};
pub use status::{Phase, Since};
pub use step::{Action, Await, Hold, Posting, Release, Settlement, Shown, Step};

use super::return_code::Grade;

/// A script for payments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Where an editor finds the JSON Schema; nothing else reads it.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Box<str>>,
    /// Its name, which is also its file's.
    #[serde(default)]
    pub name: Arc<str>,
    /// One line about it.
    #[serde(default)]
    pub description: Box<str>,
    /// How sure we are that KPay does so.
    #[serde(default = "assumed")]
    pub grade: Grade,
    /// Whether `--chaos` may choose it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub chaos: bool,
    /// Which payments it takes by itself; none when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// Names of scenarios that a payer's payments follow one after the other; the last one stays. Instead of
    /// everything below.
    #[serde(default, skip_serializing_if = "is_default")]
    pub chain: Vec<Box<str>>,
    /// What `pay` is answered with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub answer: Script,
    /// What happens then, one after the other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub steps: Vec<Step>,
    /// What `checkstatus` answers apart from the truth, one phase after the other; the truth when they are over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checkstatus: Vec<Phase>,
}

fn assumed() -> Grade {
    Grade::Assumed
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Scenario {
    /// How many steps, phases or links of a chain a scenario may have.
    pub const PART_LIMIT: usize = 100;
    /// How often a postback may be repeated.
    pub const COUNT_LIMIT: u32 = 100;

    /// Whether its postbacks wait for other payments'.
    pub fn holds(&self) -> bool {
        self.steps.iter().any(|step| matches!(&step.action, Action::Postback(posting) if posting.hold.is_some()))
    }
}
