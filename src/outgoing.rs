//! Bodies that leave otherwise than at once, and connections that end otherwise than in peace.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::Sleep;

use crate::server::{Looks, UnderWay};
use crate::web::{BodyReader, PIECE};

/// The pause between what is sent and the end of the connection: what is sent has to leave first.
const FLUSH: Duration = Duration::from_millis(50);

/// A body on its way out.
#[derive(Debug)]
pub struct Outgoing {
    pieces: Pieces,
    /// Goes with the last piece.
    under_way: Option<UnderWay>,
}

/// A part of a body on its way out.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    /// Dropped when the piece has left.
    under_way: Option<UnderWay>,
    patience: Looks,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(under_way) = &mut self.under_way {
            under_way.watch(self.patience);
        }
    }
}

#[derive(Debug)]
enum Pieces {
    /// At once.
    Whole(Bytes),
    /// Piece by piece.
    Paced(Paced),
    /// What is there, then what comes.
    Live(Bytes, mpsc::Receiver<Bytes>),
    /// The first bytes, then what its producer sends.
    Streamed(Bytes, BodyReader),
}

impl From<Pieces> for Outgoing {
    fn from(pieces: Pieces) -> Outgoing {
        Outgoing { pieces, under_way: None }
    }
}

/// Pieces with a pause before each.
#[derive(Debug)]
pub struct Paced {
    pieces: VecDeque<Bytes>,
    pause: Duration,
    timer: Pin<Box<Sleep>>,
    end: End,
}

/// What follows the last piece.
#[derive(Debug)]
enum End {
    /// The end of the body.
    Whole,
    /// The end of the connection.
    Broken,
    /// A reset of the connection.
    Reset(Reset),
}

impl Outgoing {
    /// At once.
    pub fn whole(body: Bytes) -> Outgoing {
        Pieces::Whole(body).into()
    }

    /// What is there, then what comes.
    pub fn live(body: Bytes, more: mpsc::Receiver<Bytes>) -> Outgoing {
        Pieces::Live(body, more).into()
    }

    /// Returns a body of the first bytes and what its producer sends.
    pub fn streamed(body: Bytes, more: BodyReader) -> Outgoing {
        Pieces::Streamed(body, more).into()
    }

    /// Holds on to this until it has left.
    #[must_use]
    pub(crate) fn holding(self, under_way: UnderWay) -> Outgoing {
        Outgoing { under_way: Some(under_way), ..self }
    }

    /// Byte by byte.
    pub fn trickle(body: &Bytes, pause: Duration) -> Outgoing {
        let pieces = (0..body.len()).map(|index| body.slice(index..=index)).collect();
        Pieces::Paced(Paced { pieces, pause, timer: Box::pin(tokio::time::sleep(pause)), end: End::Whole }).into()
    }

    /// Its first bytes, and then the connection breaks: in a reset, when there is something to order it from.
    pub fn broken_after(body: &Bytes, bytes: usize, reset: Option<Reset>) -> Outgoing {
        let pieces = (bytes > 0).then(|| body.slice(..bytes.min(body.len()))).into_iter().collect();
        let timer = Box::pin(tokio::time::sleep(FLUSH));
        let end = reset.map_or(End::Broken, End::Reset);
        Pieces::Paced(Paced { pieces, pause: FLUSH, timer, end }).into()
    }
}

impl Body for Outgoing {
    type Data = Piece;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Piece>>>> {
        let this = self.get_mut();
        let Some(bytes) = ready!(this.pieces.poll(context)).transpose()? else {
            return Poll::Ready(None);
        };
        let mut under_way = if this.is_end_stream() { this.under_way.take() } else { this.under_way.clone() };
        let patience = if matches!(this.pieces, Pieces::Live(..)) { Looks::EVENTS } else { Looks::USUAL };
        if let Some(under_way) = &mut under_way {
            under_way.watch(patience);
        }
        Poll::Ready(Some(Ok(Frame::data(Piece { bytes, under_way, patience }))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.pieces, Pieces::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.pieces {
            Pieces::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Pieces::Paced(_) | Pieces::Live(..) | Pieces::Streamed(..) => SizeHint::default(),
        }
    }
}

impl Pieces {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Pieces::Whole(bytes) | Pieces::Live(bytes, _) | Pieces::Streamed(bytes, _) if !bytes.is_empty() => {
                // A large body leaves in pieces, so that at most one of them waits in hyper.
                Poll::Ready(Some(Ok(bytes.split_to(bytes.len().min(PIECE)))))
            }
            Pieces::Whole(_) => Poll::Ready(None),
            Pieces::Live(_, more) => more.poll_recv(context).map(|piece| piece.map(Ok)),
            Pieces::Streamed(_, more) => more.poll_next(context),
            Pieces::Paced(paced) => paced.poll(context),
        }
    }
}

impl Paced {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.pieces.is_empty() && matches!(self.end, End::Whole) {
            return Poll::Ready(None);
        }
        ready!(self.timer.as_mut().poll(context));
        let next = tokio::time::Instant::now() + self.pause;
        self.timer.as_mut().reset(next);
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if let End::Reset(reset) = &self.end {
            reset.order();
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }
}

/// What the answers of a connection order for its end.
#[derive(Debug, Clone, Default)]
pub struct Reset(Arc<Orders>);

#[derive(Debug, Default)]
struct Orders {
    /// The connection ends in a reset.
    reset: AtomicBool,
    /// What is woken then.
    notify: Notify,
    /// It has an event stream, whose reader may pause for longer.
    patient: AtomicBool,
    /// It ends before all was read that the client sends.
    linger: AtomicBool,
}

impl Reset {
    /// It is.
    pub fn order(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
        self.0.notify.notify_one();
    }

    /// Returns once it is.
    pub async fn ordered(&self) {
        self.0.notify.notified().await;
    }

    /// Gives the reader of this connection the time that event streams have.
    pub fn be_patient(&self) {
        self.0.patient.store(true, Ordering::Relaxed);
    }

    /// Reads on for a while after the last answer, so that the client does not lose it to a reset by the system.
    pub fn linger(&self) {
        self.0.linger.store(true, Ordering::Relaxed);
    }
}

/// How long a write may make no progress before the connection is ended.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// On most connections.
    pub usual: Duration,
    /// On one with an event stream.
    pub events: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { usual: Duration::from_secs(10), events: Duration::from_secs(30) }
    }
}

/// How much of what the client still sends after the last answer is read and dropped, and for how long.
const LINGER: (usize, Duration) = (64 * 1024 * 1024, Duration::from_secs(2));

/// A TCP connection that can be reset, and that ends when its client does not read.
#[derive(Debug)]
pub struct Line {
    tcp: TcpStream,
    reset: Reset,
    patience: Patience,
    /// Runs only while a write waits, so that the usual answer pays nothing for it.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The linger at the end: what may still be read, and until when.
    lingering: Option<(usize, Pin<Box<Sleep>>)>,
}

impl Line {
    /// A connection, and what orders its reset.
    pub fn new(tcp: TcpStream, patience: Patience) -> (Line, Reset) {
        let reset = Reset::default();
        (Line { tcp, reset: reset.clone(), patience, stalled: None, lingering: None }, reset)
    }

    /// Passes on what came of a write, and fails one that has waited for too long.
    fn watched<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            // This frees the timer too.
            if self.stalled.is_some() {
                self.stalled = None;
            }
            return written;
        }
        let patient = self.reset.0.patient.load(Ordering::Relaxed);
        let patience = if patient { self.patience.events } else { self.patience.usual };
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(timer.as_mut().poll(context));
        // A reset also frees what the system still keeps for this client.
        self.reset.order();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }

    /// Reads and drops what still comes, within limits.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (most, patience) = LINGER;
        let (left, timer) = self.lingering.get_or_insert_with(|| (most, Box::pin(tokio::time::sleep(patience))));
        let mut dropped = [MaybeUninit::uninit(); 16 * 1024];
        loop {
            let mut into = ReadBuf::uninit(&mut dropped);
            match Pin::new(&mut self.tcp).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() && into.filled().len() < *left => {
                    *left -= into.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return timer.as_mut().poll(context),
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.reset.0.reset.load(Ordering::Relaxed) {
            // Closing with a linger of nothing sends a reset. Where that fails, the client sees a plain end.
            let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(context, into)
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write(context, from);
        this.watched(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tcp = Pin::new(&mut this.tcp);
        // A single piece, as answers are, takes the system less time this way.
        let written =
            if let [piece] = from { tcp.poll_write(context, piece) } else { tcp.poll_write_vectored(context, from) };
        this.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TCP keeps nothing back, so this never waits.
        Pin::new(&mut self.get_mut().tcp).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.tcp).poll_shutdown(context))?;
        }
        if this.reset.0.linger.load(Ordering::Relaxed) {
            ready!(this.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
