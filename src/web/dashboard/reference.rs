//! What there is: scenarios and the queue of those that come next, merchants, and what of it all was met.

use askama::Template;
use serde_json::Value;

use super::super::control::{self, Outcome};
use super::super::{Reply, Request, Surfaces};
use super::{Frame, query};
use crate::gateway::merchant::Merchant;
use crate::gateway::repertoire::Known;

#[derive(Template)]
#[template(path = "dashboard-scenarios.html")]
struct Scenarios {
    frame: Frame,
    queue: Vec<Queued>,
    scenarios: Vec<Scenario>,
}

struct Queued {
    scenario: String,
    times: u32,
    merchant: String,
    when: String,
}

struct Scenario {
    name: String,
    description: String,
    grade: String,
    origin: String,
    /// Whose it is, where it is not everybody's.
    merchant: String,
    /// What in a request chooses it by itself.
    when: String,
}

pub(super) fn scenarios(surfaces: &Surfaces, request: &Request) -> Outcome {
    let frame = Frame::new(surfaces, request, "scenarios");
    let page = surfaces.door.read(|gateway| {
        let queue = gateway.chooser().queued().map(|next| Queued {
            scenario: next.scenario.name.to_string(),
            times: next.times,
            merchant: next.merchant.as_deref().unwrap_or("any merchant").to_owned(),
            when: next.when.as_ref().map(compact).unwrap_or_default(),
        });
        let queue = queue.collect();
        let mut scenarios: Vec<Scenario> = gateway.repertoire().all().map(scenario).collect();
        scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        Scenarios { frame, queue, scenarios }
    });
    Ok(Reply::page(200, &page))
}

fn scenario(known: &Known) -> Scenario {
    let scenario = &known.scenario;
    let payers = scenario.when.as_ref().and_then(|when| when.payers());
    let payers = payers.map(|payers| payers.iter().map(|payer| payer.as_str().to_owned()).collect::<Vec<_>>());
    let when = match payers {
        Some(payers) => format!("msisdn {}", payers.join(" or ")),
        None => scenario.when.as_ref().map(compact).unwrap_or_default(),
    };
    Scenario {
        name: scenario.name.to_string(),
        description: scenario.description.to_string(),
        grade: format!("{:?}", scenario.grade).to_lowercase(),
        origin: compact(&known.origin).trim_matches('"').to_owned(),
        merchant: known.merchant.as_deref().unwrap_or_default().to_owned(),
        when,
    }
}

fn compact(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "dashboard-merchants.html")]
struct Merchants {
    frame: Frame,
    merchants: Vec<Account>,
    more: usize,
}

struct Account {
    username: String,
    /// Of the list of its payments.
    query: String,
    name: String,
    access: bool,
    profile: String,
    scenario: String,
    retailers: Vec<String>,
    whitelist: Vec<String>,
}

/// How many merchants are shown.
const MERCHANTS: usize = 200;

pub(super) fn merchants(surfaces: &Surfaces, request: &Request) -> Outcome {
    let frame = Frame::new(surfaces, request, "merchants");
    let page = surfaces.door.read(|gateway| {
        let all = gateway.rules().accounts.iter();
        let more = all.len().saturating_sub(MERCHANTS);
        let merchants = all.take(MERCHANTS).map(|found| account(&found.merchant, &found.profile.name)).collect();
        Merchants { frame, merchants, more }
    });
    Ok(Reply::page(200, &page))
}

fn account(merchant: &Merchant, profile: &str) -> Account {
    Account {
        username: merchant.username.to_string(),
        query: query(&[("merchant", &merchant.username)]),
        name: merchant.name().to_owned(),
        access: merchant.api_access,
        profile: profile.to_owned(),
        scenario: merchant.scenario.as_deref().unwrap_or_default().to_owned(),
        retailers: merchant
            .retailers
            .iter()
            .map(|(id, is)| format!("{id} {}", format!("{is:?}").to_lowercase()))
            .collect(),
        whitelist: merchant.whitelist.iter().map(|network| String::from(network.clone())).collect(),
    }
}

#[derive(Template)]
#[template(path = "dashboard-coverage.html")]
struct Coverage {
    frame: Frame,
    groups: Vec<Group>,
}

struct Group {
    title: &'static str,
    met: String,
    cells: Vec<Cell>,
}

struct Cell {
    name: String,
    words: String,
    met: u64,
}

pub(super) async fn coverage(surfaces: &Surfaces, request: &Request) -> Outcome {
    let coverage = control::coverage(surfaces, None).await;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let group = |title, list: &str, name: &str| Group {
        title,
        met: text(&coverage["met"][list]),
        cells: (coverage[list].as_array().into_iter().flatten())
            .map(|cell| Cell {
                name: text(&cell[name]),
                words: cell["meaning"].as_str().unwrap_or_default().to_owned(),
                met: cell["met"].as_u64().unwrap_or(0),
            })
            .collect(),
    };
    let groups = vec![
        group("Return codes", "codes", "code"),
        group("Scenarios", "scenarios", "scenario"),
        group("Deliveries", "deliveries", "kind"),
    ];
    Ok(Reply::page(200, &Coverage { frame: Frame::new(surfaces, request, "coverage"), groups }))
}
