//! The surfaces: which one answers which path. Requests arrive as our own small type; hyper stays in `server.rs`.

mod announced;
mod astray;
mod checkout;
mod control;
mod dashboard;
mod home;
mod kpay;
mod rates;
mod reply;
mod roots;
mod stream;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Method, Uri};
use tokio::sync::watch;

use crate::door::Door;
use crate::gateway::merchant::Network;
use crate::proxy::{Proxy, is_kpay};
use crate::scheduler::Scheduler;
pub use reply::{Reply, Sending};
pub use stream::{BodyReader, BodySender, BodyWriter, PIECE, Upload, pipe};

/// A request, read whole.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its address, as it was sent: a path and a query, for a proxy with a host before them.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Where it came from; an IPv4 address stays one on an IPv6 socket.
    pub peer: IpAddr,
    /// It came over TLS.
    pub secure: bool,
    /// A trusted proxy sent it on.
    pub forwarded: bool,
    /// Its body.
    pub body: Body,
}

impl Request {
    fn path(&self) -> &str {
        self.uri.path()
    }

    /// What followed the `?`, empty when there was none.
    fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

/// A request's body.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// It was longer than the server reads.
    TooLarge,
    /// It is still arriving.
    Streamed(Upload),
}

/// How the server reads a request's body, and how much of it in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// All of it before the surface is asked, as [`Body::Whole`] or [`Body::TooLarge`].
    Whole(usize),
    /// While the surface reads it, as [`Body::Streamed`].
    Streamed(usize),
}

impl Body {
    /// How much of a body is read, in bytes.
    pub const LIMIT: usize = 64 * 1024;
}

/// How much of a saved state is read, and how much of one is answered, in bytes: 4 GiB. It is never in memory as a whole.
const STATE_LIMIT: usize = u32::MAX as usize;

/// Whether refusals keep KPay's HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefusalStatus {
    /// Always 200, the code is in the body (A, strong).
    #[default]
    Ok,
    /// A status that fits the refusal: ours.
    Http,
}

/// Everything that answers requests.
#[derive(Debug)]
pub struct Surfaces {
    /// The state.
    pub door: Arc<Door>,
    /// How refusals are sent.
    pub refusal_status: RefusalStatus,
    /// `host:port` to name where a caller has not said how it reached us.
    pub default_host: String,
    /// Where the checkout page is announced.
    pub announced: Announced,
    /// The proxies whose `X-Forwarded-` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// What happens to requests for tunnels.
    pub proxy: Proxy,
    /// How the payer's browser comes back to the shop.
    pub redirect: Redirect,
    /// The certificates that clients must trust.
    pub roots: Roots,
    /// What the page at `/` shows.
    pub home: home::Home,
    /// The exchange rates.
    pub rates: Rates,
    /// Moves a paused clock on.
    pub scheduler: Arc<Scheduler>,
    /// Who may use the control API.
    pub guard: Guard,
    /// What `GET info` tells that never changes.
    pub info: serde_json::Value,
    /// Work that takes long, waits and streams, and their limits.
    pub work: Arc<Work>,
    /// Set when the sandbox ends: what waits gives up.
    pub stop: watch::Receiver<bool>,
}

/// What the pages load.
fn asset(name: &str) -> Reply {
    match name {
        "style.css" => Reply::asset("text/css; charset=utf-8", include_str!("pages/style.css")),
        "dashboard.js" => Reply::asset("text/javascript; charset=utf-8", include_str!("pages/dashboard.js")),
        "checkout.js" => Reply::asset("text/javascript; charset=utf-8", include_str!("pages/checkout.js")),
        "icon.svg" => Reply::asset("image/svg+xml", include_str!("pages/icon.svg")),
        _ => Reply::problem(404, "no page of this sandbox has such a part"),
    }
}

pub use announced::Announced;
pub use checkout::Redirect;
pub use control::{Guard, Work, endpoints};
pub use home::Home;
pub use rates::Rates;
pub use roots::Roots;

impl Surfaces {
    /// Answers a request.
    pub async fn answer(&self, request: &Request) -> Reply {
        if matches!(request.path().trim_matches('/'), "" | "api") {
            if kpay::is_call(request) {
                return kpay::answer(self, request).await;
            }
            self.door.apply(|gateway, _| gateway.visit());
            return self.home.page(request);
        }
        let path = request.path().strip_suffix('/').unwrap_or(request.path());
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let reading = matches!(request.method, Method::GET | Method::HEAD);
        // Those that seldom answer are in boxes, so that the others' futures are small.
        match (&request.method, segments.as_slice()) {
            (_, ["fx"]) if reading => self.rates.answer(&request.uri),
            (_, ["__sandbox", "livez" | "readyz"]) if reading => Reply::text(200, "ok\n"),
            (_, ["__sandbox", "ca.pem"]) if reading => self.roots.ca(),
            (_, ["__sandbox", "bundle.pem"]) if reading => self.roots.bundle(),
            (_, ["__sandbox", "assets", name]) if reading => asset(name),
            (_, ["__sandbox", "api", path @ ..]) => Box::pin(control::answer(self, request, path)).await,
            (_, ["__sandbox", path @ ..]) => Box::pin(dashboard::answer(self, request, path)).await,
            (_, ["checkout", path @ ..]) => Box::pin(checkout::answer(self, request, path)).await,
            _ => astray::answer(self, request),
        }
    }

    /// Returns how a body is read. Only a state that somebody may send is larger than [`Body::LIMIT`].
    pub fn reading(&self, method: &Method, path: &str, headers: &HeaderMap) -> Reading {
        let is_state = method == Method::PUT && path == "/__sandbox/api/state";
        let is_large = is_state && control::complaint(self, headers).is_none();
        if is_large { Reading::Streamed(STATE_LIMIT) } else { Reading::Whole(Body::LIMIT) }
    }

    /// Returns true if a request for this host and port is the sandbox's own.
    pub fn serves(&self, host: &str, port: u16) -> bool {
        let address = host.trim_matches(['[', ']']).parse().ok();
        is_kpay(host) || (self.guard.is_served(host) && self.proxy.is_own(address, port))
    }

    /// Records a request that is refused before the gateway reads it.
    fn request_refused(&self, request: &Request, problem: String) {
        let what = format!("{} {}", request.method, request.path());
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        self.door.apply(|gateway, now| gateway.handle_refused_request((request.peer, host), &what, problem, now));
    }

    /// Takes note of a connection that failed before there was a request.
    pub fn connection_failed(&self, peer: IpAddr, problem: String) {
        self.door.apply(|gateway, now| gateway.handle_connection_failure(peer, problem, now));
    }
}
