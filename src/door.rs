//! The one door to all state: lock, read the clock, change, unlock, wake the scheduler, tell the watchers.
//! Nothing else does any of these, and nothing is awaited under the lock.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::clock::{Clock, ClockMode};
use crate::gateway::state::Snapshot;
use crate::gateway::{Gateway, Settings, Timestamp};

/// The gateway and its clock behind one lock.
#[derive(Debug)]
pub struct Door {
    world: Mutex<World>,
    /// Something is due earlier than the scheduler knows.
    sooner: Notify,
    /// How often the journal has grown.
    changes: AtomicU64,
    /// It has grown again.
    changed: Notify,
}

#[derive(Debug)]
struct World {
    gateway: Gateway,
    clock: Clock,
    /// Counts resets and restored states.
    number: u64,
    /// The callers that wait for a delayed response, by ticket.
    delayed: HashMap<u64, oneshot::Sender<()>>,
    /// Counts what may have changed anything that is saved.
    revision: u64,
    /// The state that is saved from now on, with its revision: the sandbox ends.
    last: Option<(u64, Arc<Snapshot>)>,
}

impl Door {
    /// A new gateway with its clock.
    pub fn new(settings: Settings, clock: Clock) -> Door {
        Door::of(Gateway::new(settings), clock)
    }

    /// A gateway with its clock.
    pub fn of(gateway: Gateway, clock: Clock) -> Door {
        let world = World { gateway, clock, number: 0, delayed: HashMap::new(), revision: 0, last: None };
        let (sooner, changes, changed) = (Notify::new(), AtomicU64::new(0), Notify::new());
        Door { world: Mutex::new(world), sooner, changes, changed }
    }

    /// Changes the gateway.
    pub fn apply<T>(&self, change: impl FnOnce(&mut Gateway, Timestamp) -> T) -> T {
        let mut world = self.lock();
        let now = world.clock.now();
        let due_before = world.gateway.next_due();
        let last_before = world.gateway.journal().last();
        let result = change(&mut world.gateway, now);
        let due_after = world.gateway.next_due();
        let grown = world.gateway.journal().last() != last_before;
        let released = world.take_released();
        world.revision += 1;
        drop(world);
        if due_after.is_some_and(|after| due_before.is_none_or(|before| after < before)) {
            self.sooner.notify_one();
        }
        if grown {
            self.tell_watchers();
        }
        release(released);
        result
    }

    /// Reads the gateway.
    pub fn read<T>(&self, look: impl FnOnce(&Gateway) -> T) -> T {
        look(&self.lock().gateway)
    }

    /// Reads the gateway, and what time it is.
    pub fn read_now<T>(&self, look: impl FnOnce(&Gateway, Timestamp) -> T) -> T {
        let world = self.lock();
        look(&world.gateway, world.clock.now())
    }

    /// Told when the journal grows, from now on.
    pub fn watch(&self) -> Watch<'_> {
        Watch { door: self, seen: self.changes.load(Ordering::Acquire) }
    }

    /// Returns once the delayed response with this ticket may leave. Only its release wakes the caller.
    pub async fn released(&self, ticket: u64) {
        let Some(released) = self.wait_for(ticket) else { return };
        let _waiting = Waiting { door: self, ticket };
        // An error means that the sender was dropped, which happens with the ticket only.
        let _ = released.await;
    }

    fn wait_for(&self, ticket: u64) -> Option<oneshot::Receiver<()>> {
        let mut world = self.lock();
        if !world.gateway.is_held(ticket) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        world.delayed.insert(ticket, sender);
        Some(receiver)
    }

    fn tell_watchers(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether the clock stands still until it is advanced.
    pub fn is_paused(&self) -> bool {
        self.lock().clock.is_paused()
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.lock().clock.now()
    }

    /// The clock as it is now.
    pub fn clock(&self) -> Clock {
        self.lock().clock
    }

    /// Stops the clock, or lets it go on. What is due by a clock that goes on is the scheduler's to see.
    pub fn set_clock(&self, mode: ClockMode) {
        let mut world = self.lock();
        match mode {
            ClockMode::Running => world.clock.resume(),
            ClockMode::Paused => world.clock.pause(),
        }
        world.revision += 1;
        drop(world);
        self.sooner.notify_one();
    }

    /// Forgets everything, and sets the clock back to where it started. A paused clock stays paused.
    pub fn reset(&self) {
        self.leave(|world| {
            world.clock.start_again();
            let now = world.clock.now();
            world.gateway.reset(now)
        });
    }

    /// Replaces the gateway by a restored one, and sets the clock to its time.
    pub fn restore(&self, now: Timestamp, gateway: Gateway) {
        self.leave(|world| {
            world.clock.set(now);
            world.gateway.replace(gateway)
        });
    }

    /// Leaves this world for another one. The change returns the gateway as it was.
    fn leave(&self, change: impl FnOnce(&mut World) -> Gateway) {
        let mut world = self.lock();
        world.number += 1;
        world.revision += 1;
        let before = change(&mut world);
        let released = world.take_released();
        drop(world);
        release(released);
        self.sooner.notify_one();
        self.tell_watchers();
        // A million payments are not dropped under the lock.
        drop(before);
    }

    /// Returns the state at this moment, and its revision: another state has another one.
    pub fn save(&self) -> (u64, Arc<Snapshot>) {
        let world = self.lock();
        world.last.clone().unwrap_or_else(|| world.snapshot())
    }

    /// Returns the revision of the state.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Lets `save` return the state at this moment from now on: what happens later is part of the end.
    pub fn save_before_end(&self) {
        let mut world = self.lock();
        world.last = Some(world.snapshot());
    }

    /// Returns the number of this world: a reset and a restored state make a new one.
    pub fn world(&self) -> u64 {
        self.lock().number
    }

    /// Moves a paused clock of this world to the next due moment, if that is not after `limit`. Returns false if there
    /// is none.
    pub fn step_to_next_due(&self, number: u64, limit: Timestamp) -> bool {
        let mut world = self.lock();
        let same = world.number == number && world.clock.is_paused();
        let next = world.gateway.next_due().filter(|due| *due <= limit && same);
        if let Some(due) = next {
            world.clock.advance_to(due);
            world.revision += 1;
        }
        next.is_some()
    }

    /// Moves a paused clock of this world to `moment`; what is due before must have been done. Returns false if there
    /// is another world by now.
    pub fn advance_clock_to(&self, number: u64, moment: Timestamp) -> bool {
        let mut world = self.lock();
        if world.number == number {
            world.clock.advance_to(moment);
            world.revision += 1;
        }
        world.number == number
    }

    /// How long to wait in real time until something is due; `None` when nothing will be by itself.
    pub fn until_next_due(&self) -> Option<Duration> {
        let world = self.lock();
        world.clock.until(world.gateway.next_due()?)
    }

    /// Returns once something has become due earlier than it was.
    pub async fn sooner(&self) {
        self.sooner.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A change that panicked is a bug, reported where it happened; the others' payments go on.
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl World {
    fn snapshot(&self) -> (u64, Arc<Snapshot>) {
        (self.revision, Arc::new(self.gateway.snapshot(self.clock.now())))
    }

    /// Returns the callers whose delayed responses may leave now.
    fn take_released(&mut self) -> Vec<oneshot::Sender<()>> {
        let released = self.gateway.take_released();
        released.iter().filter_map(|ticket| self.delayed.remove(ticket)).collect()
    }
}

fn release(callers: Vec<oneshot::Sender<()>>) {
    for caller in callers {
        // A caller that hung up wants nothing.
        let _ = caller.send(());
    }
}

/// A caller that waits for a delayed response. Dropping it ends the waiting.
struct Waiting<'a> {
    door: &'a Door,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.door.lock().delayed.remove(&self.ticket);
    }
}

/// Who waits for the journal to grow. (A channel of tokio's would take longer to tell that nobody waits.)
#[derive(Debug)]
pub struct Watch<'a> {
    door: &'a Door,
    seen: u64,
}

impl Watch<'_> {
    /// Returns once it has grown since this last returned; at once if it has already.
    pub async fn changed(&mut self) {
        loop {
            // Made before the look, so that what comes in between is not missed.
            let told = pin!(self.door.changed.notified());
            let changes = self.door.changes.load(Ordering::Acquire);
            if std::mem::replace(&mut self.seen, changes) != changes {
                return;
            }
            told.await;
        }
    }
}
