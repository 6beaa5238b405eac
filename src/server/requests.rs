//! What is asked on a connection, so that one on which nothing is asked can be ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How often a connection is looked at; one without a request between two looks is ended. hyper's own limit for headers
/// would set a timer at every request, and has nothing for HTTP/2.
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// The requests of one connection.
#[derive(Clone, Default)]
pub(super) struct Requests {
    begun: Arc<AtomicUsize>,
    /// One clone for each request under way, beside our own.
    under_way: Arc<()>,
}

impl Requests {
    /// One more; it is under way until what comes back is dropped.
    pub(super) fn begin(&self) -> Arc<()> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.under_way)
    }

    /// Whether one is being answered.
    pub(super) fn under_way(&self) -> bool {
        Arc::strong_count(&self.under_way) > 1
    }

    /// Returns when nothing has been asked between two looks, and nothing is being answered.
    pub(super) async fn all_quiet(&self) {
        let mut begun = usize::MAX;
        loop {
            let now = self.begun.load(Ordering::Relaxed);
            if std::mem::replace(&mut begun, now) == now && !self.under_way() {
                return;
            }
            tokio::time::sleep(IDLE_LOOK).await;
        }
    }
}
