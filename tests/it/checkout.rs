//! The payer's side: what it does to the money, in virtual time; and the pages over real sockets, without a browser.

use std::time::Duration;

use kpay_sandbox::gateway::card::{CardForm, CardProblems};
use kpay_sandbox::gateway::checkout::Act;
use kpay_sandbox::gateway::scenario::Scenario;
use kpay_sandbox::web::Redirect;
use serde_json::{Value, json};

use crate::core::{Core, line_of};
use crate::harness::{Running, header, status};

const SECOND: Duration = Duration::from_secs(1);

fn checkout_of(answer: &Value) -> String {
    answer["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

/// A payment by card that waits for its payer.
fn by_card(core: &mut Core) -> String {
    checkout_of(&core.pay(|body| body["pmethod"] = json!("cc")))
}

fn form<'a>(number: &'a str, holder: &'a str, cvv: &'a str) -> CardForm<'a> {
    CardForm { number, holder, expiry: "12/30", cvv }
}

fn charge(core: &mut Core, checkout: &str, form: &CardForm<'_>) -> bool {
    let charge = core.gateway.rules().cards.charge(form, core.now).expect("the form is sound");
    core.gateway.handle_card(checkout, charge, core.now)
}

#[test]
fn the_log_of_a_declined_card_does_not_say_that_it_was_paid() {
    let mut core = Core::new("documented");
    let checkout = by_card(&mut core);
    core.advance(Duration::from_secs(1));
    assert!(charge(&mut core, &checkout, &form("4111111111111111", "DECLINED", "123")));
    let log: String = core.gateway.journal().after(0).map(line_of).collect();
    assert!(log.contains(" entered a Visa card ending in 1111\n") && !log.contains("paid"), "{log}");
}

fn told(core: &mut Core) -> (String, String) {
    let status = core.check_status("", "ORDER-1");
    (status["statusid"].as_str().unwrap().to_owned(), status["statusdesc"].as_str().unwrap().to_owned())
}

#[test]
fn a_card_payment_waits_for_its_payer_and_a_test_card_pays_it() {
    let mut core = Core::new("documented");
    let checkout = by_card(&mut core);
    assert!(core.advance(3600 * SECOND).is_empty(), "nobody has paid");
    assert_eq!(told(&mut core).0, "03");
    assert!(charge(&mut core, &checkout, &form("4111 1111 1111 1111", "Jane Customer", "123")));
    assert_eq!(told(&mut core).0, "03", "the script settles, not the page");
    let posted = core.advance(SECOND);
    assert_eq!(posted.len(), 1);
    assert!(posted[0].1.text().contains(r#""statusid":"01""#));
    assert_eq!(told(&mut core).0, "01");
}

#[test]
fn every_test_card_pays_and_each_outcome_is_chosen_by_name_or_cvv() {
    let numbers: Vec<(String, usize)> = {
        let core = Core::new("documented");
        core.gateway.rules().cards.cards.iter().map(|card| (card.number.to_string(), card.cvv_digits)).collect()
    };
    assert_eq!(numbers.len(), 49);
    for (number, cvv_digits) in &numbers {
        let mut core = Core::new("documented");
        let checkout = by_card(&mut core);
        charge(&mut core, &checkout, &form(number, "Jane Customer", &"1234"[..*cvv_digits]));
        core.advance(SECOND);
        assert_eq!(told(&mut core).0, "01", "{number}");
    }
    for (holder, cvv, amex_cvv, statusid, word, seconds) in [
        ("DECLINED", "105", "0105", "02", "declined", 0),
        ("insufficient funds", "151", "0151", "02", "insufficient", 0),
        ("Expired Card", "154", "0154", "02", "expired", 0),
        ("PROCESSOR ERROR", "196", "0196", "682", "internal error", 0),
        ("TIMEOUT", "168", "0168", "02", "in time", 30),
    ] {
        for (number, name, code) in [
            ("4111111111111111", holder, "123"),
            ("4111111111111111", "Jane Customer", cvv),
            ("378282246310005", "Jane Customer", amex_cvv),
        ] {
            let mut core = Core::new("documented");
            let checkout = by_card(&mut core);
            charge(&mut core, &checkout, &form(number, name, code));
            if seconds > 0 {
                core.advance((seconds - 1) * SECOND);
                assert_eq!(told(&mut core).0, "03");
            }
            core.advance(SECOND);
            let (id, words) = told(&mut core);
            assert!(id == statusid && words.contains(word), "{name} {code}: {id} {words}");
        }
    }
}

#[test]
fn a_number_that_is_no_test_card_is_declined_and_never_kept() {
    let mut core = Core::new("documented");
    let checkout = by_card(&mut core);
    // A number with a right last digit, of a range that no bank issues.
    charge(&mut core, &checkout, &form("4000 0000 0000 0002", "Jane Customer", "123"));
    core.advance(SECOND);
    let (id, words) = told(&mut core);
    assert!(id == "02" && words.contains("not a test card"), "{words}");
    let saved = core.saved();
    assert!(!saved.contains("4000000000000002") && !saved.contains("4000 0000"), "{saved}");
    assert!(saved.contains("0002"), "brand and last four are kept");
}

#[test]
fn a_form_is_sent_back_with_what_to_mend_in_each_field() {
    let core = Core::new("documented");
    let problems = |number: &str, holder: &str, expiry: &str, cvv: &str| {
        let form = CardForm { number, holder, expiry, cvv };
        core.gateway.rules().cards.charge(&form, core.now).map_or_else(|problems| problems, |_| CardProblems::default())
    };
    let all = problems("", " ", "", "");
    for (problem, word) in [(all.number, "number"), (all.holder, "name"), (all.expiry, "12/30"), (all.cvv, "three")] {
        assert!(problem.contains(word), "{problem}");
    }
    assert!(problems("4111111111111112", "J", "12/30", "123").number.contains("last digit"));
    assert!(problems("4111", "J", "12/30", "123").number.contains("12 to 19"));
    assert!(problems("x".repeat(9999).as_str(), "J", "12/30", "123").number.contains("12 to 19"));
    assert!(problems("378282246310005", "J", "12/30", "123").cvv.contains("four"));
    // The sandbox's clock, which stands in January 2026, decides.
    for (expiry, sound) in [
        ("01/26", true),
        ("1/2026", true),
        ("0126", true),
        ("012026", true),
        ("12 / 30", true),
        ("12/25", false),
        ("13/30", false),
        ("00/30", false),
        ("é1/30", false),
        ("/", false),
        ("aé30", false),
    ] {
        assert_eq!(problems("4111111111111111", "J", expiry, "123").expiry.is_empty(), sound, "{expiry}");
    }
}

#[test]
fn the_phone_answers_once_and_each_answer_settles_as_it_says() {
    for (act, statusid, word) in [
        (Act::Approve { bankid: None }, "01", "Success"),
        (Act::Reject, "02", "rejected"),
        (Act::WrongPin, "02", "PIN"),
        (Act::Expire, "02", "in time"),
        (Act::Cancel, "02", "cancelled"),
    ] {
        let mut core = Core::new("documented");
        let checkout = checkout_of(&core.pay(|body| body["msisdn"] = json!("0780000009")));
        assert!(core.gateway.handle_payer(&checkout, act.clone(), core.now));
        assert!(
            !core.gateway.handle_payer(&checkout, Act::Approve { bankid: None }, core.now),
            "only the first counts"
        );
        assert_eq!(core.advance(10 * SECOND).len(), 1);
        assert!(!core.gateway.handle_payer(&checkout, Act::Reject, core.now), "it is settled");
        let (id, words) = told(&mut core);
        assert!(id == statusid && words.contains(word), "{act}: {id} {words}");
    }
    let mut core = Core::new("documented");
    assert!(!core.gateway.handle_payer("A00000000000", Act::Reject, core.now), "there is no such payment");
}

#[test]
fn a_script_that_asks_nobody_goes_its_own_way() {
    let mut core = Core::new("documented");
    let checkout = checkout_of(&core.pay(|body| body["msisdn"] = json!("0780000002")));
    assert!(core.gateway.handle_payer(&checkout, Act::Approve { bankid: None }, core.now));
    core.advance(10 * SECOND);
    assert_eq!(told(&mut core).0, "02", "the scenario is decline");
}

#[test]
fn an_answer_before_the_script_asks_is_remembered_and_one_in_time_stops_the_clock() {
    let script = json!({ "name": "asks-late", "steps": [
        { "after": "10s", "do": { "await": { "up_to": "20s", "else": { "statusid": "02", "statusdesc": "Too late." } } } },
        { "do": "postback" }
    ] });
    let pay = |core: &mut Core| {
        let scenario: Scenario = serde_json::from_value(script.clone()).unwrap();
        core.gateway.put_scenario(scenario, None).unwrap();
        let body = crate::core::good_pay().to_string();
        let answered = core.call_with(|call| call.scenario = Some("asks-late"), body.as_bytes());
        checkout_of(&serde_json::from_slice(&answered.body).unwrap())
    };
    let mut core = Core::new("documented");
    let checkout = pay(&mut core);
    assert!(core.gateway.handle_payer(&checkout, Act::Approve { bankid: None }, core.now));
    core.advance(9 * SECOND);
    assert_eq!(told(&mut core).0, "03");
    core.advance(SECOND);
    assert_eq!(told(&mut core).0, "01");

    // A processor that takes 30 s over a card that came in time is waited for.
    let mut core = Core::new("documented");
    let checkout = pay(&mut core);
    core.advance(29 * SECOND);
    assert!(charge(&mut core, &checkout, &form("4111111111111111", "TIMEOUT", "123")));
    core.advance(29 * SECOND);
    assert_eq!(told(&mut core).0, "03");
    core.advance(SECOND);
    assert!(told(&mut core).1.contains("processor"));

    let mut core = Core::new("documented");
    let checkout = pay(&mut core);
    core.advance(30 * SECOND);
    assert_eq!(told(&mut core), ("02".into(), "Too late.".into()));
    assert!(!core.gateway.handle_payer(&checkout, Act::Reject, core.now));
    let found = core.gateway.ledger().by_checkout(&checkout).unwrap();
    assert_eq!(found.answer.as_ref().unwrap().act, Act::Expire);

    // Letting it expire by hand comes to what the script says of that.
    let mut core = Core::new("documented");
    let checkout = pay(&mut core);
    core.advance(10 * SECOND);
    core.gateway.handle_payer(&checkout, Act::Expire, core.now);
    core.advance(SECOND);
    assert_eq!(told(&mut core).1, "Too late.");
}

#[test]
fn a_saved_world_keeps_what_its_payers_have_answered() {
    let mut core = Core::new("documented");
    let checkout = by_card(&mut core);
    charge(&mut core, &checkout, &form("4111111111111111", "TIMEOUT", "123"));
    let saved = core.saved();
    let mut other = Core::new("documented");
    other.restore(&saved).unwrap();
    assert!(!other.gateway.handle_payer(&checkout, Act::Reject, other.now));
    other.advance(30 * SECOND);
    assert_eq!(told(&mut other).0, "02");
    let checkout_twice = saved.replace(&checkout, "A-none");
    assert!(other.restore(&checkout_twice).unwrap_err().contains("checkout id"));
}

#[test]
fn secrets_in_a_call_are_masked_wherever_it_is_kept() {
    let mut core = Core::new("documented");
    core.pay(|body| {
        body["authkey"] = json!("top-secret");
        body["card_number"] = json!("4111 1111 1111 1111");
        body["card"] = json!({ "pan": 4_111_111_111_111_111_u64 });
        body["cvv2"] = json!(987);
        body["refid"] = json!("4111111111111111");
        body["cemail"] = json!("jane@example.rw");
    });
    core.pay(|body| body["payer"] = json!({ "card": { "cvv": 9871, "password": "also-secret" } }));
    core.call("authkey=form-secret&card=4111111111111111&name=x");
    core.call(r#"{"password": "broken-secret", "pin" : 9872, "#);
    let saved = core.saved();
    for secret in ["secret", "4111 1111", "987", "card=4111", "pan\\\":4111"] {
        assert!(!saved.contains(secret), "{secret} in {saved}");
    }
    assert!(saved.contains("****1111") && saved.contains("jane@example.rw"));
    assert!(saved.contains("4111111111111111"), "a refid is the merchant's own, and needed whole");
    let head = kpay_sandbox::gateway::masking::head(
        "POST",
        "/",
        [
            ("authorization", "Basic eW91cl91c2VybmFtZTp5b3VyX3Bhc3N3b3Jk"),
            ("kpay-key", "k"),
            ("proxy-authorization", "Basic eDp5"),
            ("user-agent", "curl"),
        ]
        .into_iter()
        .map(|(name, value)| (name, value.as_bytes())),
        Some("your_username"),
    );
    assert_eq!(
        String::from_utf8_lossy(&head),
        "POST /\nauthorization: Basic your_username:**** (base64)\nkpay-key: ****\nproxy-authorization: ****\nuser-agent: curl\n"
    );
}

async fn get(running: &Running, path: &str) -> String {
    running.raw(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
}

async fn send(running: &Running, path: &str, form: &str, headers: &str) -> String {
    running
        .raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}Content-Length: {}\r\n\r\n{form}",
            form.len()
        ))
        .await
}

async fn open(running: &Running, change: impl FnOnce(&mut Value)) -> String {
    let answer = running
        .pay(|body| {
            body["pmethod"] = json!("cc");
            body["returl"] = json!("/");
            change(body);
        })
        .await;
    format!("/checkout/{}", checkout_of(&answer))
}

const CARD: &str = "do=card&number=4111+1111+1111+1111&holder=Jane&expiry=12%2F30&cvv=123";

#[tokio::test]
async fn a_browser_without_scripts_pays_and_comes_back_to_the_shop() {
    let running = Running::start().await;
    let page = open(&running, |_| {}).await;
    let shown = get(&running, &page).await;
    assert_eq!(status(&shown), 200);
    for part in ["Example Shop", "RWF 5,000", "autocomplete=\"cc-number\"", "not KPay"] {
        assert!(shown.contains(part), "{part}");
    }
    assert!(!shown.contains("<script>") && !shown.contains(" style="));
    let wrong = send(&running, &page, "do=card&number=4111", "").await;
    assert_eq!(status(&wrong), 422);
    assert!(wrong.contains("12 to 19 digits") && wrong.contains("value=\"4111\""));
    let sent = send(&running, &page, CARD, "").await;
    assert_eq!((status(&sent), header(&sent, "location")), (303, Some(&*format!("{page}/result"))));
    running.second().await;
    let result = get(&running, &format!("{page}/result")).await;
    assert!(result.contains("Payment successful") && result.contains(&format!("1;url={page}/return")), "{result}");
    let back = get(&running, &format!("{page}/return")).await;
    assert_eq!((status(&back), header(&back, "location")), (303, Some("https://shop.example/thanks")));
    let again = get(&running, &page).await;
    assert!(again.contains("Payment successful") && !again.contains("http-equiv=\"refresh\""));
    assert_eq!(
        status(&send(&running, &page, CARD, "").await),
        303,
        "a second time pays nothing and says how it stands"
    );
    running.second().await;
    assert_eq!(running.sandbox.read(|gateway| gateway.journal().deliveries().count()), 1);
}

#[tokio::test]
async fn the_result_goes_back_in_the_query_or_in_a_form_where_that_is_set() {
    for (how, redirecturl) in
        [(Redirect::Query, "https://shop.example/thanks?order=1#top"), (Redirect::Post, "https://shop.example/thanks")]
    {
        let running = Running::with(|config| config.redirect = how).await;
        let page = open(&running, |body| body["redirecturl"] = json!(redirecturl)).await;
        send(&running, &page, "do=cancel", "").await;
        running.second().await;
        let back = get(&running, &format!("{page}/return")).await;
        if how == Redirect::Query {
            let address = header(&back, "location").unwrap();
            assert!(address.starts_with("https://shop.example/thanks?order=1&tid=E"), "{address}");
            assert!(
                address.contains("&refid=ORDER-1&momtransactionid=&statusid=02&statusdesc=")
                    && address.ends_with("#top")
            );
        } else {
            assert_eq!(status(&back), 200);
            assert!(
                back.contains("action=\"https://shop.example/thanks\"")
                    && back.contains("name=\"statusid\" value=\"02\"")
            );
        }
    }
}

#[tokio::test]
async fn no_form_is_posted_from_the_checkout_page_to_the_sandbox_itself() {
    let running = Running::with(|config| config.redirect = Redirect::Post).await;
    for (number, redirecturl) in
        ["http://localhost/__sandbox/api/clock/settle", "https://LOCALHOST:8443/__sandbox/do"].iter().enumerate()
    {
        let page =
            open(&running, |body| (body["refid"], body["redirecturl"]) = (json!(number), json!(redirecturl))).await;
        send(&running, &page, "do=cancel", "").await;
        running.second().await;
        let back = get(&running, &format!("{page}/return")).await;
        assert_eq!((status(&back), header(&back, "location")), (303, Some(*redirecturl)), "it is only opened: {back}");
    }
}

#[tokio::test]
async fn nothing_that_a_merchant_sends_runs_on_the_page_or_leads_astray() {
    let running = Running::start().await;
    let long = format!("\"'><script>alert(1)</script>\u{202e}{}", "x".repeat(900));
    let page = open(&running, |body| {
        body["details"] = json!(long);
        body["cname"] = json!(&long[..200]);
        body["refid"] = json!("\"><img src=x onerror=alert(1)>");
        body["logourl"] = json!("https://pictures.example/a.png\"; script-src *");
        body["redirecturl"] = json!("javascript:alert(document.domain)//https://shop.example");
    })
    .await;
    let shown = get(&running, &page).await;
    assert!(!shown.contains("<script>alert") && !shown.contains("<img src=x"), "{shown}");
    let policy = header(&shown, "content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("img-src 'self' https://pictures.example;"),
        "{policy}"
    );
    assert!(!policy.contains("script-src *"));
    assert!(shown.contains("referrerpolicy=\"no-referrer\""));
    send(&running, &page, CARD, "").await;
    running.second().await;
    for path in [format!("{page}/return"), format!("{page}/result")] {
        let result = get(&running, &path).await;
        assert_eq!((status(&result), header(&result, "location")), (200, None));
        assert!(result.contains("is no http or https address") && !result.contains("href=\"javascript:"));
    }
    let page = open(&running, |body| {
        body["refid"] = json!("ORDER-2");
        body["logourl"] = json!("javascript:alert(1)");
        body["redirecturl"] = json!("https://shop.example/é x\r\nSet-Cookie: a=b");
    })
    .await;
    assert!(!get(&running, &page).await.contains("<img"), "a picture that is none is not shown");
    send(&running, &page, CARD, "").await;
    running.second().await;
    let back = get(&running, &format!("{page}/return")).await;
    assert_eq!(header(&back, "location"), Some("https://shop.example/%C3%A9%20x%0D%0ASet-Cookie:%20a=b"));
    assert_eq!(header(&back, "set-cookie"), None);
}

#[tokio::test]
async fn what_is_wrong_is_said_on_a_page() {
    let running = Running::start().await;
    let page = open(&running, |_| {}).await;
    for (method, path, form, headers, expected, word) in [
        ("GET", "/checkout/A00000000000", "", "", 404, "no such payment"),
        ("GET", "/checkout/../../etc/passwd", "", "", 404, "no such payment"),
        ("GET", "/checkout/A%00", "", "", 404, "no such payment"),
        ("GET", "/checkout/A00000000000/result", "", "", 404, "no such payment"),
        ("GET", "/checkout/A00000000000/return", "", "", 404, "no such payment"),
        ("POST", "/checkout/A00000000000", CARD, "", 404, "no such payment"),
        ("POST", "/checkout/A00000000000", "do=reject", "", 404, "no such payment"),
        ("POST", &page, "do=steal", "", 400, "wrong-pin"),
        ("POST", &page, "", "", 400, "wrong-pin"),
        ("POST", &page, "do=approve&bankid=x", "", 422, "one of the banks"),
        ("POST", &page, CARD, "Origin: https://evil.example\r\n", 403, "another page"),
        ("POST", &page, CARD, "Origin: null\r\n", 403, "another page"),
        ("POST", &page, CARD, "Sec-Fetch-Site: cross-site\r\n", 403, "another page"),
        ("POST", &format!("{page}/result"), "", "", 405, "cannot be used so"),
    ] {
        let answer =
            if method == "GET" { get(&running, path).await } else { send(&running, path, form, headers).await };
        assert_eq!(status(&answer), expected, "{method} {path} {form}: {answer}");
        assert!(answer.contains(word) && answer.contains("not KPay"), "{answer}");
    }
    let huge = send(&running, &page, &"x".repeat(70_000), "").await;
    assert_eq!(status(&huge), 413);
    assert!(get(&running, &page).await.contains("Pay by card"), "nothing of that has paid");
    let still = get(&running, &format!("{page}/return")).await;
    assert_eq!((status(&still), header(&still, "location")), (303, Some(&*page)), "an unpaid one goes back to be paid");
}

#[tokio::test]
async fn a_page_is_told_when_its_payment_changes() {
    let running = std::sync::Arc::new(Running::start().await);
    let page = open(&running, |_| {}).await;
    let asking = tokio::spawn({
        let (running, path) = (std::sync::Arc::clone(&running), format!("{page}/state?seen=open"));
        async move { get(&running, &path).await }
    });
    let sent = send(&running, &page, CARD, "").await;
    assert_eq!(status(&sent), 303);
    let news = asking.await.unwrap();
    assert!(news.contains(r#"{"state":"answered"}"#) || news.contains(r#"{"state":"settled"}"#), "{news}");
    running.second().await;
    assert!(get(&running, &format!("{page}/state?seen=answered")).await.contains(r#"{"state":"settled"}"#));
    assert_eq!(status(&get(&running, "/checkout/A00000000000/state?seen=open").await), 404);
}

#[tokio::test]
async fn the_phone_and_the_bank_have_pages_and_a_script_that_asks_nobody_says_so() {
    let running = Running::start().await;
    let phone = open(&running, |body| {
        (body["pmethod"], body["msisdn"]) = (json!("momo"), json!("0780000009"));
    })
    .await;
    let shown = get(&running, &phone).await;
    assert!(shown.contains("*182*7*1#") && shown.contains("value=\"wrong-pin\"") && shown.contains("MTN MoMo"));
    let airtel = open(&running, |body| {
        (body["refid"], body["pmethod"], body["bankid"]) = (json!("2"), json!("momo"), json!("63514"));
    })
    .await;
    let shown = get(&running, &airtel).await;
    assert!(shown.contains("Airtel Money") && shown.contains("Its scenario, approve, asks no payer"), "{shown}");
    let bank = open(&running, |body| {
        (body["refid"], body["pmethod"], body["bankid"]) = (json!("3"), json!("bank"), json!("040"));
    })
    .await;
    let shown = get(&running, &bank).await;
    assert!(shown.contains("<option value=\"040\" selected>Banque de Kigali"), "{shown}");
    send(&running, &bank, "do=approve&bankid=192", "").await;
    running.second().await;
    assert!(get(&running, &bank).await.contains("approved at bank 192"));
    let spenn = open(&running, |body| {
        (body["refid"], body["pmethod"], body["bankid"]) = (json!("4"), json!("spenn"), json!("63502"));
    })
    .await;
    assert!(get(&running, &spenn).await.contains("Open the SPENN app"));
}
