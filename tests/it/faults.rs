//! What the line does to answers, over real sockets.

use std::io::ErrorKind;
use std::time::Duration;

use kpay_sandbox::gateway::journal::Event;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::core::good_pay;
use crate::harness::{Running, header, json_of, post, status};
use crate::receiver::Receiver;

fn request(scenario: &str, body: &serde_json::Value) -> String {
    post("/", &body.to_string(), &format!("X-KPay-Sandbox-Scenario: {scenario}\r\n"))
}

/// Everything that comes back, and how it ended.
async fn exchange(running: &Running, scenario: &str) -> (String, Option<ErrorKind>) {
    let mut body = good_pay();
    body["refid"] = json!(scenario);
    let mut stream = running.connect().await;
    stream.write_all(request(scenario, &body).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("it ends");
    (String::from_utf8(answer).unwrap(), read.err().map(|error| error.kind()))
}

fn scripted(answer: serde_json::Value) -> kpay_sandbox::gateway::scenario::Scenario {
    crate::scenarios::scenario(json!({ "answer": answer }))
}

#[tokio::test]
async fn a_reset_comes_where_it_is_ordered() {
    let running = Running::start().await;
    for (name, point, headers, part) in
        [("r1", "before-answer", false, false), ("r2", "after-headers", true, false), ("r3", "in-body", true, true)]
    {
        running.sandbox.door().apply(|gateway, _| {
            let mut own = scripted(json!({ "fault": { "reset": point } }));
            own.name = name.into();
            gateway.put_scenario(own, None).unwrap();
        });
        let (answer, end) = exchange(&running, name).await;
        assert_eq!(end, Some(ErrorKind::ConnectionReset), "{point}: {answer}");
        assert_eq!(answer.starts_with("HTTP/1.1 200"), headers, "{point}: {answer}");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert_eq!(!body.is_empty(), part, "{point}: {answer}");
    }
}

#[tokio::test]
async fn a_cut_answer_announces_more_than_comes_and_a_trickled_one_comes_whole() {
    let running = Running::start().await;
    let (cut, _) = exchange(&running, "answer-cut").await;
    let length: usize = header(&cut, "content-length").unwrap().parse().unwrap();
    let (_, body) = cut.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), length / 2, "{cut}");
    let (trickled, end) = exchange(&running, "answer-trickled").await;
    assert_eq!((json_of(&trickled)["retcode"].clone(), end), (json!(0), None));
}

#[tokio::test]
async fn an_answer_can_be_empty_malformed_or_a_proxys() {
    let running = Running::start().await;
    let (empty, _) = exchange(&running, "answer-empty").await;
    assert_eq!((status(&empty), empty.split_once("\r\n\r\n").unwrap().1), (200, ""));
    let (malformed, _) = exchange(&running, "answer-malformed").await;
    assert!(malformed.ends_with(r#""retcode":0"#), "{malformed}");
    let (page, _) = exchange(&running, "answer-html-502").await;
    assert_eq!((status(&page), header(&page, "content-type")), (502, Some("text/html")));
    assert!(page.contains("<h1>502 Bad Gateway</h1>"), "{page}");
}

#[tokio::test]
async fn a_call_that_is_never_answered_is_a_payment_all_the_same() {
    let running = Running::start().await;
    let mut shop = Receiver::acknowledging().await;
    let mut body = good_pay();
    body["returl"] = json!(shop.url("/"));
    let mut stream = running.connect().await;
    stream.write_all(request("answer-never", &body).as_bytes()).await.unwrap();
    running.journal_reaches(1).await;
    let nothing = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    drop(stream);
    running.second().await;
    assert!(shop.taken().unwrap().contains(r#""statusid":"01""#));
    let again = json_of(&running.raw(&post("/", &body.to_string(), "")).await);
    assert_eq!(again["retcode"], 608, "who repeats the refid learns that it was used");
}

#[tokio::test]
async fn an_early_postback_arrives_before_the_answer_on_a_paused_clock_too() {
    let running = Running::start().await;
    let mut shop = Receiver::acknowledging().await;
    let answer = running
        .pay(|body| {
            body["returl"] = json!(shop.url("/"));
            body["msisdn"] = json!("0780000104");
        })
        .await;
    assert_eq!(answer["retcode"], 0);
    assert!(shop.taken().is_some(), "it was there when the answer came");
    let kinds: Vec<&str> = running.sandbox.read(|gateway| {
        let entries = gateway.journal().after(0);
        entries
            .map(|entry| match entry.event {
                Event::Call(_) => "call",
                Event::Delivery(_) => "delivery",
                Event::Released { .. } => "released",
                _ => "other",
            })
            .collect()
    });
    assert_eq!(kinds, ["call", "other", "delivery", "released"]);
}

#[tokio::test]
async fn a_slow_answer_leaves_when_the_clock_says_so() {
    let running = Running::start().await;
    let mut stream = running.connect().await;
    stream.write_all(request("answer-slow", &good_pay()).as_bytes()).await.unwrap();
    running.journal_reaches(1).await;
    running.sandbox.advance(Duration::from_secs(35)).await.unwrap();
    let answer = crate::harness::read_to_end(&mut stream).await;
    assert_eq!(json_of(&answer)["retcode"], 0);
}

#[tokio::test]
async fn an_unknown_scenario_is_a_problem_that_names_the_nearest_one() {
    let running = Running::start().await;
    let answer = running.raw(&request("declined", &good_pay())).await;
    assert_eq!(status(&answer), 400);
    assert!(answer.contains(r#"unknown scenario "declined". Did you mean "decline"?"#), "{answer}");
    let (payments, entries) = running.sandbox.read(|gateway| (gateway.ledger().len(), gateway.journal().last()));
    assert_eq!((payments, entries), (0, 1), "nothing is paid, and the refusal is recorded");
}

#[tokio::test]
async fn a_postback_leaves_as_the_script_changes_it() {
    let running = Running::start().await;
    let mut shop = Receiver::acknowledging().await;
    let own = crate::scenarios::scenario(json!({ "steps": [
        { "after": "0s", "do": { "postback": { "method": "PUT", "content_type": "", "target": shop.url("/{refid}"), "body": "{refid}!" } } }
    ] }));
    running.sandbox.door().apply(|gateway, _| gateway.put_scenario(own, None).unwrap());
    let answer = running.raw(&request("own", &good_pay())).await;
    assert_eq!(status(&answer), 200);
    running.second().await;
    let request = shop.taken().unwrap();
    assert!(request.starts_with("PUT /ORDER-1 HTTP/1.1") && request.ends_with("\r\n\r\nORDER-1!"), "{request}");
    assert!(!request.to_ascii_lowercase().contains("content-type"), "{request}");
}

#[tokio::test]
async fn a_client_that_does_not_read_a_large_response_loses_its_connection() {
    let running = Running::start().await;
    let padded = good_pay().to_string() + &" ".repeat(60_000);
    for _ in 0..200 {
        running.raw(&post("/", &padded, "")).await;
    }
    let get = "GET /__sandbox/api/journal?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (mut plain, mut tls) = (running.connect_plain().await, running.connect().await);
    plain.write_all(get.as_bytes()).await.unwrap();
    tls.write_all(get.as_bytes()).await.unwrap();
    for tcp in [&plain, tls.get_ref().0] {
        let reset = tcp.ready(tokio::io::Interest::ERROR);
        tokio::time::timeout(Duration::from_secs(20), reset).await.expect("the server ends it").unwrap();
    }
    assert_eq!(running.pay(|_| {}).await["retcode"], 608);
}
