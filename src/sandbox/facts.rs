//! What clients and people are told of a sandbox: addresses, files, a line to paste.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::certificates;
use crate::config::{Config, PublicUrl};
use crate::view;
use crate::web::{Announced, Guard, Home};

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Base URL, without a slash at its end.
    pub url: String,
    /// The addresses that are listened on.
    pub addresses: Vec<SocketAddr>,
    /// The CA to trust.
    pub ca: PathBuf,
    /// The system's roots and ours, for tools whose setting replaces the roots.
    pub bundle: PathBuf,
    /// The first merchant's user.
    pub username: String,
    /// And password.
    pub password: String,
    /// And key.
    pub key: String,
    /// The profile's name.
    pub profile: String,
    /// A line that works when pasted.
    pub curl: String,
    /// The dashboard's address, which a browser opens without trusting the CA.
    pub dashboard: String,
    /// Other machines can reach the port, and nothing says who may use the control API.
    pub closed: bool,
    /// What the start has to say, such as that there is a new CA.
    pub notices: Vec<String>,
}

pub(super) fn url(addresses: &[SocketAddr]) -> String {
    let first = addresses[0];
    let named = addresses.len() > 1
        && addresses.iter().all(|address| address.ip().is_loopback() && address.port() == first.port());
    match first.ip() {
        ip if named || ip.is_unspecified() => format!("https://localhost:{}", first.port()),
        IpAddr::V6(ip) => format!("https://[{ip}]:{}", first.port()),
        IpAddr::V4(ip) => format!("https://{ip}:{}", first.port()),
    }
}

/// Who may use the control API.
pub(super) fn guard(facts: &Facts, config: &Config) -> Guard {
    let public = config.public_url.as_ref();
    let public_host = public.map(|url| url.host().to_ascii_lowercase());
    Guard {
        names: certificates::names(&config.hosts).into_iter().chain(public_host).collect(),
        public: public.map(PublicUrl::origin),
        token: config.control_token.clone(),
        beyond_loopback: facts.addresses.iter().any(|address| !address.ip().is_loopback()),
        open: config.control_open,
    }
}

/// Where the checkout page is announced.
pub(super) fn announced(facts: &Facts, config: &Config) -> Announced {
    Announced {
        own: facts.url.replacen("https://", "http://", 1),
        names: config.hosts.iter().map(|name| name.to_ascii_lowercase()).collect(),
        only_own: config.announces_own,
        public: config.public_url.as_ref().map(|url| url.0.clone()),
    }
}

pub(super) fn dashboard(facts: &Facts, public: Option<&PublicUrl>) -> String {
    let base = public.map_or_else(|| facts.url.replacen("https://", "http://", 1), |url| url.0.clone());
    format!("{base}/__sandbox/")
}

pub(super) fn curl_line(facts: &Facts) -> String {
    let quoted = view::shell_quoted;
    let ca = quoted(&facts.ca.to_string_lossy());
    let user = quoted(&format!("{}:{}", facts.username, facts.password));
    let key = if facts.profile == "portal" {
        format!(" --header {}", quoted(&format!("Kpay-Key: {}", facts.key)))
    } else {
        String::new()
    };
    format!("curl --cacert {ca} --user {user}{key} {}/ --data '{}'", facts.url, view::SAMPLE_PAYMENT)
}

/// What the control API tells of this sandbox that never changes.
pub(super) fn info(facts: &Facts, seed: u64, repeatable: bool, expires: &str) -> serde_json::Value {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "profile": facts.profile,
        "seed": seed,
        "repeatable": repeatable,
        "url": facts.url,
        "addresses": facts.addresses,
        "username": facts.username,
        "ca": absolute(&facts.ca),
        "bundle": absolute(&facts.bundle),
        "certificate_expires": expires,
        "dashboard": facts.dashboard,
        "pid": std::process::id(),
    })
}

pub(super) fn home(facts: &Facts) -> Home {
    Home {
        version: env!("CARGO_PKG_VERSION"),
        url: facts.url.clone(),
        ca: facts.ca.display().to_string(),
        profile: facts.profile.clone(),
        dashboard: facts.dashboard.clone(),
        curl: facts.curl.clone(),
    }
}
