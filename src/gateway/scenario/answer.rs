//! What `pay` is answered with: the decision, changed fields, when it leaves, and what the line does to it.

use serde::{Deserialize, Deserializer, Serialize};

use super::super::return_code::ReturnCode;
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
    /// Refused. With 606 or 607 the processor refused: the transaction exists and has failed. With any other
    /// code KPay refused before there was one.
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
    /// The guide's number.
    pub retcode: Scripted,
    /// Words of the processor, sent where the profile knows `statusmsg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statusmsg: Option<Box<str>>,
}

/// A return code named by the guide's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Scripted(pub ReturnCode);

impl TryFrom<u16> for Scripted {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, String> {
        ReturnCode::from_guide(number).map(Scripted).ok_or_else(|| {
            format!("{number} is no return code: write 401, 500 or 600 to 611; `fields` can put any other number in")
        })
    }
}

impl From<Scripted> for u16 {
    fn from(code: Scripted) -> u16 {
        code.0.guide_number()
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
