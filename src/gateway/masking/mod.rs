//! What must not be kept: passwords, keys and card numbers are masked before anything of them is kept.

mod cards;
mod json;
mod names;
mod text;

use std::borrow::Cow;

use self::cards::without_card_numbers;
use self::json::Rules;
use self::names::is_secret;
use super::postback::{Answer, Delivery, Failure};
use super::values::Msisdn;
use super::wire::{self, Message, Param};

/// The text that replaces a secret.
pub const MASK: &str = "****";

/// Returns a request's line and headers as they may be kept. Of Basic credentials the user is no secret and tells a
/// lot; the password is one.
pub fn head<'a>(
    method: &str,
    path: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    user: Option<&str>,
) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    for part in [method, " ", &text(path), "\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers {
        let usual = is_usual(name);
        let shown = if usual { Cow::Borrowed(name) } else { without_card_numbers(name) };
        head.extend_from_slice(shown.as_bytes());
        head.extend_from_slice(b": ");
        match (name, user) {
            ("authorization", Some(user)) => {
                for part in ["Basic ", &text(user), ":", MASK, " (base64)"] {
                    head.extend_from_slice(part.as_bytes());
                }
            }
            // The usual ones are known without a look at the tables.
            ("authorization" | "kpay-key" | "proxy-authorization" | "cookie", _) => {
                head.extend_from_slice(MASK.as_bytes());
            }
            // Most have a port, which is neither a secret nor a card number.
            ("host", _) if is_plain_host(value) => head.extend_from_slice(value),
            _ if usual => head.extend_from_slice(&header_text(value)),
            _ => head.extend_from_slice(&header_value(name, value)),
        }
        head.push(b'\n');
    }
    head
}

/// Returns true for the headers that every client sends, and that hold no secret by their names.
fn is_usual(header: &str) -> bool {
    matches!(
        header,
        "host"
            | "user-agent"
            | "accept"
            | "content-type"
            | "content-length"
            | "accept-encoding"
            | "connection"
            | "x-kpay-sandbox-scenario"
    )
}

/// Returns true for a host with or without a port: `127.0.0.1:8443`, `pay.esicia.com`.
fn is_plain_host(value: &[u8]) -> bool {
    let port = value.iter().rposition(|byte| *byte == b':').unwrap_or(value.len());
    let (host, port) = value.split_at(port);
    port.len() <= 6 && port.iter().skip(1).all(u8::is_ascii_digit) && text::is_quiet(host)
}

/// Returns a header's value as it may be kept. Its name comes in small letters.
fn header_value<'a>(name: &str, value: &'a [u8]) -> Cow<'a, [u8]> {
    if is_secret(name) { Cow::Borrowed(MASK.as_bytes()) } else { header_text(value) }
}

/// Returns the value of a header whose name means no secret, as it may be kept.
fn header_text(value: &[u8]) -> Cow<'_, [u8]> {
    if text::is_quiet(value) { Cow::Borrowed(value) } else { bytes(value, |value| text::masked(value, text::DEPTH)) }
}

/// Masks bytes that are mostly text. What is no text is only changed where something is masked.
fn bytes<'a>(bytes: &'a [u8], mask: impl Fn(&str) -> Cow<'_, str>) -> Cow<'a, [u8]> {
    match mask(&String::from_utf8_lossy(bytes)) {
        Cow::Owned(masked) => Cow::Owned(masked.into_bytes()),
        Cow::Borrowed(_) => Cow::Borrowed(bytes),
    }
}

/// Returns a text as it may be kept: the values of secret names, passwords in addresses and card numbers are masked.
pub fn text(text: &str) -> Cow<'_, str> {
    text::masked(text, text::DEPTH)
}

/// Returns a text where an address is expected as it may be shown: without its password, the values of secret names and
/// card numbers. Anything can be sent in the place of an address.
pub fn address(text: &str) -> Cow<'_, str> {
    if is_web_address(text) { text::address(text) } else { self::text(text) }
}

/// Returns a body as it may be kept: without the values of fields that hold secrets, and without card numbers where
/// a payment does not need them.
pub(super) fn body<'a>(body: &'a [u8], message: Option<&Message<'_>>) -> Cow<'a, [u8]> {
    match message {
        Some(message) if message.stays() => Cow::Borrowed(body),
        Some(_) => bytes(body, |text| json::masked(text, &Parameters)),
        None => bytes(body, |text| text::masked(text, text::DEPTH)),
    }
}

/// Returns true if nothing of a parameter can need a mask. It takes less time than to look for it.
fn is_quiet(param: Option<Param>, name: &str, value: &str) -> bool {
    match param {
        Some(Param::Refid) => !value.starts_with(['{', '[']),
        // A colon says nothing in a web address; anything else can be sent in its place.
        Some(Param::Returl | Param::Redirecturl | Param::Logourl)
            if ["\"http://", "\"https://"].iter().any(|begin| value.starts_with(begin)) =>
        {
            text::is_quiet_address(value)
        }
        Some(_) => text::is_quiet(value.as_bytes()),
        None => text::is_quiet(value.as_bytes()) && text::is_quiet(name.as_bytes()) && !is_secret(name),
    }
}

/// Returns true if nothing of a parameter is masked. Addresses with a query, and slashes that PHP escapes, need this closer
/// look, and nearly all of them stay.
pub(super) fn stays((param, name, value): (Option<Param>, &str, &str)) -> bool {
    is_quiet(param, name, value)
        || (param.is_some()
            && !value.starts_with(['{', '['])
            && matches!(Parameters.value(Some(name), &json::unquoted(value)), Cow::Borrowed(_)))
}

/// The rules for a request's parameters. A payment works with its refid and its payer's number: they stay.
struct Parameters;

impl Rules for Parameters {
    fn value<'t>(&self, name: Option<&str>, value: &'t str) -> Cow<'t, str> {
        match name.and_then(Param::named) {
            Some(Param::Refid) => Cow::Borrowed(value),
            Some(Param::Msisdn) if Msisdn::parse(value).is_ok() => Cow::Borrowed(value),
            Some(Param::Returl | Param::Redirecturl | Param::Logourl) => address(value),
            _ => json::inside(value, text::DEPTH),
        }
    }

    fn depth(&self) -> usize {
        text::DEPTH
    }
}

/// Returns the value of a field that KPay does not know, as it may be kept.
pub(super) fn extra<'a>(name: &str, value: Cow<'a, str>) -> Cow<'a, str> {
    if is_secret(name) { Cow::Borrowed(MASK) } else { owned_text(value) }
}

/// Returns a text as it may be kept, without a copy where it stays as it is.
pub(super) fn owned_text(value: Cow<'_, str>) -> Cow<'_, str> {
    match text(&value) {
        Cow::Owned(masked) => Cow::Owned(masked),
        Cow::Borrowed(_) => value,
    }
}

/// Returns true if a browser can load something from this text, which then has to stay whole.
pub(super) fn is_web_address(text: &str) -> bool {
    let text = text.trim();
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '{' | '}'))
}

/// The rules for a listener's response: the ids that it was told stay, so that its response is judged as it came.
struct Response<'a> {
    told: &'a [&'a str],
}

impl Rules for Response<'_> {
    fn value<'t>(&self, _: Option<&str>, value: &'t str) -> Cow<'t, str> {
        if self.told.contains(&value) { Cow::Borrowed(value) } else { json::inside(value, text::DEPTH) }
    }

    fn depth(&self) -> usize {
        text::DEPTH
    }
}

/// Returns a delivery as it may be kept. The postback stays as it is: it may be sent again.
pub(super) fn delivery(mut delivery: Delivery) -> Delivery {
    let Delivery { postback, outcome, .. } = &mut delivery;
    match outcome {
        Ok(Answer { headers, body, .. }) => {
            for (name, value) in headers {
                if let Cow::Owned(masked) = header_value(&name.to_ascii_lowercase(), value.as_bytes()) {
                    *value = String::from_utf8_lossy(&masked).into_owned();
                } else if is_secret(name) {
                    MASK.clone_into(value);
                }
                if let Cow::Owned(masked) = text(name) {
                    *name = masked;
                }
            }
            let ids = wire::told_ids(&postback.body);
            let (tid, refid) = ids.as_ref().map_or(("", ""), |(tid, refid)| (tid, refid));
            let told = [&*postback.tid, &*postback.refid, tid, refid];
            let rules = Response { told: &told };
            if let Cow::Owned(masked) = bytes(body, |text| {
                if text::is_quiet(text.as_bytes()) {
                    Cow::Borrowed(text)
                } else if text::is_json(text) {
                    json::masked(text, &rules)
                } else {
                    text::masked(text, text::DEPTH)
                }
            }) {
                *body = masked;
            }
        }
        Err(
            Failure::BadTarget(why)
            | Failure::NotPermitted(why)
            | Failure::Unreachable(why)
            | Failure::Tls(why)
            | Failure::Broken(why),
        ) => {
            if let Cow::Owned(masked) = text::address(why) {
                *why = masked;
            }
        }
        Err(Failure::TimedOut(_) | Failure::Stopped) => {}
    }
    delivery
}
