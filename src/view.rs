//! Our own JSON and our own words: how the journal looks to people and to machines.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::choice::Choice;
use crate::gateway::journal::{CallRecord, Decision, Entry, Event};
use crate::gateway::masking;
use crate::gateway::postback::{Delivery, Verdict};
use crate::gateway::return_code::ReturnCode;
use crate::gateway::tally::{DeliveryKind, Tally};
use crate::gateway::transaction::Transaction;
use crate::gateway::wire::Told;

/// A `pay` that is accepted: what newcomers paste, and what stands beside one that lacks something.
pub const SAMPLE_PAYMENT: &str = r#"{"action":"pay","msisdn":"0783300000","email":"customer@example.rw","details":"order","refid":"ORDER-1","amount":5000,"currency":"RWF","cname":"Jane Customer","cnumber":"CUST-1","pmethod":"momo","retailerid":"02","returl":"http://localhost:3000/postback","redirecturl":"https://shop.example/thanks","bankid":"63510"}"#;

/// Writes an entry as one line for people, in the arrow style; nothing for what is part of another line.
pub fn write_line(entry: &Entry, text: &mut String) {
    if matches!(entry.event, Event::Settled { by_hand: false, .. }) {
        return;
    }
    let start = text.len();
    write_entry(entry, text).expect("a string takes whatever is written");
    if let Cow::Owned(safe) = printable(&text[start..]) {
        text.replace_range(start.., &safe);
    }
    text.push('\n');
}

fn write_entry(entry: &Entry, line: &mut String) -> std::fmt::Result {
    entry.at.write_time_of_day(line);
    line.push(' ');
    match &entry.event {
        Event::Call(call) => write_call(call, line)?,
        Event::Delivery(delivery) => line.push_str(&delivery_line(delivery)),
        Event::ConnectionFailed { peer, problem } => write!(line, "--- {peer}: {problem}")?,
        Event::RequestRefused { peer, request, problem, .. } => {
            write!(line, "--- {request} from {peer} refused: {problem}")?
        }
        Event::Reset { merchant: None } => line.push_str("--- reset: every transaction is forgotten"),
        Event::Reset { merchant: Some(merchant) } => write!(line, "--- reset: what {merchant} did is forgotten")?,
        Event::Released { tid, .. } => write!(line, "<-- the answer about {tid} leaves")?,
        Event::Awaits { tid, .. } => write!(line, "--- {tid} waits for its payer, on the checkout page")?,
        Event::Payer { tid, act, .. } => write!(line, "--- the payer of {tid} {act}")?,
        Event::Held { tid, waiting, until, .. } => {
            write!(line, "--- the postback of {tid} is held: {waiting} of {until} wait")?;
        }
        Event::Settled { tid, statusid, statusdesc, .. } => {
            write!(line, "--- {tid} settled by hand: {statusid} {statusdesc}")?;
        }
    }
    Ok(())
}

fn write_call(call: &CallRecord, line: &mut String) -> std::fmt::Result {
    line.push_str("-->");
    for part in [call.action.word(), call.named(), &call.summary] {
        if !part.is_empty() {
            line.extend([" ", part]);
        }
    }
    line.push_str(" from ");
    write_address(call.peer, line)?;
    line.extend([": ", &*call.code, " ", &call.reply]);
    if !call.tid.is_empty() && !call.refid.is_empty() {
        line.extend([" ", &call.tid]);
    }
    match &call.decision {
        Some(Decision { scenario, choice: Choice::Chaos, .. }) => {
            line.extend([" (", scenario, " by chaos; again with the header X-KPay-Sandbox-Scenario: ", scenario, ")"]);
        }
        Some(Decision { scenario, choice: Choice::Default, .. }) => line.extend([" (", scenario, ")"]),
        Some(Decision { scenario, choice, .. }) => line.extend([" (", scenario, " ", choice.words(), ")"]),
        None => {}
    }
    if !call.fault.is_empty() {
        line.extend([", on its way: ", &call.fault]);
    }
    if let Some(refusal) = &call.refusal {
        line.extend([" because ", &refusal.reason]);
    }
    if let Some(hint) = &call.hint {
        line.extend(["; ", hint]);
    }
    Ok(())
}

/// As `Display` has it, of which a line's time would go into the numbers of an IPv4 address.
fn write_address(address: IpAddr, line: &mut String) -> std::fmt::Result {
    let IpAddr::V4(address) = address else { return write!(line, "{address}") };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            line.push('.');
        }
        line.push_str(itoa::Buffer::new().format(octet));
    }
    Ok(())
}

fn delivery_line(delivery: &Delivery) -> String {
    let Delivery { postback, took, .. } = delivery;
    let target = target(delivery);
    let attempt = if postback.attempt > 1 { format!(" (attempt {})", postback.attempt) } else { String::new() };
    let status = delivery.outcome.as_ref().map_or_else(|_| "not delivered".into(), |answer| answer.status.to_string());
    let judged = judged(delivery);
    let verdict = match judged.reason {
        None => judged.outcome.into(),
        Some(why) if judged.verdict == FAILED => why,
        Some(why) => format!("{}: {why}", judged.outcome),
    };
    format!(
        "<-- postback {} {} to {target}{attempt}: {status} in {} ms, {verdict}",
        postback.refid,
        postback.tid,
        took.as_millis()
    )
}

/// The address of a delivery, without its secrets: after `--postback-to`, or as the payment has it if it is unusable.
pub fn target(delivery: &Delivery) -> Cow<'_, str> {
    masking::address(if delivery.url.is_empty() { &delivery.postback.target } else { &delivery.url })
}

/// An entry for machines.
pub fn entry(entry: &Entry) -> Value {
    let mut object = match &entry.event {
        Event::Call(call) => json!({
            "event": "call",
            "action": call.action.word(),
            "peer": call.peer,
            "refid": call.refid,
            "tid": call.tid,
            "msisdn": call.msisdn,
            "summary": call.summary,
            "code": call.code,
            "reply": call.reply,
            "refused": call.refusal.is_some(),
            "scenario": call.decision.as_ref().map(|decision| &decision.scenario),
            "chosen": call.decision.as_ref().map(|decision| decision.choice),
            "fault": Some(&call.fault).filter(|fault| !fault.is_empty()),
            "reason": call.refusal.as_ref().map(|refusal| &refusal.reason),
            "hint": call.hint,
            "accepted_under": call.refusal.as_ref().and_then(|refusal| refusal.accepted_under.as_ref()),
            "grade": call.grade(),
        }),
        Event::Released { tid, .. } => json!({ "event": "released", "tid": tid }),
        Event::Settled { tid, statusid, statusdesc, by_hand, .. } => json!({
            "event": "settled", "tid": tid, "statusid": statusid, "statusdesc": statusdesc, "by_hand": by_hand,
        }),
        Event::Awaits { tid, .. } => json!({ "event": "awaits", "tid": tid }),
        Event::Payer { tid, act, .. } => json!({ "event": "payer", "tid": tid, "act": act.to_string() }),
        Event::Held { tid, waiting, until, .. } => {
            json!({ "event": "held", "tid": tid, "waiting": waiting, "until": until })
        }
        Event::Delivery(delivery) => delivery_fields(delivery),
        Event::Reset { .. } => json!({ "event": "reset" }),
        Event::ConnectionFailed { peer, problem } => {
            json!({ "event": "connection-failed", "peer": peer, "problem": problem })
        }
        Event::RequestRefused { peer, request, problem, .. } => {
            json!({ "event": "request-refused", "peer": peer, "request": request, "problem": problem })
        }
    };
    object["merchant"] = entry.event.merchant().into();
    object["number"] = entry.number.into();
    object["at"] = entry.at.to_string().into();
    object
}

fn delivery_fields(delivery: &Delivery) -> Value {
    let Delivery { postback, outcome, .. } = delivery;
    let judged = judged(delivery);
    json!({
        "event": "delivery",
        "id": postback.number,
        "attempt": postback.attempt,
        "tid": postback.tid,
        "refid": postback.refid,
        "returl": masking::address(&postback.target),
        "method": postback.method,
        "url": masking::address(&delivery.url),
        "content_type": postback.content_type,
        "body": postback.text(),
        "status": outcome.as_ref().map(|answer| answer.status).ok(),
        "verdict": judged.verdict,
        "outcome": judged.outcome,
        "reason": judged.reason,
        "took_ms": u64::try_from(delivery.took.as_millis()).unwrap_or(u64::MAX),
    })
}

/// An entry with all that is kept of it: what a call looked like, what a listener answered.
pub fn whole(entry: &Entry) -> Value {
    let mut object = self::entry(entry);
    match &entry.event {
        Event::Call(call) => {
            object["request"] =
                json!({ "head": call.request.head(), "body": String::from_utf8_lossy(call.request.body()) });
        }
        Event::Delivery(found) => {
            let whole = delivery(found);
            (object["headers"], object["answer"]) = (whole["headers"].clone(), whole["answer"].clone());
        }
        _ => {}
    }
    object
}

/// A delivery with all of what was sent and answered.
pub fn delivery(delivery: &Delivery) -> Value {
    let headers = |list: &[(String, String)]| -> Value {
        list.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let mut object = delivery_fields(delivery);
    object["merchant"] = (*delivery.postback.merchant).into();
    object["headers"] = headers(&delivery.headers);
    object["answer"] = match &delivery.outcome {
        Ok(answer) => json!({
            "status": answer.status,
            "headers": headers(&answer.headers),
            "body": String::from_utf8_lossy(&answer.body),
            "cut": answer.cut,
        }),
        Err(_) => Value::Null,
    };
    object
}

/// Our words for how a transaction stands.
pub const STATUSES: [&str; 3] = ["pending", "successful", "failed"];

/// How a transaction stands, in one of our words.
pub fn status(transaction: &Transaction) -> &'static str {
    let [pending, successful, failed] = STATUSES;
    match transaction.outcome.as_ref().map(|outcome| outcome.statusid.as_str()) {
        None => pending,
        Some("01") => successful,
        Some(_) => failed,
    }
}

const ACKNOWLEDGED: &str = "acknowledged";
const FLAGGED: &str = "flagged";
const FAILED: &str = "failed";
const UNACKNOWLEDGED: &str = "unacknowledged";
const UNDELIVERED: &str = "undelivered";

/// The words for how a delivery ended: its verdicts, and the outcomes that tell apart what is flagged.
pub const VERDICTS: [&str; 5] = [ACKNOWLEDGED, FLAGGED, FAILED, UNACKNOWLEDGED, UNDELIVERED];

/// How a delivery ended.
#[derive(Debug)]
pub struct Judged {
    /// `acknowledged`, `flagged` (another response than the guide's) or `failed` (no response).
    pub verdict: &'static str,
    /// `acknowledged`, `unacknowledged` (received, with another response than the guide's) or `undelivered` (refused by
    /// the listener, or lost).
    pub outcome: &'static str,
    /// Why it is not acknowledged.
    pub reason: Option<String>,
}

/// Judges a delivery.
pub fn judged(delivery: &Delivery) -> Judged {
    let (verdict, outcome, reason) = match delivery.verdict() {
        Verdict::Acknowledged => (ACKNOWLEDGED, ACKNOWLEDGED, None),
        Verdict::Unacknowledged(why) => (FLAGGED, UNACKNOWLEDGED, Some(why)),
        Verdict::Rejected(why) => (FLAGGED, UNDELIVERED, Some(why)),
        Verdict::Failed(why) => (FAILED, UNDELIVERED, Some(why)),
    };
    Judged { verdict, outcome, reason }
}

/// A transaction.
pub fn transaction(transaction: &Transaction) -> Value {
    let Transaction { order, outcome, .. } = transaction;
    let told = Told::truth(transaction);
    json!({
        "tid": transaction.tid,
        "refid": order.refid,
        "merchant": order.merchant,
        "system": order.system,
        "msisdn": order.msisdn,
        "amount": order.amount.to_string(),
        "currency": order.currency,
        "pmethod": order.method.word(),
        "bankid": order.bankid,
        "retailerid": order.retailerid,
        "returl": masking::address(&order.returl),
        "redirecturl": masking::address(&order.redirecturl),
        "checkout": transaction.checkout,
        "scenario": transaction.scenario.name,
        "chosen": transaction.choice,
        "status": status(transaction),
        "statusid": told.statusid,
        "statusdesc": told.statusdesc,
        "momtransactionid": outcome.as_ref().map(|outcome| &outcome.momtransactionid),
        "created_at": transaction.created.to_string(),
        "settled_at": outcome.as_ref().map(|outcome| outcome.at.to_string()),
    })
}

/// What was sent beside the fields of [`transaction`], secrets masked.
pub fn sent(transaction: &Transaction) -> Value {
    let shown = |(name, value): (&str, &str)| (name.to_owned(), masking::address(value).into());
    Value::Object(transaction.order.record.iter().map(shown).collect())
}

/// Which codes, scenarios and kinds of delivery were met, of one merchant or of all, and which not.
pub fn coverage(gateway: &Gateway, merchant: Option<&str>, tally: &Tally) -> Value {
    let rules = gateway.rules();
    let account = merchant.and_then(|merchant| rules.accounts.get(merchant));
    let profile = account.map_or(rules.profiles.default(), |account| &account.profile);
    let accepted = json!({ "code": 0, "meaning": "accepted", "met": tally.accepted });
    let codes = ReturnCode::ALL.into_iter().filter_map(|code| {
        let met = tally.refused.get(&code).copied().unwrap_or(0);
        // Another merchant's profile may have produced it.
        let is_shown = met > 0 || profile.produces(code);
        is_shown.then(|| json!({ "code": code.number(profile.codes), "meaning": code.meaning(), "met": met }))
    });
    let codes: Vec<Value> = std::iter::once(accepted).chain(codes).collect();
    let scenarios = gateway.repertoire().of(merchant).filter(|known| known.scenario.chain.is_empty());
    let mut scenarios: Vec<Value> = scenarios
        .map(|known| {
            let name = &known.scenario.name;
            json!({ "scenario": name, "met": tally.scenarios.get(name).copied().unwrap_or(0) })
        })
        .collect();
    scenarios.sort_by(|a, b| a["scenario"].as_str().cmp(&b["scenario"].as_str()));
    let deliveries =
        DeliveryKind::ALL.map(|kind| json!({ "kind": kind, "met": tally.deliveries.get(&kind).copied().unwrap_or(0) }));
    let met = |list: &[Value]| format!("{} of {}", list.iter().filter(|one| one["met"] != 0).count(), list.len());
    json!({
        "met": { "codes": met(&codes), "scenarios": met(&scenarios), "deliveries": met(&deliveries) },
        "codes": codes,
        "scenarios": scenarios,
        "deliveries": deliveries,
    })
}

/// What stands in a log in place of entries that the journal let go before they could be read.
pub fn lost(count: u64, json: bool) -> String {
    if json {
        format!("{}\n", json!({ "event": "lost", "count": count }))
    } else {
        format!("... {count} entries were lost before they could be logged\n")
    }
}

/// Control characters would let a caller write lines of its own into a log or colour a terminal, and those that turn
/// the direction of writing would let it show a line otherwise than it is.
fn printable(text: &str) -> Cow<'_, str> {
    // All bytes are looked at, which takes less time than to stop at the first.
    if text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let turns =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A text as one word of a shell's line.
pub fn shell_quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
