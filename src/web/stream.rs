//! Bodies that one side produces piece by piece while the other side reads them.
//!
//! A full pipe makes the producer wait, so a slow reader costs a bounded amount of memory.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

/// The size of the pieces that [`BodyWriter`] sends, in bytes.
pub const PIECE: usize = 64 * 1024;
/// The number of pieces that wait between the two sides.
const WAITING: usize = 4;

/// Returns the two ends of a body.
pub fn pipe() -> (BodySender, BodyReader) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (BodySender { sender }, BodyReader { receiver, rest: Box::default(), ended: false })
}

/// The producer's end. The body is complete only after [`BodySender::end`] or [`BodyWriter::finish`];
/// the reader gets an error if the producer is dropped before that.
#[derive(Debug)]
pub struct BodySender {
    /// An empty piece marks the end.
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl BodySender {
    /// Sends a piece and waits while the pipe is full. Returns false if the reader is gone.
    pub async fn send(&self, piece: Bytes) -> bool {
        piece.is_empty() || self.sender.send(Ok(piece)).await.is_ok()
    }

    /// Ends the body.
    pub async fn end(self) {
        // A reader that is gone needs no end.
        let _ = self.sender.send(Ok(Bytes::new())).await;
    }

    /// Ends the body with an error, which the reader receives after the pieces before it.
    pub async fn fail(self, error: io::Error) {
        let _ = self.sender.send(Err(error)).await;
    }

    /// Returns a writer for a blocking task, such as `serde_json::to_writer` in `spawn_blocking`.
    #[must_use]
    pub fn writer(self) -> BodyWriter {
        BodyWriter { sender: self.sender, piece: BytesMut::new() }
    }
}

/// The producer's end for a blocking task. Its methods panic in an async task.
#[derive(Debug)]
pub struct BodyWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: BytesMut,
}

impl BodyWriter {
    /// Sends what is left and ends the body.
    pub fn finish(mut self) -> io::Result<()> {
        io::Write::flush(&mut self)?;
        self.hand_over(Bytes::new())
    }

    fn hand_over(&self, piece: Bytes) -> io::Result<()> {
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl io::Write for BodyWriter {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.piece.capacity() == 0 {
            self.piece.reserve(PIECE);
        }
        let taken = from.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&from[..taken]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece).freeze();
        self.hand_over(piece)
    }
}

/// The reader's end. Dropping it tells the producer to stop.
///
/// [`io::Read`] is for a blocking task and panics in an async task.
#[derive(Debug)]
pub struct BodyReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    /// The part of the last piece that `read` has not returned yet; boxed, as every reply has room for a reader.
    rest: Box<Bytes>,
    ended: bool,
}

impl BodyReader {
    /// Returns the next piece; `None` is the end of a complete body.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|received| self.piece(received))
    }

    fn piece(&mut self, received: Option<io::Result<Bytes>>) -> Option<io::Result<Bytes>> {
        let piece = received.unwrap_or_else(|| {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ended before it was complete"))
        });
        self.ended = !matches!(&piece, Ok(piece) if !piece.is_empty());
        if matches!(&piece, Ok(piece) if piece.is_empty()) { None } else { Some(piece) }
    }
}

impl io::Read for BodyReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.ended {
            let received = self.receiver.blocking_recv();
            *self.rest = self.piece(received).transpose()?.unwrap_or_default();
        }
        let taken = into.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut into[..taken]);
        Ok(taken)
    }
}

/// A request's body that is read while it arrives. The first caller of [`Upload::take`] gets it.
#[derive(Debug)]
pub struct Upload(Mutex<Option<BodyReader>>);

impl Upload {
    /// Returns an upload that hands out this reader.
    pub fn new(reader: BodyReader) -> Upload {
        Upload(Mutex::new(Some(reader)))
    }

    /// Returns the body, or `None` if it was taken before.
    pub fn take(&self) -> Option<BodyReader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{ErrorKind, Read, Write};

    use tokio::task::spawn_blocking;

    use super::*;

    async fn next(reader: &mut BodyReader) -> Option<io::Result<Bytes>> {
        poll_fn(|context| reader.poll_next(context)).await
    }

    #[tokio::test]
    async fn a_writer_waits_while_the_pipe_is_full_and_stops_when_the_reader_is_gone() {
        let (sender, mut reader) = pipe();
        let writing = spawn_blocking(move || {
            let mut writer = sender.writer();
            let mut written = 0;
            loop {
                match writer.write(&[7; 1000]) {
                    Ok(count) => written += count,
                    Err(error) => return (written, error.kind()),
                }
            }
        });
        let piece = next(&mut reader).await.unwrap().unwrap();
        assert_eq!(piece.len(), PIECE);
        drop(reader);
        let (written, error) = writing.await.unwrap();
        assert_eq!(error, ErrorKind::BrokenPipe);
        assert!(written <= (WAITING + 2) * PIECE, "{written} bytes were produced for a reader that took {PIECE}");
    }

    #[tokio::test]
    async fn a_body_is_complete_only_when_its_producer_says_so() {
        for complete in [true, false] {
            let (sender, mut reader) = pipe();
            let reading = spawn_blocking(move || {
                let mut whole = Vec::new();
                reader.read_to_end(&mut whole).map(|_| whole).map_err(|error| error.kind())
            });
            assert!(sender.send(Bytes::from_static(b"two ")).await && sender.send(Bytes::from_static(b"pieces")).await);
            if complete {
                sender.end().await;
            } else {
                drop(sender);
            }
            let expected = if complete { Ok(b"two pieces".to_vec()) } else { Err(ErrorKind::UnexpectedEof) };
            assert_eq!(reading.await.unwrap(), expected);
        }
        let (sender, mut reader) = pipe();
        spawn_blocking(move || sender.writer()).await.map(drop).unwrap();
        assert_eq!(next(&mut reader).await.unwrap().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(next(&mut reader).await.is_none(), "an error is the last thing");
    }

    #[tokio::test]
    async fn a_writer_sends_what_is_left_at_the_end() {
        let (sender, mut reader) = pipe();
        spawn_blocking(move || {
            let mut writer = sender.writer();
            writer.write_all(&vec![7; PIECE + 1])?;
            writer.finish()
        })
        .await
        .unwrap()
        .unwrap();
        let lengths = [next(&mut reader).await, next(&mut reader).await].map(|piece| piece.unwrap().unwrap().len());
        assert_eq!(lengths, [PIECE, 1]);
        assert!(next(&mut reader).await.is_none());
    }

    #[tokio::test]
    async fn an_error_of_the_producer_reaches_the_reader_after_the_pieces() {
        let (sender, mut reader) = pipe();
        let reading = spawn_blocking(move || {
            let mut read = Vec::new();
            (reader.read_to_end(&mut read).unwrap_err().to_string(), read)
        });
        sender.send(Bytes::from_static(b"part")).await;
        sender.fail(io::Error::new(ErrorKind::TimedOut, "too slow")).await;
        assert_eq!(reading.await.unwrap(), ("too slow".into(), b"part".to_vec()));
    }
}
