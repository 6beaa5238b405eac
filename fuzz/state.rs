//! Saved states whose structure was changed: refused with a sentence, or a gateway that works on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::core::{Core, acknowledge, answered, good_pay};
use crate::mutate::Corpus;
use crate::targets::Target;

const DAY: Duration = Duration::from_secs(86_400);
/// How many postbacks are delivered in one world: a scenario may repeat each of them 100 times.
const POSTBACK_LIMIT: usize = 2000;

/// The input as a document, and then a sound document with changes that the input chooses.
pub(crate) fn target() -> Target {
    let corpus = Corpus::read("state");
    Box::new(move |input| {
        live(&String::from_utf8_lossy(input));
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        let mut random = ChaCha8Rng::seed_from_u64(hasher.finish());
        let mut state: Value = serde_json::from_slice(corpus.any(&mut random)).expect("the corpus is sound");
        for _ in 0..random.random_range(1..4) {
            change(&mut state, &mut random);
        }
        live(&state.to_string());
    })
}

fn live(saved: &str) {
    let mut core = Core::with("documented", |settings| settings.retries = 1);
    if let Err(why) = core.restore(saved) {
        assert!(!why.is_empty() && why.len() < 2000, "a sentence: {why}");
        return;
    }
    let mut body = good_pay();
    body["refid"] = json!("AFTERWARDS");
    let answer = core.call(&body.to_string());
    let answer: Value = serde_json::from_slice(&answer.body).expect("every answer is JSON");
    assert!(answer["retcode"].is_u64(), "{answer}");
    core.check_status("", "AFTERWARDS");
    let refids: Vec<String> = core.gateway.ledger().iter().map(|found| found.order.refid.to_string()).collect();
    refids.iter().for_each(|refid| drop(core.check_status("", refid)));
    let (target, mut posted) = (core.now.after(DAY), 0);
    while let Some(due) = core.gateway.next_due().filter(|due| *due <= target && posted < POSTBACK_LIMIT) {
        core.now = core.now.max(due);
        for postback in core.gateway.take_due(core.now) {
            posted += 1;
            let fails = posted % 3 == 0;
            let delivery = if fails { answered(&postback, 500, "") } else { acknowledge(&postback) };
            core.gateway.handle_delivery(delivery, core.now);
        }
    }
    core.now = target;
    for entry in core.gateway.journal().after(0) {
        assert!(kpay_sandbox::view::entry(entry)["event"].is_string());
    }
    let before = core.saved_value();
    core.carry_over();
    assert_eq!(core.saved_value(), before);
    core.gateway.reset_merchant(&"your_username".into(), core.now);
    core.carry_over();
}

/// Changes one value somewhere in the document.
fn change(state: &mut Value, random: &mut ChaCha8Rng) {
    let others = state.clone();
    let value = any(state, random);
    match random.random_range(0..6) {
        0 | 1 => *value = limit(random),
        2 => {
            // A number near the one that it was, or a reference to something else.
            let near = value.as_u64().map(|number| number.wrapping_add(random.random_range(0..3)).wrapping_sub(1));
            *value = near.map_or_else(|| any_of(&others, random), Value::from);
        }
        3 => *value = any_of(&others, random),
        _ => match value {
            Value::Array(list) if !list.is_empty() => {
                let at = random.random_range(0..list.len());
                match random.random_range(0..4) {
                    0 => list.shuffle(random),
                    1 => list.truncate(at),
                    2 => drop(list.remove(at)),
                    _ => list.insert(at, list[at].clone()),
                }
            }
            Value::Object(fields) if !fields.is_empty() => {
                let at = random.random_range(0..fields.len());
                let name = fields.keys().nth(at).cloned().unwrap_or_default();
                let removed = fields.shift_remove(&name).unwrap_or_default();
                if random.random_bool(0.3) {
                    fields.insert(format!("{name}x"), removed);
                }
            }
            other => *other = limit(random),
        },
    }
}

/// A value at one of the limits.
fn limit(random: &mut ChaCha8Rng) -> Value {
    let all = [
        json!(0),
        json!(1),
        json!(-1),
        json!(255),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(1u64 << 31),
        json!(1u64 << 40),
        json!(253_402_300_799_000_000_u64),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!("0s"),
        json!("x".repeat(300)),
        json!("E6970011769860805"),
        json!("é\u{0}\u{202e}"),
    ];
    all[random.random_range(0..all.len())].clone()
}

/// Some value in a document. At each level it stops or goes on.
fn any<'a>(mut value: &'a mut Value, random: &mut ChaCha8Rng) -> &'a mut Value {
    loop {
        let length = match &value {
            Value::Array(list) => list.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        if length == 0 || random.random_bool(0.1) {
            return value;
        }
        let at = random.random_range(0..length);
        value = match value {
            Value::Array(list) => &mut list[at],
            Value::Object(fields) => fields.values_mut().nth(at).expect("it is within the length"),
            other => return other,
        };
    }
}

fn any_of(value: &Value, random: &mut ChaCha8Rng) -> Value {
    any(&mut value.clone(), random).clone()
}
