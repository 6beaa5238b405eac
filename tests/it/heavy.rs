//! Work that grows with the journal or the ledger: it is bounded, and stops nobody else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::control::{api, get, ok, paid};
use crate::harness::{Running, status};

/// Makes payments without sockets, from number `from` on.
fn fill(running: &Running, from: usize, count: usize, more: &str) {
    for number in from..from + count {
        let mut body = crate::core::good_pay();
        (body["refid"], body["more"], body["returl"]) = (json!(format!("R{number}")), json!(more), json!("/"));
        let body = body.to_string();
        let pay = |gateway: &mut kpay_sandbox::gateway::Gateway, now| {
            gateway.handle_call(&crate::core::good_call(body.as_bytes()), now)
        };
        assert!(running.sandbox.door().apply(pay).refusal.is_none());
    }
}

fn expectations(count: usize) -> Value {
    let one =
        |number| json!({ "for": "call", "match": { "summary": format!("*{number} USD*"), "code": 0 }, "count": 0 });
    json!({ "expect": (0..count).map(one).collect::<Vec<_>>() })
}

/// Without turns each of these calls keeps a thread for seconds in a debug build, and both threads are taken at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn livez_is_answered_while_long_work_goes_on() {
    let running = Running::start().await;
    fill(&running, 0, 3000, "order");
    let heavy = async {
        let verify = || api(&running, "POST", "verify", expectations(100));
        let answers = tokio::join!(verify(), verify(), verify(), verify());
        assert_eq!([answers.0.0, answers.1.0, answers.2.0, answers.3.0], [200; 4]);
    };
    let beside = async {
        loop {
            let began = Instant::now();
            let request = "GET /__sandbox/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            assert_eq!(status(&running.raw_plain(request).await), 200);
            // A generous limit: without turns, one such call alone keeps a thread longer.
            assert!(began.elapsed() < Duration::from_secs(1), "livez took {:?}", began.elapsed());
        }
    };
    tokio::select! {
        () = heavy => {}
        never = beside => never,
    }
}

#[tokio::test]
async fn expectations_and_what_one_of_them_holds_are_limited() {
    let running = Running::start().await;
    ok(&running, "POST", "verify", expectations(100)).await;
    let (status, problem) = api(&running, "POST", "verify", expectations(101)).await;
    let message = problem["error"]["message"].as_str().unwrap_or_default();
    assert!(status == 400 && message.contains("write at most 100"), "{problem}");
    for (matcher, word) in [
        (json!((0..200).map(|number| json!(number)).collect::<Vec<_>>()), "at most 100"),
        (json!("x".repeat(5000)), "at most 4096"),
    ] {
        let wait = json!({ "for": "call", "match": { "summary": matcher } });
        let (status, problem) = api(&running, "POST", "wait", wait.clone()).await;
        let message = problem["error"]["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains(word), "{problem}");
        assert_eq!(api(&running, "POST", "verify", json!({ "expect": [wait] })).await.0, 400);
    }
}

#[tokio::test]
async fn lists_end_at_a_number_of_bytes_and_say_where_they_go_on() {
    let running = Running::start().await;
    let count = 150;
    fill(&running, 0, count, &"x".repeat(60_000));
    running.second().await;
    let (mut seen, mut after, mut pages) = (0, 0, 0);
    loop {
        let page = get(&running, &format!("journal?limit=1000&after={after}")).await;
        let entries = page["entries"].as_array().unwrap();
        if entries.is_empty() {
            break;
        }
        (seen, pages) = (seen + entries.len(), pages + 1);
        assert!(page.to_string().len() < 5 * 1024 * 1024);
        after = page["after"].as_u64().unwrap();
    }
    assert!(pages > 2, "{pages}");
    assert_eq!(seen, 3 * count, "calls, results and deliveries");

    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page = get(&running, &format!("deliveries?limit=60{before}")).await;
        seen.extend(page["deliveries"].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()));
        let Some(next) = page["next_before"].as_u64() else { break };
        before = format!("&before={next}");
    }
    assert_eq!(seen.len(), count);
    assert!(seen.is_sorted_by(|a, b| a > b), "each once, the newest first");
    let har = get(&running, "deliveries?limit=60&as=har").await;
    assert!(har["log"]["comment"].as_str().unwrap().contains("before="), "{}", har["log"]["comment"]);
}

#[tokio::test]
async fn merchants_come_in_pages_and_the_payments_are_counted_without_being_looked_at() {
    let running = Running::with(|config| config.open = true).await;
    for name in ["m-1", "m-2", "m-3"] {
        ok(&running, "PUT", &format!("merchants/{name}"), json!({ "password": "p" })).await;
    }
    let all = get(&running, "merchants").await;
    assert_eq!(all["next_after"], Value::Null);
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(&running, &format!("merchants?limit=2{after}")).await;
        names.extend(page["merchants"].as_array().unwrap().clone());
        let Some(next) = page["next_after"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(json!(names), all["merchants"]);
    fill(&running, 0, 300, "order");
    assert_eq!(get(&running, "info").await["transactions"], 300);
    ok(&running, "POST", "reset?merchant=your_username", json!({})).await;
    fill(&running, 0, 2, "order");
    assert_eq!(get(&running, "info").await["transactions"], 2);
}

#[tokio::test]
async fn waits_are_met_by_what_they_name_and_by_what_they_do_not() {
    let running = Running::start().await;
    paid(&running, "BEFORE", "0780000003", "/").await;
    let waits = [
        json!({ "for": "delivery", "match": { "refid": "ORDER-1" } }),
        json!({ "for": "delivery", "match": { "refid": ["ORDER-0", "ORDER-1"] } }),
        json!({ "for": "delivery", "match": { "id": "1" } }),
        json!({ "for": "delivery", "match": { "body.refid": "ORDER-*" } }),
        json!({ "for": "call", "match": { "refid": "ORDER-1", "code": 0 } }),
        json!({ "for": "call", "count": 2 }),
        json!({ "for": "transaction", "match": { "refid": "ORDER-1", "status": "successful" } }),
        json!({ "for": "transaction", "match": { "status": "successful" } }),
    ];
    let mut waiting: Vec<_> = waits.iter().map(|wait| Box::pin(api(&running, "POST", "wait", wait.clone()))).collect();
    // They wait before anything happens: each is polled until its answer cannot come yet.
    for wait in &mut waiting {
        assert!(tokio::time::timeout(Duration::from_millis(20), wait).await.is_err(), "nothing has happened");
    }
    paid(&running, "ORDER-1", "0783300000", "/").await;
    running.second().await;
    running.second().await;
    for (wait, asked) in waiting.into_iter().zip(&waits) {
        let (status, answer) = wait.await;
        assert_eq!(status, 200, "{asked}: {answer}");
        let last = answer["matched"].as_array().unwrap().last().unwrap();
        assert_eq!(last["refid"], "ORDER-1", "{asked}");
    }
}

#[tokio::test]
async fn a_wait_goes_on_in_a_restored_state_whose_numbers_go_back() {
    let running = Running::start().await;
    let saved = get(&running, "state").await;
    for refid in ["A", "B"] {
        paid(&running, refid, "0780000003", "/").await;
    }
    for subject in ["call", "transaction"] {
        let refid = format!("C-{subject}");
        let wait = json!({ "for": subject, "match": { "refid": refid }, "timeout": "20s", "after": 2 });
        let mut waiting = Box::pin(api(&running, "POST", "wait", wait));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        ok(&running, "PUT", "state", saved.clone()).await;
        paid(&running, &refid, "0780000003", "/").await;
        assert_eq!(waiting.await.0, 200, "{subject}");
        paid(&running, "D", "0780000003", "/").await;
    }
}

#[tokio::test]
async fn waits_and_streams_are_limited_and_their_places_come_free() {
    let running = Running::start().await;
    let body = json!({ "for": "call", "count": 1000, "timeout": "5m" }).to_string();
    let length = body.len();
    let request =
        format!("POST /__sandbox/api/wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..11 {
        let (mut stream, request) = (running.connect_plain().await, request.clone());
        waiting.spawn(async move {
            stream.write_all(request.as_bytes()).await.unwrap();
            first_line(&mut stream).await
        });
    }
    assert_eq!(waiting.join_next().await.unwrap().unwrap(), "HTTP/1.1 503", "one too many");
    fill(&running, 0, 1000, "order");
    assert_eq!(waiting.join_all().await, ["HTTP/1.1 200"; 10]);
    ok(&running, "POST", "wait", json!({ "for": "call" })).await;

    let mut streams = Vec::new();
    for _ in 0..256 {
        let mut stream = running.connect_plain().await;
        stream.write_all(b"GET /__sandbox/api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(first_line(&mut stream).await, "HTTP/1.1 200");
        streams.push(stream);
    }
    let (status, problem) = api(&running, "GET", "events", json!({})).await;
    assert!(status == 503 && problem["error"]["message"].as_str().unwrap().contains("256"), "{problem}");
}

/// The version and the status of a response, or fails the test after 20 s.
async fn first_line(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut first = [0; 12];
    let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut first));
    reading.await.expect("in time").expect("a response");
    String::from_utf8_lossy(&first).into_owned()
}

#[tokio::test]
async fn one_tenant_sees_nothing_of_anothers() {
    let running = Running::with(|config| config.open = true).await;
    let tid = paid(&running, "ORDER-1", "0780000003", "/").await;
    running.sandbox.door().apply(|gateway, now| {
        let body = json!({ "action": "checkstatus", "tid": tid }).to_string();
        let credentials = |username: &str| {
            Ok(kpay_sandbox::gateway::call::Credentials { username: username.into(), password: "any".into() })
        };
        let call = crate::core::good_call(body.as_bytes());
        let call = kpay_sandbox::gateway::call::Call { credentials: credentials("curious"), ..call };
        assert!(gateway.handle_call(&call, now).refusal.is_some());
    });
    let timeline = get(&running, &format!("transactions/{tid}")).await["timeline"].clone();
    let whose: Vec<&Value> = timeline.as_array().unwrap().iter().map(|entry| &entry["merchant"]).collect();
    assert_eq!(whose, [&json!("your_username")], "{timeline}");
    let page = format!("GET /__sandbox/payments/{tid} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let page = running.raw_plain(&page).await;
    assert!(page.contains("pay answered 0") && !page.contains("checkstatus answered 611"), "{page}");
    let of = |merchant: &str| format!("journal?tid={tid}&merchant={merchant}");
    assert_eq!(get(&running, &of("your_username")).await["entries"].as_array().unwrap().len(), 1);
    assert_eq!(get(&running, &of("curious")).await["entries"].as_array().unwrap().len(), 1);

    ok(&running, "POST", "next", json!({ "scenario": "decline", "merchant": "your_username" })).await;
    let queued = ok(&running, "POST", "next", json!({ "scenario": "immediate", "merchant": "curious" })).await;
    let whose: Vec<&Value> = queued["next"].as_array().unwrap().iter().map(|next| &next["merchant"]).collect();
    assert_eq!(whose, [&json!("curious")], "{queued}");
    assert_eq!(ok(&running, "DELETE", "next?merchant=curious", json!({})).await["next"], json!([]));
}

#[tokio::test]
async fn a_delivery_of_a_restored_state_can_be_replayed() {
    let running = Running::start().await;
    paid(&running, "ORDER-1", "0783300000", "http://127.0.0.1:1/").await;
    running.second().await;
    let saved = get(&running, "state").await;
    ok(&running, "PUT", "state", saved).await;
    ok(&running, "POST", "clock/resume", json!({})).await;
    let replayed = ok(&running, "POST", "deliveries/1/replay", json!({})).await;
    assert_eq!((&replayed["id"], &replayed["verdict"]), (&json!(2), &json!("failed")));
}
