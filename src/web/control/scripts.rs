//! Scenarios, and the queue of those that the next payments follow.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Request, Surfaces};
use super::input::{Query, body};
use super::{Outcome, Problem, ok, reply};
use crate::gateway::Gateway;
use crate::gateway::choice::Next;
use crate::gateway::repertoire::Known;
use crate::gateway::scenario::{Scenario, When};
use crate::gateway::values::excerpt;

pub(super) fn list(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let mut known: Vec<Known> = surfaces.door.read(|gateway| {
        let merchant = query.merchant(gateway)?;
        Ok::<_, Problem>(gateway.repertoire().of(merchant.as_deref()).cloned().collect())
    })?;
    known.sort_by(|a, b| a.scenario.name.cmp(&b.scenario.name));
    ok(&json!({ "scenarios": known.iter().map(summary).collect::<Vec<_>>() }))
}

fn summary(known: &Known) -> Value {
    let Scenario { name, description, grade, when, .. } = &*known.scenario;
    json!({
        "name": name,
        "description": description,
        "grade": grade,
        "when": when,
        "origin": known.origin,
        "merchant": known.merchant,
    })
}

pub(super) fn one(surfaces: &Surfaces, request: &Request, name: &str) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    surfaces.door.read(|gateway| {
        let merchant = query.merchant(gateway)?;
        ok(&json!(*named(gateway, name, merchant.as_deref())?))
    })
}

fn named(gateway: &Gateway, name: &str, merchant: Option<&str>) -> Result<Arc<Scenario>, Problem> {
    gateway.repertoire().get(name, merchant).map(Arc::clone).ok_or_else(|| {
        let (unknown, instead) = gateway.repertoire().unknown(name, merchant);
        Problem::not_found(
            unknown,
            format!("{instead}{}", if instead.ends_with('?') { "" } else { ", or PUT one of your own" }),
        )
    })
}

const EXAMPLE: &str =
    r#"{"answer": "accepted", "steps": [{"after": "5s", "do": {"settle": {"statusid": "01"}}}, {"do": "postback"}]}"#;

pub(super) fn put(surfaces: &Surfaces, request: &Request, name: &str) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let mut scenario: Scenario = body(request, EXAMPLE)?;
    if !scenario.name.is_empty() && *scenario.name != *name {
        let message = format!("name: '{}' is not the '{}' of the address", excerpt(&scenario.name), excerpt(name));
        return Err(Problem::unusable(message, "make them the same, or leave it out of the body"));
    }
    scenario.name = name.into();
    surfaces.door.apply(|gateway, _| {
        let merchant = query.merchant(gateway)?;
        let put = gateway.put_scenario(scenario, merchant);
        let scenario = put.map_err(|why| Problem::unusable(why, format!("such as {EXAMPLE}")))?;
        ok(&json!(*scenario))
    })
}

pub(super) fn remove(surfaces: &Surfaces, request: &Request, name: &str) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    surfaces.door.apply(|gateway, _| {
        let merchant = query.merchant(gateway)?;
        named(gateway, name, merchant.as_deref())?;
        match gateway.remove_scenario(name, merchant.as_deref()) {
            Ok(true) => ok(&json!({ "removed": name })),
            Ok(false) => {
                let message = format!("'{name}' was not added at run time, so it stays");
                let added = gateway.repertoire().added().any(|known| *known.scenario.name == *name);
                let hint = if added { "add ?merchant= of its owner" } else { "PUT one of the same name to replace it" };
                Err(Problem::new(409, "built-in", message, hint))
            }
            Err(why) => Err(Problem::new(409, "in-use", why, "change or delete the chain first")),
        }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Queued {
    scenario: Value,
    #[serde(default = "one_time")]
    times: u32,
    when: Option<When>,
}

fn one_time() -> u32 {
    1
}

pub(super) fn queue(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let example = r#"{"scenario": "decline", "times": 2, "when": {"amount": {"min": 1000}}}"#;
    let Queued { scenario, times, when } = body(request, example)?;
    let unusable = |why: String| Problem::unusable(why, format!("such as {example}"));
    let complaint = when.as_ref().and_then(|when| when.complaint());
    complaint.map_or(Ok(()), |why| Err(unusable(why)))?;
    let queued = surfaces.door.apply(|gateway, _| {
        let merchant = query.merchant(gateway)?;
        let scenario = match &scenario {
            Value::String(name) => named(gateway, name, merchant.as_deref())?,
            object => Arc::new(unnamed(object).map_err(|why| unusable(format!("scenario: {why}")))?),
        };
        gateway.queue(Next { merchant: merchant.clone(), when, times, scenario }).map_err(unusable)?;
        Ok::<_, Problem>(queue_of(gateway, merchant.as_deref()))
    })?;
    Ok(reply(201, &queued))
}

/// A scenario that is given on the spot, for this queue only.
fn unnamed(object: &Value) -> Result<Scenario, String> {
    let text = object.to_string();
    let mut scenario: Scenario = crate::fixtures::read_json(text.as_bytes())?;
    if scenario.name.is_empty() {
        scenario.name = "unnamed".into();
    }
    if !scenario.chain.is_empty() {
        return Err("chain: only a scenario with a name can be a chain: PUT it first".into());
    }
    scenario.complaint().map_or(Ok(scenario), Err)
}

pub(super) fn queued(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    surfaces.door.read(|gateway| {
        let merchant = query.merchant(gateway)?;
        ok(&queue_of(gateway, merchant.as_deref()))
    })
}

fn queue_of(gateway: &Gateway, merchant: Option<&str>) -> Value {
    let wanted = gateway.chooser().queued().filter(|next| merchant.is_none() || next.merchant.as_deref() == merchant);
    let list = wanted.map(|next| {
        json!({ "scenario": next.scenario.name, "times": next.times, "when": next.when, "merchant": next.merchant })
    });
    json!({ "next": list.collect::<Vec<_>>() })
}

pub(super) fn clear(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    surfaces.door.apply(|gateway, _| {
        let merchant = query.merchant(gateway)?;
        gateway.clear_queue(merchant.as_deref());
        ok(&queue_of(gateway, merchant.as_deref()))
    })
}
