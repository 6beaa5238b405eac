//! What a listener's author is told about a response that is not the guide's.

use std::time::Duration;

use kpay_sandbox::gateway::postback::{Delivery, Verdict};
use serde_json::json;

use crate::core::{Core, answered};

/// The reason for not taking a response as an acknowledgement.
fn reason(profile: &str, status: u16, headers: &[(&str, &str)], body: &str) -> String {
    let mut core = Core::new(profile);
    core.pay(|body| body["returl"] = json!("http://localhost:3000/kpay/hook?x=1"));
    let respond = |postback: &_| {
        let mut delivery: Delivery = answered(postback, status, body);
        let list = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        delivery.outcome.as_mut().unwrap().headers = list;
        delivery
    };
    core.advance_with(Duration::from_secs(120), respond);
    let delivery = core.gateway.journal().deliveries().next().unwrap();
    match delivery.verdict() {
        Verdict::Unacknowledged(why) if (200..300).contains(&status) => why,
        Verdict::Rejected(why) if !(200..300).contains(&status) => why,
        verdict => panic!("{status} {body}: {verdict:?}"),
    }
}

#[test]
fn a_status_that_is_no_success_is_told_with_the_frameworks_fix() {
    let rails = "<html><title>Action Controller: Exception caught</title>ActionController::InvalidAuthenticityToken";
    for (status, headers, body, parts) in [
        (419, &[][..], "<title>Page Expired</title>", &["419", "Laravel", "routes/api.php", "validateCsrfTokens"][..]),
        (403, &[], "<h1>Forbidden</h1> CSRF verification failed.", &["403", "CSRF", "@csrf_exempt"]),
        (403, &[], "no", &["403", "CSRF", "authentication"]),
        (422, &[], rails, &["422", "skip_before_action :verify_authenticity_token"]),
        (405, &[("Allow", "GET, HEAD")], "", &["405", "Accept POST at /kpay/hook", "GET, HEAD", "Route::post"]),
        (401, &[], "", &["401", "out of authentication", "user:password@"]),
        (404, &[], "", &["404", "POST /kpay/hook", "returl", "/api"]),
        (302, &[("Location", "http://localhost:3000/login")], "", &["302", "/login", "out of authentication"]),
        (301, &[("Location", "https://localhost/kpay/hook/")], "", &["301", "https://localhost/kpay/hook/", "returl"]),
        (302, &[], "", &["302", "final address"]),
        (415, &[], "", &["415", "raw body", "--profile observed"]),
        (400, &[], "The plain HTTP request was sent to HTTPS port", &["400", "https://"]),
        (400, &[], "bad", &["400", "raw body", "--profile observed"]),
        (422, &[], "{}", &["422", "raw body", "--profile observed"]),
        (429, &[], "", &["429", "rate limit"]),
        (500, &[], "<title>KeyError at /kpay/hook</title>", &["500", "KeyError at /kpay/hook", "log"]),
        (500, &[], "", &["500", "log"]),
        (502, &[], "", &["502", "running?"]),
        (410, &[], "", &["410", "Return HTTP 200 after saving the result"]),
    ] {
        let reason = reason("documented", status, headers, body);
        assert!(parts.iter().all(|part| reason.contains(part)), "{status}: {reason}");
        assert!(reason.chars().count() < 400, "{reason}");
    }
}

#[test]
fn a_response_that_is_no_json_is_told_with_its_culprit() {
    let undefined =
        "<br />\n<b>Warning</b>:  Undefined array key \"tid\" in <b>/srv/hook.php</b> on line <b>3</b><br />";
    let padded = format!("{}{undefined}", "x".repeat(100));
    let deprecated = "Deprecated: Function utf8_encode() is deprecated in /srv/hook.php on line 9";
    for (body, parts) in [
        (undefined, &["message of PHP", "Undefined array key", "php://input", "$_POST"][..]),
        (&padded, &["Undefined array key", "php://input"]),
        ("PHP Fatal error:  Uncaught Error: Call in /x.php:3", &["message of PHP", "Uncaught Error", "display_errors"]),
        (deprecated, &["utf8_encode", "display_errors"]),
        ("<!DOCTYPE html><html><title>Shop</title></html>", &["HTML page: 'Shop'", "route"]),
        ("<p>hello there</p>", &["HTML page: 'hello there'"]),
        ("", &["empty body", r#""reply":"OK""#]),
        ("OK", &["\"OK\"", "not a JSON object"]),
        (r#""{\"reply\":\"OK\"}""#, &["JSON string", "encode it once"]),
        ("{}", &["without tid"]),
    ] {
        let reason = reason("documented", 200, &[], body);
        assert!(parts.iter().all(|part| reason.contains(part)), "{body}: {reason}");
    }
    // Something around the right response is what is shown.
    let around = |before: &str, after: &str| {
        let mut core = Core::new("documented");
        core.pay(|_| {});
        let respond = |postback: &_| {
            let right = crate::core::acknowledge(postback).outcome.unwrap().body;
            answered(postback, 200, &format!("{before}{}{after}", String::from_utf8(right).unwrap()))
        };
        core.advance_with(Duration::from_secs(1), respond);
        core.gateway.journal().deliveries().next().unwrap().verdict()
    };
    assert_eq!(around("", "\n"), Verdict::Acknowledged);
    for (before, after) in [("done", ""), ("", "done"), ("<pre>done</pre>", ""), ("\u{feff}", "")] {
        let Verdict::Unacknowledged(why) = around(before, after) else { panic!("{before} {after}") };
        let shown = if before == "\u{feff}" { "byte order mark" } else { "done" };
        assert!(why.contains(shown), "{why}");
    }
    let Verdict::Unacknowledged(why) = around("", "<br /><b>Notice</b>: x in /y.php on line 3") else { panic!() };
    assert!(why.contains("Notice: x in /y.php"), "{why}");
}

#[test]
fn json_that_was_labelled_as_a_form_says_so() {
    let note = "form-urlencoded over JSON: a listener that trusts the label sees nothing. Read the raw body";
    for status in [200, 500] {
        let reason = reason("observed", status, &[], "nothing");
        assert!(reason.contains(note) && !reason.contains("--profile observed"), "{reason}");
    }
    assert!(!reason("documented", 200, &[], "nothing").contains("label"));
    let undefined = "Notice: Undefined index: tid in /x.php on line 3";
    assert!(reason("documented", 200, &[], undefined).contains("--profile observed"));
}
