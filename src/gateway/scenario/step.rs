//! The steps of a script.

use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};

use super::super::timestamp::Span;
use super::super::values::{ShownStatusId, StatusId};
use super::form::word_or_object;
use super::{Fields, is_default};

/// One step, `after` the one before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How long after the step before; when left out, the profile says for this action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// What happens.
    #[serde(rename = "do")]
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The transaction gets its result.
    Settle(Settlement),
    /// The merchant's listener is told what the transaction is now.
    Postback(Box<Posting>),
    /// The script stands still until the payer decides, or somebody settles the transaction by hand.
    Await(Await),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionWord {
    Postback,
    Await,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActionObject {
    Settle(Settlement),
    Postback(Box<Posting>),
    Await(Await),
}

impl From<ActionWord> for Action {
    fn from(word: ActionWord) -> Action {
        match word {
            ActionWord::Postback => Action::Postback(Box::default()),
            ActionWord::Await => Action::Await(Await::default()),
        }
    }
}

impl From<ActionObject> for Action {
    fn from(object: ActionObject) -> Action {
        match object {
            ActionObject::Settle(settlement) => Action::Settle(settlement),
            ActionObject::Postback(posting) => Action::Postback(posting),
            ActionObject::Await(wait) => Action::Await(wait),
        }
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Action, D::Error> {
        let expecting = "\"postback\", \"await\", or an object with settle, postback or await";
        word_or_object::<ActionWord, ActionObject, _, _>(deserializer, expecting)
    }
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// `01`, `02`, or a processor's own error code.
    pub statusid: StatusId,
    /// Its words; the profile's for that status when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statusdesc: Option<Arc<str>>,
}

impl Settlement {
    /// As successful, in the profile's words.
    pub fn successful() -> Settlement {
        Settlement { statusid: StatusId::successful(), statusdesc: None }
    }

    /// As failed, in these words or the profile's.
    pub fn failed(statusdesc: Option<Arc<str>>) -> Settlement {
        Settlement { statusid: StatusId::failed(), statusdesc }
    }
}

/// A state that is told, true or not: `03` is one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// As on the wire.
    pub statusid: ShownStatusId,
    /// Its words; the profile's for that status when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statusdesc: Option<Arc<str>>,
}

/// A pause until the payer decides.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Await {
    /// How long the payer may take; for ever when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_to: Option<Span>,
    /// The result when that time is over; as failed when left out.
    #[serde(rename = "else", skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Settlement>,
}

/// A postback, every part of it open to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Posting {
    /// The state that it tells instead of the true one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<Shown>,
    /// Fields that are added, changed or removed.
    #[serde(skip_serializing_if = "is_default")]
    pub fields: Fields,
    /// A body instead of KPay's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<str>>,
    /// Only so many bytes of the body are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_at: Option<usize>,
    /// The label instead of the profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<CompactString>,
    /// The HTTP method instead of `POST`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<CompactString>,
    /// Where it goes instead of `returl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<str>>,
    /// How often.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u32,
    /// The time between two.
    #[serde(skip_serializing_if = "is_default")]
    pub every: Span,
    /// Stop repeating once the listener has answered as the guide asks. The next step does not wait for that.
    #[serde(skip_serializing_if = "is_default")]
    pub until_acknowledged: bool,
    /// Keep it back until others wait with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

fn is_one(count: &u32) -> bool {
    *count == 1
}

impl Default for Posting {
    fn default() -> Posting {
        Posting {
            says: None,
            fields: Fields::default(),
            body: None,
            cut_at: None,
            content_type: None,
            method: None,
            target: None,
            count: 1,
            every: Span::default(),
            until_acknowledged: false,
            hold: None,
        }
    }
}

/// Keeps postbacks back until enough of the same merchant and scenario wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// How many must wait.
    pub until: u32,
    /// In what order they leave then, one when the one before has come back.
    pub release: Release,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Release {
    /// As they came.
    Unchanged,
    /// The last one first.
    Reversed,
    /// By the seed.
    Shuffled,
}
