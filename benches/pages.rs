//! What the pages cost: `cargo bench --bench pages`. Figures for people, never a test.
//!
//! Time to the first byte and size of each page on a kept TLS connection, and what fifty open dashboards take from `pay`:
//! rounds with and without them take turns in one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kpay_sandbox::clock::ClockMode;
use kpay_sandbox::gateway::call::{Body, Call, Credentials};
use kpay_sandbox::{Config, Sandbox, tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Connection = TlsStream<TcpStream>;

async fn connect(sandbox: &Sandbox) -> Connection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(sandbox.ca()).expect("the CA")).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions();
    let client = builder.expect("defaults").with_root_certificates(roots).with_no_client_auth();
    let tcp = TcpStream::connect(sandbox.facts().addresses[0]).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(client)).connect(name, tcp).await.expect("it is trusted")
}

/// One request on a kept connection: time to the first byte, and the answer's size.
async fn ask(connection: &mut Connection, request: &[u8]) -> (Duration, usize) {
    let began = Instant::now();
    connection.write_all(request).await.expect("it reads");
    let mut bytes = Vec::with_capacity(64 * 1024);
    connection.read_buf(&mut bytes).await.expect("it answers");
    let first = began.elapsed();
    // Answers here have their head in the first piece.
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let (_, length) = head.split_once("content-length: ").expect("it is announced");
    let length: usize = length.split("\r\n").next().and_then(|digits| digits.parse().ok()).expect("a number");
    while bytes.len() < end + length {
        assert_ne!(connection.read_buf(&mut bytes).await.expect("it goes on"), 0);
    }
    (first, length)
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n").into_bytes()
}

fn payment(refid: &str) -> String {
    format!(
        r#"{{"msisdn":"0780000003","email":"customer@example.rw","details":"order","refid":"{refid}","amount":5000,"cname":"Jane Customer","cnumber":"1","pmethod":"cc","retailerid":"02","returl":"http://127.0.0.1:1/","redirecturl":"https://shop.example/","bankid":"63510"}}"#
    )
}

fn fill(sandbox: &Sandbox, count: usize) {
    sandbox.door().apply(|gateway, now| {
        for number in 0..count {
            let body = payment(&format!("F{number}"));
            let credentials = Ok(Credentials { username: "your_username".into(), password: "your_password".into() });
            let call = Call {
                method: "POST",
                secure: true,
                peer: [127, 0, 0, 1].into(),
                credentials,
                key: None,
                scenario: None,
                host: "localhost",
                announced: ["https://", "localhost"],
                head: b"POST /\n",
                body: Body::Whole(body.as_bytes()),
            };
            assert!(gateway.handle_call(&call, now).refusal.is_none());
        }
    });
}

/// The median and the 99th percentile of the first byte of a page, and its size.
async fn page(sandbox: &Sandbox, path: &str) {
    let (mut connection, request) = (connect(sandbox).await, get(path));
    let (mut times, mut size) = (Vec::new(), 0);
    for round in 0..1050 {
        let (first, length) = ask(&mut connection, &request).await;
        size = length;
        if round >= 50 {
            times.push(first);
        }
    }
    times.sort();
    println!(
        "{path:<34} first byte median {:>6.3} ms, p99 {:>6.3} ms, {:>5.1} KB",
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() * 99 / 100].as_secs_f64() * 1e3,
        size as f64 / 1e3
    );
}

/// A dashboard as its script is: a stream of news, and after each piece of it the page again, twice a second at most.
async fn dashboard(mut news: Connection, mut pages: Connection, end: Arc<AtomicBool>) -> usize {
    news.write_all(&get("/__sandbox/live")).await.expect("it reads");
    let (request, mut seen) = (get("/__sandbox/"), 0);
    let mut bytes = [0; 4096];
    while !end.load(Ordering::Relaxed) {
        let piece = tokio::time::timeout(Duration::from_millis(300), news.read(&mut bytes)).await;
        if piece.is_ok_and(|read| read.is_ok_and(|read| read > 0)) {
            ask(&mut pages, &request).await;
            seen += 1;
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }
    seen
}

/// Payments a second on so many kept connections.
async fn rate(sandbox: &Arc<Sandbox>, round: usize, connections: usize) -> f64 {
    let span = Duration::from_secs(2);
    let mut paying = tokio::task::JoinSet::new();
    for number in 0..connections {
        let mut connection = connect(sandbox).await;
        paying.spawn(async move {
            let (began, mut count) = (Instant::now(), 0);
            while began.elapsed() < span {
                let body = payment(&format!("P{round}-{number}-{count}"));
                let head = format!(
                    "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic eW91cl91c2VybmFtZTp5b3VyX3Bhc3N3b3Jk\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                ask(&mut connection, head.as_bytes()).await;
                count += 1;
            }
            count
        });
    }
    paying.join_all().await.into_iter().sum::<usize>() as f64 / span.as_secs_f64()
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config { certs: folder.path().into(), clock: ClockMode::Running, seed: Some(1), ..Config::default() };
    let sandbox = Arc::new(Sandbox::start(config).await.expect("it starts"));
    fill(&sandbox, 10_000);
    let (checkout, tid) = sandbox.read(|gateway| {
        let first = gateway.ledger().iter().next().expect("they are there");
        (format!("/checkout/{}", first.checkout), first.tid.to_string())
    });
    println!("with 10,000 payments:");
    for path in
        [&*checkout, "/__sandbox/", "/__sandbox/?q=F17", &format!("/__sandbox/payments/{tid}"), "/__sandbox/calls"]
    {
        page(&sandbox, path).await;
    }
    for asset in ["style.css", "checkout.js", "dashboard.js", "icon.svg"] {
        page(&sandbox, &format!("/__sandbox/assets/{asset}")).await;
    }
    println!("\npay on 4 kept connections, clients and sandbox on the same cores:");
    let mut ratios = Vec::new();
    for round in 0..5 {
        let alone = rate(&sandbox, 2 * round, 4).await;
        let end = Arc::new(AtomicBool::new(false));
        let mut open = Vec::new();
        for _ in 0..50 {
            let (news, pages) = (connect(&sandbox).await, connect(&sandbox).await);
            open.push(tokio::spawn(dashboard(news, pages, Arc::clone(&end))));
        }
        let watched = rate(&sandbox, 2 * round + 1, 4).await;
        end.store(true, Ordering::Relaxed);
        let mut loads = 0;
        for dashboard in open {
            loads += dashboard.await.expect("it ends");
        }
        println!("{alone:>8.0} a second alone, {watched:>8.0} with 50 dashboards, which loaded {loads} pages");
        ratios.push(watched / alone);
    }
    println!("{} payments were taken", sandbox.read(|gateway| gateway.ledger().places()));
    ratios.sort_by(f64::total_cmp);
    println!("ratio: median {:.2} ({:.2}–{:.2})", ratios[2], ratios[0], ratios[4]);
}
