//! Scenario files: what is wrong in one is refused with its place, and the schema for editors agrees.

use kpay_sandbox::gateway::scenario::Scenario;
use serde_json::{Value, json};

fn schema() -> jsonschema::Validator {
    let text = include_str!("../../fixtures/scenario.schema.json");
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

/// What loading says about a scenario with these parts; empty when nothing.
fn complaint(parts: &Value) -> String {
    let read: Result<Scenario, String> = kpay_sandbox::fixtures::read_json(named(parts).to_string().as_bytes());
    match read {
        Ok(scenario) => scenario.complaint().unwrap_or_default(),
        Err(why) => why,
    }
}

fn named(parts: &Value) -> Value {
    let mut scenario = json!({ "name": "own", "description": "Own.", "grade": "assumed" });
    for (name, value) in parts.as_object().unwrap() {
        scenario[name] = value.clone();
    }
    scenario
}

/// A scenario's parts, where loading finds them wrong, and whether an editor can see it by the schema alone.
#[allow(clippy::too_many_lines, reason = "a table")]
fn wrong() -> Vec<(Value, &'static str, bool)> {
    let step = |action: Value| json!({ "steps": [{ "do": action }] });
    vec![
        (json!({ "stps": [] }), "stps: unknown field", true),
        (json!({ "name": "Own Name" }), "name: 'Own Name'", true),
        (json!({ "grade": "certain" }), "grade: unknown variant `certain`", true),
        (json!({ "when": {} }), "when: an empty condition", true),
        (json!({ "when": { "msisdn": [] } }), "when.msisdn: an empty list never matches", true),
        (json!({ "when": { "msisdn": "12" } }), "when.msisdn: '12' is not a phone number", false),
        (json!({ "when": { "amount": { "min": 5, "max": 4 } } }), "when.amount: min is more than max", false),
        (json!({ "when": { "amount": {} } }), "when.amount: a range needs min or max", true),
        (json!({ "when": { "amount": { "least": 4 } } }), "when.amount.least: unknown field", true),
        (json!({ "when": { "amount": null } }), "when.amount: invalid type: null, expected a text", true),
        (json!({ "when": { "email": { "present": false } } }), "when.email: never matches", false),
        (json!({ "chain": ["approve"], "steps": [{ "do": "postback" }] }), "chain: the scenarios it names", false),
        (json!({ "description": "x".repeat(1001) }), "description: it has 1001 bytes: at most 1000", false),
        (
            step(json!({ "postback": { "body": "{msisdn}{refid}".repeat(3000) } })),
            "steps[0].do.postback.body: with its placeholders replaced it can have",
            false,
        ),
        (
            step(json!({ "postback": { "fields": { "a": [{ "b": "{refid}".repeat(50) }] } } })),
            "steps[0].do.postback.fields: with its placeholders replaced",
            false,
        ),
        (step(json!({ "postback": { "method": "CONNECT" } })), "steps[0].do.postback.method: CONNECT asks", false),
        (
            step(json!({ "postback": { "target": "{refid}".repeat(6) } })),
            "steps[0].do.postback.target: with its",
            false,
        ),
        (
            step(json!({ "postback": { "says": { "statusid": "01", "statusdesc": "x".repeat(1001) } } })),
            "steps[0].do.postback.says.statusdesc: it has 1001",
            false,
        ),
        (
            step(json!({ "settle": { "statusid": "02", "statusdesc": "x".repeat(1001) } })),
            "steps[0].do.settle.statusdesc: it has 1001",
            false,
        ),
        (
            step(json!({ "await": { "up_to": "1m", "else": { "statusid": "02", "statusdesc": "x".repeat(1001) } } })),
            "steps[0].do.await.else.statusdesc: it has 1001",
            false,
        ),
        (
            json!({ "answer": { "fields": { "a": "{refid}".repeat(50) } } }),
            "answer.fields: with its placeholders",
            false,
        ),
        (
            json!({ "answer": { "settled": { "statusid": "01", "statusdesc": "x".repeat(1001) } } }),
            "answer.settled.statusdesc: it has 1001",
            false,
        ),
        (
            json!({ "answer": { "fault": { "http": { "status": 502, "body": "x".repeat(65537) } } } }),
            "answer.fault.http.body: it has 65537",
            false,
        ),
        (
            json!({ "checkstatus": [{ "fields": { "{refid}{refid}": "{refid}".repeat(50) } }] }),
            "checkstatus[0].fields: with its placeholders",
            false,
        ),
        (
            json!({ "checkstatus": [{ "status": { "statusid": "01", "statusdesc": "x".repeat(1001) } }] }),
            "checkstatus[0].status.statusdesc: it has 1001",
            false,
        ),
        (json!({ "answer": "pending" }), "answer: unknown variant `pending`, expected `accepted`", true),
        (
            json!({ "answer": { "settled": { "statusid": "03" } } }),
            "answer.settled.statusid: a payment cannot settle as 03",
            true,
        ),
        (json!({ "answer": { "refused": { "retcode": 699 } } }), "answer.refused.retcode: 699 is no return code", true),
        (
            json!({ "answer": { "refused": { "retcode": 611 } } }),
            "answer.refused.retcode: 611 is an answer of checkstatus",
            false,
        ),
        (
            json!({ "answer": { "refused": { "retcode": 602 } }, "steps": [{ "do": "postback" }] }),
            "answer.refused: with this code no",
            false,
        ),
        (
            json!({ "answer": { "settled": { "statusid": "01" }, "refused": { "retcode": 606 } } }),
            "both settled and refused",
            true,
        ),
        (json!({ "answer": { "fault": "explode" } }), "answer.fault", true),
        (
            json!({ "answer": { "fault": { "http": { "status": 99 } } } }),
            "answer.fault.http.status: write 200 to 599",
            true,
        ),
        (json!({ "answer": { "fault": { "trickle": "1h" } } }), "answer.fault.trickle: write a pause", false),
        (json!({ "answer": { "wait": "soon" } }), "answer.wait: 'soon' is not a span of time", true),
        (json!({ "answer": { "wait": "postback" } }), "answer.wait: there is no postback", false),
        (
            json!({ "answer": { "wait": "postback" }, "steps": [{ "do": "postback" }] }),
            "answer.wait: a client would wait for ever",
            false,
        ),
        (json!({ "steps": [{ "after": "-1s", "do": "postback" }] }), "steps[0].after: '-1s' is negative", true),
        (json!({ "steps": [{ "after": "20y", "do": "postback" }] }), "steps[0].after", false),
        (json!({ "steps": [{}] }), "steps[0]: missing field `do`", true),
        (step(json!("pay")), "steps[0].do: unknown variant `pay`, expected `postback` or `await`", true),
        (step(json!({ "settle": {} })), "steps[0].do.settle: missing field `statusid`", true),
        (
            step(json!({ "await": { "else": { "statusid": "02" } } })),
            "steps[0].do.await.else: `else` without `up_to`",
            false,
        ),
        (step(json!({ "postback": { "count": 0 } })), "steps[0].do.postback.count: write 1 to 100", true),
        (
            step(json!({ "postback": { "count": 2, "until_acknowledged": true } })),
            "steps[0].do.postback.every: 0s would be a loop",
            false,
        ),
        (step(json!({ "postback": { "every": "5s" } })), "steps[0].do.postback.every: nothing is repeated", false),
        (
            step(json!({ "postback": { "body": "x", "fields": { "a": 1 } } })),
            "steps[0].do.postback.body: it replaces",
            false,
        ),
        (step(json!({ "postback": { "method": "get it" } })), "steps[0].do.postback.method: 'get it'", true),
        (step(json!({ "postback": { "content_type": "a\nb" } })), "steps[0].do.postback.content_type", false),
        (
            step(json!({ "postback": { "hold": { "until": 1, "release": "reversed" } } })),
            "steps[0].do.postback.hold.until: write 2",
            true,
        ),
        (
            step(json!({ "postback": { "hold": { "until": 2, "release": "sideways" } } })),
            "unknown variant `sideways`",
            true,
        ),
        (json!({ "checkstatus": [{}, { "calls": 1 }] }), "checkstatus[0]: it never ends", false),
        (json!({ "checkstatus": [{ "calls": 0 }] }), "checkstatus[0].calls: 0 calls", true),
        (json!({ "checkstatus": [{ "calls": 1, "for": "1s" }] }), "checkstatus[0]: both calls and for", true),
        (
            json!({ "checkstatus": [{ "status": { "statusid": "x" } }] }),
            "checkstatus[0].status.statusid: 'x' is no statusid",
            true,
        ),
    ]
}

#[test]
fn what_is_wrong_in_a_scenario_is_named_with_its_place() {
    for (parts, expected, _) in wrong() {
        let why = complaint(&parts);
        assert!(why.contains(expected), "{parts}: {why:?} lacks {expected:?}");
    }
}

#[test]
fn the_schema_refuses_what_an_editor_can_see_and_takes_every_built_in_scenario() {
    let schema = schema();
    for (parts, expected, seen) in wrong() {
        assert_eq!(!schema.is_valid(&named(&parts)), seen, "{expected}");
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let errors: Vec<String> = schema.iter_errors(&scenario).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

#[test]
fn a_scenario_that_is_written_out_reads_back_as_the_same() {
    let known = kpay_sandbox::fixtures::Fixtures::load(None).unwrap().repertoire;
    for known in known.of(None) {
        let text = serde_json::to_string(&*known.scenario).unwrap();
        let back: Scenario = serde_json::from_str(&text).unwrap();
        assert_eq!(back, *known.scenario, "{text}");
        assert!(schema().is_valid(&serde_json::from_str(&text).unwrap()), "{text}");
    }
}
