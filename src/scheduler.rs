//! From due moment to due moment: follows the clock for ever, or advances it on request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::courier::Courier;
use crate::door::Door;
use crate::gateway::Timestamp;
use crate::gateway::postback::{Delivery, Failure, Postback};

/// A running clock cannot be advanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the clock is running: only a paused one can be advanced")]
pub struct ClockRuns;

/// Performs what falls due and has its postbacks delivered.
#[derive(Debug)]
pub struct Scheduler {
    door: Arc<Door>,
    courier: Arc<Courier>,
    /// How many deliveries are under way.
    under_way: watch::Sender<usize>,
    /// Set when deliveries still under way are to be given up.
    give_up: watch::Sender<bool>,
}

impl Scheduler {
    /// A scheduler for the world behind a door.
    pub fn new(door: Arc<Door>, courier: Arc<Courier>) -> Scheduler {
        Scheduler { door, courier, under_way: watch::Sender::new(0), give_up: watch::Sender::new(false) }
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
            tokio::select! {
                () = due => self.fire(),
                () = self.door.sooner() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if tokio::time::timeout(patience, self.deliveries_done()).await.is_err() {
            self.give_up.send_replace(true);
            self.deliveries_done().await;
        }
    }

    /// Moves a paused clock on by `span`. When it returns, everything that fell due has been sent, answered
    /// and recorded.
    pub async fn advance(self: &Arc<Self>, span: Duration) -> Result<(), ClockRuns> {
        if !self.door.is_paused() {
            return Err(ClockRuns);
        }
        let target: Timestamp = self.door.now().after(span);
        while self.door.step_to_next_due(target) {
            self.fire();
            self.deliveries_done().await;
        }
        self.door.advance_clock_to(target);
        Ok(())
    }

    /// Performs what is due. The deliveries are spawned: nobody's hanging up may end them.
    fn fire(self: &Arc<Self>) {
        for postback in self.door.apply(|gateway, now| gateway.take_due(now)) {
            self.under_way.send_modify(|count| *count += 1);
            tokio::spawn(Arc::clone(self).deliver(postback));
        }
    }

    async fn deliver(self: Arc<Self>, postback: Postback) {
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
        let shared = Arc::clone(&self.courier);
        courier.spawn(async move { shared.deliver(postback).await });
        let delivery = tokio::select! {
            done = courier.join_next() => done.and_then(Result::ok).unwrap_or(stopped),
            _ = give_up.wait_for(|given_up| *given_up) => stopped,
        };
        self.door.apply(|gateway, now| gateway.handle_delivery(delivery, now));
        self.under_way.send_modify(|count| *count -= 1);
    }

    async fn deliveries_done(&self) {
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.under_way.subscribe().wait_for(|count| *count == 0).await;
    }
}
