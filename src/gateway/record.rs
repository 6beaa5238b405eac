//! Names and values in one piece of memory: what is kept of a payment for as long as the sandbox runs is kept small.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Pairs of a name and a value, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record(Box<str>);

/// How many bits of a length one character tells.
const BITS: u32 = 15;

impl Record {
    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || Some((next(&mut rest)?, next(&mut rest)?)))
    }

    /// Two characters tell a text's length, 15 bits each: every number below 2^15 is a character.
    fn put(all: &mut String, text: &str) {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX).min((1 << (2 * BITS)) - 1);
        let half = |bits: u32| char::from_u32(bits & ((1 << BITS) - 1)).unwrap_or_default();
        all.push(half(length >> BITS));
        all.push(half(length));
        all.push_str(text);
    }
}

fn next<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let mut characters = rest.chars();
    let length = (u32::from(characters.next()?) << BITS) | u32::from(characters.next()?);
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
        Vec::<(String, String)>::deserialize(deserializer).map(Record::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in() {
        let long = "é\u{0}\u{7fff}".repeat(20_000);
        let pairs = [("email", "a@example.rw"), ("", ""), ("details", &*long), ("é", "\u{10ffff}")];
        let record: Record = pairs.into_iter().collect();
        assert!(record.iter().eq(pairs));
        let written = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&written).unwrap(), record);
    }
}
