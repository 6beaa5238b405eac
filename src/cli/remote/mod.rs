//! The subcommands that ask a running sandbox: each is one call of the control API, shown as a table or as JSON.

mod client;
mod env;
mod health;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::environment::Format;
use crate::gateway::timestamp::Span;
use client::{Client, Question};
use show::Shape;

/// Which sandbox is asked, and how its answer is shown.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Address of the running sandbox; plain HTTP on its usual port
    #[arg(long, env = "KPAY_SANDBOX_CONTROL", value_name = "URL", default_value = "http://localhost:8443")]
    control: String,

    /// The sandbox's --control-token, if it has one
    #[arg(long, env = "KPAY_SANDBOX_CONTROL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// A table for people, or the API's JSON
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
    output: Output,

    /// Only what is this merchant's
    #[arg(long, value_name = "USERNAME")]
    merchant: Option<String>,
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// What is asked of a running sandbox.
#[derive(Debug, Clone, Subcommand)]
pub enum Remote {
    /// Version, profile, addresses, clock of a running sandbox
    Status,
    /// List transactions, or show one with its timeline
    Transactions {
        /// tid or refid of one
        id: Option<String>,
        /// Filters: refid, tid, msisdn, status, scenario, limit, before
        #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = pair)]
        filters: Vec<(String, String)>,
    },
    /// Give a transaction its result; its postback follows
    Settle {
        /// tid or refid
        id: String,
        /// 01, 02 or a processor's error code
        #[arg(default_value = "01")]
        statusid: String,
        /// Its words
        #[arg(long, value_name = "TEXT")]
        text: Option<String>,
    },
    /// Post a transaction's postback now
    Postback {
        /// tid or refid
        id: String,
        /// What is changed in it, such as '{"fields": {"statusid": "02"}, "count": 2}'
        #[arg(default_value = "{}", value_parser = json_text)]
        changes: Value,
    },
    /// List deliveries, or show one
    Deliveries {
        /// Number of one
        id: Option<u64>,
        /// Export as curl (one) or har
        #[arg(long = "as", value_name = "FORMAT")]
        export: Option<String>,
        /// Filters: tid, refid, verdict, limit, before
        #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = pair)]
        filters: Vec<(String, String)>,
    },
    /// Send the bytes of a delivery again
    Replay {
        /// Its number, as deliveries lists it
        id: u64,
    },
    /// Choose the scenario of the next payments; without a name, list what waits
    Next {
        /// The scenario's name
        scenario: Option<String>,
        /// For how many payments
        #[arg(long, value_name = "N", default_value_t = 1)]
        times: u32,
        /// Only payments like this, such as '{"amount": {"min": 1000}}'
        #[arg(long, value_name = "JSON", value_parser = json_text)]
        when: Option<Value>,
        /// Empty the queue
        #[arg(long, conflicts_with_all = ["scenario", "when"])]
        clear: bool,
    },
    /// Wait until something has happened; exit code 4 when it has not
    Wait {
        /// call, transaction or delivery
        subject: String,
        /// What it must be, such as refid=ORDER-1 verdict=acknowledged
        #[arg(value_name = "FIELD=VALUE", value_parser = pair)]
        fields: Vec<(String, String)>,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: u32,
        /// How long, in real time, 5m at most
        #[arg(long, value_name = "SPAN", default_value = "10s")]
        timeout: Span,
    },
    /// Check that what happened is as expected; exit code 4 when it is not
    Verify {
        /// A list, such as '[{"for": "delivery", "match": {"refid": "ORDER-1"}, "count": 1}]'
        #[arg(value_parser = json_text)]
        expect: Value,
    },
    /// Move a paused clock on; without a span, until nothing is due
    Advance {
        /// How far, such as 30s
        by: Option<Span>,
    },
    /// Show, pause or resume the clock
    Clock {
        /// pause or resume
        #[arg(value_parser = ["pause", "resume"])]
        change: Option<String>,
    },
    /// Forget every transaction, or one merchant's
    Reset,
    /// List scenarios, show one, add or delete one
    Scenarios {
        /// The name of one
        name: Option<String>,
        /// Add it from this file
        #[arg(long, value_name = "FILE", requires = "name")]
        put: Option<std::path::PathBuf>,
        /// Take an added one away
        #[arg(long, requires = "name", conflicts_with = "put")]
        delete: bool,
    },
    /// List merchants
    Merchants,
    /// Which codes, scenarios and kinds of delivery were met, and which not
    Coverage,
    /// What happened
    Logs {
        /// Go on with what happens
        #[arg(long, short)]
        follow: bool,
        /// Entries after this number only
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: u64,
    },
    /// The variables that exec sets, for a sandbox that runs already
    Env {
        /// How they are written
        #[arg(value_enum, default_value_t = Format::Shell)]
        format: Format,
        /// Also those that make KPay's own hosts lead to the sandbox
        #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
        intercept: bool,
    },
    /// Whether a sandbox is ready; exit code 1 when it is not
    Healthcheck,
    /// Any other call of the control API, such as: api PUT merchants/shop '{"password": "secret"}'
    Api {
        /// GET, POST, PUT or DELETE
        method: String,
        /// What follows /__sandbox/api/
        path: String,
        /// JSON to send; - reads it from the standard input
        body: Option<String>,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write FIELD=VALUE, such as refid=ORDER-1")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn json_text(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

/// Asks, shows, and tells how it went by the exit code.
pub fn run(target: Target, remote: Remote) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(1, &format!("the runtime does not start: {error}")),
    };
    let client = match Client::new(&target.control, target.token.as_deref()) {
        Ok(client) => client,
        Err(why) => return super::fail(2, &why),
    };
    if let Remote::Env { format, intercept } = remote {
        return runtime.block_on(env::print(&client, target.merchant.as_deref(), format, intercept));
    }
    if matches!(remote, Remote::Healthcheck) {
        return runtime.block_on(health::check(&client));
    }
    let asked = match question(&remote) {
        Ok(asked) => asked.for_merchant(target.merchant.as_deref()),
        Err(why) => return super::fail(2, &why),
    };
    if let Remote::Logs { follow, .. } = remote {
        return runtime.block_on(logs(&client, asked, follow, target.output == Output::Json));
    }
    match runtime.block_on(client.ask(&asked)) {
        Ok(answer) if answer.status < 300 => {
            let as_it_is = target.output == Output::Json;
            show::print(&if as_it_is { answer.text } else { show::text(&answer.text, shape(&remote)) });
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            if target.output == Output::Json {
                show::print(&answer.text);
            }
            let unmet =
                matches!(remote, Remote::Wait { .. } | Remote::Verify { .. }) && matches!(answer.status, 408 | 409);
            let code = if unmet { 4 } else { 1 };
            super::fail(code, &answer.complaint())
        }
        Err(why) => super::fail(1, &why),
    }
}

/// Returns the version of the sandbox that answers at an address, if one does.
pub(super) async fn version_at(control: &str) -> Option<String> {
    let client = Client::new(control, None).ok()?;
    let asked = tokio::time::timeout(std::time::Duration::from_secs(2), client.version());
    asked.await.ok().flatten()
}

/// Returns the CA that the sandbox at an address serves, if one does.
pub(super) async fn ca_at(control: &str) -> Option<String> {
    let answer = Client::new(control, None).ok()?.ask(&Question::ca()).await.ok()?;
    (answer.status == 200).then_some(answer.text)
}

/// What a sandbox says of itself.
pub(super) async fn info(control: &str, token: Option<&str>) -> Result<Value, String> {
    let answer = Client::new(control, token)?.ask(&Question::new("GET", "info")).await?;
    if answer.status >= 300 {
        return Err(answer.complaint());
    }
    serde_json::from_str(&answer.text).map_err(|error| format!("what answers is no sandbox: {error}"))
}

fn question(remote: &Remote) -> Result<Question, String> {
    let get = |path: &str| Question::new("GET", path);
    let post = |path: &str, body: Value| Question::new("POST", path).with(body.to_string());
    Ok(match remote {
        Remote::Status | Remote::Env { .. } | Remote::Healthcheck => get("info"),
        Remote::Transactions { id: Some(id), .. } => get(&format!("transactions/{}", escaped(id))),
        Remote::Transactions { id: None, filters } => get("transactions").filtered(filters),
        Remote::Settle { id, statusid, text } => {
            let mut settlement = json!({ "statusid": statusid });
            if let Some(text) = text {
                settlement["statusdesc"] = text.as_str().into();
            }
            post(&format!("transactions/{}/settle", escaped(id)), settlement)
        }
        Remote::Postback { id, changes } => post(&format!("transactions/{}/postbacks", escaped(id)), changes.clone()),
        Remote::Deliveries { id, export, filters } => {
            let path = id.map_or_else(|| "deliveries".to_owned(), |id| format!("deliveries/{id}"));
            let export = export.iter().map(|format| ("as".to_owned(), format.clone()));
            get(&path).filtered(filters).filtered(&export.collect::<Vec<_>>())
        }
        Remote::Replay { id } => post(&format!("deliveries/{id}/replay"), json!({})),
        Remote::Next { clear: true, .. } => Question::new("DELETE", "next"),
        Remote::Next { scenario: None, .. } => get("next"),
        Remote::Next { scenario: Some(name), times, when, .. } => {
            post("next", json!({ "scenario": name, "times": times, "when": when }))
        }
        Remote::Wait { subject, fields, count, timeout } => {
            let fields: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            post("wait", json!({ "for": subject, "match": fields, "count": count, "timeout": timeout }))
        }
        Remote::Verify { expect } => post("verify", json!({ "expect": expect })),
        Remote::Advance { by: Some(by) } => post("clock/advance", json!({ "by": by })),
        Remote::Advance { by: None } => post("clock/settle", json!({})),
        Remote::Clock { change: None } => get("clock"),
        Remote::Clock { change: Some(change) } => post(&format!("clock/{change}"), json!({})),
        Remote::Reset => post("reset", json!({})),
        Remote::Scenarios { name: None, .. } => get("scenarios"),
        Remote::Scenarios { name: Some(name), put: None, delete } => {
            Question::new(if *delete { "DELETE" } else { "GET" }, &format!("scenarios/{}", escaped(name)))
        }
        Remote::Scenarios { name: Some(name), put: Some(file), .. } => {
            let wrong = |error| format!("{}: cannot be read: {error}; name a scenario's file", file.display());
            let text = std::fs::read_to_string(file).map_err(wrong)?;
            Question::new("PUT", &format!("scenarios/{}", escaped(name))).with(text)
        }
        Remote::Merchants => get("merchants"),
        Remote::Coverage => get("coverage"),
        Remote::Logs { after, .. } => get("journal").filtered(&[("after".into(), after.to_string())]),
        Remote::Api { method, path, body } => {
            let question = Question::new(&method.to_uppercase(), path.trim_start_matches('/'));
            match body.as_deref() {
                None => question,
                Some("-") => {
                    let read = std::io::read_to_string(std::io::stdin());
                    question.with(read.map_err(|error| format!("the standard input cannot be read: {error}"))?)
                }
                Some(text) => question.with(text.to_owned()),
            }
        }
    })
}

/// How an answer looks to people.
fn shape(remote: &Remote) -> Shape {
    match remote {
        Remote::Transactions { id: None, .. } => Shape::Rows(
            "transactions",
            &["tid", "refid", "msisdn", "amount", "currency", "status", "scenario", "created_at"],
        ),
        Remote::Deliveries { id: None, export: None, .. } => {
            Shape::Rows("deliveries", &["id", "refid", "tid", "attempt", "status", "verdict", "reason"])
        }
        Remote::Next { .. } => Shape::Rows("next", &["scenario", "times", "when", "merchant"]),
        Remote::Scenarios { name: None, .. } => Shape::Rows("scenarios", &["name", "grade", "origin", "description"]),
        Remote::Merchants => Shape::Rows("merchants", &["username", "api_access", "profile", "scenario", "whitelist"]),
        Remote::Wait { .. } => {
            Shape::Rows("matched", &["event", "refid", "tid", "code", "status", "verdict", "reason"])
        }
        Remote::Coverage => Shape::Coverage,
        Remote::Scenarios { .. } | Remote::Api { .. } | Remote::Verify { .. } => Shape::AsItIs,
        _ => Shape::Fields,
    }
}

async fn logs(client: &Client, asked: Question, follow: bool, json: bool) -> ExitCode {
    let mut asked = asked;
    loop {
        let page = match client.ask(&asked).await {
            Ok(answer) if answer.status < 300 => answer,
            Ok(answer) => return super::fail(1, &answer.complaint()),
            Err(why) => return super::fail(1, &why),
        };
        let page: Value = serde_json::from_str(&page.text).unwrap_or_default();
        let entries = page["entries"].as_array().map_or(&[][..], Vec::as_slice);
        if page["evicted"].as_u64().is_some_and(|evicted| evicted > 0) {
            super::say(&format!("{} older entries are gone", page["evicted"]));
        }
        entries.iter().for_each(|entry| show::print(&if json { format!("{entry}\n") } else { show::entry(entry) }));
        let after = page["after"].as_u64().unwrap_or(0);
        asked = asked.replaced("after", &after.to_string());
        if !entries.is_empty() {
            continue;
        }
        if !follow {
            return ExitCode::SUCCESS;
        }
        if let Err(why) = client.news(&asked).await {
            return super::fail(1, &why);
        }
    }
}

fn escaped(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}
