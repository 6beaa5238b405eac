//! Delivers one postback: one POST, one time limit, one record of what happened. When it leaves is the
//! scheduler's, what it says is the core's.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::gateway::postback::{Answer, Delivery, Failure, Postback};
use crate::tls;

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
    /// Where postbacks for some origins go instead.
    pub redirections: Vec<Redirection>,
}

/// Posts.
pub struct Courier {
    settings: CourierSettings,
    plain: Client<HttpConnector, Full<Bytes>>,
    /// Made for the first https target: reading the system's roots is slow, and most shops under test have none.
    secure: OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Postbacks for one origin go to another: `https://shop.example=http://localhost:3000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    from: Origin,
    to: Origin,
}

/// Scheme, host in lower case, and port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Result<Origin, String> {
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("it must begin with http:// or https://".into()),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a user or password, which is not sent".into());
        }
        if authority.host().is_empty() {
            return Err("it has no host".into());
        }
        let port_written = authority.as_str()[authority.host().len()..].strip_prefix(':');
        if port_written.is_some() && authority.port_u16().is_none_or(|port| port == 0) {
            return Err("its port is none: ports go from 1 to 65535".into());
        }
        let port = authority
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 });
        Ok(Origin {
            secure,
            host: authority.host().to_ascii_lowercase(),
            port,
        })
    }

    fn parse(text: &str) -> Result<Origin, String> {
        let wrong = |why: String| format!("'{text}' is not an origin: {why}");
        let uri: Uri = text.parse().map_err(|error| wrong(format!("{error}")))?;
        if uri.path() != "/" && !uri.path().is_empty() || uri.query().is_some() {
            return Err(wrong("leave its path out, paths stay as they are".into()));
        }
        Origin::of(&uri).map_err(wrong)
    }

    fn with_path(&self, path_and_query: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let port = match (self.secure, self.port) {
            (false, 80) | (true, 443) => String::new(),
            (_, port) => format!(":{port}"),
        };
        format!("{scheme}://{}{port}{path_and_query}", self.host)
    }
}

impl FromStr for Redirection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once('=')
            .ok_or("write FROM=TO, such as https://shop.example=http://localhost:3000")?;
        Ok(Redirection {
            from: Origin::parse(from)?,
            to: Origin::parse(to)?,
        })
    }
}

/// Reads the roots of `--postback-ca`.
pub fn read_roots(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: String| {
        format!(
            "{}: {why}; give --postback-ca a file of certificates in PEM",
            PathBuf::from(file).display()
        )
    };
    let pem = std::fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let roots = roots.map_err(|error| wrong(format!("is not PEM: {error}")))?;
    if roots.is_empty() {
        Err(wrong("holds no certificate".into()))
    } else {
        Ok(roots)
    }
}

impl Courier {
    /// A courier.
    pub fn new(settings: CourierSettings) -> Courier {
        Courier {
            plain: client(connector()),
            secure: OnceLock::new(),
            settings,
        }
    }

    /// Posts, and records what came of it.
    pub async fn deliver(&self, postback: Postback) -> Delivery {
        let began = Instant::now();
        let mut delivery = Delivery {
            url: String::new(),
            headers: Vec::new(),
            outcome: Err(Failure::Stopped),
            took: Duration::ZERO,
            postback,
        };
        delivery.outcome = match self.target(&delivery.postback.target) {
            Err(why) => Err(Failure::BadTarget(why)),
            Ok(uri) => {
                let request = request(&uri, &delivery.postback);
                delivery.url = uri.to_string();
                delivery.headers = readable(request.headers());
                let limit = self.settings.time_limit;
                tokio::time::timeout(limit, self.exchange(request))
                    .await
                    .unwrap_or(Err(Failure::TimedOut(limit)))
            }
        };
        delivery.took = began.elapsed();
        delivery
    }

    /// Where a `returl` leads: taken as http without a scheme, its fragment dropped, its origin perhaps another.
    fn target(&self, returl: &str) -> Result<Uri, String> {
        let returl = returl.trim();
        let returl = returl.split_once('#').map_or(returl, |(before, _)| before);
        let with_scheme = if returl.contains("://") {
            returl.to_owned()
        } else {
            format!("http://{returl}")
        };
        let uri: Uri = with_scheme
            .parse()
            .map_err(|error| format!("'{returl:.200}' is no address: {error}"))?;
        let origin = Origin::of(&uri).map_err(|why| format!("'{returl:.200}': {why}"))?;
        let other = self
            .settings
            .redirections
            .iter()
            .find(|rule| rule.from == origin)
            .map(|rule| &rule.to);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // A target with a query and no path has a path of its own.
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        other
            .unwrap_or(&origin)
            .with_path(&path)
            .parse()
            .map_err(|error| format!("'{returl:.200}' is no address: {error}"))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let uri = request.uri().clone();
        let sent = if uri.scheme_str() == Some("https") {
            let settings = &self.settings;
            let client = match self.secure.get() {
                Some(client) => client,
                None => {
                    let config = tls::postback_config(
                        &settings.own_ca,
                        &settings.extra_roots,
                        settings.insecure,
                    );
                    let config = config.map_err(|error| Failure::Tls(error.to_string()))?;
                    let https = HttpsConnectorBuilder::new()
                        .with_tls_config(config)
                        .https_only()
                        .enable_http1();
                    self.secure
                        .get_or_init(|| client(https.wrap_connector(connector())))
                }
            };
            client.request(request).await
        } else {
            self.plain.request(request).await
        };
        let (head, mut incoming) = sent
            .map_err(|error| failure(&error, error.is_connect(), &uri))?
            .into_parts();
        let mut answer = Answer {
            status: head.status.as_u16(),
            headers: readable(&head.headers),
            body: Vec::new(),
            cut: false,
        };
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| failure(&error, false, &uri))?;
            let Ok(data) = frame.into_data() else {
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
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}

fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    // Development servers close kept connections early, so none is kept for long.
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(2))
        .build(connector)
}

/// As PHP's curl sends it (O): `Accept: */*`, no `User-Agent`.
fn request(uri: &Uri, postback: &Postback) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(postback.body.as_bytes())));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    // A label that no header could hold is left out; the profiles' own are plain words.
    if let Ok(label) = HeaderValue::from_str(&postback.content_type) {
        headers.insert(CONTENT_TYPE, label);
    }
    request
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

/// Sorts an error, with its innermost cause in words.
fn failure(error: &(dyn Error + 'static), connecting: bool, uri: &Uri) -> Failure {
    let chain: Vec<&(dyn Error + 'static)> =
        std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| {
            (*error).source()
        })
        .collect();
    // An io::Error around a rustls::Error shows it as its inner error, not as its source.
    let inner = |error: &&(dyn Error + 'static)| {
        let io = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        error
            .downcast_ref::<rustls::Error>()
            .or_else(|| io?.downcast_ref())
            .cloned()
    };
    if let Some(tls) = chain.iter().find_map(inner) {
        return Failure::Tls(format!(
            "{tls}; --postback-ca FILE trusts another root, --postback-insecure trusts any"
        ));
    }
    let cause = chain.last().map(ToString::to_string).unwrap_or_default();
    let origin = uri.authority().map_or("", |authority| authority.as_str());
    if connecting {
        Failure::Unreachable(format!("{origin}: {cause}; is the listener running there?"))
    } else {
        Failure::Broken(format!("{origin}: {cause}"))
    }
}
