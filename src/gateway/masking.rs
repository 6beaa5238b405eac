//! What must not be kept: passwords, keys and card numbers are masked before a call goes into the journal.

use std::borrow::Cow;
use std::ops::Range;

use super::card::luhn;
use super::wire::Message;

/// What stands in place of a secret.
const MASK: &str = "****";

/// A request's line and headers as they may be kept. Of Basic credentials the user is no secret and tells a lot; the
/// password is one.
pub fn head<'a>(
    method: &str,
    path: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    user: Option<&str>,
) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    for part in [method, " ", path, "\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        match (name, user) {
            ("authorization", Some(user)) => {
                for part in ["Basic ", user, ":", MASK, " (base64)"] {
                    head.extend_from_slice(part.as_bytes());
                }
            }
            ("authorization" | "kpay-key" | "proxy-authorization" | "cookie", _) => {
                head.extend_from_slice(MASK.as_bytes());
            }
            _ => head.extend_from_slice(value),
        }
        head.push(b'\n');
    }
    head
}

/// A body as it may be kept: without the values of fields that hold secrets, and without card numbers where KPay has
/// no field for them.
pub(super) fn body<'a>(body: &'a [u8], message: Option<&Message<'_>>) -> Cow<'a, [u8]> {
    let Some(message) = message else {
        return without_secrets(&String::from_utf8_lossy(body)).into_bytes().into();
    };
    let mut kept = Cow::Borrowed(body);
    // From the end, so that the places before stay where they are.
    for (name, value) in message.extra().rev() {
        if let Cow::Owned(masked) = extra(name, value)
            && let Some(range) = place(body, value)
        {
            // A text, an array or an object stays one; a number becomes a text.
            let masked = if masked.starts_with(['"', '[', '{']) { masked } else { format!("\"{masked}\"") };
            kept.to_mut().splice(range, masked.into_bytes());
        }
    }
    kept
}

/// Where in a body a part of it stands.
fn place(body: &[u8], part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (body.get(start..end)? == part.as_bytes()).then_some(start..end)
}

/// The value of a field that KPay does not know, as it may be kept: owned when something was masked.
pub(super) fn extra<'a>(name: &str, value: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
    let value = value.into();
    if is_secret(name) {
        return MASK.to_owned().into();
    }
    let masked = if value.starts_with(['{', '[']) { without_secrets(&value) } else { without_card_numbers(&value) };
    if masked == value { value } else { masked.into() }
}

/// Whether a field of this name holds what nobody else may know.
fn is_secret(name: &str) -> bool {
    let plain = name.replace(['_', '-'], "").to_ascii_lowercase();
    ["password", "passwd", "pwd", "secret", "authkey", "apikey", "token", "cvv", "cvv2", "cvc", "pin"]
        .contains(&&*plain)
}

/// A text of names and values, JSON or form or neither quite, without the values of secret names and without card numbers.
fn without_secrets(text: &str) -> String {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find(in_name) {
        let end = rest[start..].find(|c| !in_name(c)).map_or(rest.len(), |length| start + length);
        kept.push_str(&rest[..end]);
        let name = &rest[start..end];
        rest = &rest[end..];
        // What stands between a name and its value: `":"`, `: `, `=`.
        let value = rest.trim_start_matches(['"', '\'', ' ', '\t', '\r', '\n', ':', '=']);
        let between = &rest[..rest.len() - value.len()];
        if is_secret(name) && between.contains([':', '=']) {
            let length = value.find(['"', '\'', '&', ',', '}', ']', '\n']).unwrap_or(value.len());
            kept.push_str(between);
            kept.push_str(MASK);
            rest = &value[length..];
        }
    }
    without_card_numbers(&(kept + rest))
}

/// With all but the last four digits of each card number masked.
fn without_card_numbers(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let run = &rest[start..];
        let end = run.find(|c: char| !c.is_ascii_digit() && c != ' ' && c != '-').unwrap_or(run.len());
        let run = run[..end].trim_end_matches([' ', '-']);
        kept.push_str(&rest[..start]);
        let digits: String = run.chars().filter(char::is_ascii_digit).collect();
        if (13..=19).contains(&digits.len()) && luhn(&digits) {
            kept.push_str(MASK);
            kept.push_str(&digits[digits.len() - 4..]);
        } else {
            kept.push_str(run);
        }
        rest = &rest[start + run.len()..];
    }
    kept + rest
}
