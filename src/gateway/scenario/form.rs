//! Reading what may be one word or an object: `"postback"` or `{ "postback": { … } }`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, IntoDeserializer, MapAccess, Visitor};

/// Reads a word as a `W`, an object as an `O`, and makes a `T` of either. An untagged enum would do so too,
/// and answer every mistake with the same sentence.
pub(super) fn word_or_object<'de, W, O, T, D>(deserializer: D, expecting: &'static str) -> Result<T, D::Error>
where
    W: Deserialize<'de>,
    O: Deserialize<'de>,
    T: From<W> + From<O>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(WordOrObject::<W, O, T> { expecting, made_of: PhantomData })
}

struct WordOrObject<W, O, T> {
    expecting: &'static str,
    made_of: PhantomData<(W, O, T)>,
}

impl<'de, W, O, T> Visitor<'de> for WordOrObject<W, O, T>
where
    W: Deserialize<'de>,
    O: Deserialize<'de>,
    T: From<W> + From<O>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<T, E> {
        let word: StrDeserializer<'_, E> = word.into_deserializer();
        W::deserialize(word).map(T::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        O::deserialize(MapAccessDeserializer::new(map)).map(T::from)
    }
}
