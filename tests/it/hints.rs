//! What a wrong request is told that it should have been.

use kpay_sandbox::gateway::call::{Credentials, Refusal};
use kpay_sandbox::gateway::journal::Event;
use serde_json::{Value, json};

use crate::core::{Core, good_pay};

fn refused(core: &mut Core, body: &[u8]) -> Refusal {
    let answered = core.call_with(|_| {}, body);
    answered.refusal.unwrap_or_else(|| panic!("{} was accepted", String::from_utf8_lossy(body)))
}

/// The reason for refusing the good request with some of its parameters changed; `null` takes one out.
fn reason(change: &[(&str, Value)]) -> String {
    refused(&mut Core::new("documented"), changed(change).as_bytes()).reason
}

fn changed(change: &[(&str, Value)]) -> String {
    let mut body = good_pay();
    for (name, value) in change {
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(*name)),
            value => body[*name] = value.clone(),
        }
    }
    body.to_string()
}

#[test]
fn a_near_miss_of_a_parameters_name_is_told() {
    for (sent, meant) in [
        ("phone", "msisdn"),
        ("phoneNumber", "msisdn"),
        ("MSISDN", "msisdn"),
        ("msisdn ", "msisdn"),
        ("msidsn", "msisdn"),
        ("bankId", "bankid"),
        ("bank_id", "bankid"),
        ("returnurl", "returl"),
        ("callback_url", "returl"),
        ("redirectUrl", "redirecturl"),
        ("success_url", "redirecturl"),
        ("orderId", "refid"),
        ("reference", "refid"),
        ("transaction_id", "refid"),
        ("description", "details"),
        ("ammount", "amount"),
        ("customerName", "cname"),
        ("customer_number", "cnumber"),
        ("payment_method", "pmethod"),
        ("merchantId", "retailerid"),
        ("retailer", "retailerid"),
        ("e-mail", "email"),
        ("cemail", "email"),
    ] {
        let reason = reason(&[(meant, Value::Null), (sent, json!("x"))]);
        assert!(reason.contains(&format!("{meant} is missing")), "{reason}");
        assert!(reason.contains(&format!("You sent \"{sent}\": did you mean \"{meant}\"?")), "{reason}");
    }
    let reason =
        reason(&[("msisdn", json!("")), ("phone", json!("078")), ("bankid", Value::Null), ("bank", json!("040"))]);
    assert!(reason.contains(r#"You sent "phone" and "bank": did you mean "msisdn" and "bankid"?"#), "{reason}");
    // What is there is not missed, and a name that is near nothing is not explained.
    let reason = self::reason(&[("email", Value::Null), ("phone", json!("1")), ("basket", json!("1"))]);
    assert!(!reason.contains("You sent"), "{reason}");
    let asked = json!({ "action": "checkstatus", "transactionId": "E1" }).to_string();
    let reason = refused(&mut Core::new("documented"), asked.as_bytes()).reason;
    assert!(reason.contains(r#"You sent "transactionId": did you mean "tid"?"#), "{reason}");
}

#[test]
fn a_near_miss_of_a_value_is_told() {
    for (name, value, parts) in [
        ("bankid", json!(40), [r#"bankid '40'"#, r#"Did you mean "040" (BK)? Send it as a string"#]),
        ("bankid", json!("40"), [r#"bankid '40'"#, r#"Did you mean "040" (BK)?"#]),
        ("bankid", json!(0), ["bankid '0'", r#"Did you mean "000" (CARDS)? Send it as a string"#]),
        ("bankid", json!("bk"), ["bankid 'bk'", r#"Did you mean "040" (BK)?"#]),
        ("bankid", json!("MTN"), ["bankid 'MTN'", r#"Did you mean "63510" (MTN MOMO)?"#]),
        ("bankid", json!("6351"), ["bankid '6351'", "63510"]),
        ("pmethod", json!("MOMO"), ["pmethod 'MOMO'", r#"Did you mean "momo"?"#]),
        ("pmethod", json!("mtn"), ["pmethod 'mtn'", r#"Did you mean "momo"?"#]),
        ("pmethod", json!("visa"), ["pmethod 'visa'", r#"Did you mean "cc"?"#]),
        ("pmethod", json!("mobile money"), ["pmethod", r#"Did you mean "momo"?"#]),
        ("currency", json!("rwf"), ["currency 'rwf'", r#"Did you mean "RWF"?"#]),
        ("currency", json!("FRW"), ["currency 'FRW'", r#"Did you mean "RWF"?"#]),
        ("action", json!("check"), ["action 'check'", r#"Did you mean "checkstatus"?"#]),
        ("action", json!("CheckStatus"), ["action 'CheckStatus'", r#"Did you mean "checkstatus"?"#]),
        ("action", json!("payment"), ["action 'payment'", r#"Did you mean "pay"?"#]),
        ("msisdn", json!("\u{202a}0783300000"), ["msisdn", "U+202A"]),
    ] {
        let reason = reason(&[(name, value.clone())]);
        assert!(parts.iter().all(|part| reason.contains(part)), "{name} {value}: {reason}");
    }
    assert!(!reason(&[("bankid", json!("999999"))]).contains("Did you mean"));
    assert!(!reason(&[("pmethod", json!("cash"))]).contains("Did you mean"));

    let mut core = Core::with("documented", |settings| {
        let own = json!({ "username": "closed", "password": "p", "retailers": { "02": "enabled", "61": "disabled" } });
        let profiles = settings.rules.profiles.clone();
        settings.rules.accounts.put(serde_json::from_value(own).unwrap(), &profiles).unwrap();
    });
    let body = changed(&[("retailerid", json!(2))]);
    let closed = Ok(Credentials { username: "closed".into(), password: "p".into() });
    let reason = core.call_with(|call| call.credentials = closed, body.as_bytes()).refusal.unwrap().reason;
    assert!(reason.contains(r#"retailerid '2'"#) && reason.contains(r#"Did you mean "02"?"#), "{reason}");
}

#[test]
fn a_body_that_cannot_be_read_is_told_why() {
    let good = good_pay().to_string();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark: Vec<u8> = [&[0xff, 0xfe][..], &utf16].concat();
    let big_endian: Vec<u8> = good.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\x4a".to_vec();
    let windows = |text: &str| text.as_bytes().to_vec();
    let long = format!(r#"{good}<br />{}<b>Notice</b>: Undefined variable: x in pay.php"#, "\n");
    let latin = good.replace("Jane", "Ren\u{e9}").chars().map(|c| c as u8).collect::<Vec<u8>>();
    for (body, parts) in [
        (gzip, ["compressed (gzip)", "Send it as it is"]),
        (utf16, ["UTF-16", "UTF-8"]),
        (with_mark, ["UTF-16", "UTF-8"]),
        (big_endian, ["UTF-16", "UTF-8"]),
        (format!("\u{feff}{good}").into_bytes(), ["byte order mark", "UTF-8 without"]),
        (latin, ["not UTF-8", "Ren"]),
        (format!("'{good}'").into_bytes(), ["single quote", "Windows"]),
        (windows("'{action:pay,msisdn:0783300000}'"), ["single quote", "Windows"]),
        (windows("{action:pay,msisdn:0783300000}"), ["quotes around the names are missing", "Windows"]),
        (windows("{'action': 'pay'}"), ["single quotes", "double quotes"]),
        (json!(good).to_string().into_bytes(), ["JSON string", "encoded once"]),
        (format!("[{good}]").into_bytes(), ["array", "object itself"]),
        (long.into_bytes(), ["behind the JSON", "<b>Notice</b>: Undefined"]),
        (format!("{good}{good}").into_bytes(), ["behind the JSON", r#"{"action""#]),
        (
            format!("<br /><b>Warning</b>: x in y.php on line 3<br />{good}").into_bytes(),
            ["before the JSON", "<b>Warning</b>"],
        ),
        (windows("<html><body>hello</body></html>"), ["not a JSON object", "<html>"]),
        (windows("%7B%22action%22%3A%22pay%22%7D"), ["percent-encoded", "JSON itself"]),
        (windows("--x\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\npay\r\n--x--"), ["multipart", "JSON"]),
        (windows(r#"{"action":"pay","bankid":040}"#), ["begins with 0", r#""040""#]),
        (windows(r#"{"action":"pay","msisdn":"0783300000",}"#), ["trailing comma", r#""0783300000",}"#]),
        (windows(r#"{"action":"pay","msisdn":}"#), ["not usable JSON", r#""msisdn":}"#]),
        (windows(r#"{"action":"pay","ms"#), ["not usable JSON", "ends before"]),
    ] {
        let reason = refused(&mut Core::new("documented"), &body).reason;
        assert!(parts.iter().all(|part| reason.contains(part)), "{:?}: {reason}", String::from_utf8_lossy(&body));
        assert!(reason.chars().count() < 400, "{reason}");
    }
}

#[test]
fn a_body_with_a_content_encoding_is_told_to_have_none() {
    let mut core = Core::new("documented");
    let encoded = |head: &'static [u8]| move |call: &mut kpay_sandbox::gateway::call::Call<'_>| call.head = head;
    let reason =
        core.call_with(encoded(b"POST /\ncontent-encoding: br\n"), b"\x8b\x01\x80{}\x03").refusal.unwrap().reason;
    assert!(
        reason.contains("not UTF-8") && reason.contains("Its Content-Encoding is br: send it without one"),
        "{reason}"
    );
    let plain = core.call_with(encoded(b"POST /\ncontent-encoding: identity\n"), b"x").refusal.unwrap().reason;
    assert!(!plain.contains("Content-Encoding"), "{plain}");
}

#[test]
fn no_excerpt_shows_a_secret() {
    for body in [
        r#"{"action":"pay","password":"hunter2" "x":1}"#,
        r#"{"action":"pay"} {"password":"hunter2"}"#,
        r#"{"action":"pay","password":"a"hunter2"}"#,
        r#"{"action":"pay"} password=hunter2"#,
        r#"x password: hunter2 {"action":"pay"}"#,
        r#"<b>Warning</b> {"password":"hunter2","action":"pay"}"#,
        r#"{"action":"pay","pin":0123}"#,
        "{\"action\":\"pay\",\"password\":\"hunter2\u{1}\"}",
    ] {
        let reason = refused(&mut Core::new("documented"), body.as_bytes()).reason;
        assert!(!reason.contains("hunter") && !reason.contains("123"), "{body}: {reason}");
    }
}

#[test]
fn an_amount_may_have_an_exponent_or_more_than_two_decimals() {
    for (sent, amount) in [
        ("5E+3", "5000"),
        ("5e3", "5000"),
        ("\"5E+3\"", "5000"),
        ("1.25e2", "125"),
        ("1.2345E4", "12345"),
        ("12345E-2", "123.45"),
        ("50000.0E-1", "5000"),
        ("6611.73269", "6611.73"),
        ("\"6611.73269\"", "6611.73"),
        ("0.999", "1"),
        ("0.0049999999999", ""),
        ("1e-30", ""),
        ("1e300", ""),
        ("1e99999999999", ""),
        ("\"5e\"", ""),
        ("\"e5\"", ""),
        ("\"5e+\"", ""),
        ("\"5e1.5\"", ""),
        ("\"5ee5\"", ""),
        ("1e15", ""),
        ("999999999999999.999", ""),
    ] {
        let mut core = Core::new("documented");
        let body = good_pay().to_string().replace(r#""amount":5000"#, &format!(r#""amount":{sent}"#));
        let answered = core.call(&body);
        let taken = core.gateway.ledger().iter().next().map(|found| found.order.amount.to_string());
        assert_eq!(taken.unwrap_or_default(), amount, "{sent}: {:?}", answered.refusal);
    }
}

/// The hint at an accepted request, from the journal.
fn hint(core: &mut Core, change: &[(&str, Value)]) -> Option<String> {
    let answered = core.call(&changed(change));
    assert_eq!(answered.refusal, None);
    let entry = core.gateway.journal().before(u64::MAX).next().unwrap();
    let Event::Call(call) = &entry.event else { panic!("{entry:?}") };
    assert_eq!(call.hint.as_deref(), answered.hint.as_deref());
    if let Some(hint) = &answered.hint {
        let line = crate::core::line_of(entry);
        assert!(line.contains(hint.as_str()), "{line}");
        assert_eq!(kpay_sandbox::view::entry(entry)["hint"], json!(hint));
    }
    answered.hint
}

#[test]
fn an_accepted_payment_with_something_odd_in_it_carries_a_hint() {
    let mut core = Core::new("documented");
    assert_eq!(hint(&mut core, &[]), None);
    let decimals = hint(&mut core, &[("refid", json!("A")), ("amount", json!(6611.73269))]).unwrap();
    assert!(decimals.contains("amount 6611.73269 has more than two decimals and was taken as 6611.73"), "{decimals}");
    let network = hint(&mut core, &[("refid", json!("B")), ("bankid", json!("63514"))]).unwrap();
    assert!(network.contains("0783300000") && network.contains("63510") && network.contains("63514"), "{network}");
    let other =
        hint(&mut core, &[("refid", json!("C")), ("msisdn", json!("+250 73 330 0000")), ("bankid", json!("63510"))]);
    assert!(other.unwrap().contains("Airtel"));
    for (number, change) in [
        [("msisdn", json!("0733300000")), ("bankid", json!("63514"))],
        [("msisdn", json!("0793300000")), ("bankid", json!("63510"))],
        [("pmethod", json!("momo")), ("bankid", json!("040"))],
        [("pmethod", json!("bank")), ("bankid", json!("63514"))],
        [("msisdn", json!("4930123456")), ("bankid", json!("63510"))],
    ]
    .iter()
    .enumerate()
    {
        let refid = ("refid", json!(format!("D{number}")));
        assert_eq!(hint(&mut core, &[refid, change[0].clone(), change[1].clone()]), None, "{change:?}");
    }
}

#[test]
fn a_refusal_that_another_profile_would_not_give_says_so() {
    let refused = |profile: &str, key: Option<&'static str>, change: &[(&str, Value)]| {
        let mut core = Core::new(profile);
        let answered = core.call_with(|call| call.key = key, changed(change).as_bytes());
        answered.refusal.unwrap()
    };
    let no_bank = [("bankid", Value::Null)];
    let refusal = refused("documented", None, &no_bank);
    assert_eq!(refusal.accepted_under.as_deref(), Some("observed"));
    assert!(refusal.reason.contains("bankid is missing. Accepted under --profile observed"), "{}", refusal.reason);
    let refusal = refused("documented", Some("your_api_key"), &no_bank);
    assert!(refusal.reason.contains("Accepted under --profile portal"), "{}", refusal.reason);
    // A key that is not the merchant's is refused by the portal.
    let refusal = refused("documented", Some("other"), &no_bank);
    assert_eq!(refusal.accepted_under.as_deref(), Some("observed"));
    let refusal = refused("portal", Some("your_api_key"), &[("amount", json!(99))]);
    assert!(refusal.accepted_under.is_some(), "{}", refusal.reason);
    for (name, value) in [("msisdn", json!("x")), ("email", Value::Null), ("returl", json!(" "))] {
        let refusal = refused("documented", None, &[(name, value)]);
        assert_eq!(refusal.accepted_under, None, "{}", refusal.reason);
    }
    // One with a profile of its own is not moved by the flag.
    let mut core = Core::with("documented", |settings| {
        let own = json!({ "username": "own", "password": "p", "profile": "documented" });
        let profiles = settings.rules.profiles.clone();
        settings.rules.accounts.put(serde_json::from_value(own).unwrap(), &profiles).unwrap();
    });
    let own = Ok(Credentials { username: "own".into(), password: "p".into() });
    let body = changed(&no_bank);
    let answered = core.call_with(|call| (call.credentials, call.key) = (own, None), body.as_bytes());
    let reason = answered.refusal.unwrap().reason;
    assert!(reason.contains(r#"Accepted under "profile": "observed" in merchants.json"#), "{reason}");
}

#[test]
fn a_blank_email_is_accepted_under_observed() {
    let body = changed(&[("email", json!(""))]);
    for profile in ["documented", "portal"] {
        let refusal = refused(&mut Core::new(profile), body.as_bytes());
        assert!(refusal.reason.contains("email is blank. Accepted under --profile observed"), "{}", refusal.reason);
    }
    let mut core = Core::new("observed");
    assert_eq!(core.call(&body).refusal, None);
    // It has to be there.
    let body = changed(&[("email", Value::Null), ("refid", json!("B"))]);
    assert!(refused(&mut core, body.as_bytes()).reason.contains("email is missing"));
}

#[test]
fn an_unknown_user_is_called_unknown_and_told_where_accounts_come_from() {
    let mut core = Core::new("documented");
    let mut refused = |username: &str, password: &str| {
        let credentials = Ok(Credentials { username: username.into(), password: password.into() });
        core.call_with(|call| call.credentials = credentials, good_pay().to_string().as_bytes()).refusal.unwrap().reason
    };
    let unknown = refused("shop", "secret");
    for part in ["user 'shop' is unknown", "merchants.json", "your_username", "--open"] {
        assert!(unknown.contains(part), "{unknown}");
    }
    assert!(!unknown.contains("password of"), "{unknown}");
    let wrong = refused("your_username", "secret");
    for part in ["the password of 'your_username' is wrong", "merchants.json", "not the payer's PIN"] {
        assert!(wrong.contains(part), "{wrong}");
    }
    for near in ["Your_Username", "your_usernam", "your_username "] {
        assert!(refused(near, "your_password").contains("Did you mean 'your_username'?"), "{near}");
    }
}

#[test]
fn open_takes_any_key_as_it_takes_any_password() {
    let mut core = Core::with("portal", |settings| {
        settings.open = Some(serde_json::from_value(json!({ "any_password": true })).unwrap());
    });
    let anybody = |key: Option<&'static str>, core: &mut Core| {
        let credentials = Ok(Credentials { username: "anybody".into(), password: "x".into() });
        let body = changed(&[("refid", json!(key))]);
        core.call_with(|call| (call.credentials, call.key) = (credentials, key), body.as_bytes()).refusal
    };
    assert_eq!(anybody(Some("whatever"), &mut core), None);
    assert!(anybody(None, &mut core).unwrap().reason.contains("Kpay-Key header is missing"));
}

#[test]
fn a_611_that_follows_a_refused_pay_says_so() {
    let mut core = Core::new("documented");
    core.call(&changed(&[("refid", json!("LOST")), ("bankid", Value::Null)]));
    for body in [json!({ "action": "checkstatus", "refid": "LOST" }), json!({ "action": "checkstatus", "tid": "LOST" })]
    {
        let refusal = refused(&mut core, body.to_string().as_bytes());
        assert!(refusal.reason.contains("The pay with refid 'LOST' was refused with 603"), "{}", refusal.reason);
    }
    let refusal = refused(&mut core, br#"{"action":"checkstatus","refid":"OTHER"}"#);
    assert!(!refusal.reason.contains("was refused"), "{}", refusal.reason);
    // A refused pay is answered with a blank tid, which some clients then ask for.
    let refusal = refused(&mut core, br#"{"action":"checkstatus","tid":""}"#);
    assert!(refusal.reason.contains("A refused pay has no tid"), "{}", refusal.reason);
}

#[test]
fn a_client_that_waits_to_be_asked_for_credentials_is_told_to_send_them() {
    for (client, part) in [
        ("Wget/1.21.3", "--auth-no-challenge"),
        ("Python-urllib/3.11", "set the Authorization header"),
        ("Java/17.0.2", "set the Authorization header"),
        ("Java-http-client/17.0.2", "set the Authorization header"),
        ("Apache-HttpClient/4.5.13 (Java/17)", "set the Authorization header"),
    ] {
        let mut core = Core::new("documented");
        let head = format!("POST /\nuser-agent: {client}\n");
        let change = |call: &mut kpay_sandbox::gateway::call::Call<'_>| {
            call.credentials = Err("the Authorization header is missing".into());
        };
        let body = good_pay().to_string();
        let mut call = crate::core::good_call(body.as_bytes());
        change(&mut call);
        call.head = head.as_bytes();
        let reason = core.gateway.handle_call(&call, core.now).refusal.unwrap().reason;
        assert!(reason.contains("waits to be asked") && reason.contains(part), "{reason}");
    }
}

#[test]
fn a_result_that_is_nearly_a_statusid_is_asked_about() {
    use kpay_sandbox::gateway::values::StatusId;
    for (written, meant) in
        [("1", "01"), ("2", "02"), ("success", "01"), ("SUCCESSFUL", "01"), ("failed", "02"), ("declined", "02")]
    {
        let error = StatusId::try_from(written.to_owned()).unwrap_err();
        assert!(error.contains(&format!("Did you mean \"{meant}\"?")), "{error}");
    }
    assert!(StatusId::try_from("682".to_owned()).is_ok());
    assert!(StatusId::try_from("3".to_owned()).unwrap_err().contains("pending"));
}

#[test]
fn a_payers_number_is_normalised_or_never_equals_another() {
    use kpay_sandbox::gateway::values::Msisdn;
    let read = |text: &str| Msisdn::parse(text).map(|number| number.as_str().to_owned());
    for spelled in [
        "0780000002",
        "780000002",
        "250780000002",
        "+250780000002",
        "00250780000002",
        "002500780000002",
        "2500780000002",
        "+250 (0) 780 000 002",
        "(+250) 780-000-002",
        "078.000.00.02",
        " 0780000002 ",
    ] {
        assert_eq!(read(spelled).as_deref(), Ok("0780000002"), "{spelled}");
        let mut core = Core::new("documented");
        assert_eq!(core.pay(|body| body["msisdn"] = json!(spelled))["retcode"], 0);
        core.advance(std::time::Duration::from_secs(1));
        assert_eq!(core.check_status("", "ORDER-1")["statusid"], "02", "{spelled} declines");
    }
    // Numbers of other countries, and what is none anywhere.
    for other in [
        "+780000002",
        "+0780000002",
        "+00250780000002",
        "00780000002",
        "07800000020",
        "880000002",
        "+254780000002",
        "254780000002",
        "25078000002",
    ] {
        let number = read(other).unwrap();
        assert_ne!(number, "0780000002", "{other}");
        let mut core = Core::new("documented");
        core.pay(|body| body["msisdn"] = json!(other));
        core.advance(std::time::Duration::from_secs(1));
        assert_eq!(core.check_status("", "ORDER-1")["statusid"], "01", "{other} follows no number's scenario");
    }
    for unusable in
        ["07+80000002", "0780000002+", "++250780000002", "0780000002/3", "0780000002 ext 5", "07800", "٠٧٨٠٠٠٠٠٠٢"]
    {
        assert!(read(unusable).is_err(), "{unusable}");
    }
}
