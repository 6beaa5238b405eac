//! What is asked on which connection, so that those on which nothing is asked can be ended, and all of them when the
//! sandbox ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
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

struct Asked {
    /// One has begun since the last look, or there was none yet.
    lately: AtomicBool,
    /// One clone for each request under way, beside our own.
    under_way: Arc<()>,
    /// The connection is to be ended.
    end: AtomicBool,
    /// What is woken then.
    waker: Mutex<Option<Waker>>,
}

impl Connections {
    /// One more.
    pub(super) fn open(&self) -> Requests {
        let asked = Arc::new(Asked {
            lately: AtomicBool::new(true),
            under_way: Arc::default(),
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
        lock(&self.0).all.values().filter(|asked| asked.is_quiet()).for_each(|asked| asked.order_end());
    }
}

impl Requests {
    /// One more; it is under way until what comes back is dropped.
    pub(super) fn begin(&self) -> Arc<()> {
        self.asked.lately.store(true, Ordering::Relaxed);
        Arc::clone(&self.asked.under_way)
    }

    /// Whether one is being answered.
    pub(super) fn under_way(&self) -> bool {
        self.asked.under_way()
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

impl Asked {
    fn under_way(&self) -> bool {
        Arc::strong_count(&self.under_way) > 1
    }

    /// Whether nothing has begun since the last look, which this is now, and nothing is under way.
    fn is_quiet(&self) -> bool {
        !self.lately.swap(false, Ordering::Relaxed) && !self.under_way()
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
        let (silent, asked, answering) = (connections.open(), connections.open(), connections.open());
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
    async fn all_are_ended_with_the_sandbox_and_those_that_still_come() {
        let connections = Connections::default();
        let (early, under_way) = (connections.open(), connections.open());
        let _under_way = under_way.begin();
        let mut connection = pin!(pending::<()>());
        let (stop, stopped) = watch::channel(false);
        let looking = tokio::spawn(connections.clone().look_after(stopped));
        // It waits, and is woken.
        let (done, _) = tokio::join!(early.drive(connection.as_mut()), async { stop.send_replace(true) });
        assert!(!done);
        looking.await.unwrap();
        assert_eq!([ends(&under_way).await, ends(&connections.open()).await], [true, true]);
    }

    #[tokio::test]
    async fn what_ends_by_itself_is_told_and_forgotten() {
        let connections = Connections::default();
        let requests = connections.open();
        assert!(requests.drive(pin!(std::future::ready(())).as_mut()).await);
        drop(requests);
        assert!(lock(&connections.0).all.is_empty());
    }
}
