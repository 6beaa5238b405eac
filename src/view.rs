//! Our own JSON and our own words: how the journal looks to people and to machines.

use serde_json::{Value, json};

use crate::gateway::journal::{CallRecord, Entry, Event};
use crate::gateway::postback::{Delivery, Verdict};

/// An entry as one line for people, in the arrow style; `None` for what is part of another line.
pub fn line(entry: &Entry) -> Option<String> {
    let text = match &entry.event {
        Event::Call(call) => call_line(call),
        Event::Delivery(delivery) => delivery_line(delivery),
        Event::ConnectionFailed { peer, problem } => format!("--- {peer}: {problem}"),
        Event::Reset => "--- reset: every transaction is forgotten".into(),
        Event::Settled { .. } => return None,
    };
    let time = entry.at.to_string();
    let time = time.split_once('T').map_or(&*time, |(_, time)| time);
    Some(format!("{time} {}", printable(&text)))
}

fn call_line(call: &CallRecord) -> String {
    let mut line = String::from("-->");
    for part in [call.action, &call.refid, &call.summary] {
        if !part.is_empty() {
            line = line + " " + part;
        }
    }
    line = format!("{line} from {}: {} {}", call.peer, call.code, call.reply);
    if !call.tid.is_empty() {
        line = line + " " + &call.tid;
    }
    if let Some(scenario) = &call.scenario {
        line = format!("{line} ({scenario})");
    }
    if let Some(refusal) = &call.refusal {
        line = line + " because " + &refusal.reason;
    }
    line
}

fn delivery_line(delivery: &Delivery) -> String {
    let Delivery { postback, url, took, .. } = delivery;
    let target = if url.is_empty() { &*postback.target } else { url };
    let attempt = if postback.attempt > 1 { format!(" (attempt {})", postback.attempt) } else { String::new() };
    let status = delivery.outcome.as_ref().map_or_else(|_| "not delivered".into(), |answer| answer.status.to_string());
    let verdict = match delivery.verdict() {
        Verdict::Acknowledged => "acknowledged".into(),
        Verdict::Flagged(why) => format!("flagged: {why}"),
        Verdict::Failed(why) => why,
    };
    format!(
        "<-- postback {} {} to {target}{attempt}: {status} in {} ms, {verdict}",
        postback.refid,
        postback.tid,
        took.as_millis()
    )
}

/// An entry for machines.
pub fn entry(entry: &Entry) -> Value {
    let mut object = match &entry.event {
        Event::Call(call) => json!({
            "event": "call",
            "action": call.action,
            "peer": call.peer,
            "refid": call.refid,
            "tid": call.tid,
            "code": call.code,
            "reply": call.reply,
            "scenario": call.scenario,
            "reason": call.refusal.as_ref().map(|refusal| &refusal.reason),
            "grade": call.refusal.as_ref().map(|refusal| refusal.code.grade()),
        }),
        Event::Settled { tid, statusid, statusdesc } => json!({
            "event": "settled", "tid": tid, "statusid": statusid, "statusdesc": statusdesc,
        }),
        Event::Delivery(delivery) => delivery_json(delivery),
        Event::Reset => json!({ "event": "reset" }),
        Event::ConnectionFailed { peer, problem } => {
            json!({ "event": "connection-failed", "peer": peer, "problem": problem })
        }
    };
    object["number"] = entry.number.into();
    object["at"] = entry.at.to_string().into();
    object
}

fn delivery_json(delivery: &Delivery) -> Value {
    let (verdict, why) = match delivery.verdict() {
        Verdict::Acknowledged => ("acknowledged", None),
        Verdict::Flagged(why) => ("flagged", Some(why)),
        Verdict::Failed(why) => ("failed", Some(why)),
    };
    json!({
        "event": "delivery",
        "id": delivery.postback.number,
        "attempt": delivery.postback.attempt,
        "tid": delivery.postback.tid,
        "refid": delivery.postback.refid,
        "returl": delivery.postback.target,
        "url": delivery.url,
        "body": delivery.postback.body,
        "status": delivery.outcome.as_ref().map(|answer| answer.status).ok(),
        "verdict": verdict,
        "reason": why,
        "took_ms": u64::try_from(delivery.took.as_millis()).unwrap_or(u64::MAX),
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

/// Control characters would let a caller write lines of its own into a log or colour a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
