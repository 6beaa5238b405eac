//! Moments and spans of the sandbox's own time. Telling the time is `clock.rs`'s; here it is only a value.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of the sandbox's time, in microseconds since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The earliest moment there is.
    pub const ZERO: Timestamp = Timestamp(0);

    /// The last moment that can be written as a date: the end of the year 9999.
    pub const LAST: Timestamp = Timestamp(253_402_300_799_000_000);

    /// The latest moment there is.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The moment that many whole seconds after 1970.
    pub fn from_unix_seconds(seconds: u64) -> Self {
        Timestamp(seconds.saturating_mul(1_000_000))
    }

    /// The moment that long after 1970.
    pub fn from_unix(since_1970: Duration) -> Self {
        Timestamp(u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX))
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The moment `span` later; stays at the end of time instead of overflowing.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Timestamp(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The moment `span` earlier; stays at the beginning of time.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Timestamp(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Writes the hour and what is below it, as `Display` has them: `12:00:00.000Z`.
    pub fn write_time_of_day(self, into: &mut String) {
        let millis = self.0 / 1000 % 86_400_000;
        let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
        let (tens, ones) = ([hours / 10, minutes / 10, seconds / 10], [hours, minutes, seconds]);
        let mut text = *b"00:00:00.000Z";
        for part in 0..3 {
            text[part * 3] += (tens[part] % 10) as u8;
            text[part * 3 + 1] += (ones[part] % 10) as u8;
            text[part + 9] += (millis / [100, 10, 1][part] % 10) as u8;
        }
        into.push_str(std::str::from_utf8(&text).unwrap_or_default());
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(i64::try_from(self.0).unwrap_or(i64::MAX)) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} s after 1970", self.unix_seconds()),
        }
    }
}

/// A span of time as it is written in fixtures and flags: `1s`, `500ms`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("'{text}' is not a span of time: write it like 1s, 500ms or 1m 30s");
        let span: jiff::SignedDuration = text.parse().map_err(wrong)?;
        let span = Duration::try_from(span).map_err(|_| format!("'{text}' is negative: a span lasts at least 0s"))?;
        Ok(Span(span))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

/// As it is read: `1m 30s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::SignedDuration::try_from(self.0) {
            Ok(span) => write!(f, "{span:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

/// A moment as it is written in flags and requests: RFC 3339, such as `2026-01-31T12:00:00Z`.
impl std::str::FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time: Result<jiff::Timestamp, _> = text.parse();
        let micros = time.ok().and_then(|time| u64::try_from(time.as_microsecond()).ok());
        micros.map(Timestamp).ok_or_else(|| {
            format!("'{}' is not a moment since 1970: write it like 2026-01-31T12:00:00Z", super::values::excerpt(text))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_the_end_of_the_whole() {
        for millis in [0, 9, 1_000, 59_999, 3_599_999, 36_000_000, 86_399_999, 86_400_000, 1_769_860_805_070] {
            let moment = Timestamp(millis * 1000 + 999);
            let mut text = String::new();
            moment.write_time_of_day(&mut text);
            assert!(moment.to_string().ends_with(&format!("T{text}")), "{moment} {text}");
        }
    }
}
