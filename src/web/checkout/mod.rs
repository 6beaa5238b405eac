//! The checkout page, `/checkout/{id}`: what the payer sees and does. What that does to the money is the core's
//! (`gateway/checkout.rs`); nothing here settles.

mod money;
mod pages;

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{Body, Reply, Request, Surfaces};
use crate::gateway::Gateway;
use crate::gateway::card::CardForm;
use crate::gateway::checkout::Act;
use crate::gateway::transaction::Transaction;
use crate::gateway::wire::{self, Told};
use pages::{Card, Checkout, Forward, Notice, Outcome};

/// How the payer's browser comes back to the shop. Sources differ (contract, section 6; A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Redirect {
    /// To `redirecturl` as it is.
    #[default]
    Unchanged,
    /// To `redirecturl` with the result in its query.
    Query,
    /// To `redirecturl`, posting the result as a form.
    Post,
}

/// How long a form's answer waits for the payment's result.
const MOMENT: Duration = Duration::from_millis(300);
/// How long a page's question for news is kept open.
const PATIENCE: Duration = Duration::from_secs(25);

/// Answers what is asked below `/checkout/`.
pub(super) async fn answer(surfaces: &Surfaces, request: &Request, path: &[&str]) -> Reply {
    let reading = matches!(request.method, Method::GET | Method::HEAD);
    match (path, reading) {
        ([id], true) => show(surfaces, request, id),
        ([id], false) if request.method == Method::POST => act(surfaces, request, id).await,
        ([id, "result"], true) => result(surfaces, id),
        ([id, "return"], true) => go_back(surfaces, request, id),
        ([id, "state"], true) => state(surfaces, request, id).await,
        ([_] | [_, "result" | "return" | "state"], _) => Notice::page(
            405,
            "This page cannot be used so",
            "It is opened by a browser (GET), and takes the payer's form (POST).",
        )
        .with("Allow", "GET, POST"),
        _ => unknown(),
    }
}

fn unknown() -> Reply {
    Notice::page(
        404,
        "There is no such payment",
        "No payment of this sandbox has this address. It may have been forgotten by a reset or a restart: \
         ask for the payment again, and open the url of the new answer.",
    )
}

/// The payment as it stands: something to do, or what came of it.
fn show(surfaces: &Surfaces, request: &Request, id: &str) -> Reply {
    surfaces.door.read_now(|gateway, now| match gateway.ledger().by_checkout(id) {
        None => unknown(),
        Some(found) if found.outcome.is_some() => Outcome::of(gateway, found).page(false),
        Some(found) => Checkout::of(gateway, found, Card::suggested(gateway, request, now)).page(200),
    })
}

/// What the payer does. The answer waits a moment for the script, so that its result is mostly there already.
async fn act(surfaces: &Surfaces, request: &Request, id: &str) -> Reply {
    let reply = take(surfaces, request, id);
    if reply.status == 303 {
        // Where the processor takes longer, the page that follows says so.
        let _ = tokio::time::timeout(MOMENT, news(surfaces, id, "answered")).await;
    }
    reply
}

fn take(surfaces: &Surfaces, request: &Request, id: &str) -> Reply {
    if let Some(problem) = surfaces.guard.foreign_sender(&request.headers) {
        surfaces.request_refused(request, problem.clone());
        return Notice::page(403, "This form came from another page", &problem);
    }
    let Body::Whole(body) = &request.body else {
        return Notice::page(413, "This form is too large", "Go back and enter less.");
    };
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let act = match field("do") {
        "card" => return pay_by_card(surfaces, id, &form),
        "approve" => Act::Approve { bankid: form.get("bankid").map(|id| id.as_str().into()) },
        "reject" => Act::Reject,
        "wrong-pin" => Act::WrongPin,
        "expire" => Act::Expire,
        "cancel" => Act::Cancel,
        _ => {
            let say = "The form's field `do` is one of card, approve, reject, wrong-pin, expire and cancel.";
            return Notice::page(400, "This form says nothing that a payer can do", say);
        }
    };
    let known = surfaces.door.apply(|gateway, now| {
        if let Act::Approve { bankid: Some(bankid) } = &act
            && !gateway.rules().banks.iter().any(|bank| bank.bankid == *bankid && bank.enabled)
        {
            return Err("Choose one of the banks that the page lists.");
        }
        let known = gateway.ledger().by_checkout(id).is_some();
        gateway.handle_payer(id, act, now);
        Ok(known)
    });
    match known {
        Ok(true) => see_other(format!("/checkout/{id}/result")),
        Ok(false) => unknown(),
        Err(why) => Notice::page(422, "There is no such bank", why),
    }
}

/// Reads a card, which goes no further than the core's answer to it.
fn pay_by_card(surfaces: &Surfaces, id: &str, form: &BTreeMap<String, String>) -> Reply {
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let typed =
        CardForm { number: field("number"), holder: field("holder"), expiry: field("expiry"), cvv: field("cvv") };
    surfaces.door.apply(|gateway, now| {
        let Some(found) = gateway.ledger().by_checkout(id) else { return unknown() };
        // Whatever a late form says, what has been paid stays paid.
        if found.outcome.is_none() && found.answer.is_none() {
            match gateway.rules().cards.charge(&typed, now) {
                Ok(charge) => drop(gateway.handle_card(id, charge, now)),
                Err(problems) => return Checkout::of(gateway, found, Card::typed(&typed, problems)).page(422),
            }
        }
        see_other(format!("/checkout/{id}/result"))
    })
}

/// Follows a payment until it has its result, shows that, and goes back to the shop.
fn result(surfaces: &Surfaces, id: &str) -> Reply {
    surfaces.door.read(|gateway| match gateway.ledger().by_checkout(id) {
        None => unknown(),
        Some(found) if found.outcome.is_some() => Outcome::of(gateway, found).page(true),
        Some(found) => Checkout::of(gateway, found, Card::default()).page(200),
    })
}

/// Sends the browser to `redirecturl`.
fn go_back(surfaces: &Surfaces, request: &Request, id: &str) -> Reply {
    surfaces.door.read(|gateway| {
        let Some(found) = gateway.ledger().by_checkout(id) else { return unknown() };
        if found.outcome.is_none() {
            return see_other(format!("/checkout/{id}"));
        }
        let Some(address) = money::web_address(&found.order.redirecturl) else {
            return Outcome::of(gateway, found).page(false);
        };
        let result = wire::redirect(found, Told::truth(found));
        match surfaces.redirect {
            Redirect::Unchanged => see_other(address),
            Redirect::Query => see_other(with_query(&address, &result)),
            // A form of our own page would look like one of the dashboard's to the control API.
            Redirect::Post if money::is_on_host_of(&address, &request.headers) => see_other(address),
            Redirect::Post => Forward::page(&address, result),
        }
    })
}

/// An address with more in its query, which stands before a `#`.
fn with_query(address: &str, fields: &[(&'static str, String)]) -> String {
    let (address, fragment) = match address.split_once('#') {
        Some((address, fragment)) => (address, format!("#{fragment}")),
        None => (address, String::new()),
    };
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mark = if address.contains('?') { '&' } else { '?' };
    format!("{address}{mark}{query}{fragment}")
}

fn see_other(address: String) -> Reply {
    Reply::text(303, "")
        .with("Location", address)
        .with("Cache-Control", "no-store")
        .with("Referrer-Policy", "no-referrer")
}

/// Tells a page that its payment no longer stands as it has `seen` it: at once, or when it happens.
async fn state(surfaces: &Surfaces, request: &Request, id: &str) -> Reply {
    let seen = request.query().strip_prefix("seen=").unwrap_or_default();
    let mut stop = surfaces.stop.clone();
    let word = tokio::select! {
        word = news(surfaces, id, seen) => word,
        () = tokio::time::sleep(PATIENCE) => Some(seen),
        _ = stop.wait_for(|stop| *stop) => Some(seen),
    };
    let mut body = json!({ "state": word }).to_string().into_bytes();
    body.push(b'\n');
    Reply::json(if word.is_some() { 200 } else { 404 }, body).with("Cache-Control", "no-store")
}

/// The shortest rest of a page that waits for its payment, between two looks.
const REST: Duration = Duration::from_millis(100);

/// Returns how a payment stands once that is not as `seen`; `None` when it is not there.
async fn news(surfaces: &Surfaces, id: &str, seen: &str) -> Option<&'static str> {
    let mut changes = surfaces.door.watch();
    loop {
        let word = surfaces.door.read(|gateway| gateway.ledger().by_checkout(id).map(stands));
        if word != Some(seen) {
            return word;
        }
        changes.changed().await;
        // Many open pages must not cost each payment a wake-up of them all.
        tokio::time::sleep(REST).await;
    }
}

/// How a payment stands for its payer, in a word.
fn stands(found: &Transaction) -> &'static str {
    match (&found.outcome, &found.answer) {
        (Some(_), _) => "settled",
        (None, Some(_)) => "answered",
        (None, None) => "open",
    }
}

/// The merchant's name for a payer.
fn merchant_name(gateway: &Gateway, found: &Transaction) -> String {
    let account = gateway.rules().accounts.get(&found.order.merchant);
    account.map_or(&*found.order.merchant, |account| account.merchant.name()).to_owned()
}
