//! Saved states: what they hold, how large they are, and the file of `--state`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kpay_sandbox::clock::ClockMode;
use kpay_sandbox::gateway::Timestamp;
use kpay_sandbox::gateway::card::CardForm;
use kpay_sandbox::gateway::merchant::Merchant;
use kpay_sandbox::saved::{self, ReadError};
use kpay_sandbox::{Config, Sandbox, StartError};
use serde_json::{Value, json};

use crate::core::{Core, acknowledge, answered, good_pay};
use crate::harness::{Running, body_of, status};
use crate::scenarios::scenario;

const SECOND: Duration = Duration::from_secs(1);

/// A gateway that holds something of everything that is saved.
fn rich() -> Core {
    let mut core = Core::with("documented", |settings| {
        settings.retries = 2;
        let first = settings.rules.accounts.iter().last().unwrap().merchant.clone();
        settings.open = Some(Merchant { any_password: true, ..first });
    });
    // The first one names the second, and is before it in every order.
    let link = |name: &str, more: Value| {
        let mut one = scenario(more);
        one.name = name.into();
        one
    };
    let second =
        link("z-link", json!({ "steps": [{ "do": { "settle": { "statusid": "01", "statusdesc": "As asked." } } }] }));
    core.gateway.put_scenario(second, None).unwrap();
    let when = json!({ "chain": ["z-link", "decline"], "when": { "msisdn": "0781111111" } });
    core.gateway.put_scenario(link("a-chain", when), None).unwrap();
    let first = core.gateway.rules().accounts.get("your_username").unwrap().merchant.clone();
    core.gateway.put_merchant(Merchant { name: Some("A shop".into()), ..first.clone() }).unwrap();
    core.gateway.put_merchant(Merchant { username: "added".into(), ..first }).unwrap();
    assert!(core.gateway.remove_merchant("no_api_access", core.now));
    let payers = ["0783300000", "0780000102", "0780000103", "0780000106", "0780000007", "0780000009", "0780000108"];
    for (number, payer) in payers.iter().chain(&["0781111111"; 3]).enumerate() {
        core.pay(|body| (body["refid"], body["msisdn"]) = (json!(number), json!(payer)));
    }
    let gone = |call: &mut kpay_sandbox::gateway::call::Call<'_>| {
        call.credentials =
            Ok(kpay_sandbox::gateway::call::Credentials { username: "gone".into(), password: "x".into() });
    };
    for number in 0..3 {
        let mut body = good_pay();
        body["refid"] = json!(number);
        core.call_with(gone, body.to_string().as_bytes());
    }
    core.gateway.reset_merchant(&"gone".into(), core.now);
    // The refid of another payment, at the other host.
    let mut at_live = good_pay();
    at_live["refid"] = json!(0);
    core.call_with(|call| call.host = "pay.esicia.rw", at_live.to_string().as_bytes());
    assert_eq!(core.gateway.ledger().of_refid("your_username", "0").count(), 2);
    let by_card = core.pay(|body| (body["refid"], body["pmethod"]) = (json!("card"), json!("cc")));
    let checkout = by_card["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let form = CardForm { number: "4111111111111111", holder: "TIMEOUT", expiry: "12/99", cvv: "123" };
    let charge = core.gateway.rules().cards.charge(&form, core.now).unwrap();
    assert!(core.gateway.handle_card(&checkout, charge, core.now));
    core.advance_with(SECOND, |postback| {
        if postback.number % 2 == 0 { answered(postback, 500, "no") } else { acknowledge(postback) }
    });
    for name in ["reordered-postbacks", "retried-postback", "status-lags"] {
        let mut body = good_pay();
        (body["refid"], body["currency"], body["amount"]) = (json!(name), json!("USD"), json!("12.50"));
        core.call_with(|call| call.scenario = Some(name), body.to_string().as_bytes());
        core.check_status("", name);
    }
    core.now = core.now.after(SECOND);
    assert!(!core.gateway.take_due(core.now).is_empty(), "postbacks are under way");
    for name in ["pending", "approve", "decline", "slow-postback"] {
        let mut body = good_pay();
        body["refid"] = json!(format!("late-{name}"));
        core.call_with(|call| call.scenario = Some(name), body.to_string().as_bytes());
    }
    core.gateway
        .queue(
            serde_json::from_value(
                json!({ "merchant": null, "when": null, "times": 2, "scenario": { "name": "queued" } }),
            )
            .unwrap(),
        )
        .unwrap();
    core
}

/// With `KPAY_SANDBOX_BLESS` it becomes the corpus of the fuzz target.
#[test]
fn the_corpus_of_the_fuzz_target_is_todays_format() {
    let mut few = Core::new("documented");
    for refid in ["ORDER-1", "ORDER-2"] {
        few.pay(|body| body["refid"] = json!(refid));
        few.advance(SECOND);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/state");
    for (name, mut core) in [("rich.json", rich()), ("few.json", few)] {
        if std::env::var_os("KPAY_SANDBOX_BLESS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), core.saved()).unwrap();
        }
        let text = fs::read_to_string(folder.join(name)).unwrap();
        core.restore(&text).unwrap();
        assert_eq!(core.saved_value(), serde_json::from_str::<Value>(&text).unwrap());
    }
}

#[test]
fn everything_is_restored_as_it_was() {
    let mut core = rich();
    let before = core.saved_value();
    for (list, least) in [("agenda", 5), ("outbox", 2), ("journal", 30), ("scenarios", 2), ("merchants", 2)] {
        assert!(before["gateway"][list].as_array().unwrap().len() >= least, "{list}: {}", before["gateway"][list]);
    }
    assert_eq!(before["transactions"][10], 3, "forgotten ones are a number");
    core.carry_over();
    assert_eq!(core.saved_value(), before);
    let mut followed = Vec::new();
    for number in 0..3 {
        let paid =
            core.pay(|body| (body["refid"], body["msisdn"]) = (json!(format!("link-{number}")), json!("0781111111")));
        followed.push(core.gateway.ledger().find(paid["tid"].as_str().unwrap()).unwrap().scenario.name.to_string());
    }
    assert_eq!(followed, ["queued", "queued", "decline"], "the queue and the chain go on where they were");
}

#[test]
fn accounts_are_the_programs_own_unless_they_were_changed_at_run_time() {
    let saved = rich().saved();
    let mut other = Core::with("documented", |settings| {
        for name in ["portal_key", "new_in_fixtures", "no_api_access", "your_username"] {
            let known = settings.rules.accounts.iter().next().unwrap().merchant.clone();
            let merchant = Merchant { username: name.into(), password: "configured".into(), ..known };
            settings.rules.accounts.put(merchant, &settings.rules.profiles).unwrap();
        }
    });
    other.restore(&saved).unwrap();
    let password =
        |name: &str| other.gateway.rules().accounts.get(name).map(|account| account.merchant.password.to_string());
    assert_eq!(password("new_in_fixtures").as_deref(), Some("configured"));
    assert_eq!(password("no_api_access"), None, "deleted at run time");
    assert_eq!(password("your_username").as_deref(), Some("your_password"), "changed at run time");
    assert_eq!(password("added").as_deref(), Some("your_password"), "added at run time");
}

#[test]
fn a_document_that_ends_early_is_always_recognised() {
    let core = rich();
    let saved = core.saved();
    let text = saved.trim_end();
    let read = |text: &str| saved::read(core.gateway.settings(), text.as_bytes());
    assert!(read(text).is_ok());
    for length in (0..text.len()).step_by(997).filter(|length| text.is_char_boundary(*length)) {
        let error = read(&text[..length]).unwrap_err();
        // A word or a number that is cut may look like another one; the end is missing in any case.
        assert!(matches!(error, ReadError::Truncated(_)), "{length}: {error}");
    }
    let twice = read(&format!("{text}{text}")).unwrap_err().to_string();
    assert!(twice.contains("trailing characters"), "{twice}");
}

#[test]
fn another_format_names_the_version_that_reads_it() {
    let core = Core::new("documented");
    let mut value = core.saved_value();
    for format in [0, 2] {
        value["format"] = json!(format);
        value["version"] = json!("9.8.7");
        value["gateway"] = json!({ "what": ["nobody", "knows"] });
        let error = saved::read(core.gateway.settings(), value.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, ReadError::OtherFormat { .. }), "{error}");
        assert!(error.to_string().ends_with("Restore it with version 9.8.7"), "{error}");
    }
}

#[test]
fn a_payment_takes_few_bytes_and_its_length_is_known_before() {
    let mut core = Core::new("documented");
    let mut lengths = Vec::new();
    for round in 0..3 {
        for number in 0..1000 {
            core.pay(|body| body["refid"] = json!(format!("ORDER-{round}-{number}")));
        }
        core.advance(SECOND * 60);
        let value = core.saved_value();
        let payments = value["transactions"].as_array().unwrap();
        lengths.push(payments.iter().map(|payment| payment.to_string().len() + 2).sum::<usize>() / payments.len());
    }
    println!("{} bytes a payment", lengths[2]);
    assert!(lengths[2] < 700, "{lengths:?}");
    let snapshot = core.gateway.snapshot(core.now);
    assert_eq!(saved::length(&snapshot, ()).unwrap(), core.saved().len() as u64);
}

#[test]
fn a_snapshot_stays_as_it_was_while_the_gateway_goes_on() {
    let mut core = rich();
    for number in 0..600 {
        core.pay(|body| body["refid"] = json!(format!("MANY-{number}")));
    }
    let (before, snapshot) = (core.saved(), core.gateway.snapshot(core.now));
    core.pay(|body| body["refid"] = json!("LATER"));
    core.advance(SECOND * 60);
    core.gateway.reset_merchant(&"your_username".into(), core.now);
    let mut text = Vec::new();
    saved::write(&snapshot, (), &mut text).unwrap();
    let value = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
    assert_eq!(value(&text), value(before.as_bytes()));
}

async fn state(running: &Running, method: &str, headers: &str, body: &str) -> (u16, String) {
    let (port, length) = (running.port(), body.len());
    let length =
        if headers.contains("Content-Length") { String::new() } else { format!("Content-Length: {length}\r\n") };
    let request = format!(
        "{method} /__sandbox/api/state HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{headers}{length}\r\n{body}"
    );
    let answer = running.raw_plain(&request).await;
    (status(&answer), body_of(&answer))
}

#[tokio::test]
async fn a_large_state_is_answered_and_taken_in_pieces() {
    let running = Running::start().await;
    for number in 0..300 {
        running.pay(|body| body["refid"] = json!(format!("ORDER-{number}"))).await;
    }
    let (code, saved) = state(&running, "GET", "", "").await;
    assert!(code == 200 && saved.len() > 200_000, "{code}, {} bytes", saved.len());
    running.sandbox.reset();
    let (code, answer) = state(&running, "PUT", "", &saved).await;
    assert_eq!(code, 200, "{answer}");
    let again = state(&running, "GET", "", "").await.1;
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(value(&again), value(&saved));

    let newer = saved.replacen("\"format\":1", "\"format\":2", 1);
    let end = &saved[..saved.len() - 3];
    for (code, headers, body, word) in [
        (409, "", &*newer, "Restore it with version"),
        (400, "", end, "is cut off at line"),
        (400, "", "[]", "expected a saved state"),
        (413, "Content-Length: 5000000000\r\n", "{", "has 4294967295 bytes at most"),
    ] {
        let (found, answer) = state(&running, "PUT", headers, body).await;
        assert!(found == code && answer.contains(word), "{found}: {answer}");
    }
    assert_eq!(value(&state(&running, "GET", "", "").await.1)["transactions"].as_array().unwrap().len(), 300);
}

/// A sandbox with a state file in a folder.
async fn with_state(folder: &Path, change: impl FnOnce(&mut Config)) -> Running {
    Running::with(|config| {
        config.state = Some(folder.join("state.json"));
        change(config);
    })
    .await
}

async fn refusal(folder: &Path, file: &str) -> String {
    let config = Config { certs: folder.join("certs"), state: Some(folder.join(file)), ..Config::default() };
    match Sandbox::start(config).await {
        Err(StartError::State(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_run_ended() {
    let folder = tempfile::tempdir().unwrap();
    let first = with_state(folder.path(), |_| {}).await;
    let one = first.pay(|body| body["returl"] = json!("http://127.0.0.1:9/")).await;
    first.second().await;
    let was = first.sandbox.door().now();
    assert_eq!(first.sandbox.stop().await, None);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path().join("state.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let names = || {
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["state.json", "state.json.lock"]);

    // The clock stands where it stood: it is later than --clock-start.
    let second = with_state(folder.path(), |_| {}).await;
    assert_eq!(second.sandbox.door().now(), was);
    let status = second.call(&json!({ "action": "checkstatus", "refid": "ORDER-1" })).await;
    assert_eq!((&status["tid"], &status["statusid"]), (&one["tid"], &json!("01")));
    let two = second.pay(|body| body["refid"] = json!("ORDER-2")).await;
    assert_ne!(one["tid"], two["tid"]);
    assert_eq!(second.sandbox.stop().await, None);

    let later = Timestamp::from_unix_seconds(1_900_000_000);
    let third = with_state(folder.path(), |config| config.clock_start = Some(later)).await;
    assert_eq!(third.sandbox.door().now(), later);
    assert_eq!(third.sandbox.stop().await, None);
    // By a running clock what fell due meanwhile is done at once.
    let fourth =
        with_state(folder.path(), |config| (config.clock, config.clock_start) = (ClockMode::Running, None)).await;
    assert!(fourth.sandbox.door().now() >= later);
    fourth.journal_reaches(7).await;
    assert_eq!(fourth.sandbox.read(|gateway| gateway.ledger().places()), 2);
}

#[tokio::test]
async fn after_a_kill_ids_are_left_out_that_lost_payments_may_have_had() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("state.json.lock");
    let mut numbers = Vec::new();
    for refid in ["A", "B", "C"] {
        let running = with_state(folder.path(), |_| {}).await;
        let tid = running.pay(|body| body["refid"] = json!(refid)).await["tid"].as_str().unwrap().to_owned();
        numbers.push(tid[1..].strip_suffix(&tid[tid.len() - 10..]).unwrap().parse::<u64>().unwrap());
        assert_eq!(running.sandbox.stop().await, None);
        assert_eq!(fs::read(&lock).unwrap(), b"", "it ended in peace");
        if refid == "A" {
            // What a process leaves that is killed.
            fs::write(&lock, "      4711\n").unwrap();
        }
    }
    assert_eq!(numbers, [697_001, 797_002, 797_003]);
    let last = with_state(folder.path(), |_| {}).await;
    for refid in ["A", "B", "C"] {
        assert_ne!(last.call(&json!({ "action": "checkstatus", "refid": refid })).await["statusid"], "611", "{refid}");
    }
}

#[tokio::test]
async fn no_id_comes_again_when_a_sandbox_is_killed_before_its_first_write() {
    let folder = tempfile::tempdir().unwrap();
    let lock = fs::File::create(folder.path().join("state.json.lock")).unwrap();
    let mut tids = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let running = with_state(folder.path(), |_| {}).await;
        let tid = running.pay(|_| {}).await["tid"].as_str().unwrap().to_owned();
        assert!(tids.insert(tid.clone()), "{tid} came twice");
        // Without `stop` nothing is written, and the lock file stays as a killed process leaves it.
        drop(running);
        let ended = async {
            while lock.try_lock().is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SECOND * 20, ended).await.expect("it gives the file free");
        lock.unlock().unwrap();
    }
}

#[tokio::test]
async fn a_postback_under_way_at_the_end_leaves_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    // It accepts and never answers.
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let returl = format!("http://{}/", hangs.local_addr().unwrap());
    let running = with_state(folder.path(), |config| config.clock = ClockMode::Running).await;
    running.pay(|body| body["returl"] = json!(returl)).await;
    let (_taken, _) = tokio::task::spawn_blocking(move || hangs.accept().unwrap()).await.unwrap();
    assert_eq!(running.sandbox.stop().await, None);
    let again = with_state(folder.path(), |_| {}).await;
    let (due, delivered) = again
        .sandbox
        .read(|gateway| (gateway.scheduled() + gateway.under_way(), gateway.journal().deliveries().count()));
    assert_eq!((due, delivered), (1, 0));
}

#[tokio::test]
async fn the_file_is_written_when_something_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let quick = |config: &mut Config| config.state_interval = "10ms".parse().unwrap();
    let running = with_state(folder.path(), quick).await;
    running.pay(|_| {}).await;
    let written = || fs::read_to_string(&file).is_ok_and(|text| text.contains("ORDER-1"));
    let waiting = async {
        while !written() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SECOND * 20, waiting).await.expect("it is written");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let sound = Core::new("documented").saved();
    let newer = sound.replacen("\"format\":1", "\"format\":2", 1);
    let cases = [
        ("empty", "", "cut off at line 1"),
        ("truncated", &sound[..sound.len() / 2], "cut off"),
        ("newer", &newer, "has format 2"),
        ("text", "hello", "expected value"),
        ("list", "[]", "a saved state"),
    ];
    for (name, text, word) in cases {
        fs::write(folder.path().join(name), text).unwrap();
        let why = refusal(folder.path(), name).await;
        assert!(why.contains(name) && why.contains(word) && why.ends_with("or name another"), "{why}");
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), text);
    }
    assert!(refusal(folder.path(), "certs").await.contains("not a regular file"));
    assert!(refusal(folder.path(), "no/such/state.json").await.contains("Create it first"));
    fs::write(folder.path().join("own.lock"), "a file of mine").unwrap();
    assert!(refusal(folder.path(), "own").await.contains("is not a lock file"));
    assert_eq!(fs::read_to_string(folder.path().join("own.lock")).unwrap(), "a file of mine");
}

#[tokio::test]
async fn a_second_sandbox_on_one_file_is_told_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = with_state(folder.path(), |_| {}).await;
    let why = refusal(folder.path(), "state.json").await;
    assert!(why.contains(&format!("process id {}", std::process::id())), "{why}");
    first.sandbox.stop().await;
    with_state(folder.path(), |_| {}).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let running = with_state(folder.path(), |_| {}).await;
    running.pay(|_| {}).await;
    fs::remove_dir_all(folder.path()).unwrap();
    let why = running.sandbox.stop().await.unwrap();
    assert!(why.contains("state.json: cannot be written"), "{why}");
}

#[test]
fn exec_always_starts_empty() {
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_kpay-sandbox"))
        .args(["exec", "--state", "state.json", "--", "true"])
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&program.stderr);
    assert!(program.status.code() == Some(2) && why.contains("exec starts empty"), "{why}");
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_to_the_file_itself_and_never_truncated() {
    use std::os::unix::fs::symlink;
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = elsewhere.path().join("own.json");
    fs::write(&own, Core::new("documented").saved()).unwrap();
    symlink(&own, folder.path().join("state.json")).unwrap();
    let running = with_state(folder.path(), |_| {}).await;
    running.pay(|_| {}).await;
    assert_eq!(running.sandbox.stop().await, None);
    assert!(folder.path().join("state.json").is_symlink());
    assert!(fs::read_to_string(&own).unwrap().contains("ORDER-1"));

    symlink(elsewhere.path().join("missing"), folder.path().join("dangling")).unwrap();
    assert!(refusal(folder.path(), "dangling").await.contains("link to a file that does not exist"));
    let precious = elsewhere.path().join("precious");
    fs::write(&precious, "1234").unwrap();
    symlink(&precious, folder.path().join("other.lock")).unwrap();
    refusal(folder.path(), "other").await;
    assert_eq!(fs::read_to_string(&precious).unwrap(), "1234");
}
