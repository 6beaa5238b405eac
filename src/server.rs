//! Accept, one byte to tell TLS from plain, TLS, hyper, graceful end. hyper's types become ours here.

mod body;
mod forward;
mod head;
mod origin;
mod requests;

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::gateway::scenario::ResetPoint;
use crate::log::say;
use crate::outgoing::{Line, Outgoing, Patience, Reset};
use crate::proxy::Asked;
use crate::web::{Body, Reading, Reply, Request, Sending, Surfaces};
use head::Otherwise;
use origin::Origin;
use requests::Connections;
pub(crate) use requests::{Looks, UnderWay};

/// How many bytes of headers are read.
const HEADER_LIMIT: usize = 64 * 1024;
/// How long a client may take over each part: first byte, handshake, headers, body.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many requests of an HTTP/2 connection may have been taken back unread before the connection is ended.
const RESETS: usize = 20;
/// How long connections may take to end.
const ENDING: Duration = Duration::from_secs(2);

/// Listens on an address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Unix this lets a restart have the port at once; on Windows it would let two programs share it.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    // Else `[::]` would take the port of `0.0.0.0` as well, on some systems and not on others.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Serves until `stop`; returns when the connections have ended, or soon after.
pub async fn serve(
    listeners: Vec<TcpListener>,
    tls: TlsAcceptor,
    surfaces: Arc<Surfaces>,
    mut stop: watch::Receiver<bool>,
) {
    // Each connection holds a clone; when the last is gone, receiving ends.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    let connections = Connections::default();
    tokio::spawn(connections.clone().look_after(stop.clone()));
    let connection = Connection { tls, surfaces, connections, stop: stop.clone(), _open: open };
    let accepting: Vec<_> =
        listeners.into_iter().map(|listener| tokio::spawn(accept(listener, connection.clone()))).collect();
    drop(connection);
    // An error would mean that the sandbox itself is gone: an end as well.
    let _ = stop.wait_for(|stop| *stop).await;
    accepting.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = timeout(ENDING, all_closed.recv()).await;
}

async fn accept(listener: TcpListener, connection: Connection) {
    let mut complained: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => drop(tokio::spawn(connection.clone().run(stream, peer.ip().to_canonical()))),
            Err(error) => {
                // Mostly no file descriptors left: others end soon, so pause and go on.
                if complained.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
                    say(&format!("cannot accept a connection: {error}; trying again"));
                    complained = Some(Instant::now());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What a connection needs.
#[derive(Clone)]
struct Connection {
    tls: TlsAcceptor,
    surfaces: Arc<Surfaces>,
    connections: Connections,
    stop: watch::Receiver<bool>,
    _open: mpsc::Sender<()>,
}

impl Connection {
    async fn run(mut self, mut stream: TcpStream, peer: IpAddr) {
        let Some(mut first) = self.first_byte(&stream).await else { return };
        // Answers are small and whole: waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        // No other method of HTTP that is served here begins so.
        if first == b'C' {
            let mut asked = self.surfaces.proxy.connect(&mut stream, peer, &mut self.stop).await;
            if asked == Asked::Here {
                let Some(inside) = self.first_byte(&stream).await else { return };
                first = inside;
                if first == b'C' {
                    asked = self.surfaces.proxy.refuse_second(&mut stream).await;
                }
            }
            match asked {
                Asked::Here => {}
                Asked::Done(Ok(())) => return,
                Asked::Done(Err(refusal)) => {
                    self.surfaces.connection_failed(peer, refusal.why.clone());
                    return refusal.send(&mut stream).await;
                }
            }
        }
        let (line, reset) = Line::new(stream, Patience::default());
        if first != 0x16 {
            return self.http1(line, reset, peer, false).await;
        }
        match timeout(PATIENCE, self.tls.accept(line)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                self.http2(stream, reset, peer).await
            }
            Ok(Ok(stream)) => self.http1(stream, reset, peer, true).await,
            Ok(Err(error)) => self.surfaces.connection_failed(peer, handshake_problem(&error)),
            Err(_) => self.surfaces.connection_failed(peer, format!("TLS handshake not finished within {PATIENCE:?}")),
        }
    }

    /// Waits for the first byte and leaves it there. Returns `None` if none comes in time.
    async fn first_byte(&mut self, stream: &TcpStream) -> Option<u8> {
        let mut first = [0; 1];
        let arrived = tokio::select! {
            arrived = timeout(PATIENCE, stream.peek(&mut first)) => arrived,
            _ = self.stop.wait_for(|stop| *stop) => return None,
        };
        matches!(arrived, Ok(Ok(1))).then_some(first[0])
    }

    async fn http1(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        reset: Reset,
        peer: IpAddr,
        secure: bool,
    ) {
        let (surfaces, requests) = (&self.surfaces, self.connections.open(false));
        let service =
            service_fn(|request| answer(Arc::clone(surfaces), request, peer, secure, reset.clone(), requests.begin()));
        let connection = http1::Builder::new()
            .max_buf_size(HEADER_LIMIT)
            .half_close(true)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // How a connection ends is the client's affair: what matters was recorded with its calls.
        if requests.drive(connection.as_mut()).await {
            return;
        }
        connection.as_mut().graceful_shutdown();
        // One whose headers have not arrived would wait for them; one that is being answered ends with its answer.
        if requests.under_way() {
            let _ = connection.await;
        } else {
            let _ = timeout(ENDING, connection).await;
        }
    }

    async fn http2(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, reset: Reset, peer: IpAddr) {
        let (surfaces, requests) = (&self.surfaces, self.connections.open(true));
        let service =
            service_fn(|request| answer(Arc::clone(surfaces), request, peer, true, reset.clone(), requests.begin()));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(200)
            .max_pending_accept_reset_streams(RESETS)
            .max_header_list_size(HEADER_LIMIT as u32)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            done = requests.drive(connection.as_mut()) => if done { return },
            () = reset.ordered() => return,
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(ENDING, connection).await;
    }
}

fn handshake_problem(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => {
            let alert = format!("{alert:?}");
            if ["UnknownCA", "BadCertificate", "CertificateUnknown"].contains(&&*alert) {
                format!("TLS: the client does not trust the sandbox's CA ({alert}); see 'Trusting the CA' in README")
            } else {
                format!("TLS: the client ended the handshake ({alert})")
            }
        }
        _ => format!("TLS handshake failed: {error}"),
    }
}

type Answer = http::Response<Outgoing>;

/// How long a call that is never answered is kept.
const NEVER: Duration = Duration::from_secs(300);

/// What answers one request. A block and not an `async fn`, which would hold what it is given twice: it is moved about
/// for each request.
fn answer(
    surfaces: Arc<Surfaces>,
    request: http::Request<Incoming>,
    peer: IpAddr,
    secure: bool,
    reset: Reset,
    under_way: UnderWay,
) -> impl Future<Output = io::Result<Answer>> {
    let (is_head, version) = (request.method() == Method::HEAD, request.version());
    let (mut head, incoming) = request.into_parts();
    async move {
        let mut origin = Origin { peer, secure, forwarded: false };
        let (body, upload) = match head::check(&surfaces, &mut head, &mut origin) {
            Ok(Reading::Whole(limit)) => {
                (body::read_whole(pin!(body::read(&head.headers, version, incoming, limit))).await, None)
            }
            Ok(Reading::Streamed(limit)) => {
                let (upload, feeding) = body::stream(&head.headers, version, incoming, limit);
                (Ok(Body::Streamed(upload)), Some(feeding))
            }
            Err(Otherwise::Answered(reply)) => (Err(reply), None),
            Err(Otherwise::Forwarded(host, port)) => {
                let answered = Box::pin(forwarded(&surfaces, (head, incoming), (host, port), peer, &reset)).await;
                return Ok(answered.map(|body| body.holding(under_way)));
            }
        };
        // hyper drops this future when the client hangs up: whatever must finish is spawned further in.
        let (reply, is_last, mut headers) = match body {
            Ok(body) => {
                // Some clients ask a proxy for https with an address in full, and leave the TLS to it.
                let secure = origin.secure || (version < Version::HTTP_2 && head.uri.scheme_str() == Some("https"));
                let Origin { peer, forwarded, .. } = origin;
                let (method, uri, headers) = (head.method, head.uri, head.headers);
                let request = Request { method, uri, headers, peer, secure, forwarded, body };
                let (reply, unread) = match upload {
                    None => (surfaces.answer(&request).await, matches!(request.body, Body::TooLarge)),
                    Some(feeding) => Box::pin(body::answer_streamed(&surfaces, &request, feeding)).await,
                };
                (reply, unread, request.headers)
            }
            Err(reply) => (reply, true, HeaderMap::new()),
        };
        if matches!(reply.sending, Sending::Never) {
            tokio::time::sleep(NEVER).await;
        }
        // The answer's headers take over the memory of the request's, and hyper has it back for the next.
        headers.clear();
        let response = respond(reply, is_head, &reset, headers)?.map(|body| body.holding(under_way));
        Ok(if is_last { closing(response, version, &reset) } else { response })
    }
}

/// Returns the response of another host, or why there is none.
async fn forwarded(
    surfaces: &Surfaces,
    request: (http::request::Parts, Incoming),
    to: (String, u16),
    peer: IpAddr,
    reset: &Reset,
) -> Answer {
    let version = request.0.version;
    match forward::forward(&surfaces.proxy, request, to, peer, surfaces.stop.clone()).await {
        Ok(answer) => answer,
        Err(refusal) => {
            let status = refusal.status.unwrap_or(StatusCode::BAD_GATEWAY);
            surfaces.connection_failed(peer, refusal.why.clone());
            let mut answer = Answer::new(Outgoing::whole(format!("kpay-sandbox: {}\n", refusal.why).into()));
            *answer.status_mut() = status;
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            closing(answer, version, reset)
        }
    }
}

/// The header that tells whose answer this is.
const VERSION: HeaderName = HeaderName::from_static("x-kpay-sandbox");

/// An error here ends the connection, or the stream, without an answer.
fn respond(reply: Reply, is_head: bool, reset: &Reset, headers: HeaderMap) -> io::Result<Answer> {
    let length = reply.body.len();
    // The length of a body that is still being produced is unknown.
    let mut announced = is_head && !matches!(reply.sending, Sending::Live(_) | Sending::Streamed(_));
    let body = match reply.sending {
        _ if is_head => Outgoing::whole(Bytes::new()),
        Sending::Whole => Outgoing::whole(reply.body),
        Sending::Live(pieces) => {
            reset.be_patient();
            Outgoing::live(reply.body, pieces)
        }
        Sending::Streamed(pieces) => Outgoing::streamed(reply.body, pieces),
        Sending::Never => return Err(io::ErrorKind::TimedOut.into()),
        Sending::Reset(ResetPoint::BeforeAnswer) => {
            reset.order();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Sending::Reset(point) => {
            announced = true;
            let sent = if point == ResetPoint::InBody { length / 2 } else { 0 };
            Outgoing::broken_after(&reply.body, sent, Some(reset.clone()))
        }
        Sending::Cut => {
            announced = true;
            Outgoing::broken_after(&reply.body, length / 2, None)
        }
        Sending::Trickle(pause) => {
            announced = true;
            Outgoing::trickle(&reply.body, pause)
        }
    };
    let mut response = http::Response::new(body);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.insert(VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    match reply.content_type {
        Cow::Borrowed(label) => drop(headers.insert(CONTENT_TYPE, HeaderValue::from_static(label))),
        // A script's own, and it may want none.
        Cow::Owned(label) => {
            if let Some(label) = header_value(&label).filter(|label| !label.is_empty()) {
                headers.insert(CONTENT_TYPE, label);
            }
        }
    }
    if announced {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    for (name, value) in reply.headers {
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), header_value(&value)) {
            headers.append(name, value);
        }
    }
    Ok(response)
}

/// A sentence may hold anything that was sent to us; a header may not.
fn header_value(text: &str) -> Option<HeaderValue> {
    if text.len() <= HEADER_LIMIT && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return HeaderValue::from_str(text).ok();
    }
    let safe: String =
        text.chars().take(HEADER_LIMIT).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    HeaderValue::from_str(&safe).ok()
}

/// Ends the connection after this answer, where the protocol has a header for it.
fn closing(mut response: Answer, version: Version, reset: &Reset) -> Answer {
    if version < Version::HTTP_2 {
        reset.linger();
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
