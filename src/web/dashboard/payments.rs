//! The list of payments: newest first, filtered.

use askama::Template;

use super::super::control::Outcome;
use super::super::{Reply, Request, Surfaces};
use super::start::Start;
use super::{Frame, parameter, query, second};
use crate::gateway::transaction::Transaction;
use crate::gateway::values::Msisdn;
use crate::view;

/// How many rows a page has.
const ROWS: usize = 50;
/// How many places of the ledger are looked at under one lock.
const BATCH: usize = 2_000;
/// How many are looked at for one page: a search in vain must end.
const REACH: usize = 200_000;

#[derive(Template)]
#[template(path = "dashboard-payments.html")]
struct Page {
    frame: Frame,
    filter: Filter,
    rows: Vec<Row>,
    total: usize,
    /// The query of the page with older ones; empty when there are none.
    older: String,
    /// The search ended before the first payment was reached.
    unfinished: bool,
    merchants: Vec<String>,
    scenarios: Vec<String>,
    statuses: [&'static str; 3],
    /// Shown until the first payment.
    start: Option<Start>,
}

struct Row {
    tid: String,
    refid: String,
    created: String,
    amount: String,
    method: &'static str,
    msisdn: String,
    merchant: String,
    scenario: String,
    status: &'static str,
    words: String,
}

#[derive(Default)]
struct Filter {
    q: String,
    /// The same as a phone number, where it can be one.
    payer: Option<Msisdn>,
    status: String,
    merchant: String,
    scenario: String,
}

impl Filter {
    fn of(request: &Request) -> Filter {
        let q = parameter(request, "q");
        Filter {
            payer: Msisdn::parse(&q).ok(),
            q,
            status: parameter(request, "status"),
            merchant: parameter(request, "merchant"),
            scenario: parameter(request, "scenario"),
        }
    }

    fn is_empty(&self) -> bool {
        [&self.q, &self.status, &self.merchant, &self.scenario].iter().all(|part| part.is_empty())
    }

    fn takes(&self, found: &Transaction) -> bool {
        let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        is(&self.status, view::status(found))
            && is(&self.merchant, &found.order.merchant)
            && is(&self.scenario, &found.scenario.name)
            && (self.q.is_empty()
                || found.tid.contains(&*self.q)
                || found.order.refid.contains(&*self.q)
                || found.order.msisdn.contains(&*self.q)
                || self.payer.as_ref().is_some_and(|payer| Msisdn::parse(&found.order.msisdn).as_ref() == Ok(payer)))
    }

    fn query(&self, before: usize) -> String {
        query(&[
            ("q", &self.q),
            ("status", &self.status),
            ("merchant", &self.merchant),
            ("scenario", &self.scenario),
            ("before", &before.to_string()),
        ])
    }
}

pub(super) async fn page(surfaces: &Surfaces, request: &Request) -> Outcome {
    let filter = Filter::of(request);
    let before = parameter(request, "before").parse().unwrap_or(usize::MAX);
    let (mut rows, mut place, mut looked_at) = (Vec::new(), before, 0);
    let mut older = None;
    let mut turn = surfaces.work.begin();
    // In batches, so that a long search holds up no payment.
    while older.is_none() && looked_at < REACH && place > 0 {
        looked_at += BATCH;
        surfaces.door.read(|gateway| {
            place = place.min(gateway.ledger().places());
            for (index, found) in gateway.ledger().newest(place, BATCH) {
                if let Some(found) = found.filter(|found| filter.takes(found)) {
                    if rows.len() == ROWS {
                        older = Some(index + 1);
                        return;
                    }
                    rows.push(row(found));
                }
            }
            place = place.saturating_sub(BATCH);
        });
        turn.give_way().await;
    }
    let unfinished = older.is_none() && place > 0;
    let (total, merchants, scenarios) = surfaces.door.read(|gateway| {
        let merchants = gateway.rules().accounts.iter().take(200).map(|account| account.merchant.username.to_string());
        let mut scenarios: Vec<String> =
            gateway.repertoire().of(None).map(|known| known.scenario.name.to_string()).collect();
        scenarios.sort();
        (gateway.ledger().places(), merchants.collect(), scenarios)
    });
    let start = (total == 0 && filter.is_empty()).then(|| Start::of(surfaces));
    let older = older.or(unfinished.then_some(place)).map(|place| filter.query(place)).unwrap_or_default();
    let frame = Frame::new(surfaces, request, "payments");
    let page =
        Page { frame, filter, rows, total, older, unfinished, merchants, scenarios, statuses: view::STATUSES, start };
    Ok(Reply::page(200, &page))
}

fn row(found: &Transaction) -> Row {
    let order = &found.order;
    Row {
        tid: found.tid.to_string(),
        refid: order.refid.to_string(),
        created: second(found.created),
        amount: format!("{} {}", order.amount, order.currency),
        method: order.method.word(),
        msisdn: order.msisdn.to_string(),
        merchant: order.merchant.to_string(),
        scenario: found.scenario.name.to_string(),
        status: view::status(found),
        words: found.outcome.as_ref().map_or(String::new(), |outcome| outcome.statusdesc.to_string()),
    }
}
