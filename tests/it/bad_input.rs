//! What bad bodies get: 603 in KPay's shape, with a reason that says what was wrong.

use kpay_sandbox::gateway::wire::Param;
use serde_json::{Value, json};

use crate::core::{Core, good_pay};

#[test]
fn a_body_that_is_no_request_is_603_with_the_reason() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_inside = good_pay().to_string().replace(r#""ORDER-1""#, &format!(r#""ORDER-1","more":{deep}"#));
    let twice = good_pay().to_string().replace(r#""refid""#, r#""refid":"A","refid""#);
    let long = format!("{{\"refid\":{}}}", "9".repeat(60_000));
    let many = format!("{{{}}}", (0..300).map(|n| format!("\"x{n}\":1")).collect::<Vec<_>>().join(","));
    let cases: [(&[u8], &str); 13] = [
        (b"", "empty"),
        (b"hello", "not a JSON object"),
        (b"[]", "array"),
        (b"\"pay\"", "string"),
        (b"{", "not usable JSON"),
        (b"{\"refid\":\"\xff\"}", "UTF-8"),
        (b"msisdn=0783300000&amount=5000", "form"),
        (b"{\"refid\":\"\\ud800\"}", "refid"),
        (deep.as_bytes(), "array"),
        (deep_inside.as_bytes(), "nested too deeply"),
        (twice.as_bytes(), "refid stands there twice"),
        (long.as_bytes(), "missing"),
        (many.as_bytes(), "more than 256"),
    ];
    for (body, word) in cases {
        let mut core = Core::new("documented");
        let answered = core.call_with(|_| {}, body);
        let answer: Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!(answer["retcode"], 603, "{word}");
        let reason = answered.refusal.unwrap().reason;
        assert!(reason.contains(word), "{reason:.200} does not say '{word}'");
    }
}

#[test]
fn an_unusable_parameter_is_603_and_named() {
    let cases = [
        ("amount", json!(0)),
        ("amount", json!(-5)),
        ("amount", json!("abc")),
        ("amount", json!("1,000")),
        ("amount", json!("NaN")),
        ("amount", json!(1e300)),
        ("amount", json!("9".repeat(40))),
        ("amount", json!("0.00")),
        ("amount", json!(true)),
        ("currency", json!("EUR")),
        ("currency", json!(1)),
        ("msisdn", json!("abc")),
        ("msisdn", json!("12345")),
        ("email", json!("  ")),
        ("cname", json!(["a"])),
        ("details", json!({})),
        ("refid", json!(1.5)),
        ("refid", json!("r".repeat(256))),
        ("returl", json!(null)),
        ("bankid", json!("")),
        ("action", json!("refund")),
        ("logourl", json!([])),
    ];
    for (name, value) in cases {
        let mut core = Core::new("documented");
        let mut body = good_pay();
        body[name] = value.clone();
        let answered = core.call(&body.to_string());
        let refusal = answered.refusal.unwrap_or_else(|| panic!("{name}: {value} was accepted"));
        assert!(refusal.reason.contains(name), "{name}: {value}: {}", refusal.reason);
        assert_eq!(serde_json::from_slice::<Value>(&answered.body).unwrap()["retcode"], 603);
    }
}

#[test]
fn no_parameter_is_longer_than_its_limit_which_counts_characters() {
    for param in Param::ALL.into_iter().filter(|param| *param != Param::Tid) {
        let (name, limit) = (param.name(), param.limit());
        // Every spelling of a text is measured: with escapes, in two bytes a character, with blanks, as a number.
        for (kind, character) in [("plain", "1"), ("escaped", "\\u0041"), ("two bytes", "é"), ("blank", " ")] {
            let text = format!("1{}", character.repeat(limit));
            let body = good_pay();
            let body = format!("{},\"{name}\":\"{text}\"}}", without(&body, name).trim_end_matches('}'));
            let answered = Core::new("documented").call(&body);
            let reason = answered.refusal.unwrap_or_else(|| panic!("{name} ({kind}) was accepted")).reason;
            assert!(reason.contains(&format!("{name} is longer than {limit} characters")), "{kind}: {reason}");
        }
    }
    let mut core = Core::new("documented");
    let longest = "é".repeat(255);
    let answer = core.pay(|body| {
        (body["refid"], body["cname"]) = (json!(longest), json!(longest));
        body["returl"] = json!(format!("http://localhost/{}", "a".repeat(1983)));
    });
    assert_eq!((&answer["retcode"], &answer["refid"]), (&json!(0), &json!(longest)));
    let asked = json!({ "action": "checkstatus", "tid": "E".repeat(65) }).to_string();
    assert!(core.call(&asked).refusal.unwrap().reason.contains("tid is longer than 64 characters"));
}

/// An object without one of its fields, as text.
fn without(object: &Value, name: &str) -> String {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(name);
    object.to_string()
}

#[test]
fn a_postback_that_is_repeated_keeps_one_body() {
    let mut core = Core::new("documented");
    let body = format!("{}{}", "{refid}".repeat(40), "x".repeat(1000));
    let parts =
        json!({ "steps": [{ "after": "1s", "do": { "postback": { "body": body, "count": 100, "every": "1s" } } }] });
    core.gateway.put_scenario(crate::scenarios::scenario(parts), None).unwrap();
    let refid = "r".repeat(255);
    let message = {
        let mut body = good_pay();
        body["refid"] = json!(refid);
        body.to_string()
    };
    core.call_with(|call| call.scenario = Some("own"), message.as_bytes());
    let posted = core.advance(std::time::Duration::from_secs(200));
    assert_eq!(posted.len(), 100);
    assert_eq!(posted[0].1.body.len(), 40 * 255 + 1000);
    assert!(posted.iter().all(|(_, one)| std::sync::Arc::ptr_eq(&one.body, &posted[0].1.body)));
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let mut core = Core::new("documented");
    let reason = core.call("{}").refusal.unwrap().reason;
    for name in [
        "msisdn",
        "email",
        "details",
        "refid",
        "amount",
        "cname",
        "cnumber",
        "pmethod",
        "retailerid",
        "returl",
        "redirecturl",
        "bankid",
    ] {
        assert!(reason.contains(&format!("{name} is missing")), "{reason}");
    }
    let mut core = Core::new("observed");
    assert!(!core.call("{}").refusal.unwrap().reason.contains("bankid"), "optional there");
}

#[test]
fn any_prefix_of_a_request_is_refused_without_a_panic() {
    let body = good_pay().to_string();
    let mut core = Core::new("documented");
    for end in 0..body.len() {
        assert!(core.call_with(|_| {}, &body.as_bytes()[..end]).refusal.is_some());
    }
}

#[test]
fn a_fixture_that_cannot_work_is_refused_with_file_and_place() {
    let scenario = |name: &str, rest: &str| {
        format!(r#"{{ "name": "{name}", "description": "x", "grade": "assumed", "answer": "accepted"{rest} }}"#)
    };
    let cases = [
        ("scenarios/x.json", scenario("x", r#", "stps": []"#), "unknown field `stps`"),
        ("scenarios/x.json", scenario("y", ""), "not the file's name"),
        ("scenarios/x.json", scenario("x", r#", "when": { "msisdn": [] }"#), "never matches"),
        ("scenarios/x.json", scenario("x", r#", "chain": ["none"]"#), "'none' is no scenario"),
        ("scenarios/x.json", scenario("x", r#", "steps": [{ "after": "-1s", "do": "postback" }]"#), "negative"),
        (
            "scenarios/x.json",
            scenario("x", r#", "steps": [{ "do": { "settle": { "statusid": "03" } } }]"#),
            "means pending",
        ),
        ("merchants.json", "[]".into(), "empty"),
        ("merchants.json", "[".into(), "line 1"),
        ("merchant.json", "[]".into(), "is no fixture"),
    ];
    for (file, text, word) in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("scenarios")).unwrap();
        std::fs::write(folder.path().join(file), text).unwrap();
        let error = kpay_sandbox::fixtures::Fixtures::load(Some(folder.path())).unwrap_err().to_string();
        let name = file.rsplit('/').next().unwrap();
        assert!(error.contains(name) && error.contains(word), "{error}");
    }
}

#[test]
fn the_test_cards_have_sound_numbers() {
    let cards: Vec<Value> = serde_json::from_str(include_str!("../../fixtures/cards.json")).unwrap();
    assert_eq!(cards.len(), 49);
    for card in cards {
        let digits = card["number"].as_str().unwrap().bytes().rev().map(|digit| u32::from(digit - b'0')).enumerate();
        let sum: u32 =
            digits.map(|(place, digit)| if place % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit }).sum();
        assert_eq!(sum % 10, 0, "{card}");
    }
}
