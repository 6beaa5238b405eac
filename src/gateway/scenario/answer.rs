//! What `pay` is answered with: the decision, changed fields, when it leaves, and what the line does to it.

use std::fmt;

use serde::de::{self, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::super::return_code::{CodeTable, ReturnCode};
use super::super::timestamp::Span;
use super::form::word_or_object;
use super::step::Settlement;
use super::{Fields, is_default};

/// What `pay` is answered with. `"accepted"` is short for an object with nothing in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(into = "ScriptObject")]
pub struct Script {
    /// What was decided.
    pub decision: Decision,
    /// Fields of the answer that are added, changed or removed.
    pub fields: Fields,
    /// Until when the answer is kept back.
    pub wait: Option<Wait>,
    /// What happens to the answer on its way.
    pub fault: Option<Fault>,
}

/// What was decided about a payment.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Decision {
    /// `PENDING` (D).
    #[default]
    Accepted,
    /// Settled at once (D).
    Settled(Settlement),
    /// Refused. By its processor or payer (606, 607, and 608 and 609 of the portal): the transaction exists and has failed.
    /// With any other code KPay refused before there was one.
    Refused(ScriptedRefusal),
}

/// As an object is written: at most one decision in it.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ScriptObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<Settlement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<ScriptedRefusal>,
    #[serde(skip_serializing_if = "is_default")]
    fields: Fields,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<Wait>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
}

impl From<Script> for ScriptObject {
    fn from(Script { decision, fields, wait, fault }: Script) -> Self {
        let (settled, refused) = match decision {
            Decision::Accepted => (None, None),
            Decision::Settled(settlement) => (Some(settlement), None),
            Decision::Refused(refusal) => (None, Some(refusal)),
        };
        ScriptObject { settled, refused, fields, wait, fault }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ScriptWord {
    Accepted,
}

impl From<ScriptWord> for Result<Script, &'static str> {
    fn from(ScriptWord::Accepted: ScriptWord) -> Self {
        Ok(Script::default())
    }
}

impl From<ScriptObject> for Result<Script, &'static str> {
    fn from(ScriptObject { settled, refused, fields, wait, fault }: ScriptObject) -> Self {
        let decision = match (settled, refused) {
            (None, None) => Decision::Accepted,
            (Some(settlement), None) => Decision::Settled(settlement),
            (None, Some(refusal)) => Decision::Refused(refusal),
            (Some(_), Some(_)) => return Err("both settled and refused: leave one of them out"),
        };
        Ok(Script { decision, fields, wait, fault })
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Script, D::Error> {
        let expecting = "\"accepted\" or an object with settled, refused, fields, wait or fault";
        let made: Result<Script, &str> = word_or_object::<ScriptWord, ScriptObject, _, _>(deserializer, expecting)?;
        made.map_err(serde::de::Error::custom)
    }
}

/// A refusal by script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedRefusal {
    /// Why.
    pub retcode: Scripted,
    /// Words of the processor, sent where the profile knows `statusmsg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statusmsg: Option<Box<str>>,
}

/// A return code in a script: a number, which means what it means in the table of the merchant's profile, or the name of
/// its cause, such as `insufficient-funds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Scripted {
    /// A number of either table.
    Number(u16),
    /// A cause.
    Cause(ReturnCode),
}

impl Scripted {
    /// Returns the code that this is where a table is spoken.
    pub fn code(self, table: CodeTable) -> ReturnCode {
        match self {
            // That there is one was checked when it was read.
            Scripted::Number(number) => ReturnCode::from_number(number, table).unwrap_or(ReturnCode::ErrorProcessing),
            Scripted::Cause(cause) => cause.within(table),
        }
    }

    /// Returns true if it is such a code in one of the tables at least.
    pub fn is_ever(self, such: impl Fn(ReturnCode) -> bool) -> bool {
        [CodeTable::Guide, CodeTable::Portal].into_iter().any(|table| such(self.code(table)))
    }
}

impl<'de> Deserialize<'de> for Scripted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scripted, D::Error> {
        deserializer.deserialize_any(ScriptedVisitor)
    }
}

struct ScriptedVisitor;

impl Visitor<'_> for ScriptedVisitor {
    type Value = Scripted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a return code, or the name of its cause")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scripted, E> {
        let known =
            u16::try_from(number).ok().filter(|number| ReturnCode::from_number(*number, CodeTable::Guide).is_some());
        known.map(Scripted::Number).ok_or_else(|| {
            E::custom(format!(
                "{number} is no return code: write 401, 500 or 600 to 611; `fields` can put any other number in"
            ))
        })
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Scripted, E> {
        ReturnCode::deserialize(name.into_deserializer()).map(Scripted::Cause)
    }
}

/// Until when an answer is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Wait {
    /// So long, in the sandbox's time.
    For(Span),
    /// Until the payment's first postback has come back.
    Postback,
}

impl TryFrom<String> for Wait {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "postback" {
            return Ok(Wait::Postback);
        }
        text.parse().map(Wait::For).map_err(|why| format!("{why}, or \"postback\""))
    }
}

impl From<Wait> for String {
    fn from(wait: Wait) -> String {
        match wait {
            Wait::For(span) => span.to_string(),
            Wait::Postback => "postback".into(),
        }
    }
}

/// What happens to an answer on its way. The pace of bytes is the wire's, in real time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The caller waits until it gives up (5 minutes at most).
    Never,
    /// The connection is reset.
    Reset(ResetPoint),
    /// Another answer comes instead, as from a proxy in front of KPay.
    Http(HttpFault),
    /// HTTP 200 with nothing in it.
    Empty,
    /// The body ends half way, and with it the connection.
    Cut,
    /// The body is not JSON: its last character is missing.
    Malformed,
    /// Byte by byte, with this pause before each.
    Trickle(Span),
}

impl Fault {
    /// Its name.
    pub fn word(&self) -> &'static str {
        match self {
            Fault::Never => "never",
            Fault::Reset(_) => "reset",
            Fault::Http(_) => "http",
            Fault::Empty => "empty",
            Fault::Cut => "cut",
            Fault::Malformed => "malformed",
            Fault::Trickle(_) => "trickle",
        }
    }
}

/// When a connection is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetPoint {
    /// Before a byte of the answer.
    BeforeAnswer,
    /// After its headers.
    AfterHeaders,
    /// In the middle of its body.
    InBody,
}

/// An answer that is not KPay's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFault {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// The body; a short page that names the status when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<str>>,
    /// Its label.
    #[serde(default = "html")]
    pub content_type: Box<str>,
}

fn html() -> Box<str> {
    "text/html".into()
}
