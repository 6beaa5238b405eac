//! The dashboard, `/__sandbox/…`: what the gateway did, as pages, with a button for every edge case. The server renders
//! each page whole; a script loads it again when something has happened. Reading is all that happens here: buttons go
//! through `buttons.rs` to the same verbs as the control API.

mod buttons;
mod calls;
mod live;
mod payment;
mod payments;
mod reference;
mod start;

use askama::Template;
use http::Method;

use super::control::{Problem, complaint};
use super::{Body, Reply, Request, Surfaces};
use crate::gateway::Timestamp;

/// Answers what is asked below `/__sandbox/` and is neither the API nor a part of a page.
pub(super) async fn answer(surfaces: &Surfaces, request: &Request, path: &[&str]) -> Reply {
    let reading = matches!(request.method, Method::GET | Method::HEAD);
    if !reading && path == ["token"] {
        return take_token(surfaces, request);
    }
    if let Some(problem) = refused(surfaces, request, reading) {
        problem.record(surfaces, request);
        return if problem.status == 401 && reading { ask_for_token(401, "") } else { page_of(&problem) };
    }
    let page = match (path, reading) {
        ([], true) => payments::page(surfaces, request).await,
        (["payments", tid], true) => payment::page(surfaces, request, tid).await,
        (["calls"], true) => calls::page(surfaces, request).await,
        (["scenarios"], true) => reference::scenarios(surfaces, request),
        (["merchants"], true) => reference::merchants(surfaces, request),
        (["coverage"], true) => reference::coverage(surfaces, request).await,
        (["start"], true) => start::page(surfaces, request),
        (["live"], true) => live::stream(surfaces),
        (["do"], false) => buttons::press(surfaces, request).await,
        _ => {
            Err(Problem::new(404, "not-found", "there is no such page", "the pages there are stand in the menu above"))
        }
    };
    page.unwrap_or_else(|problem| page_of(&problem))
}

/// Why this caller may not see the pages. Following a link from elsewhere is no harm: no page does anything when
/// it is opened, and none can be put into another's frame.
fn refused(surfaces: &Surfaces, request: &Request, reading: bool) -> Option<Problem> {
    let mode = request.headers.get("sec-fetch-mode").and_then(|mode| mode.to_str().ok());
    if reading && mode == Some("navigate") {
        let mut headers = request.headers.clone();
        headers.remove("sec-fetch-site");
        return complaint(surfaces, &headers);
    }
    complaint(surfaces, &request.headers)
}

/// A page that says what was wrong.
#[derive(Template)]
#[template(path = "dashboard-problem.html")]
struct ProblemPage<'a> {
    message: &'a str,
    hint: &'a str,
}

fn page_of(problem: &Problem) -> Reply {
    Reply::page(problem.status, &ProblemPage { message: &problem.message, hint: &problem.hint })
}

/// Asks for the control token.
#[derive(Template)]
#[template(path = "dashboard-token.html")]
struct TokenPage<'a> {
    wrong: &'a str,
}

fn ask_for_token(status: u16, wrong: &str) -> Reply {
    Reply::page(status, &TokenPage { wrong })
}

fn take_token(surfaces: &Surfaces, request: &Request) -> Reply {
    if let Some(problem) = surfaces.guard.foreign_sender(&request.headers) {
        surfaces.request_refused(request, problem.clone());
        return page_of(&Problem::new(403, "origin", problem, "open the dashboard itself"));
    }
    let Body::Whole(body) = &request.body else { return ask_for_token(413, "That is too long for a token.") };
    let token = form_urlencoded::parse(body).find(|(name, _)| name == "token").map(|(_, token)| token);
    match surfaces.guard.cookie(token.as_deref().unwrap_or_default().trim()) {
        Some(cookie) => see_other("/__sandbox/").with("Set-Cookie", cookie),
        None => ask_for_token(401, "That is not this sandbox's --control-token."),
    }
}

fn see_other(path: &str) -> Reply {
    Reply::text(303, "").with("Location", path).with("Cache-Control", "no-store")
}

/// The menu: name, path and title of each page.
const MENU: [(&str, &str, &str); 6] = [
    ("payments", "", "Payments"),
    ("calls", "calls", "Calls"),
    ("scenarios", "scenarios", "Scenarios"),
    ("merchants", "merchants", "Merchants"),
    ("coverage", "coverage", "Coverage"),
    ("start", "start", "Start"),
];

/// What every page shows around its own: the menu and the clock.
struct Frame {
    /// The menu's item.
    active: &'static str,
    /// This page's own address, where its buttons come back to.
    here: String,
    profile: String,
    now: String,
    /// For the script, which lets it go on.
    now_ms: u64,
    paused: bool,
    speed: f64,
    scheduled: usize,
    under_way: usize,
    held: usize,
    next_due: String,
}

impl Frame {
    fn new(surfaces: &Surfaces, request: &Request, active: &'static str) -> Frame {
        let clock = surfaces.door.clock();
        let now = clock.now();
        surfaces.door.read(|gateway| Frame {
            active,
            here: request.uri.path_and_query().map_or("/", |here| here.as_str()).to_owned(),
            profile: gateway.rules().profiles.default().name.to_string(),
            now: second(now),
            now_ms: u64::try_from(now.since(Timestamp::ZERO).as_millis()).unwrap_or(u64::MAX),
            paused: clock.is_paused(),
            speed: clock.speed(),
            scheduled: gateway.scheduled(),
            under_way: gateway.under_way(),
            held: gateway.held(),
            next_due: gateway.next_due().map(|due| second(due.max(now))).unwrap_or_default(),
        })
    }
}

/// `2026-01-31 12:00:05`.
fn second(at: Timestamp) -> String {
    at.to_string().get(..19).unwrap_or_default().replace('T', " ")
}

/// `12:00:05.123`.
fn time_of_day(at: Timestamp) -> String {
    at.to_string().get(11..23).unwrap_or_default().to_owned()
}

/// A query of the parameters that say something.
fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}

/// The parameters after the `?`; what a page does not know it does not mind.
fn parameter(request: &Request, name: &str) -> String {
    let pairs = form_urlencoded::parse(request.query().as_bytes());
    let found = pairs.filter(|(other, _)| other == name).last();
    found.map(|(_, value)| value.trim().chars().take(300).collect()).unwrap_or_default()
}
