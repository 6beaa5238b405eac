//! The endpoint over real connections, with requests written byte by byte.

use std::time::Duration;

use kpay_sandbox::web::RefusalStatus;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::core::{good_pay, line_of};
use crate::harness::{Running, authorization, exchange, header, json_of, post, status};

#[tokio::test]
async fn pay_is_answered_at_every_spelling_of_the_endpoint() {
    let running = Running::start().await;
    for (number, path) in ["/", "/api/", "/api"].iter().enumerate() {
        let mut body = good_pay();
        body["refid"] = json!(number);
        let answer = running.raw(&post(path, &body.to_string(), "")).await;
        assert_eq!((status(&answer), &json_of(&answer)["retcode"]), (200, &json!(0)), "{path}");
        assert_eq!(header(&answer, "X-KPay-Sandbox"), Some(env!("CARGO_PKG_VERSION")));
        let page = format!("http://127.0.0.1:{}/checkout/A", running.port());
        let url = json_of(&answer)["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(&page), "a browser would look for KPay's own name elsewhere: {url}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_tells_client_protocol_and_host_and_nobody_else_does() {
    const HEADERS: &str =
        "X-Forwarded-For: 203.0.113.9, ::1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: pay.shop.example\r\n";
    let request = post("/", &good_pay().to_string(), HEADERS);
    let direct = Running::start().await;
    let refused = direct.raw_plain(&request).await;
    assert_eq!(json_of(&refused)["retcode"], 500);
    let reason = header(&refused, "X-KPay-Sandbox-Reason").unwrap();
    assert!(reason.contains("x-forwarded-proto header is believed with --trusted-proxy 127.0.0.1 only"), "{reason}");
    let running = Running::with(|config| config.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let answer = json_of(&running.raw_plain(&request).await);
    assert_eq!(answer["retcode"], 0, "{answer}");
    assert!(answer["url"].as_str().unwrap().starts_with("https://pay.shop.example/checkout/"), "{answer}");
    let line = running.sandbox.read(|gateway| gateway.journal().after(0).map(line_of).collect::<String>());
    assert!(line.contains(" from ::1: 0 PENDING"), "{line}");
    let elsewhere = request.replace(", ::1", "");
    assert_eq!(json_of(&running.raw_plain(&elsewhere).await)["retcode"], 602, "the whitelist is for the client");
    let bad = request.replace("pay.shop.example", "pay shop");
    assert_eq!(status(&running.raw_plain(&bad).await), 400);
}

#[tokio::test]
async fn a_public_address_is_announced_and_its_pages_may_act() {
    let running = Running::with(|config| config.public_url = Some("https://x.example/".parse().unwrap())).await;
    let url = running.pay(|body| body["pmethod"] = json!("cc")).await["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://x.example/checkout/A"), "{url}");
    let press = |origin: &str, host: &str| {
        format!(
            "POST /__sandbox/do HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
    };
    for (origin, host, refused) in [
        ("https://x.example", "x.example", false),
        ("https://x.example", "localhost:8443", false),
        ("https://y.example", "localhost:8443", true),
        ("https://y.example", "y.example", true),
    ] {
        let answer = running.raw_plain(&press(origin, host)).await;
        assert_eq!(status(&answer) == 403, refused, "{origin} at {host}: {answer}");
    }
}

#[tokio::test]
async fn the_content_type_decides_nothing() {
    let running = Running::start().await;
    let labels = [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: application/json\r\nContent-Type: application/json\r\n",
    ];
    for (number, label) in labels.iter().enumerate() {
        let mut body = good_pay();
        body["refid"] = json!(number);
        assert_eq!(json_of(&running.raw(&post("/", &body.to_string(), label)).await)["retcode"], 0, "{label}");
    }
}

#[tokio::test]
async fn plain_http_gets_500_on_the_endpoint_and_all_of_the_reserved_prefix() {
    let running = Running::start().await;
    let answer = running.raw_plain(&post("/", &good_pay().to_string(), "")).await;
    assert_eq!((status(&answer), &json_of(&answer)["retcode"]), (200, &json!(500)));
    assert!(header(&answer, "X-KPay-Sandbox-Reason").unwrap().contains("https://"));
    let get = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
    };
    for path in
        ["/__sandbox/livez", "/__sandbox/readyz", "/", "/__sandbox", "/__sandbox/calls", "/__sandbox/assets/style.css"]
    {
        assert_eq!(status(&running.raw_plain(&get(path)).await), 200, "{path}");
        assert_eq!(status(&running.raw(&get(path)).await), 200, "{path}");
    }
    assert!(running.raw(&get("/")).await.contains("not for production"));
    assert_eq!(status(&running.raw(&get("/nothing")).await), 404);
}

#[tokio::test]
async fn refusals_are_200_unless_real_statuses_are_asked_for() {
    let http = Running::with(|config| config.refusal_status = RefusalStatus::Http).await;
    let kpay = Running::start().await;
    let no_credentials = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}".to_owned();
    for (request, code, real) in [(no_credentials, 401, 401), (post("/", "{}", ""), 603, 400)] {
        let (as_kpay, as_http) = (kpay.raw(&request).await, http.raw(&request).await);
        assert_eq!((status(&as_kpay), status(&as_http)), (200, real));
        assert_eq!((&json_of(&as_kpay)["retcode"], &json_of(&as_http)["retcode"]), (&json!(code), &json!(code)));
        assert!(header(&as_kpay, "X-KPay-Sandbox-Reason").is_some());
    }
    assert_eq!(http.pay(|_| {}).await["retcode"], 0);
    assert_eq!(status(&http.raw(&post("/", &good_pay().to_string(), "")).await), 409);
}

#[tokio::test]
async fn a_reason_never_breaks_out_of_its_header() {
    let running = Running::start().await;
    let mut body = good_pay();
    body["currency"] = json!("X\r\nSet-Cookie: a=b\u{1F600}");
    let answer = running.raw(&post("/", &body.to_string(), "")).await;
    assert_eq!(json_of(&answer)["retcode"], 603);
    assert!(header(&answer, "Set-Cookie").is_none(), "{answer}");
    assert!(header(&answer, "X-KPay-Sandbox-Reason").unwrap().contains("currency"));
}

#[tokio::test]
async fn of_a_thousand_at_once_with_one_refid_one_is_accepted() {
    let running = std::sync::Arc::new(Running::start().await);
    let mut calls = JoinSet::new();
    for _ in 0..1000 {
        let running = std::sync::Arc::clone(&running);
        calls.spawn(async move { running.pay(|_| {}).await["retcode"].as_u64() });
    }
    let codes = calls.join_all().await;
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1);
    assert_eq!(codes.iter().filter(|code| **code == Some(608)).count(), 999);
}

#[tokio::test]
async fn keep_alive_chunked_expect_and_http_1_0_work() {
    let running = Running::start().await;
    let body = good_pay().to_string();
    let auth = authorization();

    let mut kept = running.connect().await;
    for _ in 0..2 {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{auth}Content-Length: 2\r\n\r\n{{}}");
        kept.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = kept.read(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer[..read]).contains("\"retcode\":603"));
    }
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{auth}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(json_of(&running.raw(&chunked).await)["retcode"], 0);

    let expecting = post("/", &body, "Expect: 100-continue\r\n");
    let answer = running.raw(&expecting).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue") && answer.contains("\"retcode\":608"), "{answer}");

    for (hosts, part) in
        [("", "no Host"), ("Host: h\r\nHost: h\r\n", "more than one Host"), ("Host: a b\r\n", "not a host")]
    {
        let request = format!("POST / HTTP/1.1\r\n{hosts}{auth}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = running.raw(&request).await;
        assert_eq!(status(&answer), 400, "{answer}");
        assert!(answer.contains(part), "{answer}");
    }
    let old = format!("POST / HTTP/1.0\r\n{auth}Content-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(json_of(&running.raw(&old).await)["retcode"], 608);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_in_kpays_shape() {
    let running = Running::start().await;
    for size in [64 * 1024 + 1, 10 * 1024 * 1024] {
        let answer = running.raw(&post("/", &" ".repeat(size), "")).await;
        assert_eq!((status(&answer), &json_of(&answer)["retcode"]), (413, &json!(603)));
    }
    let padded = good_pay().to_string() + &" ".repeat(60 * 1024);
    assert_eq!(json_of(&running.raw(&post("/", &padded, "")).await)["retcode"], 0);
}

#[tokio::test]
async fn headers_beyond_the_limit_and_garbage_end_the_connection() {
    let running = Running::start().await;
    let answer = running.raw(&post("/", "{}", &format!("X: {}\r\n", "x".repeat(70_000)))).await;
    assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    let answer = running.raw_plain("\x01\x02\x03\r\n\r\n").await;
    assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
    let garbage = exchange(running.connect_plain().await, b"\x16\x03\x01\xff\xff garbage that is no handshake").await;
    assert!(!garbage.contains("HTTP"), "{garbage}");
    let failed = running.sandbox.read(|gateway| line_of(gateway.journal().after(0).last().unwrap()));
    assert!(failed.contains("TLS"), "the log says why");
}

#[tokio::test]
async fn the_silent_and_the_half_way_are_cut_off_while_others_are_served() {
    let running = Running::start().await;
    let mut silent = running.connect_plain().await;
    let mut half_way = running.connect().await;
    half_way.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    assert_eq!(running.pay(|_| {}).await["retcode"], 0);
    let began = std::time::Instant::now();
    let (first, second) =
        tokio::join!(crate::harness::read_to_end(&mut silent), crate::harness::read_to_end(&mut half_way));
    assert!(began.elapsed() < Duration::from_secs(15));
    assert!(first.is_empty() && (second.is_empty() || status(&second) == 408), "{second}");
}

#[tokio::test]
async fn both_families_can_listen_on_every_address_with_one_port() {
    let four = kpay_sandbox::server::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let port = four.local_addr().unwrap().port();
    match kpay_sandbox::server::bind(format!("[::]:{port}").parse().unwrap()) {
        Ok(six) => assert_eq!(six.local_addr().unwrap().port(), port),
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::AddrInUse, "no IPv6 at all is another matter"),
    }
}
