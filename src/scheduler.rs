//! From due moment to due moment: follows the clock for ever, or advances it on request.
//!
//! By a running clock each delivery is recorded when it ends. By a paused one, those of a moment are recorded
//! together, in the order of their numbers, so that the same calls give the same journal.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::courier::Courier;
use crate::door::Door;
use crate::gateway::Timestamp;
use crate::gateway::postback::{Delivery, Failure, Postback};

/// Why a clock cannot be advanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotAdvance {
    /// It is not paused.
    #[error("the clock is running: only a paused one can be advanced")]
    ClockRuns,
    /// It would pass the last moment there is.
    #[error("from {0} that is later than {last}, the last possible time", last = Timestamp::LAST)]
    TooFar(Timestamp),
}

/// How far an advance came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advanced {
    /// How many due moments it went through.
    pub moments: u64,
    /// True if it came as far as it was asked to; else there were too many moments, or somebody resumed the clock, reset
    /// the sandbox or restored a state.
    pub complete: bool,
}

/// How many rounds of what is due one advance makes at most.
const ROUND_LIMIT: u64 = 1_000_000;

/// Performs what falls due and has its postbacks delivered.
#[derive(Debug)]
pub struct Scheduler {
    door: Arc<Door>,
    courier: Arc<Courier>,
    /// Who moves on by a paused clock does so alone.
    turn: Mutex<()>,
    /// How many deliveries are under way.
    under_way: watch::Sender<usize>,
    /// Set when deliveries still under way are to be given up.
    give_up: watch::Sender<bool>,
}

impl Scheduler {
    /// A scheduler for the world behind a door.
    pub fn new(door: Arc<Door>, courier: Arc<Courier>) -> Scheduler {
        let (under_way, give_up) = (watch::Sender::new(0), watch::Sender::new(false));
        Scheduler { door, courier, turn: Mutex::new(()), under_way, give_up }
    }

    /// Follows the clock until `stop`, then waits for the deliveries under way, `patience` long at most.
    pub async fn follow(self: Arc<Self>, mut stop: watch::Receiver<bool>, patience: Duration) {
        loop {
            let wait = self.door.until_next_due();
            let due = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            let due = tokio::select! {
                () = due => true,
                () = self.door.sooner() => false,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            if due && !self.door.is_paused() {
                self.fire();
            } else if due {
                // Spawned: a stop must not leave it half way.
                let catching_up = tokio::spawn(Arc::clone(&self).catch_up());
                tokio::select! {
                    _ = catching_up => {}
                    _ = stop.wait_for(|stop| *stop) => break,
                }
            }
        }
        if tokio::time::timeout(patience, self.deliveries_done()).await.is_err() {
            // Those that are given up leave again in another run, so a state file has them.
            self.door.save_before_end();
            self.give_up.send_replace(true);
            self.deliveries_done().await;
        }
    }

    /// Moves a paused clock on by `span`, or until nothing is due any more when there is none. When it returns,
    /// everything that fell due has been sent, answered and recorded.
    pub async fn advance(self: &Arc<Self>, span: Option<Duration>) -> Result<Advanced, CannotAdvance> {
        let _turn = self.turn.lock().await;
        if !self.door.is_paused() {
            return Err(CannotAdvance::ClockRuns);
        }
        let (world, now) = (self.door.world(), self.door.now());
        let target = span.map(|span| now.checked_after(span).ok_or(CannotAdvance::TooFar(now))).transpose()?;
        self.deliveries_done().await;
        let (mut rounds, mut moments, mut last) = (0, 0, None);
        while rounds < ROUND_LIMIT && self.door.step_to_next_due(world, target.unwrap_or(Timestamp::LAST)) {
            // What follows at the same moment, such as a transaction's second postback, is another round of it.
            let moment = Some(self.door.now());
            moments += u64::from(std::mem::replace(&mut last, moment) != moment);
            rounds += 1;
            self.fire_in_order().await;
        }
        if rounds == ROUND_LIMIT {
            return Ok(Advanced { moments, complete: false });
        }
        let same_world = self.door.advance_clock_to(world, target.unwrap_or(Timestamp::ZERO));
        Ok(Advanced { moments, complete: same_world && self.door.is_paused() })
    }

    /// Does what is due at this moment of a paused clock.
    async fn catch_up(self: Arc<Self>) {
        let _turn = self.turn.lock().await;
        while self.door.step_to_next_due(self.door.world(), self.door.now()) {
            self.fire_in_order().await;
        }
    }

    /// Performs what is due. The deliveries are spawned: nobody's hanging up may end them.
    fn fire(self: &Arc<Self>) {
        for postback in self.door.apply(|gateway, now| gateway.take_due(now)) {
            let scheduler = Arc::clone(self);
            let under_way = UnderWay::one_more(&self.under_way);
            tokio::spawn(async move {
                let delivery = scheduler.deliver(postback).await;
                scheduler.door.apply(|gateway, now| gateway.handle_delivery(delivery, now));
                drop(under_way);
            });
        }
    }

    /// Performs what is due, waits for the deliveries, and records them in the order of their numbers.
    async fn fire_in_order(self: &Arc<Self>) {
        let mut delivering = JoinSet::new();
        for postback in self.door.apply(|gateway, now| gateway.take_due(now)) {
            let scheduler = Arc::clone(self);
            let under_way = UnderWay::one_more(&self.under_way);
            delivering.spawn(async move { (scheduler.deliver(postback).await, under_way) });
        }
        let mut done = delivering.join_all().await;
        done.sort_by_key(|(delivery, _)| delivery.postback.number);
        for (delivery, under_way) in done {
            self.door.apply(|gateway, now| gateway.handle_delivery(delivery, now));
            drop(under_way);
        }
    }

    async fn deliver(&self, postback: Postback) -> Delivery {
        let mut give_up = self.give_up.subscribe();
        let stopped = Delivery {
            postback: postback.clone(),
            url: String::new(),
            headers: Vec::new(),
            outcome: Err(Failure::Stopped),
            took: Duration::ZERO,
        };
        // In a task of its own, so that even a panic in the courier ends as a recorded delivery.
        let mut courier = JoinSet::new();
        let (shared, began) = (Arc::clone(&self.courier), self.door.now());
        courier.spawn(async move { shared.deliver(postback).await });
        let delivery = tokio::select! {
            done = courier.join_next() => done.and_then(Result::ok).unwrap_or(stopped),
            _ = give_up.wait_for(|given_up| *given_up) => stopped,
        };
        Delivery { took: self.door.now().since(began), ..delivery }
    }

    async fn deliveries_done(&self) {
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.under_way.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// A delivery under way; dropping it says that it has been recorded.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn one_more(count: &watch::Sender<usize>) -> UnderWay {
        count.send_modify(|count| *count += 1);
        UnderWay(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
