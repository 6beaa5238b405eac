//! Transactions: list, one with its timeline, settle, post.

use serde_json::json;

use super::super::{Request, Surfaces};
use super::input::{Query, body};
use super::search::BATCH;
use super::work::{Listing, Turn};
use super::{Outcome, Problem, deliveries, ok, reply};
use crate::door::Door;
use crate::gateway::journal::{Entry, Event};
use crate::gateway::scenario::{Posting, Settlement};
use crate::gateway::transaction::Transaction;
use crate::gateway::values::{Msisdn, excerpt};
use crate::gateway::{Gateway, Timestamp};
use crate::view;

pub(super) async fn list(surfaces: &Surfaces, request: &Request) -> Outcome {
    let filters = ["refid", "tid", "msisdn", "status", "merchant", "scenario", "limit", "before"];
    let query = Query::parse(request, &filters)?;
    let limit = query.limit()?;
    if let Some(status) = query.get("status")
        && !view::STATUSES.contains(&status)
    {
        let message = format!("status: there is no '{}'", excerpt(status));
        return Err(Problem::unusable(message, "write pending, successful or failed"));
    }
    let payer = query.get("msisdn").map(Msisdn::parse).transpose();
    let payer = payer.map_err(|why| Problem::unusable(format!("msisdn: {why}"), "write it in any spelling"))?;
    let fits = &|found: &Transaction| {
        let same = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
        same("refid", &found.order.refid)
            && same("tid", &found.tid)
            && same("merchant", &found.order.merchant)
            && same("scenario", &found.scenario.name)
            && same("status", view::status(found))
            && payer.as_ref().is_none_or(|payer| Msisdn::parse(found.order.msisdn.trim()).as_ref() == Ok(payer))
    };
    let mut place = surfaces.door.read(|gateway| {
        query.merchant(gateway)?;
        // A page goes on behind the transaction that the one before ended with.
        let Some(tid) = query.get("before") else { return Ok(gateway.ledger().places()) };
        let message = || format!("before: there is no transaction '{}'", excerpt(tid));
        let hint = "write the next_before of the page before, or leave it out";
        gateway.ledger().place(tid).ok_or_else(|| Problem::not_found(message(), hint))
    })?;
    let mut turn = surfaces.work.begin();
    let (mut listing, mut next_before, mut last) = (Listing::default(), None, None);
    'pages: while place > 0 {
        let room = limit + 1 - listing.values.len();
        let (page, next) = surfaces.door.read(|gateway| page_before(gateway, place, room, fits));
        place = next;
        for found in page {
            if listing.values.len() == limit || !listing.add(view::transaction(&found)) {
                next_before = last;
                break 'pages;
            }
            last = Some(found.tid);
            turn.give_way().await;
        }
        turn.give_way().await;
    }
    ok(&json!({ "transactions": listing.values, "next_before": next_before }))
}

/// How many places of the ledger are looked at under one lock.
const PLACES: usize = 1000;

/// The transactions that fit before a place, the newest first, and the place before which to go on.
fn page_before(
    gateway: &Gateway,
    place: usize,
    room: usize,
    fits: impl Fn(&Transaction) -> bool,
) -> (Vec<Transaction>, usize) {
    let (mut page, mut next) = (Vec::new(), place.saturating_sub(PLACES));
    for (index, found) in gateway.ledger().newest(place, PLACES) {
        page.extend(found.filter(|found| fits(found)).cloned());
        // What is copied takes longer than what is only looked at.
        if page.len() == room.min(BATCH) {
            next = index;
            break;
        }
    }
    (page, next)
}

pub(super) async fn one(surfaces: &Surfaces, request: &Request, id: &str) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let (found, mut object) = surfaces.door.read(|gateway| {
        let merchant = query.merchant(gateway)?;
        let found = find(gateway, id, merchant.as_deref())?;
        let mut object = view::transaction(found);
        object["sent"] = view::sent(found);
        object["payer"] = found.answer.as_ref().map(|answer| answer.act.to_string()).into();
        object["awaits_payer"] = gateway.awaits_payer(&found.tid).into();
        Ok::<_, Problem>((found.clone(), object))
    })?;
    let mut turn = surfaces.work.begin();
    object["due"] = ahead(surfaces, &found.tid, &mut turn).await.iter().map(ToString::to_string).collect();
    let (mut listing, mut timeline) = (Listing::default(), Timeline::of(&found));
    let mut is_cut = false;
    'pages: while let Some(page) = timeline.page(&surfaces.door) {
        for entry in page {
            is_cut = listing.values.len() == TIMELINE || !listing.add(view::whole(&entry));
            if is_cut {
                break 'pages;
            }
            turn.give_way().await;
        }
        turn.give_way().await;
    }
    let last = listing.values.last().map(|entry| entry["number"].clone());
    object["timeline"] = listing.values.into();
    object["timeline_complete"] = (!is_cut && surfaces.door.read(|gateway| gateway.journal().evicted()) == 0).into();
    if is_cut {
        // GET journal has the rest, after this number.
        object["timeline_after"] = last.into();
    }
    ok(&object)
}

/// What is still to happen to a payment, a part of the agenda under one lock.
pub(in crate::web) async fn ahead(surfaces: &Surfaces, tid: &str, turn: &mut Turn<'_>) -> Vec<Timestamp> {
    let (mut moments, mut place) = (Vec::new(), None);
    loop {
        let (more, end) = surfaces.door.read(|gateway| gateway.ahead_after(tid, place, PLACES));
        moments.extend(more);
        turn.give_way().await;
        if end.is_none() {
            return moments;
        }
        place = end;
    }
}

/// The most entries of a timeline in one response.
const TIMELINE: usize = 1000;

/// The entries about one payment, the oldest first, a few under one lock.
pub(in crate::web) struct Timeline<'a> {
    found: &'a Transaction,
    cursor: Option<u64>,
}

impl<'a> Timeline<'a> {
    pub(in crate::web) fn of(found: &'a Transaction) -> Timeline<'a> {
        Timeline { found, cursor: None }
    }

    /// The next entries; `None` when there are no more. Another merchant's question about the tid is not the payment's.
    pub(in crate::web) fn page(&mut self, door: &Door) -> Option<Vec<Entry>> {
        let mine =
            |event: &Event| event.tid() == &*self.found.tid && event.merchant() == Some(&*self.found.order.merchant);
        door.read(|gateway| {
            let journal = gateway.journal();
            let first = || journal.since(self.found.created).next().map_or(journal.last(), |entry| entry.number - 1);
            let cursor = self.cursor.unwrap_or_else(first);
            let mut end = None;
            let entries = journal.after(cursor).take(PLACES).inspect(|entry| end = Some(entry.number));
            let page = entries.filter(|entry| mine(&entry.event)).cloned().collect();
            self.cursor = end;
            end.map(|_| page)
        })
    }
}

/// By tid, or by a refid that is one merchant's only.
pub(super) fn find<'a>(gateway: &'a Gateway, id: &str, merchant: Option<&str>) -> Result<&'a Transaction, Problem> {
    let mine = |found: &&Transaction| merchant.is_none_or(|merchant| *found.order.merchant == *merchant);
    if let Some(found) = gateway.ledger().find(id).filter(mine) {
        return Ok(found);
    }
    let accounts = gateway.rules().accounts.iter();
    let of_account = |username| gateway.ledger().of_refid(username, id);
    let found: Vec<&Transaction> =
        accounts.flat_map(|account| of_account(&*account.merchant.username)).filter(mine).collect();
    match found[..] {
        [found] => Ok(found),
        [] => Err(Problem::not_found(
            format!("there is no transaction with tid or refid '{}'", excerpt(id)),
            "GET /__sandbox/api/transactions lists them",
        )),
        _ => Err(Problem::new(
            409,
            "ambiguous",
            format!("the refid '{}' is not unique: several merchants have it, or both KPay hosts", excerpt(id)),
            "use the tid, or add ?merchant=USERNAME",
        )),
    }
}

pub(super) fn settle(surfaces: &Surfaces, request: &Request, id: &str) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let settlement: Settlement = body(request, r#"{"statusid": "02", "statusdesc": "Rejected by the payer"}"#)?;
    surfaces.door.apply(|gateway, now| {
        let merchant = query.merchant(gateway)?;
        let tid = find(gateway, id, merchant.as_deref())?.tid.clone();
        gateway.settle_by_hand(&tid, &settlement, now);
        ok(&view::transaction(find(gateway, &tid, None)?))
    })
}

pub(super) async fn post(surfaces: &Surfaces, request: &Request, id: &str) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let example = r#"{} for the truth, or {"fields": {"statusid": "02"}, "count": 2}"#;
    let posting: Posting = body(request, example)?;
    let (number, after) = surfaces.door.apply(|gateway, now| {
        let merchant = query.merchant(gateway)?;
        let tid = find(gateway, id, merchant.as_deref())?.tid.clone();
        let posted = gateway.post_by_hand(&tid, &posting, now);
        let number = posted.map_err(|why| Problem::unusable(why, format!("such as {example}")))?;
        Ok::<_, Problem>((number, gateway.journal().last()))
    })?;
    let (status, delivery) = deliveries::when_delivered(surfaces, number, after).await?;
    Ok(reply(status, &delivery))
}
