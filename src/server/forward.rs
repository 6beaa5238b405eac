//! Requests for other hosts over plain HTTP, from programs that take the sandbox for their proxy.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::outgoing::Outgoing;
use crate::proxy::{Elsewhere, Hop, IDLE_LOOK, Proxy, Refusal, Scheme, Watched, end_when_idle};
use crate::web::{BodySender, pipe};

/// Headers that concern one connection only (RFC 9110, 7.6.1), and one that the server has answered already.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
];

/// Sends a request on to its host, and returns the response. Bodies pass through as they come.
pub(super) async fn forward(
    proxy: &Proxy,
    (head, body): (Parts, Incoming),
    (host, port): (String, u16),
    peer: IpAddr,
    stop: watch::Receiver<bool>,
) -> Result<Response<Outgoing>, Refusal> {
    let bad = |why: String| Refusal { why: format!("{host}:{port}: {why}"), status: Some(StatusCode::BAD_GATEWAY) };
    let there = proxy.connect_elsewhere((&host, port), Scheme::Http, peer).await?;
    let request = request(head, body, there.hop.as_deref()).map_err(|error| bad(error.to_string()))?;
    let (answer, answered) = oneshot::channel();
    // In a task, which goes on with the body. A client that hangs up before the head takes it along.
    let mut task = JoinSet::new();
    task.spawn(exchange(there, request, answer, stop));
    let answered = answered.await;
    task.detach_all();
    match answered {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(bad(error.to_string())),
        Err(_) => Err(bad(format!("no response, and nothing moved for {IDLE_LOOK:?}"))),
    }
}

/// Returns the request as its host expects it, or the proxy on the way there.
fn request(mut head: Parts, body: Incoming, hop: Option<&Hop>) -> http::Result<Request<Incoming>> {
    head.version = Version::HTTP_11;
    strip(&mut head.headers);
    match hop {
        Some(hop) => {
            if let Some(authorization) = &hop.authorization {
                head.headers.insert(PROXY_AUTHORIZATION, HeaderValue::from_str(authorization)?);
            }
        }
        None => {
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            // hyper reads `OPTIONS http://host` without a path as one for the host as a whole.
            head.uri = Uri::try_from(path)?;
        }
    }
    Ok(Request::from_parts(head, body))
}

/// Takes out what concerns one connection only.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

type Answer = oneshot::Sender<hyper::Result<Response<Outgoing>>>;

/// Has one exchange on a connection, which ends with it.
async fn exchange(there: Elsewhere, request: Request<Incoming>, answer: Answer, mut stop: watch::Receiver<bool>) {
    let moved = Arc::default();
    let stream = TokioIo::new(Watched::new(there.stream, &moved));
    let exchanging = async {
        let (mut sender, connection) = match http1::handshake(stream).await {
            Ok(both) => both,
            // A client that is gone takes no answer.
            Err(error) => return drop(answer.send(Err(error))),
        };
        let asking = async {
            match sender.send_request(request).await {
                Ok(response) => pass_on(response, answer).await,
                Err(error) => drop(answer.send(Err(error))),
            }
        };
        // What breaks it, breaks the response too.
        tokio::select! {
            () = asking => {}
            () = async { drop(connection.await); std::future::pending().await } => {}
        }
    };
    tokio::select! {
        () = exchanging => {}
        () = end_when_idle(&moved, || tokio::time::sleep(IDLE_LOOK)) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Answers with the head, and then sends the body.
async fn pass_on(response: Response<Incoming>, answer: Answer) {
    let (mut head, body) = response.into_parts();
    strip(&mut head.headers);
    let (sender, reader) = pipe();
    let response = Response::from_parts(head, Outgoing::streamed(Bytes::new(), reader));
    if answer.send(Ok(response)).is_ok() {
        feed(body, sender).await;
    }
}

async fn feed(mut body: Incoming, sender: BodySender) {
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => {
                if !sender.send(data).await {
                    return;
                }
            }
            // Trailers concern this connection only.
            Ok(Err(_)) => {}
            Err(error) => return sender.fail(io::Error::other(error)).await,
        }
    }
    sender.end().await;
}
