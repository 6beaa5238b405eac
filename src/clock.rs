//! The sandbox's own time: running with the wall clock, or paused and moved by hand. The only reader of the
//! wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::gateway::Timestamp;

/// How a clock starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockStart {
    /// With the wall clock.
    #[default]
    Running,
    /// Stopped at this moment, until it is advanced.
    Paused(Timestamp),
}

/// A clock that never goes backwards.
#[derive(Debug)]
pub struct Clock {
    /// The moment at `since`; the present when paused.
    base: Timestamp,
    /// When it was set running; `None` while it is paused.
    since: Option<Instant>,
}

impl Clock {
    /// Starts a clock. A running one reads the wall clock once and then follows the monotonic one, so that
    /// a change of the host's time neither loses nor repeats what is due.
    pub fn start(how: ClockStart) -> Clock {
        match how {
            ClockStart::Paused(base) => Clock { base, since: None },
            ClockStart::Running => {
                let since_1970 = wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
                Clock { base: Timestamp::from_unix(since_1970), since: Some(Instant::now()) }
            }
        }
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.since.map_or(self.base, |since| self.base.after(since.elapsed()))
    }

    /// Whether it stands still until it is advanced.
    pub fn is_paused(&self) -> bool {
        self.since.is_none()
    }

    /// How long to wait in real time until `due`; `None` when waiting would never end, the clock being paused.
    pub fn until(&self, due: Timestamp) -> Option<Duration> {
        if due <= self.now() { Some(Duration::ZERO) } else { self.since.map(|_| due.since(self.now())) }
    }

    /// Moves a paused clock forwards; a running one is left alone.
    pub fn advance_to(&mut self, moment: Timestamp) {
        if self.is_paused() {
            self.base = self.base.max(moment);
        }
    }
}

/// What the host says the time is: for certificates, which the outside world judges by its own clock.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}
