//! Golden messages: `fixtures/wire/*.json` hold every answer and postback byte for byte.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::core::{Core, good_pay};

/// Every message that the gateway writes, by the name of its golden file.
fn messages() -> Vec<(String, String)> {
    let mut messages = Vec::new();
    for profile in ["documented", "observed", "portal"] {
        let mut core = Core::new(profile);
        let mut pay = |core: &mut Core, name: &str, change: fn(&mut Value)| {
            let mut body = good_pay();
            change(&mut body);
            let answer = core.call(&body.to_string());
            messages.push((format!("{profile}-{name}"), String::from_utf8(answer.body).unwrap()));
        };
        pay(&mut core, "pay-accepted", |_| {});
        pay(&mut core, "pay-refid-used", |_| {});
        pay(&mut core, "pay-missing-parameters", |body| body["amount"] = json!("none"));
        pay(&mut core, "pay-settled-at-once", |body| {
            body["refid"] = json!("ORDER-2");
            body["msisdn"] = json!("0780000001");
        });
        pay(&mut core, "pay-insufficient-funds", |body| {
            body["refid"] = json!("ORDER-3");
            body["msisdn"] = json!("0780000606");
        });
        pay(&mut core, "checkstatus-pending", |body| *body = json!({ "action": "checkstatus", "refid": "ORDER-1" }));
        pay(&mut core, "checkstatus-not-found", |body| *body = json!({ "action": "checkstatus", "refid": "NONE" }));
        pay(&mut core, "pay-accepted-to-be-declined", |body| {
            body["refid"] = json!("ORDER-4");
            body["msisdn"] = json!("0780000002");
        });
        let posted = core.advance(Duration::from_secs(120));
        for (name, (_, postback)) in ["postback-successful", "postback-failed"].iter().zip(posted) {
            messages.push((format!("{profile}-{name}"), postback.text().into()));
        }
        for (name, refid) in [("successful", "ORDER-1"), ("failed", "ORDER-4")] {
            let answer = core.call(&json!({ "action": "checkstatus", "refid": refid }).to_string());
            messages.push((format!("{profile}-checkstatus-{name}"), String::from_utf8(answer.body).unwrap()));
        }
    }
    messages
}

/// With `KPAY_SANDBOX_BLESS=1` the files are written instead; the difference is then for a person to read.
#[test]
fn every_message_is_its_golden_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let messages = messages();
    assert_eq!(messages.len(), 36);
    for (name, message) in &messages {
        let file = folder.join(format!("{name}.json"));
        if std::env::var_os("KPAY_SANDBOX_BLESS").is_some() {
            fs::write(&file, format!("{message}\n")).unwrap();
        }
        let golden = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(format!("{message}\n"), golden, "{name}");
    }
    let files = fs::read_dir(folder).unwrap().count();
    assert_eq!(files, messages.len(), "a golden file that nothing writes");
}

/// Under `observed` a failed payment has an operator's id too: the second in which it ended.
#[test]
fn a_failed_payment_tells_the_second_of_its_end_where_that_was_observed() {
    let messages = messages();
    let id_of = |name: &str| {
        let (_, message) = messages.iter().find(|(found, _)| found == name).unwrap();
        serde_json::from_str::<Value>(message).unwrap()["momtransactionid"].as_str().unwrap().to_owned()
    };
    let posted = id_of("observed-postback-failed");
    assert_eq!(posted, id_of("observed-checkstatus-failed"));
    assert_eq!(posted.parse::<u64>().unwrap() % 60, 1, "it settles at the first second of a minute: {posted}");
    assert_eq!((id_of("documented-postback-failed"), id_of("portal-checkstatus-failed")), Default::default());
}

/// The contract's own samples, in its field order.
#[test]
fn the_order_of_fields_is_the_guides() {
    let keys = |name: &str| {
        let text = messages().into_iter().find(|(found, _)| found == name).unwrap().1;
        let mut keys: Vec<(usize, String)> = serde_json::from_str::<serde_json::Map<String, Value>>(&text)
            .unwrap()
            .keys()
            .map(|key| (text.find(&format!("\"{key}\":")).unwrap(), key.clone()))
            .collect();
        keys.sort();
        keys.into_iter().map(|(_, key)| key).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys("documented-pay-accepted"), "reply url success authkey tid refid retcode");
    assert_eq!(keys("documented-pay-insufficient-funds"), "reply url success authkey tid refid retcode");
    assert_eq!(keys("observed-pay-insufficient-funds"), "reply statusmsg url success authkey tid refid retcode");
    assert_eq!(keys("documented-pay-settled-at-once"), "tid refid momtransactionid statusdesc statusid retcode");
    assert_eq!(keys("documented-postback-successful"), "tid refid momtransactionid payaccount statusid statusdesc");
    assert_eq!(keys("documented-postback-failed"), "tid refid momtransactionid statusid statusdesc");
    assert_eq!(keys("observed-postback-successful"), "tid refid momtransactionid statusdesc statusid");
    assert_eq!(keys("observed-checkstatus-successful"), "tid refid momtransactionid statusdesc statusid");
    assert_eq!(keys("documented-checkstatus-not-found"), "tid refid momtransactionid statusid statusdesc");
}
