//! The order of precedence: each row is wrong in one way and in every later one, so that it proves both the
//! check and its place.

use std::net::IpAddr;

use kpay_sandbox::gateway::ReturnCode;
use kpay_sandbox::gateway::call::{Call, Credentials};
use kpay_sandbox::gateway::return_code::CodeTable;
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
            let portal_only = matches!(rows[first].code, ReturnCode::InvalidApiKey | ReturnCode::AmountOutOfRange);
            if portal_only && profile != "portal" {
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
    codes.extend([ReturnCode::ErrorProcessing, ReturnCode::MobileMoneyFailed, ReturnCode::TransactionNotFound]);
    assert_eq!(codes, ReturnCode::ALL);
    assert!(codes.is_sorted());
}

#[test]
fn codes_without_a_cause_in_the_request_come_from_a_scenario_or_from_checkstatus() {
    let mut core = Core::new("documented");
    assert_eq!(core.pay(|body| body["msisdn"] = json!("0780000606"))["retcode"], 606);
    assert_eq!(core.check_status("E1", "")["statusid"], "611");
    assert_eq!(ReturnCode::from_guide(607), Some(ReturnCode::MobileMoneyFailed));
}
