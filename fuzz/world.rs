//! The stateful target: bytes become calls, settlements, moves of the clock, deliveries that fail, resets and saved states, and a
//! small model, which knows nothing of the program, says what must come of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kpay_sandbox::gateway::Timestamp;
use kpay_sandbox::gateway::call::Credentials;
use kpay_sandbox::gateway::scenario::Settlement;
use serde_json::{Value, json};

use crate::core::{Core, acknowledge, answered, good_pay};

const MERCHANTS: [&str; 2] = ["shop-a", "shop-b"];
const SECOND: Duration = Duration::from_secs(1);

/// What is left of a payment's script.
#[derive(Clone, Copy, PartialEq)]
enum Left {
    SettleAndPost,
    Settle,
    Post,
    Nothing,
}

/// The scenarios, what `pay` settles at once, what the script settles after a second, and what is left of it at first.
const SCENARIOS: [(&str, Option<&str>, &str, Left); 5] = [
    ("approve", None, "01", Left::SettleAndPost),
    ("decline", None, "02", Left::SettleAndPost),
    ("lost-postback", None, "01", Left::Settle),
    ("pending", None, "", Left::Nothing),
    ("immediate", Some("01"), "", Left::Nothing),
];

struct Payment {
    tid: String,
    result: Option<&'static str>,
    left: Left,
    /// When its script settles, and as what.
    settles: (Timestamp, &'static str),
    /// When its next postback leaves.
    posts: Option<Timestamp>,
}

/// When, whose, which result, which attempt.
type Posted = (Timestamp, String, String, u32);

pub(crate) struct World {
    core: Core,
    /// By merchant and refid.
    payments: BTreeMap<(usize, u8), Payment>,
    /// Postbacks that come again: when, whose merchant's, whose, and with which result.
    retries: Vec<(Timestamp, usize, String, &'static str)>,
    /// Tids that were forgotten.
    gone: Vec<String>,
}

impl World {
    pub(crate) fn new() -> World {
        let core = Core::with("documented", |settings| {
            let template = settings.rules.accounts.get("your_username").expect("it is built in");
            settings.open = Some(template.merchant.clone());
            settings.retries = 1;
        });
        World { core, payments: BTreeMap::new(), retries: Vec::new(), gone: Vec::new() }
    }

    /// Does what the bytes say, in an empty world.
    pub(crate) fn live(&mut self, input: &[u8]) {
        self.reset(None);
        self.gone.clear();
        for pair in input.chunks_exact(2).take(1000) {
            let (merchant, refid) = (usize::from(pair[1] & 1), pair[1] >> 1 & 15);
            match pair[0] % 16 {
                0..5 => self.pay(merchant, refid, usize::from(pair[0] / 16) % SCENARIOS.len()),
                5..8 => self.ask(merchant, refid),
                8..11 => self.advance(Duration::from_millis(u64::from(pair[1]) * 20), pair[0] >= 128),
                11..13 => self.settle(merchant, refid, if pair[0] >= 128 { "01" } else { "02" }),
                13 if pair[1] < 16 => self.reset(None),
                13 => self.reset(Some(merchant)),
                14 => self.carry_over(),
                _ => self.ask_for_what_is_gone(merchant),
            }
        }
        let all: Vec<(usize, u8)> = self.payments.keys().copied().collect();
        all.iter().for_each(|(merchant, refid)| self.ask(*merchant, *refid));
        self.advance(SECOND * 60, false);
        assert!(self.core.gateway.next_due().is_none(), "nothing is due for ever");
        all.iter().for_each(|(merchant, refid)| self.ask(*merchant, *refid));
    }

    fn call(&mut self, merchant: usize, scenario: Option<&str>, body: &Value) -> Value {
        let credentials = Credentials { username: MERCHANTS[merchant].into(), password: "your_password".into() };
        let body = body.to_string();
        let answered = self.core.call_with(
            |call| {
                call.credentials = Ok(credentials);
                // The scenario is one of a constant's.
                call.scenario = SCENARIOS.iter().map(|(name, ..)| *name).find(|name| Some(*name) == scenario);
            },
            body.as_bytes(),
        );
        serde_json::from_slice(&answered.body).expect("answers are JSON")
    }

    fn pay(&mut self, merchant: usize, refid: u8, scenario: usize) {
        let (name, at_once, later, left) = SCENARIOS[scenario];
        let mut body = good_pay();
        body["refid"] = json!(format!("R{refid}"));
        let answer = self.call(merchant, Some(name), &body);
        let wanted = if self.payments.contains_key(&(merchant, refid)) { 608 } else { 0 };
        assert_eq!(answer["retcode"], wanted, "{answer}");
        if wanted == 0 {
            let tid = answer["tid"].as_str().expect("it has one").to_owned();
            let settles = (self.core.now.after(SECOND), later);
            let payment = Payment { tid, result: at_once, left, settles, posts: None };
            self.payments.insert((merchant, refid), payment);
        }
    }

    fn ask(&mut self, merchant: usize, refid: u8) {
        let found = self.payments.get(&(merchant, refid)).map(|payment| (payment.tid.clone(), payment.result));
        let wanted = found.as_ref().map_or("611", |(_, result)| result.unwrap_or("03"));
        let by_refid = self.call(merchant, None, &json!({ "action": "checkstatus", "refid": format!("R{refid}") }));
        assert_eq!(by_refid["statusid"], wanted, "{by_refid}");
        if let Some((tid, _)) = found {
            let by_tid = self.call(merchant, None, &json!({ "action": "checkstatus", "tid": tid, "refid": "none" }));
            assert_eq!(by_tid, by_refid);
            let other = self.call(1 - merchant, None, &json!({ "action": "checkstatus", "tid": tid }));
            assert_eq!(other["statusid"], "611", "another merchant's: {other}");
        }
    }

    fn ask_for_what_is_gone(&mut self, merchant: usize) {
        // A whole reset lets ids begin again, so another may have got the same.
        let taken = |tid: &&String| self.payments.values().any(|payment| payment.tid == **tid);
        if let Some(tid) = self.gone.last().filter(|tid| !taken(tid)).cloned() {
            let answer = self.call(merchant, None, &json!({ "action": "checkstatus", "tid": tid }));
            assert_eq!(answer["statusid"], "611", "{answer}");
        }
    }

    fn settle(&mut self, merchant: usize, refid: u8, result: &'static str) {
        let Some(payment) = self.payments.get_mut(&(merchant, refid)) else { return };
        payment.result = Some(result);
        (payment.left, payment.posts) = match payment.left {
            Left::SettleAndPost | Left::Post => (Left::Post, Some(self.core.now)),
            Left::Settle => (Left::Nothing, None),
            Left::Nothing => (Left::Nothing, Some(self.core.now)),
        };
        let settlement: Settlement = serde_json::from_value(json!({ "statusid": result })).expect("it is one");
        assert!(self.core.gateway.settle_by_hand(&payment.tid, &settlement, self.core.now));
    }

    fn advance(&mut self, span: Duration, failing: bool) {
        let target = self.core.now.after(span);
        let mut wanted = self.expected(target, failing);
        let listener = |postback: &_| if failing { answered(postback, 500, "") } else { acknowledge(postback) };
        let posted = self.core.advance_with(span, listener);
        let mut came: Vec<Posted> = posted
            .into_iter()
            .map(|(at, postback)| {
                let body: Value = serde_json::from_slice(&postback.body).expect("postbacks are JSON");
                assert_eq!(body["tid"], *postback.tid);
                (
                    at,
                    postback.tid.to_string(),
                    body["statusid"].as_str().unwrap_or_default().to_owned(),
                    postback.attempt,
                )
            })
            .collect();
        // At one moment the order between payments is the program's own.
        wanted.sort();
        came.sort();
        assert_eq!(came, wanted);
    }

    /// What leaves until then.
    fn expected(&mut self, target: Timestamp, failing: bool) -> Vec<Posted> {
        let mut leaving = Vec::new();
        let due = std::mem::take(&mut self.retries);
        let (due, later) = due.into_iter().partition(|(at, ..)| *at <= target);
        self.retries = later;
        leaving.extend(Vec::from_iter(due).into_iter().map(|(at, _, tid, result)| (at, tid, result.to_owned(), 2)));
        for ((merchant, _), payment) in &mut self.payments {
            if matches!(payment.left, Left::SettleAndPost | Left::Settle) && payment.settles.0 <= target {
                payment.result = Some(payment.settles.1);
                let posts = payment.left == Left::SettleAndPost;
                payment.posts = posts.then_some(payment.settles.0);
                payment.left = if posts { Left::Post } else { Left::Nothing };
            }
            if let (Some(at), Some(result)) = (payment.posts.take(), payment.result) {
                payment.left = Left::Nothing;
                leaving.push((at, payment.tid.clone(), result.to_owned(), 1));
                let again = at.after(SECOND);
                if failing && again <= target {
                    leaving.push((again, payment.tid.clone(), result.to_owned(), 2));
                } else if failing {
                    self.retries.push((again, *merchant, payment.tid.clone(), result));
                }
            }
        }
        leaving
    }

    fn reset(&mut self, merchant: Option<usize>) {
        match merchant {
            None => drop(self.core.gateway.reset(self.core.now)),
            Some(merchant) => self.core.gateway.reset_merchant(&Arc::from(MERCHANTS[merchant]), self.core.now),
        }
        let concerned = |whose: usize| merchant.is_none_or(|merchant| merchant == whose);
        self.retries.retain(|(_, whose, ..)| !concerned(*whose));
        let all = std::mem::take(&mut self.payments).into_iter();
        let (forgotten, kept): (BTreeMap<_, _>, _) = all.partition(|((whose, _), _)| concerned(*whose));
        self.payments = kept;
        self.gone.extend(forgotten.into_values().map(|payment| payment.tid));
    }

    /// What is saved and read back goes on as if nothing had happened.
    fn carry_over(&mut self) {
        self.core.carry_over();
    }
}
