//! Bodies that leave otherwise than at once, and connections that end otherwise than in peace.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::Sleep;

use crate::web::{BodyReader, PIECE};

/// The pause between what is sent and the end of the connection: what is sent has to leave first.
const FLUSH: Duration = Duration::from_millis(50);

/// A body on its way out.
#[derive(Debug)]
pub struct Outgoing {
    pieces: Pieces,
    /// Dropped when the body has left.
    _under_way: Option<Arc<()>>,
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
        Outgoing { pieces, _under_way: None }
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
    pub fn holding(self, under_way: Arc<()>) -> Outgoing {
        Outgoing { _under_way: Some(under_way), ..self }
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
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.get_mut().pieces {
            Pieces::Whole(bytes) | Pieces::Live(bytes, _) | Pieces::Streamed(bytes, _) if !bytes.is_empty() => {
                // A large body leaves in pieces, so that at most one of them waits in hyper.
                let piece = bytes.split_to(bytes.len().min(PIECE));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Pieces::Whole(_) => Poll::Ready(None),
            Pieces::Live(_, more) => more.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
            Pieces::Streamed(_, more) => more.poll_next(context).map(|piece| piece.map(|piece| piece.map(Frame::data))),
            Pieces::Paced(paced) => paced.poll(context),
        }
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

impl Paced {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.pieces.is_empty() && matches!(self.end, End::Whole) {
            return Poll::Ready(None);
        }
        std::task::ready!(self.timer.as_mut().poll(context));
        let next = tokio::time::Instant::now() + self.pause;
        self.timer.as_mut().reset(next);
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let End::Reset(reset) = &self.end {
            reset.order();
        }
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }
}

/// Whether a connection is to end in a reset.
#[derive(Debug, Clone, Default)]
pub struct Reset(Arc<(AtomicBool, Notify)>);

impl Reset {
    /// It is.
    pub fn order(&self) {
        self.0.0.store(true, Ordering::Relaxed);
        self.0.1.notify_one();
    }

    /// Returns once it is.
    pub async fn ordered(&self) {
        self.0.1.notified().await;
    }
}

/// A TCP connection that can be reset.
#[derive(Debug)]
pub struct Line {
    tcp: TcpStream,
    reset: Reset,
}

impl Line {
    /// A connection, and what orders its reset.
    pub fn new(tcp: TcpStream) -> (Line, Reset) {
        let reset = Reset::default();
        (Line { tcp, reset: reset.clone() }, reset)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.reset.0.0.load(Ordering::Relaxed) {
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
        Pin::new(&mut self.get_mut().tcp).poll_write(context, from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tcp = Pin::new(&mut self.get_mut().tcp);
        // A single piece, as answers are, takes the system less time this way.
        if let [piece] = from { tcp.poll_write(context, piece) } else { tcp.poll_write_vectored(context, from) }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(context)
    }
}
