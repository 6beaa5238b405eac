//! The values in a payment, each checked when it is read: what exists is sound.

use compact_str::CompactString;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::masking;

/// A positive amount in hundredths of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Amount(u64);

impl TryFrom<u64> for Amount {
    type Error = String;

    fn try_from(hundredths: u64) -> Result<Amount, String> {
        let most = Amount::MOST * 100 + 99;
        if (1..=most).contains(&hundredths) {
            return Ok(Amount(hundredths));
        }
        Err(format!("{hundredths} is not an amount in hundredths, 1 to {most}"))
    }
}

impl Amount {
    /// More than this is taken for a mistake.
    const MOST: u64 = 999_999_999_999_999;

    /// Reads an amount, and tells whether it had more than two decimals, which are rounded (A). The error says what was
    /// wrong and what to write.
    pub fn parse(text: &str) -> Result<(Amount, bool), String> {
        let wrong = |why: &str| Err(format!("'{}' {why}", excerpt(text)));
        if text.starts_with('-') {
            return wrong("is not a positive number");
        }
        let shifted = text.find(['e', 'E']).map(|at| without_exponent(&text[..at], &text[at + 1..]));
        let plain = match &shifted {
            None => text,
            Some(shifted) => shifted.as_deref().unwrap_or_default(),
        };
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || plain.ends_with('.') {
            return wrong("is not a positive number: write digits only, such as 5000");
        }
        let whole = whole.trim_start_matches('0');
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
        if whole > Self::MOST {
            return wrong("is more than 999999999999999, the most that the sandbox takes");
        }
        let hundredths =
            fraction.bytes().chain(*b"00").take(2).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        let rounds_up = fraction.as_bytes().get(2).is_some_and(|digit| *digit >= b'5');
        match Amount::try_from(whole * 100 + hundredths + u64::from(rounds_up)) {
            Ok(amount) => Ok((amount, fraction.trim_end_matches('0').len() > 2)),
            Err(_) if whole > 0 => wrong("is more than 999999999999999, the most that the sandbox takes"),
            Err(_) => wrong("is not a positive number"),
        }
    }

    /// Whether it lies between two whole amounts, both included.
    pub fn within(self, min: u64, max: u64) -> bool {
        (min.saturating_mul(100)..=max.saturating_mul(100)).contains(&self.0)
    }
}

/// Returns a number such as `5` and `+3` without its exponent: `5000`. Returns `None` if it is no number. One that is far
/// too large or too small stays so.
fn without_exponent(mantissa: &str, exponent: &str) -> Option<String> {
    const FAR: i32 = 40;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i32>().unwrap_or(FAR).min(FAR);
    let shift = if exponent.starts_with('-') { -size } else { size };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || mantissa.ends_with('.') || !(whole.len() < 64 && fraction.len() < 64) {
        return None;
    }
    let digits = format!("{:0>64}{whole}{fraction:0<64}", "");
    let point = usize::try_from(64 + i32::try_from(whole.len()).ok()? + shift).ok()?;
    digits.is_char_boundary(point).then(|| format!("{}.{}", &digits[..point], &digits[point..]))
}

impl Amount {
    /// As people write it: without decimals where there are none.
    pub fn in_words(self) -> CompactString {
        let mut words = CompactString::from(itoa::Buffer::new().format(self.0 / 100));
        let cents = self.0 % 100;
        if cents > 0 {
            // A hundred more keeps a first zero.
            words.extend([".", &itoa::Buffer::new().format(cents + 100)[1..]]);
        }
        words
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words())
    }
}

/// The currencies that KPay takes (D).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// Rwandan francs, the default.
    #[default]
    Rwf,
    /// US dollars.
    Usd,
}

impl Currency {
    /// Returns true for the default one.
    pub(super) fn is_default(&self) -> bool {
        *self == Currency::default()
    }

    /// KPay's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Currency::Rwf => "RWF",
            Currency::Usd => "USD",
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A payer's number for comparison: `07…`, `7…`, `2507…`, `002507…` and `+250 (0) 7…` are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msisdn(CompactString);

impl Msisdn {
    /// Reads a number; the error says what was wrong and what to write.
    pub fn parse(text: &str) -> Result<Msisdn, String> {
        let wrong = || {
            let unseen = text.chars().find(|c| !c.is_ascii());
            let unseen = unseen.map_or(String::new(), |c| format!(" (it holds the character U+{:04X})", u32::from(c)));
            format!("'{}' is not a phone number{unseen}: write it like 0783300000 or 250783300000", excerpt(text))
        };
        // The first byte is for a plus.
        let (mut digits, mut count, mut is_abroad) = ([b'+'; 16], 1, false);
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' if count < digits.len() => {
                    digits[count] = byte;
                    count += 1;
                }
                b' ' | b'-' | b'(' | b')' | b'.' => {}
                b'+' if count == 1 && !is_abroad => is_abroad = true,
                _ => return Err(wrong()),
            }
        }
        let with_plus =
            std::str::from_utf8(&digits[..count]).ok().filter(|digits| digits.len() > 9).ok_or_else(wrong)?;
        let digits = &with_plus[1..];
        let international = digits.strip_prefix("250").or_else(|| digits.strip_prefix("00250").filter(|_| !is_abroad));
        let subscriber = match international {
            Some(rest) => rest.strip_prefix('0').unwrap_or(rest),
            None => Some(digits).filter(|digits| digits.starts_with('7') && !is_abroad).unwrap_or_default(),
        };
        if subscriber.len() == 9 {
            let mut national = CompactString::const_new("0");
            national.push_str(subscriber);
            return Ok(Msisdn(national));
        }
        // With its plus a number of another country is never one of this country.
        Ok(Msisdn(if is_abroad { with_plus } else { digits }.into()))
    }

    /// The national form, `07XXXXXXXX`, of a Rwandan number; the digits of any other, behind a plus where it has one.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was sent, short enough for a sentence, and without secrets: sentences are kept.
pub fn excerpt(text: &str) -> String {
    excerpt_to(text, 40)
}

/// The same with so many characters.
pub fn excerpt_to(text: &str, characters: usize) -> String {
    let text = &*masking::text(text);
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// KPay's `statusid` of a result: `01`, `02`, or a processor's own error code. Pending (`03`) is not a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct StatusId(CompactString);

impl TryFrom<String> for StatusId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if matches!(meant_statusid(&text), Some("03")) {
            return Err("a payment cannot settle as 03, which means pending: leave the step out".into());
        }
        ShownStatusId::try_from(text).map(|shown| StatusId(shown.0))
    }
}

impl StatusId {
    /// `01`.
    pub fn successful() -> StatusId {
        StatusId("01".into())
    }

    /// `02`.
    pub fn failed() -> StatusId {
        StatusId("02".into())
    }

    /// As on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the `statusid` that a text is, or was probably meant to be.
fn meant_statusid(text: &str) -> Option<&'static str> {
    match &*text.trim().to_ascii_lowercase() {
        "01" | "1" | "success" | "successful" | "approved" | "ok" => Some("01"),
        "02" | "2" | "fail" | "failed" | "failure" | "declined" | "rejected" => Some("02"),
        "03" | "3" | "pending" => Some("03"),
        _ => None,
    }
}

/// KPay's `statusid` as it is told: any [`StatusId`], and `03` for pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ShownStatusId(CompactString);

impl TryFrom<String> for ShownStatusId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(meant) = meant_statusid(&text).filter(|meant| *meant != text) {
            return Err(format!("'{}' is no statusid. Did you mean \"{meant}\"?", excerpt(&text)));
        }
        if (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(ShownStatusId(text.into()));
        }
        Err(format!("'{}' is no statusid: write \"01\", \"02\" or a processor's error code of digits", excerpt(&text)))
    }
}

impl ShownStatusId {
    /// As on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
