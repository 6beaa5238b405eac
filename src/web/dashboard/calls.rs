//! All calls and what else happened, refused ones too, each with what was wrong and the line that would be right.

use askama::Template;

use super::super::control::Outcome;
use super::super::{Reply, Request, Surfaces};
use super::payment::{Moment, moment};
use super::{Frame, parameter, query};
use crate::gateway::Gateway;
use crate::gateway::ReturnCode;
use crate::gateway::journal::{CallRecord, Entry, Event};
use crate::view;

/// How many entries a page has, and how many are looked at for it.
const ROWS: usize = 50;
const REACH: usize = 20_000;
/// How many are looked at under one lock.
const BATCH: usize = 1000;

#[derive(Template)]
#[template(path = "dashboard-calls.html")]
struct Page {
    frame: Frame,
    only: String,
    rows: Vec<Line>,
    older: String,
}

struct Line {
    moment: Moment,
    tid: String,
    refid: String,
    summary: String,
    /// What would have been right; empty where nothing was wrong.
    right: String,
}

pub(super) async fn page(surfaces: &Surfaces, request: &Request) -> Outcome {
    let (only, before) = (parameter(request, "only"), parameter(request, "before").parse().unwrap_or(u64::MAX));
    let wanted = |event: &Event| match event {
        Event::Call(call) => only != "refused" || call.refusal.is_some(),
        Event::ConnectionFailed { .. } | Event::RequestRefused { .. } => true,
        Event::Reset { .. } => only != "refused",
        _ => false,
    };
    let (mut rows, mut place, mut looked_at) = (Vec::new(), before, 0);
    let (mut more, mut turn) = (false, surfaces.work.begin());
    while !more && looked_at < REACH {
        looked_at += BATCH;
        let room = ROWS + 1 - rows.len();
        let (page, end) = surfaces.door.read(|gateway| {
            let mut end = None;
            let newest = gateway.journal().before(place).take(BATCH).inspect(|entry| end = Some(entry.number));
            let page: Vec<Entry> = newest.filter(|entry| wanted(&entry.event)).take(room).cloned().collect();
            (page, end)
        });
        for entry in page {
            more = rows.len() == ROWS;
            if more {
                break;
            }
            rows.push(surfaces.door.read(|gateway| line(gateway, &entry, &surfaces.home.url)));
            turn.give_way().await;
        }
        turn.give_way().await;
        let Some(end) = end else { break };
        place = end;
    }
    let older = rows.last().filter(|_| more).map_or(0, |row| row.moment.number);
    let older = if older > 0 { query(&[("only", &only), ("before", &older.to_string())]) } else { String::new() };
    Ok(Reply::page(200, &Page { frame: Frame::new(surfaces, request, "calls"), only, rows, older }))
}

fn line(gateway: &Gateway, entry: &Entry, url: &str) -> Line {
    let call = if let Event::Call(call) = &entry.event { Some(&**call) } else { None };
    // Only the merchant's own payment: a tid of another's leads nowhere.
    let own = call.filter(|call| {
        let merchant = call.merchant.as_deref();
        merchant.is_some_and(|merchant| gateway.ledger().by_tid(merchant, &call.tid).is_some())
    });
    Line {
        moment: moment(entry, None),
        tid: own.map_or(String::new(), |call| call.tid.to_string()),
        refid: call.map_or(String::new(), |call| call.refid.to_string()),
        summary: call.map_or(String::new(), |call| call.summary.to_string()),
        right: call.map_or(String::new(), |call| right(gateway, call, url)),
    }
}

/// The line that would be right in place of what was refused; empty for what a script refused.
fn right(gateway: &Gateway, call: &CallRecord, url: &str) -> String {
    let Some(refusal) = &call.refusal else { return String::new() };
    if call.decision.is_some() {
        return "The scenario refused it: the request itself is right.".into();
    }
    let account = call.merchant.as_deref().and_then(|username| gateway.rules().accounts.get(username));
    let merchant = account.map(|account| &account.merchant);
    let username = merchant.map_or("your_username", |merchant| &merchant.username);
    match refusal.code {
        ReturnCode::NonHttps => format!("POST {url}/"),
        ReturnCode::MissingAuthentication | ReturnCode::InvalidCredentials => {
            format!("curl --user {username}:PASSWORD …   with the password of merchants.json")
        }
        ReturnCode::InvalidApiKey => "Kpay-Key: KEY   with the key of merchants.json".into(),
        ReturnCode::InvalidRemoteUser => format!("{{\"username\": \"{username}\", \"api_access\": true}}"),
        ReturnCode::NotWhitelisted => format!("\"whitelist\": [\"{}\"]", call.peer),
        ReturnCode::MissingParameters => view::SAMPLE_PAYMENT.into(),
        ReturnCode::UnknownRetailer | ReturnCode::RetailerNotEnabled => {
            let id = merchant.map_or("02", |merchant| merchant.usable_retailer());
            format!("\"retailerid\": \"{id}\"")
        }
        ReturnCode::UnknownMethod => "\"pmethod\": \"momo\"   or cc, bank, spenn, smartcash".into(),
        ReturnCode::UnknownBank => "\"bankid\": \"63510\"   or another of banks.json".into(),
        ReturnCode::AmountOutOfRange => "\"amount\": 5000".into(),
        ReturnCode::RefidUsed => {
            format!("{{\"action\":\"checkstatus\",\"refid\":{}}}", serde_json::Value::from(&*call.refid))
        }
        ReturnCode::TransactionNotFound => "{\"action\":\"checkstatus\",\"tid\":\"the tid that pay answered\"}".into(),
        // Only a script refuses with these.
        ReturnCode::ErrorProcessing
        | ReturnCode::MobileMoneyFailed
        | ReturnCode::InsufficientFunds
        | ReturnCode::PayerTimeout
        | ReturnCode::PayerCancelled => String::new(),
    }
}
