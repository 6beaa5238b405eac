//! What is asked on which connection, so that those on which nothing is asked can be ended, and all of them when the
//! sandbox ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::watch;

/// How often connections are looked at; one without a request between two looks is ended. hyper's own limit for headers
/// would set a timer at every request, and has nothing for HTTP/2.
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// The connections that are open.
#[derive(Clone, Default)]
pub(super) struct Connections(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    all: HashMap<u64, Arc<Asked>>,
    /// How many there have been.
    count: u64,
    /// No more are to be opened.
    stopped: bool,
}

/// The requests of one connection, which counts as open until this is dropped.
pub(super) struct Requests {
    asked: Arc<Asked>,
    number: u64,
    connections: Connections,
}

#[derive(Debug)]
struct Asked {
    /// One has begun since the last look, or there was none yet.
    lately: AtomicBool,
    /// On HTTP/2 only: there, a client can stop one response and read the others.
    watch: Option<Watch>,
    /// The connection is to be ended.
    end: AtomicBool,
    /// What is woken then.
    waker: Mutex<Option<Waker>>,
}

/// How many looks a piece of a response may wait without progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks(u32);

impl Looks {
    /// 10 to 15 seconds.
    pub(crate) const USUAL: Looks = Looks(3);
    /// 30 to 35 seconds, for event streams.
    pub(crate) const EVENTS: Looks = Looks(7);
}

/// How many pieces of responses wait, by the look at which they are overdue.
#[derive(Debug, Default)]
struct Watch {
    looks: AtomicU32,
    /// Each look has a place, by its number. There are more than the looks of the longest patience.
    due: [AtomicU32; 8],
}

impl Watch {
    fn at(&self, look: u32) -> &AtomicU32 {
        &self.due[look as usize % self.due.len()]
    }
}

/// A request that is under way until this is dropped: then its response has left.
#[derive(Debug)]
pub(crate) struct UnderWay {
    asked: Arc<Asked>,
    /// The look at which it is overdue, if it is watched.
    due: Option<u32>,
}

impl UnderWay {
    /// Notes that it made progress: from now on it has this many looks until the next.
    pub(crate) fn watch(&mut self, patience: Looks) {
        let Some(watch) = &self.asked.watch else { return };
        let due = Some(watch.looks.load(Ordering::Relaxed).wrapping_add(patience.0));
        if self.due != due {
            self.forget();
            self.due = due;
            self.count(|waiting| waiting.fetch_add(1, Ordering::Relaxed));
        }
    }

    fn forget(&self) {
        self.count(|waiting| waiting.fetch_sub(1, Ordering::Relaxed));
    }

    fn count(&self, change: impl FnOnce(&AtomicU32) -> u32) {
        if let (Some(watch), Some(due)) = (&self.asked.watch, self.due) {
            change(watch.at(due));
        }
    }
}

impl Clone for UnderWay {
    /// Each clone is watched for itself.
    fn clone(&self) -> UnderWay {
        UnderWay { asked: Arc::clone(&self.asked), due: None }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Connections {
    /// One more; on one that is watched, each response is held to its patience.
    pub(super) fn open(&self, watched: bool) -> Requests {
        let asked = Arc::new(Asked {
            lately: AtomicBool::new(true),
            watch: watched.then(Watch::default),
            end: AtomicBool::new(false),
            waker: Mutex::default(),
        });
        let mut open = lock(&self.0);
        asked.end.store(open.stopped, Ordering::Release);
        open.count += 1;
        let number = open.count;
        open.all.insert(number, Arc::clone(&asked));
        drop(open);
        Requests { asked, number, connections: self.clone() }
    }

    /// Ends those on which nothing is asked, until `stop`, and then all.
    pub(super) async fn look_after(self, mut stop: watch::Receiver<bool>) {
        let stopped = stop.wait_for(|stop| *stop);
        let mut stopped = std::pin::pin!(stopped);
        while tokio::time::timeout(IDLE_LOOK, stopped.as_mut()).await.is_err() {
            self.look();
        }
        let mut open = lock(&self.0);
        open.stopped = true;
        open.all.values().for_each(|asked| asked.order_end());
    }

    fn look(&self) {
        // Each connection has to learn of each look, so both are asked.
        let is_over = |asked: &&Arc<Asked>| asked.is_stalled() | is_quiet(asked);
        lock(&self.0).all.values().filter(is_over).for_each(|asked| asked.order_end());
    }
}

impl Requests {
    /// One more; it is under way until what comes back is dropped.
    pub(super) fn begin(&self) -> UnderWay {
        self.asked.lately.store(true, Ordering::Relaxed);
        UnderWay { asked: Arc::clone(&self.asked), due: None }
    }

    /// Whether one is being answered.
    pub(super) fn under_way(&self) -> bool {
        is_under_way(&self.asked)
    }

    /// Drives a connection; false when it is to be ended before it ends by itself. Each time it takes no more than a look
    /// at two words: timers and channels of its own would cost each request as much as its headers do.
    pub(super) async fn drive(&self, mut connection: Pin<&mut impl Future>) -> bool {
        let mut known: Option<Waker> = None;
        poll_fn(|context| {
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            // Before the look, so that an order that comes in between is not missed.
            if !known.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                known = Some(context.waker().clone());
                lock(&self.asked.waker).clone_from(&known);
            }
            if self.asked.end.load(Ordering::Acquire) { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        lock(&self.connections.0).all.remove(&self.number);
    }
}

/// Returns true if a request is under way: then there are more clones than that of the connection and that in the list.
fn is_under_way(asked: &Arc<Asked>) -> bool {
    Arc::strong_count(asked) > 2
}

/// Returns true if nothing has begun since the last look, which this is now, and nothing is under way.
fn is_quiet(asked: &Arc<Asked>) -> bool {
    !asked.lately.swap(false, Ordering::Relaxed) && !is_under_way(asked)
}

impl Asked {
    /// Takes a look, and returns true if a piece of a response is overdue at it.
    fn is_stalled(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| {
            let look = watch.looks.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            watch.at(look).load(Ordering::Relaxed) > 0
        })
    }

    fn order_end(&self) {
        self.end.store(true, Ordering::Release);
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is under it is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use super::*;

    /// Whether a connection that never ends by itself is to be ended now.
    async fn ends(requests: &Requests) -> bool {
        let mut connection = pin!(pending::<()>());
        tokio::select! {
            biased;
            done = requests.drive(connection.as_mut()) => !done,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_request_between_two_looks_is_ended() {
        let connections = Connections::default();
        let (silent, asked, answering) = (connections.open(false), connections.open(false), connections.open(false));
        let under_way = answering.begin();
        connections.look();
        drop(asked.begin());
        connections.look();
        assert_eq!([ends(&silent).await, ends(&asked).await, ends(&answering).await], [true, false, false]);
        drop(under_way);
        connections.look();
        assert_eq!([ends(&asked).await, ends(&answering).await], [true, true]);
    }

    #[tokio::test]
    async fn a_connection_is_ended_when_a_piece_of_a_response_makes_no_progress() {
        let connections = Connections::default();
        let [moving, stalled, events, waiting] = [true; 4].map(|watched| connections.open(watched));
        let unwatched = connections.open(false);
        let mut pieces = [&moving, &stalled, &events, &unwatched].map(Requests::begin);
        // One whose response has not begun waits on the sandbox, not on its client.
        let _waiting = waiting.begin();
        for (piece, patience) in pieces.iter_mut().zip([Looks::USUAL, Looks::USUAL, Looks::EVENTS, Looks::USUAL]) {
            piece.watch(patience);
        }
        let mut ended = Vec::new();
        for look in 1..=20 {
            connections.look();
            pieces[0].watch(Looks::USUAL);
            for (name, requests) in [
                ("moving", &moving),
                ("stalled", &stalled),
                ("events", &events),
                ("unwatched", &unwatched),
                ("waiting", &waiting),
            ] {
                if ends(requests).await && !ended.iter().any(|(known, _)| *known == name) {
                    ended.push((name, look));
                }
            }
        }
        assert_eq!(ended, [("stalled", 3), ("events", 7)]);
    }

    #[tokio::test]
    async fn a_piece_that_has_left_is_not_overdue() {
        let connections = Connections::default();
        let requests = connections.open(true);
        for _ in 0..20 {
            let mut first = requests.begin();
            first.watch(Looks::USUAL);
            let mut second = first.clone();
            second.watch(Looks::USUAL);
            connections.look();
            drop(first);
            second.watch(Looks::EVENTS);
        }
        assert!(!ends(&requests).await && !requests.under_way());
    }

    #[tokio::test]
    async fn all_are_ended_with_the_sandbox_and_those_that_still_come() {
        let connections = Connections::default();
        let (early, under_way) = (connections.open(false), connections.open(false));
        let _under_way = under_way.begin();
        let mut connection = pin!(pending::<()>());
        let (stop, stopped) = watch::channel(false);
        let looking = tokio::spawn(connections.clone().look_after(stopped));
        // It waits, and is woken.
        let (done, _) = tokio::join!(early.drive(connection.as_mut()), async { stop.send_replace(true) });
        assert!(!done);
        looking.await.unwrap();
        assert_eq!([ends(&under_way).await, ends(&connections.open(false)).await], [true, true]);
    }

    #[tokio::test]
    async fn what_ends_by_itself_is_told_and_forgotten() {
        let connections = Connections::default();
        let requests = connections.open(false);
        assert!(requests.drive(pin!(std::future::ready(())).as_mut()).await);
        drop(requests);
        assert!(lock(&connections.0).all.is_empty());
    }
}
