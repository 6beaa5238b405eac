//! Bodies that are no JSON object: what they are instead, and the part that is wrong.

use super::super::masking;
use super::super::values::excerpt;

/// Returns what is wrong with a body that cannot be read, for which a parser may have an error.
pub(super) fn complaint(body: &[u8], error: Option<&serde_json::Error>) -> String {
    match body {
        [0x1f, 0x8b, ..] => return "the body is compressed (gzip). Send it as it is".into(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return "the body is compressed (zstd). Send it as it is".into(),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => return "the body is compressed (deflate). Send it as it is".into(),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [_, 0, ..] | [0, _, ..] => {
            return "the body is UTF-16. Encode it as UTF-8".into();
        }
        [0xef, 0xbb, 0xbf, ..] => {
            return "the body begins with a byte order mark (BOM), which PHP's json_decode does not take. Send UTF-8 without one".into();
        }
        _ => {}
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            let before = String::from_utf8_lossy(&body[..error.valid_up_to()]);
            return format!(
                "the body is not UTF-8: byte {} is wrong, behind {}. Encode it as UTF-8",
                error.valid_up_to(),
                quoted(tail(&masking::text(&before)))
            );
        }
    };
    // Secrets are masked in the whole, before a part is shown that no longer tells that it is one.
    let masked = masking::text(text);
    complaint_of_text(masked.trim(), error)
}

fn complaint_of_text(text: &str, error: Option<&serde_json::Error>) -> String {
    let begins = |start: &str| text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    let inside = text.trim_start_matches(['{', '[', '\'', '"', ' ']);
    match text.as_bytes().first() {
        None => return "the body is empty: send a JSON object".into(),
        Some(b'[') => return "the body is a JSON array: send the object itself".into(),
        Some(b'"') => return "the body is a JSON string: send the object itself, encoded once".into(),
        Some(b'\'') => {
            return "the body begins with a single quote, which a Windows shell does not take away. Put the JSON into a file and send that: curl --data @payment.json".into();
        }
        Some(b'{') if text[1..].trim_start().starts_with('\'') => {
            return "names and texts are in single quotes. JSON takes double quotes only: use json.dumps, json_encode or JSON.stringify".into();
        }
        Some(b'{') if text[1..].trim_start().starts_with(|c: char| c.is_ascii_alphabetic()) => {
            return "the quotes around the names are missing; a Windows shell takes them away. Put the JSON into a file and send that: curl --data @payment.json".into();
        }
        Some(b'{') => return broken_object(text, error),
        _ => {}
    }
    if begins("%7b") {
        return "the body is percent-encoded. Send the JSON itself".into();
    }
    if begins("--") && text.to_ascii_lowercase().contains("content-disposition") {
        return "the body is a multipart form. Send the JSON itself as the body".into();
    }
    if let Some(start) = object_start(text) {
        return format!("the body has {} before the JSON. Send nothing but the JSON", quoted(&text[..start]));
    }
    if text.contains('=') && !inside.starts_with('<') {
        return "the body is a form, not JSON: send the JSON itself as the body".into();
    }
    format!("the body is not a JSON object: it begins with {}", quoted(text))
}

/// Returns where an object begins that is whole, with something else before it.
fn object_start(text: &str) -> Option<usize> {
    let start = text.find("{\"")?;
    let mut objects = serde_json::Deserializer::from_str(&text[start..]).into_iter::<serde::de::IgnoredAny>();
    objects.next()?.ok().map(|_| start)
}

/// Returns what is wrong with a text that begins as an object.
fn broken_object(text: &str, first: Option<&serde_json::Error>) -> String {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let error = match objects.next() {
        Some(Ok(_)) => {
            let behind = text[objects.byte_offset()..].trim_start();
            if behind.is_empty() {
                // What is wrong is masked, or inside a text.
                let why = first.map_or(String::new(), |error| format!(": {error}"));
                return format!("the body is not usable JSON{why}");
            }
            return format!("the body has {} behind the JSON. Send nothing but the JSON", quoted(behind));
        }
        Some(Err(error)) => error,
        None => return "the body is not usable JSON".into(),
    };
    if error.is_eof() {
        return format!("the body is not usable JSON: it ends before the object does, with {}", quoted(tail(text)));
    }
    let end = offset(text, &error);
    let from = text[..end].char_indices().rev().nth(SHOWN / 2).map_or(0, |(at, _)| at);
    let near = quoted(&text[from..]);
    let number = text[..end].rsplit([':', ',', '[', ' ']).next().unwrap_or_default();
    let rest = text[end..].bytes().take_while(u8::is_ascii_digit).count();
    if number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit()) && number.len() + rest > 1 {
        let number = format!("{number}{}", &text[end..end + rest]);
        return format!(
            "the body is not usable JSON: the number {number} begins with 0. Send it as a string: \"{number}\""
        );
    }
    let why = error.to_string();
    let closes = text[..end].strip_suffix(['}', ']']).is_some_and(|before| before.trim_end().ends_with(','));
    let why = if closes { "trailing comma" } else { why.split(" at line ").next().unwrap_or_default() };
    format!("the body is not usable JSON: {why} near {near}")
}

/// Returns where in a text an error of serde_json is: behind the byte that it names.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut offset = (before + error.column()).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// How many characters of a body are shown.
const SHOWN: usize = 40;

/// The last characters of a text.
fn tail(text: &str) -> &str {
    text.char_indices().rev().nth(SHOWN - 1).map_or(text, |(at, _)| &text[at..])
}

fn quoted(text: &str) -> String {
    format!("'{}'", excerpt(text))
}
