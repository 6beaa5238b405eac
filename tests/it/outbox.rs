//! The order of postbacks, and the turns of listeners and merchants, in the outbox alone.

use std::collections::{BTreeMap, VecDeque};

use kpay_sandbox::gateway::outbox::{LISTENER_LIMIT, MERCHANT_LIMIT, MERCHANT_MAXIMUM, Outbox, TOTAL_LIMIT};
use kpay_sandbox::gateway::postback::Postback;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn postback(number: u64, merchant: &str, lane: &str, target: &str) -> Postback {
    Postback {
        number,
        generation: 0,
        merchant: merchant.into(),
        lane: lane.into(),
        tid: lane.into(),
        refid: "R".into(),
        attempt: 1,
        again: None,
        method: "POST".into(),
        target: target.into(),
        content_type: "application/json".into(),
        body: b"{}".as_slice().into(),
    }
}

/// Puts so many postbacks, each with a lane of its own, and numbers them on.
fn put(outbox: &mut Outbox, numbers: std::ops::Range<u64>, merchant: &str, target: &str) {
    numbers.for_each(|number| outbox.put(postback(number, merchant, &format!("E{number}"), target)));
}

fn numbers(postbacks: &[Postback]) -> Vec<u64> {
    postbacks.iter().map(|postback| postback.number).collect()
}

#[test]
fn a_lanes_next_postback_leaves_only_when_the_one_before_has_come_back() {
    let mut outbox = Outbox::default();
    let first = postback(1, "shop", "E1", "http://a/");
    outbox.put(first.clone());
    outbox.put(postback(2, "shop", "E1", "http://b/"));
    outbox.put(postback(3, "shop", "E2", "http://a/"));
    assert_eq!(numbers(&outbox.release()), [1, 3]);
    assert_eq!((outbox.waiting(), outbox.under_way(), outbox.may_release()), (1, 2, false));
    assert!(!outbox.take_back(&postback(9, "shop", "E1", "http://a/")), "another one of that lane is under way");
    assert!(!outbox.take_back(&Postback { generation: 7, ..first.clone() }), "it left in another world");
    assert!(outbox.take_back(&first));
    assert!(!outbox.take_back(&first), "it has come back already");
    assert_eq!(numbers(&outbox.release()), [2]);
}

#[test]
fn the_rest_of_a_lane_waits_behind_a_postback_that_waits_itself() {
    let mut outbox = Outbox::default();
    put(&mut outbox, 0..LISTENER_LIMIT as u64, "shop", "http://full/");
    let first = outbox.release().remove(0);
    outbox.put(postback(1000, "shop", "E-lane", "http://full/"));
    outbox.put(postback(1001, "shop", "E-lane", "http://free/"));
    assert!(!outbox.may_release() && outbox.release().is_empty(), "1001 would overtake 1000");
    outbox.take_back(&first);
    let next = outbox.release();
    assert_eq!(numbers(&next), [1000]);
    outbox.take_back(&next[0]);
    assert_eq!(numbers(&outbox.release()), [1001]);
}

#[test]
fn a_listener_that_never_answers_holds_up_its_own_postbacks_only() {
    let mut outbox = Outbox::default();
    put(&mut outbox, 0..3000, "shop", "http://silent:1/a");
    assert_eq!(outbox.release().len(), LISTENER_LIMIT);
    // The spelling of an address makes no other listener.
    outbox.put(postback(4000, "shop", "E4000", "HTTP://Silent:1?b"));
    outbox.put(postback(4001, "other", "E4001", " http://silent:1/c"));
    assert!(!outbox.may_release());
    outbox.put(postback(5000, "shop", "E5000", "http://good/"));
    outbox.put(postback(5001, "other", "E5001", "http://good/"));
    assert_eq!(numbers(&outbox.release()), [5000, 5001]);
}

#[test]
fn a_merchant_with_many_silent_listeners_still_reaches_another_and_so_do_others() {
    let mut outbox = Outbox::default();
    for listener in 0..4 {
        put(&mut outbox, listener * 1000..listener * 1000 + 1000, "shop", &format!("http://silent:{}/", listener + 1));
    }
    assert_eq!(outbox.release().len(), MERCHANT_LIMIT);
    put(&mut outbox, 10_000..10_002, "shop", "http://good/");
    put(&mut outbox, 20_000..20_002, "other", "http://good/");
    let leaving = outbox.release();
    assert_eq!(numbers(&leaving), [10_000, 20_000, 20_001], "one beyond the merchant's limit, where it has none");
    assert!(outbox.take_back(&leaving[0]));
    assert_eq!(numbers(&outbox.release()), [10_001]);
    for listener in 0..1000 {
        outbox.put(postback(30_000 + listener, "shop", &format!("F{listener}"), &format!("http://more:{listener}/")));
    }
    outbox.release();
    assert_eq!(outbox.under_way(), MERCHANT_MAXIMUM + 2);
    outbox.put(postback(50_000, "other", "E50000", "http://else/"));
    assert_eq!(numbers(&outbox.release()), [50_000]);
}

#[test]
fn routes_take_turns() {
    let mut outbox = Outbox::default();
    put(&mut outbox, 0..3, "a", "http://one/");
    put(&mut outbox, 10..13, "b", "http://one/");
    put(&mut outbox, 20..22, "a", "http://two/");
    assert_eq!(numbers(&outbox.release()), [0, 10, 20, 1, 11, 21, 2, 12]);
}

#[test]
fn what_a_merchant_is_reset_out_of_makes_room_for_others() {
    let mut outbox = Outbox::default();
    put(&mut outbox, 0..LISTENER_LIMIT as u64, "a", "http://one/");
    let leaving = outbox.release();
    put(&mut outbox, 1000..1010, "b", "http://one/");
    put(&mut outbox, 2000..2010, "c", "http://one/");
    outbox.put(postback(3000, "a", "E0", "http://one/"));
    outbox.take_back(&leaving[1]);
    // The turn was b's.
    outbox.forget_merchant("b");
    outbox.forget_merchant("a");
    assert_eq!(outbox.waiting(), 10);
    assert_eq!(numbers(&outbox.release()), [2000]);
    leaving.iter().filter(|one| one.number != 1).for_each(|one| assert!(outbox.take_back(one), "{}", one.number));
    assert_eq!(outbox.release().len(), 9, "3000 went with its merchant");
}

/// The world as the outbox's limits have it, written without its code.
#[derive(Default)]
struct Model {
    /// The postbacks of each lane that have not come back, in order.
    lanes: BTreeMap<String, VecDeque<u64>>,
    under_way: Vec<Postback>,
}

impl Model {
    fn count(&self, is_it: impl Fn(&Postback) -> bool) -> usize {
        self.under_way.iter().filter(|one| is_it(one)).count()
    }

    /// Checks those that leave, one by one, against every limit.
    fn leave(&mut self, leaving: Vec<Postback>) {
        for one in leaving {
            assert_eq!(self.lanes[&*one.lane].front(), Some(&one.number), "it overtook its lane");
            let merchant = self.count(|other| other.merchant == one.merchant);
            let own = self.count(|other| other.merchant == one.merchant && other.target == one.target);
            assert!(self.count(|other| other.target == one.target) < LISTENER_LIMIT);
            assert!(merchant < MERCHANT_LIMIT || (own == 0 && merchant < MERCHANT_MAXIMUM));
            assert!(self.under_way.len() < TOTAL_LIMIT);
            self.under_way.push(one);
        }
    }

    /// Returns true if a postback that is first in its lane and not under way has room.
    fn has_room(&self, all: &BTreeMap<u64, Postback>) -> bool {
        self.lanes.values().filter_map(|lane| lane.front()).map(|number| &all[number]).any(|one| {
            let merchant = self.count(|other| other.merchant == one.merchant);
            let own = self.count(|other| other.merchant == one.merchant && other.target == one.target);
            self.count(|other| other.number == one.number) == 0
                && self.count(|other| other.target == one.target) < LISTENER_LIMIT
                && self.under_way.len() < TOTAL_LIMIT
                && (merchant < MERCHANT_LIMIT || (own == 0 && merchant < MERCHANT_MAXIMUM))
        })
    }
}

#[test]
fn whatever_comes_and_goes_nothing_waits_that_has_room_and_no_limit_is_passed() {
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut outbox, mut model, mut all) = (Outbox::default(), Model::default(), BTreeMap::new());
        let (merchants, listeners) = (random.random_range(1..8), random.random_range(1..40));
        for round in 0..60 {
            let more = if round < 40 { random.random_range(0..200) } else { 0 };
            for _ in 0..more {
                let number = all.len() as u64;
                let merchant = random.random_range(0..merchants);
                let lane = format!("{merchant}-{}", random.random_range(0..400));
                let target = format!("http://l:{}/", random.random_range(0..listeners));
                let one = postback(number, &format!("m{merchant}"), &lane, &target);
                model.lanes.entry(lane).or_default().push_back(number);
                all.insert(number, one.clone());
                outbox.put(one);
            }
            assert_eq!(outbox.may_release(), model.has_room(&all), "seed {seed}, round {round}");
            model.leave(outbox.release());
            assert!(!outbox.may_release() && !model.has_room(&all), "seed {seed}, round {round}");
            assert_eq!(outbox.under_way(), model.under_way.len());
            let waiting: usize = model.lanes.values().map(VecDeque::len).sum();
            assert_eq!(outbox.waiting(), waiting - model.under_way.len());
            assert_eq!(outbox.all().len(), waiting);
            let share = if round < 40 { random.random_range(0.0..1.0) } else { 1.0 };
            let (back, rest) =
                std::mem::take(&mut model.under_way).into_iter().partition(|_| random.random_bool(share));
            model.under_way = rest;
            for one in back {
                assert!(outbox.take_back(&one));
                model.lanes.get_mut(&*one.lane).unwrap().pop_front();
            }
            model.lanes.retain(|_, lane| !lane.is_empty());
        }
        while outbox.may_release() {
            outbox.release().iter().for_each(|one| assert!(outbox.take_back(one)));
        }
        assert_eq!((outbox.waiting(), outbox.under_way(), outbox.all().len()), (0, 0, 0), "seed {seed}");
    }
}
