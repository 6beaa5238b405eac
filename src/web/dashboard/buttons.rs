//! What the dashboard's buttons do: the verbs of the control API, from a form.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::super::control::{Outcome, Problem, advance_clock, find_delivery};
use super::super::{Body, Request, Surfaces};
use super::see_other;
use crate::clock::ClockMode;
use crate::gateway::choice::Next;
use crate::gateway::scenario::{Posting, Settlement};
use crate::gateway::timestamp::Span;
use crate::gateway::values::excerpt;

/// Does what a form says, and goes back to the page where it stood.
pub(super) async fn press(surfaces: &Surfaces, request: &Request) -> Outcome {
    let Body::Whole(body) = &request.body else {
        return Err(Problem::new(413, "too-large", "the form is too large", "send less"));
    };
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.get(name).map_or("", |value| value.trim());
    match field("do") {
        "settle" => settle(surfaces, field("tid"), field("as"))?,
        "post" => post(surfaces, field("tid"), field("how"))?,
        "replay" => replay(surfaces, field("id")).await?,
        "pause" => surfaces.door.set_clock(ClockMode::Paused),
        "resume" => surfaces.door.set_clock(ClockMode::Running),
        "advance" => {
            let span: Span = field("by").parse().map_err(|why: String| unusable(format!("by: {why}")))?;
            drop(advance_clock(surfaces, Some(span.0)).await?);
        }
        "idle" => drop(advance_clock(surfaces, None).await?),
        "next" => queue(surfaces, field("scenario"), field("times"))?,
        "clear-next" => surfaces.door.apply(|gateway, _| gateway.clear_queue(None)),
        "reset" => surfaces.door.reset(),
        other => return Err(unusable(format!("do: there is no button '{}'", excerpt(other)))),
    }
    let back = field("back");
    // Back to a page of ours, and to nothing that only looks like one.
    let ours = back.starts_with("/__sandbox") && back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    Ok(see_other(if ours { back } else { "/__sandbox/" }))
}

fn unusable(message: String) -> Problem {
    Problem::unusable(message, "use the dashboard's own buttons, or the control API")
}

fn no_payment(tid: &str) -> Problem {
    Problem::not_found(format!("there is no payment '{}', or not any more", excerpt(tid)), "choose one from the list")
}

fn settle(surfaces: &Surfaces, tid: &str, how: &str) -> Result<(), Problem> {
    let settlement = match how {
        "approved" => Settlement::successful(),
        "declined" => Settlement::failed(None),
        "expired" => Settlement::failed(Some("The payer did not answer in time.".into())),
        other => return Err(unusable(format!("as: '{}' is none of approved, declined, expired", excerpt(other)))),
    };
    let found = surfaces.door.apply(|gateway, now| gateway.settle_by_hand(tid, &settlement, now));
    if found { Ok(()) } else { Err(no_payment(tid)) }
}

fn post(surfaces: &Surfaces, tid: &str, how: &str) -> Result<(), Problem> {
    let posting = match how {
        "again" => json!({}),
        "twice" => json!({ "count": 2, "every": "0s" }),
        "malformed" => json!({ "body": r#"{"tid":"{tid}","refid":"{refid}","statusid":"01",}"# }),
        "form" => json!({ "content_type": "application/x-www-form-urlencoded" }),
        other => return Err(unusable(format!("how: '{}' is none of again, twice, malformed, form", excerpt(other)))),
    };
    let posting: Posting = serde_json::from_value(posting).expect("it is written as in a scenario");
    surfaces.door.apply(|gateway, now| match gateway.ledger().find(tid) {
        None => Err(no_payment(tid)),
        Some(_) => gateway.post_by_hand(tid, &posting, now).map(drop).map_err(unusable),
    })
}

async fn replay(surfaces: &Surfaces, id: &str) -> Result<(), Problem> {
    let (_, delivery) = find_delivery(surfaces, id).await?;
    let replayed = surfaces.door.apply(|gateway, _| gateway.replay(&delivery));
    let gone = || Problem::not_found(format!("the payment of delivery {id} is gone"), "choose a newer one");
    replayed.map(drop).ok_or_else(gone)
}

fn queue(surfaces: &Surfaces, name: &str, times: &str) -> Result<(), Problem> {
    let times = if times.is_empty() { Ok(1) } else { times.parse() };
    let times = times.map_err(|_| unusable("times: write how many payments, such as 2".into()))?;
    surfaces.door.apply(|gateway, _| {
        let scenario = gateway.repertoire().get(name, None).map(Arc::clone);
        let scenario =
            scenario.ok_or_else(|| unusable(format!("scenario: there is none called '{}'", excerpt(name))))?;
        gateway.queue(Next { merchant: None, when: None, times, scenario }).map_err(unusable)
    })
}
