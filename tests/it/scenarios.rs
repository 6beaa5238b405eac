//! The script language in virtual time: what each built-in scenario does, and every part that a script can change.

use std::collections::BTreeSet;
use std::time::Duration;

use kpay_sandbox::gateway::choice::{Choice, Next};
use kpay_sandbox::gateway::postback::Postback;
use kpay_sandbox::gateway::scenario::{Fault, Scenario, Settlement, When};
use serde_json::{Value, json};

use crate::core::{Core, acknowledge, answered, line_of};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn scenario(text: Value) -> Scenario {
    let mut text = text;
    text["name"] = "own".into();
    let scenario: Scenario = kpay_sandbox::fixtures::read_json(text.to_string().as_bytes()).expect("it reads");
    assert_eq!(scenario.complaint(), None);
    scenario
}

fn with_scenario(text: Value) -> Core {
    let mut core = Core::with("documented", |settings| settings.scenario = Some("own".into()));
    core.gateway.put_scenario(scenario(text), None).unwrap();
    core
}

fn settlement(statusid: &str) -> Settlement {
    serde_json::from_value(json!({ "statusid": statusid })).unwrap()
}

/// What a postback says, or its raw bytes where it says nothing.
fn said(postback: &Postback) -> String {
    let body: Value = serde_json::from_slice(&postback.body).unwrap_or_default();
    body["statusid"].as_str().map_or_else(|| format!("{:?}", postback.text()), str::to_owned)
}

/// What a payment by scenario does: the code answered, the fault on its way, what is posted when, and what
/// checkstatus says in the end.
fn story(name: &str) -> String {
    let mut core = Core::new("documented");
    core.gateway.put_merchant(serde_json::from_value(merchant("your_username", name)).unwrap()).unwrap();
    let body = crate::core::good_pay().to_string();
    let answer = core.call(&body);
    let code: Value = serde_json::from_slice(&answer.body).unwrap();
    let began = core.now;
    let posted = core.advance(SECOND * 86_400);
    let posted: Vec<String> =
        posted.iter().map(|(at, one)| format!("{}s {}", at.since(began).as_secs(), said(one))).collect();
    let fault = answer.fault.map_or_else(String::new, |fault| format!(" {}", fault.word()));
    let held = if answer.ticket.is_some() { " held" } else { "" };
    let status = core.check_status("", "ORDER-1")["statusid"].as_str().unwrap_or("no statusid").to_owned();
    format!("{}{fault}{held} | {} | {status}", code["retcode"], posted.join(", "))
}

fn merchant(username: &str, scenario: &str) -> Value {
    json!({ "username": username, "password": "your_password", "scenario": scenario })
}

#[test]
fn each_built_in_scenario_does_what_its_line_says() {
    let retcode = |code: u16| format!("{code} |  | 611");
    let cut = r#""{\"tid\":\"E6970011769860805\",\"refid\":\"ORDE""#;
    let broken = r#""{\"tid\":\"E6970011769860805\",\"refid\":\"ORDER-1\",\"statusid\":\"01\",}""#;
    let mut expected: Vec<(String, String)> = [
        ("approve", "0 | 1s 01 | 01"),
        ("immediate", "0 |  | 01"),
        ("decline", "0 | 1s 02 | 02"),
        ("pending", "0 |  | 03"),
        ("expired", "0 | 300s 02 | 02"),
        ("late-approve", "0 | 600s 01 | 01"),
        ("approve-after-decline", "0 | 1s 02, 61s 01 | 01"),
        ("reversed", "0 | 1s 01, 3601s 02 | 02"),
        ("approve-at-third-try", "0 | 1s 02 | 02"),
        ("await-payer", "0 |  | 03"),
        ("insufficient-funds", "606 |  | 02"),
        ("processor-error", "0 | 1s 682 | 682"),
        ("retcode-606", "606 |  | 02"),
        ("retcode-607", "607 |  | 02"),
        ("retcode-611", "0 | 1s 01 | 611"),
        ("lost-postback", "0 |  | 01"),
        ("duplicate-postback", "0 | 1s 01, 1s 01 | 01"),
        ("reordered-postbacks", "0 |  | 01"),
        ("early-postback", "0 held | 0s 01 | 01"),
        ("slow-postback", "0 | 121s 01 | 01"),
        ("retried-postback", "0 | 1s 01 | 01"),
        ("malformed-postback", &format!("0 | 1s {broken} | 01")),
        ("truncated-postback", &format!("0 | 1s {cut} | 01")),
        ("empty-postback", "0 | 1s \"\" | 01"),
        ("form-labelled-postback", "0 | 1s 01 | 01"),
        ("wrong-refid-postback", "0 | 1s 01 | 01"),
        ("unknown-tid-postback", "0 | 1s 01 | 01"),
        ("contradicting-postback", "0 | 1s 01 | 02"),
        ("extra-fields", "0 | 1s 01 | 01"),
        ("status-lags", "0 | 1s 01 | 01"),
        ("status-not-found-at-first", "0 | 1s 01 | 611"),
        ("answer-slow", "0 held | 36s 01 | 01"),
        ("answer-delayed", "0 held | 6s 01 | 01"),
        ("answer-never", "0 never | 1s 01 | 01"),
        ("answer-reset", "0 reset | 1s 01 | 01"),
        ("answer-html-502", "0 http | 1s 01 | 01"),
        ("answer-empty", "0 empty | 1s 01 | 01"),
        ("answer-malformed", "0 malformed | 1s 01 | 01"),
        ("answer-cut", "0 cut | 1s 01 | 01"),
        ("answer-trickled", "0 trickle | 1s 01 | 01"),
        ("blank-url", "0 | 1s 01 | 01"),
    ]
    .map(|(name, does)| (name.to_owned(), does.to_owned()))
    .into();
    for code in [401, 500, 600, 601, 602, 603, 604, 605, 608, 609, 610] {
        expected.push((format!("retcode-{code}"), retcode(code)));
    }
    for (name, does) in &expected {
        assert_eq!(&story(name), does, "{name}");
    }
    let core = Core::new("documented");
    let known: BTreeSet<String> =
        core.gateway.repertoire().of(None).map(|known| known.scenario.name.to_string()).collect();
    assert_eq!(expected.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), known);
}

#[test]
fn a_magic_number_chooses_its_scenario_in_every_spelling_and_no_two_share_one() {
    let core = Core::new("documented");
    let mut met = BTreeSet::new();
    let known: Vec<_> = core.gateway.repertoire().of(None).map(|known| known.scenario.clone()).collect();
    for scenario in known {
        for payer in scenario.when.iter().filter_map(When::payers).flatten() {
            let national = payer.as_str().to_owned();
            assert!(met.insert(national.clone()), "{national} belongs to two");
            for spelling in [national.clone(), format!("25{national}"), format!("+25{}", national)] {
                let mut core = Core::new("documented");
                core.pay(|body| body["msisdn"] = json!(spelling));
                let entries: Vec<_> = core.gateway.journal().after(0).map(kpay_sandbox::view::entry).collect();
                let call = entries.iter().find(|entry| entry["event"] == "call").unwrap();
                let chosen = call["scenario"].as_str().unwrap();
                let expected = if scenario.chain.is_empty() { &*scenario.name } else { &*scenario.chain[0] };
                assert_eq!((chosen, &call["chosen"]), (expected, &json!("when")), "{spelling}");
            }
        }
    }
    assert!(met.len() > 80);
}

#[test]
fn a_condition_matches_exactly_by_pattern_list_range_and_presence() {
    let takes = |when: Value| {
        let mut core = Core::new("documented");
        let own = scenario(json!({ "when": when, "answer": { "settled": { "statusid": "01" } } }));
        core.gateway.put_scenario(own, None).unwrap();
        core.pay(|body| body["extra"] = json!({ "deep": 1 }))["statusid"] == "01"
    };
    for (when, expected) in [
        (json!({ "details": "order" }), true),
        (json!({ "details": "Order" }), false),
        (json!({ "details": "ord*" }), true),
        (json!({ "details": "*d*r" }), true),
        (json!({ "details": "o?der" }), true),
        (json!({ "details": "?order" }), false),
        (json!({ "refid": ["A", "ORDER-*"] }), true),
        (json!({ "refid": ["A", "B"] }), false),
        (json!({ "amount": 5000 }), true),
        (json!({ "amount": "5000" }), true),
        (json!({ "amount": { "min": 5000 } }), true),
        (json!({ "amount": { "min": 1, "max": 4999.99 } }), false),
        (json!({ "details": { "min": 1 } }), false),
        (json!({ "logourl": { "present": false } }), true),
        (json!({ "logourl": { "present": true } }), false),
        (json!({ "extra": { "present": true } }), true),
        (json!({ "msisdn": "25078330*" }), true),
        (json!({ "msisdn": "+250 783 300 000" }), true),
        (json!({ "msisdn": "0783300001" }), false),
        (json!({ "amount": 5000, "pmethod": "momo" }), true),
        (json!({ "amount": 5000, "pmethod": "cc" }), false),
    ] {
        assert_eq!(takes(when.clone()), expected, "{when}");
    }
}

#[test]
fn the_first_rule_that_applies_chooses() {
    let mut core = Core::with("documented", |settings| settings.scenario = Some("expired".into()));
    let next = |core: &mut Core, name: &str| {
        let scenario = core.gateway.repertoire().get(name, None).unwrap().clone();
        core.gateway.queue(Next { merchant: None, when: None, times: 1, scenario }).unwrap();
    };
    let mut refid = 0;
    let mut chosen = |core: &mut Core, header: Option<&'static str>, msisdn: &str| {
        refid += 1;
        let mut body = crate::core::good_pay();
        (body["refid"], body["msisdn"]) = (json!(refid), json!(msisdn));
        core.call_with(|call| call.scenario = header, body.to_string().as_bytes());
        let transaction = core.gateway.ledger().iter().last().unwrap();
        (transaction.scenario.name.to_string(), transaction.choice)
    };
    next(&mut core, "reversed");
    let own = |name: &str, choice| (name.to_owned(), choice);
    assert_eq!(chosen(&mut core, Some("pending"), "0780000002"), own("reversed", Choice::Next));
    assert_eq!(chosen(&mut core, Some("pending"), "0780000002"), own("pending", Choice::Header));
    assert_eq!(chosen(&mut core, None, "0780000002"), own("decline", Choice::When));
    assert_eq!(chosen(&mut core, None, "0783300000"), own("expired", Choice::Setting));
    core.gateway.put_merchant(serde_json::from_value(merchant("your_username", "late-approve")).unwrap()).unwrap();
    assert_eq!(chosen(&mut core, None, "0783300000"), own("late-approve", Choice::Merchant));
    let mut core = Core::new("documented");
    assert_eq!(chosen(&mut core, None, "0783300000"), own("approve", Choice::Default));
}

#[test]
fn the_queue_is_consumed_as_often_as_said_by_whom_and_what_it_is_for() {
    let mut core = Core::new("documented");
    let decline = core.gateway.repertoire().get("retcode-607", None).unwrap().clone();
    let when: When = serde_json::from_value(json!({ "amount": { "min": 1000 } })).unwrap();
    let next = Next { merchant: Some("your_username".into()), when: Some(when), times: 2, scenario: decline };
    core.gateway.queue(Next { merchant: Some("somebody".into()), ..next.clone() }).unwrap();
    core.gateway.queue(next.clone()).unwrap();
    let codes: Vec<Value> = [5000, 10, 5000, 5000]
        .iter()
        .enumerate()
        .map(|(number, amount)| {
            core.pay(|body| (body["refid"], body["amount"]) = (json!(number), json!(amount)))["retcode"].clone()
        })
        .collect();
    assert_eq!(codes, [json!(607), json!(0), json!(607), json!(0)]);
    assert_eq!(core.gateway.chooser().queued().count(), 1, "the other merchant's still waits");
    assert!(core.gateway.queue(Next { times: 0, ..next }).is_err());
}

#[test]
fn a_chain_is_consumed_by_each_payer_alone() {
    let mut core = Core::with("documented", |settings| settings.scenario = Some("approve-at-third-try".into()));
    let mut outcomes = Vec::new();
    for (number, payer) in ["0783300000", "+250783300000", "0789999999", "0783300000", "0783300000"].iter().enumerate()
    {
        core.pay(|body| (body["refid"], body["msisdn"]) = (json!(number), json!(payer)));
        outcomes.push(said(&core.advance(SECOND).remove(0).1));
    }
    assert_eq!(outcomes, ["02", "02", "02", "01", "01"]);
}

#[test]
fn every_part_of_a_postback_can_be_changed() {
    let mut core = with_scenario(json!({ "steps": [
        { "after": "2s", "do": { "settle": { "statusid": "01", "statusdesc": "Murakoze" } } },
        { "after": "0s", "do": { "postback": {
            "fields": { "statusdesc": null, "refid": "X-{refid}", "fee": 12, "of": ["{tid}", "{other}"] },
            "content_type": "text/plain", "method": "PUT", "target": "http://elsewhere/{refid}", "count": 2, "every": "3s"
        } } },
        { "after": "1s", "do": { "postback": { "says": { "statusid": "03" } } } },
        { "after": "1s", "do": { "postback": { "body": "{tid}", "cut_at": 3 } } }
    ] }));
    let began = core.now;
    core.pay(|_| {});
    let posted = core.advance(SECOND * 60);
    let seconds: Vec<u64> = posted.iter().map(|(at, _)| at.since(began).as_secs()).collect();
    assert_eq!(seconds, [2, 5, 6, 7], "the next step counts from the last repetition");
    let first = &posted[0].1;
    let tid = &first.tid;
    assert_eq!(
        first.text(),
        format!(
            r#"{{"tid":"{tid}","refid":"X-ORDER-1","momtransactionid":"2832455390","payaccount":"0783300000","statusid":"01","fee":12,"of":["{tid}","{{other}}"]}}"#
        )
    );
    assert_eq!(
        (&*first.content_type, &*first.method, &*first.target),
        ("text/plain", "PUT", "http://elsewhere/ORDER-1")
    );
    assert_eq!(first.text(), posted[1].1.text(), "the same bytes again");
    assert_eq!((said(&posted[2].1), posted[3].1.text()), ("03".into(), tid[..3].into()));
}

#[test]
fn repeating_ends_with_the_acknowledgement_and_goes_on_without() {
    for (acknowledged_at, expected) in [(3, vec![1, 11, 21]), (99, vec![1, 11, 21, 31, 41])] {
        let mut core = Core::new("documented");
        let began = core.now;
        core.pay(|body| body["msisdn"] = json!("0780000106"));
        let posted = core.advance_with(SECOND * 600, |postback| {
            if postback.attempt >= acknowledged_at { acknowledge(postback) } else { answered(postback, 200, "thanks") }
        });
        let seconds: Vec<u64> = posted.iter().map(|(at, _)| at.since(began).as_secs()).collect();
        assert_eq!(seconds, expected);
    }
}

#[test]
fn held_postbacks_leave_together_in_the_order_that_is_said_one_after_the_other() {
    let order = |release: &str, seed: u64| {
        let mut core = Core::with("documented", |settings| {
            settings.scenario = Some("own".into());
            settings.disorder_seed = seed;
        });
        let own = json!({ "steps": [
            { "do": { "settle": { "statusid": "01" } } },
            { "do": { "postback": { "hold": { "until": 6, "release": release } } } },
            { "after": "5s", "do": "postback" }
        ] });
        core.gateway.put_scenario(scenario(own), None).unwrap();
        for number in 0..6 {
            assert_eq!(core.advance(SECOND * 10).len(), 0, "they wait for the last");
            core.pay(|body| body["refid"] = json!(number));
        }
        core.now = core.now.after(SECOND);
        let first = core.gateway.take_due(core.now);
        assert_eq!(first.len(), 1, "the next leaves when this one has come back");
        let mut refids = vec![first[0].refid.to_string()];
        core.gateway.handle_delivery(acknowledge(&first[0]), core.now);
        let rest = core.advance(SECOND);
        refids.extend(rest.iter().map(|(_, postback)| postback.refid.to_string()));
        assert_eq!(core.advance(SECOND * 5).len(), 6, "their scripts go on");
        refids.join("")
    };
    assert_eq!(order("unchanged", 1), "012345");
    assert_eq!(order("reversed", 1), "543210");
    let shuffled = order("shuffled", 1);
    assert_eq!(shuffled, order("shuffled", 1), "by the seed");
    assert!((2..20).any(|seed| order("shuffled", seed) != shuffled));
}

#[test]
fn an_answer_waits_for_its_time_or_for_the_postback() {
    let mut core = Core::new("documented");
    let pay = |core: &mut Core, msisdn: &str| {
        let mut body = crate::core::good_pay();
        (body["msisdn"], body["refid"]) = (json!(msisdn), json!(msisdn));
        core.call(&body.to_string()).ticket.expect("it is kept back")
    };
    let slow = pay(&mut core, "0780000301");
    core.advance(Duration::from_millis(34_999));
    assert!(core.gateway.is_held(slow));
    core.advance(Duration::from_millis(1));
    assert!(!core.gateway.is_held(slow));

    let early = pay(&mut core, "0780000104");
    let postback = core.gateway.take_due(core.now).remove(0);
    assert!(core.gateway.is_held(early), "not before the listener has answered");
    core.gateway.handle_delivery(acknowledge(&postback), core.now);
    assert!(!core.gateway.is_held(early));

    let forgotten = pay(&mut core, "0730000301");
    core.gateway.reset(core.now);
    assert!(!core.gateway.is_held(forgotten), "nobody waits for a world that is gone");
}

#[test]
fn checkstatus_follows_its_phases_by_calls_and_by_time() {
    let mut core = with_scenario(json!({
        "checkstatus": [
            { "calls": 2, "refused": { "retcode": 611 } },
            { "for": "10s", "status": { "statusid": "03", "statusdesc": "Pending, says {refid}" } },
            { "for": "10s", "since": "settled", "refused": { "retcode": 606 } },
            { "calls": 1, "fault": "empty" },
        ],
        "steps": [{ "after": "15s", "do": { "settle": { "statusid": "01" } } }]
    }));
    core.pay(|_| {});
    let ask = |core: &mut Core| core.check_status("", "ORDER-1");
    assert_eq!((&ask(&mut core)["statusid"], &ask(&mut core)["statusid"]), (&json!("611"), &json!("611")));
    assert_eq!(ask(&mut core)["statusid"], "03");
    core.advance(SECOND * 9);
    assert_eq!(ask(&mut core)["statusdesc"], "Pending, says {refid}", "no placeholders in words");
    core.advance(SECOND);
    assert_eq!(ask(&mut core)["retcode"], 606, "goes on until there is a result");
    core.advance(SECOND * 10);
    assert_eq!(ask(&mut core)["retcode"], 606);
    core.advance(SECOND * 5);
    let fault = core.call(r#"{"action":"checkstatus","refid":"ORDER-1"}"#).fault;
    assert_eq!(fault, Some(Fault::Empty));
    assert_eq!(ask(&mut core)["statusid"], "01", "the truth in the end");
}

#[test]
fn settling_by_hand_takes_the_place_of_the_scripts_next_result() {
    let posted = |msisdn: &str, before: Duration, statusid: &str| {
        let mut core = Core::new("documented");
        core.pay(|body| body["msisdn"] = json!(msisdn));
        core.advance(before);
        assert!(core.gateway.settle_by_hand("E6970011769860805", &settlement(statusid), core.now));
        let posted: Vec<String> = core.advance(SECOND * 86_400).iter().map(|(_, one)| said(one)).collect();
        posted.join(" ")
    };
    assert_eq!(posted("0780000003", SECOND, "01"), "01", "pending: one postback follows");
    assert_eq!(posted("0780000009", SECOND, "02"), "02", "the payer was waited for");
    assert_eq!(posted("0783300000", Duration::ZERO, "02"), "02", "before the script's own result");
    assert_eq!(posted("0783300000", SECOND * 5, "02"), "02", "after it: told again");
    assert_eq!(posted("0780000007", SECOND * 5, "01"), "01", "in place of the reversal");
    assert_eq!(posted("0780000101", Duration::ZERO, "01"), "", "a lost postback stays lost");
    let mut core = Core::new("documented");
    assert!(!core.gateway.settle_by_hand("E1", &settlement("01"), core.now));
    assert!(core.gateway.post_by_hand("E1", &Default::default(), core.now).is_err());
}

#[test]
fn a_held_postback_is_not_told_twice_when_its_payment_is_settled_by_hand() {
    let mut core = Core::new("documented");
    core.pay(|body| body["msisdn"] = json!("0780000103"));
    core.advance(SECOND);
    assert_eq!(core.gateway.held(), 1);
    assert!(core.gateway.settle_by_hand("E6970011769860805", &settlement("02"), core.now));
    assert!(core.advance(SECOND).is_empty());
    core.pay(|body| (body["refid"], body["msisdn"]) = (json!("B"), json!("0780000103")));
    let told: Vec<(String, String)> =
        core.advance(SECOND).iter().map(|(_, one)| (one.refid.to_string(), said(one))).collect();
    let one = |refid: &str, statusid: &str| (refid.to_owned(), statusid.to_owned());
    assert_eq!(told, [one("B", "01"), one("ORDER-1", "02")], "once each, and the new result");
}

#[test]
fn a_payer_who_takes_too_long_settles_as_said() {
    let mut core = with_scenario(json!({ "steps": [
        { "do": { "await": { "up_to": "3m", "else": { "statusid": "682" } } } }, { "do": "postback" }
    ] }));
    core.pay(|_| {});
    assert!(core.advance(SECOND * 179).is_empty());
    assert!(core.gateway.awaits_payer("E6970011769860805"));
    assert_eq!(said(&core.advance(SECOND)[0].1), "682");
    assert!(!core.gateway.awaits_payer("E6970011769860805"));
}

#[test]
fn a_replay_sends_the_same_bytes() {
    let mut core = Core::new("documented");
    core.pay(|body| body["msisdn"] = json!("0780000107"));
    let (_, first) = core.advance(SECOND).remove(0);
    let recorded = core.gateway.journal().deliveries().next().unwrap().clone();
    assert_eq!(core.gateway.replay(&recorded), Some(2));
    let (_, again) = core.advance(Duration::ZERO).remove(0);
    assert_eq!((&again.body, again.number), (&first.body, 2));
    core.gateway.reset(core.now);
    assert_eq!(core.gateway.replay(&recorded), None, "its transaction is forgotten");
}

#[test]
fn chaos_takes_its_share_by_the_seed_and_changes_no_id() {
    let run = |chaos: f64| {
        let mut core = Core::with("documented", |settings| settings.chaos = chaos);
        for number in 0..400 {
            core.pay(|body| body["refid"] = json!(number));
        }
        let lines = core.gateway.journal().after(0).map(line_of);
        for line in lines.filter(|line| line.contains("by chaos")) {
            let (_, name) =
                line.split_once("again with the header X-KPay-Sandbox-Scenario: ").expect("what reproduces it");
            let name = name.split(')').next().unwrap();
            assert!(core.gateway.repertoire().get(name, None).is_some(), "{line}");
        }
        let ledger = core.gateway.ledger().iter();
        let all: Vec<_> = ledger.map(|one| (one.tid.clone(), one.scenario.name.clone(), one.choice)).collect();
        all
    };
    let (calm, chaos) = (run(0.0), run(0.25));
    assert_eq!(chaos, run(0.25), "the same seed, the same chaos");
    let hits = chaos.iter().filter(|(.., choice)| *choice == Choice::Chaos).count();
    assert!((60..140).contains(&hits), "{hits} of 400");
    assert!(calm.iter().map(|(tid, ..)| tid).eq(chaos.iter().map(|(tid, ..)| tid)));
    let names: BTreeSet<_> =
        chaos.iter().filter(|(.., choice)| *choice == Choice::Chaos).map(|(_, name, _)| name).collect();
    assert!(names.len() > 10 && !names.iter().any(|name| ***name == *"reordered-postbacks"), "{names:?}");
}

#[test]
fn every_built_in_scenario_is_reproduced_in_other_languages_too() {
    let rows = include_str!("../reproduce/expected.tsv").lines().map(|row| row.split('\t').next().unwrap().to_owned());
    let core = Core::new("documented");
    let known = core.gateway.repertoire().of(None).map(|known| known.scenario.name.to_string());
    assert_eq!(rows.collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
}
