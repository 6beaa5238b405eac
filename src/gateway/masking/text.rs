//! Texts that hold names and values: JSON, forms, and what is neither quite.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::de::IgnoredAny;

use super::MASK;
use super::cards::{self, Weights, weights, without_card_numbers};
use super::json;
use super::names::is_secret;

/// The number of times that a text is unpacked that stands in another as an escaped string.
pub(super) const DEPTH: usize = 4;

/// What is encoded in a part of a form that was decoded and masked.
const FORM: &AsciiSet = &CONTROLS.add(b'%').add(b'&').add(b'+');

/// What may stand beside a secret: behind its name, or as an escape of it.
const TEXT: Weights = weights(b":=\\%\0");

/// The same in an address, where a colon before a password has an `@` behind it. What has blanks or braces is no address.
const ADDRESS: Weights = weights(b"@=\\%\0 \t\r\n{}'");

/// Returns true if nothing in a text can need a mask.
pub(super) fn is_quiet(text: &[u8]) -> bool {
    cards::is_quiet(text, &TEXT)
}

/// Returns true if nothing in an address can need a mask.
pub(super) fn is_quiet_address(text: &str) -> bool {
    !text.starts_with('[') && cards::is_quiet(text.as_bytes(), &ADDRESS)
}

/// Returns a text as it may be kept: values of secret names, passwords in addresses and card numbers are masked.
pub(super) fn masked(text: &str, depth: usize) -> Cow<'_, str> {
    if is_quiet(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    if text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with(['{', '[', '"']) && is_json(text) {
        return json::masked(text, &json::Texts { depth });
    }
    loose(text, depth)
}

/// Returns true if a text is JSON.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text.trim_start_matches('\u{feff}')).is_ok()
}

/// Masks a text that is no JSON, or no longer.
pub(super) fn loose(text: &str, depth: usize) -> Cow<'_, str> {
    let text = map(Cow::Borrowed(text), without_nul);
    let text = map(text, without_escapes);
    let text = map(text, without_secrets);
    let text = if depth > 0 { map(text, |text| form(text, depth)) } else { text };
    map(text, without_card_numbers)
}

/// Applies a step that mostly changes nothing.
fn map<'a>(text: Cow<'a, str>, step: impl Fn(&str) -> Cow<'_, str>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => step(text),
        Cow::Owned(text) => match step(&text) {
            Cow::Owned(changed) => Cow::Owned(changed),
            Cow::Borrowed(_) => Cow::Owned(text),
        },
    }
}

/// UTF-16, read as bytes, has a NUL beside each letter. Returns the text without them if that shows a secret.
fn without_nul(text: &str) -> Cow<'_, str> {
    if !text.contains('\0') {
        return Cow::Borrowed(text);
    }
    // Card numbers first: without a NUL between them, other digits would stick to one at both its ends.
    let letters = without_card_numbers(text).replace('\0', "");
    match masked(&letters, DEPTH) {
        Cow::Owned(masked) => Cow::Owned(masked),
        Cow::Borrowed(_) => Cow::Borrowed(text),
    }
}

/// Returns the text with `\u0061` as `a`, if it has such escapes of letters and digits.
fn without_escapes(text: &str) -> Cow<'_, str> {
    let mut plain = Cow::Borrowed("");
    let mut copied = 0;
    for (at, _) in text.match_indices("\\u") {
        let code = text.get(at + 2..at + 6).and_then(|code| u32::from_str_radix(code, 16).ok());
        if let Some(letter) = code.and_then(char::from_u32).filter(|letter| letter.is_alphanumeric() || *letter == '_')
        {
            plain.to_mut().push_str(&text[copied..at]);
            plain.to_mut().push(letter);
            copied = at + 6;
        }
    }
    finish(text, plain, copied)
}

/// Puts behind what was changed of a text the rest of it.
fn finish<'a>(text: &'a str, changed: Cow<'a, str>, copied: usize) -> Cow<'a, str> {
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    let mut changed = changed.into_owned();
    changed.push_str(&text[copied..]);
    Cow::Owned(changed)
}

/// Masks what shows only when a form's parts are decoded.
fn form(text: &str, depth: usize) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let (mut changed, mut copied) = (Cow::Borrowed(""), 0);
    for part in text.split('&') {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        let spaced = part.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
        // A part without encoded characters shows nothing new.
        if decoded == *spaced {
            continue;
        }
        // The value of a pair may be JSON, which begins behind the `=`.
        let result = match decoded.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
            Some((name, value)) => format!("{}={}", masked(name, depth - 1), masked(value, depth - 1)),
            None => masked(&decoded, depth - 1).into_owned(),
        };
        if result != *decoded {
            changed.to_mut().push_str(&text[copied..start]);
            changed.to_mut().extend(utf8_percent_encode(&result, FORM));
            copied = start + part.len();
        }
    }
    finish(text, changed, copied)
}

/// Masks the values of secret names, and the passwords of addresses.
fn without_secrets(text: &str) -> Cow<'_, str> {
    let (mut kept, mut copied, mut from) = (Cow::Borrowed(""), 0, 0);
    while let Some(at) = text[from..].find([':', '=']).map(|place| from + place) {
        let value = at + 1;
        let secret = if is_secret(&name_before(&text[from..at])) {
            if text[at..].starts_with('=') { form_value(text, value) } else { loose_value(text, value) }
        } else {
            password_of_address(text, value)
        };
        let secret = secret.start.max(from)..secret.end;
        from = value;
        // Blanks are no value, and what is masked already stays.
        if !secret.is_empty() && text[secret.clone()] != *MASK {
            kept.to_mut().push_str(&text[copied..secret.start]);
            kept.to_mut().push_str(MASK);
            (copied, from) = (secret.end, secret.end);
        }
    }
    finish(text, kept, copied)
}

/// Where the value of a form's pair stands that begins at a place.
fn form_value(text: &str, start: usize) -> Range<usize> {
    start..text[start..].find(['&', '\n']).map_or(text.len(), |length| start + length)
}

/// Where a value stands behind a colon: in quotes, or up to what ends it in JSON. What is broken ends as late as it can.
fn loose_value(text: &str, start: usize) -> Range<usize> {
    let value = text[start..].trim_start_matches([' ', '\t', '\r', '\n']);
    let start = text.len() - value.len();
    if value.starts_with(['{', '[']) {
        return start..text.len();
    }
    let Some(quote) = ["\\\"", "\"", "'"].into_iter().find(|quote| value.starts_with(quote)) else {
        return start..start + end_of_value(value);
    };
    let inside = &value[quote.len()..];
    let start = start + quote.len();
    let length = match quote {
        "\"" => json::closing_quote(value).map_or(inside.len(), |at| at - 1),
        _ => inside.find(quote).unwrap_or(inside.len()),
    };
    // Behind a closing quote stands what ends a value, or it closed nothing.
    let behind = inside[length..].strip_prefix(quote).map(str::trim_start);
    if behind.is_some_and(|behind| behind.is_empty() || behind.starts_with([',', '}', ']'])) {
        return start..start + length;
    }
    start..start + length + end_of_value(&inside[length..])
}

/// How far a value reaches that no quotes end.
fn end_of_value(text: &str) -> usize {
    text.find([',', '}', ']', '\n']).unwrap_or(text.len())
}

/// The name at the end of a text, without the quotes and brackets around it.
fn name_before(text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches(['"', '\'', '\\', ' ', '\t', '\r', '\n', ']']);
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '%');
    let name = &text[text.trim_end_matches(in_name).len()..];
    if name.contains('%') { percent_decode_str(name).decode_utf8_lossy() } else { Cow::Borrowed(name) }
}

/// Where the password of an address stands, if one begins at a place, behind a `:`. It ends at the `@` before the host.
fn password_of_address(text: &str, start: usize) -> Range<usize> {
    let before = &text[..start - 1];
    let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'') || c.is_whitespace();
    if !text[..start].ends_with(':') || !before.trim_end_matches(|c| !ends(c) && c != '@').ends_with("//") {
        return start..start;
    }
    let authority = &text[start..][..text[start..].find(ends).unwrap_or(text.len() - start)];
    start..start + authority.rfind('@').unwrap_or(0)
}

/// Masks a web address, or a sentence about one: a colon in it says nothing about the word before.
pub(super) fn address(text: &str) -> Cow<'_, str> {
    if is_quiet_address(text) {
        return Cow::Borrowed(text);
    }
    let (mut kept, mut copied, mut from) = (Cow::Borrowed(""), 0, 0);
    let mark = |byte: &u8| matches!(byte, b':' | b'=');
    while let Some(at) = text.as_bytes()[from..].iter().position(mark).map(|place| from + place) {
        let value = at + 1;
        let secret = if text[at..].starts_with(':') {
            password_of_address(text, value)
        } else if is_secret(&name_before(&text[from..at])) {
            value..value + text[value..].find(['&', '#', ' ']).unwrap_or(text.len() - value)
        } else {
            value..value
        };
        from = value;
        if !secret.is_empty() && text[secret.clone()] != *MASK {
            kept.to_mut().push_str(&text[copied..secret.start]);
            kept.to_mut().push_str(MASK);
            (copied, from) = (secret.end, secret.end);
        }
    }
    let kept = finish(text, kept, copied);
    map(map(kept, |text| form(text, DEPTH)), without_card_numbers)
}
