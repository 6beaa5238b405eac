//! The delivery log: list, one, replay, exports.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Reply, Request, Surfaces};
use super::input::Query;
use super::search::{BATCH, Condition};
use super::waiting::Wait;
use super::work::Listing;
use super::{Outcome, Problem, har, ok, reply};
use crate::door::Door;
use crate::gateway::Timestamp;
use crate::gateway::journal::Event;
use crate::gateway::postback::Delivery;
use crate::gateway::values::excerpt;
use crate::view;

/// How long a call waits for the delivery that it asked for; a listener may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn list(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["tid", "refid", "verdict", "merchant", "limit", "before", "as"])?;
    let (limit, before) = (query.limit()?, query.number("before")?);
    if let Some(verdict) = query.get("verdict")
        && !view::VERDICTS.contains(&verdict)
    {
        let message = format!("verdict: there is no '{}'", excerpt(verdict));
        return Err(Problem::unusable(message, format!("write one of {}", view::VERDICTS.join(", "))));
    }
    let as_har = match query.get("as") {
        None => false,
        Some("har") => true,
        Some(_) => return Err(Problem::unusable("as: a list can be exported as har only", "write as=har")),
    };
    surfaces.door.read(|gateway| query.merchant(gateway))?;
    let fits = |delivery: &Delivery| {
        let same = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
        let postback = &delivery.postback;
        same("tid", &postback.tid)
            && same("refid", &postback.refid)
            && same("merchant", &postback.merchant)
            && before.is_none_or(|before| postback.number < before)
            && query.get("verdict").is_none_or(|wanted| {
                let judged = view::judged(delivery);
                wanted == judged.verdict || wanted == judged.outcome
            })
    };
    let mut turn = surfaces.work.begin();
    let (mut listing, mut next_before, mut last) = (Listing::default(), None, None);
    let mut newest = Newest::default();
    'pages: while let Some(page) = newest.page(&surfaces.door) {
        for (at, delivery) in page.iter().filter(|(_, delivery)| fits(delivery)) {
            let value = if as_har { har::entry(delivery, *at) } else { view::delivery(delivery) };
            if listing.values.len() == limit || !listing.add(value) {
                next_before = last;
                break 'pages;
            }
            last = Some(delivery.postback.number);
            turn.give_way().await;
        }
        turn.give_way().await;
    }
    if as_har {
        return ok(&har::log(listing.values, next_before));
    }
    ok(&json!({ "deliveries": listing.values, "next_before": next_before }))
}

pub(super) async fn one(surfaces: &Surfaces, request: &Request, id: &str) -> Outcome {
    let query = Query::parse(request, &["as", "merchant"])?;
    let (at, delivery) = find_of(surfaces, &query, id).await?;
    match query.get("as") {
        None => ok(&view::delivery(&delivery)),
        Some("curl") => Ok(Reply::text(200, format!("{}\n", har::curl(&delivery)))),
        Some("har") => ok(&har::log(vec![har::entry(&delivery, at)], None)),
        Some(_) => Err(Problem::unusable("as: a delivery can be exported as curl or as har", "write as=curl")),
    }
}

/// The deliveries that the journal still has, the newest first, a few under one lock.
#[derive(Default)]
struct Newest {
    /// The number of the oldest entry that was looked at.
    before: Option<u64>,
}

impl Newest {
    /// The next deliveries, each with the moment at which it ended; `None` when the journal has no older entries.
    fn page(&mut self, door: &Door) -> Option<Vec<(Timestamp, Arc<Delivery>)>> {
        door.read(|gateway| {
            let mut seen = None;
            let older = gateway.journal().before(self.before.unwrap_or(u64::MAX)).take(BATCH);
            let page = older.inspect(|entry| seen = Some(entry.number)).filter_map(|entry| match &entry.event {
                Event::Delivery(delivery) => Some((entry.at, Arc::clone(delivery))),
                _ => None,
            });
            let page = page.collect();
            self.before = seen;
            seen.map(|_| page)
        })
    }
}

/// The delivery with this id, and the moment at which it ended.
pub(in crate::web) async fn find(surfaces: &Surfaces, id: &str) -> Result<(Timestamp, Arc<Delivery>), Problem> {
    let (number, mut turn) = (id.parse::<u64>().ok(), surfaces.work.begin());
    let mut newest = Newest::default();
    while let Some(page) = newest.page(&surfaces.door).filter(|_| number.is_some()) {
        if let Some(found) = page.into_iter().find(|(_, one)| Some(one.postback.number) == number) {
            return Ok(found);
        }
        turn.give_way().await;
    }
    Err(no_delivery(id))
}

/// The same, of the merchant that the query names, if it names one.
async fn find_of(surfaces: &Surfaces, query: &Query, id: &str) -> Result<(Timestamp, Arc<Delivery>), Problem> {
    let merchant = surfaces.door.read(|gateway| query.merchant(gateway))?;
    let (at, delivery) = find(surfaces, id).await?;
    let is_other = merchant.is_some_and(|merchant| merchant != delivery.postback.merchant);
    if is_other { Err(no_delivery(id)) } else { Ok((at, delivery)) }
}

fn no_delivery(id: &str) -> Problem {
    let message = format!("there is no delivery '{}', or not any more", excerpt(id));
    Problem::not_found(message, "GET /__sandbox/api/deliveries lists them")
}

pub(super) async fn replay(surfaces: &Surfaces, request: &Request, id: &str) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let (_, delivery) = find_of(surfaces, &query, id).await?;
    let (number, after) = surfaces.door.apply(|gateway, _| (gateway.replay(&delivery), gateway.journal().last()));
    let number = number.ok_or_else(|| Problem::not_found("the delivery is gone", "ask for a newer one"))?;
    let (status, delivery) = when_delivered(surfaces, number, after).await?;
    Ok(reply(status, &delivery))
}

/// The delivery of a postback as soon as there is one, behind this number of the journal; 202 when that takes longer
/// than a caller should wait.
pub(super) async fn when_delivered(surfaces: &Surfaces, number: u64, after: u64) -> Result<(u16, Value), Problem> {
    let _place = surfaces.work.place_to_wait(1)?;
    let wait = Arc::new(Wait::new(Condition::delivery_of(number, after), 1));
    let mut turn = surfaces.work.begin();
    let met = tokio::time::timeout(PATIENCE, surfaces.work.hub.until(&wait, &mut turn)).await;
    let delivered = wait.progress().matched.values().find_map(|view| match view.entry.as_ref()?.event {
        Event::Delivery(ref delivery) => Some(view::delivery(delivery)),
        _ => None,
    });
    match (met, delivered) {
        (Ok(true), Some(delivery)) => Ok((200, delivery)),
        _ => Ok((202, json!({ "id": number, "verdict": null, "reason": "it is still under way" }))),
    }
}
