//! The delivery log: list, one, replay, exports.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Reply, Request, Surfaces};
use super::input::Query;
use super::{Outcome, Problem, har, ok, reply};
use crate::gateway::journal::Event;
use crate::gateway::postback::Delivery;
use crate::gateway::values::excerpt;
use crate::gateway::{Gateway, Timestamp};
use crate::view;

/// How long a call waits for the delivery that it asked for; a listener may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn list(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["tid", "refid", "verdict", "merchant", "limit", "before", "as"])?;
    let (limit, before) = (query.limit()?, query.number("before")?);
    if let Some(verdict) = query.get("verdict")
        && !view::VERDICTS.contains(&verdict)
    {
        let message = format!("verdict: there is no '{}'", excerpt(verdict));
        return Err(Problem::unusable(message, "write acknowledged, flagged or failed"));
    }
    let fits = |(_, delivery): &(Timestamp, &Arc<Delivery>)| {
        let same = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
        let postback = &delivery.postback;
        same("tid", &postback.tid)
            && same("refid", &postback.refid)
            && same("merchant", &postback.merchant)
            && before.is_none_or(|before| postback.number < before)
            && query.get("verdict").is_none_or(|wanted| wanted == view::verdict(delivery).0)
    };
    let found: Vec<(Timestamp, Arc<Delivery>)> = surfaces.door.read(|gateway| {
        query.merchant(gateway)?;
        let newest = ended(gateway).filter(fits).take(limit);
        Ok::<_, Problem>(newest.map(|(at, delivery)| (at, Arc::clone(delivery))).collect())
    })?;
    match query.get("as") {
        None => ok(&json!({ "deliveries": found.iter().map(|(_, one)| view::delivery(one)).collect::<Vec<_>>() })),
        Some("har") => ok(&har::log(&found)),
        Some(_) => Err(Problem::unusable("as: a list can be exported as har only", "write as=har")),
    }
}

pub(super) fn one(surfaces: &Surfaces, request: &Request, id: &str) -> Outcome {
    let query = Query::parse(request, &["as"])?;
    surfaces.door.read(|gateway| {
        let (at, delivery) = find(gateway, id)?;
        match query.get("as") {
            None => ok(&view::delivery(delivery)),
            Some("curl") => Ok(Reply::text(200, format!("{}\n", har::curl(delivery)))),
            Some("har") => ok(&har::log(&[(at, Arc::clone(delivery))])),
            Some(_) => Err(Problem::unusable("as: a delivery can be exported as curl or as har", "write as=curl")),
        }
    })
}

/// The deliveries that are still here, each with the moment at which it ended, the newest first.
fn ended(gateway: &Gateway) -> impl Iterator<Item = (Timestamp, &Arc<Delivery>)> {
    gateway.journal().after(0).rev().filter_map(|entry| match &entry.event {
        Event::Delivery(delivery) => Some((entry.at, delivery)),
        _ => None,
    })
}

fn find<'a>(gateway: &'a Gateway, id: &str) -> Result<(Timestamp, &'a Arc<Delivery>), Problem> {
    let number = id.parse().ok();
    let found = number.and_then(|number: u64| ended(gateway).find(|(_, one)| one.postback.number == number));
    found.ok_or_else(|| {
        let message = format!("there is no delivery '{}', or not any more", excerpt(id));
        Problem::not_found(message, "GET /__sandbox/api/deliveries lists them")
    })
}

pub(super) async fn replay(surfaces: &Surfaces, id: &str) -> Outcome {
    let number = surfaces.door.apply(|gateway, _| {
        let number = find(gateway, id)?.1.postback.number;
        gateway.replay(number).ok_or_else(|| Problem::not_found("the delivery is gone", "ask for a newer one"))
    })?;
    let (status, delivery) = when_delivered(surfaces, number).await;
    Ok(reply(status, &delivery))
}

/// The delivery of a postback as soon as there is one; 202 when that takes longer than a caller should wait.
pub(super) async fn when_delivered(surfaces: &Surfaces, number: u64) -> (u16, Value) {
    let mut changes = surfaces.door.watch();
    let look = || {
        surfaces.door.read(|gateway| {
            let mut newest = gateway.journal().deliveries().rev();
            newest.find(|delivery| delivery.postback.number == number).map(|delivery| view::delivery(delivery))
        })
    };
    let delivered = async {
        loop {
            if let Some(delivery) = look() {
                return delivery;
            }
            changes.changed().await;
        }
    };
    match tokio::time::timeout(PATIENCE, delivered).await {
        Ok(delivery) => (200, delivery),
        Err(_) => (202, json!({ "id": number, "verdict": null, "reason": "it is still under way" })),
    }
}
