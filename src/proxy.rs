//! The HTTP proxy on the same port: `CONNECT` to KPay's own hosts ends in the sandbox, to any other it is a tunnel. So an
//! integration with KPay's address in its source needs no more than `HTTPS_PROXY`.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::gateway::run::LIVE_HOST;
use crate::gateway::values::excerpt;

/// KPay's hosts, live and sandbox (D): a test must never reach real money, so both end here.
pub const KPAY_HOSTS: [&str; 2] = [LIVE_HOST, "pay.esicia.com"];

/// Returns true if a name is one of KPay's hosts, however it is written.
pub fn is_kpay(host: &str) -> bool {
    KPAY_HOSTS.iter().any(|kpay| is_host(host, kpay))
}

/// Returns true if a name is a host's: letters may be capitals, and a dot may stand at the end.
pub fn is_host(name: &str, host: &str) -> bool {
    name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(host)
}

/// How long the request for a tunnel, and its connection, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a client is told that has its tunnel.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection Established\r\n\r\n";
/// How long a request for a tunnel may be, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// How many tunnels to elsewhere may be open at once.
const TUNNELS: usize = 1000;
/// How often tunnels are looked at; one on which nothing moved between two looks is ended.
const IDLE_LOOK: Duration = Duration::from_secs(300);
/// How much of what follows a refused request is read and dropped, and for how long: with unread bytes, the system would
/// reset the connection, and the client could lose the response.
const LINGER: (u64, Duration) = (1024 * 1024, Duration::from_secs(1));
/// The answer to a second request for a tunnel.
const SECOND: &str = "only one CONNECT per connection: this connection is a tunnel already. Open a new connection";

/// Who may have tunnels to elsewhere, and how many.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Nobody may.
    offline: bool,
    /// One permit for each further tunnel.
    tunnels: Arc<Semaphore>,
}

/// What has become of a request for a tunnel.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// It ends here: what follows on the connection is for the sandbox.
    Here,
    /// It has been served, or is refused.
    Done(Result<(), Refusal>),
}

/// A request for a tunnel that is refused, or that broke off.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The sentence for the developer.
    pub why: String,
    /// The status to answer with; a request that broke off gets no answer.
    status: Option<&'static str>,
}

impl Refusal {
    /// Answers the request, if there is one.
    pub async fn send(self, stream: &mut TcpStream) {
        let Some(status) = self.status else { return };
        let body = format!("kpay-sandbox: {}\n", self.why);
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // A client that does not wait for the answer reads the reason in the log.
        let _ = stream.write_all(answer.as_bytes()).await;
        if stream.shutdown().await.is_ok() {
            let (most, patience) = LINGER;
            let _ = timeout(patience, tokio::io::copy(&mut stream.take(most), &mut tokio::io::sink())).await;
        }
    }
}

impl Proxy {
    /// Returns a proxy without tunnels. With `offline`, it makes none to elsewhere.
    pub fn new(offline: bool) -> Proxy {
        Proxy { offline, tunnels: Arc::new(Semaphore::new(TUNNELS)) }
    }

    /// Serves a connection that begins with `CONNECT`.
    pub async fn connect(&self, stream: &mut TcpStream, peer: IpAddr, stop: &mut watch::Receiver<bool>) -> Asked {
        let (host, port) = match requested(stream).await {
            Ok(target) => target,
            Err(done) => return done,
        };
        if is_kpay(&host) {
            let accepted = stream.write_all(ESTABLISHED).await;
            return accepted.map_or_else(|error| broken_off(error.to_string()), |()| Asked::Here);
        }
        if self.offline {
            let why = format!("{host}:{port} is not KPay's, and --offline lets nobody go elsewhere");
            return refuse("403 Forbidden", why);
        }
        if !peer.is_loopback() {
            let why =
                format!("{host}:{port} is not KPay's, and only this machine may go elsewhere through the sandbox");
            return refuse("403 Forbidden", why);
        }
        let Ok(_permit) = self.tunnels.try_acquire() else {
            let why = format!("{host}:{port}: {TUNNELS} tunnels are open already. Close some of them");
            return refuse("503 Service Unavailable", why);
        };
        let mut there = match timeout(PATIENCE, TcpStream::connect((&*host, port))).await {
            Ok(Ok(there)) => there,
            Ok(Err(error)) => return refuse("502 Bad Gateway", format!("{host}:{port}: {error}")),
            Err(_) => {
                let why = format!("{host}:{port}: no connection within {PATIENCE:?}");
                return refuse("504 Gateway Timeout", why);
            }
        };
        if stream.write_all(ESTABLISHED).await.is_ok() {
            // How a tunnel ends is the affair of those at its ends.
            tokio::select! {
                () = carry(stream, &mut there, || tokio::time::sleep(IDLE_LOOK)) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        Asked::Done(Ok(()))
    }

    /// Refuses a second `CONNECT`, which came inside of the tunnel that the first one made.
    pub async fn refuse_second(&self, stream: &mut TcpStream) -> Asked {
        match requested(stream).await {
            Ok(_) => refuse("400 Bad Request", SECOND),
            Err(done) => done,
        }
    }
}

/// Reads a request for a tunnel; returns its host and port, or how the connection ended instead.
async fn requested(stream: &mut TcpStream) -> Result<(String, u16), Asked> {
    match timeout(PATIENCE, read_head(stream)).await {
        Ok(Ok(Some(head))) => match target(&head) {
            Ok(target) => Ok(target),
            Err(why) => Err(refuse("400 Bad Request", why)),
        },
        Ok(Ok(None)) => {
            let why =
                format!("the head of this CONNECT is longer than {HEAD_LIMIT} bytes. Send fewer or shorter headers");
            Err(refuse("431 Request Header Fields Too Large", why))
        }
        Ok(Err(error)) => Err(broken_off(format!("a request for a tunnel broke off: {error}"))),
        Err(_) => Err(broken_off(format!("a request for a tunnel was not finished within {PATIENCE:?}"))),
    }
}

/// Carries bytes both ways until both sides have ended, one breaks, or nothing moves between two looks. `next_look` returns
/// the wait for the next one.
async fn carry<Wait: Future<Output = ()>>(
    here: &mut (impl AsyncRead + AsyncWrite + Unpin),
    there: &mut (impl AsyncRead + AsyncWrite + Unpin),
    next_look: impl Fn() -> Wait,
) {
    let moved = AtomicBool::new(false);
    let (mut here, mut there) = (Watched { stream: here, moved: &moved }, Watched { stream: there, moved: &moved });
    let idle = async {
        loop {
            next_look().await;
            if !moved.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut here, &mut there) => {}
        () = idle => {}
    }
}

/// One end of a tunnel, which notes each write that succeeds.
struct Watched<'a, S> {
    stream: &'a mut S,
    moved: &'a AtomicBool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut *this.stream).poll_write(context, from);
        if written.is_ready() {
            this.moved.store(true, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_shutdown(context)
    }
}

/// Reads a head and not a byte more: what follows is for whoever is behind the tunnel. Returns `None` if it is too long.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let (mut head, mut ahead) = (Vec::new(), [0; 4096]);
    loop {
        let wanted = ahead.len().min(HEAD_LIMIT - head.len());
        let seen = stream.peek(&mut ahead[..wanted]).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = head.len();
        head.extend_from_slice(&ahead[..seen]);
        // The end may lie across two pieces.
        let unsearched = before.saturating_sub(3);
        let end =
            head[unsearched..].windows(4).position(|four| four == b"\r\n\r\n").map(|place| unsearched + place + 4);
        let taken = end.unwrap_or(head.len()) - before;
        stream.read_exact(&mut ahead[..taken]).await?;
        if let Some(end) = end {
            head.truncate(end);
            return Ok(Some(head));
        }
        if head.len() == HEAD_LIMIT {
            return Ok(None);
        }
    }
}

/// Host and port of `CONNECT host:port HTTP/1.1`.
fn target(head: &[u8]) -> Result<(String, u16), String> {
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
    let mut words = line.split(' ');
    let wrong =
        || format!("'{}' is no request for a tunnel: write CONNECT host:port HTTP/1.1", excerpt(&line).escape_debug());
    let (Some("CONNECT"), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(wrong());
    };
    let authority: http::uri::Authority = target.parse().map_err(|_| wrong())?;
    let port = authority.port_u16().ok_or_else(wrong)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let sound = version.starts_with("HTTP/1") && !host.is_empty() && !target.contains('@');
    if sound { Ok((host.to_owned(), port)) } else { Err(wrong()) }
}

fn refuse(status: &'static str, why: impl Into<String>) -> Asked {
    Asked::Done(Err(Refusal { why: why.into(), status: Some(status) }))
}

fn broken_off(why: String) -> Asked {
    Asked::Done(Err(Refusal { why, status: None }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::duplex;
    use tokio::sync::Notify;

    use super::*;

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

    #[test]
    fn a_request_for_a_tunnel_names_a_host_and_a_port() {
        let read = |line: &str| target(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(read("CONNECT pay.esicia.com:443 HTTP/1.1"), Ok(("pay.esicia.com".into(), 443)));
        assert_eq!(read("CONNECT [::1]:8443 HTTP/1.0"), Ok(("::1".into(), 8443)));
        for wrong in [
            "CONNECT pay.esicia.com HTTP/1.1",
            "CONNECT :443 HTTP/1.1",
            "CONNECT a:b@c:443 HTTP/1.1",
            "CONNECT x:443",
            "COPY x:443 HTTP/1.1",
            "CONNECT x:99999 HTTP/1.1",
            "CONNECT x:443 SPDY",
            "C",
        ] {
            assert!(read(wrong).unwrap_err().contains("CONNECT host:port"), "{wrong}");
        }
    }
}
