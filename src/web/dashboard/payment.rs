//! One payment: its facts, its timeline, and the buttons that change its course.

use std::collections::VecDeque;

use askama::Template;

use super::super::control::{Outcome, Problem, Timeline, ahead, delivery_curl};
use super::super::{Reply, Request, Surfaces};
use super::{Frame, second, time_of_day};
use crate::gateway::journal::{CallRecord, Entry, Event};
use crate::gateway::masking;
use crate::gateway::postback::Delivery;
use crate::gateway::transaction::Transaction;
use crate::gateway::values::excerpt;
use crate::gateway::wire::Told;
use crate::gateway::{Gateway, Timestamp};
use crate::view;

/// How many entries of a timeline are shown: the newest.
const ENTRIES: usize = 200;

#[derive(Template)]
#[template(path = "dashboard-payment.html")]
struct Page {
    frame: Frame,
    tid: String,
    refid: String,
    status: &'static str,
    statusid: String,
    statusdesc: String,
    facts: Vec<(&'static str, String)>,
    checkout: String,
    awaits: bool,
    due: Vec<String>,
    script: String,
    timeline: Vec<Moment>,
    /// Older entries are not here any more, or not shown.
    cut: bool,
}

/// One entry of a timeline.
pub(super) struct Moment {
    pub(super) number: u64,
    pub(super) at: String,
    /// How long after the payment was made.
    pub(super) after: String,
    /// `good`, `bad`, `warn` or nothing.
    pub(super) tone: &'static str,
    pub(super) title: String,
    pub(super) words: String,
    /// Texts to unfold, each under its name.
    pub(super) texts: Vec<(&'static str, String)>,
    /// The delivery's number; none when it is something else.
    pub(super) delivery: Option<u64>,
}

pub(super) async fn page(surfaces: &Surfaces, request: &Request, tid: &str) -> Outcome {
    let frame = Frame::new(surfaces, request, "payments");
    let found = surfaces.door.read(|gateway| gateway.ledger().find(tid).cloned());
    let found = found.ok_or_else(|| {
        let message = format!("there is no payment '{}', or not any more", excerpt(tid));
        Problem::new(404, "not-found", message, "it may have been forgotten by a reset: choose one from the list")
    })?;
    let (mut pages, mut turn) = (Timeline::of(&found), surfaces.work.begin());
    let (mut newest, mut is_cut) = (VecDeque::new(), false);
    while let Some(page) = pages.page(&surfaces.door) {
        newest.extend(page);
        while newest.len() > ENTRIES {
            newest.pop_front();
            is_cut = true;
        }
        turn.give_way().await;
    }
    let mut timeline = Vec::new();
    for entry in &newest {
        timeline.push(moment(entry, Some(found.created)));
        turn.give_way().await;
    }
    let due = ahead(surfaces, &found.tid, &mut turn).await;
    let page = surfaces.door.read(|gateway| read(gateway, frame, &found, timeline, is_cut));
    let page = Page { due: due.into_iter().map(second).collect(), ..page };
    Ok(Reply::page(200, &page))
}

fn read(gateway: &Gateway, frame: Frame, found: &Transaction, timeline: Vec<Moment>, is_cut: bool) -> Page {
    let (order, told) = (&found.order, Told::truth(found));
    let mut facts = vec![
        ("Merchant", order.merchant.to_string()),
        ("Payer", order.msisdn.to_string()),
        ("Amount", format!("{} {}", order.amount, order.currency)),
        ("Method", order.method.word().to_owned()),
        ("Made at", second(found.created)),
        ("Scenario", format!("{} ({})", found.scenario.name, found.choice.words())),
        ("returl", masking::address(&order.returl).into_owned()),
        ("redirecturl", masking::address(&order.redirecturl).into_owned()),
    ];
    if let Some(outcome) = found.outcome.as_ref().filter(|outcome| !outcome.momtransactionid.is_empty()) {
        facts.push(("momtransactionid", outcome.momtransactionid.to_string()));
    }
    facts.extend(found.answer.as_ref().map(|answer| ("The payer", answer.act.to_string())));
    Page {
        frame,
        tid: found.tid.to_string(),
        refid: order.refid.to_string(),
        status: view::status(found),
        statusid: told.statusid.to_owned(),
        statusdesc: told.statusdesc.to_owned(),
        facts,
        checkout: found.checkout.to_string(),
        awaits: gateway.awaits_payer(&found.tid),
        due: Vec::new(),
        script: serde_json::to_string_pretty(&*found.scenario).unwrap_or_default(),
        cut: is_cut || gateway.journal().evicted() > 0,
        timeline,
    }
}

/// An entry of the journal for people.
pub(super) fn moment(entry: &Entry, origin: Option<Timestamp>) -> Moment {
    let after = origin.map(|origin| entry.at.since(origin).as_millis());
    let mut moment = Moment {
        number: entry.number,
        at: time_of_day(entry.at),
        after: after.map_or(String::new(), |ms| format!("+{}.{:03} s", ms / 1000, ms % 1000)),
        tone: "",
        title: String::new(),
        words: String::new(),
        texts: Vec::new(),
        delivery: None,
    };
    match &entry.event {
        Event::Call(call) => show_call(&mut moment, call),
        Event::Delivery(delivery) => show_delivery(&mut moment, delivery),
        Event::Settled { statusid, statusdesc, by_hand, .. } => {
            moment.title = format!("Settled as {statusid}{}", if *by_hand { " by hand" } else { "" });
            moment.tone = if &**statusid == "01" { "good" } else { "bad" };
            moment.words = statusdesc.to_string();
        }
        Event::Awaits { .. } => moment.title = "Waits for the payer, on the checkout page".into(),
        Event::Payer { act, .. } => moment.title = format!("The payer {act}"),
        Event::Held { waiting, until, .. } => {
            moment.title = format!("The postback is held: {waiting} of {until} wait");
        }
        Event::Released { .. } => moment.title = "The answer that was kept back leaves".into(),
        Event::ConnectionFailed { peer, problem } => {
            (moment.tone, moment.title) = ("warn", format!("A connection of {peer} failed"));
            moment.words.clone_from(problem);
        }
        Event::RequestRefused { peer, request, problem, .. } => {
            (moment.tone, moment.title) = ("warn", format!("{request} from {peer} was refused"));
            moment.words.clone_from(problem);
        }
        Event::Reset { merchant } => {
            let whose = merchant.as_deref().map_or(String::new(), |merchant| format!(" of {merchant}"));
            moment.title = format!("Reset: everything{whose} was forgotten");
        }
    }
    moment
}

fn show_call(moment: &mut Moment, call: &CallRecord) {
    let action = if call.action.word().is_empty() { "a call" } else { call.action.word() };
    moment.title = format!("{action} answered {} {}", call.code, call.reply);
    if let Some(decision) = &call.decision {
        moment.words = format!("Follows {} {}.", decision.scenario, decision.choice.words());
    }
    if !call.fault.is_empty() {
        moment.words = format!("{} On its way: {}.", moment.words, call.fault);
        moment.tone = "warn";
    }
    if let Some(refusal) = &call.refusal {
        moment.tone = "bad";
        let end = if refusal.reason.ends_with(['?', '.']) { "" } else { "." };
        moment.words = format!("{} {}{end}", moment.words, refusal.reason);
    }
    if let Some(hint) = &call.hint {
        moment.tone = "warn";
        moment.words = format!("{} Hint: {hint}.", moment.words);
    }
    if let Some(grade) = call.grade() {
        moment.words = format!("{} ({})", moment.words, format!("{grade:?}").to_lowercase());
    }
    let body = String::from_utf8_lossy(call.request.body());
    moment.texts = vec![("Request", format!("from {}\n{}\n{body}", call.peer, call.request.head()))];
}

fn show_delivery(moment: &mut Moment, delivery: &Delivery) {
    let postback = &delivery.postback;
    let judged = view::judged(delivery);
    let target = view::target(delivery);
    moment.delivery = Some(postback.number);
    moment.tone = match judged.outcome {
        "acknowledged" => "good",
        "unacknowledged" => "warn",
        _ => "bad",
    };
    let attempt = if postback.attempt > 1 { format!(", attempt {}", postback.attempt) } else { String::new() };
    moment.title =
        format!("Postback {}{attempt}: {} in {} ms", postback.number, judged.outcome, delivery.took.as_millis());
    moment.words = match (judged.reason, &delivery.outcome) {
        (Some(why), Ok(_)) => format!("Your listener {why}."),
        (Some(why), Err(_)) => format!("It did not arrive: {why}."),
        (None, _) => "Your listener answered as the guide asks.".into(),
    };
    let lines = |headers: &[(String, String)]| {
        headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>()
    };
    moment.texts = vec![
        ("Sent", format!("{} {target}\n{}\n{}", postback.method, lines(&delivery.headers), postback.text())),
        ("As curl", delivery_curl(delivery)),
    ];
    if let Ok(answer) = &delivery.outcome {
        let body = String::from_utf8_lossy(&answer.body);
        moment.texts.insert(1, ("Answer", format!("HTTP {}\n{}\n{body}", answer.status, lines(&answer.headers))));
    }
}
