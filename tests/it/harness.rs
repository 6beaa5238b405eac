//! A running sandbox for a test: port 0, a CA of its own, and a client that trusts nothing else.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use kpay_sandbox::clock::ClockMode;
use kpay_sandbox::gateway::Timestamp;
use kpay_sandbox::{Config, Sandbox, tls};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::core::good_pay;

pub(crate) struct Running {
    pub(crate) sandbox: Sandbox,
    pub(crate) tls: Arc<ClientConfig>,
    /// Holds the certificates; goes with the test.
    _folder: TempDir,
}

impl Running {
    pub(crate) async fn start() -> Running {
        Running::with(|_| {}).await
    }

    /// The clock is paused unless `change` sets it running.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Running {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config { certs: folder.path().join("certs"), seed: Some(1), ..Config::default() };
        config.clock = ClockMode::Paused;
        config.clock_start = Some(Timestamp::from_unix_seconds(1_769_860_805));
        change(&mut config);
        let sandbox = Sandbox::start(config).await.expect("it starts");
        let tls = Arc::new(trusting(&sandbox));
        Running { sandbox, tls, _folder: folder }
    }

    pub(crate) fn port(&self) -> u16 {
        self.sandbox.facts().addresses[0].port()
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        let tcp = self.connect_plain().await;
        let name = ServerName::try_from("pay.esicia.com").unwrap();
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.expect("the CA is trusted")
    }

    pub(crate) async fn connect_plain(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port())).await.expect("it listens")
    }

    /// Sends bytes on a new TLS connection and reads until the server closes.
    pub(crate) async fn raw(&self, request: &str) -> String {
        exchange(self.connect().await, request.as_bytes()).await
    }

    pub(crate) async fn raw_plain(&self, request: &str) -> String {
        exchange(self.connect_plain().await, request.as_bytes()).await
    }

    /// Calls the endpoint as the default merchant.
    pub(crate) async fn call(&self, body: &Value) -> Value {
        json_of(&self.raw(&post("/", &body.to_string(), "")).await)
    }

    pub(crate) async fn pay(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut body = good_pay();
        change(&mut body);
        self.call(&body).await
    }

    /// Returns once the journal has so many entries.
    pub(crate) async fn journal_reaches(&self, number: u64) {
        let mut changes = self.sandbox.door().watch();
        while self.sandbox.read(|gateway| gateway.journal().last()) < number {
            changes.changed().await;
        }
    }

    pub(crate) async fn second(&self) {
        self.sandbox.advance(Duration::from_secs(1)).await.unwrap();
    }
}

/// A client configuration that trusts the sandbox's CA only.
pub(crate) fn trusting(sandbox: &Sandbox) -> ClientConfig {
    trusting_with(sandbox, (*tls::provider()).clone())
}

/// The same, with a choice of cryptography.
pub(crate) fn trusting_with(sandbox: &Sandbox, provider: CryptoProvider) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(sandbox.ca()).expect("ca.pem")).expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth()
}

pub(crate) fn authorization() -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode("your_username:your_password");
    format!("Authorization: Basic {encoded}\r\n")
}

/// An HTTP/1.1 request of the default merchant; `headers` end in CR LF each.
pub(crate) fn post(path: &str, body: &str, headers: &str) -> String {
    let (length, authorization) = (body.len(), authorization());
    format!(
        "POST {path} HTTP/1.1\r\nHost: pay.esicia.com\r\nConnection: close\r\n{authorization}{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

pub(crate) async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, request: &[u8]) -> String {
    stream.write_all(request).await.expect("it reads");
    read_to_end(&mut stream).await
}

/// What comes until the server closes, or fails the test after 20 s.
pub(crate) async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    // A reset counts as an end: what came before it is what there is.
    let _ = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the server ends the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn json_of(answer: &str) -> Value {
    serde_json::from_str(&body_of(answer)).unwrap_or_else(|error| panic!("{error} in {answer}"))
}

/// The body of a response, also of a chunked one.
pub(crate) fn body_of(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    if header(answer, "transfer-encoding") != Some("chunked") {
        return body.to_owned();
    }
    let (mut whole, mut rest) = (String::new(), body);
    loop {
        let (length, after) = rest.split_once("\r\n").expect("a chunk begins with its length");
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            return whole;
        }
        whole += &after[..length];
        rest = after[length..].strip_prefix("\r\n").expect("a chunk ends with its line");
    }
}

/// The value of a header of an answer.
pub(crate) fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}
