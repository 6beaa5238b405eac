//! The names that a certificate covers.

use std::net::IpAddr;

use rustls::pki_types::DnsName;

/// What every installation serves.
pub(super) const NAMES: [&str; 8] = [
    "localhost",
    "pay.esicia.com",
    "pay.esicia.rw",
    "esicia.rw",
    "kpay-sandbox",
    "host.docker.internal",
    "127.0.0.1",
    "::1",
];

/// Whether a host can stand in the certificate; the error says what to write instead.
pub fn check_host(host: &str) -> Result<(), String> {
    let ascii = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let label = |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    // DnsName also knows that what ends in a number is a mistyped address.
    let name = ascii && host.split('.').all(label) && DnsName::try_from(host).is_ok();
    if name || host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(format!(
        "'{host}' is neither a DNS name nor an IP address; write it without scheme, port, brackets, path or wildcard, such as shop.test, 192.168.1.5 or ::1 (other letters in their xn-- form)"
    ))
}

/// The names that are served: the usual ones and `hosts`, in small letters.
pub fn names(hosts: &[String]) -> Vec<String> {
    let mut names: Vec<String> = NAMES.map(str::to_owned).into();
    for host in hosts.iter().map(|host| host.to_ascii_lowercase()) {
        if !names.contains(&host) {
            names.push(host);
        }
    }
    names
}
