//! Waiting for what happens, and verifying what has: what is told when it is not so, and what can no longer be known.

use kpay_sandbox::gateway::Gateway;
use serde_json::{Value, json};

use crate::control::{api, get, ok, paid};
use crate::harness::Running;
use crate::receiver::Receiver;

#[tokio::test]
async fn a_test_pays_advances_waits_and_verifies_and_never_sleeps() {
    let (running, shop) = (Running::start().await, Receiver::acknowledging().await);
    let tid = paid(&running, "ORDER-1", "0780000102", &shop.url("/")).await;
    let advanced = ok(&running, "POST", "clock/advance", json!({ "by": "1s" })).await;
    assert_eq!((&advanced["complete"], &advanced["now"]), (&json!(true), &json!("2026-01-31T12:00:06.000Z")));
    let waited = ok(
        &running,
        "POST",
        "wait",
        json!({ "for": "delivery", "match": { "refid": "ORDER-1", "verdict": "acknowledged", "body.statusid": "01" }, "count": 2 }),
    )
    .await;
    assert_eq!(waited["matched"].as_array().unwrap().len(), 2);
    let verified = ok(
        &running,
        "POST",
        "verify",
        json!({ "expect": [
            { "for": "delivery", "match": { "tid": tid }, "count": 2 },
            { "for": "call", "match": { "action": "pay", "code": 0 }, "count": { "min": 1, "max": 1 } },
            { "for": "transaction", "match": { "status": "successful" } }
        ] }),
    )
    .await;
    assert_eq!(verified["holds"], true);
    let one = get(&running, "transactions/ORDER-1").await;
    assert_eq!(one["tid"], tid);
    let timeline: Vec<&str> =
        one["timeline"].as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(timeline, ["call", "settled", "delivery", "delivery"]);
}

#[tokio::test]
async fn a_wait_in_vain_tells_what_came_nearest_and_why_it_did_not_match() {
    let running = Running::start().await;
    paid(&running, "ORDER-1", "0783300000", "http://127.0.0.1:1/").await;
    let wait =
        json!({ "for": "transaction", "match": { "refid": "ORDER-1", "status": "successful" }, "timeout": "50ms" });
    let (status, problem) = api(&running, "POST", "wait", wait).await;
    assert_eq!(status, 408);
    let error = &problem["error"];
    assert!(error["message"].as_str().unwrap().contains("status is 'pending', wanted 'successful'"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("the clock is paused"), "{error}");
    assert_eq!(error["details"]["nearest"]["refid"], "ORDER-1");

    let verify = json!({ "expect": [{ "for": "delivery", "match": { "refid": "ORDER-1" } }] });
    let (status, problem) = api(&running, "POST", "verify", verify).await;
    assert_eq!(status, 409);
    let message = problem["error"]["message"].as_str().unwrap();
    assert!(message.contains("wanted at least 1 deliveries with refid 'ORDER-1', found 0"), "{message}");
}

#[tokio::test]
async fn what_one_merchant_resets_takes_nothing_from_another() {
    let running = Running::start().await;
    paid(&running, "ORDER-1", "0780000003", "/").await;
    ok(&running, "POST", "reset", json!({ "merchant": "no_api_access" })).await;
    let verify =
        |count: usize| json!({ "expect": [{ "for": "call", "match": { "refid": "ORDER-1" }, "count": count }] });
    ok(&running, "POST", "verify", verify(1)).await;
    ok(&running, "POST", "reset", json!({ "merchant": "your_username" })).await;
    ok(&running, "POST", "verify", verify(0)).await;
}

#[tokio::test]
async fn what_the_journal_has_let_go_is_not_taken_for_what_never_was() {
    let running = Running::start().await;
    paid(&running, "ORDER-1", "0780000003", "/").await;
    let flood = |times| {
        for _ in 0..times {
            let failed = |gateway: &mut Gateway, now| {
                gateway.handle_connection_failure([127, 0, 0, 1].into(), "x".repeat(1024 * 1024), now);
            };
            running.sandbox.door().apply(failed);
        }
    };
    flood(20);
    let verify = |count: Value| json!({ "expect": [{ "for": "call", "count": count }] });
    for count in [json!(0), json!(1), json!({ "max": 5 }), json!({ "min": 1 })] {
        let (status, problem) = api(&running, "POST", "verify", verify(count)).await;
        assert_eq!(status, 409);
        let message = problem["error"]["message"].as_str().unwrap();
        assert!(message.contains("older entries of the journal are gone"), "{message}");
    }
    let (status, problem) = api(&running, "POST", "wait", json!({ "for": "call", "timeout": "10ms" })).await;
    let message = problem["error"]["message"].as_str().unwrap();
    assert!(status == 408 && message.contains("older entries of the journal are gone"), "{message}");
    // A transaction is in the ledger, which forgets nothing.
    ok(&running, "POST", "verify", json!({ "expect": [{ "for": "transaction", "count": 1 }] })).await;
    // Behind a number that is still there, and behind a reset, all is known again.
    let last = running.sandbox.read(|gateway| gateway.journal().last());
    ok(&running, "POST", "verify", json!({ "expect": [{ "for": "call", "count": 0, "after": last }] })).await;
    ok(&running, "POST", "reset?merchant=your_username", json!({})).await;
    flood(3);
    ok(&running, "POST", "verify?merchant=your_username", verify(json!(0))).await;
    assert_eq!(api(&running, "POST", "verify", verify(json!(0))).await.0, 409, "of all merchants not");
}

#[tokio::test]
async fn a_count_that_says_nothing_is_refused() {
    let running = Running::start().await;
    for count in [json!({ "least": 1 }), json!({}), json!(-1), json!("1")] {
        let verify = json!({ "expect": [{ "for": "call", "count": count }] });
        let (status, problem) = api(&running, "POST", "verify", verify).await;
        let message = problem["error"]["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains("expect[0].count: write a number or"), "{count}: {problem}");
    }
}

#[tokio::test]
async fn a_wait_ends_as_soon_as_it_is_met() {
    let running = Running::start().await;
    let wait = json!({ "for": "transaction", "match": { "refid": "ORDER-1", "status": "failed" }, "timeout": "5m" });
    let waiting = api(&running, "POST", "wait", wait);
    let acting = async {
        paid(&running, "ORDER-1", "0780000003", "http://127.0.0.1:1/").await;
        ok(&running, "POST", "transactions/ORDER-1/settle", json!({ "statusid": "02", "statusdesc": "No" })).await
    };
    let ((status, met), settled) = tokio::join!(waiting, acting);
    assert_eq!((status, &met["matched"][0]["statusdesc"]), (200, &json!("No")));
    assert_eq!(settled["status"], "failed");
}
