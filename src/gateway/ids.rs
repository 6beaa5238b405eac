//! Identifiers in KPay's shapes (contract, section 7), from one seeded generator.

use compact_str::{CompactString, ToCompactString};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::profile::TidForm;
use super::timestamp::Timestamp;

/// The source of every id.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ids {
    random: ChaCha8Rng,
    counter: u64,
    checkout_offset: CheckoutIds,
    seeded: bool,
}

/// The checkout ids of one run: which payment has which.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct CheckoutIds {
    offset: u64,
}

/// Checkout ids have eleven digits.
const CHECKOUT_IDS: u64 = 100_000_000_000;
/// Coprime to [`CHECKOUT_IDS`]: stepping by it meets every id once before any comes again.
const CHECKOUT_STEP: u64 = 61_803_398_873;
/// What undoes a step: their product is 1 modulo [`CHECKOUT_IDS`].
const CHECKOUT_STEP_BACK: u64 = 90_926_872_937;
/// With a seed, the seconds in a tid count from here instead of telling the time, so that they repeat: 2025-01-01.
const SEEDED_SECONDS: u64 = 1_735_689_600;
/// Below the numbers in plain tids.
const PLAIN_FIRST: u64 = 697_000;
/// Below the numbers in those with `KPY`.
const KPY_FIRST: u64 = 50_117_000;

impl Ids {
    /// Ids from a seed; `repeatable` ones do not hold the time of day.
    pub fn new(seed: u64, repeatable: bool) -> Ids {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let checkout_offset = CheckoutIds { offset: random.random_range(0..CHECKOUT_IDS) };
        Ids { random, counter: 0, checkout_offset, seeded: repeatable }
    }

    /// The ids of one new transaction: tid and checkout id, both unique in this run.
    pub fn transaction(&mut self, form: TidForm, now: Timestamp) -> (CompactString, CompactString) {
        self.counter += 1;
        let seconds = if self.seeded { SEEDED_SECONDS + self.counter } else { now.unix_seconds() };
        let (first, between) = match form {
            TidForm::Plain => (PLAIN_FIRST, ""),
            TidForm::Kpy => (KPY_FIRST, "KPY"),
        };
        let mut tid = CompactString::const_new("E");
        tid.push_str(itoa::Buffer::new().format(first + self.counter));
        tid.push_str(between);
        tid.push_str(itoa::Buffer::new().format(seconds));
        (tid, self.checkout_offset.id(self.counter))
    }

    /// The run's checkout ids.
    pub fn checkouts(&self) -> CheckoutIds {
        self.checkout_offset
    }

    /// Leaves out the ids of so many transactions.
    pub(super) fn skip(&mut self, transactions: usize) {
        self.counter += transactions as u64;
    }

    /// Whether so many transactions, and no more, have got theirs.
    pub(super) fn comes_after(&self, transactions: usize) -> bool {
        self.counter == transactions as u64
    }

    /// 26 characters of `0-9a-v`, new for each call.
    pub fn authkey(&mut self) -> CompactString {
        const CHARACTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let (mut bits, last): (u128, u8) = (self.random.random(), self.random.random());
        let mut key = [CHARACTERS[usize::from(last & 31)]; 26];
        for place in &mut key[..25] {
            *place = CHARACTERS[(bits & 31) as usize];
            bits >>= 5;
        }
        CompactString::from_utf8(key).unwrap_or_default()
    }

    /// Ten digits.
    pub fn momtransactionid(&mut self) -> CompactString {
        self.random.random_range(2_000_000_000_u64..3_000_000_000).to_compact_string()
    }
}

/// The payments, counted from 1, that this may be the tid of: a plain one does not say how many of its digits tell the
/// time, mostly ten.
pub fn numbers_of_tid(tid: &str) -> impl Iterator<Item = u64> {
    let digits = tid.strip_prefix('E').unwrap_or_default();
    let counted = |number: &str, first| number.parse::<u64>().ok()?.checked_sub(first);
    let with_kpy = digits.split_once("KPY").and_then(|(number, _)| counted(number, KPY_FIRST));
    let plain = [10, 11, 12, 9, 8, 7, 6, 5, 4, 3, 2, 1].into_iter();
    let plain = plain.filter_map(move |seconds| {
        counted(digits.split_at_checked(digits.len().checked_sub(seconds)?)?.0, PLAIN_FIRST)
    });
    with_kpy.into_iter().chain(plain)
}

impl CheckoutIds {
    /// The id of a payment, counted from 1.
    fn id(self, number: u64) -> CompactString {
        let steps = u128::from(number) * u128::from(CHECKOUT_STEP) + u128::from(self.offset);
        // Below eleven digits' end, so with it there are twelve, the first of which goes.
        let digits = (steps % u128::from(CHECKOUT_IDS)) as u64 + CHECKOUT_IDS;
        let mut id = CompactString::const_new("A");
        id.push_str(&itoa::Buffer::new().format(digits)[1..]);
        id
    }

    /// The payment, counted from 1, that this is the checkout id of, or may become it.
    pub fn number(self, id: &str) -> Option<u64> {
        let digits = id.strip_prefix('A').filter(|digits| digits.len() == 11)?;
        let steps = digits.parse::<u64>().ok()? + CHECKOUT_IDS - self.offset % CHECKOUT_IDS;
        u64::try_from(u128::from(steps) * u128::from(CHECKOUT_STEP_BACK) % u128::from(CHECKOUT_IDS)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_payment() {
        for (repeatable, form) in [(true, TidForm::Plain), (false, TidForm::Plain), (false, TidForm::Kpy)] {
            for seconds in [0, 7, 1_800_000_000, 253_402_300_799] {
                let mut ids = Ids::new(seconds, repeatable);
                for number in 1..2000 {
                    let (tid, checkout) = ids.transaction(form, Timestamp::from_unix_seconds(seconds));
                    assert!(numbers_of_tid(&tid).any(|told| told == number), "{tid}");
                    assert_eq!(ids.checkouts().number(&checkout), Some(number), "{checkout}");
                }
            }
        }
        for none in ["", "E", "EKPY", "E1", "é", "Eééééééééééé"] {
            assert_eq!(numbers_of_tid(none).count(), 0, "{none}");
        }
    }
}
