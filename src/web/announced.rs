//! The address at which the checkout page is announced: one that the payer's browser can open.

use std::net::IpAddr;

use crate::proxy::is_kpay;

/// How the sandbox is reached by browsers.
#[derive(Debug, Clone, Default)]
pub struct Announced {
    /// `--public-url`, without a slash at its end.
    pub public: Option<String>,
    /// The sandbox's own address in plain HTTP, which a browser opens without trusting the CA.
    pub own: String,
    /// The names of `--host`, in small letters.
    pub names: Vec<String>,
    /// No other address is announced but these two: nobody has trusted the CA of an `exec` in a browser.
    pub only_own: bool,
}

impl Announced {
    /// Returns scheme and host for the response to a request for `host`, in two parts. A name that leads here inside
    /// of `exec` or a container only, such as KPay's own, would lead a browser elsewhere.
    pub(super) fn for_host<'a>(&'a self, host: &'a str, forwarded: bool) -> [&'a str; 2] {
        match &self.public {
            Some(public) => [public, ""],
            None if !self.only_own && self.is_known_to_browsers(host, forwarded) => ["https://", host],
            None => [&self.own, ""],
        }
    }

    fn is_known_to_browsers(&self, host: &str, forwarded: bool) -> bool {
        let name = host_name(host);
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let is_local = is("localhost") || name.parse::<IpAddr>().is_ok();
        let is_named = || self.names.iter().any(|known| is(known)) || name.to_ascii_lowercase().ends_with(".localhost");
        let is_forwarded = || forwarded && !is_kpay(name);
        is_local || is_named() || is_forwarded()
    }
}

/// The host without its port, and an IPv6 address without brackets.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_browsers_cannot_open_is_not_announced() {
        let mut announced =
            Announced { own: "http://localhost:8443".into(), names: vec!["shop.test".into()], ..Announced::default() };
        for (host, forwarded, expected) in [
            ("localhost:8443", false, "https://localhost:8443"),
            ("127.0.0.1:1", false, "https://127.0.0.1:1"),
            ("[::1]:1", false, "https://[::1]:1"),
            ("shop.TEST", false, "https://shop.TEST"),
            ("a.localhost", false, "https://a.localhost"),
            ("pay.esicia.com", false, "http://localhost:8443"),
            ("PAY.esicia.rw:443", true, "http://localhost:8443"),
            ("kpay-sandbox:8443", false, "http://localhost:8443"),
            ("host.docker.internal:8443", false, "http://localhost:8443"),
            ("pay.shop.example", true, "https://pay.shop.example"),
        ] {
            assert_eq!(announced.for_host(host, forwarded).concat(), expected, "{host}");
        }
        announced.only_own = true;
        assert_eq!(announced.for_host("127.0.0.1:1", false).concat(), "http://localhost:8443");
        announced.public = Some("https://x.app.github.dev".into());
        assert_eq!(announced.for_host("localhost:8443", false).concat(), "https://x.app.github.dev");
    }
}
