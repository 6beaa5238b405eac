//! `kpay-sandbox probe URL`: posts what KPay may post to a listener, and tells what it answered and what is wrong with that.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::exec::own_certs;
use super::{fail, serve};
use crate::clock::ClockMode;
use crate::config::Config;
use crate::courier::Postbacks;
use crate::gateway::call::{Body, Call, Credentials};
use crate::sandbox::Sandbox;
use crate::view;

/// Which listener, and how it is reached.
#[derive(Debug, Clone, Args)]
pub struct Probe {
    /// The listener's address, as returl has it
    #[arg(value_name = "URL")]
    url: String,

    /// How to be KPay where the sources differ: documented, observed or portal
    #[arg(long, value_name = "NAME", default_value = "documented")]
    profile: String,

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
        profile: probe.profile,
        // The developer has named the listener.
        postbacks: Postbacks::Anywhere,
        postback_ca: probe.ca,
        postback_insecure: probe.insecure,
        ..Config::default()
    };
    let sandbox = match Sandbox::start(config).await {
        Ok(sandbox) => sandbox,
        Err(error) => return fail(serve::exit_code(&error), &error.to_string()),
    };
    for (number, (_, scenario)) in SAMPLES.iter().enumerate() {
        if let Some(why) = pay(&sandbox, &probe.url, number, scenario) {
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
            let mine = gateway.journal().deliveries().filter(|one| *one.postback.refid == *refid(number));
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

fn refid(number: usize) -> String {
    format!("PROBE-{}", number + 1)
}

/// Takes a payment for the listener; what was wrong with it, which can only be its address.
fn pay(sandbox: &Sandbox, url: &str, number: usize, scenario: &str) -> Option<String> {
    let facts = sandbox.facts();
    let body = json!({
        "action": "pay", "msisdn": "0783300000", "email": "customer@example.rw", "details": "probe", "refid": refid(number),
        "amount": 5000, "currency": "RWF", "cname": "Jane Customer", "cnumber": "CUST-1", "pmethod": "momo",
        "retailerid": "02", "returl": url, "redirecturl": "https://shop.example/thanks", "bankid": "63510",
    })
    .to_string();
    let credentials =
        Credentials { username: facts.username.as_str().into(), password: facts.password.as_str().into() };
    let call = Call {
        method: "POST",
        secure: true,
        peer: [127, 0, 0, 1].into(),
        credentials: Ok(credentials),
        key: Some(&facts.key),
        scenario: Some(scenario),
        host: "localhost",
        announced: ["https://", "localhost"],
        head: b"",
        body: Body::Whole(body.as_bytes()),
    };
    let answered = sandbox.door().apply(|gateway, now| gateway.handle_call(&call, now));
    answered.refusal.map(|refusal| format!("{url}: {}", refusal.reason))
}
