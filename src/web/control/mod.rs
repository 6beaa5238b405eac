//! The control API, `/__sandbox/api/…`: what a test or a developer asks of the sandbox itself, not of KPay.
//!
//! The match in [`endpoint`] is its table of contents; each group of endpoints has a file.

mod accounts;
mod clock;
mod deliveries;
mod events;
mod expect;
mod guard;
mod har;
mod hub;
mod input;
mod named;
mod scripts;
mod search;
mod transactions;
mod waiting;
mod whole;
mod work;

use http::Method;
use serde_json::{Value, json};

use super::{Reply, Request, Surfaces};
pub(super) use clock::go_on as advance_clock;
pub(super) use deliveries::find as find_delivery;
pub use guard::Guard;
pub(super) use guard::{complaint, is_browsers};
pub(super) use har::curl as delivery_curl;
use input::percent_decoded;
pub(super) use transactions::{Timeline, ahead};
pub(super) use whole::counted as coverage;
pub use work::Work;

/// An error, as a sentence for a person and a word for a program.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: u16,
    code: &'static str,
    pub(super) message: String,
    pub(super) hint: String,
    /// What else a program may want to know.
    details: Option<Box<Value>>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { status, code, message: message.into(), hint: hint.into(), details: None }
    }

    pub(super) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem::new(404, "not-found", message, hint)
    }

    pub(super) fn unusable(message: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem::new(400, "unusable", message, hint)
    }

    /// Records the refusal of a foreign web page or a postback: no person would see it otherwise.
    pub(super) fn record(&self, surfaces: &Surfaces, request: &Request) {
        if matches!(self.code, "host" | "origin") {
            surfaces.request_refused(request, self.message.clone());
        }
    }

    /// A limit that is reached for now.
    pub(super) fn busy(message: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem::new(503, "busy", message, hint)
    }

    fn with(self, details: Value) -> Problem {
        Problem { details: Some(Box::new(details)), ..self }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Reply {
        let Problem { status, code, message, hint, details } = problem;
        let mut error = json!({ "code": code, "message": message, "hint": hint });
        if let Some(details) = details {
            error["details"] = *details;
        }
        reply(status, &json!({ "error": error }))
    }
}

pub(super) type Outcome = Result<Reply, Problem>;

/// Two blanks deep and a newline behind it: people read it in terminals.
fn reply(status: u16, value: &Value) -> Reply {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    Reply::json(status, text).with("Cache-Control", "no-store")
}

fn ok(value: &Value) -> Outcome {
    Ok(reply(200, value))
}

/// Every endpoint, for the index and for whoever asks for one that is not there.
const ENDPOINTS: [(&str, &str); 32] = [
    ("GET info", "version, profile, seed, addresses, CA and its expiry"),
    ("GET transactions", "list; filters refid, tid, msisdn, status, merchant, scenario; limit, before"),
    ("GET transactions/{tid}", "one, with its whole timeline; a refid will do"),
    ("POST transactions/{tid}/settle", "settle by hand, {\"statusid\": \"02\"}; its postback follows"),
    ("POST transactions/{tid}/postbacks", "post now, any part changed as in a scenario's postback"),
    ("GET deliveries", "list; filters tid, refid, verdict, merchant; limit, before; as=har"),
    ("GET deliveries/{id}", "one, whole; as=curl, as=har"),
    ("POST deliveries/{id}/replay", "the same bytes again"),
    ("GET journal", "numbered record; after, limit, merchant, tid"),
    ("GET events", "the same, live (SSE); after or Last-Event-ID, merchant"),
    (
        "POST wait",
        "until {\"for\": \"delivery\", \"match\": {…}} is met, or a call or a transaction; count, after, timeout",
    ),
    ("POST verify", "that what happened is as expected, {\"expect\": [{\"for\", \"match\", \"count\", \"after\"}]}"),
    ("GET clock", "now, whether it is paused, what is due next"),
    ("POST clock/pause", "stop the clock"),
    ("POST clock/resume", "let it go on"),
    ("POST clock/advance", "move a paused clock on, {\"by\": \"30s\"}"),
    ("POST clock/settle", "move a paused clock on until nothing is due"),
    ("GET scenarios", "list; merchant"),
    ("GET scenarios/{name}", "one, whole"),
    ("PUT scenarios/{name}", "add or replace one; merchant for one merchant only"),
    ("DELETE scenarios/{name}", "take an added one away"),
    ("GET next", "what waits for the next payments"),
    ("POST next", "{\"scenario\": \"decline\", \"times\": 1, \"when\": {…}, \"merchant\": \"…\"}"),
    ("DELETE next", "empty the queue; merchant"),
    ("GET merchants", "list; after, limit"),
    ("GET merchants/{username}", "one"),
    ("PUT merchants/{username}", "add an account, or change the parts of it that are sent"),
    ("DELETE merchants/{username}", "take one away"),
    ("POST reset", "forget everything and set the clock back to its start, or only {\"merchant\": \"…\"}"),
    ("GET state", "all of it, for a bug report"),
    ("PUT state", "become what was saved"),
    ("GET coverage", "which codes, scenarios and kinds of delivery were met, and which not; merchant"),
];

/// The endpoints, as `METHOD path`, and what each does.
pub fn endpoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    ENDPOINTS.into_iter()
}

/// Answers a call to the control API; who may call it is checked first.
pub(super) async fn answer(surfaces: &Surfaces, request: &Request, path: &[&str]) -> Reply {
    if let Some(problem) = complaint(surfaces, &request.headers) {
        problem.record(surfaces, request);
        return problem.into();
    }
    let path: Vec<String> = path.iter().map(|segment| percent_decoded(segment)).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let moved = match named::in_query(request) {
        Ok(moved) => moved,
        Err(problem) => return problem.into(),
    };
    let request = moved.as_ref().unwrap_or(request);
    if let Err(problem) = named::welcome(surfaces, request, &path) {
        return problem.into();
    }
    endpoint(surfaces, request, &path).await.unwrap_or_else(Reply::from)
}

async fn endpoint(surfaces: &Surfaces, request: &Request, path: &[&str]) -> Outcome {
    match (request.method.as_str(), path) {
        ("GET", []) => index(),
        ("GET", ["info"]) => whole::info(surfaces),
        ("GET", ["transactions"]) => transactions::list(surfaces, request).await,
        ("GET", ["transactions", id]) => transactions::one(surfaces, request, id).await,
        ("POST", ["transactions", id, "settle"]) => transactions::settle(surfaces, request, id),
        ("POST", ["transactions", id, "postbacks"]) => transactions::post(surfaces, request, id).await,
        ("GET", ["deliveries"]) => deliveries::list(surfaces, request).await,
        ("GET", ["deliveries", id]) => deliveries::one(surfaces, request, id).await,
        ("POST", ["deliveries", id, "replay"]) => deliveries::replay(surfaces, request, id).await,
        ("GET", ["journal"]) => events::journal(surfaces, request).await,
        ("GET", ["events"]) => events::live(surfaces, request),
        ("POST", ["wait"]) => expect::wait(surfaces, request).await,
        ("POST", ["verify"]) => expect::verify(surfaces, request).await,
        ("GET", ["clock"]) => clock::show(surfaces),
        ("POST", ["clock", "pause"]) => clock::pause(surfaces),
        ("POST", ["clock", "resume"]) => clock::resume(surfaces),
        ("POST", ["clock", "advance"]) => clock::advance(surfaces, request).await,
        ("POST", ["clock", "settle"]) => clock::settle(surfaces).await,
        ("GET", ["scenarios"]) => scripts::list(surfaces, request),
        ("GET", ["scenarios", name]) => scripts::one(surfaces, request, name),
        ("PUT", ["scenarios", name]) => scripts::put(surfaces, request, name),
        ("DELETE", ["scenarios", name]) => scripts::remove(surfaces, request, name),
        ("GET", ["next"]) => scripts::queued(surfaces, request),
        ("POST", ["next"]) => scripts::queue(surfaces, request),
        ("DELETE", ["next"]) => scripts::clear(surfaces, request),
        ("GET", ["merchants"]) => accounts::list(surfaces, request).await,
        ("GET", ["merchants", username]) => accounts::one(surfaces, username),
        ("PUT", ["merchants", username]) => accounts::put(surfaces, request, username),
        ("DELETE", ["merchants", username]) => accounts::remove(surfaces, username),
        ("POST", ["reset"]) => whole::reset(surfaces, request),
        ("GET", ["state"]) => whole::save(surfaces).await,
        ("PUT", ["state"]) => whole::restore(surfaces, request).await,
        ("GET", ["coverage"]) => whole::coverage(surfaces, request).await,
        _ => Err(nothing_here(&request.method, path)),
    }
}

fn index() -> Outcome {
    ok(
        &json!({ "endpoints": endpoints().map(|(call, does)| (call.to_owned(), does.into())).collect::<serde_json::Map<String, Value>>() }),
    )
}

/// Tells a wrong method from a path that is none.
fn nothing_here(method: &Method, path: &[&str]) -> Problem {
    let fits = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        pattern.len() == path.len()
            && pattern.iter().zip(path).all(|(wanted, found)| wanted.starts_with('{') || wanted == found)
    };
    let calls = endpoints().filter_map(|(call, _)| call.split_once(' '));
    let methods: Vec<&str> = calls.filter(|(_, pattern)| fits(pattern)).map(|(method, _)| method).collect();
    let here = format!("/__sandbox/api/{}", path.join("/"));
    if methods.is_empty() {
        return Problem::not_found(format!("there is no {here}"), "GET /__sandbox/api lists what there is");
    }
    Problem::new(405, "method", format!("{here} does not take {method}"), format!("use {}", methods.join(" or ")))
}
