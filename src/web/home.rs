//! `GET /`: tells a person what this is and where to go on.

use askama::Template;
use http::header::ACCEPT;

use super::{Reply, Request};

/// What the page shows.
#[derive(Debug, Clone, Template)]
#[template(path = "home.html")]
pub struct Home {
    /// This program's version.
    pub version: &'static str,
    /// Where it serves.
    pub url: String,
    /// The CA file.
    pub ca: String,
    /// The profile's name.
    pub profile: String,
    /// The dashboard's address.
    pub dashboard: String,
    /// A line that works when pasted.
    pub curl: String,
}

impl Home {
    /// The page for a browser, the same in plain words for anything else.
    pub(super) fn page(&self, request: &Request) -> Reply {
        let accept = request.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains("text/html") {
            return Reply::page(200, self);
        }
        let Home { version, url, ca, profile, curl, dashboard } = self;
        Reply::text(
            200,
            format!(
                "kpay-sandbox {version}: a KPay payment gateway on this machine. Not KPay, no money.\n\n\
                 endpoint  POST {url}/ or {url}/api/\nCA file   {ca}\nprofile   {profile}\ndashboard {dashboard}\ncontrol   {url}/__sandbox/api\nhealth    {url}/__sandbox/livez\n\n{curl}\n"
            ),
        )
    }
}
