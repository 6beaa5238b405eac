//! Bytes between two ends, until nothing moves any more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

/// Carries bytes both ways until both sides have ended, one breaks, or nothing moves between two looks. `next_look` returns
/// the wait for the next one.
pub(super) async fn carry<Wait: Future<Output = ()>>(
    here: &mut (impl AsyncRead + AsyncWrite + Unpin),
    there: &mut (impl AsyncRead + AsyncWrite + Unpin),
    next_look: impl Fn() -> Wait,
) {
    let moved = Arc::default();
    let (mut here, mut there) = (Watched::new(here, &moved), Watched::new(there, &moved));
    tokio::select! {
        _ = copy_bidirectional(&mut here, &mut there) => {}
        () = end_when_idle(&moved, next_look) => {}
    }
}

/// Returns once nothing has moved between two looks.
pub(crate) async fn end_when_idle<Wait: Future<Output = ()>>(moved: &AtomicBool, next_look: impl Fn() -> Wait) {
    loop {
        next_look().await;
        if !moved.swap(false, Ordering::Relaxed) {
            return;
        }
    }
}

/// A connection that notes when bytes move.
pub(crate) struct Watched<S> {
    stream: S,
    moved: Arc<AtomicBool>,
}

impl<S> Watched<S> {
    /// Returns a connection that sets `moved`.
    pub(crate) fn new(stream: S, moved: &Arc<AtomicBool>) -> Watched<S> {
        Watched { stream, moved: Arc::clone(moved) }
    }

    fn noting<T>(&self, done: Poll<T>) -> Poll<T> {
        if done.is_ready() {
            self.moved.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, into);
        this.noting(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, from);
        this.noting(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_tunnel_is_ended_when_nothing_moves_between_two_looks() {
        let ((mut client, mut here), (mut there, mut server)) = (duplex(64), duplex(64));
        let (look, looked) = (Notify::new(), AtomicUsize::new(0));
        let next_look = || {
            looked.fetch_add(1, Ordering::Relaxed);
            look.notified()
        };
        let mut carrying = Box::pin(carry(&mut here, &mut there, next_look));
        let talk = async {
            let mut byte = [0];
            // A byte in one direction before the first look, in the other before the second.
            client.write_all(b"x").await.unwrap();
            server.read_exact(&mut byte).await.unwrap();
            look.notify_one();
            while looked.load(Ordering::Relaxed) < 2 {
                tokio::task::yield_now().await;
            }
            server.write_all(b"y").await.unwrap();
            client.read_exact(&mut byte).await.unwrap();
            look.notify_one();
            while looked.load(Ordering::Relaxed) < 3 {
                tokio::task::yield_now().await;
            }
        };
        let ended = async {
            tokio::select! {
                () = talk => {}
                () = &mut carrying => panic!("a tunnel that is used was ended"),
            }
            look.notify_one();
            carrying.await;
        };
        timeout(PATIENCE, ended).await.expect("a tunnel without a byte since the last look is ended");
    }
}
