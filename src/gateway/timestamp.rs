//! Moments and spans of the sandbox's own time. Telling the time is `clock.rs`'s; here it is only a value.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of the sandbox's time, in microseconds since 1970 (UTC). There is none after [`Timestamp::LAST`], however it
/// is made: each way to move the clock ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Timestamp(u64);

impl TryFrom<u64> for Timestamp {
    type Error = String;

    fn try_from(microseconds: u64) -> Result<Self, String> {
        let moment = Timestamp(microseconds);
        let wrong = || format!("{microseconds} is not a time in microseconds since 1970, up to {}", Timestamp::LAST);
        (moment <= Timestamp::LAST).then_some(moment).ok_or_else(wrong)
    }
}

impl Timestamp {
    /// The earliest moment there is.
    pub const ZERO: Timestamp = Timestamp(0);

    /// The last moment there is: 9999-12-30T00:00:00Z. The date library writes no day after it in every time zone.
    pub const LAST: Timestamp = Timestamp(253_402_128_000_000_000);

    /// Returns the moment that many whole seconds after 1970, or the last one.
    pub fn from_unix_seconds(seconds: u64) -> Self {
        Timestamp::ZERO.after(Duration::from_secs(seconds))
    }

    /// Returns the moment that long after 1970, or the last one.
    pub fn from_unix(since_1970: Duration) -> Self {
        Timestamp::ZERO.after(since_1970)
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Returns the moment `span` later, or the last one.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        self.checked_after(span).unwrap_or(Timestamp::LAST)
    }

    /// Returns the moment `span` later, or `None` if that is after the last one.
    pub fn checked_after(self, span: Duration) -> Option<Self> {
        let moment = self.0.checked_add(u64::try_from(span.as_micros()).ok()?).map(Timestamp)?;
        (moment <= Timestamp::LAST).then_some(moment)
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
        let time = i64::try_from(self.0).ok().and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
        write!(f, "{:.3}", time.unwrap_or(jiff::Timestamp::MAX))
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
        let time: Option<jiff::Timestamp> = text.parse().ok();
        let micros = time.and_then(|time| u64::try_from(time.as_microsecond()).ok());
        micros.and_then(|micros| Timestamp::try_from(micros).ok()).ok_or_else(|| {
            let shown = super::values::excerpt(text);
            let (first, last) = (Timestamp::ZERO, Timestamp::LAST);
            format!("\"{shown}\" is not a time from {first} to {last}. Write it like 2026-01-31T12:00:00Z.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_moment_is_after_the_last_one_however_it_is_made() {
        let last = Timestamp::LAST;
        assert_eq!(last.to_string(), "9999-12-30T00:00:00.000Z");
        for moment in [
            Timestamp::from_unix_seconds(u64::MAX),
            Timestamp::from_unix(Duration::MAX),
            Timestamp::ZERO.after(Duration::MAX),
            last.after(Duration::from_micros(1)),
        ] {
            assert_eq!(moment, last);
        }
        assert_eq!(last.checked_after(Duration::from_micros(1)), None);
        assert_eq!(Timestamp::ZERO.checked_after(Duration::from_micros(last.0)), Some(last));
        assert_eq!("9999-12-30T00:00:00Z".parse(), Ok(last));
        for wrong in ["9999-12-30T00:00:01Z", "9999-12-31T23:59:59Z", "1969-12-31T00:00:00Z", "tomorrow"] {
            let why = wrong.parse::<Timestamp>().unwrap_err();
            assert!(why.contains("from 1970-01-01T00:00:00.000Z to 9999-12-30T00:00:00.000Z"), "{why}");
        }
        let saved = |micros: u64| serde_json::from_str::<Timestamp>(&micros.to_string());
        assert_eq!(saved(last.0).unwrap(), last);
        assert!(saved(last.0 + 1).unwrap_err().to_string().contains("up to 9999-12-30"));
    }

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
