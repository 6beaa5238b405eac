//! Connections to listeners: to permitted addresses only, and never to the sandbox itself, whose control API a payment
//! could drive otherwise.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::reach::Postbacks;
use super::resolver::{Permitted, Resolver};

/// The connection led to the sandbox itself. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it leads to this sandbox itself")]
pub(super) struct OwnAddress;

/// Connects to the permitted addresses, except for the sandbox's own ones. It judges the addresses that are connected to,
/// so that no name and no spelling of an address gets around it.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    http: HttpConnector<Permitted>,
    postbacks: Postbacks,
    own: Arc<[SocketAddr]>,
}

impl Connector {
    /// Returns a connector to the addresses that `postbacks` permits. It refuses `own`, on which the sandbox listens.
    pub(super) fn new(resolver: &Resolver, postbacks: Postbacks, own: &[SocketAddr]) -> Connector {
        let mut http = HttpConnector::new_with_resolver(Permitted { resolver: resolver.clone(), postbacks });
        // It is also what the https connector connects with.
        http.enforce_http(false);
        http.set_nodelay(true);
        Connector { http, postbacks, own: own.into() }
    }

    /// Judges an address that the target names itself: the resolver never sees it.
    fn permit_literal(&self, uri: &Uri) -> io::Result<()> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let Ok(address) = host.parse::<IpAddr>() else { return Ok(()) };
        self.postbacks.permitted(vec![(address, 0).into()]).map(drop).map_err(io::Error::other)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.http.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Err(refused) = self.permit_literal(&uri) {
            return Box::pin(std::future::ready(Err(refused.into())));
        }
        let (connecting, own) = (self.http.call(uri), Arc::clone(&self.own));
        Box::pin(async move {
            let stream = connecting.await?;
            let (here, there) = (stream.inner().local_addr()?, stream.inner().peer_addr()?);
            if leads_to(&own, here, there) { Err(io::Error::other(OwnAddress).into()) } else { Ok(stream) }
        })
    }
}

/// Returns true if a connection from `here` to `there` ends at one of these listening addresses.
fn leads_to(own: &[SocketAddr], here: SocketAddr, there: SocketAddr) -> bool {
    let (from, to) = (here.ip().to_canonical(), there.ip().to_canonical());
    own.iter().any(|own| {
        // Who listens on every address is reached by each that the machine has.
        let every = own.ip().is_unspecified() && (to.is_loopback() || to == from);
        own.port() == there.port() && (own.ip().to_canonical() == to || every)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_that_end_at_a_listening_address_are_the_sandboxs_own() {
        let leads = |own: &str, here: &str, there: &str| {
            leads_to(&[own.parse().unwrap()], here.parse().unwrap(), there.parse().unwrap())
        };
        assert!(leads("127.0.0.1:8443", "127.0.0.1:50000", "127.0.0.1:8443"));
        assert!(leads("127.0.0.1:8443", "[::ffff:127.0.0.1]:50000", "[::ffff:127.0.0.1]:8443"));
        assert!(!leads("127.0.0.1:8443", "127.0.0.1:50000", "127.0.0.1:3000"));
        assert!(!leads("127.0.0.1:8443", "127.0.0.1:50000", "127.0.0.2:8443"), "another program may listen there");
        assert!(leads("0.0.0.0:8443", "127.0.0.1:50000", "127.0.0.2:8443"));
        assert!(leads("0.0.0.0:8443", "192.0.2.1:50000", "192.0.2.1:8443"));
        assert!(leads("[::]:8443", "[2001:db8::1]:50000", "[2001:db8::1]:8443"));
        assert!(!leads("0.0.0.0:8443", "192.0.2.1:50000", "192.0.2.7:8443"), "another machine");
    }
}
