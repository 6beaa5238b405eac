//! Postbacks to real listeners.

use std::sync::Arc;
use std::time::Duration;

use kpay_sandbox::gateway::postback::{Failure, Verdict};
use kpay_sandbox::gateway::timestamp::Span;
use kpay_sandbox::{Config, Sandbox};
use serde_json::json;

use crate::control::raw;
use crate::harness::Running;
use crate::receiver::Receiver;

fn verdicts(running: &Running) -> Vec<Verdict> {
    running.sandbox.read(|gateway| gateway.journal().deliveries().map(|delivery| delivery.verdict()).collect())
}

#[tokio::test]
async fn a_postback_arrives_as_a_php_client_would_send_it_and_is_acknowledged() {
    let (running, mut shop) = (Running::start().await, Receiver::acknowledging().await);
    running.pay(|body| body["returl"] = json!(shop.url("/pay?order=1"))).await;
    assert_eq!(shop.taken(), None, "not before its time");
    running.second().await;
    let request = shop.taken().expect("advance returns once it was answered");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /pay?order=1 HTTP/1.1"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("user-agent"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    assert!(body.contains(r#""statusid":"01""#), "{body}");
    assert_eq!(verdicts(&running), [Verdict::Acknowledged]);
}

#[tokio::test]
async fn a_postback_of_the_observed_profile_is_labelled_as_a_form() {
    let running = Running::with(|config| config.profile = "observed".into()).await;
    let mut shop = Receiver::acknowledging().await;
    let answer = running.pay(|body| body["returl"] = json!(shop.url("/"))).await;
    assert_eq!(answer["url"], " ");
    running.sandbox.advance(Duration::from_secs(120)).await.unwrap();
    let request = shop.taken().unwrap().to_ascii_lowercase();
    assert!(
        request.contains("content-type: application/x-www-form-urlencoded") && request.contains("{\"tid\":"),
        "{request}"
    );
}

#[tokio::test]
async fn a_public_returl_is_sent_where_postback_to_says() {
    let mut shop = Receiver::acknowledging().await;
    let rule = format!("https://shop.example=http://127.0.0.1:{}", shop.port);
    let running = Running::with(|config| config.postback_to = vec![rule.parse().unwrap()]).await;
    running.pay(|body| body["returl"] = json!("https://shop.example/kpay/hook?x=1")).await;
    running.second().await;
    assert!(shop.taken().unwrap().starts_with("POST /kpay/hook?x=1 "));
}

#[tokio::test]
async fn a_listener_that_is_not_there_a_bad_address_and_a_silent_one_are_recorded() {
    let running = Running::with(|config| config.postback_timeout = Span(Duration::from_millis(200))).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://127.0.0.1:{}", silent.local_addr().unwrap().port());
    // Port 1 is reserved and nobody listens there.
    for (number, returl) in ["http://127.0.0.1:1/", "/", &silent_url].iter().enumerate() {
        running
            .pay(|body| {
                body["returl"] = json!(returl);
                body["refid"] = json!(number);
            })
            .await;
    }
    running.second().await;
    let mut failures: Vec<(String, Failure)> = running.sandbox.read(|gateway| {
        let deliveries = gateway.journal().deliveries();
        deliveries
            .map(|delivery| (delivery.postback.refid.to_string(), delivery.outcome.clone().unwrap_err()))
            .collect()
    });
    failures.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(matches!(failures[0].1, Failure::Unreachable(_)), "{failures:?}");
    assert!(matches!(failures[1].1, Failure::BadTarget(_)), "{failures:?}");
    assert!(matches!(failures[2].1, Failure::TimedOut(_)), "{failures:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_an_endless_answer_is_cut() {
    let running = Running::start().await;
    let redirecting =
        Receiver::answering(|_| "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".into()).await;
    let endless =
        Receiver::answering(|_| format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000)))
            .await;
    for shop in [&redirecting, &endless] {
        running
            .pay(|body| {
                body["refid"] = json!(shop.port);
                body["returl"] = json!(shop.url("/"));
            })
            .await;
    }
    running.second().await;
    let words: Vec<String> = verdicts(&running).into_iter().map(|verdict| format!("{verdict:?}")).collect();
    assert!(words.iter().any(|word| word.contains("/elsewhere")), "{words:?}");
    assert!(words.iter().any(|word| word.contains("more than 64 KiB")), "{words:?}");
}

#[tokio::test]
async fn stopping_finishes_the_deliveries_under_way() {
    let running = Running::start().await;
    let shop = Receiver::acknowledging().await;
    running.pay(|body| body["returl"] = json!(shop.url("/"))).await;
    running.second().await;
    let door = std::sync::Arc::clone(running.sandbox.door());
    running.sandbox.stop().await;
    assert_eq!(door.read(|gateway| gateway.journal().deliveries().count()), 1);
}

#[tokio::test]
async fn a_stop_waits_for_a_delivery_under_way_but_not_for_ever() {
    let running = Running::with(|config| config.clock = kpay_sandbox::clock::ClockMode::Running).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    running.pay(|body| body["returl"] = json!(format!("http://127.0.0.1:{port}/"))).await;
    let (_kept_open, _) = silent.accept().await.unwrap();
    let door = std::sync::Arc::clone(running.sandbox.door());
    let began = std::time::Instant::now();
    running.sandbox.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let outcomes: Vec<_> =
        door.read(|gateway| gateway.journal().deliveries().map(|delivery| delivery.outcome.clone()).collect());
    assert_eq!(outcomes, [Err(Failure::Stopped)], "it is recorded");
}

#[tokio::test]
async fn a_listener_certified_by_the_sandboxs_own_ca_is_trusted() {
    // The listener is another sandbox on the same certificates: it answers, though not as a shop would.
    let running = Running::start().await;
    let certs = running.sandbox.ca().parent().unwrap().to_owned();
    let another = Sandbox::start(Config { certs, ..Config::default() }).await.unwrap();
    let other = format!("https://localhost:{}/", another.facts().addresses[0].port());
    running.pay(|body| body["returl"] = json!(other)).await;
    running.second().await;
    let words = format!("{:?}", verdicts(&running));
    assert!(words.contains("Rejected"), "{words}");
}

#[tokio::test]
async fn a_running_clock_cannot_be_advanced_and_one_that_is_paused_waits_for_it() {
    let running = Running::with(|config| config.clock = kpay_sandbox::clock::ClockMode::Running).await;
    running.pay(|body| body["returl"] = json!("http://127.0.0.1:1/")).await;
    assert!(running.sandbox.advance(Duration::from_secs(1)).await.is_err());
    // Call, settlement, delivery: by itself, in real time.
    running.journal_reaches(3).await;
    assert_eq!(verdicts(&running).len(), 1);
}

#[tokio::test]
async fn a_reset_amid_an_advance_keeps_the_clock_where_the_reset_put_it() {
    let running = Running::start().await;
    let (start, door) = (running.sandbox.door().now(), Arc::clone(running.sandbox.door()));
    let receiver = Receiver::answering(move |_| {
        door.reset();
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()
    })
    .await;
    running.pay(|body| body["returl"] = json!(receiver.url("/"))).await;
    let advanced = running.sandbox.advance(Duration::from_secs(3600)).await.unwrap();
    assert!(!advanced.complete);
    assert_eq!(running.sandbox.door().now(), start);
}

#[tokio::test]
async fn a_postback_to_a_public_address_is_recorded_as_failed_with_the_reason_and_the_flags() {
    let running = Running::with(|config| config.postback_retries = 2).await;
    running.pay(|body| body["returl"] = json!("https://shop:s3cret@192.0.2.7/kpay")).await;
    running.sandbox.advance(Duration::from_secs(60)).await.unwrap();
    let told = verdicts(&running);
    let [Verdict::Failed(why)] = &told[..] else { panic!("there is no use in a retry: {told:?}") };
    assert_eq!(
        why,
        "not sent: https://192.0.2.7 leads to 192.0.2.7, not to a local or private address. Use --postback-to https://192.0.2.7=http://localhost:3000 to name your listener, or --postbacks anywhere"
    );
}

#[tokio::test]
async fn the_password_of_a_returl_is_sent_and_never_shown() {
    let (running, mut shop) = (Running::start().await, Receiver::acknowledging().await);
    running.pay(|body| body["returl"] = json!(format!("http://shop:s3cret-word@127.0.0.1:{}/", shop.port))).await;
    running.second().await;
    // shop:s3cret-word
    let sent = "Authorization: Basic c2hvcDpzM2NyZXQtd29yZA==";
    assert!(shop.taken().unwrap().contains(sent));
    for path in ["journal", "deliveries", "deliveries/1", "deliveries/1?as=curl", "deliveries?as=har", "transactions"] {
        let shown = raw(&running, "GET", path, "", "").await;
        assert!(shown.starts_with("HTTP/1.1 200"), "{path}: {shown}");
        assert!(!shown.contains("s3cret-word") && !shown.contains("c2hvcDpzM2NyZXQtd29yZA"), "{path}: {shown}");
    }
}
