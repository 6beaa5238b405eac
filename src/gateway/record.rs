//! Names and values in one piece of memory: what is kept of a payment for as long as the sandbox runs is kept small.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Pairs of a name and a value, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record(Box<str>);

/// The longest text that there may be, in bytes: a body, from which they all are, has 64 KiB at most.
const LONGEST: usize = 0xF_FFFF;

impl Record {
    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || Some((next(&mut rest)?, next(&mut rest)?)))
    }

    /// A character tells a text's length; those numbers that are no characters are passed over.
    fn put(all: &mut String, text: &str) {
        let length = text.len().min(LONGEST) as u32;
        all.push(char::from_u32(if length < 0xD800 { length } else { length + 0x800 }).unwrap_or_default());
        all.push_str(text);
    }
}

fn next<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let mut characters = rest.chars();
    let length = u32::from(characters.next()?);
    let length = if length < 0xD800 { length } else { length - 0x800 };
    let (text, after) = characters.as_str().split_at_checked(length as usize)?;
    *rest = after;
    Some(text)
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Record {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Record {
        let mut all = String::with_capacity(256);
        for (name, value) in pairs {
            Record::put(&mut all, name.as_ref());
            Record::put(&mut all, value.as_ref());
        }
        Record(all.into())
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Record, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        if pairs.iter().any(|(name, value)| name.len().max(value.len()) > LONGEST) {
            return Err(de::Error::custom(format!("a text in a record is longer than {LONGEST} bytes")));
        }
        Ok(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in() {
        for length in [0, 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0x1_0000, LONGEST] {
            let long = "x".repeat(length);
            let pairs = [("email", "a@example.rw"), ("", ""), ("details", &*long), ("é\u{0}", "\u{10ffff}")];
            let record: Record = pairs.into_iter().collect();
            assert!(record.iter().eq(pairs), "{length}");
            let written = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&written).unwrap(), record);
        }
        let longer = serde_json::json!([["details", "x".repeat(LONGEST + 1)]]);
        assert!(serde_json::from_value::<Record>(longer).unwrap_err().to_string().contains("1048575"));
    }
}
