//! Changes to the fields of a JSON object, and the placeholders in them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use super::super::wire::PLACEHOLDERS;

/// Fields by name: a value adds or changes one, `null` removes it. The order is that of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(pub Box<[(Box<str>, Value)]>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields: a value adds or changes one, null removes it")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields.into()))
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What stands for a payment's own values in texts: `{refid}` and so on.
#[derive(Debug, Clone, Copy)]
pub struct Placeholders<'a>(pub &'a [(&'static str, &'a str)]);

impl Placeholders<'_> {
    /// The text with every placeholder replaced; anything else in braces stays.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        self.fill_pieces(text, |piece| filled += piece);
        filled
    }

    /// Returns how many bytes a text has at most once its placeholders are replaced, also inside JSON.
    pub(super) fn longest(text: &str) -> usize {
        let texts = PLACEHOLDERS.map(|(_, bytes)| "x".repeat(bytes));
        let mut values = PLACEHOLDERS.map(|(name, _)| (name, ""));
        values.iter_mut().zip(&texts).for_each(|((_, value), text)| *value = text);
        let mut longest = 0;
        Placeholders(&values).fill_pieces(text, |piece| longest += piece.len());
        longest
    }

    fn fill_pieces(&self, text: &str, mut push: impl FnMut(&str)) {
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            push(&rest[..open]);
            rest = &rest[open..];
            let known = rest.find('}').and_then(|close| {
                let found = self.0.iter().find(|(name, _)| *name == &rest[1..close]);
                found.map(|(_, value)| (close, *value))
            });
            match known {
                Some((close, value)) => {
                    push(value);
                    rest = &rest[close + 1..];
                }
                None => {
                    push("{");
                    rest = &rest[1..];
                }
            }
        }
        push(rest);
    }
}
