//! What `SECURITY.md` promises, where no other test shows it.

use std::time::Duration;

use kpay_sandbox::Config;
use kpay_sandbox::gateway::journal::Event;
use kpay_sandbox::view;
use kpay_sandbox::web::RefusalStatus;
use serde_json::json;

use crate::core::{Core, good_pay, line_of};
use crate::harness::{Running, authorization, header, json_of, post, status};

/// Texts that would be a line, a colour, a header or a page of their own.
const HOSTILE: &str = "x\r\nInjected: yes\r\n\r\n\u{1b}[31m<script>alert(1)</script>\u{202e}\u{7}";

async fn get(running: &Running, path: &str) -> String {
    running.raw_plain(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
}

#[test]
fn no_text_of_a_caller_is_a_line_of_the_log_or_moves_its_cursor() {
    let mut core = Core::new("documented");
    for field in ["refid", "msisdn", "details", "pmethod", "retailerid", "returl", "bankid", "action", "amount", "more"]
    {
        core.pay(|body| body[field] = json!(HOSTILE));
    }
    core.call_with(|call| call.credentials = Err(HOSTILE.into()), HOSTILE.as_bytes());
    core.pay(|body| body["refid"] = json!(HOSTILE));
    core.advance(Duration::from_secs(60));
    let mut lines = 0;
    for entry in core.gateway.journal().after(0) {
        let line = line_of(entry);
        let line = line.trim_end_matches('\n');
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        // In JSON a text is data, which whoever shows it has to make safe; a line of it stays one line.
        let line = view::entry(entry).to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
        lines += 1;
    }
    assert!(lines > 12, "{lines}");
}

#[tokio::test]
async fn no_field_that_is_echoed_becomes_a_header() {
    let running = Running::start().await;
    for field in ["refid", "msisdn", "details", "pmethod", "retailerid", "returl", "redirecturl", "bankid", "action"] {
        let mut body = good_pay();
        body[field] = json!(HOSTILE);
        let answer = running.raw(&post("/", &body.to_string(), "")).await;
        assert_eq!(status(&answer), 200, "{field}");
        let head = answer.split("\r\n\r\n").next().unwrap();
        assert!(!head.contains("Injected: yes\r\n") && !head.ends_with("Injected: yes"), "{field}: {head}");
        assert!(head.bytes().all(|byte| byte == b'\r' || byte == b'\n' || (b' '..=b'~').contains(&byte)), "{head:?}");
    }
    // Names that a header of the request can choose.
    let host = "X-KPay-Sandbox-Scenario: approve\u{b}Injected\r\n";
    let answer = running.raw(&post("/", &good_pay().to_string(), host)).await;
    assert!(!answer.split("\r\n\r\n").next().unwrap().contains("\u{b}"), "{answer}");
}

fn refusals(running: &Running) -> Vec<String> {
    running.sandbox.read(|gateway| {
        let entries = gateway.journal().after(0);
        entries.filter(|entry| matches!(entry.event, Event::RequestRefused { .. })).map(line_of).collect()
    })
}

#[tokio::test]
async fn no_web_page_can_make_a_browser_pay() {
    // With real statuses a browser would ask for credentials, and send them for every page from then on.
    let running = Running::with(|config: &mut Config| config.refusal_status = RefusalStatus::Http).await;
    let port = running.port();
    let pay = |headers: String| {
        let (body, running) = (good_pay().to_string(), &running);
        let request = post("/", &body, &headers);
        let request =
            if headers.contains("Host: ") { request.replacen("Host: pay.esicia.com\r\n", "", 1) } else { request };
        async move { running.raw(&request).await }
    };
    for foreign in [
        "Origin: https://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        "Origin: http://localhost:3000\r\n".to_owned(),
        "Sec-Fetch-Site: cross-site\r\n".to_owned(),
        "Sec-Fetch-Site: same-site\r\n".to_owned(),
        // A name of its own that leads here.
        format!("Host: evil.example:{port}\r\nOrigin: https://evil.example:{port}\r\n"),
        format!("Host: evil.example:{port}\r\nSec-Fetch-Site: same-origin\r\n"),
    ] {
        let answer = pay(foreign.clone()).await;
        assert_eq!(status(&answer), 403, "{foreign}: {answer}");
        assert!(answer.contains("Call KPay from your server"), "{answer}");
        assert!(header(&answer, "www-authenticate").is_none(), "{answer}");
    }
    assert_eq!(running.sandbox.read(|gateway| gateway.ledger().iter().count()), 0, "nobody paid");
    let refused = refusals(&running);
    assert_eq!(refused.len(), 7, "{refused:?}");
    assert!(refused[0].contains("POST / from 127.0.0.1 refused: a page of https://evil.example"), "{refused:?}");

    // A merchant's server says nothing of all this, and pays; one that waits to be asked is asked.
    assert_eq!(json_of(&pay(String::new()).await)["retcode"], 0);
    let asked =
        running.raw("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((status(&asked), header(&asked, "www-authenticate")), (401, Some("Basic realm=\"KPay\"")));
    let own = format!("Host: localhost:{port}\r\nOrigin: https://localhost:{port}\r\nContent-Length: 0\r\n");
    let browser = running.raw(&format!("POST / HTTP/1.1\r\nConnection: close\r\n{own}\r\n")).await;
    assert_eq!((status(&browser), header(&browser, "www-authenticate")), (401, None), "a browser is never asked");
}

#[tokio::test]
async fn no_postback_reaches_the_sandbox_itself() {
    let running = Running::with(|config: &mut Config| config.listen = vec![([0, 0, 0, 0], 0).into()]).await;
    let port = running.port();
    let own = [
        format!("http://localhost:{port}/__sandbox/api/reset"),
        format!("https://127.0.0.1:{port}/__sandbox/api/reset"),
        format!("http://127.0.0.2:{port}/__sandbox/api/reset"),
        format!("http://0.0.0.0:{port}/__sandbox/api/reset"),
        format!("http://[::ffff:127.0.0.1]:{port}/__sandbox/do"),
        format!("http://2130706433:{port}/"),
    ];
    for (number, returl) in own.iter().enumerate() {
        running
            .pay(|body| {
                (body["refid"], body["returl"], body["msisdn"]) = (json!(number), json!(returl), json!("0780000109"))
            })
            .await;
    }
    running.second().await;
    let outcomes: Vec<String> = running.sandbox.read(|gateway| {
        let deliveries = gateway.journal().deliveries();
        deliveries.map(|delivery| delivery.outcome.as_ref().unwrap_err().to_string()).collect()
    });
    assert_eq!(outcomes.len(), own.len(), "none of them reset the sandbox");
    for outcome in &outcomes {
        // An address that this system does not know is no way in either.
        assert!(outcome.contains("is this sandbox itself") || outcome.contains("could not connect"), "{outcome}");
    }
    let refused = outcomes
        .iter()
        .filter(|outcome| outcome.contains("is this sandbox itself: write the address of your own listener"))
        .count();
    assert!(refused >= 3, "{outcomes:?}");
}

#[tokio::test]
async fn a_postback_that_comes_by_a_detour_drives_no_sandbox() {
    // Another one is a detour as any: a published port, a proxy, a tunnel.
    let (sender, other) = (Running::start().await, Running::start().await);
    let checkout = other.pay(|body| body["pmethod"] = json!("cc")).await["url"].as_str().unwrap().to_owned();
    let checkout = checkout.rsplit('/').next().unwrap();
    let before = other.sandbox.read(|gateway| gateway.ledger().iter().count());
    let paths = ["/__sandbox/api/reset", "/__sandbox/do", "/__sandbox/token", "/", &format!("/checkout/{checkout}")];
    for (number, path) in paths.iter().enumerate() {
        let returl = format!("http://127.0.0.1:{}{path}", other.port());
        sender
            .pay(|body| {
                (body["refid"], body["returl"], body["msisdn"]) = (json!(number), json!(returl), json!("0780000109"))
            })
            .await;
    }
    sender.second().await;
    let statuses: Vec<u16> = sender.sandbox.read(|gateway| {
        gateway.journal().deliveries().map(|delivery| delivery.outcome.as_ref().unwrap().status).collect()
    });
    assert_eq!(statuses, [403; 5]);
    let refused = refusals(&other);
    assert_eq!(refused.len(), 5, "{refused:?}");
    assert!(refused.iter().all(|line| line.contains("this request is a postback of a sandbox")), "{refused:?}");
    assert_eq!(other.sandbox.read(|gateway| gateway.ledger().iter().count()), before);
}

#[tokio::test]
async fn no_path_leads_out_of_its_place() {
    let running = Running::start().await;
    let checkout = running.pay(|_| {}).await["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let secret = std::fs::read_to_string(running.sandbox.ca()).unwrap();
    for path in [
        "/checkout/../__sandbox/api/state",
        "/checkout/%2e%2e/__sandbox/api/state",
        "/checkout//__sandbox/api/state",
        "/checkout/A0%00",
        "/checkout/..%2f..%2fetc%2fpasswd",
        "/__sandbox/assets/../../certs/ca.key",
        "/__sandbox/assets/..%2f..%2fcerts%2fca.key",
        "/__sandbox/assets/",
        "/__sandbox//api/state",
        "/__sandbox/api/../../certs/ca.key",
        "/__sandbox/api/transactions/..%2f..%2fstate",
        "//__sandbox/api/state",
        "/.%2e/etc/passwd",
        "/certs/ca.key",
    ] {
        let answer = get(&running, path).await;
        assert!(matches!(status(&answer), 400..=499), "{path}: {answer}");
        assert!(!answer.contains("PRIVATE KEY") && !answer.contains(&secret) && !answer.contains("root:"), "{path}");
    }
    assert_eq!(status(&get(&running, &format!("/checkout/{checkout}")).await), 200, "the right one is there");
}

#[tokio::test]
async fn a_password_is_in_no_journal_log_export_or_page() {
    let running = Running::with(|config: &mut Config| config.seed = Some(2)).await;
    running.pay(|body| body["password"] = json!("body-secret")).await;
    running.second().await;
    let encoded = authorization();
    let encoded = encoded.trim().rsplit(' ').next().unwrap();
    let tid = running.sandbox.read(|gateway| gateway.ledger().iter().next().unwrap().tid.to_string());
    let log = running.sandbox.read(|gateway| {
        let entries = gateway.journal().after(0);
        entries.map(|entry| line_of(entry) + &view::entry(entry).to_string()).collect::<String>()
    });
    let mut places = vec![("log".to_owned(), log)];
    for path in [
        "/__sandbox/".to_owned(),
        "/__sandbox/calls".to_owned(),
        "/__sandbox/merchants".to_owned(),
        format!("/__sandbox/payments/{tid}"),
        "/__sandbox/api/journal".to_owned(),
        "/__sandbox/api/transactions".to_owned(),
        format!("/__sandbox/api/transactions/{tid}"),
        "/__sandbox/api/deliveries".to_owned(),
        "/__sandbox/api/deliveries?as=har".to_owned(),
    ] {
        let answer = get(&running, &path).await;
        assert_eq!(status(&answer), 200, "{path}: {answer}");
        places.push((path, answer));
    }
    for (place, text) in places {
        assert!(!text.contains("body-secret") && !text.contains(encoded), "{place}");
    }
    // A saved state has the sandbox's own accounts, as fixtures/merchants.json has; of calls it has no secret either.
    let state = get(&running, "/__sandbox/api/state").await;
    assert!(!state.contains("body-secret") && !state.contains(encoded));
}
