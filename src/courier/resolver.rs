//! Addresses of listeners by their names.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::watch;
use tower_service::Service;

use super::address::is_localhost;
use super::reach::Postbacks;

type Found = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;
type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A name has no address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnknownName(String);

/// Asks the system for the addresses of names, for each name once at a time. Each question takes one of the runtime's
/// threads until it is answered, so a name that nobody answers for would take them all from other listeners otherwise.
#[derive(Clone)]
pub(super) struct Resolver {
    ask: fn(Name) -> Answer<Found>,
    under_way: Arc<Mutex<HashMap<Name, watch::Receiver<Option<Found>>>>>,
}

impl Resolver {
    /// Returns a resolver that asks the system.
    pub(super) fn of_system() -> Resolver {
        Resolver { ask: |name| Box::pin(ask_system(name)), under_way: Arc::default() }
    }

    /// Returns what the question about a name will bring, which is asked unless it is under way.
    fn question(&self, name: Name) -> watch::Receiver<Option<Found>> {
        let mut under_way = self.lock();
        if let Some(question) = under_way.get(&name) {
            return question.clone();
        }
        let (answer, question) = watch::channel(None);
        under_way.insert(name.clone(), question.clone());
        drop(under_way);
        let resolver = self.clone();
        // Spawned: it goes on when the postback that asked runs out of time.
        tokio::spawn(async move {
            let found = (resolver.ask)(name.clone()).await;
            resolver.lock().remove(&name);
            answer.send_replace(Some(found));
        });
        question
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, watch::Receiver<Option<Found>>>> {
        // What is under it is whole between any two statements.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Answer<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut question = self.question(name);
        Box::pin(async move {
            let gone = || io::Error::other("the look-up of the name was given up");
            let found = question.wait_for(Option::is_some).await.map_err(|_| gone())?.clone().ok_or_else(gone)?;
            found.map(Vec::into_iter).map_err(|(kind, why)| io::Error::new(kind, UnknownName(why)))
        })
    }
}

/// A resolver that leaves out the addresses to which no postback may go.
#[derive(Debug, Clone)]
pub(super) struct Permitted {
    pub(super) resolver: Resolver,
    pub(super) postbacks: Postbacks,
}

impl Service<Name> for Permitted {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Answer<io::Result<Self::Response>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.resolver.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (finding, postbacks) = (self.resolver.call(name), self.postbacks);
        Box::pin(async move {
            let permitted = postbacks.permitted(finding.await?.collect()).map_err(io::Error::other)?;
            Ok(permitted.into_iter())
        })
    }
}

async fn ask_system(name: Name) -> Found {
    // Few systems know the names under it.
    let name = if is_localhost(name.as_str()) { "localhost" } else { name.as_str() };
    let found = tokio::net::lookup_host((name, 0)).await;
    found.map(Iterator::collect).map_err(|error| (error.kind(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static ASKED: AtomicUsize = AtomicUsize::new(0);

    #[tokio::test]
    async fn a_name_is_asked_for_once_however_many_wait_for_it_and_wait_no_longer() {
        let ask = |_| -> Answer<Found> {
            Box::pin(async {
                ASKED.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            })
        };
        let mut resolver = Resolver { ask, under_way: Arc::default() };
        for name in ["silent.example", "silent.example", "other.example"] {
            for _ in 0..100 {
                let waiting = resolver.call(name.parse().unwrap());
                assert!(tokio::time::timeout(std::time::Duration::ZERO, waiting).await.is_err());
            }
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_the_system_says_comes_back_and_the_next_question_is_a_new_one() {
        let mut resolver = Resolver::of_system();
        for _ in 0..2 {
            let found: Vec<SocketAddr> = resolver.call("localhost".parse().unwrap()).await.unwrap().collect();
            assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
            assert!(resolver.lock().is_empty());
        }
        let error = resolver.call("no-such-host.invalid".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("lookup"), "{error}");
    }
}
