//! What a proxy in front of the sandbox says of a request: who sent it, over what, to which host.

use std::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::gateway::merchant::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The client's address.
    pub(crate) peer: IpAddr,
    /// It came over TLS.
    pub(crate) secure: bool,
    /// A trusted proxy sent it on.
    pub(crate) forwarded: bool,
}

impl Origin {
    /// Believes the headers of a trusted proxy. `X-Forwarded-Host` takes the place of `Host`.
    pub(super) fn behind(self, trusted: &[Network], head: &mut Parts) -> Origin {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        if !is_trusted(self.peer) {
            return self;
        }
        if let Some(host) = last(&head.headers, &FORWARDED_HOST).and_then(|host| host.parse().ok()) {
            head.headers.insert(HOST, host);
        }
        let secure = match last(&head.headers, &FORWARDED_PROTO) {
            Some(proto) => proto.eq_ignore_ascii_case("https"),
            None => self.secure,
        };
        let mut peer = self.peer;
        // Each proxy adds the address that it saw: what a trusted one has added counts, what came before is the client's.
        for text in values(&head.headers, &FORWARDED_FOR) {
            let Some(address) = address(text) else { break };
            peer = address;
            if !is_trusted(address) {
                break;
            }
        }
        Origin { peer, secure, forwarded: true }
    }
}

/// The values of a header that is a list, the last one first.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.into_iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim)
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    values(headers, name).next()
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: std::net::SocketAddr| with_port.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(trusted: &[&str], peer: &str, headers: &[(&str, &str)]) -> (String, bool, Option<String>) {
        let trusted: Vec<Network> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let mut request = http::Request::builder().header(HOST, "inside:8443");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let direct = Origin { peer: peer.parse().unwrap(), secure: false, forwarded: false };
        let origin = direct.behind(&trusted, &mut head);
        let host = head.headers.get(HOST).map(|host| host.to_str().unwrap().to_owned());
        (origin.peer.to_string(), origin.secure, host.filter(|_| origin.forwarded))
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_trusted_ones_have_added() {
        let all = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "shop.test")];
        assert_eq!(believed(&[], "127.0.0.1", &all), ("127.0.0.1".into(), false, None));
        assert_eq!(believed(&["10.0.0.0/8"], "127.0.0.1", &all), ("127.0.0.1".into(), false, None));
        let told = ("1.1.1.1".to_owned(), true, Some("shop.test".to_owned()));
        assert_eq!(believed(&["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", &all), told);
        for (chain, peer) in [
            ("6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("6.6.6.6, nonsense", "127.0.0.1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("1.1.1.1:4711", "1.1.1.1"),
            ("", "127.0.0.1"),
        ] {
            let (found, _, host) = believed(&["127.0.0.1", "10.0.0.0/8"], "127.0.0.1", &[("x-forwarded-for", chain)]);
            assert_eq!((&*found, host.as_deref()), (peer, Some("inside:8443")), "{chain}");
        }
        let twice =
            [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https, http")];
        assert_eq!(
            believed(&["127.0.0.0/8"], "127.0.0.1", &twice),
            ("1.1.1.1".into(), false, Some("inside:8443".into()))
        );
    }
}
