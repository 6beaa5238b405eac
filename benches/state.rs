//! What saving and restoring many payments takes: `cargo bench --bench state`, and a number of payments to choose how many.

#[path = "../tests/it/core.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod core;

use std::time::{Duration, Instant};

use kpay_sandbox::saved;
use serde_json::json;

use crate::core::{Core, good_pay};

/// As in the program: most of reading is allocating.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let payments = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let mut core = Core::new("documented");
    let mut body = good_pay();
    let pay = |core: &mut Core, body: &mut serde_json::Value, number: u32| {
        body["refid"] = json!(format!("ORDER-{number}"));
        core.call(&body.to_string());
    };
    let began = Instant::now();
    for number in 0..payments {
        pay(&mut core, &mut body, number);
        if number % 1000 == 0 {
            core.advance(Duration::from_secs(2));
        }
    }
    println!("{payments} payments made in {:.1?}", began.elapsed());
    // The last ones are still to come: each has a step scheduled.
    for number in 0..payments / 100 {
        pay(&mut core, &mut body, payments + number);
    }
    let mut times: Vec<Duration> = Vec::new();
    let mut snapshot = core.gateway.snapshot(core.now);
    for _ in 0..9 {
        let began = Instant::now();
        snapshot = core.gateway.snapshot(core.now);
        times.push(began.elapsed());
    }
    times.sort();
    println!(
        "snapshot, under the lock: {:.2?} (median), {:.2?} (longest)",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    // While the snapshot is alive, the first change in each piece of memory copies that piece.
    let began = Instant::now();
    let tid = core.gateway.ledger().iter().next().map(|first| first.tid.to_string()).unwrap_or_default();
    core.check_status(&tid, "");
    println!("first checkstatus in a shared piece: {:.2?}", began.elapsed());
    let began = Instant::now();
    let mut text = Vec::new();
    saved::write(&snapshot, (), &mut text).expect("memory takes it");
    let written = began.elapsed();
    let bytes = text.len() as f64;
    println!(
        "written: {written:.1?}, {:.0} bytes a payment, {:.0} MiB",
        bytes / f64::from(payments),
        bytes / 1_048_576.0
    );
    let began = Instant::now();
    let restored = saved::read(core.gateway.settings(), &text[..]).expect("what was saved can be restored");
    println!("read: {:.1?}", began.elapsed());
    // While it is alive, it shares the payments of the old gateway.
    drop(snapshot);
    let began = Instant::now();
    drop(core.gateway.replace(restored.1));
    println!("the old one dropped, outside the lock: {:.1?}", began.elapsed());
}
