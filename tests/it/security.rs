//! What `SECURITY.md` promises, where no other test shows it.

use std::time::Duration;

use kpay_sandbox::Config;
use kpay_sandbox::view;
use serde_json::json;

use crate::core::{Core, good_pay, line_of};
use crate::harness::{Running, authorization, post, status};

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
