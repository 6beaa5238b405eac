//! Whole worlds in virtual time: tenants apart, saved and restored, repeated, and walked through at random.

use std::collections::BTreeMap;
use std::time::Duration;

use kpay_sandbox::gateway::ReturnCode;
use kpay_sandbox::gateway::Timestamp;
use kpay_sandbox::gateway::call::{Call, Credentials};
use kpay_sandbox::gateway::card::CardForm;
use kpay_sandbox::gateway::checkout::Act;
use kpay_sandbox::gateway::merchant::Merchant;
use kpay_sandbox::gateway::scenario::Posting;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::core::{Core, good_pay};
use crate::scenarios::scenario;

const SECOND: Duration = Duration::from_secs(1);

fn user<'a>(username: &'a str) -> impl FnOnce(&mut Call<'_>) + 'a {
    move |call| call.credentials = Ok(Credentials { username: username.into(), password: "any".into() })
}

fn open() -> Core {
    Core::with("documented", |settings| {
        let first = settings.rules.accounts.iter().last().unwrap().merchant.clone();
        settings.open = Some(Merchant { any_password: true, ..first });
    })
}

fn pay_as(core: &mut Core, username: &str, refid: &str) -> Value {
    let mut body = good_pay();
    body["refid"] = json!(refid);
    serde_json::from_slice(&core.call_with(user(username), body.to_string().as_bytes()).body).unwrap()
}

#[test]
fn a_hundred_tenants_never_see_each_other() {
    let mut core = open();
    let names: Vec<String> = (0..100).map(|number| format!("tenant-{number}")).collect();
    for name in &names {
        assert_eq!(pay_as(&mut core, name, "SAME")["retcode"], 0, "{name}");
        assert_eq!(pay_as(&mut core, name, "SAME")["retcode"], 608, "{name}");
    }
    core.advance(SECOND);
    let decline = scenario(json!({ "answer": { "refused": { "retcode": 607 } }, "when": { "amount": 5000 } }));
    core.gateway.put_scenario(decline, Some("tenant-7".into())).unwrap();
    assert_eq!(pay_as(&mut core, "tenant-7", "OWN")["retcode"], 607);
    assert_eq!(pay_as(&mut core, "tenant-8", "OWN")["retcode"], 0);

    core.gateway.reset_merchant(&"tenant-3".into(), core.now);
    assert_eq!(pay_as(&mut core, "tenant-3", "SAME")["retcode"], 0, "its refids are free again");
    assert_eq!(pay_as(&mut core, "tenant-4", "SAME")["retcode"], 608);
    let seen_by = |core: &Core, name: &str| {
        let mine = core.gateway.journal().after(0).filter(|entry| entry.event.merchant() == Some(name)).count();
        (mine, core.gateway.journal().tallies().of(Some(name)).accepted)
    };
    assert_eq!(seen_by(&core, "tenant-3"), (2, 1), "reset, and a call");
    assert_eq!(seen_by(&core, "tenant-4"), (5, 1), "a payment, its result, its delivery, two refusals");
}

#[test]
fn an_open_sandbox_still_refuses_a_wrong_password_of_an_account_that_has_one() {
    let mut core = open();
    assert_eq!(pay_as(&mut core, "your_username", "A")["retcode"], 600);
    assert_eq!(pay_as(&mut core, "", "A")["retcode"], 600, "nobody cannot be a merchant");
    let mut closed = Core::new("documented");
    assert_eq!(pay_as(&mut closed, "somebody", "A")["retcode"], 600);
}

#[test]
fn a_newcomer_takes_the_place_of_an_idle_tenant_or_hears_that_all_places_are_taken() {
    let mut core = open();
    let ask = r#"{"action":"checkstatus","tid":"E1"}"#;
    for number in 0..12_000 {
        let answered = core.call_with(user(&format!("idle-{number}")), ask.as_bytes());
        assert!(answered.refusal.is_some_and(|refusal| refusal.code == ReturnCode::TransactionNotFound), "{number}");
    }
    assert_eq!(core.gateway.rules().accounts.iter().len(), 10_000);
    assert!(core.gateway.rules().accounts.get("your_username").is_some(), "it was not made by --open");
    assert_eq!(core.gateway.journal().tallies().of(None).refused[&ReturnCode::TransactionNotFound], 12_000);
    let names: Vec<String> =
        core.gateway.rules().accounts.iter().map(|account| account.merchant.username.to_string()).collect();
    let tenants: Vec<&String> = names.iter().filter(|name| name.starts_with("idle-")).collect();
    // A saved state forgets no idle tenant, and knows who may give way.
    core.carry_over();
    for name in &tenants[1..] {
        assert_eq!(pay_as(&mut core, name, "A")["retcode"], 0, "{name}");
    }
    core.gateway.put_scenario(scenario(json!({})), Some(tenants[0].as_str().into())).unwrap();
    let refused = core.call_with(user("newcomer"), ask.as_bytes()).refusal.unwrap();
    assert_eq!(refused.code, ReturnCode::InvalidCredentials);
    assert!(
        refused.reason.contains("10000 merchant accounts") && !refused.reason.contains("password"),
        "{}",
        refused.reason
    );
    assert_eq!(pay_as(&mut core, tenants[5], "B")["retcode"], 0, "a tenant that keeps something stays");
    let welcome = |core: &mut Core, name: &str| pay_as(core, name, "A")["retcode"] == 0;
    core.gateway.reset_merchant(&tenants[7].as_str().into(), core.now);
    assert!(welcome(&mut core, "after-a-reset") && !welcome(&mut core, "newcomer"));
    core.gateway.remove_scenario("own", Some(tenants[0])).unwrap();
    assert!(welcome(&mut core, "after-a-scenario") && !welcome(&mut core, "newcomer"));
    core.gateway.remove_merchant(tenants[9], core.now);
    assert!(welcome(&mut core, "after-a-delete") && !welcome(&mut core, "newcomer"));
}

#[test]
fn resetting_one_merchant_drops_what_it_has_under_way() {
    let mut core = open();
    for name in ["one", "two"] {
        pay_as(&mut core, name, "A");
        pay_as(&mut core, name, "B");
    }
    core.now = core.now.after(SECOND);
    let leaving = core.gateway.take_due(core.now);
    assert_eq!(leaving.len(), 4);
    core.gateway.reset_merchant(&"one".into(), core.now);
    for postback in &leaving {
        core.gateway.handle_delivery(crate::core::acknowledge(postback), core.now);
    }
    let whose: Vec<String> =
        core.gateway.journal().deliveries().map(|delivery| delivery.postback.merchant.to_string()).collect();
    assert_eq!(whose, ["two", "two"]);
    assert!(core.gateway.next_due().is_none() && core.gateway.under_way() == 0);
}

#[test]
fn a_saved_world_goes_on_elsewhere_as_it_would_have_here() {
    let mut here = Core::with("documented", |settings| settings.retries = 2);
    here.gateway.put_scenario(scenario(json!({ "chain": ["decline", "approve"] })), None).unwrap();
    for (number, payer) in
        ["0783300000", "0780000102", "0780000103", "0780000106", "0780000007", "0780000009", "0780000108"]
            .iter()
            .enumerate()
    {
        here.pay(|body| (body["refid"], body["msisdn"]) = (json!(number), json!(payer)));
    }
    here.advance(SECOND);
    let mut there = Core::with("documented", |settings| settings.retries = 2);
    there.restore(&here.saved()).unwrap();
    assert_eq!(here.saved_value(), there.saved_value());
    let story = |core: &mut Core| {
        core.pay(|body| (body["refid"], body["msisdn"]) = (json!("late"), json!("0780000103")));
        core.advance(SECOND * 86_400);
        let entries = core.gateway.journal().after(0).map(|entry| kpay_sandbox::view::entry(entry).to_string());
        entries.collect::<Vec<_>>()
    };
    assert_eq!(story(&mut here), story(&mut there));
}

#[test]
fn a_replay_in_a_restored_world_comes_back_and_holds_nothing_up() {
    let mut core = Core::new("documented");
    let tid = core.pay(|_| {})["tid"].as_str().unwrap().to_owned();
    let (_, sent) = core.advance(SECOND).remove(0);
    core.carry_over();
    let replayed = core.replay(sent.number);
    let by_hand = core.gateway.post_by_hand(&tid, &Posting::default(), core.now).unwrap();
    let posted: Vec<u64> = core.advance(SECOND).into_iter().map(|(_, postback)| postback.number).collect();
    assert_eq!(posted, [replayed, by_hand]);
    let recorded: Vec<u64> = core.gateway.journal().deliveries().map(|delivery| delivery.postback.number).collect();
    assert_eq!(recorded, [sent.number, replayed, by_hand]);
    assert_eq!(core.gateway.under_way(), 0);
}

#[test]
fn a_delivery_that_left_before_a_restore_is_dropped_and_the_restored_one_counts() {
    let mut core = Core::new("documented");
    core.pay(|_| {});
    core.now = core.now.after(SECOND);
    let before = core.gateway.take_due(core.now).remove(0);
    core.carry_over();
    let again = core.gateway.take_due(core.now).remove(0);
    assert_eq!((again.number, &again.body), (before.number, &before.body));
    core.gateway.handle_delivery(crate::core::answered(&before, 500, ""), core.now);
    assert_eq!((core.gateway.under_way(), core.gateway.journal().deliveries().count()), (1, 0));
    core.gateway.handle_delivery(crate::core::acknowledge(&again), core.now);
    assert_eq!((core.gateway.under_way(), core.gateway.journal().deliveries().count()), (0, 1));
}

#[test]
fn a_world_that_cannot_be_is_refused_and_nothing_changes() {
    let mut core = Core::new("documented");
    core.pay(|_| {});
    core.now = core.now.after(SECOND);
    core.gateway.take_due(core.now);
    core.pay(|body| body["refid"] = json!("ORDER-2"));
    let sound = core.saved_value();
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 23] = [
        (|state| state["gateway"]["agenda"][0][1]["Step"][0] = json!(99), "gateway.agenda[0]: the payment"),
        (|state| state["gateway"]["agenda"][0][1] = json!({ "Release": 1 }), "gateway.agenda[0]: a delayed response"),
        (
            |state| {
                let one = state["transactions"][0].clone();
                state["transactions"].as_array_mut().unwrap().insert(1, one)
            },
            "payment 2: the tid E6970011769860805 is not the one of payment 2",
        ),
        (
            |state| state["transactions"][1]["order"]["refid"] = json!("ORDER-1"),
            "the refid ORDER-1 of your_username is used twice",
        ),
        (|state| state["transactions"][0]["checkout"] = json!("A00000000000"), "checkout id A00000000000"),
        (|state| state["transactions"][0]["scenario"] = json!(7), "scenarios has 1 entries, and none with the index 7"),
        (|state| state["transactions"][0]["order"]["amount"] = json!(0), "0 is not an amount in hundredths"),
        (|state| state["transactions"][0]["progress"]["turn"] = json!(u32::MAX), "count in progress"),
        (
            |state| state["transactions"].as_array_mut().unwrap().insert(1, json!(5_000_000_000_u64)),
            "more than 2147483647 payments",
        ),
        (|state| state["gateway"]["ids"]["counter"] = json!(7), "gateway.ids: the counter"),
        (|state| state["gateway"]["merchants"][0]["username"] = json!("a:b"), "gateway.merchants: a:b: username"),
        (
            |state| {
                state["gateway"]["configured"] = json!([]);
                state["gateway"]["merchants"][0]["profile"] = json!("none");
            },
            "profile",
        ),
        (|state| state["gateway"]["postbacks"] = json!(0), "gateway.outbox[0]: its number 1"),
        (
            |state| state["gateway"]["outbox"][0]["again"] = json!({ "UntilAcknowledged": ["0s", 9] }),
            "gateway.outbox[0]: it repeats 9 times",
        ),
        (|state| state["gateway"]["journal_last"] = json!(u64::MAX), "a count is 18446744073709551615"),
        (
            |state| state["gateway"]["journal"][1]["number"] = json!(1),
            "gateway.journal[1]: the number 1 is out of order",
        ),
        (|state| state["gateway"]["journal_evicted"] = json!(9), "gateway.journal[0]: the number 1 is out of order"),
        (
            |state| state["scenarios"][0]["steps"][1]["do"] = json!({ "postback": { "count": 0 } }),
            "scenarios[0]: steps[1].do.postback.count: write 1",
        ),
        (|state| state["profiles"][0]["settles"]["at_second"] = json!(60), "profiles[0]: settles.at_second"),
        (|state| drop(state.as_object_mut().unwrap().shift_remove("scenarios")), "come before transactions"),
        (|state| state["extra"] = json!(1), "unknown field `extra`"),
        (|state| drop(state.as_object_mut().unwrap().shift_remove("format")), "begins with `format`"),
        (|state| state["now"] = json!("now"), "invalid type: string \"now\", expected u64 at line 1 column"),
    ];
    for (change, word) in cases {
        let mut state = sound.clone();
        change(&mut state);
        let why = core.restore(&state.to_string()).unwrap_err();
        assert!(why.contains(word), "{why}, not {word}");
        assert_eq!(core.saved_value(), sound);
    }
}

/// What a scenario posts when everything is acknowledged at once: for each postback step, its repetitions.
/// Written from the scenario's own JSON, not from what the program makes of it.
fn deliveries_of(scenario: &Value) -> usize {
    let steps = scenario["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let awaits = steps.iter().position(|step| step["do"] == json!("await")).unwrap_or(steps.len());
    let postbacks = steps[..awaits].iter().map(|step| match &step["do"] {
        Value::String(word) if word == "postback" => 1,
        step if step["postback"].is_object() && step["postback"]["until_acknowledged"] == true => 1,
        step if step["postback"].is_object() => step["postback"]["count"].as_u64().unwrap_or(1) as usize,
        _ => 0,
    });
    postbacks.sum()
}

fn built_in() -> BTreeMap<&'static str, Value> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    let all = files.map(|text| serde_json::from_str::<Value>(&text).unwrap());
    // A call borrows the name for as long as it likes.
    let name = |scenario: &Value| &*scenario["name"].as_str().unwrap().to_owned().leak();
    all.map(|scenario| (name(&scenario), scenario)).collect()
}

/// A world and what must hold in it.
struct Walk {
    core: Core,
    random: ChaCha8Rng,
    /// By tid: the deliveries that its script says, and those that came.
    deliveries: BTreeMap<String, (usize, usize)>,
    refids: std::collections::BTreeSet<String>,
    last: Timestamp,
    scenarios: BTreeMap<&'static str, Value>,
    /// Payments whose postback waits for another, by how many there were.
    held: usize,
}

impl Walk {
    fn pay(&mut self) {
        // Some refids come again.
        let refid = self.random.random_range(0..=self.refids.len() * 2);
        let names: Vec<&'static str> = self.scenarios.keys().copied().collect();
        let name = names[self.random.random_range(0..names.len())];
        let mut body = good_pay();
        body["refid"] = json!(format!("R{refid}"));
        let answered = self.core.call_with(|call| call.scenario = Some(name), body.to_string().as_bytes());
        let answer: Value = serde_json::from_slice(&answered.body).unwrap();
        let tid = answer["tid"].as_str().unwrap_or_default().to_owned();
        if tid.is_empty() {
            let scripted = answered.refusal.is_some_and(|refusal| refusal.reason.starts_with("scenario"));
            assert_eq!(!scripted, self.refids.contains(&format!("R{refid}")), "{answer}");
            return;
        }
        assert!(self.refids.insert(format!("R{refid}")), "a refid was taken twice: {answer}");
        let followed = self.core.gateway.ledger().find(&tid).unwrap().scenario.name.to_string();
        let mut expected = deliveries_of(&self.scenarios[&*followed]);
        if followed == "reordered-postbacks" {
            self.held += 1;
            expected = 1;
        }
        self.deliveries.insert(tid, (expected, 0));
    }

    /// Some payer does something; it counts once, and matters where the script asks.
    fn act(&mut self) {
        let places = self.core.gateway.ledger().places();
        let place = self.random.random_range(0..=places);
        let Some((tid, checkout, followed, open)) = self.core.gateway.ledger().page(place, 1).next().map(|found| {
            let open = found.outcome.is_none() && found.answer.is_none();
            (found.tid.to_string(), found.checkout.to_string(), found.scenario.name.to_string(), open)
        }) else {
            return;
        };
        let now = self.core.now;
        let counts = if self.random.random_bool(0.5) {
            let form = CardForm { number: "4111111111111111", holder: "TIMEOUT", expiry: "12/99", cvv: "123" };
            let charge = self.core.gateway.rules().cards.charge(&form, now).unwrap();
            self.core.gateway.handle_card(&checkout, charge, now)
        } else {
            let act = [Act::Approve { bankid: None }, Act::Reject, Act::WrongPin, Act::Expire, Act::Cancel];
            let act = act[self.random.random_range(0..act.len())].clone();
            self.core.gateway.handle_payer(&checkout, act, now)
        };
        assert_eq!(counts, open, "{tid}");
        if counts && followed == "await-payer" {
            self.deliveries.get_mut(&tid).unwrap().0 = 1;
        }
    }

    fn advance(&mut self, span: Duration) {
        for (at, postback) in self.core.advance(span) {
            assert!(at >= self.last, "time went backwards");
            self.last = at;
            let (expected, came) = self.deliveries.get_mut(&*postback.tid).expect("it is known");
            *came += 1;
            assert!(came <= expected, "{} was posted {came} times", postback.tid);
        }
        // All that left has come back.
        assert_eq!(self.core.gateway.under_way(), 0);
    }

    /// Sends a recorded delivery again, beside what its script does.
    fn replay(&mut self) {
        let recorded = self.core.gateway.journal().deliveries().count();
        let Some(chosen) = recorded.checked_sub(1).map(|last| self.random.random_range(0..=last)) else { return };
        let found = self.core.gateway.journal().deliveries().nth(chosen).map(|found| found.postback.clone()).unwrap();
        self.core.replay(found.number);
        self.deliveries.get_mut(&*found.tid).unwrap().0 += 1;
    }

    fn carry_over(&mut self) {
        let before = self.core.saved_value();
        self.core.carry_over();
        assert_eq!(self.core.saved_value(), before);
    }

    fn settle_down(&mut self) {
        if self.held % 2 == 1 {
            // The last one that is held waits for one more.
            let mut body = good_pay();
            body["refid"] = json!("the-last");
            self.core.call_with(|call| call.scenario = Some("reordered-postbacks"), body.to_string().as_bytes());
            let tid = self.core.gateway.ledger().iter().last().unwrap().tid.to_string();
            self.deliveries.insert(tid, (1, 0));
        }
        self.advance(SECOND * 86_400);
        assert!(self.core.gateway.next_due().is_none());
        for (tid, (expected, came)) in &self.deliveries {
            let scenario = &self.core.gateway.ledger().find(tid).unwrap().scenario.name;
            assert_eq!(came, expected, "{tid} by {scenario}");
        }
    }
}

/// A million operations in the release profile, fewer in the slower one. The seed is printed when it fails.
#[test]
fn a_random_walk_keeps_every_promise() {
    let operations = if cfg!(debug_assertions) { 40_000 } else { 1_000_000 };
    let mut done = 0;
    for seed in 0.. {
        println!("seed {seed}");
        let core = Core::new("documented");
        let random = ChaCha8Rng::seed_from_u64(seed);
        let (deliveries, refids, last) = (BTreeMap::new(), std::collections::BTreeSet::new(), core.now);
        let mut walk = Walk { core, random, deliveries, refids, last, scenarios: built_in(), held: 0 };
        for _ in 0..10_000 {
            match walk.random.random_range(0..1000) {
                0..500 => walk.pay(),
                500..800 => {
                    let refid = format!("R{}", walk.random.random_range(0..=walk.refids.len() * 2));
                    let status = walk.core.check_status("", &refid);
                    let known = walk.refids.contains(&refid);
                    assert!(known || status["statusid"] == "611", "{refid}: {status}");
                }
                800..900 => walk.act(),
                900..990 => {
                    let span = Duration::from_millis(walk.random.random_range(0..60_000));
                    walk.advance(span);
                }
                990..999 => walk.replay(),
                _ => walk.carry_over(),
            }
        }
        walk.settle_down();
        done += 10_000;
        if done >= operations {
            break;
        }
    }
}

#[test]
fn a_world_that_says_it_is_further_than_its_script_does_not_panic() {
    let mut core = Core::new("documented");
    core.pay(|_| {});
    let mut value = core.saved_value();
    value["transactions"][0]["progress"] = json!({ "step": 99, "turn": 0, "awaiting": false });
    core.restore(&value.to_string()).unwrap();
    assert!(core.advance(SECOND * 10).is_empty());
    let settlement = serde_json::from_value(json!({ "statusid": "02" })).unwrap();
    assert!(core.gateway.settle_by_hand("E6970011769860805", &settlement, core.now));
    assert_eq!(core.advance(SECOND * 10).len(), 1);
}

#[test]
fn a_full_journal_lets_the_oldest_entries_go_and_says_so() {
    let mut core = Core::new("documented");
    let page = "x".repeat(64 * 1024);
    for number in 0..1100 {
        core.pay(|body| body["refid"] = json!(number));
        core.advance_with(SECOND, |postback| crate::core::answered(postback, 200, &page));
    }
    let journal = core.gateway.journal();
    assert!(journal.evicted() > 0);
    let numbers: Vec<u64> = journal.after(0).map(|entry| entry.number).collect();
    assert_eq!((numbers[0], *numbers.last().unwrap()), (journal.evicted() + 1, 3300));
    assert!(numbers.is_sorted() && numbers.len() as u64 == 3300 - journal.evicted());
    let tally = journal.tallies().of(None);
    assert_eq!(tally.deliveries.values().sum::<u64>(), 1100, "counts outlive the entries");
}
