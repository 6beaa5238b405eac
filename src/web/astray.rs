//! Requests to paths that KPay does not have: they are recorded, and told what would be right.

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method};

use super::kpay::other_scheme;
use super::{Reply, Request, Surfaces};
use crate::gateway::values::excerpt;

/// Records a request and answers it with what would be right.
pub(super) fn answer(surfaces: &Surfaces, request: &Request) -> Reply {
    let advice = advice(request.path(), &request.headers, &surfaces.default_host);
    let reply = Reply::problem(404, &advice);
    if !is_browsers_own(&request.method, request.path()) {
        surfaces.request_refused(request, advice);
    }
    reply
}

/// Words in a path that mean `checkstatus`.
const STATUS: [&str; 7] = ["status", "check", "verify", "query", "transaction", "find", "get"];
/// Words in a path that mean `pay`.
const PAY: [&str; 8] = ["pay", "charge", "checkout", "collect", "initiate", "request", "debit", "order"];

fn advice(path: &str, headers: &HeaderMap, default_host: &str) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty());
    let host = host.unwrap_or(default_host);
    let lower = path.to_ascii_lowercase();
    let means = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let action = if means(&STATUS) {
        r#" with "action":"checkstatus" in it"#
    } else if means(&PAY) {
        r#" with "action":"pay" in it"#
    } else {
        ""
    };
    let scheme = headers.get(AUTHORIZATION).and_then(|value| other_scheme(value.to_str().ok()?));
    let scheme = scheme.map_or(String::new(), |scheme| format!(", and Basic authentication instead of {scheme}"));
    format!("KPay has no path '{}'. POST the JSON{action} to https://{host}/api/{scheme}", excerpt(path))
}

/// Returns true for what browsers and crawlers fetch by themselves.
fn is_browsers_own(method: &Method, path: &str) -> bool {
    let starts = ["/favicon", "/apple-touch-icon", "/robots.txt", "/.well-known/", "/site.webmanifest"];
    matches!(*method, Method::GET | Method::HEAD) && starts.iter().any(|start| path.starts_with(start))
}
