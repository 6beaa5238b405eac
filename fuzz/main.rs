//! Fuzzing on stable Rust: inputs are mutated from a small corpus, by a seed that is printed.
//!
//!     cargo test --profile quick-release --test fuzz -- [TARGET] [--seconds N] [--seed N]
//!
//! Without arguments each target runs for a second. A panic anywhere in the process is a finding, and so is a promise
//! that does not hold; either prints the seed, the target and the input.

#[path = "../tests/it/core.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod core;
#[cfg(unix)]
mod folder;
#[path = "../tests/it/harness.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod harness;
#[path = "../tests/it/kept.rs"]
mod kept;
mod mutate;
mod planted;
mod state;
mod targets;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use mutate::Corpus;

/// Panics so far, in whatever task or thread.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Prints the input when the target panics with it.
struct Tried<'a> {
    target: &'a str,
    seed: u64,
    input: &'a [u8],
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("finding: {} --seed {}: {:?}", self.target, self.seed, String::from_utf8_lossy(self.input));
            eprintln!("its bytes: {:?}", self.input);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut wanted, mut seconds, mut seed) = (None, 1, None);
    while let Some(argument) = arguments.next() {
        let mut number =
            || arguments.next().and_then(|text| text.parse().ok()).expect("--seconds and --seed take a number");
        match &*argument {
            "--seconds" => seconds = number(),
            "--seed" => seed = Some(number()),
            _ => wanted = Some(argument),
        }
    }
    // Where nothing is asked for, every run tries something new.
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    if let Some(unknown) = wanted.as_ref().filter(|wanted| targets::ALL.iter().all(|(name, _)| name != wanted)) {
        // As with any test binary, a filter may mean another's tests: `cargo test NAME` passes it to all.
        let names = targets::ALL.map(|(name, _)| name).join(", ");
        eprintln!("nothing is fuzzed: there is no target {unknown:?}; write one of {names}");
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
    for (name, make) in targets::ALL {
        if wanted.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let corpus = Corpus::read(name);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut target = make();
        let (began, mut tried) = (Instant::now(), 0_u64);
        while began.elapsed() < Duration::from_secs(seconds) {
            let input = corpus.next(&mut random);
            let _shown = Tried { target: name, seed, input: &input };
            target(&input);
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "something panicked");
            tried += 1;
        }
        println!("{name}: {tried} inputs, seed {seed}");
    }
}
