//! No secret and no card number of a request or of a listener's response is kept: tables of hostile data.

use std::time::Duration;

use kpay_sandbox::Config;
use kpay_sandbox::gateway::call::Credentials;
use kpay_sandbox::gateway::masking;
use kpay_sandbox::gateway::postback::{Answer, Failure, Verdict};
use kpay_sandbox::view;
use serde_json::json;

use crate::core::{Core, acknowledge, answered, good_call, good_pay};
use crate::harness::{Running, authorization, json_of, post, status};
use crate::kept::{PAN, PASSWORD, TOKEN, assert_masked, kept};

/// Ways to write the card number.
const NUMBERS: [&str; 24] = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111.1111.1111.1111",
    "4111/1111/1111/1111",
    "4111_1111_1111_1111",
    "4111+1111+1111+1111",
    "4111\u{a0}1111\u{a0}1111\u{a0}1111",
    "4111\u{2011}1111\u{2011}1111\u{2011}1111",
    "4111  1111  1111  1111",
    "4111 - 1111 - 1111 - 1111",
    "41111111\u{200b}11111111",
    "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "4111111111111111 2030",
    "2030 4111111111111111",
    "4111111111111111 12/30 123",
    "41111111111111111230",
    "1234111111111111111",
    "41111111111111114111111111111111",
    "4111111111111111,4111111111111111",
    "PAN4111111111111111",
    "x4111 1111 1111 1111y",
    "\u{ff14}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}\u{ff11}",
    "\u{664}\u{661}\u{661}\u{661} \u{661}\u{661}\u{661}\u{661} \u{661}\u{661}\u{661}\u{661} \u{661}\u{661}\u{661}\u{661}",
];

#[test]
fn a_card_number_is_kept_in_no_field_however_it_is_written() {
    for number in NUMBERS {
        for field in
            ["details", "cname", "cnumber", "email", "retailerid", "note", "action", "pmethod", "bankid", "currency"]
        {
            let mut core = Core::new("documented");
            core.pay(|body| body[field] = json!(number));
            core.pay(|body| body[field] = json!(format!("before {number} after")));
            core.pay(|body| body[field] = json!({ "list": [1, [number], { "inner": number }] }));
            core.pay(|body| body[field] = json!(json!({ "inner": number }).to_string()));
            core.pay(|body| body[number] = json!("x"));
            core.pay(|body| body["more"] = json!({ number: 1 }));
            core.advance(Duration::from_secs(60));
            assert_masked(&kept(&core), &format!("{field} {number}"));
        }
        let mut core = Core::new("documented");
        core.call(&format!("card={number}&refid=R"));
        core.call(&format!("refid=R&card={}", number.replace(' ', "+")));
        core.call(&format!("{{\"details\": \"{number}\", \"refid\": "));
        core.call(&format!("[\"{number}\"]"));
        core.call(&json!({ "action": "checkstatus", "tid": number }).to_string());
        core.call_with(|call| call.body = kpay_sandbox::gateway::call::Body::TooLarge(1), number.as_bytes());
        let credentials = Credentials { username: number.into(), password: PASSWORD.into() };
        core.call_with(|call| call.credentials = Ok(credentials), good_pay().to_string().as_bytes());
        assert_masked(&kept(&core), number);
        assert!(kept(&core)[0].1.contains("****"), "{number}");
    }
    // A NUL separates digits also where another secret shows that the text may be UTF-16.
    let beside = format!("1769\0{PAN}1860\",\"client_secret\": \"{PASSWORD}\"");
    let masked = masking::text(&beside);
    assert!(!masked.contains(PAN) && !masked.contains(PASSWORD), "{masked}");
    let mut core = Core::new("documented");
    core.call(r#"{"details": 4111111111111111, "more": [4111111111111111], "cnumber": "\u0034111111111111111"}"#);
    core.call(
        r#"{"details": "\u0034\u0031\u0031\u00311111 1111 1111", "x": {"\u0034111111111111111": 4111111111111111}"#,
    );
    core.call("card=%34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31&x=4111%201111%201111%201111");
    core.call(r#"{"amount": "4111111111111111"}"#);
    core.call(r#"{"msisdn": "4111111111111111"}"#);
    core.pay(|body| body["msisdn"] = json!("4111111111111111"));
    core.pay(|body| body["amount"] = json!(PAN));
    assert_masked(&kept(&core), "escapes and numbers");
}

#[test]
fn each_test_card_is_masked_but_for_its_last_four_digits() {
    let cards = kpay_sandbox::fixtures::Fixtures::load(None).unwrap().cards.cards;
    for card in &cards {
        let number = &card.number;
        for (text, wanted) in [
            (format!("{number}"), format!("****{}", &number[number.len() - 4..])),
            (format!("card {number}, thanks"), format!("card ****{}, thanks", &number[number.len() - 4..])),
        ] {
            assert_eq!(masking::text(&text), wanted);
        }
        // Other digits beside it may by chance be masked with it.
        let beside = masking::text(&format!("PAN {number} 2030")).into_owned();
        assert!(beside.starts_with("PAN ****") && beside.ends_with('0') && beside.len() <= 17, "{beside}");
    }
    assert!(cards.len() > 40);
}

#[test]
fn what_is_no_card_number_and_no_secret_stays_as_it_is() {
    for text in [
        "1234567890123456",
        "4111111111111112",
        "0783300000 0788123456",
        "+250 783 300 000",
        "250783300000",
        "1769860805123",
        "1769860805000",
        "1769860805000003",
        "2026-01-31 12:00:05.123",
        "20260131120005",
        "20260131120011",
        "E6970011769860805",
        "E6970031769860800",
        "E50117001KPY1769860805",
        "10.0.0.1 192.168.100.100 255.255.255.255",
        "RWF 5,000, 2 x 2,500",
        "order 17: 3 nights, breakfast",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
        "mailto:jane@example.rw",
        "http://localhost:3000/postback?order=17&x=1#y",
        "text/html; charset=utf-8",
        "Jane's 'gift': wrapped = yes",
        r#"{"keyword":"x","monkey":1,"shipping":"y","pinned":true,"tid":"E6970011769860805"}"#,
    ] {
        assert_eq!(masking::text(text), text);
        assert_eq!(masking::address(text), text);
    }
    let mut core = Core::new("documented");
    for refid in ["1234567890123456", "17698608051234567", "4111111111111112", "00000000000001", PAN] {
        let answer = core.pay(|body| body["refid"] = json!(refid));
        assert_eq!(answer["refid"], refid);
        assert_eq!(core.check_status("", refid)["refid"], refid);
        let posted = core.advance(Duration::from_secs(60));
        assert!(posted[0].1.text().contains(&format!("\"refid\":\"{refid}\"")));
        let journal = &kept(&core)[0].1;
        assert!(journal.contains(&format!("\"refid\":\"{refid}\"")) && journal.contains("acknowledged"), "{journal}");
    }
}

/// Names whose values are secrets, and names that only look like them.
const SECRET_NAMES: &str = "password Password PASSWORD pass user_pass pass1 userPassword new-password passwd pwd db_pwd \
    passphrase passcode motdepasse mot_de_passe mdp secret client_secret clientSecret clientsecret \
    secret_key shared-secret token access_token accessToken refreshtoken csrf-token id_token tokens key \
    kpay_key kpayKey KPAY_KEY kpaykey api_key api-key apikey apiKey APIKey X-Api-Key Kpay-Key \
    private_key privatekey secretkey authkey auth_key pin PIN mpin momo_pin momoPin momopin otp otp_code \
    smsOtp cvv cvv2 cvc cvc2 card_cvc cardCvv security_code authorization x-auth credentials session_id";
const OTHER_NAMES: &str = "monkey keyword keyboard turkey shipping pinned spinner spin opinion pincode_label_x passport \
    passenger compass bypass secretary public_key publicKey idempotency-key author authority amount \
    details cname cnumber email refid returl redirecturl retailerid bankid tid logourl host user-agent \
    content-type accept laptop hairpin x-forwarded-for idempotencykey";

#[test]
fn a_secret_is_known_by_its_name_wherever_it_stands() {
    for name in SECRET_NAMES.split(' ') {
        let mut core = Core::new("documented");
        core.pay(|body| body[name] = json!(PASSWORD));
        core.pay(|body| body["more"] = json!({ "list": [{ name: PASSWORD }] }));
        core.pay(|body| body["more"] = json!({ name: { "inner": [PASSWORD, { "x": TOKEN }] } }));
        core.pay(|body| body["details"] = json!(json!({ name: PASSWORD }).to_string()));
        core.pay(|body| body["cname"] = json!(json!({ "twice": json!({ name: PASSWORD }).to_string() }).to_string()));
        core.pay(|body| body["cnumber"] = json!(format!("{name}={PASSWORD}")));
        core.pay(|body| body["email"] = json!(format!("{name}: {PASSWORD}")));
        core.pay(|body| body[format!("{name}={PASSWORD}")] = json!(1));
        for body in [
            format!("{name}={PASSWORD}&x={{"),
            format!("x=1&{name}={PASSWORD}"),
            format!("x=1&user[{name}]={PASSWORD}"),
            format!("{name}={PASSWORD},{TOKEN}&x=1"),
            format!("data=%7B%22{name}%22%3A%22{PASSWORD}%22%7D"),
            format!("{{\"{name}\": \"{PASSWORD}\", "),
            format!("{{\"{name}\" : \"a\\\"{PASSWORD}\", \"x\": 1"),
            format!("{{'{name}': '{PASSWORD}'}}"),
            format!("{{{name}: {PASSWORD}}}"),
            format!("[{{\"{name}\":\"{PASSWORD}\"}}]"),
            format!("\"{{\\\"{name}\\\":\\\"{PASSWORD}\\\"}}\""),
            format!("{{\"{name}\":\"{PASSWORD}\",\"{name}\":\"{TOKEN}\"}}"),
            format!("{{\"{name}\":[\"{PASSWORD}\""),
        ] {
            core.call(&body);
        }
        let escaped = name.replacen(|c: char| c.is_ascii_alphabetic(), &format!("\\u{:04x}", name.as_bytes()[0]), 1);
        core.call(&format!("{{\"{escaped}\":\"{PASSWORD}\"}}"));
        core.call(&format!("{{\"{escaped}\":\"{PASSWORD}\""));
        let wide: Vec<u8> =
            format!("{{\"{name}\":\"{PASSWORD}\"}}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        core.call_with(|_| {}, &wide);
        core.call_with(|_| {}, &[format!("{{\"{name}\":\"{PASSWORD}").as_bytes(), b"\xff\"}"].concat());
        let head = head(
            &format!("/{name}={PASSWORD}"),
            &[(name, PASSWORD), ("referer", &format!("http://h/?{name}={TOKEN}"))],
        );
        let mut call = good_call(b"{}");
        call.head = &head;
        core.gateway.handle_call(&call, core.now);
        core.advance(Duration::from_secs(60));
        assert_masked(&kept(&core), name);
    }
    for name in OTHER_NAMES.split(' ') {
        for text in [format!("{{\"{name}\":\"value\"}}"), format!("{name}=value&x=1"), format!("{name}: value")] {
            assert_eq!(masking::text(&text), text);
        }
    }
}

fn head(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers: Vec<(String, &str)> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value)).collect();
    masking::head("POST", path, headers.iter().map(|(name, value)| (&**name, value.as_bytes())), None)
}

#[test]
fn a_request_line_and_headers_are_kept_without_secrets() {
    for (name, value) in [
        ("Authorization", format!("Bearer {TOKEN}")),
        ("Authorization", format!("Basic {TOKEN}")),
        ("Authorization", TOKEN.to_owned()),
        ("Proxy-Authorization", format!("Basic {TOKEN}")),
        ("Cookie", format!("sid={TOKEN}")),
        ("Set-Cookie", format!("sid={TOKEN}; Path=/")),
        ("X-Api-Key", TOKEN.to_owned()),
        ("Kpay-Key", TOKEN.to_owned()),
        ("X-Amz-Security-Token", TOKEN.to_owned()),
        ("X-Client-Secret", TOKEN.to_owned()),
        ("User-Agent", format!("shop/1.0 ({PAN})")),
        ("User-Agent", format!("shop/1.0 password={PASSWORD}")),
        ("User-Agent", "shop 4111 1111 1111 1111 2030".to_owned()),
        ("Referer", format!("https://u:{PASSWORD}@shop.example/?access_token={TOKEN}&x=1#id_token={TOKEN}")),
        ("X-Forwarded-Uri", format!("/?%74oken={TOKEN}")),
        ("X-Data", format!("{{\"password\":\"{PASSWORD}\"}}")),
        (&format!("X-{PAN}"), "1".to_owned()),
    ] {
        let head = String::from_utf8(head("/", &[("Host", "pay.esicia.com"), (name, &value)])).unwrap();
        assert!(head.starts_with("POST /\nhost: pay.esicia.com\n") && head.contains("****"), "{head}");
        assert_masked(&[("head", head)], &format!("{name}: {value}"));
    }
    let user = masking::head("POST", "/", [("authorization", &b"Basic x"[..])].into_iter(), Some(PAN));
    assert_eq!(String::from_utf8(user).unwrap(), "POST /\nauthorization: Basic ****1111:**** (base64)\n");
    let usual = head("/api/", &[("Accept", "*/*"), ("Content-Type", "application/json; charset=utf-8")]);
    assert_eq!(
        String::from_utf8(usual).unwrap(),
        "POST /api/\naccept: */*\ncontent-type: application/json; charset=utf-8\n"
    );
}

#[test]
fn json_stays_json_and_the_rest_of_it_as_it_was() {
    let mut core = Core::new("documented");
    for (sent, wanted) in [
        (
            r#"{ "refid":"R1", "pin" : 1234 , "x":[1, 2.50,1e3, null] }"#,
            r#"{ "refid":"R1", "pin" : "****" , "x":[1, 2.50,1e3, null] }"#,
        ),
        (
            r#"{"refid":"R2","a":{"token":{"v":[1,"x"]}},"b":"\u00e9\n"}"#,
            r#"{"refid":"R2","a":{"token":{"v":["****","****"]}},"b":"\u00e9\n"}"#,
        ),
        (
            r#"{"refid":"R3","n":4111111111111111,"d":"say \"4111 1111 1111 1111\""}"#,
            r#"{"refid":"R3","n":"****1111","d":"say \"****1111\""}"#,
        ),
        (
            r#"{"refid":4111111111111111,"tid":"x","details":"{\"otp\":12}"}"#,
            r#"{"refid":4111111111111111,"tid":"x","details":"{\"otp\":\"****\"}"}"#,
        ),
        (
            r#"{"returl":"https://u:pw@h/cb?token=abc&x=1","logourl":"/l?key=k"}"#,
            r#"{"returl":"https://u:****@h/cb?token=****&x=1","logourl":"/l?key=****"}"#,
        ),
        (
            r#"{"redirecturl":"{\"token\":\"abc\"}","logourl":" [{\"secret\":\"abc\"}]"}"#,
            r#"{"redirecturl":"{\"token\":\"****\"}","logourl":" [{\"secret\":\"****\"}]"}"#,
        ),
        (
            r#"{"returl":"kpay_key: abc","redirecturl":"http://h/\ntoken: abc","logourl":"pin:1234"}"#,
            r#"{"returl":"kpay_key: ****","redirecturl":"http://h/\ntoken: ****","logourl":"pin:****"}"#,
        ),
        (
            r#"{"returl":"localhost:3000/cb","redirecturl":"https://h:8443/x:y","logourl":"//h/token:abc"}"#,
            r#"{"returl":"localhost:3000/cb","redirecturl":"https://h:8443/x:y","logourl":"//h/token:****"}"#,
        ),
    ] {
        core.call(sent);
        let entry = core.gateway.journal().after(0).next_back().unwrap();
        assert_eq!(view::whole(entry)["request"]["body"], wanted);
    }
}

#[test]
fn addresses_are_shown_without_passwords_and_used_whole() {
    let mut core = Core::new("documented");
    let returl = format!("http://localhost:3000/cb?order=17&token={TOKEN}&card={PAN}");
    let redirect = format!("https://shop.example/thanks?api_key={TOKEN}");
    core.pay(|body| (body["returl"], body["redirecturl"]) = (json!(returl), json!(redirect)));
    let posted = core.advance(Duration::from_secs(60));
    assert_eq!(posted[0].1.target, returl, "the postback goes where the payment says");
    let number = core.replay(posted[0].1.number);
    let again = core.gateway.take_due(core.now);
    assert_eq!((again[0].number, &*again[0].target), (number, &*returl));
    core.gateway.handle_delivery(answered(&again[0], 500, ""), core.now);
    core.pay(|body| (body["refid"], body["returl"]) = (json!("R2"), json!(format!("http://u:{PASSWORD}@h/"))));
    core.advance_with(Duration::from_secs(60), |postback| {
        let mut delivery = answered(postback, 200, "");
        let why = format!("'http://u:{PASSWORD}@h/?token={TOKEN}': it holds a user or a password: leave them out");
        delivery.outcome = Err(Failure::BadTarget(why));
        delivery
    });
    let kept = kept(&core);
    assert_masked(&kept[..3], "addresses");
    assert!(kept[1].1.contains("/cb?order=17&token=****&card=****1111"), "{}", kept[1].1);
    assert!(kept[1].1.contains("it holds a user or a password: leave them out"), "{}", kept[1].1);
    assert!(kept[3].1.contains(TOKEN), "a saved state has the addresses whole: what is saved goes on");
}

#[test]
fn a_listeners_response_is_kept_without_secrets_and_judged_as_it_came() {
    for (body, flagged) in [
        (r#"{"tid":"TID","refid":"REFID","reply":"OK"}"#.to_owned(), false),
        (format!(r#"{{"tid":"TID","refid":"REFID","reply":"OK","token":"{TOKEN}"}}"#), false),
        (format!(r#"{{"tid":"TID","refid":"REFID","reply":"OK","card":{PAN}}}"#), false),
        (format!(r#"{{"tid":"TID","refid":"{PAN}","reply":"OK"}}"#), true),
        (format!("<p>password={PASSWORD} {PAN}</p>"), true),
        (format!("token: {TOKEN}"), true),
    ] {
        for refid in ["R1", "5555555555554444", "4444333322221111 9"] {
            let mut core = Core::new("documented");
            core.pay(|body| body["refid"] = json!(refid));
            let headers = vec![
                ("set-cookie".to_owned(), format!("sid={TOKEN}")),
                ("authorization".to_owned(), format!("Basic {TOKEN}")),
                ("location".to_owned(), format!("http://h/?password={PASSWORD}")),
                ("x-debug".to_owned(), format!("card 4111-1111-1111-1111 {PAN}")),
                (format!("x-{PAN}"), "1".to_owned()),
                ("content-type".to_owned(), "application/json; charset=utf-8".to_owned()),
            ];
            core.advance_with(Duration::from_secs(60), |postback| {
                let mut delivery = acknowledge(postback);
                let body = body.replace("TID", &postback.tid).replace("REFID", refid).into_bytes();
                delivery.outcome = Ok(Answer { status: 200, headers: headers.clone(), body, cut: false });
                delivery
            });
            let delivery = core.gateway.journal().deliveries().next().expect("it was delivered");
            assert_eq!(matches!(delivery.verdict(), Verdict::Unacknowledged(_)), flagged, "{body}");
            let headers = &delivery.outcome.as_ref().unwrap().headers;
            assert_eq!(headers.last().unwrap().1, "application/json; charset=utf-8");
            assert_masked(&kept(&core), &body);
        }
    }
}

#[tokio::test]
async fn an_export_a_page_and_a_report_show_no_secret() {
    let running = Running::with(|config: &mut Config| config.seed = Some(3)).await;
    let mut body = good_pay();
    (body["details"], body["momoPin"]) = (json!(format!("PAN {PAN} 2030")), json!(PASSWORD));
    body["returl"] = json!(format!("http://127.0.0.1:1/cb?access_token={TOKEN}"));
    let headers = format!("X-Api-Key: {TOKEN}\r\nUser-Agent: {PAN}\r\n");
    let answer = running.raw(&post("/", &body.to_string(), &headers)).await;
    let answer = json_of(&answer);
    let tid = answer["tid"].as_str().unwrap();
    running.raw(&post(&format!("/?api_key={TOKEN}"), &body.to_string(), &headers)).await;
    let bearer = post("/", "{}", &headers).replacen(&authorization(), &format!("Authorization: Bearer {TOKEN}\r\n"), 1);
    running.raw(&bearer).await;
    running.second().await;
    for path in [
        "calls".to_owned(),
        format!("payments/{tid}"),
        "api/journal".to_owned(),
        format!("api/transactions/{tid}"),
        "api/deliveries".to_owned(),
        "api/deliveries?as=har".to_owned(),
    ] {
        let page = format!("GET /__sandbox/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = running.raw_plain(&page).await;
        assert_eq!(status(&answer), 200, "{path}: {answer}");
        // A line that sends the same again has the address whole.
        let (before, curl) = answer.split_once("curl --request").unwrap_or((&answer, ""));
        let shown = format!("{before}{}", curl.split_once("</pre>").map_or("", |(_, after)| after));
        assert_masked(&[("export", shown)], &path);
    }
}
