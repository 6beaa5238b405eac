//! The proxy that the user had set before `exec` set its own. Connections to other hosts go through it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use http::Uri;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;

/// The proxies of an environment, and the hosts that it excepts from them.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    https: Option<Arc<Hop>>,
    http: Option<Arc<Hop>>,
    excepted: Vec<String>,
}

/// One HTTP proxy.
#[derive(PartialEq, Eq)]
pub struct Hop {
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<String>,
}

/// Without the credentials.
impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The scheme of the addresses that a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A tunnel.
    Https,
    /// A request over plain HTTP.
    Http,
}

impl Upstream {
    /// Reads the variables that clients read, and tells which of them cannot be used.
    pub fn of_environment(read: impl Fn(&str) -> Option<String>) -> (Upstream, Vec<String>) {
        let mut notices = Vec::new();
        let mut hop = |names: [&str; 4]| {
            let (name, value) =
                names.into_iter().find_map(|name| Some((name, read(name).filter(|value| !value.is_empty())?)))?;
            let hop = Hop::read(&value);
            if hop.is_none() {
                // The value may have a password in it.
                let notice = format!("{name} is not an http:// proxy, so other hosts are connected to without it");
                if !notices.contains(&notice) {
                    notices.push(notice);
                }
            }
            hop.map(Arc::new)
        };
        let https = hop(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
        let http = hop(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]);
        let lists: Vec<String> = ["no_proxy", "NO_PROXY"].into_iter().filter_map(&read).collect();
        let entries = lists.iter().flat_map(|list| list.split(|c: char| c == ',' || c.is_whitespace()));
        let excepted = entries.filter(|entry| !entry.is_empty()).map(str::to_ascii_lowercase).collect();
        (Upstream { https, http, excepted }, notices)
    }

    /// Returns the proxy through which a host is reached.
    pub fn for_host(&self, scheme: Scheme, host: &str) -> Option<Arc<Hop>> {
        let hop = match scheme {
            Scheme::Https => self.https.as_ref(),
            Scheme::Http => self.http.as_ref(),
        };
        hop.filter(|_| !self.excepts(host)).map(Arc::clone)
    }

    fn excepts(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if let Ok(address) = host.parse::<IpAddr>() {
            let within = |entry: &String| entry.parse::<IpNet>().is_ok_and(|net| net.contains(&address));
            return address.is_loopback()
                || self.excepted.iter().any(|entry| *entry == host || entry == "*" || within(entry));
        }
        let named = |entry: &String| {
            let name = entry.rsplit_once(':').map_or(entry.as_str(), |(name, _)| name).trim_start_matches(['*', '.']);
            name.is_empty() || host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        host == "localhost" || self.excepted.iter().any(named)
    }
}

impl Hop {
    /// Reads `http://user:password@host:port`, of which only the host is needed.
    fn read(value: &str) -> Option<Hop> {
        let value = value.trim();
        let address = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let uri: Uri = address.parse().ok()?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let credentials = authority.as_str().rsplit_once('@').map(|(userinfo, _)| {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            let decoded: Vec<u8> = percent_decode_str(user).chain(*b":").chain(percent_decode_str(password)).collect();
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(decoded))
        });
        let port = authority.port_u16().unwrap_or(80);
        (!host.is_empty()).then(|| Hop { host: host.to_owned(), port, authorization: credentials })
    }

    /// Returns the request for a tunnel through this proxy.
    pub fn request(&self, host: &str, port: u16) -> String {
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let authorization =
            self.authorization.as_ref().map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n")
    }
}

/// Returns why a proxy's response gives no tunnel.
pub(super) fn complaint(head: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let made = status.is_some_and(|status| status.len() == 3 && status.starts_with('2'));
    (!made).then(|| line.chars().filter(|c| !c.is_control()).take(100).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> (Upstream, Vec<String>) {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Upstream::of_environment(value)
    }

    #[test]
    fn a_proxy_is_read_with_its_credentials_and_shown_without_them() {
        let (upstream, notices) =
            of(&[("HTTPS_PROXY", "http://me:p%40ss@proxy.example:3128/"), ("http_proxy", "[::1]")]);
        let https = upstream.for_host(Scheme::Https, "example.org").unwrap();
        // me:p@ss
        assert_eq!(
            (https.to_string().as_str(), https.authorization.as_deref()),
            ("proxy.example:3128", Some("Basic bWU6cEBzcw=="))
        );
        let http = upstream.for_host(Scheme::Http, "example.org").unwrap();
        assert_eq!((http.host.as_str(), http.port, &http.authorization), ("::1", 80, &None));
        assert!(notices.is_empty() && !format!("{upstream:?}").contains("bWU6"), "{upstream:?}");
        let (upstream, notices) = of(&[("ALL_PROXY", "socks5h://me:secret@proxy.example")]);
        assert!(upstream.for_host(Scheme::Https, "example.org").is_none());
        assert_eq!(notices, ["ALL_PROXY is not an http:// proxy, so other hosts are connected to without it"]);
    }

    #[test]
    fn hosts_that_the_user_excepts_are_connected_to_directly() {
        let proxy = ("https_proxy", "proxy.example:3128");
        let excepted =
            |list: &str, host: &str| of(&[proxy, ("NO_PROXY", list)]).0.for_host(Scheme::Https, host).is_none();
        for (list, host) in [
            ("*", "a.test"),
            ("*", "192.0.2.1"),
            ("b.test, .a.test", "x.A.test."),
            ("a.test", "a.test"),
            ("a.test:443", "x.a.test"),
            ("*.a.test", "x.a.test"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3"),
            ("", "localhost"),
            ("", "127.0.0.1"),
            ("", "::1"),
        ] {
            assert!(excepted(list, host), "{list}: {host}");
        }
        for (list, host) in [("a.test", "ba.test"), ("10.0.0.0/8", "11.1.2.3"), ("a.test", "b.test"), ("", "a.test")] {
            assert!(!excepted(list, host), "{list}: {host}");
        }
    }

    #[test]
    fn only_a_success_gives_a_tunnel() {
        assert_eq!(complaint(b"HTTP/1.1 200 Connection established\r\n\r\n"), None);
        for head in ["HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "HTTP/1.1 2\r\n\r\n", "hello\r\n\r\n", ""] {
            assert_eq!(complaint(head.as_bytes()).as_deref(), head.split("\r\n").next());
        }
    }
}
