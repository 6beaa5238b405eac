//! The pages in a real Chromium: what a payer and a developer see and press.

use std::time::Duration;

use kpay_sandbox::clock::ClockMode;
use serde_json::{Value, json};

use crate::chromium::{Page, sandbox};
use crate::harness::Running;
use crate::receiver::Receiver;

/// The shop: takes postbacks, and shows a page to whom the redirect leads there.
async fn shop() -> Receiver {
    Receiver::answering(|body| {
        let (label, answer) = if body["tid"].is_string() {
            let reply = json!({ "tid": body["tid"], "refid": body["refid"], "reply": "OK" });
            ("application/json", reply.to_string())
        } else {
            ("text/html", "<!doctype html><title>Shop</title><link rel=icon href=data:,><p>Thank you".to_owned())
        };
        format!("HTTP/1.1 200 OK\r\nContent-Type: {label}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
    })
    .await
}

/// Pays, and the checkout page's address.
async fn pay(running: &Running, shop: &Receiver, refid: &str, change: impl FnOnce(&mut Value)) -> String {
    let answer = running
        .pay(|body| {
            (body["refid"], body["pmethod"]) = (json!(refid), json!("cc"));
            (body["returl"], body["redirecturl"]) = (json!(shop.url("/postback")), json!(shop.url("/thanks?order=1")));
            change(body);
        })
        .await;
    let id = answer["url"].as_str().unwrap().rsplit('/').next().unwrap();
    format!("https://localhost:{}/checkout/{id}", running.port())
}

fn dashboard(running: &Running, path: &str) -> String {
    format!("https://localhost:{}/__sandbox/{path}", running.port())
}

fn told(running: &Running, refid: &str) -> String {
    running.sandbox.read(|gateway| {
        let found = gateway.ledger().of_refid("your_username", refid).next().unwrap();
        found
            .outcome
            .as_ref()
            .map_or("03".into(), |outcome| format!("{} {}", outcome.statusid.as_str(), outcome.statusdesc))
    })
}

fn deliveries(running: &Running) -> usize {
    running.sandbox.read(|gateway| gateway.journal().deliveries().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_card_of_the_drawer_pays_and_the_browser_comes_back_to_the_shop() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let shop = shop().await;
    let page = Page::open(&pay(&running, &shop, "R", |_| {}).await).await;
    page.until_text("RWF 5,000").await;
    page.is_accessible().await;
    page.screenshot("checkout-card").await;
    page.click("details summary").await;
    page.is_accessible().await;
    page.screenshot("checkout-drawer").await;
    page.click("a[href$='card=47']").await;
    page.until("document.getElementById('brand').textContent === 'American Express'").await;
    assert_eq!(page.js("document.getElementById('number').value").await, "3782 822463 10005");
    page.click("button[value=card]").await;
    page.until("location.pathname === '/thanks'").await;
    assert_eq!(page.js("location.search").await, "?order=1");
    assert!(told(&running, "R").starts_with("01"));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_outcome_is_shown_as_it_is() {
    let Some(running) = sandbox(|config| config.clock_speed = 20.0).await else { return };
    let shop = shop().await;
    for (index, word) in
        ["declined", "insufficient funds", "expired", "internal error", "did not answer"].iter().enumerate()
    {
        let refid = format!("R{index}");
        // An address that no browser is sent to lets the result be looked at.
        let address = pay(&running, &shop, &refid, |body| body["redirecturl"] = json!("/thanks")).await;
        let page = Page::open(&address).await;
        page.click("details summary").await;
        page.click(&format!("a[href$='outcome={index}']")).await;
        page.until("document.getElementById('holder')?.value").await;
        page.click("button[value=card]").await;
        if index == 4 {
            page.until_text("Processing your payment").await;
            page.is_accessible().await;
            page.screenshot("checkout-processing").await;
        }
        page.until_text("Payment failed").await;
        page.until_text(word).await;
        page.until_text("is no http or https address").await;
        if index == 0 {
            page.is_accessible().await;
            page.screenshot("checkout-failed").await;
        }
        page.close().await;
    }
    let address = pay(&running, &shop, "R9", |body| body["redirecturl"] = json!("javascript:alert(1)")).await;
    let page = Page::open(&address).await;
    page.click("#number").await;
    page.write("4000000000000002").await;
    assert_eq!(page.js("document.getElementById('number').value").await, "4000 0000 0000 0002");
    page.until("document.getElementById('brand').textContent === 'Visa'").await;
    page.click("#holder").await;
    page.write("Jane Customer").await;
    page.click("#expiry").await;
    page.write("1299").await;
    assert_eq!(page.js("document.getElementById('expiry').value").await, "12/99");
    page.click("#cvv").await;
    page.write("123").await;
    page.click("button[value=card]").await;
    page.until_text("not a test card").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_paid_by_keyboard_alone_after_what_was_wrong_is_mended() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let shop = shop().await;
    let page = Page::open(&pay(&running, &shop, "R", |_| {}).await).await;
    let tab_to = async |id: &str| {
        for _ in 0..12 {
            if page.js("document.activeElement.id || document.activeElement.value").await == id {
                return;
            }
            page.press("Tab").await;
        }
        panic!("Tab does not lead to {id}");
    };
    tab_to("number").await;
    page.write("5555444433331112").await;
    page.press("Enter").await;
    page.until("document.querySelector('[role=alert]')").await;
    page.is_accessible().await;
    page.screenshot("checkout-problems").await;
    let told_of =
        page.js("document.getElementById(document.activeElement.getAttribute('aria-describedby')).innerText").await;
    assert!(told_of.as_str().unwrap().contains("last digit"), "{told_of}");
    page.js("document.activeElement.select()").await;
    page.write("5555444433331111").await;
    for (id, text) in [("holder", "Jane Customer"), ("expiry", "1230"), ("cvv", "123")] {
        tab_to(id).await;
        page.write(text).await;
    }
    tab_to("card").await;
    page.press("Enter").await;
    page.until("location.pathname === '/thanks'").await;
    let problems = page.problems();
    assert!(problems.iter().all(|problem| problem.contains("422")), "{problems:?}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paying_twice_pays_once_and_going_back_shows_that_it_is_paid() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let shop = shop().await;
    let address = pay(&running, &shop, "R", |_| {}).await;
    let page = Page::open(&format!("{address}?card=0")).await;
    page.clicks("button[value=card]", 2).await;
    page.until("location.pathname === '/thanks'").await;
    page.back().await;
    page.until_text("Payment successful").await;
    page.until_text("Back to the shop").await;
    // The same in another tab that was open all the time.
    page.go(&address).await;
    page.until_text("Payment successful").await;
    page.close().await;
    running.sandbox.read(|gateway| assert_eq!(gateway.journal().deliveries().count(), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_approves_rejects_and_lets_expire_and_the_page_follows() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let shop = shop().await;
    for (button, statusid) in [
        ("approve", "01"),
        ("reject", "02 The payer rejected"),
        ("wrong-pin", "02 The payer entered a wrong PIN"),
        ("expire", "02 The payer did not answer"),
        ("cancel", "02 The payer cancelled"),
    ] {
        let address = pay(&running, &shop, button, |body| {
            (body["pmethod"], body["msisdn"]) = (json!("momo"), json!("0780000009"));
        })
        .await;
        // One page is pressed, another follows.
        let (pressed, follows) = (Page::open(&address).await, Page::open(&address).await);
        pressed.until_text("*182*7*1#").await;
        if button == "approve" {
            pressed.is_accessible().await;
            pressed.screenshot("checkout-phone").await;
        }
        pressed.click(&format!("button[value={button}]")).await;
        pressed.until("location.pathname === '/thanks'").await;
        follows.until("location.pathname === '/thanks'").await;
        assert!(told(&running, button).starts_with(statusid), "{}", told(&running, button));
        pressed.close().await;
        follows.go(&address).await;
        let title = match button {
            "approve" => "Payment successful",
            "cancel" => "Payment cancelled",
            "expire" => "Payment expired",
            _ => "Payment failed",
        };
        follows.until_text(title).await;
        if matches!(button, "approve" | "cancel" | "expire") {
            follows.is_accessible().await;
            follows.screenshot(&format!("checkout-{button}")).await;
        }
        follows.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_in_a_browser_without_scripts() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let shop = shop().await;
    let page = Page::open("about:blank").await;
    page.call("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    page.go(&format!("{}?card=0", pay(&running, &shop, "CARD", |_| {}).await)).await;
    page.click("button[value=card]").await;
    page.until("location.pathname === '/thanks'").await;
    // Somebody else settles what this page only waits for.
    let asks = |body: &mut Value| (body["pmethod"], body["msisdn"]) = (json!("momo"), json!("0780000009"));
    let address = pay(&running, &shop, "MOMO", asks).await;
    page.go(&address).await;
    page.until_text("Confirm on your phone").await;
    let id = address.rsplit('/').next().unwrap().to_owned();
    running.sandbox.door().apply(|gateway, now| {
        assert!(gateway.handle_payer(&id, kpay_sandbox::gateway::checkout::Act::Approve { bankid: None }, now));
    });
    page.until("location.pathname === '/thanks'").await;
    page.go(&dashboard(&running, "")).await;
    page.click("button[value=pause]").await;
    page.until_text("Paused").await;
    let before = page.js("document.querySelector('#clock time').innerText").await;
    page.click("button[data-key=advance-1m]").await;
    page.until(&format!("document.querySelector('#clock time').innerText > {before}")).await;
    page.click("table a").await;
    page.click("button[value=declined]").await;
    page.until_text("Settled as 02 by hand").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_who_does_not_answer_sees_the_payment_expire_and_a_bank_is_chosen() {
    let Some(running) = sandbox(|config| config.clock = ClockMode::Paused).await else { return };
    let shop = shop().await;
    let address = pay(&running, &shop, "R", |body| {
        (body["msisdn"], body["redirecturl"]) = (json!("0780000004"), json!("/"));
    })
    .await;
    let page = Page::open(&address).await;
    page.until_text("Your answer is awaited until").await;
    running.sandbox.advance(Duration::from_secs(300)).await.unwrap();
    page.until_text("Payment expired").await;
    page.close().await;

    let address = pay(&running, &shop, "B", |body| {
        body["pmethod"] = json!("bank");
        body["redirecturl"] = json!(shop.url(&format!("/thanks?order={}", "word-".repeat(200))));
        body["details"] = json!("a long list of things ".repeat(40));
    })
    .await;
    let page = Page::open(&address).await;
    page.until_text("Pay from your bank account").await;
    page.is_accessible().await;
    page.screenshot("checkout-bank").await;
    page.js("document.getElementById('bankid').value = '040'").await;
    page.click("button[value=approve]").await;
    page.until("location.pathname === '/thanks'").await;
    page.go(&format!("https://localhost:{}/__sandbox/?q=B", running.port())).await;
    page.click("table a").await;
    page.until_text("approved at bank 040").await;
    page.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })").await;
    page.is_accessible().await;
    page.close().await;

    let page = Page::open(&format!("https://localhost:{}/checkout/A00000000000", running.port())).await;
    page.until_text("There is no such payment").await;
    page.is_accessible().await;
    page.screenshot("checkout-unknown").await;
    assert!(page.problems().iter().all(|problem| problem.contains("404")));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hostile_runs_on_any_page() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let shop = shop().await;
    let hostile = format!(
        "</title></script>\"'><img src=x onerror='window.hit=1'><script>window.hit=1</script>{{{{7*7}}}}\u{202e}\u{0} {}",
        "مرحبا ".repeat(140)
    );
    let address =
        pay(&running, &shop, "<script>window.hit=1</script>\" onfocus=\"window.hit=1\" autofocus=\"", |body| {
            body["details"] = json!(hostile);
            for field in ["cname", "cnumber", "email"] {
                body[field] = json!(&hostile[..200]);
            }
            body["msisdn"] = json!("0780000009");
            body["pmethod"] = json!("momo");
            body["logourl"] = json!("javascript:window.hit=1");
            body["redirecturl"] = json!(format!("javascript:window.hit=1//{hostile}"));
            body["returl"] = json!(format!("http://127.0.0.1:1/{}", "<script>window.hit=1</script>".repeat(30)));
            body["extra\"><script>window.hit=1</script>"] = json!(&hostile[..200]);
        })
        .await;
    let page = Page::open(&address).await;
    let unhurt = async |what: &str| {
        assert_eq!(page.js("window.hit ?? null").await, Value::Null, "{what}");
        let wide = page.js("document.documentElement.scrollWidth > document.documentElement.clientWidth").await;
        assert_eq!(wide, false, "{what} is wider than its window");
    };
    page.size(390).await;
    page.until_text("Confirm on your phone").await;
    unhurt("the phone").await;
    page.is_accessible().await;
    page.screenshot("checkout-hostile").await;
    page.size(390).await;
    page.click("button[value=approve]").await;
    page.until_text("is no http or https address").await;
    unhurt("the result").await;
    page.is_accessible().await;
    let tid = running.sandbox.read(|gateway| gateway.ledger().iter().next().unwrap().tid.to_string());
    for path in ["", "calls", "scenarios", "merchants", "coverage", "start", &format!("payments/{tid}")] {
        page.go(&dashboard(&running, path)).await;
        page.until_text("not KPay").await;
        page.size(390).await;
        unhurt(path).await;
        page.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })").await;
        unhurt(path).await;
        page.is_accessible().await;
    }
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shops_picture_is_shown_and_does_not_learn_where() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let mut pictures = Receiver::answering(|_| {
        let picture = "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><script>parent.hit=1</script><rect width='8' height='8'/></svg>";
        format!("HTTP/1.1 200 OK\r\nContent-Type: image/svg+xml\r\nContent-Length: {}\r\n\r\n{picture}", picture.len())
    })
    .await;
    let shop = shop().await;
    let logo = pictures.url("/logo.svg");
    let address = pay(&running, &shop, "R", |body| body["logourl"] = json!(logo)).await;
    // A picture without TLS on a page with it is the browser's to refuse.
    let page = Page::open(&address.replace("https://", "http://")).await;
    page.until("document.querySelector('.logo').naturalWidth > 0").await;
    let asked = pictures.taken().unwrap();
    assert!(asked.starts_with("GET /logo.svg") && !asked.to_ascii_lowercase().contains("referer"), "{asked}");
    assert_eq!(page.js("window.hit ?? null").await, Value::Null);
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_a_new_payment_at_once_and_each_button_does_its_work() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let shop = shop().await;
    let page = Page::open(&dashboard(&running, "")).await;
    page.until_text("No payment yet").await;
    page.until("document.getElementById('live').innerText === 'Live'").await;
    page.is_accessible().await;
    page.screenshot("dashboard-first").await;
    page.js("window.opened = true").await;
    pay(&running, &shop, "ORDER-7", |body| body["msisdn"] = json!("0780000003")).await;
    page.until_text("ORDER-7").await;
    assert_eq!(page.js("window.opened").await, true, "it came without a reload");

    page.click("table a").await;
    page.until_text("What happened").await;
    let press = async |button: &str, sign: &str| {
        page.click(button).await;
        page.until(&format!("document.getElementById('timeline').innerText.includes({})", json!(sign))).await;
    };
    press("button[value=again]", "Postback 1: acknowledged").await;
    press("button[value=twice]", "Postback 3: acknowledged").await;
    press("button[value=malformed]", "Postback 4: ").await;
    press("button[value=form]", "Postback 5: acknowledged").await;
    press("button[data-key=replay-1]", "Postback 6: acknowledged").await;
    press("button[value=declined]", "Settled as 02 by hand").await;
    press("button[value=approved]", "Settled as 01 by hand").await;
    press("button[value=expired]", "The payer did not answer in time.").await;
    assert!(deliveries(&running) >= 6);
    page.js("document.querySelectorAll('#timeline details').forEach((one) => { one.open = true; })").await;
    page.until_text("authorization: Basic your_username:****").await;
    page.until_text("curl --request POST").await;
    assert!(!page.js("document.body.innerText").await.as_str().unwrap().contains("your_password"));
    page.is_accessible().await;
    page.screenshot("dashboard-payment").await;

    page.go(&dashboard(&running, "scenarios")).await;
    page.click("button[data-key=next-decline]").await;
    page.until_text("decline for 1 payment of any merchant").await;
    page.is_accessible().await;
    page.screenshot("dashboard-scenarios").await;
    page.click("button[value=clear-next]").await;
    page.until_text("Nothing waits").await;
    assert!(page.js("document.body.innerText").await.as_str().unwrap().contains("msisdn 0780000102 or 0730000102"));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_stopped_moved_and_let_go_from_the_dashboard() {
    let Some(running) = sandbox(|config| {
        config.clock = ClockMode::Paused;
        config.clock_start = Some("2026-01-31T12:00:00Z".parse().unwrap());
    })
    .await
    else {
        return;
    };
    let shop = shop().await;
    pay(&running, &shop, "R", |body| (body["pmethod"], body["msisdn"]) = (json!("momo"), json!("0780000105"))).await;
    let page = Page::open(&dashboard(&running, "")).await;
    page.until_text("1 ahead, next at 2026-01-31 12:00:01").await;
    page.screenshot("dashboard-paused").await;
    for (label, now) in [("1s", "12:00:01"), ("1m", "12:01:01"), ("1h", "13:01:01")] {
        page.click(&format!("button[data-key='advance-{label}']")).await;
        page.until(&format!("document.querySelector('#clock time').innerText === '2026-01-31 {now}'")).await;
    }
    page.until_text("nothing ahead").await;
    assert_eq!(deliveries(&running), 1);
    pay(&running, &shop, "R2", |body| (body["pmethod"], body["msisdn"]) = (json!("momo"), json!("0780000105"))).await;
    // The page shows it before the next click: while it is replaced, a click is lost.
    page.until_text("1 ahead").await;
    page.click("button[value=idle]").await;
    page.until("document.querySelector('#clock time').innerText === '2026-01-31 13:03:02'").await;
    page.click("button[value=resume]").await;
    page.until_text("Running").await;
    page.until("document.querySelector('#clock time').innerText > '2026-01-31 13:03:02'").await;
    // Another tab pauses, and this one tells.
    running.sandbox.door().set_clock(ClockMode::Paused);
    page.until_text("Paused").await;
    page.js("fetch('/__sandbox/do', { method: 'POST', body: new URLSearchParams({ do: 'resume' }) })").await;
    page.until_text("Running").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_are_shown_with_what_would_be_right() {
    let Some(running) = sandbox(|_| {}).await else { return };
    for change in [("pmethod", "cash"), ("bankid", "999"), ("retailerid", "99"), ("retailerid", "98"), ("amount", "-1")]
    {
        running.pay(|body| body[change.0] = json!(change.1)).await;
    }
    running.pay(|body| body["msisdn"] = json!("0780000604")).await;
    running.raw_plain(&crate::harness::post("/", "{}", "")).await;
    let wrong = crate::harness::post("/", "{}", "").replace(&crate::harness::authorization(), "");
    running.raw(&wrong).await;
    let page = Page::open(&dashboard(&running, "calls?only=refused")).await;
    for text in [
        "\"pmethod\": \"momo\"",
        "\"bankid\": \"63510\"",
        "\"retailerid\": \"02\"",
        "is not a positive number",
        "The scenario refused it",
        "POST https://",
        "curl --user",
    ] {
        page.until_text(text).await;
    }
    page.is_accessible().await;
    page.screenshot("dashboard-calls").await;
    page.go(&dashboard(&running, "coverage")).await;
    page.until("[...document.querySelectorAll('.grid li.met')].some((one) => one.innerText.startsWith('609'))").await;
    page.is_accessible().await;
    page.screenshot("dashboard-coverage").await;
    page.go(&dashboard(&running, "merchants")).await;
    page.until_text("your_username").await;
    page.is_accessible().await;
    page.screenshot("dashboard-merchants").await;
    page.go(&dashboard(&running, "start")).await;
    page.until_text("NODE_EXTRA_CA_CERTS").await;
    page.is_accessible().await;
    page.screenshot("dashboard-start").await;
    page.go(&format!("https://localhost:{}/", running.port())).await;
    page.is_accessible().await;
    page.screenshot("home").await;
    page.go(&dashboard(&running, "nothing")).await;
    page.until_text("there is no such page").await;
    assert!(page.problems().iter().all(|problem| problem.contains("404")));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_payments_are_filtered_and_paged() {
    let Some(running) = sandbox(|config| config.clock = ClockMode::Paused).await else { return };
    running.sandbox.door().apply(|gateway, now| {
        for number in 0..10_000 {
            let mut body = crate::core::good_pay();
            body["refid"] = json!(format!("N{number:05}"));
            body["returl"] = json!("/");
            body["msisdn"] = json!(if number == 17 { "+250 780 000 003" } else { "0780000001" });
            let body = body.to_string();
            assert!(gateway.handle_call(&crate::core::good_call(body.as_bytes()), now).refusal.is_none());
        }
    });
    let page = Page::open(&dashboard(&running, "")).await;
    page.until("document.querySelectorAll('tbody tr').length === 50").await;
    page.until_text("N09999").await;
    page.click("a[href*='before=']").await;
    page.until_text("N09949").await;
    for filter in
        ["q=N00017", "q=0780000003", "status=pending", "scenario=pending", "status=pending&merchant=your_username"]
    {
        page.go(&dashboard(&running, &format!("?{filter}"))).await;
        page.until("document.querySelectorAll('tbody tr').length === 1").await;
        page.until_text("N00017").await;
    }
    page.click("#q").await;
    page.write("none such").await;
    page.press("Enter").await;
    page.until_text("No payment fits").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_finds_its_sandbox_again_after_a_restart() {
    let Some(running) = sandbox(|_| {}).await else { return };
    let page = Page::open(&dashboard(&running, "")).await;
    page.until("document.getElementById('live').innerText === 'Live'").await;
    let port = running.port();
    running.sandbox.stop().await;
    page.until_text("The sandbox does not answer").await;
    let again = sandbox(|config| config.listen = vec![([127, 0, 0, 1], port).into()]).await.unwrap();
    let shop = shop().await;
    pay(&again, &shop, "AFTER", |_| {}).await;
    page.until_text("AFTER").await;
    page.until("document.getElementById('live').innerText === 'Live'").await;
    // While it was away the browser had to say that nobody answered, and nothing else.
    let problems = page.problems();
    assert!(problems.iter().all(|problem| problem.contains("ERR_")), "{problems:?}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_with_a_token_asks_for_it() {
    let Some(running) = sandbox(|config| config.control_token = Some("a;long=token".into())).await else { return };
    let page = Page::open(&dashboard(&running, "calls")).await;
    page.until_text("asks for its token").await;
    page.is_accessible().await;
    page.screenshot("dashboard-token").await;
    page.click("#token").await;
    page.write("wrong").await;
    page.press("Enter").await;
    page.until_text("That is not this sandbox's").await;
    page.click("#token").await;
    page.write("a;long=token").await;
    page.press("Enter").await;
    page.until_text("No payment yet").await;
    page.click("button[value=pause]").await;
    page.until_text("Paused").await;
    assert!(page.problems().iter().all(|problem| problem.contains("401")));
    page.close().await;
}
