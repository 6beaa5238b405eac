//! Calls of the control API.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Asks one sandbox.
pub(super) struct Client {
    base: String,
    token: Option<String>,
    http: Http<HttpConnector, Full<Bytes>>,
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Question {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    body: Option<String>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Question {
    pub(super) fn new(method: &str, path: &str) -> Question {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Question { method: method.to_owned(), path: format!("api/{path}"), query, body: None }
    }

    /// Whether it is ready, which needs no token.
    pub(super) fn ready() -> Question {
        Question { method: "GET".to_owned(), path: "readyz".to_owned(), query: Vec::new(), body: None }
    }

    /// Asks for the CA, which needs no token either.
    pub(super) fn ca() -> Question {
        Question { path: "ca.pem".to_owned(), ..Question::ready() }
    }

    pub(super) fn with(self, body: String) -> Question {
        Question { body: Some(body), ..self }
    }

    pub(super) fn filtered(mut self, more: &[(String, String)]) -> Question {
        self.query.extend_from_slice(more);
        self
    }

    pub(super) fn for_merchant(self, merchant: Option<&str>) -> Question {
        let named: Vec<_> = merchant.into_iter().map(|name| ("merchant".to_owned(), name.to_owned())).collect();
        self.filtered(&named)
    }

    pub(super) fn replaced(mut self, name: &str, value: &str) -> Question {
        self.query.retain(|(other, _)| other != name);
        self.filtered(&[(name.to_owned(), value.to_owned())])
    }
}

impl Client {
    pub(super) fn new(control: &str, token: Option<&str>) -> Result<Client, String> {
        let base = control.trim_end_matches('/');
        if !base.starts_with("http://") {
            return Err(format!(
                "--control {control}: write http:// and the sandbox's port, such as http://localhost:8443; the port speaks plain HTTP too"
            ));
        }
        let http = Http::builder(TokioExecutor::new()).build_http();
        Ok(Client { base: base.to_owned(), token: token.map(str::to_owned), http })
    }

    /// Host and port of the sandbox.
    pub(super) fn address(&self) -> String {
        let address = self.base.trim_start_matches("http://").split('/').next().unwrap_or_default();
        if address.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
            address.to_owned()
        } else {
            format!("{address}:80")
        }
    }

    async fn send(&self, question: &Question) -> Result<http::Response<hyper::body::Incoming>, String> {
        let mut url = format!("{}/__sandbox/{}", self.base, question.path);
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.extend_pairs(&question.query).finish();
        if !query.is_empty() {
            url = format!("{url}?{query}");
        }
        let uri: Uri = url.parse().map_err(|error| format!("{url} is no address: {error}"))?;
        let mut request = Request::builder().method(question.method.as_str()).uri(uri);
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = Full::new(Bytes::from(question.body.clone().unwrap_or_default()));
        let request = request.body(body).map_err(|error| format!("{}: {error}", question.method))?;
        self.http.request(request).await.map_err(|error| {
            let cause = std::iter::successors(std::error::Error::source(&error), |error| error.source()).last();
            let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
            format!("no sandbox answers at {}: {cause}; start one, or name its address with --control", self.base)
        })
    }

    /// Returns the version of the sandbox, which stands in a header of every response.
    pub(super) async fn version(&self) -> Option<String> {
        let answer = self.send(&Question::ready()).await.ok()?;
        Some(answer.headers().get("x-kpay-sandbox")?.to_str().ok()?.to_owned())
    }

    /// Calls, and reads the whole answer.
    pub(super) async fn ask(&self, question: &Question) -> Result<Answer, String> {
        let answer = self.send(question).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|error| format!("the answer broke off: {error}"))?;
        Ok(Answer { status, text: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
    }

    /// Returns when the journal has something new after what `question` names.
    pub(super) async fn news(&self, question: &Question) -> Result<(), String> {
        let question = Question { path: "api/events".into(), ..question.clone() };
        let mut body = self.send(&question).await?.into_body();
        loop {
            let frame = body.frame().await.ok_or("the sandbox has ended")?;
            let frame = frame.map_err(|error| format!("the sandbox has ended: {error}"))?;
            if frame.data_ref().is_some_and(|data| data.starts_with(b"id:")) {
                return Ok(());
            }
        }
    }
}

impl Answer {
    /// The error that it holds, as a sentence.
    pub(super) fn complaint(&self) -> String {
        let value: Value = serde_json::from_str(&self.text).unwrap_or_default();
        match (value["error"]["message"].as_str(), value["error"]["hint"].as_str()) {
            (Some(message), Some(hint)) => format!("{message}; {}", in_commands(hint)),
            _ => format!("HTTP {}: {}", self.status, self.text.trim()),
        }
    }
}

/// What hints of the control API are at the command line.
const COMMANDS: [(&str, &str); 14] = [
    ("GET /__sandbox/api/transactions lists them", "kpay-sandbox transactions lists them"),
    ("GET /__sandbox/api/deliveries lists them", "kpay-sandbox deliveries lists them"),
    ("GET /__sandbox/api/merchants lists them, and PUT makes one", "kpay-sandbox merchants lists them"),
    ("GET /__sandbox/api/journal tells", "kpay-sandbox logs tells"),
    ("GET /__sandbox/api/state answered", "kpay-sandbox api GET state answered"),
    ("GET /__sandbox/api lists what there is", "kpay-sandbox --help lists what there is"),
    ("POST /__sandbox/api/clock/pause first", "run kpay-sandbox clock pause first"),
    ("POST /__sandbox/api/reset to set", "run kpay-sandbox reset to set"),
    ("DELETE /__sandbox/api/merchants/USERNAME", "kpay-sandbox api DELETE merchants/USERNAME"),
    ("add ?merchant=USERNAME", "add --merchant USERNAME"),
    ("add ?merchant= of its owner", "add --merchant with its owner"),
    (
        "send Authorization: Bearer TOKEN with the sandbox's --control-token",
        "add --token TOKEN (KPAY_SANDBOX_CONTROL_TOKEN)",
    ),
    ("or PUT one of your own", "or add one with kpay-sandbox scenarios NAME --put FILE"),
    ("wait longer with \"timeout\"", "wait longer with --timeout"),
];

/// A hint that names subcommands instead of requests.
fn in_commands(hint: &str) -> String {
    COMMANDS.iter().fold(hint.to_owned(), |hint, (request, command)| hint.replace(request, command))
}
