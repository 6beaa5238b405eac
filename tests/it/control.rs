//! The control API over real sockets, as a test of an integration uses it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Running, authorization, exchange, json_of, status};
use crate::receiver::Receiver;

/// Calls the API over plain HTTP; status and JSON.
pub(crate) async fn api(running: &Running, method: &str, path: &str, body: Value) -> (u16, Value) {
    let answer = raw(running, method, path, &body.to_string(), "").await;
    (status(&answer), json_of(&answer))
}

pub(crate) async fn raw(running: &Running, method: &str, path: &str, body: &str, headers: &str) -> String {
    let request = format!(
        "{method} /__sandbox/api/{path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        running.port(),
        body.len()
    );
    running.raw_plain(&request).await
}

pub(crate) async fn get(running: &Running, path: &str) -> Value {
    let (status, value) = api(running, "GET", path, json!({})).await;
    assert_eq!(status, 200, "{path}: {value}");
    value
}

pub(crate) async fn ok(running: &Running, method: &str, path: &str, body: Value) -> Value {
    let (status, value) = api(running, method, path, body).await;
    assert!((200..300).contains(&status), "{method} {path}: {value}");
    value
}

pub(crate) async fn paid(running: &Running, refid: &str, msisdn: &str, returl: &str) -> String {
    let answer = running
        .pay(|body| {
            (body["refid"], body["msisdn"], body["returl"]) = (json!(refid), json!(msisdn), json!(returl));
        })
        .await;
    answer["tid"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn postbacks_by_hand_and_replays_answer_with_their_delivery() {
    let (running, mut shop) = (Running::start().await, Receiver::acknowledging().await);
    let tid = paid(&running, "ORDER-1", "0780000003", &shop.url("/")).await;
    let posted =
        ok(&running, "POST", &format!("transactions/{tid}/postbacks"), json!({ "fields": { "fee": 7 } })).await;
    assert_eq!((&posted["verdict"], &posted["id"]), (&json!("acknowledged"), &json!(1)));
    let replayed = ok(&running, "POST", "deliveries/1/replay", json!({})).await;
    assert_eq!((&replayed["id"], &replayed["body"]), (&json!(2), &posted["body"]));
    assert_eq!(shop.taken().unwrap(), shop.taken().unwrap(), "byte for byte");
    let curl = raw(&running, "GET", "deliveries/1?as=curl", "", "").await;
    assert!(curl.contains("curl --request POST http://127.0.0.1:") && curl.contains(r#""fee":7"#), "{curl}");
    let har = get(&running, "deliveries?as=har").await;
    assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 2);
    assert_eq!(har["log"]["entries"][0]["response"]["status"], 200);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let running = Running::start().await;
    for number in 0..5 {
        paid(&running, &format!("R{number}"), if number % 2 == 0 { "0780000002" } else { "0783300000" }, "/").await;
    }
    ok(&running, "POST", "clock/settle", json!({})).await;
    let refids = |page: &Value| -> Vec<String> {
        let all = page["transactions"].as_array().unwrap().iter();
        all.map(|one| one["refid"].as_str().unwrap().to_owned()).collect()
    };
    let first = get(&running, "transactions?limit=2").await;
    assert_eq!(refids(&first), ["R4", "R3"]);
    let before = first["next_before"].as_str().unwrap();
    let second = get(&running, &format!("transactions?limit=3&before={before}")).await;
    assert_eq!((refids(&second), &second["next_before"]), (vec!["R2".into(), "R1".into(), "R0".into()], &Value::Null));
    for (filter, expected) in [
        ("status=failed", 3),
        ("status=successful", 2),
        ("msisdn=%2B250780000002", 3),
        ("scenario=approve", 2),
        ("refid=R1", 1),
        ("merchant=no_api_access", 0),
    ] {
        assert_eq!(refids(&get(&running, &format!("transactions?{filter}")).await).len(), expected, "{filter}");
    }
    assert_eq!(get(&running, "deliveries?verdict=failed&limit=1").await["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(get(&running, "deliveries?verdict=undelivered").await["deliveries"].as_array().unwrap().len(), 5);
    assert_eq!(get(&running, "deliveries?verdict=unacknowledged").await["deliveries"].as_array().unwrap().len(), 0);
    let journal = get(&running, "journal?after=2&limit=2").await;
    assert_eq!((&journal["after"], &journal["evicted"]), (&json!(4), &json!(0)));
}

#[tokio::test]
async fn scenarios_and_the_queue_change_at_run_time() {
    let running = Running::start().await;
    let own = json!({ "answer": { "refused": { "retcode": 607 } } });
    ok(&running, "PUT", "scenarios/broke", own).await;
    ok(&running, "POST", "next", json!({ "scenario": "broke" })).await;
    ok(&running, "POST", "next", json!({ "scenario": { "answer": { "fields": { "retcode": 699 } } } })).await;
    assert_eq!(get(&running, "next").await["next"].as_array().unwrap().len(), 2);
    assert_eq!(running.pay(|_| {}).await["retcode"], 607);
    assert_eq!(running.pay(|body| body["refid"] = json!("B")).await["retcode"], 699);
    assert_eq!(running.pay(|body| body["refid"] = json!("C")).await["retcode"], 0);
    assert_eq!(api(&running, "DELETE", "scenarios/approve", json!({})).await.0, 409);
    ok(&running, "PUT", "scenarios/chain", json!({ "chain": ["broke", "approve"] })).await;
    assert_eq!(api(&running, "DELETE", "scenarios/broke", json!({})).await.0, 409, "a chain needs it");
    ok(&running, "DELETE", "scenarios/chain", json!({})).await;
    ok(&running, "DELETE", "scenarios/broke", json!({})).await;
    assert_eq!(api(&running, "GET", "scenarios/broke", json!({})).await.0, 404);
}

#[tokio::test]
async fn merchants_are_made_changed_and_taken_away() {
    let running = Running::start().await;
    let shop = json!({ "password": "secret", "retailers": { "02": "disabled" }, "profile": "portal", "key": "K" });
    ok(&running, "PUT", "merchants/shop", shop).await;
    let call = |headers: &str| {
        use base64::Engine;
        let encoded = base64::engine::general_purpose::STANDARD.encode("shop:secret");
        let request = crate::harness::post("/", &crate::core::good_pay().to_string(), headers);
        request.replace(&authorization(), &format!("Authorization: Basic {encoded}\r\n"))
    };
    let answer = json_of(&running.raw(&call("")).await);
    assert_eq!((&answer["retcode"], &answer["reply"]), (&json!(601), &json!("INVALID_API_KEY")), "its own profile");
    assert_eq!(json_of(&running.raw(&call("Kpay-Key: K\r\n")).await)["retcode"], 600, "retailer not enabled");
    ok(&running, "PUT", "merchants/shop", json!({ "retailers": { "*": "enabled" } })).await;
    assert_eq!(json_of(&running.raw(&call("Kpay-Key: K\r\n")).await)["retcode"], 0, "what is left out stays");
    ok(&running, "DELETE", "merchants/shop", json!({})).await;
    assert_eq!(json_of(&running.raw(&call("")).await)["retcode"], 600, "unknown user, by everybody's profile");
    let (status, problem) =
        api(&running, "PUT", "merchants/shop", json!({ "password": "x", "whitelist": ["nowhere"] })).await;
    assert_eq!(status, 400);
    assert!(problem["error"]["message"].as_str().unwrap().contains("whitelist[0]"), "{problem}");
}

#[tokio::test]
async fn the_clock_is_paused_resumed_and_refuses_what_cannot_be() {
    let running = Running::start().await;
    assert_eq!(get(&running, "clock").await["mode"], "paused");
    ok(&running, "POST", "clock/resume", json!({})).await;
    let (status, problem) = api(&running, "POST", "clock/advance", json!({ "by": "1s" })).await;
    assert_eq!((status, &problem["error"]["code"]), (409, &json!("clock-runs")));
    // A clock that goes on wakes the scheduler: this payment's postback comes by itself.
    paid(&running, "ORDER-1", "0783300000", "http://127.0.0.1:1/").await;
    ok(&running, "POST", "wait", json!({ "for": "delivery", "match": { "refid": "ORDER-1" } })).await;
    let paused = ok(&running, "POST", "clock/pause", json!({})).await;
    assert_eq!(get(&running, "clock").await["now"], paused["now"]);
    let century = ok(&running, "POST", "clock/advance", json!({ "by": "876000h" })).await;
    assert!(century["now"].as_str().unwrap().starts_with("2126-01-07T"), "{century}");
    for body in [
        json!({}),
        json!({ "by": "-1s" }),
        json!({ "by": "soon" }),
        json!({ "by": "99999999999h" }),
        json!({ "to": "2020-01-01T00:00:00Z" }),
    ] {
        assert_eq!(api(&running, "POST", "clock/advance", body).await.0, 400);
    }
}

#[tokio::test]
async fn time_has_one_end_for_every_way_that_it_moves_and_a_reset_sets_it_back() {
    let running = Running::start().await;
    let start = get(&running, "clock").await["now"].clone();
    // One that moved 584 million years on could be followed by nothing but a restart.
    let mut saved = get(&running, "state").await;
    saved["now"] = json!(u64::MAX);
    let (status, problem) = api(&running, "PUT", "state", saved).await;
    assert_eq!(status, 400, "{problem}");
    assert!(problem["error"]["message"].as_str().unwrap().contains("up to 9999-12-30"), "{problem}");
    let (status, problem) = api(&running, "POST", "clock/advance", json!({ "by": "99999999999h" })).await;
    assert_eq!(status, 400);
    assert!(problem["error"]["message"].as_str().unwrap().contains("the last possible time"), "{problem}");
    let (_, problem) = api(&running, "POST", "clock/advance", json!({ "to": "9999-12-31T00:00:00Z" })).await;
    assert!(problem["error"]["message"].as_str().unwrap().contains("to 9999-12-30T00:00:00.000Z"), "{problem}");
    let form = "do=advance&by=99999999999h";
    let button = format!(
        "POST /__sandbox/do HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = running.raw_plain(&button).await;
    assert_eq!(crate::harness::status(&answer), 400, "{answer}");
    assert_eq!(get(&running, "clock").await["now"], start);

    let last = ok(&running, "POST", "clock/advance", json!({ "to": "9999-12-30T00:00:00Z" })).await;
    assert_eq!(last["now"], "9999-12-30T00:00:00.000Z");
    paid(&running, "ORDER-1", "0783300000", "/").await;
    assert_eq!(ok(&running, "POST", "clock/settle", json!({})).await["complete"], true);
    ok(&running, "POST", "reset", json!({})).await;
    let clock = get(&running, "clock").await;
    assert_eq!((&clock["now"], &clock["mode"]), (&start, &json!("paused")));
}

#[tokio::test]
async fn an_hour_of_a_thousand_payments_is_advanced_through_in_order() {
    let running = Running::start().await;
    running.sandbox.door().apply(|gateway, now| {
        for number in 0..1000 {
            let mut body = crate::core::good_pay();
            body["refid"] = json!(number);
            body["returl"] = json!("/");
            body["msisdn"] = json!(if number % 2 == 0 { "0780000105" } else { "0780000005" });
            let body = body.to_string();
            let answered = gateway.handle_call(&crate::core::good_call(body.as_bytes()), now);
            assert!(answered.refusal.is_none());
        }
    });
    let advanced = ok(&running, "POST", "clock/advance", json!({ "by": "1h" })).await;
    assert_eq!(advanced["complete"], true);
    let times: Vec<_> = running.sandbox.read(|gateway| gateway.journal().after(0).map(|entry| entry.at).collect());
    assert!(times.is_sorted());
    assert_eq!(running.sandbox.read(|gateway| gateway.journal().deliveries().count()), 1000);
}

#[tokio::test]
async fn the_same_calls_over_real_sockets_give_the_same_journal_byte_for_byte() {
    let run = async |shop: &Receiver| {
        let running = Running::start().await;
        for (number, payer) in ["0783300000", "0780000102", "0780000602", "0780000106", "0780000104"].iter().enumerate()
        {
            paid(&running, &format!("R{number}"), payer, &shop.url("/")).await;
        }
        ok(&running, "POST", "clock/advance", json!({ "by": "1h" })).await;
        let entries: Vec<String> = running.sandbox.read(|gateway| {
            gateway.journal().after(0).map(|entry| kpay_sandbox::view::entry(entry).to_string()).collect()
        });
        entries
    };
    let shop = Receiver::acknowledging().await;
    let (first, second) = (run(&shop).await, run(&shop).await);
    assert!(first.len() > 12);
    assert_eq!(first, second);
}

#[tokio::test]
async fn everything_is_saved_restored_reset_and_covered() {
    let running = Running::start().await;
    paid(&running, "ORDER-1", "0780000002", "/").await;
    paid(&running, "ORDER-2", "0780000604", "/").await;
    let saved = get(&running, "state").await;
    let coverage = get(&running, "coverage?merchant=your_username").await;
    let met = |list: &str, name: &str, value: Value| {
        let all = coverage[list].as_array().unwrap().iter();
        all.filter(|one| one[name] == value).map(|one| one["met"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((met("codes", "code", json!(604)), met("scenarios", "scenario", json!("decline"))), (vec![1], vec![1]));
    ok(&running, "POST", "reset", json!({ "merchant": "no_api_access" })).await;
    assert_eq!(get(&running, "transactions").await["transactions"].as_array().unwrap().len(), 1);
    ok(&running, "POST", "reset", json!({})).await;
    assert_eq!(get(&running, "transactions").await["transactions"], json!([]));
    ok(&running, "PUT", "state", saved).await;
    ok(&running, "POST", "clock/settle", json!({})).await;
    assert_eq!(get(&running, "transactions/ORDER-1").await["status"], "failed");
    assert_eq!(api(&running, "PUT", "state", json!({ "version": "0" })).await.0, 400);
    assert_eq!(get(&running, "info").await["profile"], "documented");
}

/// Reads a live stream until it holds a text.
async fn until(stream: &mut (impl AsyncReadExt + Unpin), text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let mut bytes = [0; 4096];
        let reading = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut bytes));
        let count = reading.await.expect("it comes in time").unwrap();
        assert_ne!(count, 0, "it ended: {read}");
        read += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    read
}

#[tokio::test]
async fn a_hundred_tenants_in_parallel_never_see_each_other() {
    let running = std::sync::Arc::new(Running::with(|config| config.open = true).await);
    let tenant = async |running: std::sync::Arc<Running>, number: usize| {
        use base64::Engine;
        let name = format!("tenant-{number}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:any"));
        let call = crate::harness::post("/", &crate::core::good_pay().to_string(), "");
        let call = call.replace(&authorization(), &format!("Authorization: Basic {encoded}\r\n"));
        assert_eq!(json_of(&running.raw(&call).await)["retcode"], 0);
        assert_eq!(json_of(&running.raw(&call).await)["retcode"], 608);
        ok(&running, "POST", &format!("reset?merchant={name}"), json!({})).await;
        let next =
            json!({ "scenario": if number.is_multiple_of(2) { "retcode-607" } else { "immediate" }, "merchant": name });
        ok(&running, "POST", "next", next).await;
        let answer = json_of(&running.raw(&call).await);
        assert_eq!(answer["retcode"], if number.is_multiple_of(2) { 607 } else { 0 });
        let seen = get(&running, &format!("transactions?merchant={name}")).await;
        assert_eq!(seen["transactions"].as_array().unwrap().len(), 1);
        let verify = json!({ "expect": [{ "for": "call", "count": 1 }] });
        ok(&running, "POST", &format!("verify?merchant={name}"), verify).await;
    };
    let mut tenants = tokio::task::JoinSet::new();
    for number in 0..100 {
        tenants.spawn(tenant(std::sync::Arc::clone(&running), number));
    }
    assert_eq!(tenants.join_all().await.len(), 100);
}

#[tokio::test]
async fn events_come_live_and_resume_where_they_stopped() {
    let running = Running::start().await;
    paid(&running, "ORDER-1", "0783300000", "/").await;
    let follow = |headers: &str| format!("GET /__sandbox/api/events HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let mut live = running.connect_plain().await;
    live.write_all(follow("").as_bytes()).await.unwrap();
    let head = until(&mut live, "the journal, live").await;
    assert!(head.to_ascii_lowercase().contains("content-type: text/event-stream"), "{head}");
    paid(&running, "ORDER-2", "0783300000", "/").await;
    let event = until(&mut live, "\"refid\":\"ORDER-2\"").await;
    assert!(event.contains("id: 2\nevent: call\ndata: {") && !event.contains("ORDER-1"), "{event}");
    drop(live);
    running.second().await;
    let mut resumed = running.connect_plain().await;
    resumed.write_all(follow("Last-Event-ID: 2\r\n").as_bytes()).await.unwrap();
    let rest = until(&mut resumed, "id: 6").await;
    assert!(rest.contains("id: 3\nevent: settled") && rest.contains("event: delivery"), "{rest}");
}

#[tokio::test]
async fn a_web_page_can_neither_read_nor_drive_the_sandbox() {
    let running = Running::start().await;
    let from = async |headers: &str| {
        let request =
            format!("POST /__sandbox/api/reset HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
        status(&exchange(running.connect_plain().await, request.as_bytes()).await)
    };
    let port = running.port();
    assert_eq!(from(&format!("Host: localhost:{port}\r\n")).await, 200);
    assert_eq!(from(&format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n")).await, 200);
    assert_eq!(from("Host: 127.0.0.1\r\n").await, 200);
    assert_eq!(from("Host: [::1]:8443\r\n").await, 200);
    assert_eq!(from("Host: evil.example\r\n").await, 403, "DNS rebinding");
    assert_eq!(from(&format!("Host: localhost:{port}\r\nOrigin: http://evil.example\r\n")).await, 403);
    assert_eq!(from(&format!("Host: localhost:{port}\r\nOrigin: http://localhost:1\r\n")).await, 403);
    assert_eq!(from(&format!("Host: localhost:{port}\r\nOrigin: null\r\n")).await, 403);
    assert_eq!(from(&format!("Host: localhost:{port}\r\nSec-Fetch-Site: cross-site\r\n")).await, 403);
}

#[tokio::test]
async fn beyond_this_machine_a_token_is_required_unless_told_otherwise() {
    let beyond = |config: &mut kpay_sandbox::Config| config.listen = vec![([0, 0, 0, 0], 0).into()];
    let closed = Running::with(beyond).await;
    let (status_closed, problem) = api(&closed, "GET", "info", json!({})).await;
    assert_eq!((status_closed, &problem["error"]["code"]), (403, &json!("closed")));
    let open = Running::with(|config| {
        beyond(config);
        config.control_open = true;
    })
    .await;
    assert_eq!(api(&open, "GET", "info", json!({})).await.0, 200);
    let guarded = Running::with(|config| {
        beyond(config);
        config.control_token = Some("a-long-token".into());
    })
    .await;
    for (header, expected) in
        [("", 401), ("Authorization: Bearer wrong\r\n", 401), ("Authorization: bearer a-long-token\r\n", 200)]
    {
        assert_eq!(status(&raw(&guarded, "GET", "info", "", header).await), expected, "{header}");
    }
    assert_eq!(running_pays(&guarded).await, 0, "KPay's endpoint is open all the same");
}

async fn running_pays(running: &Running) -> u64 {
    running.pay(|_| {}).await["retcode"].as_u64().unwrap()
}

#[tokio::test]
async fn wrong_input_is_answered_with_what_was_wrong_and_what_to_write() {
    let running = Running::start().await;
    for (method, path, body, expected, word) in [
        ("GET", "nothing", "", 404, "GET /__sandbox/api lists"),
        ("PATCH", "info", "", 405, "use GET"),
        ("GET", "transactions?colour=red", "", 400, "'colour'"),
        ("GET", "transactions?status=paid", "", 400, "pending, successful or failed"),
        ("GET", "transactions?limit=many", "", 400, "'many'"),
        ("GET", "transactions?merchant=nobody", "", 404, "'nobody'"),
        ("GET", "transactions?before=none", "", 404, "'none'"),
        ("PUT", "merchants/new", "{}", 400, "needs one"),
        ("PUT", "merchants/new", r#"{"username":"old"}"#, 400, "not the one of the address"),
        ("GET", "transactions/none", "", 404, "'none'"),
        ("POST", "transactions/none/settle", r#"{"statusid":"01"}"#, 404, "'none'"),
        ("POST", "transactions/x/settle", r#"{"statusid":"03"}"#, 400, "statusid: a payment cannot settle as 03"),
        ("POST", "transactions/x/postbacks", r#"{"count":0}"#, 404, "'x'"),
        ("GET", "deliveries/none", "", 404, "'none'"),
        ("POST", "wait", "", 400, "missing field `for`"),
        ("POST", "wait", r#"{"for":"delivery","timeout":"6m"}"#, 400, "5m at most"),
        ("POST", "wait", r#"{"for":"delivery","match":{"refid":[]}}"#, 400, "match.refid"),
        ("POST", "wait", "{", 400, "EOF"),
        ("POST", "verify", r#"{"expect":[]}"#, 400, "always hold"),
        ("PUT", "scenarios/Own", "{}", 400, "small letters"),
        ("PUT", "scenarios/own", r#"{"name":"other"}"#, 400, "not the 'own'"),
        ("PUT", "scenarios/own", r#"{"steps":[{"do":"pay"}]}"#, 400, "steps[0].do"),
        ("POST", "next", r#"{"scenario":"none"}"#, 404, "or PUT one of your own"),
        ("POST", "next", r#"{"scenario":"Declin"}"#, 404, r#"Did you mean \"decline\"?"#),
        ("POST", "next", r#"{"scenario":"decline","times":0}"#, 400, "times"),
        ("GET", "events?after=x", "", 400, "'x'"),
    ] {
        let answer = raw(&running, method, path, body, "").await;
        let problem = json_of(&answer);
        let text = format!("{} {}", problem["error"]["message"], problem["error"]["hint"]);
        assert_eq!(status(&answer), expected, "{method} {path}: {text}");
        assert!(text.contains(word), "{method} {path}: {text}");
        assert!(!problem["error"]["hint"].as_str().unwrap().is_empty());
    }
    let huge = raw(&running, "POST", "wait", &"x".repeat(70_000), "").await;
    assert_eq!(status(&huge), 413);
}

#[tokio::test]
async fn every_endpoint_of_the_index_is_there() {
    let running = Running::start().await;
    paid(&running, "x", "0780000003", "/").await;
    for (call, _) in kpay_sandbox::web::endpoints() {
        let (method, path) = call.split_once(' ').unwrap();
        if path == "events" {
            continue; // it never ends; it has a test of its own
        }
        let path =
            path.replace("{tid}", "x").replace("{id}", "1").replace("{name}", "none").replace("{username}", "none");
        let (_, value) = api(&running, method, &path, json!({})).await;
        let message = value["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.starts_with("there is no /") && value["error"]["code"] != "method", "{call}: {message}");
    }
}

#[tokio::test]
async fn a_merchant_stands_in_the_body_or_in_the_query_of_every_call() {
    let (running, shop) = (Running::start().await, Receiver::acknowledging().await);
    paid(&running, "ORDER-1", "0780000003", &shop.url("/")).await;
    let named = |mut body: Value| {
        body["merchant"] = json!("your_username");
        body
    };
    for (method, path, body) in [
        ("POST", "transactions/ORDER-1/settle", json!({ "statusid": "02" })),
        ("POST", "transactions/ORDER-1/postbacks", json!({})),
        ("POST", "deliveries/1/replay", json!({})),
        ("POST", "verify", json!({ "expect": [{ "for": "call" }] })),
        ("POST", "wait", json!({ "for": "call" })),
        ("PUT", "scenarios/own", json!({ "answer": "accepted" })),
        ("POST", "next", json!({ "scenario": "own" })),
        ("DELETE", "next", json!({})),
        ("DELETE", "scenarios/own", json!({})),
        ("POST", "reset", json!({})),
    ] {
        ok(&running, method, path, named(body.clone())).await;
        let undone = matches!((method, path), ("DELETE", "scenarios/own") | ("POST", "reset"));
        if undone {
            continue;
        }
        ok(&running, method, &format!("{path}?merchant=your_username"), body.clone()).await;
        let (status, answer) = api(&running, method, &format!("{path}?merchant=no_api_access"), named(body)).await;
        assert!(status == 400 && answer["error"]["message"].as_str().unwrap().contains("the query has"), "{answer}");
    }
    assert_eq!(api(&running, "POST", "reset", json!({ "merchant": 7 })).await.0, 400);
    assert_eq!(api(&running, "POST", "reset", json!({ "merchant": "nobody" })).await.0, 404);
    assert_eq!(get(&running, "merchants?merchant=your_username").await["merchants"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_delivery_of_another_merchant_is_not_found() {
    let (running, shop) = (Running::start().await, Receiver::acknowledging().await);
    paid(&running, "ORDER-1", "0783300000", &shop.url("/")).await;
    running.second().await;
    for path in ["deliveries/1", "deliveries/1/replay"] {
        let method = if path.ends_with("replay") { "POST" } else { "GET" };
        let other = api(&running, method, &format!("{path}?merchant=no_api_access"), json!({})).await;
        assert_eq!(other.0, 404, "{path}");
        assert_eq!(api(&running, method, &format!("{path}?merchant=your_username"), json!({})).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn under_open_a_tenant_exists_as_soon_as_a_call_names_it() {
    let running = Running::with(|config| config.open = true).await;
    ok(&running, "POST", "next", json!({ "scenario": "decline", "merchant": "worker-1" })).await;
    ok(&running, "POST", "reset", json!({ "merchant": "worker-2" })).await;
    ok(&running, "POST", "verify?merchant=worker-3", json!({ "expect": [{ "for": "call", "count": 0 }] })).await;
    assert_eq!(get(&running, "merchants/worker-4").await["username"], "worker-4");
    let listed = get(&running, "merchants").await;
    let is_listed = |name: &str| listed["merchants"].as_array().unwrap().iter().any(|one| one["username"] == name);
    assert!((1..=4).all(|number| is_listed(&format!("worker-{number}"))), "{listed}");
    assert_eq!(api(&running, "POST", "reset", json!({ "merchant": "a:b" })).await.0, 400);
    let closed = Running::start().await;
    let (status, answer) = api(&closed, "POST", "next", json!({ "scenario": "decline", "merchant": "worker-1" })).await;
    assert!(status == 404 && answer["error"]["hint"].as_str().unwrap().contains("--open"), "{answer}");
}

#[tokio::test]
async fn the_certificates_are_had_without_tls_and_without_a_token() {
    let running = Running::with(|config| {
        config.listen = vec!["0.0.0.0:0".parse().unwrap()];
        config.control_token = Some("a-long-token".into());
    })
    .await;
    let fetch = async |name: &str| {
        let request =
            format!("GET /__sandbox/{name} HTTP/1.1\r\nHost: pay.esicia.com:8443\r\nConnection: close\r\n\r\n");
        crate::harness::body_of(&running.raw_plain(&request).await)
    };
    let ca = std::fs::read_to_string(running.sandbox.ca()).unwrap();
    assert_eq!(fetch("ca.pem").await, ca);
    assert_eq!(fetch("bundle.pem").await, std::fs::read_to_string(&running.sandbox.facts().bundle).unwrap());
    // What has become of the files changes nothing for a client that wants to trust this sandbox.
    std::fs::write(running.sandbox.ca(), "broken").unwrap();
    std::fs::remove_file(&running.sandbox.facts().bundle).unwrap();
    assert_eq!((fetch("ca.pem").await, fetch("bundle.pem").await), (ca.clone(), ca));
}

/// The lines of the CI examples that fetch a certificate work as they are written.
#[tokio::test(flavor = "multi_thread")]
async fn the_ci_examples_fetch_the_certificate() {
    let running = Running::start().await;
    for (file, address) in
        [("github-actions.yml", "http://localhost:8443"), ("gitlab-ci.yml", "http://pay.esicia.com:8443")]
    {
        let path = format!("{}/examples/ci/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.contains("/__sandbox/ca.pem")).unwrap();
        let line = line.trim().trim_start_matches("- ").trim_start_matches("run: ");
        let own = line.replace(address, &format!("http://127.0.0.1:{}", running.port()));
        assert_ne!(own, line, "{file} fetches it from {address}");
        let folder = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new("timeout");
        command.args(["20", "sh", "-c", &own]).current_dir(folder.path()).env_remove("http_proxy");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{own}: {output:?}");
        let fetched = std::fs::read_to_string(folder.path().join("kpay-ca.pem")).unwrap();
        assert_eq!(fetched, std::fs::read_to_string(running.sandbox.ca()).unwrap(), "{file}");
        assert!(text.contains("NODE_EXTRA_CA_CERTS") && text.matches("kpay-ca.pem").count() > 1, "{file} uses it");
    }
}
