//! Payments from `pay` to postback, in virtual time.

use std::time::Duration;

use kpay_sandbox::gateway::call::{Call, Credentials};
use kpay_sandbox::gateway::journal::Event;
use kpay_sandbox::gateway::postback::{Delivery, Failure, Verdict};
use kpay_sandbox::view;
use serde_json::{Value, json};

use crate::core::{Core, acknowledge, answered, good_call, good_pay};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_payment_is_pending_for_a_second_then_settled_and_posted() {
    let mut core = Core::new("documented");
    let answer = core.pay(|_| {});
    let tid = answer["tid"].as_str().unwrap().to_owned();
    assert_eq!(core.check_status(&tid, "")["statusid"], "03");
    assert!(core.advance(Duration::from_millis(999)).is_empty());
    let posted = core.advance(Duration::from_millis(1));
    let body: Value = serde_json::from_slice(&posted[0].1.body).unwrap();
    assert_eq!((posted.len(), &body["statusid"], &body["payaccount"]), (1, &json!("01"), &json!("0783300000")));
    assert_eq!(core.check_status(&tid, ""), body, "checkstatus answers the postback's data");
}

#[test]
fn a_declined_payment_is_posted_without_payaccount() {
    let mut core = Core::new("documented");
    core.pay(|body| body["msisdn"] = json!("+250 780 000 002"));
    let posted = core.advance(SECOND);
    let body: Value = serde_json::from_slice(&posted[0].1.body).unwrap();
    assert_eq!(
        (&body["statusid"], &body["momtransactionid"], body.get("payaccount")),
        (&json!("02"), &json!(""), None)
    );
}

#[test]
fn a_pending_payment_stays_pending_and_posts_nothing() {
    let mut core = Core::new("documented");
    core.pay(|body| body["msisdn"] = json!("0780000003"));
    assert!(core.advance(SECOND * 86_400 * 365).is_empty());
    let status = core.check_status("", "ORDER-1");
    assert!(status["statusid"] == "03" && status["statusdesc"].as_str().unwrap().contains("Pending"));
}

#[test]
fn an_immediate_refusal_keeps_the_refid_and_posts_nothing() {
    let mut core = Core::new("observed");
    let answer = core.pay(|body| body["msisdn"] = json!("0780000606"));
    assert_eq!(
        (&answer["retcode"], &answer["statusmsg"], &answer["url"]),
        (&json!(606), &json!("Not enough funds"), &json!(" "))
    );
    assert!(core.advance(SECOND * 300).is_empty());
    assert_eq!(core.check_status(answer["tid"].as_str().unwrap(), "")["statusid"], "02");
    assert_eq!(core.pay(|_| {})["retcode"], 608);
}

#[test]
fn the_observed_profile_settles_at_second_one_and_posts_a_second_later() {
    let mut core = Core::new("observed");
    let began = core.now; // at second 5 of a minute
    core.pay(|_| {});
    let posted = core.advance(SECOND * 120);
    assert_eq!(posted[0].0.since(began), Duration::from_secs(57), "56 s to second :01, at least 30 s, then one more");
    assert_eq!(posted[0].1.content_type.as_str(), "application/x-www-form-urlencoded");
}

#[test]
fn checkstatus_finds_by_either_id_even_when_they_are_mixed_up() {
    let mut core = Core::new("documented");
    let answer = core.pay(|_| {});
    let tid = answer["tid"].as_str().unwrap();
    for (given_tid, given_refid) in [(tid, "wrong"), ("wrong", "ORDER-1"), ("ORDER-1", ""), ("", "ORDER-1"), ("", tid)]
    {
        assert_eq!(core.check_status(given_tid, given_refid)["tid"], *tid, "{given_tid}, {given_refid}");
    }
}

#[test]
fn a_numeric_refid_of_sixteen_digits_comes_back_digit_for_digit() {
    let mut core = Core::new("documented");
    let body = good_pay().to_string().replace(r#""ORDER-1""#, "9999999999999999");
    let answer: Value = serde_json::from_slice(&core.call(&body).body).unwrap();
    assert_eq!((&answer["refid"], &answer["retcode"]), (&json!("9999999999999999"), &json!(0)));
}

#[test]
fn what_real_clients_send_is_understood() {
    type Change = fn(&mut Value);
    let changes: [Change; 8] = [
        |body| drop(body.as_object_mut().unwrap().remove("action")),
        |body| body["amount"] = json!("5000"),
        |body| body["amount"] = json!(" 12.50 "),
        |body| body["retailerid"] = json!(61),
        |body| body["msisdn"] = json!("+250 783 300 000"),
        |body| body["authkey"] = json!({"deep": ["er"]}),
        |body| body["currency"] = json!(""),
        |body| body["returl"] = json!("/"),
    ];
    let mut core = Core::new("documented");
    for (index, change) in changes.into_iter().enumerate() {
        let answer = core.pay(|body| {
            body["refid"] = json!(index);
            change(body);
        });
        assert_eq!(answer["retcode"], 0, "change {index}: {answer}");
    }
}

#[test]
fn extra_fields_are_kept_for_the_record() {
    let mut core = Core::new("documented");
    core.pay(|body| body["cemail"] = json!("extra@example.rw"));
    let transaction = core.gateway.ledger().iter().next().unwrap();
    assert!(transaction.order.record.iter().any(|(name, value)| name == "cemail" && value == "extra@example.rw"));
}

#[test]
fn a_failed_postback_is_tried_again_as_often_as_allowed() {
    let mut core = Core::with_retries("documented", 2);
    let began = core.now;
    core.pay(|_| {});
    let posted = core.advance_with(SECOND * 60, |postback| answered(postback, 500, "oops"));
    let when: Vec<u64> = posted.iter().map(|(at, _)| at.since(began).as_secs()).collect();
    assert_eq!(when, [1, 2, 4]);
    assert_eq!(posted.iter().map(|(_, postback)| postback.attempt).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn another_response_than_the_guides_is_flagged_and_the_outcome_tells_whether_it_was_received() {
    let mut core = Core::new("documented");
    core.pay(|_| {});
    let (_, postback) = core.advance(SECOND).remove(0);
    assert_eq!(acknowledge(&postback).verdict(), Verdict::Acknowledged);
    for (status, body, word) in [
        (200, "", "empty"),
        (200, "OK", "not a JSON object"),
        (200, r#"{"reply":"OK"}"#, "without tid"),
        (415, "", "Content-Type"),
        (500, "", "500"),
        (302, "", "redirects"),
    ] {
        let judged = view::judged(&answered(&postback, status, body));
        let outcome = if status == 200 { "unacknowledged" } else { "undelivered" };
        assert_eq!((judged.verdict, judged.outcome), ("flagged", outcome), "{status} {body}");
        assert!(judged.reason.is_some_and(|why| why.contains(word)), "{status} {body}");
    }
    let lost = Delivery { outcome: Err(Failure::Unreachable("refused".into())), ..acknowledge(&postback) };
    let judged = view::judged(&lost);
    assert_eq!((judged.verdict, judged.outcome), ("failed", "undelivered"));
}

#[test]
fn a_delivery_of_the_world_before_a_reset_is_dropped() {
    let mut core = Core::new("documented");
    core.pay(|_| {});
    core.now = core.now.after(SECOND);
    let postback = core.gateway.take_due(core.now).remove(0);
    core.gateway.reset(core.now);
    core.gateway.handle_delivery(acknowledge(&postback), core.now);
    assert_eq!(core.gateway.journal().deliveries().count(), 0);
    assert_eq!(core.pay(|_| {})["retcode"], 0, "the refid is free again");
    let numbers: Vec<u64> = core.gateway.journal().after(0).map(|entry| entry.number).collect();
    assert_eq!(numbers, [3, 4], "call and settlement are gone, reset and call are numbered on");
}

#[test]
fn merchants_do_not_see_each_others_payments() {
    let mut core = Core::new("documented");
    let tid = core.pay(|_| {})["tid"].as_str().unwrap().to_owned();
    assert!(core.gateway.ledger().by_tid("your_username", &tid).is_some());
    assert!(core.gateway.ledger().by_tid("no_api_access", &tid).is_none());
}

#[test]
fn the_same_seed_and_calls_give_the_same_journal() {
    let run = || {
        let mut core = Core::new("documented");
        for number in 0..50 {
            core.pay(|body| {
                body["refid"] = json!(number / 2);
                body["msisdn"] = json!(format!("07800000{:02}", number % 4));
            });
            core.advance(Duration::from_millis(300));
        }
        core.advance(SECOND * 10);
        let entries: Vec<String> =
            core.gateway.journal().after(0).map(|entry| kpay_sandbox::view::entry(entry).to_string()).collect();
        entries.join("\n")
    };
    assert_eq!(run(), run());
}

#[test]
fn ten_thousand_postbacks_at_one_instant_leave_within_the_bound_and_all_arrive() {
    let mut core = Core::new("documented");
    for number in 0..10_000 {
        core.pay(|body| body["refid"] = json!(number));
    }
    core.now = core.now.after(SECOND);
    assert_eq!(core.gateway.take_due(core.now).len(), kpay_sandbox::gateway::outbox::LISTENER_LIMIT);
    let mut core = Core { gateway: core.gateway, now: core.now };
    assert!(core.gateway.next_due().is_none(), "nothing leaves until one has come back");
    core.gateway.reset(core.now);
    for number in 0..10_000 {
        core.pay(|body| body["refid"] = json!(number));
    }
    assert_eq!(core.advance(SECOND).len(), 10_000);
    let settled = core.gateway.journal().after(0).filter(|entry| matches!(entry.event, Event::Settled { .. })).count();
    assert_eq!(settled, 10_000);
}

/// The live host and the sandbox host are two systems (contract, section 1).
#[test]
fn a_refid_used_at_one_host_is_free_at_the_other() {
    let mut core = Core::new("documented");
    let mut at = |host: &str, body: Value| -> Value {
        let body = body.to_string();
        let call = Call { host, ..good_call(body.as_bytes()) };
        let answered = core.gateway.handle_call(&call, core.now);
        let mut answer: Value = serde_json::from_slice(&answered.body).unwrap();
        answer["why"] = answered.refusal.map_or(Value::Null, |refusal| refusal.reason.into());
        answer
    };
    let first = at("pay.esicia.com", good_pay());
    let second = at("PAY.esicia.rw:443", good_pay());
    assert_eq!((&first["retcode"], &second["retcode"]), (&json!(0), &json!(0)), "{second}");
    for host in ["pay.esicia.com:443", "localhost:8443", "pay.esicia.rw"] {
        assert_eq!(at(host, good_pay())["retcode"], 608, "{host}");
    }
    let ask = |tid: &Value| json!({ "action": "checkstatus", "tid": tid });
    assert_eq!(at("pay.esicia.rw", ask(&second["tid"]))["statusid"], "03");
    let elsewhere = at("pay.esicia.rw", ask(&first["tid"]));
    assert_eq!(elsewhere["statusid"], "611");
    assert!(elsewhere["why"].as_str().unwrap().contains("The payment was made at pay.esicia.com"), "{elsewhere}");
    let by_refid = at("pay.esicia.rw", json!({ "action": "checkstatus", "refid": "ORDER-1" }));
    assert_eq!(by_refid["tid"], second["tid"]);

    // Both are shown apart, and both are forgotten with their merchant.
    let systems = core.gateway.ledger().of_refid("your_username", "ORDER-1").map(view::transaction);
    assert_eq!(systems.map(|shown| shown["system"].clone()).collect::<Vec<_>>(), ["sandbox", "live"]);
    core.gateway.reset(core.now);
    assert_eq!(core.gateway.ledger().of_refid("your_username", "ORDER-1").count(), 0);
}

/// An account whose list of retailers is closed: only those on it are known.
#[test]
fn a_closed_list_of_retailers_knows_no_others() {
    let mut core = Core::new("documented");
    for (retailer, code) in [("01", 0), ("02", 0), ("03", 605), ("04", 604), ("61", 604)] {
        let mut body = good_pay();
        (body["retailerid"], body["refid"]) = (json!(retailer), json!(retailer));
        let body = body.to_string();
        let credentials = Credentials { username: "closed_list".into(), password: "your_password".into() };
        let call = Call { credentials: Ok(credentials), ..good_call(body.as_bytes()) };
        let answered = core.gateway.handle_call(&call, core.now);
        let answer: Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!(answer["retcode"], code, "{retailer}");
    }
}
