//! How a request's body is read: all of it before the surface is asked, or while the surface reads it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::PATIENCE;
use crate::web::{Body, BodySender, Reply, Request, Surfaces, Upload, pipe};

/// How much of a body that is too large is read and dropped, so that the client comes to read the answer.
const DRAIN_LIMIT: usize = 16 * 1024 * 1024;
/// How long the rest of a body is read and dropped after the answer, on HTTP/2.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// Waits for a body, but not for ever; an error is what to answer instead. A body mostly is there already, and then
/// costs no look at the clock.
pub(super) async fn read_whole(
    mut body: Pin<&mut impl Future<Output = Result<Body, hyper::Error>>>,
) -> Result<Body, Reply> {
    let read = match poll_fn(|context| Poll::Ready(body.as_mut().poll(context))).await {
        Poll::Ready(read) => Ok(read),
        Poll::Pending => timeout(PATIENCE, body).await,
    };
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => Err(Reply::problem(400, &format!("the body cannot be read: {error}"))),
        Err(_) => Err(Reply::problem(408, &format!("the body did not arrive within {PATIENCE:?}"))),
    }
}

pub(super) async fn read(
    headers: &HeaderMap,
    version: Version,
    mut incoming: Incoming,
    limit: usize,
) -> Result<Body, hyper::Error> {
    let announced = announced(headers);
    let too_large = announced.is_some_and(|length| length > limit);
    // On HTTP/2 an unread body ends in a reset, after which curl 7.88 loses the answer: there it is drained as well.
    if too_large && version < Version::HTTP_2 && headers.contains_key(EXPECT) {
        return Ok(Body::TooLarge);
    }
    let (mut kept, mut seen) = (BytesMut::new(), 0);
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        seen += data.len();
        // The usual body arrives in one piece and needs no copy.
        if kept.is_empty() && announced == Some(data.len()) && !too_large {
            return Ok(Body::Whole(data));
        }
        if seen <= limit {
            kept.extend_from_slice(&data);
        } else if seen > limit + DRAIN_LIMIT {
            drain_later(incoming, version);
            break;
        }
    }
    Ok(if seen > limit { Body::TooLarge } else { Body::Whole(kept.freeze()) })
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

/// Returns a body for the surface and the future that feeds it, whose result is true if the body was not read to its end.
pub(super) fn stream(
    headers: &HeaderMap,
    version: Version,
    incoming: Incoming,
    limit: usize,
) -> (Upload, impl Future<Output = bool> + use<>) {
    let (sender, reader) = pipe();
    let is_announced = announced(headers).is_some_and(|length| length > limit);
    // A client that asks first does not send a body that is refused. On HTTP/2, curl 7.88 sends it all the same.
    let is_held_back = is_announced && version < Version::HTTP_2 && headers.contains_key(EXPECT);
    let feeding = async move {
        if is_announced {
            sender.fail(too_large(limit)).await;
            return is_held_back || drain(incoming, version).await;
        }
        feed(incoming, version, sender, limit).await
    };
    (Upload::new(reader), feeding)
}

/// Asks the surface while its body is being fed. The result also says if the body was not read to its end.
pub(super) async fn answer_streamed(
    surfaces: &Surfaces,
    request: &Request,
    feeding: impl Future<Output = bool>,
) -> (Reply, bool) {
    let answering = async {
        let reply = surfaces.answer(request).await;
        // A surface that has not taken the body does not read it any more: the feeder must not wait for it.
        if let Body::Streamed(upload) = &request.body {
            upload.take();
        }
        reply
    };
    tokio::join!(answering, feeding)
}

async fn feed(mut incoming: Incoming, version: Version, sender: BodySender, limit: usize) -> bool {
    let mut seen = 0;
    loop {
        // Each piece has the whole time: a large body may take long as long as it arrives.
        let data = match next(&mut incoming).await {
            Ok(Some(data)) => data,
            Ok(None) => {
                sender.end().await;
                return false;
            }
            Err(error) => {
                sender.fail(error).await;
                return true;
            }
        };
        seen += data.len();
        if seen > limit {
            sender.fail(too_large(limit)).await;
            return drain(incoming, version).await;
        }
        if !sender.send(data).await {
            return drain(incoming, version).await;
        }
    }
}

fn too_large(limit: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("the body is larger than {limit} bytes"))
}

/// Returns the next piece, or `None` at the end of the body.
async fn next(incoming: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        match timeout(PATIENCE, incoming.frame()).await {
            Ok(None) => return Ok(None),
            // Trailers have no meaning here.
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => return Err(io::Error::other(format!("the body cannot be read: {error}"))),
            Err(_) => {
                let sentence = format!("nothing of the body arrived for {PATIENCE:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, sentence));
            }
        }
    }
}

/// Reads and drops the rest of a body, within a limit. Returns true if that was not all.
async fn drain(mut incoming: Incoming, version: Version) -> bool {
    let mut dropped = 0;
    while dropped <= DRAIN_LIMIT {
        match next(&mut incoming).await {
            Ok(Some(data)) => dropped += data.len(),
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
    drain_later(incoming, version);
    true
}

/// Reads and drops what still comes on HTTP/2 while the answer is sent: a reset of the stream would follow the answer
/// otherwise, and curl 7.88 loses the answer then. HTTP/1 ends the connection instead.
fn drain_later(mut incoming: Incoming, version: Version) {
    if version >= Version::HTTP_2 {
        tokio::spawn(timeout(DRAIN_TIME, async move { while let Ok(Some(_)) = next(&mut incoming).await {} }));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use http_body_util::Full;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::sync::Notify;
    use tokio::task::spawn_blocking;

    use super::*;

    /// The limit of the server under test, in bytes.
    const LIMIT: usize = 1024 * 1024;

    /// Serves one request, whose body is counted by a blocking task; answers with the count or the error.
    async fn serve(stream: tokio::io::DuplexStream, begun: Arc<Notify>) {
        let service = service_fn(|request: http::Request<Incoming>| {
            let begun = Arc::clone(&begun);
            async move {
                let (head, incoming) = request.into_parts();
                let (upload, feeding) = super::stream(&head.headers, head.version, incoming, LIMIT);
                let mut reader = upload.take().expect("nobody took it before");
                let counting = spawn_blocking(move || {
                    let mut piece = [0; 1000];
                    let first = reader.read(&mut piece);
                    begun.notify_one();
                    let rest = first.and_then(|first| {
                        std::io::copy(&mut reader, &mut std::io::sink()).map(|rest| rest + first as u64)
                    });
                    rest.map_or_else(|error| format!("{:?}: {error}", error.kind()), |count| format!("{count} bytes"))
                });
                let (told, unread) = tokio::join!(counting, feeding);
                let told = format!("{}, unread: {unread}", told.expect("it does not panic"));
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(told))))
            }
        });
        let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service).await;
    }

    /// Sends a body of this length in a request that announces it, and returns the answer.
    async fn upload(length: usize, announced: usize, headers: &str) -> String {
        let (mut client, server) = duplex(16 * 1024);
        tokio::spawn(serve(server, Arc::default()));
        let head = format!("PUT / HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {announced}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b' '; length]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_body_is_handed_on_up_to_its_limit_and_the_rest_is_dropped() {
        assert_eq!(upload(LIMIT, LIMIT, "").await, format!("{LIMIT} bytes, unread: false"));
        let refused = format!("FileTooLarge: the body is larger than {LIMIT} bytes");
        assert_eq!(upload(LIMIT + 1, LIMIT + 1, "").await, format!("{refused}, unread: false"));
        assert_eq!(upload(0, LIMIT + 1, "Expect: 100-continue\r\n").await, format!("{refused}, unread: true"));
    }

    #[tokio::test]
    async fn a_body_without_a_length_has_the_same_limit() {
        let (mut client, server) = duplex(16 * 1024);
        tokio::spawn(serve(server, Arc::default()));
        client.write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        for _ in 0..=LIMIT / 0x10000 {
            client.write_all(chunk.as_bytes()).await.unwrap();
        }
        client.write_all(b"0\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("FileTooLarge") && answer.ends_with("unread: false"), "{answer}");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error_and_not_an_end() {
        assert!(upload(10, 1000, "").await.starts_with("Other: the body cannot be read"));
    }

    #[tokio::test]
    async fn what_arrives_waits_for_its_reader_and_a_client_that_leaves_ends_it() {
        let (mut client, server) = duplex(16 * 1024);
        let begun = Arc::new(Notify::new());
        let serving = tokio::spawn(serve(server, Arc::clone(&begun)));
        client.write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf").await.unwrap();
        begun.notified().await;
        drop(client);
        tokio::time::timeout(PATIENCE, serving).await.expect("its end does not wait").unwrap();
    }
}
