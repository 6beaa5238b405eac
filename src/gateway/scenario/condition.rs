//! Conditions: which values something must have to be chosen or found.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::super::values::Msisdn;
use super::super::wire::Param;

/// Matchers by field; all must match.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct When(pub std::collections::BTreeMap<Box<str>, Matcher>);

/// What one field must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Matcher {
    /// This text; `*` stands for any characters, `?` for one.
    Text(Box<str>),
    /// This number, however it is written.
    Number(f64),
    /// One of these.
    OneOf(Box<[Matcher]>),
    /// A number between two, both included.
    Range(Option<f64>, Option<f64>),
    /// There, and not blank; or not there.
    Present(bool),
}

impl When {
    /// Whether the fields that `value_of` knows are as wanted.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        self.0.iter().all(|(field, matcher)| matcher.matches(field, value_of(field).as_deref()))
    }

    /// The fields that are not as wanted: name, matcher, and what is there instead.
    pub fn mismatches<'a>(
        &'a self,
        value_of: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Vec<(&'a str, &'a Matcher, Option<Cow<'a, str>>)> {
        let all = self.0.iter().map(|(field, matcher)| (&**field, matcher, value_of(field)));
        all.filter(|(field, matcher, value)| !matcher.matches(field, value.as_deref())).collect()
    }

    /// Whether it asks for nothing but the payer.
    pub fn is_payer_only(&self) -> bool {
        self.0.len() == 1 && self.0.contains_key(Param::Msisdn.name())
    }

    /// The payers' numbers that are named one by one, in national form; `None` when they are not.
    pub fn payers(&self) -> Option<Vec<Msisdn>> {
        let exact = |matcher: &Matcher| match matcher {
            Matcher::Text(text) if !has_wildcard(text) => Msisdn::parse(text).ok(),
            _ => None,
        };
        match self.0.get(Param::Msisdn.name())? {
            Matcher::OneOf(list) => list.iter().map(exact).collect(),
            one => exact(one).map(|msisdn| vec![msisdn]),
        }
    }
}

impl Matcher {
    /// Whether a field with this name may have this value; `None` is an absent or blank one.
    pub fn matches(&self, field: &str, value: Option<&str>) -> bool {
        let Some(value) = value else { return *self == Matcher::Present(false) };
        match self {
            Matcher::Text(pattern) if field == Param::Msisdn.name() => is_payer(pattern, value),
            Matcher::Text(pattern) => glob(pattern, value),
            Matcher::Number(number) => value.trim().parse() == Ok(*number),
            Matcher::OneOf(list) => list.iter().any(|matcher| matcher.matches(field, Some(value))),
            Matcher::Range(min, max) => value
                .trim()
                .parse::<f64>()
                .is_ok_and(|number| min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)),
            Matcher::Present(present) => *present,
        }
    }

    /// Why nothing could ever match.
    pub(super) fn complaint(&self, field: &str) -> Option<String> {
        match self {
            Matcher::OneOf(list) if list.is_empty() => Some("an empty list never matches; name a value".into()),
            Matcher::OneOf(list) => list.iter().find_map(|matcher| matcher.complaint(field)),
            Matcher::Range(None, None) => Some("a range needs min or max".into()),
            Matcher::Range(Some(min), Some(max)) if min > max => Some("min is more than max: nothing matches".into()),
            Matcher::Text(text) if field == Param::Msisdn.name() && !has_wildcard(text) => Msisdn::parse(text).err(),
            _ => None,
        }
    }
}

/// In words, for "wanted …".
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Text(text) => write!(f, "'{text}'"),
            Matcher::Number(number) => write!(f, "{number}"),
            Matcher::OneOf(list) => {
                let words: Vec<String> = list.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(" or "))
            }
            Matcher::Range(Some(min), Some(max)) => write!(f, "{min} to {max}"),
            Matcher::Range(Some(min), None) => write!(f, "at least {min}"),
            Matcher::Range(_, max) => write!(f, "at most {}", max.unwrap_or_default()),
            Matcher::Present(true) => f.write_str("some value"),
            Matcher::Present(false) => f.write_str("no value"),
        }
    }
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// However the number is spelled: `07…`, `2507…` and `+250 7…` are the same.
fn is_payer(pattern: &str, value: &str) -> bool {
    let Ok(payer) = Msisdn::parse(value.trim()) else { return false };
    if has_wildcard(pattern) {
        let pattern = pattern.trim_start_matches('+');
        return match payer.as_str().strip_prefix('+') {
            Some(abroad) => glob(pattern, abroad),
            None => glob(pattern, payer.as_str()) || glob(pattern, &format!("25{}", payer.as_str())),
        };
    }
    Msisdn::parse(pattern).is_ok_and(|wanted| wanted == payer)
}

/// `*` for any characters, `?` for one. Goes back to the last `*` only, so that no pattern takes long.
fn glob(pattern: &str, text: &str) -> bool {
    if !has_wildcard(pattern) {
        return pattern == text;
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut within, mut last_star) = (0, 0, None);
    while within < text.len() {
        match pattern.get(at) {
            Some('*') => {
                last_star = Some((at, within));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[within] => (at, within) = (at + 1, within + 1),
            _ => match last_star {
                Some((star, covered)) => {
                    last_star = Some((star, covered + 1));
                    (at, within) = (star + 1, covered + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Matcher, D::Error> {
        deserializer.deserialize_any(MatcherVisitor)
    }
}

struct MatcherVisitor;

/// As an object is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MatcherObject {
    min: Option<f64>,
    max: Option<f64>,
    present: Option<bool>,
}

impl<'de> Visitor<'de> for MatcherVisitor {
    type Value = Matcher;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a list of them, {\"min\": …, \"max\": …} or {\"present\": true or false}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Matcher, E> {
        Ok(Matcher::Text(text.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Matcher, E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Matcher, E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Matcher, E> {
        if number.abs() > 9_007_199_254_740_992.0 {
            return Err(E::custom("the number has too many digits to be compared: write it as a string"));
        }
        Ok(Matcher::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Matcher, A::Error> {
        Vec::<Matcher>::deserialize(SeqAccessDeserializer::new(list)).map(|list| Matcher::OneOf(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Matcher, A::Error> {
        match MatcherObject::deserialize(MapAccessDeserializer::new(map))? {
            MatcherObject { present: Some(present), min: None, max: None } => Ok(Matcher::Present(present)),
            MatcherObject { present: None, min, max } => Ok(Matcher::Range(min, max)),
            _ => Err(A::Error::custom("present and a range: leave one of them out, a range is always present")),
        }
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Matcher::Text(text) => serializer.serialize_str(text),
            Matcher::Number(number) if number.fract() == 0.0 => serializer.serialize_i64(*number as i64),
            Matcher::Number(number) => serializer.serialize_f64(*number),
            Matcher::OneOf(list) => serializer.collect_seq(list),
            Matcher::Range(min, max) => {
                let mut map = serializer.serialize_map(None)?;
                for (name, bound) in [("min", min), ("max", max)] {
                    if let Some(bound) = bound {
                        map.serialize_entry(name, bound)?;
                    }
                }
                map.end()
            }
            Matcher::Present(present) => serializer.collect_map([("present", present)]),
        }
    }
}
