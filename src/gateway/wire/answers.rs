//! What leaves: answers, postbacks, and how a listener's answer is read.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::profile::PostbackFields;
use super::super::return_code::{CodeTable, ReturnCode};
use super::super::scenario::{Fields, Placeholders, Shown};
use super::super::transaction::{Order, Transaction};
use super::super::values::excerpt;
use super::PLACEHOLDERS;

/// A field's value.
enum Is<'a> {
    Text(&'a str),
    /// A text in pieces.
    Pieces(&'a [&'a str]),
    Number(u16),
    /// The field is left out.
    Absent,
}

/// A message of these fields, in this order.
fn message(fields: &[(&str, Is<'_>)]) -> Vec<u8> {
    // More than most take: growing would copy them.
    let mut message = Vec::with_capacity(512);
    for (name, value) in fields.iter().filter(|(_, value)| !matches!(value, Is::Absent)) {
        message.extend_from_slice(if message.is_empty() { b"{\"" } else { b",\"" });
        // KPay's names need no escapes.
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(b"\":");
        match value {
            Is::Text(text) => push_text(&mut message, &[text]),
            Is::Pieces(pieces) => push_text(&mut message, pieces),
            Is::Number(number) => message.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Is::Absent => {}
        }
    }
    message.push(b'}');
    message
}

fn push_text(message: &mut Vec<u8>, pieces: &[&str]) {
    message.push(b'"');
    for piece in pieces {
        // Mostly there is nothing to escape. All bytes are looked at, which takes less time than to stop at the first.
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if piece.bytes().fold(true, |so_far, byte| so_far & plain(byte)) {
            message.extend_from_slice(piece.as_bytes());
        } else {
            let quoted = json(piece);
            message.extend_from_slice(&quoted[1..quoted.len() - 1]);
        }
    }
    message.push(b'"');
}

/// `pay`, accepted (D). The address comes in pieces.
pub fn accepted(url: &[&str], authkey: &str, transaction: &Transaction) -> Vec<u8> {
    message(&[
        ("reply", Is::Text("PENDING")),
        ("url", Is::Pieces(url)),
        ("success", Is::Number(1)),
        ("authkey", Is::Text(authkey)),
        ("tid", Is::Text(&transaction.tid)),
        ("refid", Is::Text(&transaction.order.refid)),
        ("retcode", Is::Number(0)),
    ])
}

/// `pay`, refused (D; `statusmsg` O). The tid is empty when no transaction came to exist (A).
pub fn refused(
    code: ReturnCode,
    table: CodeTable,
    statusmsg: Option<&str>,
    authkey: &str,
    tid: &str,
    refid: &str,
) -> Vec<u8> {
    message(&[
        ("reply", Is::Text(code.reply(table))),
        ("statusmsg", statusmsg.map_or(Is::Absent, Is::Text)),
        ("url", Is::Text(" ")),
        ("success", Is::Number(0)),
        ("authkey", Is::Text(authkey)),
        ("tid", Is::Text(tid)),
        ("refid", Is::Text(refid)),
        ("retcode", Is::Number(code.number(table))),
    ])
}

/// `pay`, settled at once (D).
pub fn settled_at_once(transaction: &Transaction) -> Vec<u8> {
    let Told { statusid, statusdesc, momtransactionid, .. } = Told::truth(transaction);
    message(&[
        ("tid", Is::Text(&transaction.tid)),
        ("refid", Is::Text(&transaction.order.refid)),
        ("momtransactionid", Is::Text(momtransactionid)),
        ("statusdesc", Is::Text(statusdesc)),
        ("statusid", Is::Text(statusid)),
        ("retcode", Is::Number(0)),
    ])
}

/// Where a transaction stands, in KPay's words: what a postback and `checkstatus` tell.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// As on the wire.
    pub statusid: &'a str,
    /// In words.
    pub statusdesc: &'a str,
    /// The operator's id; empty when it failed (D), unless the profile has one then too (O).
    momtransactionid: &'a str,
    /// The payer's number; only when it succeeded (D).
    payaccount: Option<&'a str>,
}

impl<'a> Told<'a> {
    /// How it is.
    pub fn truth(transaction: &'a Transaction) -> Told<'a> {
        match &transaction.outcome {
            None => Told::words("03", transaction.profile.text("03")),
            Some(outcome) => Told::instead(transaction, outcome.statusid.as_str(), &outcome.statusdesc),
        }
    }

    /// How a script wants it told, or how it is when it wants nothing else.
    pub fn of(transaction: &'a Transaction, shown: Option<&'a Shown>) -> Told<'a> {
        let Some(Shown { statusid, statusdesc }) = shown else { return Told::truth(transaction) };
        let statusid = statusid.as_str();
        let words = statusdesc.as_deref().unwrap_or_else(|| transaction.profile.text(statusid));
        Told::instead(transaction, statusid, words)
    }

    fn instead(transaction: &'a Transaction, statusid: &'a str, statusdesc: &'a str) -> Told<'a> {
        match statusid {
            "01" => Told {
                statusid,
                statusdesc,
                momtransactionid: transaction.momtransactionid(),
                payaccount: Some(&transaction.order.msisdn),
            },
            "03" => Told::words(statusid, statusdesc),
            _ => Told { momtransactionid: transaction.failed_momtransactionid(), ..Told::words(statusid, statusdesc) },
        }
    }

    fn words(statusid: &'a str, statusdesc: &'a str) -> Told<'a> {
        Told { statusid, statusdesc, momtransactionid: "", payaccount: None }
    }
}

/// A payment's state in the guide's order (D).
fn documented(tid: &str, refid: &str, told: Told<'_>) -> Vec<u8> {
    let Told { statusid, statusdesc, momtransactionid, payaccount } = told;
    message(&[
        ("tid", Is::Text(tid)),
        ("refid", Is::Text(refid)),
        ("momtransactionid", Is::Text(momtransactionid)),
        ("payaccount", payaccount.map_or(Is::Absent, Is::Text)),
        ("statusid", Is::Text(statusid)),
        ("statusdesc", Is::Text(statusdesc)),
    ])
}

/// `checkstatus` of what is not there (D).
pub fn not_found() -> Vec<u8> {
    documented("", "", Told::words("611", "Transaction not found"))
}

/// A payment's state: a postback's body, which is also the response of `checkstatus` (D). The words for a pending payment
/// contain "Pending" (O).
pub fn status(transaction: &Transaction, told: Told<'_>) -> Vec<u8> {
    let Told { statusid, statusdesc, momtransactionid, .. } = told;
    match transaction.profile.postback_fields {
        PostbackFields::Documented => documented(&transaction.tid, &transaction.order.refid, told),
        PostbackFields::Observed => message(&[
            ("tid", Is::Text(&transaction.tid)),
            ("refid", Is::Text(&transaction.order.refid)),
            ("momtransactionid", Is::Text(momtransactionid)),
            ("statusdesc", Is::Text(statusdesc)),
            ("statusid", Is::Text(statusid)),
        ]),
    }
}

/// What the payer's browser takes back to the shop where it takes anything (A).
pub fn redirect(transaction: &Transaction, told: Told<'_>) -> [(&'static str, String); 5] {
    let Told { statusid, statusdesc, momtransactionid, .. } = told;
    let (tid, refid) = (&transaction.tid, &transaction.order.refid);
    [
        ("tid", tid.to_string()),
        ("refid", refid.to_string()),
        ("momtransactionid", momtransactionid.to_owned()),
        ("statusid", statusid.to_owned()),
        ("statusdesc", statusdesc.to_owned()),
    ]
}

/// A message with some of its fields added, changed or removed; the others keep their order.
pub fn changed(message: Vec<u8>, changes: &Fields, placeholders: &Placeholders<'_>) -> Vec<u8> {
    if changes.0.is_empty() {
        return message;
    }
    let fields: Fields = serde_json::from_slice(&message).expect("what is changed was written here");
    let mut fields = fields.0.into_vec();
    for (name, value) in &changes.0 {
        let place = fields.iter().position(|(other, _)| other == name);
        match (value, place) {
            (Value::Null, Some(place)) => drop(fields.remove(place)),
            (Value::Null, None) => {}
            (value, Some(place)) => fields[place].1 = filled(value, placeholders),
            (value, None) => fields.push((name.clone(), filled(value, placeholders))),
        }
    }
    json(&Fields(fields.into()))
}

/// A message about a transaction with some of its fields added, changed or removed.
pub fn with_fields(message: Vec<u8>, changes: &Fields, transaction: &Transaction) -> Vec<u8> {
    if changes.0.is_empty() {
        return message;
    }
    with_placeholders(transaction, |own| changed(message, changes, own))
}

fn filled(value: &Value, placeholders: &Placeholders<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(placeholders.fill(text)),
        Value::Array(list) => list.iter().map(|value| filled(value, placeholders)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), filled(value, placeholders))).collect()
        }
        other => other.clone(),
    }
}

/// What stands for a transaction's own values in a script's texts.
pub fn with_placeholders<T>(transaction: &Transaction, use_them: impl FnOnce(&Placeholders<'_>) -> T) -> T {
    let ids = (&*transaction.tid, transaction.momtransactionid());
    placeholders(&transaction.order, ids, use_them)
}

/// The same for an order that becomes no transaction.
pub fn with_order_placeholders<T>(order: &Order, use_them: impl FnOnce(&Placeholders<'_>) -> T) -> T {
    placeholders(order, ("", ""), use_them)
}

fn placeholders<T>(order: &Order, (tid, operators): (&str, &str), use_them: impl FnOnce(&Placeholders<'_>) -> T) -> T {
    let Order { refid, msisdn, .. } = order;
    let (amount, currency) = (order.amount.to_string(), order.currency.to_string());
    let values = [tid, refid, msisdn, &amount, &currency, operators];
    let mut named = PLACEHOLDERS.map(|(name, _)| (name, ""));
    named.iter_mut().zip(values).for_each(|((_, place), value)| *place = value);
    use_them(&Placeholders(&named))
}

/// The tid and the refid that a message names, if it is one that names any.
pub fn told_ids(message: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Ids {
        tid: String,
        refid: String,
    }
    serde_json::from_slice(message).ok().map(|Ids { tid, refid }| (tid, refid))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a text, or fields of values, always serialise")
}

/// What is wrong with a listener's answer that is no JSON object: what stands around one, or what it is instead.
fn not_an_object(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.starts_with('\u{feff}') {
        return "answered with a byte order mark before the JSON: save the listener's files as UTF-8 without one"
            .into();
    }
    let object = text.find("{\"").and_then(|start| {
        let mut objects = serde_json::Deserializer::from_str(&text[start..]).into_iter::<IgnoredAny>();
        objects.next()?.ok()?;
        Some((text[..start].trim(), text[start + objects.byte_offset()..].trim()))
    });
    match object {
        _ if text.starts_with('"') => "answered with a JSON string: encode it once".into(),
        Some(("", behind)) => format!("answered with {:?} behind the JSON", excerpt(behind)),
        Some((before, _)) => format!("answered with {:?} before the JSON", excerpt(before)),
        None => format!("answered {:?}, which is not a JSON object", excerpt(text)),
    }
}

/// What is wrong with a listener's answer; `None` when it is what the guide asks for (D).
pub fn acknowledgement_complaint(body: &[u8], tid: &str, refid: &str) -> Option<String> {
    let wanted = || format!(r#"the guide asks for {{"tid":"{tid}","refid":"{refid}","reply":"OK"}}"#);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Some(format!("answered with an empty body; {}", wanted()));
    }
    let Ok(serde_json::Value::Object(answer)) = serde_json::from_slice(body) else {
        return Some(format!("{}; {}", not_an_object(body), wanted()));
    };
    for (name, expected) in [("tid", tid), ("refid", refid), ("reply", "OK")] {
        match answer.get(name) {
            Some(serde_json::Value::String(value)) if value == expected => {}
            Some(value) => {
                return Some(format!("answered {name} {}; {}", excerpt(&value.to_string()), wanted()));
            }
            None => return Some(format!("answered without {name}; {}", wanted())),
        }
    }
    None
}
