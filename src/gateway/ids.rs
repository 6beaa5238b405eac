//! Identifiers in KPay's shapes (contract, section 7), from one seeded generator.

use compact_str::{CompactString, ToCompactString, format_compact};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::profile::TidForm;
use super::timestamp::Timestamp;

/// The source of every id.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ids {
    random: ChaCha8Rng,
    counter: u64,
    checkout_offset: u64,
    seeded: bool,
}

/// Checkout ids have eleven digits.
const CHECKOUT_IDS: u64 = 100_000_000_000;
/// Coprime to [`CHECKOUT_IDS`]: stepping by it meets every id once before any comes again.
const CHECKOUT_STEP: u64 = 61_803_398_873;
/// With a seed, the seconds in a tid count from here instead of telling the time, so that they repeat: 2025-01-01.
const SEEDED_SECONDS: u64 = 1_735_689_600;

impl Ids {
    /// Ids from a seed; `repeatable` ones do not hold the time of day.
    pub fn new(seed: u64, repeatable: bool) -> Ids {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let checkout_offset = random.random_range(0..CHECKOUT_IDS);
        Ids { random, counter: 0, checkout_offset, seeded: repeatable }
    }

    /// The ids of one new transaction: tid and checkout id, both unique in this run.
    pub fn transaction(&mut self, form: TidForm, now: Timestamp) -> (CompactString, CompactString) {
        self.counter += 1;
        let seconds = if self.seeded { SEEDED_SECONDS + self.counter } else { now.unix_seconds() };
        let tid = match form {
            TidForm::Plain => format_compact!("E{}{seconds}", 697_000 + self.counter),
            TidForm::Kpy => format_compact!("E{}KPY{seconds}", 50_117_000 + self.counter),
        };
        let steps = u128::from(self.counter) * u128::from(CHECKOUT_STEP) + u128::from(self.checkout_offset);
        let checkout = format_compact!("A{:011}", steps % u128::from(CHECKOUT_IDS));
        (tid, checkout)
    }

    /// 26 characters of `0-9a-v`, new for each call.
    pub fn authkey(&mut self) -> String {
        let (mut bits, last): (u128, u8) = (self.random.random(), self.random.random());
        let mut key = String::with_capacity(26);
        for _ in 0..25 {
            key.push(char::from(b"0123456789abcdefghijklmnopqrstuv"[(bits & 31) as usize]));
            bits >>= 5;
        }
        key.push(char::from(b"0123456789abcdefghijklmnopqrstuv"[usize::from(last & 31)]));
        key
    }

    /// Ten digits.
    pub fn momtransactionid(&mut self) -> CompactString {
        self.random.random_range(2_000_000_000_u64..3_000_000_000).to_compact_string()
    }
}
