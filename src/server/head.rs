//! What is refused for its head alone, before the body is read.

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Version};

use super::HEADER_LIMIT;
use super::origin::Origin;
use crate::web::{Reading, Reply, Surfaces};

/// What becomes of a request whose body is not for the sandbox.
pub(super) enum Otherwise {
    /// This is the answer.
    Answered(Reply),
    /// It is forwarded to this host and port: the client takes the sandbox for its proxy.
    Forwarded(String, u16),
}

impl From<Reply> for Otherwise {
    fn from(reply: Reply) -> Otherwise {
        Otherwise::Answered(reply)
    }
}

/// Returns how the body is to be read, or what becomes of the request instead.
pub(super) fn check(surfaces: &Surfaces, head: &mut Parts, origin: &mut Origin) -> Result<Reading, Otherwise> {
    if head.method == Method::CONNECT {
        let sentence = "CONNECT is only possible as the first request of a connection, and not inside TLS";
        surfaces.connection_failed(origin.peer, sentence.to_owned());
        let allowed = "GET, HEAD, POST, PUT, DELETE";
        return Err(Reply::problem(405, sentence).with("Allow", allowed).into());
    }
    check_host(head).map_err(|sentence| Reply::problem(400, &sentence))?;
    *origin = origin.behind(&surfaces.trusted_proxies, head);
    if origin.forwarded && head.headers.get(HOST).is_some_and(|host| !is_host(host.as_bytes())) {
        let sentence = "X-Forwarded-Host is not a host with an optional port. Send one such as shop.example";
        return Err(Reply::problem(400, sentence).into());
    }
    // hyper bounds its buffer, which a head that arrives quickly can outgrow: the limit itself is kept here.
    if head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() > HEADER_LIMIT {
        return Err(Reply::problem(431, &format!("the headers are larger than {HEADER_LIMIT} bytes")).into());
    }
    // The form in which a proxy is asked for plain HTTP.
    if head.version < Version::HTTP_2
        && let Some(host) = head.uri.host()
    {
        let is_secure = head.uri.scheme_str() == Some("https");
        let port = head.uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        if !surfaces.serves(host, port) {
            let host = host.trim_matches(['[', ']']).to_owned();
            if !is_secure {
                return Err(Otherwise::Forwarded(host, port));
            }
            let sentence = format!("{host} is not KPay's: for HTTPS to other hosts, ask this proxy with CONNECT");
            return Err(Reply::problem(502, &sentence).into());
        }
    }
    Ok(surfaces.reading(&head.method, head.uri.path(), &head.headers))
}

/// Leaves one `Host` header that names the host which was asked (RFC 9112, 3.2; RFC 9113, 8.3.1).
fn check_host(head: &mut Parts) -> Result<(), String> {
    let mut given = head.headers.get_all(HOST).iter();
    let (host, second) = (given.next(), given.next());
    if second.is_some() {
        return Err("the request has more than one Host header. Send one".into());
    }
    if host.is_some_and(|host| !is_host(host.as_bytes())) {
        return Err("the Host header is not a host with an optional port. Send one such as pay.esicia.com".into());
    }
    let Some(authority) = head.uri.authority() else {
        // HTTP/1.0 has no Host header.
        let is_missing = host.is_none() && head.version > Version::HTTP_10;
        return if is_missing { Err("the request has no Host header. Send one".into()) } else { Ok(()) };
    };
    if !is_host(authority.as_str().as_bytes()) {
        return Err(format!("'{authority}' is not a host with an optional port. Leave out the user"));
    }
    match host {
        None if head.version == Version::HTTP_11 => return Err("the request has no Host header. Send one".into()),
        Some(host) if head.version >= Version::HTTP_2 && !is_same(host, authority) => {
            return Err(format!("the Host header is not the :authority '{authority}'. Send only :authority"));
        }
        _ => {}
    }
    // Where the address has the host, that counts.
    if host.is_none_or(|host| host.as_bytes() != authority.as_str().as_bytes())
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(HOST, host);
    }
    Ok(())
}

/// Returns true for the characters of a name or an address, and of a port. RFC 3986 (3.2.2) allows more, which no host
/// uses and which must not get into the links that name the host.
fn is_host(host: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    host.len() <= 255 && host.iter().all(fits)
}

fn is_same(host: &HeaderValue, authority: &Authority) -> bool {
    let (host, authority) = (host.as_bytes(), authority.as_str().as_bytes());
    let without_port = |name: &[u8]| name.strip_suffix(b":443").unwrap_or(name).to_ascii_lowercase();
    host == authority || without_port(host) == without_port(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the `Host` that is left, or the complaint.
    fn checked(version: Version, uri: &str, hosts: &[&str]) -> Result<Option<String>, String> {
        let mut request = http::Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        check_host(&mut head)?;
        Ok(head.headers.get(HOST).map(|host| host.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_request_names_one_host() {
        let (old, h1, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for (version, uri, hosts, expected) in [
            (h1, "/", &["localhost:1"][..], Ok(Some("localhost:1"))),
            (h1, "/", &[], Err("no Host")),
            (h1, "/", &["a", "a"], Err("more than one")),
            (h1, "/", &["a/b"], Err("not a host")),
            (h1, "/", &["user@a"], Err("not a host")),
            (h1, "/", &["a$b"], Err("not a host")),
            (h1, "http://a/", &[], Err("no Host")),
            (h1, "http://a/", &["b"], Ok(Some("a"))),
            (h1, "/", &["[::1]:8443"], Ok(Some("[::1]:8443"))),
            (old, "/", &[], Ok(None)),
            (old, "/", &["a", "b"], Err("more than one")),
            (h2, "https://a/", &[], Ok(Some("a"))),
            (h2, "https://a/", &["A:443"], Ok(Some("a"))),
            (h2, "https://a/", &["b"], Err(":authority")),
            (h2, "https://a/", &["a", "b"], Err("more than one")),
            (h2, "/", &[], Err("no Host")),
            (h2, "https://user@a/", &[], Err("Leave out the user")),
        ] {
            let checked = checked(version, uri, hosts);
            let fits = match (&checked, expected) {
                (Ok(host), Ok(wanted)) => host.as_deref() == wanted,
                (Err(why), Err(part)) => why.contains(part),
                _ => false,
            };
            assert!(fits, "{version:?} {uri} {hosts:?}: {checked:?}");
        }
    }
}
