//! JSON as it may be kept: it stays JSON, and what is not masked stays as it was written.

use std::borrow::Cow;
use std::ops::Range;

use super::MASK;
use super::names::is_secret;
use super::text;

/// Decides about the values of one JSON text.
pub(super) trait Rules {
    /// A value's text as it may be kept, under its name if it is one of the outermost object. A text that is no string
    /// comes as it stands there.
    fn value<'t>(&self, name: Option<&str>, value: &'t str) -> Cow<'t, str>;

    /// How often strings inside are still unpacked.
    fn depth(&self) -> usize;
}

/// Values without a meaning of their own.
pub(super) struct Texts {
    pub(super) depth: usize,
}

impl Rules for Texts {
    fn value<'t>(&self, _: Option<&str>, value: &'t str) -> Cow<'t, str> {
        inside(value, self.depth)
    }

    fn depth(&self) -> usize {
        self.depth
    }
}

/// A string's text, unpacked once more; too deep, what could still be unpacked is masked as a whole.
pub(super) fn inside(value: &str, depth: usize) -> Cow<'_, str> {
    match depth {
        0 if value.contains('\\') => Cow::Owned(MASK.to_owned()),
        0 => text::loose(value, 0),
        _ => text::masked(value, depth - 1),
    }
}

/// Masks a text that is JSON.
pub(super) fn masked<'a>(json: &'a str, rules: &impl Rules) -> Cow<'a, str> {
    let (mut kept, mut copied, mut at, mut depth) = (String::new(), 0, 0, 0_usize);
    // The name of the value that comes next; while the value of a secret name is read, how deep it lies.
    let (mut name, mut secret): (Option<Cow<'_, str>>, Option<usize>) = (None, None);
    let bytes = json.as_bytes();
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if secret.is_none() && name.as_deref().is_some_and(is_secret) {
                    secret = Some(depth);
                }
                name = None;
                continue;
            }
            b'}' | b']' => {
                if secret == Some(depth) {
                    secret = None;
                }
                depth = depth.saturating_sub(1);
                continue;
            }
            b',' => {
                name = None;
                continue;
            }
            b':' | b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'"' => at = start + string_length(&json[start..]),
            _ => at = start + scalar_length(&json[start..]),
        }
        let token = &json[start..at];
        let is_string = *byte == b'"';
        if is_string && json[at..].trim_start_matches([' ', '\t', '\r', '\n']).starts_with(':') {
            let decoded = unquoted(token);
            if let Cow::Owned(masked) = inside(&decoded, rules.depth()) {
                replace(json, start..at, &quoted(&masked), &mut kept, &mut copied);
            }
            name = Some(decoded);
            continue;
        }
        let name = name.take();
        if secret.is_some() || name.as_deref().is_some_and(is_secret) {
            replace(json, start..at, &quoted(MASK), &mut kept, &mut copied);
            continue;
        }
        let value = if is_string { unquoted(token) } else { Cow::Borrowed(token) };
        if let Cow::Owned(masked) = rules.value(name.as_deref().filter(|_| depth == 1), &value) {
            replace(json, start..at, &quoted(&masked), &mut kept, &mut copied);
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    kept.push_str(&json[copied..]);
    Cow::Owned(kept)
}

/// Puts another text in place of a part, behind what stands before it.
fn replace(json: &str, part: Range<usize>, with: &str, kept: &mut String, copied: &mut usize) {
    kept.push_str(&json[*copied..part.start]);
    kept.push_str(with);
    *copied = part.end;
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A string without its quotes and escapes; one that is no text, such as half a surrogate pair, with its escapes.
pub(super) fn unquoted(token: &str) -> Cow<'_, str> {
    let inside = token.strip_prefix('"').unwrap_or(token);
    let inside = inside.strip_suffix('"').unwrap_or(inside);
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    serde_json::from_str::<String>(token).map_or(Cow::Borrowed(inside), Cow::Owned)
}

/// How long the string is that a text begins with, quotes included: up to the text's end if it is not closed.
fn string_length(text: &str) -> usize {
    closing_quote(text).map_or(text.len(), |at| at + 1)
}

/// Where the string is closed that a text begins with.
pub(super) fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// How long the number or the word is that a text begins with.
fn scalar_length(text: &str) -> usize {
    let mut rest = text.char_indices().skip(1);
    let end = rest.find(|(_, c)| matches!(c, ',' | ':' | '"' | '{' | '}' | '[' | ']') || c.is_ascii_whitespace());
    end.map_or(text.len(), |(at, _)| at)
}
