//! The order of precedence: each row is wrong in one way and in every later one, so that it proves both the
//! check and its place.

use std::net::IpAddr;

use kpay_sandbox::gateway::ReturnCode;
use kpay_sandbox::gateway::call::{Call, Credentials};
use kpay_sandbox::gateway::choice::Next;
use kpay_sandbox::gateway::journal::{Action, Event};
use kpay_sandbox::gateway::return_code::CodeTable;
use kpay_sandbox::gateway::scenario::Scenario;
use serde_json::{Value, json};

use crate::core::{Core, good_call, good_pay};

/// One way to be wrong.
struct Wrong {
    code: ReturnCode,
    call: fn(&mut Call<'_>),
    body: fn(&mut Value),
}

fn user(call: &mut Call<'_>, username: &str, password: &str) {
    call.credentials = Ok(Credentials { username: username.into(), password: password.into() });
}

/// In order of precedence. Two that cannot be wrong at once (an account that does not exist cannot lack access)
/// are set by the earlier one: the rows are applied from the last to the first.
fn rows() -> Vec<Wrong> {
    let row = |code, call, body| Wrong { code, call, body };
    vec![
        row(ReturnCode::NonHttps, |call| call.secure = false, |_| {}),
        row(ReturnCode::MissingAuthentication, |call| call.credentials = Err("none".into()), |_| {}),
        row(ReturnCode::InvalidCredentials, |call| user(call, "your_username", "wrong"), |_| {}),
        row(ReturnCode::InvalidApiKey, |call| call.key = Some("wrong"), |_| {}),
        row(ReturnCode::InvalidRemoteUser, |call| user(call, "no_api_access", "your_password"), |_| {}),
        row(ReturnCode::NotWhitelisted, |call| call.peer = IpAddr::from([203, 0, 113, 9]), |_| {}),
        row(ReturnCode::MissingParameters, |_| {}, |body| body["email"] = Value::Null),
        row(ReturnCode::UnknownRetailer, |_| {}, |body| body["retailerid"] = json!("99")),
        row(ReturnCode::RetailerNotEnabled, |_| {}, |body| body["retailerid"] = json!(98)),
        row(ReturnCode::UnknownMethod, |_| {}, |body| body["pmethod"] = json!("cash")),
        row(ReturnCode::UnknownBank, |_| {}, |body| body["bankid"] = json!("999")),
        row(ReturnCode::AmountOutOfRange, |_| {}, |body| body["amount"] = json!(99)),
        row(ReturnCode::RefidUsed, |_| {}, |body| body["refid"] = json!("USED")),
    ]
}

#[test]
fn each_code_is_raised_by_its_cause_before_every_later_one() {
    for (profile, table) in [("documented", CodeTable::Guide), ("portal", CodeTable::Portal)] {
        let rows = rows();
        for first in 0..rows.len() {
            if !rows[first].code.is_in(table) {
                continue;
            }
            let mut core = Core::new(profile);
            core.pay(|body| body["refid"] = json!("USED"));
            let mut body = good_pay();
            rows[first..].iter().rev().for_each(|wrong| (wrong.body)(&mut body));
            let body = body.to_string();
            let mut call = good_call(body.as_bytes());
            rows[first..].iter().rev().for_each(|wrong| (wrong.call)(&mut call));
            let answered = core.gateway.handle_call(&call, core.now);

            let refusal = answered.refusal.expect("it is wrong");
            assert_eq!(refusal.code, rows[first].code, "{profile}: {}", refusal.reason);
            let answer: Value = serde_json::from_slice(&answered.body).unwrap();
            assert_eq!(answer["retcode"], refusal.code.number(table), "{profile}");
            assert_eq!(answer["reply"], refusal.code.reply(table), "{profile}");
            assert!(!refusal.reason.is_empty());
        }
    }
}

#[test]
fn the_enum_is_declared_in_order_of_precedence() {
    let mut codes: Vec<ReturnCode> = rows().into_iter().map(|row| row.code).collect();
    codes.extend([ReturnCode::ErrorProcessing, ReturnCode::MobileMoneyFailed]);
    codes.extend([ReturnCode::InsufficientFunds, ReturnCode::PayerTimeout, ReturnCode::PayerCancelled]);
    codes.push(ReturnCode::TransactionNotFound);
    assert_eq!(codes, ReturnCode::ALL);
    assert!(codes.is_sorted());
}

#[test]
fn codes_without_a_cause_in_the_request_come_from_a_scenario_or_from_checkstatus() {
    let mut core = Core::new("documented");
    assert_eq!(core.pay(|body| body["msisdn"] = json!("0780000606"))["retcode"], 606);
    assert_eq!(core.check_status("E1", "")["statusid"], "611");
    assert_eq!(ReturnCode::from_number(607, CodeTable::Guide), Some(ReturnCode::MobileMoneyFailed));
}

#[test]
fn a_number_means_what_the_merchants_table_says() {
    use ReturnCode::*;
    let of = |number, table| ReturnCode::from_number(number, table).unwrap();
    for (number, guide, portal) in [
        (401, MissingAuthentication, MissingAuthentication),
        (500, NonHttps, NonHttps),
        (600, InvalidCredentials, MissingParameters),
        (601, InvalidRemoteUser, InvalidApiKey),
        (602, NotWhitelisted, InvalidCredentials),
        (603, MissingParameters, NotWhitelisted),
        (604, UnknownRetailer, RefidUsed),
        (605, RetailerNotEnabled, AmountOutOfRange),
        (606, ErrorProcessing, ErrorProcessing),
        (607, MobileMoneyFailed, InsufficientFunds),
        (608, RefidUsed, PayerTimeout),
        (609, UnknownMethod, PayerCancelled),
        (610, UnknownBank, UnknownBank),
        (611, TransactionNotFound, TransactionNotFound),
    ] {
        assert_eq!((of(number, CodeTable::Guide), of(number, CodeTable::Portal)), (guide, portal), "{number}");
    }
    for code in ReturnCode::ALL {
        for table in [CodeTable::Guide, CodeTable::Portal] {
            assert!(code.within(table).is_in(table), "{code:?} {table:?}");
        }
    }
    assert_eq!(ReturnCode::from_number(612, CodeTable::Portal), None);
}

/// By number, by header and from the queue: the response, the journal and the transaction agree.
#[test]
fn the_portals_own_codes_can_be_produced() {
    for (number, reply) in [(607, "INSUFFICIENT_FUNDS"), (608, "TIMEOUT"), (609, "CANCELLED")] {
        let mut core = Core::new("portal");
        let scenario = format!("retcode-{number}");
        let named = core.gateway.repertoire().get(&scenario, None).unwrap().clone();
        core.gateway.queue(Next { merchant: None, when: None, times: 1, scenario: named }).unwrap();
        let queued = core.pay(|body| body["refid"] = json!("QUEUED"));
        let by_number = core.pay(|body| {
            body["refid"] = json!("NUMBER");
            body["msisdn"] = json!(format!("0780000{number}"));
        });
        let mut body = good_pay();
        body["refid"] = json!("HEADER");
        let body = body.to_string();
        let call = Call { scenario: Some(&scenario), ..good_call(body.as_bytes()) };
        let by_header = core.gateway.handle_call(&call, core.now);
        let by_header: Value = serde_json::from_slice(&by_header.body).unwrap();
        for (refid, answer) in [("QUEUED", queued), ("NUMBER", by_number), ("HEADER", by_header)] {
            assert_eq!((&answer["retcode"], &answer["reply"]), (&json!(number), &json!(reply)), "{refid}");
            let status = core.check_status("", refid);
            assert_eq!((&status["statusid"], &status["statusdesc"]), (&json!("02"), &json!(reply)), "{refid}");
        }
        let codes = core.gateway.journal().after(0).filter_map(|entry| match &entry.event {
            Event::Call(call) if call.action == Action::Pay => Some(call.code.to_string()),
            _ => None,
        });
        assert_eq!(codes.collect::<Vec<_>>(), vec![number.to_string(); 3]);
    }
}

/// The same script under another table: insufficient funds are 606 in the guide and 607 in the portal.
#[test]
fn a_script_can_name_the_cause_instead_of_a_number() {
    for (profile, expected) in [("documented", 606), ("portal", 607)] {
        let mut core = Core::new(profile);
        assert_eq!(core.pay(|body| body["msisdn"] = json!("0780000606"))["retcode"], expected, "{profile}");
    }
    let read = |retcode: &str| {
        let text = format!(r#"{{"name":"own","answer":{{"refused":{{"retcode":{retcode}}}}}}}"#);
        kpay_sandbox::fixtures::read_json::<Scenario>(text.as_bytes())
    };
    let kept = |retcode: &str| serde_json::to_value(read(retcode).unwrap()).unwrap();
    assert_eq!(kept(r#""payer-timeout""#)["answer"]["refused"]["retcode"], "payer-timeout");
    assert_eq!(kept("608")["answer"]["refused"]["retcode"], 608);
    assert!(read(r#""timeout""#).unwrap_err().contains("payer-timeout"), "the names are listed");
    assert!(read("612").unwrap_err().contains("600 to 611"));
}
