//! The HTTP proxy on the same port: `CONNECT` to KPay's own hosts ends in the sandbox, to any other it is a tunnel. So an
//! integration with KPay's address in its source needs no more than `HTTPS_PROXY`. Requests for plain HTTP, with a whole
//! address, are forwarded by `server/forward.rs`.

mod carry;
mod upstream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::gateway::system::System;
use crate::gateway::values::excerpt;
use carry::carry;
pub(crate) use carry::{Watched, end_when_idle};
pub use upstream::{Hop, Scheme, Upstream};

/// KPay's hosts: live and sandbox (D), because a test must never reach real money, and the one with exchange rates (O).
pub const KPAY_HOSTS: [&str; 3] = [System::Live.host(), System::Sandbox.host(), "esicia.rw"];

/// Returns true if a name is one of KPay's hosts, also with capital letters and a dot at its end.
pub fn is_kpay(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    KPAY_HOSTS.iter().any(|kpay| name.eq_ignore_ascii_case(kpay))
}

/// How long the request for a tunnel, and its connection, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a client is told that has its tunnel.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection Established\r\n\r\n";
/// How long a request for a tunnel may be, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// How many connections to elsewhere may be open at once.
const TUNNELS: usize = 1000;
/// How often connections to elsewhere are looked at; one on which nothing moved between two looks is ended.
pub(crate) const IDLE_LOOK: Duration = Duration::from_secs(300);
/// How much of what follows a refused request is read and dropped, and for how long: with unread bytes, the system would
/// reset the connection, and the client could lose the response.
const LINGER: (u64, Duration) = (1024 * 1024, Duration::from_secs(1));
/// The answer to a second request for a tunnel.
const SECOND: &str = "only one CONNECT per connection: this connection is a tunnel already. Open a new connection";

/// Who may have connections to elsewhere, and how many.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Nobody may.
    offline: bool,
    /// The proxies on the way to elsewhere.
    upstream: Upstream,
    /// The addresses on which the sandbox listens.
    own: Arc<[SocketAddr]>,
    /// One permit for each further connection.
    tunnels: Arc<Semaphore>,
}

/// A connection to elsewhere.
#[derive(Debug)]
pub struct Elsewhere {
    /// The connection.
    pub stream: TcpStream,
    /// It leads to this proxy, which takes requests for plain HTTP with their whole address.
    pub hop: Option<Arc<Hop>>,
    /// It counts until this is dropped.
    _permit: OwnedSemaphorePermit,
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
    pub status: Option<StatusCode>,
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
    /// Returns a proxy without connections, of a sandbox that listens on these addresses. With `offline`, it makes none to
    /// elsewhere, and else it makes them through `upstream`.
    pub fn new(offline: bool, upstream: Upstream, own: &[SocketAddr]) -> Proxy {
        Proxy { offline, upstream, own: own.into(), tunnels: Arc::new(Semaphore::new(TUNNELS)) }
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
        let mut there = match self.connect_elsewhere((&host, port), Scheme::Https, peer).await {
            Ok(there) => there,
            Err(refusal) => return Asked::Done(Err(refusal)),
        };
        if stream.write_all(ESTABLISHED).await.is_ok() {
            // How a tunnel ends is the affair of those at its ends.
            tokio::select! {
                () = carry(stream, &mut there.stream, || tokio::time::sleep(IDLE_LOOK)) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        Asked::Done(Ok(()))
    }

    /// Connects to another host than KPay's for a program on this machine.
    pub async fn connect_elsewhere(
        &self,
        (host, port): (&str, u16),
        scheme: Scheme,
        peer: IpAddr,
    ) -> Result<Elsewhere, Refusal> {
        if self.offline {
            let why = format!("{host}:{port} is not KPay's, and --offline lets nobody go elsewhere");
            return Err(refusal(StatusCode::FORBIDDEN, why));
        }
        if !peer.is_loopback() {
            let why =
                format!("{host}:{port} is not KPay's, and only this machine may go elsewhere through the sandbox");
            return Err(refusal(StatusCode::FORBIDDEN, why));
        }
        let Ok(permit) = Arc::clone(&self.tunnels).try_acquire_owned() else {
            let why = format!("{host}:{port}: {TUNNELS} connections are open already. Close some of them");
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, why));
        };
        let hop = self.upstream.for_host(scheme, host);
        let connecting = async {
            let Some(hop) = &hop else { return TcpStream::connect((host, port)).await };
            let mut stream = TcpStream::connect((hop.host.as_str(), hop.port)).await?;
            if scheme == Scheme::Https {
                tunnel(&mut stream, hop, (host, port)).await?;
            }
            Ok(stream)
        };
        let through = hop.as_ref().map(|hop| format!(" through the proxy {hop}")).unwrap_or_default();
        match timeout(PATIENCE, connecting).await {
            Ok(Ok(stream)) => {
                let hop = hop.filter(|_| scheme == Scheme::Http);
                Ok(Elsewhere { stream, hop, _permit: permit })
            }
            Ok(Err(error)) => Err(refusal(StatusCode::BAD_GATEWAY, format!("{host}:{port}{through}: {error}"))),
            Err(_) => {
                let why = format!("{host}:{port}{through}: no connection within {PATIENCE:?}");
                Err(refusal(StatusCode::GATEWAY_TIMEOUT, why))
            }
        }
    }

    /// Returns true if the sandbox listens at this port of an address, or of `localhost` and other names of it.
    pub fn is_own(&self, address: Option<IpAddr>, port: u16) -> bool {
        self.own.iter().filter(|own| own.port() == port).any(|own| {
            let (own, usual) = (own.ip(), [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]);
            match address {
                Some(address) => own == address || (own.is_unspecified() && address.is_loopback()),
                // An `exec` also listens on a loopback address of its own, to which no such name leads.
                None => usual.contains(&own) || !own.is_loopback(),
            }
        })
    }

    /// Refuses a second `CONNECT`, which came inside of the tunnel that the first one made.
    pub async fn refuse_second(&self, stream: &mut TcpStream) -> Asked {
        match requested(stream).await {
            Ok(_) => refuse(StatusCode::BAD_REQUEST, SECOND),
            Err(done) => done,
        }
    }
}

/// Asks another proxy for a tunnel.
async fn tunnel(stream: &mut TcpStream, hop: &Hop, (host, port): (&str, u16)) -> io::Result<()> {
    stream.write_all(hop.request(host, port).as_bytes()).await?;
    let head = read_head(stream).await?.ok_or_else(|| io::Error::other("its response has no end"))?;
    upstream::complaint(&head).map_or(Ok(()), |why| Err(io::Error::other(format!("it answered '{why}'"))))
}

/// Reads a request for a tunnel; returns its host and port, or how the connection ended instead.
async fn requested(stream: &mut TcpStream) -> Result<(String, u16), Asked> {
    match timeout(PATIENCE, read_head(stream)).await {
        Ok(Ok(Some(head))) => match target(&head) {
            Ok(target) => Ok(target),
            Err(why) => Err(refuse(StatusCode::BAD_REQUEST, why)),
        },
        Ok(Ok(None)) => {
            let why =
                format!("the head of this CONNECT is longer than {HEAD_LIMIT} bytes. Send fewer or shorter headers");
            Err(refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why))
        }
        Ok(Err(error)) => Err(broken_off(format!("a request for a tunnel broke off: {error}"))),
        Err(_) => Err(broken_off(format!("a request for a tunnel was not finished within {PATIENCE:?}"))),
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

fn refuse(status: StatusCode, why: impl Into<String>) -> Asked {
    Asked::Done(Err(refusal(status, why)))
}

fn refusal(status: StatusCode, why: impl Into<String>) -> Refusal {
    Refusal { why: why.into(), status: Some(status) }
}

fn broken_off(why: String) -> Asked {
    Asked::Done(Err(Refusal { why, status: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

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
