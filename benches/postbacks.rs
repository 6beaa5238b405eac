//! How fast postbacks leave, and how late: `cargo bench --bench postbacks`. Figures for people, never a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kpay_sandbox::clock::ClockMode;
use kpay_sandbox::gateway::Timestamp;
use kpay_sandbox::gateway::call::{Body, Call, Credentials};
use kpay_sandbox::gateway::journal::Event;
use kpay_sandbox::{Config, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A listener that answers at once and reads no more than where a request ends.
async fn listener(taken: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&taken)));
        }
    });
    port
}

async fn answer(mut stream: TcpStream, taken: Arc<AtomicUsize>) {
    let mut bytes = Vec::with_capacity(4096);
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        // A postback's body is one JSON object without another in it.
        if bytes.ends_with(b"}") {
            bytes.clear();
            taken.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK").await.is_err() {
                return;
            }
        }
    }
}

fn pay(sandbox: &Sandbox, number: usize, port: u16, scenario: Option<&str>) {
    let body = format!(
        r#"{{"msisdn":"0783300000","email":"customer@example.rw","details":"order","refid":"R{number}","amount":5000,"cname":"Jane Customer","cnumber":"1","pmethod":"momo","retailerid":"02","returl":"http://127.0.0.1:{port}/","redirecturl":"https://shop.example/","bankid":"63510"}}"#
    );
    let credentials = Ok(Credentials { username: "your_username".into(), password: "your_password".into() });
    let call = Call {
        method: "POST",
        secure: true,
        peer: [127, 0, 0, 1].into(),
        credentials,
        key: None,
        scenario,
        host: "localhost",
        announced: ["https://", "localhost"],
        head: b"",
        body: Body::Whole(body.as_bytes()),
    };
    let answered = sandbox.door().apply(|gateway, now| gateway.handle_call(&call, now));
    assert!(answered.refusal.is_none());
}

async fn at_one_instant(count: usize) {
    let taken = Arc::new(AtomicUsize::new(0));
    let port = listener(Arc::clone(&taken)).await;
    let folder = std::env::temp_dir().join(format!("kpay-sandbox-bench-{}", std::process::id()));
    let config = Config { clock: ClockMode::Paused, certs: folder.clone(), seed: Some(1), ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("it starts");
    for round in 0..5 {
        (0..count).for_each(|number| pay(&sandbox, round * count + number, port, None));
        let began = Instant::now();
        sandbox.advance(Duration::from_secs(1)).await.expect("the clock is paused");
        let took = began.elapsed();
        assert_eq!(taken.load(Ordering::Relaxed), (round + 1) * count, "none is lost");
        println!(
            "{count} postbacks at one instant: {:.3} s, {:.0} a second",
            took.as_secs_f64(),
            count as f64 / took.as_secs_f64()
        );
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// An hour of a paused clock in which each moment settles a payment and posts nothing.
async fn an_hour(moments: u64) {
    let folder = std::env::temp_dir().join(format!("kpay-sandbox-bench-{}", std::process::id()));
    let config = Config { clock: ClockMode::Paused, certs: folder.clone(), seed: Some(1), ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("it starts");
    for number in 0..moments {
        pay(&sandbox, number as usize, 9, Some("lost-postback"));
        // Each is due at a moment of its own, and none before all are there.
        sandbox.advance(Duration::from_micros(900_000 / moments)).await.expect("the clock is paused");
    }
    let began = Instant::now();
    let advanced = sandbox.advance(Duration::from_secs(3600)).await.expect("the clock is paused");
    println!("an hour of a paused clock with {} due moments: {:.3} s", advanced.moments, began.elapsed().as_secs_f64());
    let _ = std::fs::remove_dir_all(folder);
}

/// Accepts connections and never answers.
async fn silent_listener() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    port
}

/// How late postbacks leave while so many others of the same merchant hang at a listener that never answers.
async fn lateness(a_second: u32, seconds: u32, hanging: usize) {
    let taken = Arc::new(AtomicUsize::new(0));
    let port = listener(Arc::clone(&taken)).await;
    let folder = std::env::temp_dir().join(format!("kpay-sandbox-bench-{}", std::process::id()));
    let sandbox = Sandbox::start(Config { certs: folder.clone(), ..Config::default() }).await.expect("it starts");
    let silent = silent_listener().await;
    (0..hanging).for_each(|number| pay(&sandbox, 1_000_000 + number, silent, None));
    if hanging > 0 {
        while sandbox.read(|gateway| gateway.under_way()) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let good = format!("http://127.0.0.1:{port}/");
    let mut due = tokio::time::interval(Duration::from_secs(1) / a_second);
    for number in 0..(a_second * seconds) as usize {
        due.tick().await;
        pay(&sandbox, number, port, None);
    }
    let wanted = (a_second * seconds) as usize;
    let mut journal = sandbox.door().watch();
    while taken.load(Ordering::Relaxed) < wanted {
        journal.changed().await;
    }
    let mut late: Vec<Duration> = sandbox.read(|gateway| {
        // Due a second after the payment; a delivery's entry is written when it ends, its own time taken off.
        let ledger = gateway.ledger();
        let due = |tid: &str| ledger.find(tid).map(|found| found.created.after(Duration::from_secs(1)));
        let deliveries = gateway.journal().after(0).filter_map(|entry| match &entry.event {
            Event::Delivery(delivery) if *delivery.postback.target == good => Some((entry.at, delivery)),
            _ => None,
        });
        let left = |at: Timestamp, took: Duration, due: Timestamp| at.since(due).saturating_sub(took);
        deliveries.filter_map(|(at, one)| Some(left(at, one.took, due(&one.postback.tid)?))).collect()
    });
    late.sort();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{a_second} due a second by a running clock, {hanging} others hanging: late by {:.2} ms (median), {:.2} ms (p99), {:.2} ms (most)",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::main]
async fn main() {
    at_one_instant(10_000).await;
    an_hour(100_000).await;
    for _ in 0..3 {
        lateness(1000, 5, 0).await;
        lateness(1000, 5, 10_000).await;
    }
}
