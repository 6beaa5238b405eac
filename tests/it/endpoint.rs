//! Which requests are KPay's, over real connections: every method at the endpoint, and paths that KPay does not have.

use kpay_sandbox::gateway::journal::Event;
use kpay_sandbox::web::RefusalStatus;
use serde_json::json;

use crate::core::{good_pay, line_of};
use crate::harness::{Running, authorization, header, json_of, post, status};

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: pay.esicia.com\r\nConnection: close\r\n{headers}{length}\r\n{body}")
}

/// The log's lines of requests to paths that KPay does not have.
fn astray(running: &Running) -> Vec<String> {
    running.sandbox.read(|gateway| {
        let entries = gateway.journal().after(0);
        entries.filter(|entry| matches!(entry.event, Event::RequestRefused { .. })).map(line_of).collect()
    })
}

#[tokio::test]
async fn the_guides_first_example_goes_through_the_checks() {
    let running = Running::start().await;
    let own = authorization();
    let answer = running.raw_plain(&request("GET", "/api/", &own, "")).await;
    assert_eq!((status(&answer), &json_of(&answer)["retcode"]), (200, &json!(500)), "{answer}");
    let wrong = "Authorization: Basic bm9ib2R5Om5vdGhpbmc=\r\n";
    for (headers, retcode, reason) in [
        ("", 401, "Authorization header is missing"),
        (wrong, 600, "nobody"),
        (&*own, 603, "this was a GET without a body: POST the JSON"),
    ] {
        let answer = running.raw(&request("GET", "/api/", headers, "")).await;
        assert_eq!((status(&answer), &json_of(&answer)["retcode"]), (200, &json!(retcode)), "{answer}");
        assert!(header(&answer, "X-KPay-Sandbox-Reason").unwrap().contains(reason), "{answer}");
    }
    assert_eq!(running.sandbox.read(|gateway| gateway.journal().last()), 4, "each of them is in the journal");
}

#[tokio::test]
async fn no_method_but_post_pays() {
    let running = Running::start().await;
    let (own, body) = (authorization(), good_pay().to_string());
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let answer = running.raw(&request(method, "/", &own, &body)).await;
        assert_eq!((status(&answer), &json_of(&answer)["retcode"]), (200, &json!(603)), "{method}: {answer}");
        let reason = header(&answer, "X-KPay-Sandbox-Reason").unwrap();
        assert!(reason.contains(&format!("this was a {method}: POST the JSON")), "{reason}");
    }
    // A body without credentials is a request to KPay as well.
    let answer = running.raw(&request("PUT", "/", "", &body)).await;
    assert_eq!(json_of(&answer)["retcode"], 401);
    let answer = running.raw(&request("PUT", "/", "", "")).await;
    assert_eq!(json_of(&answer)["retcode"], 401);
    assert_eq!(running.sandbox.read(|gateway| gateway.ledger().iter().count()), 0);
}

#[tokio::test]
async fn a_browser_that_opens_the_endpoint_gets_the_home_page_and_is_never_asked_for_credentials() {
    let running = Running::with(|config| config.refusal_status = RefusalStatus::Http).await;
    let browser = "Accept: text/html\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n";
    for path in ["/", "//"] {
        let answer = running.raw(&request("GET", path, browser, "")).await;
        assert!(status(&answer) == 200 && answer.contains("not for production"), "{answer}");
        assert!(running.raw(&request("HEAD", path, browser, "")).await.starts_with("HTTP/1.1 200 OK"));
    }
    assert_eq!(running.sandbox.read(|gateway| gateway.journal().last()), 0);
    let answer = running.raw(&request("GET", "/api/", browser, "")).await;
    assert_eq!((status(&answer), header(&answer, "www-authenticate")), (401, None), "{answer}");
}

#[tokio::test]
async fn slashes_may_double() {
    let running = Running::start().await;
    for (number, path) in ["//", "/api//", "//api/", "//api", "///api///"].iter().enumerate() {
        let mut body = good_pay();
        body["refid"] = json!(number);
        let answer = running.raw(&post(path, &body.to_string(), "")).await;
        assert_eq!(json_of(&answer)["retcode"], 0, "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_request_to_a_path_that_kpay_does_not_have_is_told_what_would_be_right() {
    let running = Running::start().await;
    let body = good_pay().to_string();
    for (method, path, parts) in [
        ("POST", "/api/pay", ["KPay has no path '/api/pay'", "https://pay.esicia.com/api/", r#""action":"pay""#]),
        ("POST", "/api/payment", ["'/api/payment'", "POST", r#""action":"pay""#]),
        ("POST", "/pay", ["'/pay'", "POST", r#""action":"pay""#]),
        ("GET", "/api/v1/checkstatus/E1", ["'/api/v1/checkstatus/E1'", "POST", r#""action":"checkstatus""#]),
        ("GET", "/status?refid=1", ["'/status'", "POST", r#""action":"checkstatus""#]),
        ("PUT", "/orders/1", ["'/orders/1'", "POST", "https://pay.esicia.com/api/"]),
    ] {
        let answer = running.raw(&request(method, path, &authorization(), &body)).await;
        assert_eq!(status(&answer), 404, "{path}: {answer}");
        let line = astray(&running).pop().unwrap_or_default();
        assert!(line.contains(&format!("{method} {}", path.split('?').next().unwrap())), "{line}");
        for part in parts {
            assert!(answer.contains(part) && line.contains(part), "{path}: {part}: {answer}\n{line}");
        }
    }
    let bearer = running.raw(&request("POST", "/api/pay", "Authorization: Bearer abc\r\n", &body)).await;
    assert!(bearer.contains("Basic") && bearer.contains("Bearer"), "{bearer}");
    assert_eq!(astray(&running).len(), 7);
    let page = "GET /__sandbox/calls HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let page = running.raw_plain(page).await;
    assert!(page.contains("POST /api/payment from 127.0.0.1 was refused") && page.contains("POST the JSON"), "{page}");
}

#[tokio::test]
async fn what_a_browser_fetches_by_itself_is_nobodys_mistake() {
    let running = Running::start().await;
    for path in ["/favicon.ico", "/robots.txt", "/apple-touch-icon-precomposed.png", "/.well-known/appspecific/x.json"]
    {
        assert_eq!(status(&running.raw(&request("GET", path, "", "")).await), 404, "{path}");
    }
    assert_eq!(running.sandbox.read(|gateway| gateway.journal().last()), 0);
}

#[tokio::test]
async fn a_poll_of_a_wrong_path_does_not_push_everything_else_out_of_the_journal() {
    let running = Running::start().await;
    for _ in 0..30 {
        running.raw_plain(&request("GET", "/healthz", "", "")).await;
    }
    let lines = astray(&running);
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(lines[9].contains("Further requests like this are not recorded"), "{lines:?}");
    running.raw_plain(&request("GET", "/other", "", "")).await;
    assert_eq!(astray(&running).len(), 11);
    for number in 0..300 {
        running.raw_plain(&request("GET", &format!("/scan/{number}"), "", "")).await;
    }
    let lines = astray(&running);
    assert!((100..=120).contains(&lines.len()), "{}", lines.len());
}

#[tokio::test]
async fn an_unknown_scenario_of_a_header_is_recorded() {
    let running = Running::start().await;
    let body = good_pay().to_string();
    let answer = running.raw(&post("/", &body, "X-KPay-Sandbox-Scenario: declin\r\n")).await;
    assert_eq!(status(&answer), 400);
    let lines = astray(&running);
    assert!(lines.len() == 1 && lines[0].contains(r#""declin". Did you mean "decline"?"#), "{lines:?}");
    let answer = running.raw(&post("/", &body, "X-KPay-Sandbox-Scenario: nothing-like-it\r\n")).await;
    assert!(answer.contains("Write one of") && answer.contains("approve, "), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_a_challenge_gets_one_with_a_real_401_only() {
    let body = good_pay().to_string();
    let asked = request("POST", "/", "User-Agent: Wget/1.21\r\n", &body);
    let (kpay, http) =
        (Running::start().await, Running::with(|config| config.refusal_status = RefusalStatus::Http).await);
    let answer = kpay.raw(&asked).await;
    assert_eq!((status(&answer), header(&answer, "www-authenticate")), (200, None), "{answer}");
    let reason = header(&answer, "X-KPay-Sandbox-Reason").unwrap();
    assert!(reason.contains("Wget waits to be asked") && reason.contains("--auth-no-challenge"), "{reason}");
    let answer = http.raw(&asked).await;
    assert_eq!((status(&answer), header(&answer, "www-authenticate")), (401, Some("Basic realm=\"KPay\"")), "{answer}");
}
