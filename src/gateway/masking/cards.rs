//! Card numbers in a text: 13 to 19 digits with a right check digit, with or without separators, also next to other digits.

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};

use super::super::card::luhn;
use super::MASK;

/// How many digits a card number has.
const LENGTHS: RangeInclusive<usize> = SHORTEST..=19;
const SHORTEST: usize = 13;

/// How many separators in a row still belong to one number: `4111 - 1111`.
const MOST_SEPARATORS: usize = 3;

/// The weight of each byte of a text in [`is_quiet`]: a digit for one, a byte that alone is reason for a closer look for
/// as many as a card number has.
pub(super) type Weights = [u8; 256];

/// The weights with which these bytes are reason for a closer look.
pub(super) const fn weights(speaking: &[u8]) -> Weights {
    let mut weights = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        // A letter beyond ASCII begins with one byte from 0xC0 on, and may be a digit of another script.
        weights[byte] = (byte >= 0xC0 || (byte as u8).is_ascii_digit()) as u8;
        byte += 1;
    }
    let mut index = 0;
    while index < speaking.len() {
        weights[speaking[index] as usize] = SHORTEST as u8;
        index += 1;
    }
    weights
}

/// Returns true if nothing in a text can need a mask. It takes less time than to look for it.
pub(super) fn is_quiet(text: &[u8], weights: &Weights) -> bool {
    text.iter().map(|byte| usize::from(weights[usize::from(*byte)])).sum::<usize>() < SHORTEST
}

/// Weights of digits alone.
const DIGITS: Weights = weights(b"");

/// A digit, and where in the text it stands.
#[derive(Clone, Copy)]
struct Digit {
    value: u8,
    at: usize,
    length: usize,
    /// Separators stand before it, or another text.
    begins: bool,
}

/// Returns the text with all but the last four digits of each card number masked.
pub(super) fn without_card_numbers(text: &str) -> Cow<'_, str> {
    if text.len() < SHORTEST || is_quiet(text.as_bytes(), &DIGITS) {
        return Cow::Borrowed(text);
    }
    let mut kept = Cow::Borrowed("");
    let (mut copied, mut digits, mut plain) = (0, Vec::new(), true);
    let (mut separators, mut unusual) = (0, false);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let at = text.len() - rest.len();
        rest = &rest[character.len_utf8()..];
        if let Some(value) = digit(character) {
            let begins = digits.is_empty() || separators > 0;
            digits.push(Digit { value, at, length: character.len_utf8(), begins });
            plain &= !unusual;
            (separators, unusual) = (0, false);
            continue;
        }
        if digits.is_empty() {
            continue;
        }
        if separators < MOST_SEPARATORS && is_separator(character, &mut rest) {
            separators += 1;
            unusual |= !matches!(character, ' ' | '-');
            continue;
        }
        mask_run(text, &digits, plain, &mut kept, &mut copied);
        digits.clear();
        (plain, separators, unusual) = (true, 0, false);
    }
    mask_run(text, &digits, plain, &mut kept, &mut copied);
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    kept.to_mut().push_str(&text[copied..]);
    kept
}

/// The value of a digit, also of other scripts that people write numbers in.
fn digit(character: char) -> Option<u8> {
    let zero = match character {
        '0'..='9' => '0',
        '\u{660}'..='\u{669}' => '\u{660}',
        '\u{6f0}'..='\u{6f9}' => '\u{6f0}',
        '\u{966}'..='\u{96f}' => '\u{966}',
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        _ => return None,
    };
    u8::try_from(u32::from(character) - u32::from(zero)).ok()
}

/// Returns true if a character may stand between two digits of a card number; a blank may be written `%20`.
fn is_separator(character: char, rest: &mut &str) -> bool {
    match character {
        '\n' | '\r' => false,
        '%' => match rest.strip_prefix("20").or_else(|| rest.strip_prefix("2D")).or_else(|| rest.strip_prefix("2d")) {
            Some(after) => {
                *rest = after;
                true
            }
            None => false,
        },
        '-' | '.' | '/' | '_' | '+' | ',' | ':' | ';' | '|' | '\0' => true,
        '\u{ad}'
        | '\u{b7}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2010}'..='\u{2015}'
        | '\u{2060}'
        | '\u{2212}'
        | '\u{feff}' => true,
        _ => character.is_whitespace(),
    }
}

/// Masks the card numbers of a run of digits. What of the text stands before them is copied.
fn mask_run<'a>(text: &'a str, digits: &[Digit], plain: bool, kept: &mut Cow<'a, str>, copied: &mut usize) {
    if digits.len() < SHORTEST {
        return;
    }
    let values: Vec<u8> = digits.iter().map(|digit| digit.value + b'0').collect();
    let values = std::str::from_utf8(&values).unwrap_or_default();
    let in_one_piece = digits[1..].iter().all(|digit| !digit.begins);
    let lettered = text[..digits[0].at].ends_with('E');
    if in_one_piece && (is_time(values) || (lettered && is_tid(values))) {
        return;
    }
    for Range { start, end } in numbers(digits, values, plain) {
        kept.to_mut().push_str(&text[*copied..digits[start].at]);
        kept.to_mut().push_str(MASK);
        for digit in &digits[end - 4..end] {
            kept.to_mut().push_str(&text[digit.at..digit.at + digit.length]);
        }
        *copied = digits[end - 1].at + digits[end - 1].length;
    }
}

/// Where in a run of digits card numbers stand.
fn numbers(digits: &[Digit], values: &str, plain: bool) -> Vec<Range<usize>> {
    let count = digits.len();
    if LENGTHS.contains(&count) && luhn(values) && (plain || may_have(values, count)) {
        return Vec::from([Range { start: 0, end: count }]);
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    let bound = |place: usize| place == count || digits[place].begins;
    for start in 0..count.saturating_sub(SHORTEST - 1) {
        for length in LENGTHS.filter(|length| start + length <= count) {
            let end = start + length;
            let begins = bound(start) || found.iter().rev().take(LENGTHS.count()).any(|one| one.end == start);
            let fits = match (begins, bound(end)) {
                (true, true) => may_have(&values[start..], length),
                // Glued to other digits: only the length that nearly all cards of its kind have.
                (true, false) | (false, true) => usual_length(&values[start..]) == Some(length),
                (false, false) => false,
            };
            if fits && luhn(&values[start..end]) {
                found.push(start..end);
            }
        }
    }
    merged(found)
}

/// Ranges that overlap become one; they come in the order of their starts.
fn merged(ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The lengths that card numbers beginning so have; `None` when no card begins so.
fn lengths_of(values: &str) -> Option<RangeInclusive<usize>> {
    let first = |count: usize| values.get(..count).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    match (first(2), first(3), first(4)) {
        (40..=50 | 56..=58 | 60..=69, ..) => Some(LENGTHS),
        (51..=55, ..) | (_, _, 2221..=2720 | 9792) => Some(16..=16),
        (34 | 37, ..) => Some(15..=15),
        (36 | 38 | 39, ..) | (_, 300..=305, _) => Some(14..=19),
        (_, _, 3528..=3589 | 2200..=2204) => Some(16..=19),
        _ => None,
    }
}

/// Returns true if a card number that begins so may have this length.
fn may_have(values: &str, length: usize) -> bool {
    lengths_of(values).is_some_and(|lengths| lengths.contains(&length))
}

/// The length that nearly all card numbers beginning so have.
fn usual_length(values: &str) -> Option<usize> {
    let shortest = *lengths_of(values)?.start();
    Some(if shortest == SHORTEST { 16 } else { shortest })
}

/// Returns true for a Unix time in milliseconds or microseconds, and for a date with its time: no card number begins so.
fn is_time(values: &str) -> bool {
    let part = |range: Range<usize>| values.get(range).and_then(|digits| digits.parse::<u8>().ok()).unwrap_or(99);
    match values.len() {
        13 | 16 => (15..20).contains(&part(0..2)),
        14 | 17 => {
            part(0..2) == 20
                && (1..=12).contains(&part(4..6))
                && (1..=31).contains(&part(6..8))
                && part(8..10) < 24
                && part(10..12) < 60
        }
        _ => false,
    }
}

/// Returns true for the digits of a tid behind its `E`: a number from 697,000 on, and the ten digits of a time.
fn is_tid(values: &str) -> bool {
    let Some((number, seconds)) = values.len().checked_sub(10).and_then(|at| values.split_at_checked(at)) else {
        return false;
    };
    let number = number.parse::<u32>().unwrap_or(0);
    (697_000..3_000_000).contains(&number) && seconds.starts_with('1')
}
