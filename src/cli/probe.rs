//! `kpay-sandbox probe URL`: posts what KPay may post to a listener, and tells what it answered and what is wrong with that.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::exec::own_certs;
use super::{fail, serve};
use crate::clock::ClockMode;
use crate::config::Config;
use crate::courier::Postbacks;
use crate::gateway::call::{Body, Call, Credentials};
use crate::gateway::choice::Next;
use crate::gateway::scenario::{Action, Fields, Scenario};
use crate::gateway::wire::Param;
use crate::log::say;
use crate::sandbox::Sandbox;
use crate::view;

/// Which listener, and how it is reached.
#[derive(Debug, Clone, Args)]
pub struct Probe {
    /// The listener's address, as returl has it
    #[arg(value_name = "URL")]
    url: String,

    /// KPay variant to emulate: documented, observed or portal
    #[arg(long, value_name = "NAME", default_value = "documented")]
    profile: String,

    /// Refid of an order in your shop, for listeners that look it up [default: PROBE-1, PROBE-2 ...]
    ///
    /// The order gets a success, a failure and a repeated success: use one that may change.
    #[arg(long, value_name = "REFID", value_parser = id(Param::Refid))]
    refid: Option<String>,

    /// Tid that your shop stored for that order
    #[arg(long, value_name = "TID", value_parser = id(Param::Tid))]
    tid: Option<String>,

    /// PEM file of further roots that the listener may be certified by, repeatable
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,

    /// Accept any certificate of the listener
    #[arg(long)]
    insecure: bool,
}

/// What is posted, in words, and the scenario that posts it.
const SAMPLES: [(&str, &str); 5] = [
    ("success", "approve"),
    ("failure", "decline"),
    ("the same twice", "duplicate-postback"),
    ("JSON labelled as a form", "form-labelled-postback"),
    ("with fields that no guide knows", "extra-fields"),
];

/// Posts, tells, and ends with 0 when every answer is the guide's.
pub(super) fn run(probe: Probe) -> ExitCode {
    match super::runtime() {
        Ok(runtime) => runtime.block_on(ask(probe)),
        Err(error) => fail(1, &format!("the runtime does not start: {error}")),
    }
}

async fn ask(probe: Probe) -> ExitCode {
    let config = Config {
        certs: own_certs().unwrap_or_else(|| "certs".into()),
        clock: ClockMode::Paused,
        // A merchant account for each sample, so that all of them can have the same refid.
        open: true,
        profile: probe.profile.clone(),
        // The developer has named the listener.
        postbacks: Postbacks::Anywhere,
        postback_ca: probe.ca.clone(),
        postback_insecure: probe.insecure,
        ..Config::default()
    };
    let sandbox = match Sandbox::start(config).await {
        Ok(sandbox) => sandbox,
        Err(error) => return fail(serve::exit_code(&error), &error.to_string()),
    };
    sandbox.facts().notices.iter().for_each(|notice| say(notice));
    for (number, (_, scenario)) in SAMPLES.iter().enumerate() {
        if let Err(why) = pay(&sandbox, &probe, number, scenario) {
            return fail(2, &why);
        }
    }
    // A paused clock that nobody else can resume.
    if sandbox.advance(Duration::from_secs(300)).await.is_err() {
        return fail(1, "the clock of the probe was let go");
    }
    let (lines, all_well) = sandbox.read(|gateway| {
        let mut lines = String::new();
        let mut all_well = true;
        for (number, (what, _)) in SAMPLES.iter().enumerate() {
            let mine = gateway.journal().deliveries().filter(|one| *one.postback.merchant == *merchant(number));
            for delivery in mine {
                let judged = view::judged(delivery);
                all_well &= judged.reason.is_none();
                let status = delivery.outcome.as_ref().map_or_else(|_| "-".into(), |answer| answer.status.to_string());
                let why = judged.reason.map(|why| format!(": {why}")).unwrap_or_default();
                lines += &format!("{what:<32} {status:>3}  {}{why}\n", judged.outcome);
            }
        }
        (lines, all_well)
    });
    print!("{lines}");
    sandbox.stop().await;
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks an id that is sent: not blank, and no longer than KPay's parameter may be.
fn id(param: Param) -> impl Fn(&str) -> Result<String, String> + Clone {
    move |text| {
        let fits = !text.trim().is_empty() && text.chars().count() <= param.limit();
        if fits { Ok(text.to_owned()) } else { Err(format!("write 1 to {} characters", param.limit())) }
    }
}

/// The merchant account of a sample.
fn merchant(number: usize) -> String {
    format!("probe-{}", number + 1)
}

/// Takes a payment for the listener. The error says what is wrong with the address or the ids.
fn pay(sandbox: &Sandbox, probe: &Probe, number: usize, scenario: &str) -> Result<(), String> {
    let refid = probe.refid.clone().unwrap_or_else(|| format!("PROBE-{}", number + 1));
    let body = json!({
        "action": "pay", "msisdn": "0783300000", "email": "customer@example.rw", "details": "probe", "refid": refid,
        "amount": 5000, "currency": "RWF", "cname": "Jane Customer", "cnumber": "CUST-1", "pmethod": "momo",
        "retailerid": "02", "returl": probe.url, "redirecturl": "https://shop.example/thanks", "bankid": "63510",
    })
    .to_string();
    let facts = sandbox.facts();
    let credentials =
        Credentials { username: merchant(number).as_str().into(), password: facts.password.as_str().into() };
    let call = Call {
        method: "POST",
        secure: true,
        peer: [127, 0, 0, 1].into(),
        credentials: Ok(credentials),
        key: Some(&facts.key),
        scenario: None,
        host: "localhost",
        announced: ["https://", "localhost"],
        head: b"",
        body: Body::Whole(body.as_bytes()),
    };
    let answered = sandbox.door().apply(|gateway, now| {
        let known = gateway.repertoire().get(scenario, None).ok_or_else(|| format!("{scenario} is no scenario"))?;
        let mut sample = Scenario::clone(known);
        for step in &mut sample.steps {
            if let (Action::Postback(posting), Some(tid)) = (&mut step.action, &probe.tid) {
                let rest = std::mem::take(&mut posting.fields.0).into_vec();
                let tid = (Param::Tid.name().into(), tid.as_str().into());
                posting.fields = Fields([vec![tid], rest].concat().into());
            }
        }
        gateway.queue(Next { merchant: None, when: None, times: 1, scenario: Arc::new(sample) })?;
        Ok::<_, String>(gateway.handle_call(&call, now))
    })?;
    answered.refusal.map_or(Ok(()), |refusal| Err(format!("{}: {}", probe.url, refusal.reason)))
}
