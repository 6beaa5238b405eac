//! Delivers one postback: one POST, one time limit, one record of what happened. When it leaves is the
//! scheduler's, what it says is the core's.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::gateway::postback::{Answer, Delivery, Failure, Postback};
use crate::tls;

mod address;
mod connector;
mod resolver;
#[cfg(test)]
mod tests;

pub use address::{Redirection, target};
use connector::{Connector, OwnAddress};

/// The header by which a postback says that a sandbox sent it. A sandbox refuses requests that have it, so that no postback
/// drives one, by whatever detour it gets there.
pub const SENDER_HEADER: HeaderName = HeaderName::from_static("x-kpay-sandbox");

/// Development servers close kept connections early, so none is kept for long.
const KEPT: Duration = Duration::from_secs(5);

type HttpsClient = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// How a courier is set up.
#[derive(Debug)]
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
    /// The addresses on which the sandbox listens. No postback goes there.
    pub own_addresses: Vec<SocketAddr>,
    /// By what name the machine around a container is reached: there `localhost` mostly means that machine.
    pub around: Option<&'static str>,
}

/// Posts postbacks.
pub struct Courier {
    settings: CourierSettings,
    plain: Client<Connector, Full<Bytes>>,
    /// Made for the first https target: reading the system's roots is slow, and most shops under test have none.
    secure: OnceLock<Result<HttpsClient, rustls::Error>>,
    /// Whether the machine around the container can be named.
    around_is_known: tokio::sync::OnceCell<bool>,
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
        Courier {
            plain: client(Connector::new(&settings.own_addresses)),
            secure: OnceLock::new(),
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
        delivery.outcome = match self.prepare(&delivery.postback) {
            Err(failure) => Err(failure),
            Ok(request) => {
                delivery.url = request.uri().to_string();
                delivery.headers = readable(request.headers());
                let limit = self.settings.time_limit;
                let sending = self.exchange_near(request, &mut delivery.url);
                tokio::time::timeout(limit, sending).await.unwrap_or(Err(Failure::TimedOut(limit)))
            }
        };
        delivery
    }

    fn prepare(&self, postback: &Postback) -> Result<Request<Full<Bytes>>, Failure> {
        let uri = target(&postback.target, &self.settings.redirections).map_err(Failure::BadTarget)?;
        Ok(request(uri, postback))
    }

    /// Tries this machine first, and then the one around the container, where there is one; `url` becomes where it went.
    async fn exchange_near(&self, request: Request<Full<Bytes>>, url: &mut String) -> Result<Answer, Failure> {
        let around = self.settings.around.and_then(|name| Some((name, address::around(request.uri(), name)?)));
        let Some((name, around)) = around else { return self.exchange(request).await };
        // With the same Host: a development server may serve no other.
        let mut second = request.clone();
        let here = match self.exchange(request).await {
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
        match self.exchange(second).await {
            Err(Failure::Unreachable(there)) => {
                Err(Failure::Unreachable(format!("{here}; nor outside the container: {there}")))
            }
            exchanged => {
                *url = around.to_string();
                exchanged
            }
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let uri = request.uri().clone();
        let sending = if uri.scheme_str() == Some("https") {
            self.secure()?.request(request)
        } else {
            self.plain.request(request)
        };
        let answer = sending.await.map_err(|error| failure(&error, error.is_connect(), &uri))?;
        read(answer).await.map_err(|error| failure(&error, false, &uri))
    }

    fn secure(&self) -> Result<&HttpsClient, Failure> {
        let make = || {
            let CourierSettings { own_ca, extra_roots, insecure, own_addresses, .. } = &self.settings;
            let config = tls::postback_config(own_ca, extra_roots, *insecure)?;
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(config)
                .https_or_http()
                .enable_http1()
                .wrap_connector(Connector::new(own_addresses));
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
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEPT)
        // `Accept`, not `accept`: listeners that compare names by case exist, and PHP's curl writes it so.
        .http1_title_case_headers(true)
        .build(connector)
}

/// As PHP's curl sends it (O): `Accept: */*`, no `User-Agent`. All of the headers are set here, those too that
/// the client would add, so that the record holds what is sent.
fn request(uri: Uri, postback: &Postback) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(&postback.body)));
    let headers = request.headers_mut();
    // An authority is plain ASCII, and a default port is not part of ours.
    let host = uri.authority().map_or("", |authority| authority.as_str());
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(HOST, host);
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
    *request.uri_mut() = uri;
    request
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// Sorts an error by its innermost cause, which is the one that tells a developer something.
fn failure(error: &(dyn Error + 'static), connecting: bool, uri: &Uri) -> Failure {
    let causes: Vec<_> = std::iter::successors(Some(error), |error| cause(*error)).collect();
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let origin = format!("{scheme}://{authority}");
    if let Some(tls) = causes.iter().find_map(|error| error.downcast_ref()) {
        return Failure::Tls(tls_sentence(tls, &origin));
    }
    if causes.iter().any(|error| error.is::<OwnAddress>()) {
        return Failure::BadTarget(format!("{origin} is this sandbox itself: write the address of your own listener"));
    }
    let kind = causes.iter().rev().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    let innermost = causes.last().map(ToString::to_string).unwrap_or_default();
    match kind {
        _ if !connecting => Failure::Broken(format!("{origin}: {innermost}")),
        Some(io::ErrorKind::ConnectionRefused) => {
            Failure::Unreachable(format!("connection refused by {origin}: is your listener running?"))
        }
        // Connected, and then hung up on: a handshake that was not wanted.
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) if scheme == "https" => {
            Failure::Tls(format!("{origin} hung up during the handshake: {innermost}"))
        }
        _ => Failure::Unreachable(format!("{origin}: {innermost}")),
    }
}

/// One step inwards. An `io::Error` around another error skips that one as its source, so it is opened.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn tls_sentence(error: &rustls::Error, origin: &str) -> String {
    let hint = match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            "--postback-ca FILE trusts another root, --postback-insecure trusts any certificate"
        }
        rustls::Error::InvalidMessage(_) => "does it speak TLS there? If not, write http://",
        _ => "the two sides did not agree on a connection",
    };
    format!("{origin}: {error}; {hint}")
}
