//! What reaches us: a request's parameters, read leniently and without interpreting them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::journal::Action;
use super::super::masking;
use super::super::record::Record;
use super::super::values::excerpt;
use super::{Param, unreadable};

/// How many parameters one message may have.
const PARAMETER_LIMIT: usize = 256;

/// A request's parameters, not yet interpreted. Values stay the text they were sent as: a number of 16
/// digits must come back digit for digit, which no float could do.
#[derive(Debug)]
pub struct Message<'a> {
    known: [Option<Sent<'a>>; Param::ALL.len()],
    pub(super) extra: Vec<(Cow<'a, str>, Sent<'a>)>,
    /// Nothing in it is masked.
    stays: bool,
}

/// A value as it stands in the body, and what is between its quotes if it is a text without escapes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent<'a> {
    raw: &'a str,
    plain: Option<&'a str>,
}

impl<'a> Sent<'a> {
    fn new(raw: &'a str) -> Sent<'a> {
        let inside = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Sent { raw, plain: inside.filter(|inside| !inside.as_bytes().contains(&b'\\')) }
    }

    /// A text without its quotes and escapes; anything else as it stands there.
    fn unquoted(self) -> Result<Cow<'a, str>, serde_json::Error> {
        match self.plain {
            Some(plain) => Ok(Cow::Borrowed(plain)),
            None if self.raw.starts_with('"') => serde_json::from_str::<String>(self.raw).map(Cow::Owned),
            None => Ok(Cow::Borrowed(self.raw)),
        }
    }
}

impl<'a> Message<'a> {
    /// Reads a body; the error says what is wrong with it.
    pub fn parse(body: &'a [u8]) -> Result<Message<'a>, String> {
        let text = std::str::from_utf8(body).map_err(|_| unreadable::complaint(body, None))?;
        let text = text.trim();
        if !text.starts_with('{') {
            return Err(unreadable::complaint(body, None));
        }
        let message: Message = serde_json::from_str(text).map_err(|error| match error.classify() {
            // Ours: it is JSON, and has too many parameters, or one twice.
            serde_json::error::Category::Data => format!("the body is not usable: {error}"),
            _ => unreadable::complaint(body, Some(&error)),
        })?;
        for (name, value) in &message.extra {
            // A raw value is read without a limit to its nesting; a parsed one has serde_json's, 128.
            if value.raw.starts_with(['[', '{']) && serde_json::from_str::<serde_json::Value>(value.raw).is_err() {
                return Err(format!("{}: nested too deeply", excerpt(name)));
            }
        }
        let stays = message.parts().all(masking::stays);
        Ok(Message { stays, ..message })
    }

    /// A parameter as text; `None` when it is absent, null or blank.
    pub fn text(&self, param: Param) -> Result<Option<Cow<'a, str>>, String> {
        let Some(sent) = self.known[param as usize] else {
            return Ok(None);
        };
        // Nearly every value: a text that needs no second look.
        let usual =
            |plain: &&str| plain.as_bytes().first().is_some_and(u8::is_ascii_graphic) && plain.len() <= param.limit();
        if let Some(plain) = sent.plain.filter(usual) {
            return Ok(Some(Cow::Borrowed(plain)));
        }
        let unusable = |what: &str| Err(format!("{} is {what}: send a string", param.name()));
        match sent.raw.as_bytes()[0] {
            b'n' => return Ok(None),
            b't' | b'f' => return unusable("true or false"),
            b'[' => return unusable("an array"),
            b'{' => return unusable("an object"),
            _ => {}
        }
        let text = sent.unquoted().map_err(|error| format!("{} cannot be read: {error}", param.name()))?;
        let limit = param.limit();
        if text.len() > limit && text.chars().count() > limit {
            return Err(format!("{} is longer than {limit} characters: send a shorter one", param.name()));
        }
        Ok(Some(text).filter(|text| !text.trim_start().is_empty()))
    }

    /// Any field by its name as text, also one that KPay does not know; `None` when it is absent, null or blank.
    /// What is not text stays JSON.
    pub fn field(&self, name: &str) -> Option<Cow<'a, str>> {
        let known = Param::named(name);
        let sent = match known {
            Some(param) => self.known[param as usize]?,
            None => self.extra.iter().find(|(other, _)| other == name)?.1,
        };
        let text = sent.unquoted().ok().filter(|_| sent.raw != "null");
        text.filter(|text| !text.trim().is_empty())
    }

    /// A parameter that must be there.
    pub fn required(&self, param: Param) -> Result<Cow<'a, str>, String> {
        self.text(param)?.ok_or_else(|| match self.known[param as usize] {
            None => format!("{} is missing", param.name()),
            Some(_) => format!("{} is blank", param.name()),
        })
    }

    /// The refid as it is echoed: unchanged, as a string; empty when it cannot be read.
    pub fn refid_echo(&self) -> Cow<'a, str> {
        self.text(Param::Refid).ok().flatten().unwrap_or_default()
    }

    /// What is asked for, as far as it can be told: `pay` also when it is not said (D).
    pub fn action(&self) -> Action {
        match self.text(Param::Action).as_ref().map(Option::as_deref) {
            Ok(None | Some("pay")) => Action::Pay,
            Ok(Some("checkstatus")) => Action::CheckStatus,
            _ => Action::Unknown,
        }
    }

    /// Returns true if nothing in it is masked where it is kept.
    pub(in super::super) fn stays(&self) -> bool {
        self.stays
    }

    /// All fields, first those that KPay knows, each with its value as it stands in the body.
    fn parts(&self) -> impl Iterator<Item = (Option<Param>, &str, &'a str)> {
        let known = Param::ALL.into_iter().filter_map(|param| Some((param, self.known[param as usize]?)));
        let known = known.map(|(param, sent)| (Some(param), param.name(), sent.raw));
        known.chain(self.extra.iter().map(|(name, sent)| (None, &**name, sent.raw)))
    }

    /// Returns true if a parameter was sent as a number.
    pub fn is_number(&self, param: Param) -> bool {
        self.known[param as usize].is_some_and(|sent| !sent.raw.starts_with('"'))
    }

    /// Returns true if a parameter was sent with nothing in it.
    pub fn is_blank(&self, param: Param) -> bool {
        self.known[param as usize].is_some() && matches!(self.text(param), Ok(None))
    }

    /// What is kept for the record beside the parameters that an order interprets; secrets are masked. The picture for
    /// the checkout page stays as it was sent: browsers load it from there.
    pub fn record(&self) -> Record {
        let known = [Param::Email, Param::Details, Param::Cname, Param::Cnumber, Param::Logourl].into_iter();
        let known = known.filter_map(|param| {
            let text = self.text(param).ok()??;
            let whole = self.stays || (param == Param::Logourl && masking::is_web_address(&text));
            let kept = if whole { text } else { masking::owned_text(text) };
            Some((Cow::Borrowed(param.name()), kept))
        });
        let extra = self.extra.iter().map(|(name, sent)| {
            let value = sent.unquoted().unwrap_or(Cow::Borrowed(sent.raw));
            if self.stays {
                (Cow::Borrowed(&**name), value)
            } else {
                (masking::text(name), masking::extra(name, value))
            }
        });
        known.chain(extra).collect()
    }
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
        let mut message = Message { known: [None; Param::ALL.len()], extra: Vec::new(), stays: false };
        while let Some(Name(name)) = map.next_key()? {
            let value = Sent::new(map.next_value::<&RawValue>()?.get());
            let twice = match Param::named(&name) {
                Some(param) => message.known[param as usize].replace(value).is_some(),
                None => {
                    let twice = message.extra.iter().any(|(other, _)| *other == name);
                    message.extra.push((name.clone(), value));
                    twice
                }
            };
            if twice {
                return Err(de::Error::custom(format!("{} stands there twice", excerpt(&name))));
            }
            if message.extra.len() > PARAMETER_LIMIT {
                return Err(de::Error::custom(format!("more than {PARAMETER_LIMIT} parameters")));
            }
        }
        Ok(message)
    }
}

/// An object's key, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
