//! Delivers one postback: one POST, one time limit, one record of what happened. When it leaves is the
//! scheduler's, what it says is the core's.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::gateway::masking;
use crate::gateway::postback::{Answer, Delivery, Failure, Postback};
use crate::tls;

mod address;
mod connector;
mod failure;
mod reach;
mod resolver;
#[cfg(test)]
mod tests;

pub(crate) use address::with_scheme;
pub use address::{Redirection, Target, target};
use connector::Connector;
use failure::{causes, failure};
pub use reach::Postbacks;
use reach::{NotLocal, is_kpays};
use resolver::Resolver;

/// The header by which a postback says that a sandbox sent it. A sandbox refuses requests that have it, so that no postback
/// drives one, by whatever detour it gets there.
pub const SENDER_HEADER: HeaderName = HeaderName::from_static("x-kpay-sandbox");

/// The headers of a proxy that tell an application under which address it was called.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

type HttpsClient = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// The `Host` of a postback that `--postback-to` sends elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PostbackHost {
    /// That of the returl, with X-Forwarded-Proto and X-Forwarded-Host.
    Original,
    /// That of the address that it is sent to.
    Local,
}

/// How a courier is set up.
#[derive(Debug, Clone)]
pub struct CourierSettings {
    /// Our own CA, trusted besides the system's roots.
    pub own_ca: CertificateDer<'static>,
    /// Further roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Take any certificate.
    pub insecure: bool,
    /// How long a delivery may take, answer included.
    pub time_limit: Duration,
    /// Where postbacks for some origins go instead; the first that fits counts.
    pub redirections: Vec<Redirection>,
    /// The `Host` of those postbacks.
    pub host: PostbackHost,
    /// The addresses that postbacks may go to, unless a redirection names others.
    pub postbacks: Postbacks,
    /// Only local addresses, whatever the other settings say.
    pub offline: bool,
    /// The addresses on which the sandbox listens. No postback goes there.
    pub own_addresses: Vec<SocketAddr>,
    /// By what name the machine around a container is reached: there `localhost` mostly means that machine.
    pub around: Option<&'static str>,
}

/// Posts postbacks.
pub struct Courier {
    settings: CourierSettings,
    /// For targets at local addresses.
    local: Clients,
    /// For targets at every address.
    anywhere: Clients,
    /// Whether the machine around the container can be named.
    around_is_known: tokio::sync::OnceCell<bool>,
}

/// The clients that connect to the same addresses.
struct Clients {
    connector: Connector,
    plain: Client<Connector, Full<Bytes>>,
    /// Made for the first https target: reading the system's roots is slow, and most shops under test have none.
    secure: OnceLock<Result<HttpsClient, rustls::Error>>,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The largest file of `--postback-ca`.
const ROOTS_LIMIT: u64 = 4 * 1024 * 1024;

/// Reads the roots of `--postback-ca`; the error is a sentence that names the file.
pub fn read_roots(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: String| {
        let file = file.display();
        format!("{file}: {why}; give --postback-ca a file of certificates in PEM")
    };
    // It may be a FIFO, such as that of `<(cat a.pem b.pem)`, so its size is known at the end only.
    let mut pem = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(ROOTS_LIMIT + 1).read_to_end(&mut pem));
    let read = read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if read as u64 > ROOTS_LIMIT {
        return Err(wrong("is larger than 4 MiB".into()));
    }
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let roots = roots.map_err(|error| wrong(format!("is not PEM: {error}")))?;
    if roots.is_empty() {
        return Err(wrong("holds no certificate".into()));
    }
    // Better refused at start than silently left out when the first postback is due.
    for root in &roots {
        let usable = RootCertStore::empty().add(root.clone());
        usable.map_err(|error| wrong(format!("holds an unusable certificate: {error}")))?;
    }
    Ok(roots)
}

impl Courier {
    /// A courier. Nothing is connected to and no root is read yet.
    pub fn new(settings: CourierSettings) -> Courier {
        let resolver = Resolver::of_system();
        let clients = |postbacks| Clients::new(Connector::new(&resolver, postbacks, &settings.own_addresses));
        Courier {
            local: clients(Postbacks::Local),
            anywhere: clients(Postbacks::Anywhere),
            around_is_known: tokio::sync::OnceCell::new(),
            settings,
        }
    }

    /// Posts, and records what came of it. How long that took is for the keeper of the clock to say.
    pub async fn deliver(&self, postback: Postback) -> Delivery {
        let mut delivery = Delivery {
            url: String::new(),
            headers: Vec::new(),
            outcome: Err(Failure::Stopped),
            took: Duration::ZERO,
            postback,
        };
        delivery.outcome = match self.target(&delivery.postback) {
            Err(failure) => Err(failure),
            Ok(target) => {
                let request = request(&target, self.settings.host, &delivery.postback);
                delivery.url = request.uri().to_string();
                delivery.headers = readable(request.headers());
                let limit = self.settings.time_limit;
                let sending = self.exchange_near(request, &target, &mut delivery.url);
                tokio::time::timeout(limit, sending).await.unwrap_or(Err(Failure::TimedOut(limit)))
            }
        };
        delivery
    }

    fn target(&self, postback: &Postback) -> Result<Target, Failure> {
        let target = target(&postback.target, &self.settings.redirections).map_err(Failure::BadTarget)?;
        if target.uri.host().is_some_and(is_kpays) {
            let named = &target.named;
            return Err(Failure::NotPermitted(format!(
                "{named} is KPay's own, and no postback goes there. Use --postback-to {named}=http://localhost:3000 to name your listener"
            )));
        }
        Ok(target)
    }

    /// Tries this machine first, and then the one around the container, where there is one; `url` becomes where it went.
    async fn exchange_near(
        &self,
        request: Request<Full<Bytes>>,
        target: &Target,
        url: &mut String,
    ) -> Result<Answer, Failure> {
        let around = self.settings.around.and_then(|name| Some((name, address::around(request.uri(), name)?)));
        let Some((name, around)) = around else { return self.exchange(request, target).await };
        // With the same Host: a development server may serve no other.
        let mut second = request.clone();
        let here = match self.exchange(request, target).await {
            Err(Failure::Unreachable(here)) => here,
            exchanged => return exchanged,
        };
        // Asked once, and not for long: many containers know no such name.
        let known = self.around_is_known.get_or_init(|| async {
            let looked_up = tokio::time::timeout(Duration::from_millis(500), tokio::net::lookup_host((name, 80))).await;
            matches!(looked_up, Ok(Ok(_)))
        });
        if !*known.await {
            return Err(Failure::Unreachable(here));
        }
        *second.uri_mut() = around.clone();
        match self.exchange(second, target).await {
            Err(Failure::Unreachable(there)) => {
                Err(Failure::Unreachable(format!("{here}; nor outside the container: {there}")))
            }
            exchanged => {
                *url = around.to_string();
                exchanged
            }
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, target: &Target) -> Result<Answer, Failure> {
        let uri = request.uri().clone();
        let anywhere = target.redirected || self.settings.postbacks == Postbacks::Anywhere;
        let clients = if anywhere && !self.settings.offline { &self.anywhere } else { &self.local };
        let sending = if uri.scheme_str() == Some("https") {
            clients.secure(&self.settings)?.request(request)
        } else {
            clients.plain.request(request)
        };
        let answer = sending.await.map_err(|error| {
            let not_local = |refused| self.not_permitted(refused, target);
            causes(&error)
                .into_iter()
                .find_map(|cause| cause.downcast_ref::<NotLocal>())
                .map_or_else(|| failure(&error, error.is_connect(), &uri), not_local)
        })?;
        read(answer).await.map_err(|error| failure(&error, false, &uri))
    }

    /// Returns why nothing was sent to a target that is not local, and the flags that change it.
    fn not_permitted(&self, NotLocal(address): &NotLocal, target: &Target) -> Failure {
        let named = &target.named;
        let listener = format!("--postback-to {named}=http://localhost:3000 to name your listener");
        let origin = origin(&target.uri);
        Failure::NotPermitted(if self.settings.offline {
            format!(
                "{origin} leads to {address}, and --offline permits local and private addresses only. Use {listener}"
            )
        } else {
            format!(
                "{origin} leads to {address}, not to a local or private address. Use {listener}, or --postbacks anywhere"
            )
        })
    }
}

impl Clients {
    fn new(connector: Connector) -> Clients {
        Clients { plain: client(connector.clone()), secure: OnceLock::new(), connector }
    }

    fn secure(&self, settings: &CourierSettings) -> Result<&HttpsClient, Failure> {
        let make = || {
            let CourierSettings { own_ca, extra_roots, insecure, .. } = settings;
            let config = tls::postback_config(own_ca, extra_roots, *insecure)?;
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(config)
                .https_or_http()
                .enable_http1()
                .wrap_connector(self.connector.clone());
            Ok(client(https))
        };
        let made = self.secure.get_or_init(make).as_ref();
        made.map_err(|error| Failure::Tls(error.to_string()))
    }
}

/// Dropping the body before its end is what closes the connection of an answer that is cut.
async fn read(answer: http::Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, mut incoming) = answer.into_parts();
    let mut answer =
        Answer { status: head.status.as_u16(), headers: readable(&head.headers), body: Vec::new(), cut: false };
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let room = Answer::LIMIT - answer.body.len();
        answer.body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            answer.cut = true;
            break;
        }
    }
    Ok(answer)
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        // As PHP's curl, whose connections end with their handle; development servers close kept ones early.
        .pool_max_idle_per_host(0)
        // `Accept`, not `accept`: listeners that compare names by case exist, and PHP's curl writes it so.
        .http1_title_case_headers(true)
        .build(connector)
}

/// As PHP's curl sends it (O): `Accept: */*`, no `User-Agent`. All of the headers are set here, those too that
/// the client would add, so that the record holds what is sent.
fn request(target: &Target, host: PostbackHost, postback: &Postback) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(&postback.body)));
    let headers = request.headers_mut();
    let forwarded = target.redirected && host == PostbackHost::Original;
    // An authority is plain ASCII, and a default port is not part of ours.
    let authority = if forwarded { target.named.authority() } else { authority(&target.uri).to_owned() };
    if let Ok(host) = HeaderValue::from_str(&authority) {
        if forwarded {
            headers.insert(FORWARDED_HOST, host.clone());
            headers.insert(FORWARDED_PROTO, HeaderValue::from_static(target.named.scheme()));
        }
        headers.insert(HOST, host);
    }
    if let Some(authorization) = &target.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    // A label that no header could hold is left out; the profiles' own are plain words.
    if let Ok(label) = HeaderValue::from_str(&postback.content_type)
        && !label.is_empty()
    {
        headers.insert(CONTENT_TYPE, label);
    }
    headers.insert(CONTENT_LENGTH, postback.body.len().into());
    headers.insert(SENDER_HEADER, HeaderValue::from_static("postback"));
    *request.method_mut() = Method::from_bytes(postback.method.as_bytes()).unwrap_or(Method::POST);
    *request.uri_mut() = target.uri.clone();
    request
}

fn authority(uri: &Uri) -> &str {
    uri.authority().map_or("", |authority| authority.as_str())
}

fn origin(uri: &Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), authority(uri))
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    // Credentials are not recorded.
    let text = |value: &HeaderValue| match value.is_sensitive() {
        true => masking::MASK.to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
