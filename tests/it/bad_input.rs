//! What bad bodies get: 603 in KPay's shape, with a reason that says what was wrong.

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
        ("amount", json!("1.234")),
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
