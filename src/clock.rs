//! The sandbox's own time: running with the wall clock, faster or slower, or paused and moved by hand. The only
//! reader of the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::gateway::Timestamp;

/// Whether a clock moves by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ClockMode {
    /// It does.
    #[default]
    Running,
    /// It stands still until it is advanced.
    Paused,
}

/// A clock that goes backwards only when a whole world is left for another: by a reset, or by a saved state.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The moment at which it was started; `None` for the wall clock's time.
    start: Option<Timestamp>,
    /// The moment at `since`; the present when paused.
    base: Timestamp,
    /// When it was set running; `None` while it is paused.
    since: Option<Instant>,
    /// How many of its seconds pass in a real one.
    speed: f64,
}

impl Clock {
    /// Starts a clock, at the wall clock's time unless another is given. A running one follows the monotonic
    /// clock from there, so that a change of the host's time neither loses nor repeats what is due.
    pub fn start(mode: ClockMode, start: Option<Timestamp>, speed: f64) -> Clock {
        let since = (mode == ClockMode::Running).then(Instant::now);
        Clock { start, base: start.unwrap_or_else(by_wall), since, speed }
    }

    /// Sets it to a moment. It runs or stands still as before.
    pub fn set(&mut self, moment: Timestamp) {
        (self.base, self.since) = (moment, self.since.map(|_| Instant::now()));
    }

    /// Sets it back to where it started: to the moment that was given, or to the wall clock's time.
    pub fn start_again(&mut self) {
        self.set(self.start.unwrap_or_else(by_wall));
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        self.since.map_or(self.base, |since| self.base.after(times(since.elapsed(), self.speed)))
    }

    /// Whether it stands still until it is advanced.
    pub fn is_paused(&self) -> bool {
        self.since.is_none()
    }

    /// How many of its seconds pass in a real one, when it runs.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// How long to wait in real time until `due`; `None` when waiting would never end, the clock being paused.
    pub fn until(&self, due: Timestamp) -> Option<Duration> {
        let now = self.now();
        if due <= now { Some(Duration::ZERO) } else { self.since.map(|_| times(due.since(now), 1.0 / self.speed)) }
    }

    /// Stops it where it is.
    pub fn pause(&mut self) {
        (self.base, self.since) = (self.now(), None);
    }

    /// Lets it go on from where it is.
    pub fn resume(&mut self) {
        (self.base, self.since) = (self.now(), Some(Instant::now()));
    }

    /// Moves a paused clock forwards; a running one is left alone.
    pub fn advance_to(&mut self, moment: Timestamp) {
        if self.is_paused() {
            self.base = self.base.max(moment);
        }
    }
}

fn by_wall() -> Timestamp {
    Timestamp::from_unix(wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A span that many times; as long as can be when that is more.
fn times(span: Duration, factor: f64) -> Duration {
    if factor == 1.0 { span } else { Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX) }
}

/// What the host says the time is: for certificates, which the outside world judges by its own clock.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_waits_less_and_a_paused_one_for_ever() {
        let start = Timestamp::from_unix_seconds(1_000_000);
        let mut clock = Clock::start(ClockMode::Running, Some(start), 1000.0);
        let wait = clock.until(start.after(Duration::from_secs(100))).unwrap();
        assert!(wait <= Duration::from_millis(100) && wait > Duration::ZERO, "{wait:?}");
        clock.pause();
        let stopped = clock.now();
        assert_eq!((clock.now(), clock.until(stopped.after(Duration::from_secs(1)))), (stopped, None));
        clock.advance_to(stopped.after(Duration::from_secs(5)));
        clock.advance_to(stopped);
        assert_eq!(clock.now(), stopped.after(Duration::from_secs(5)), "never back");
        clock.resume();
        assert!(clock.now() >= stopped.after(Duration::from_secs(5)) && !clock.is_paused());
        clock.set(Timestamp::LAST);
        assert_eq!((clock.now(), clock.is_paused()), (Timestamp::LAST, false));
        clock.pause();
        clock.start_again();
        assert_eq!((clock.now(), clock.is_paused()), (start, true));
    }
}
