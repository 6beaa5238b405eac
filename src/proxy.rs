//! The HTTP proxy on the same port: `CONNECT` to KPay's own hosts ends in the sandbox, to any other it is a tunnel. So an
//! integration with KPay's address in its source needs no more than `HTTPS_PROXY`.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::gateway::values::excerpt;

/// KPay's hosts, live and sandbox (D): a test must never reach real money, so both end here.
pub const KPAY_HOSTS: [&str; 2] = [LIVE_HOST, "pay.esicia.com"];
/// Where money is real (D).
pub const LIVE_HOST: &str = "pay.esicia.rw";

/// How long the request for a tunnel, and its connection, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request for a tunnel may be, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// Who may have tunnels to elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Proxy {
    /// Nobody.
    pub offline: bool,
}

/// What has become of a request for a tunnel.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// It ends here: what follows on the connection is for the sandbox.
    Here,
    /// It has been served, or refused; the sentence is for the developer.
    Done(Result<(), String>),
}

impl Proxy {
    /// Serves a connection that begins with `CONNECT`.
    pub async fn connect(self, stream: &mut TcpStream, peer: IpAddr, stop: &mut watch::Receiver<bool>) -> Asked {
        let target = match timeout(PATIENCE, read_head(stream)).await {
            Ok(Ok(head)) => target(&head),
            Ok(Err(error)) => return Asked::Done(Err(format!("a request for a tunnel broke off: {error}"))),
            Err(_) => return Asked::Done(Err(format!("a request for a tunnel was not finished within {PATIENCE:?}"))),
        };
        let (host, port) = match target {
            Ok(target) => target,
            Err(why) => return refuse(stream, "400 Bad Request", why).await,
        };
        if KPAY_HOSTS.iter().any(|kpay| host.eq_ignore_ascii_case(kpay)) {
            let accepted = stream.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await;
            return accepted.map_or_else(|error| Asked::Done(Err(error.to_string())), |()| Asked::Here);
        }
        if self.offline {
            let why = format!("{host}:{port} is not KPay's, and --offline lets nobody go elsewhere");
            return refuse(stream, "403 Forbidden", why).await;
        }
        if !peer.is_loopback() {
            let why =
                format!("{host}:{port} is not KPay's, and only this machine may go elsewhere through the sandbox");
            return refuse(stream, "403 Forbidden", why).await;
        }
        let mut there = match timeout(PATIENCE, TcpStream::connect((&*host, port))).await {
            Ok(Ok(there)) => there,
            Ok(Err(error)) => return refuse(stream, "502 Bad Gateway", format!("{host}:{port}: {error}")).await,
            Err(_) => {
                return refuse(
                    stream,
                    "504 Gateway Timeout",
                    format!("{host}:{port}: no connection within {PATIENCE:?}"),
                )
                .await;
            }
        };
        if stream.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await.is_ok() {
            // How a tunnel ends is the affair of those at its ends.
            tokio::select! {
                _ = copy_bidirectional(stream, &mut there) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        Asked::Done(Ok(()))
    }
}

/// Reads a head and not a byte more: what follows is for whoever is behind the tunnel.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (mut head, mut ahead) = (Vec::new(), [0; 4096]);
    loop {
        let seen = stream.peek(&mut ahead).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The end may lie across two pieces.
        let before = head.len();
        head.extend_from_slice(&ahead[..seen]);
        let end = head.windows(4).position(|four| four == b"\r\n\r\n").map(|place| place + 4);
        let taken = end.unwrap_or(head.len()) - before;
        stream.read_exact(&mut ahead[..taken]).await?;
        if let Some(end) = end {
            head.truncate(end);
            return Ok(head);
        }
        if head.len() > HEAD_LIMIT {
            return Err(io::Error::other(format!("its head is longer than {HEAD_LIMIT} bytes")));
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

async fn refuse(stream: &mut TcpStream, status: &str, why: String) -> Asked {
    let body = format!("kpay-sandbox: {why}\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // A client that does not wait for the answer reads the reason in the log.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    Asked::Done(Err(why))
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
