//! Limits on where postbacks go: a forged result must not reach a shop that is real.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::proxy::KPAY_HOSTS;

/// The addresses that postbacks may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Postbacks {
    /// This machine and private networks.
    Local,
    /// Every address.
    Anywhere,
}

/// A name or an address led to public addresses only. Nothing was connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it leads to {0}, which is not an address of this machine or of a private network")]
pub(super) struct NotLocal(pub(super) IpAddr);

impl Postbacks {
    /// Returns those of a target's addresses that postbacks may go to. At least one is needed.
    pub(super) fn permitted(self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, NotLocal> {
        let Some(first) = found.first().map(SocketAddr::ip) else { return Ok(found) };
        let permitted: Vec<SocketAddr> = found.into_iter().filter(|address| self.permits(address.ip())).collect();
        if permitted.is_empty() { Err(NotLocal(first)) } else { Ok(permitted) }
    }

    fn permits(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Postbacks::Anywhere, _) => true,
            (Postbacks::Local, IpAddr::V4(address)) => is_local_v4(address),
            (Postbacks::Local, IpAddr::V6(address)) => is_local_v6(address),
        }
    }
}

/// Loopback, private and link-local addresses. Carriers' shared addresses (100.64.0.0/10) are not among them: other
/// customers, or production machines of a VPN, may be there. Container runtimes use 0.0.0.0/8 and 198.18.0.0/15, and no
/// public address is in them; 0.0.0.0 itself is this machine.
fn is_local_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || first == 0
        || (first == 198 && second & 0xfe == 18)
}

/// Loopback, unique local and link-local addresses; `::` is this machine.
fn is_local_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unspecified() || address.is_unique_local() || address.is_unicast_link_local()
}

/// Returns true for KPay's hosts and everything else under its domains, however they are written.
pub(super) fn is_kpays(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    KPAY_HOSTS.iter().any(|kpay| {
        let domain = kpay.strip_prefix("pay.").unwrap_or(kpay);
        host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_and_of_private_networks_are_local() {
        let local = "127.0.0.1 127.9.9.9 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.5 169.254.1.2 0.0.0.0 0.250.250.254 \
            198.19.249.3 ::1 :: fd12:3456::1 fc00::1 fe80::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1";
        let public = "8.8.8.8 172.32.0.1 172.15.255.255 192.169.0.1 100.64.0.1 100.127.255.255 192.0.2.1 203.0.113.7 \
            198.17.255.255 198.20.0.0 224.0.0.1 239.255.255.250 255.255.255.255 240.0.0.1 2001:db8::1 2606:4700::1111 \
            ::ffff:8.8.8.8 ::8.8.8.8 64:ff9b::a00:1 2002:a00:1::1 fec0::1 ff02::1";
        for (addresses, permitted) in [(local, true), (public, false)] {
            for address in addresses.split_whitespace() {
                assert_eq!(Postbacks::Local.permits(address.parse().unwrap()), permitted, "{address}");
                assert!(Postbacks::Anywhere.permits(address.parse().unwrap()));
            }
        }
    }

    #[test]
    fn of_several_addresses_the_local_ones_are_kept_and_public_ones_alone_are_refused() {
        let [public, local]: [SocketAddr; 2] = ["203.0.113.7:80", "10.0.0.1:80"].map(|text| text.parse().unwrap());
        assert_eq!(Postbacks::Local.permitted(vec![public, local]), Ok(vec![local]));
        assert_eq!(Postbacks::Local.permitted(vec![public]), Err(NotLocal(public.ip())));
        assert_eq!(Postbacks::Anywhere.permitted(vec![public, local]), Ok(vec![public, local]));
    }

    #[test]
    fn kpays_hosts_are_known_however_they_are_written() {
        for host in ["pay.esicia.com", "PAY.Esicia.RW", "pay.esicia.com.", "esicia.rw", "www.esicia.com"] {
            assert!(is_kpays(host), "{host}");
        }
        for host in ["pay.esicia.com.example", "notesicia.com", "localhost", "rw", ""] {
            assert!(!is_kpays(host), "{host}");
        }
    }
}
