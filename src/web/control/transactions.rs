//! Transactions: list, one with its timeline, settle, post.

use serde_json::{Value, json};

use super::super::{Request, Surfaces};
use super::input::{Query, body};
use super::{Outcome, Problem, deliveries, ok, reply};
use crate::gateway::Gateway;
use crate::gateway::scenario::{Posting, Settlement};
use crate::gateway::transaction::Transaction;
use crate::gateway::values::{Msisdn, excerpt};
use crate::view;

pub(super) fn list(surfaces: &Surfaces, request: &Request) -> Outcome {
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
    let fits = |found: &&Transaction| {
        let same = |name: &str, value: &str| query.get(name).is_none_or(|wanted| wanted == value);
        same("refid", &found.order.refid)
            && same("tid", &found.tid)
            && same("merchant", &found.order.merchant)
            && same("scenario", &found.scenario.name)
            && same("status", view::status(found))
            && payer.as_ref().is_none_or(|payer| Msisdn::parse(found.order.msisdn.trim()).as_ref() == Ok(payer))
    };
    surfaces.door.read(|gateway| {
        query.merchant(gateway)?;
        if let Some(tid) = query.get("before").filter(|tid| gateway.ledger().find(tid).is_none()) {
            let message = format!("before: there is no transaction '{}'", excerpt(tid));
            return Err(Problem::not_found(message, "write the next_before of the page before, or leave it out"));
        }
        let mut newest = gateway.ledger().iter().rev().skip_while(|found| {
            // A page goes on behind the transaction that the one before ended with.
            query.get("before").is_some_and(|tid| *found.tid != *tid)
        });
        if query.get("before").is_some() {
            newest.next();
        }
        let mut fitting = newest.filter(fits);
        let page: Vec<&Transaction> = fitting.by_ref().take(limit).collect();
        let more = fitting.next().is_some();
        let before = page.last().filter(|_| more).map(|last| &last.tid);
        ok(&json!({
            "transactions": page.iter().map(|found| view::transaction(found)).collect::<Vec<_>>(),
            "next_before": before,
        }))
    })
}

pub(super) fn one(surfaces: &Surfaces, request: &Request, id: &str) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    surfaces.door.read(|gateway| {
        let merchant = query.merchant(gateway)?;
        let found = find(gateway, id, merchant.as_deref())?;
        let mut object = view::transaction(found);
        object["sent"] = view::sent(found);
        object["payer"] = found.answer.as_ref().map(|answer| answer.act.to_string()).into();
        object["awaits_payer"] = gateway.awaits_payer(&found.tid).into();
        object["due"] = gateway.ahead(&found.tid).iter().map(ToString::to_string).collect();
        let timeline = gateway.journal().since(found.created).filter(|entry| entry.event.tid() == &*found.tid);
        object["timeline"] = timeline.map(view::whole).collect::<Vec<Value>>().into();
        object["timeline_complete"] = (gateway.journal().evicted() == 0).into();
        ok(&object)
    })
}

/// By tid, or by a refid that is one merchant's only.
pub(super) fn find<'a>(gateway: &'a Gateway, id: &str, merchant: Option<&str>) -> Result<&'a Transaction, Problem> {
    let mine = |found: &&Transaction| merchant.is_none_or(|merchant| *found.order.merchant == *merchant);
    if let Some(found) = gateway.ledger().find(id).filter(mine) {
        return Ok(found);
    }
    let accounts = gateway.rules().accounts.iter();
    let found: Vec<&Transaction> =
        accounts.filter_map(|account| gateway.ledger().by_refid(&account.merchant.username, id)).filter(mine).collect();
    match found[..] {
        [found] => Ok(found),
        [] => Err(Problem::not_found(
            format!("there is no transaction with tid or refid '{}'", excerpt(id)),
            "GET /__sandbox/api/transactions lists them",
        )),
        _ => Err(Problem::new(
            409,
            "ambiguous",
            format!("several merchants have the refid '{}'", excerpt(id)),
            "add ?merchant=USERNAME, or use the tid",
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
    let number = surfaces.door.apply(|gateway, now| {
        let merchant = query.merchant(gateway)?;
        let tid = find(gateway, id, merchant.as_deref())?.tid.clone();
        gateway.post_by_hand(&tid, &posting, now).map_err(|why| Problem::unusable(why, format!("such as {example}")))
    })?;
    let (status, delivery) = deliveries::when_delivered(surfaces, number).await;
    Ok(reply(status, &delivery))
}
