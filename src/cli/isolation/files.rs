//! The files of a private view: what the command sees in place of the machine's own.

use std::net::{IpAddr, Ipv4Addr};

use crate::proxy::{KPAY_HOSTS, is_kpay};

/// Returns a hosts file in which KPay's hosts lead to `address` and nowhere else.
pub(super) fn hosts(before: &str, address: Ipv4Addr) -> String {
    let mut after = String::new();
    for host in KPAY_HOSTS {
        // The C library compares names as they are written: with a dot at the end, and musl also letter by letter.
        let names = format!("{host} {host}. {0} {0}.", host.to_uppercase());
        // A program that asks for IPv6 addresses only would go on to ask DNS.
        after += &format!("{address} {names}\n::ffff:{address} {names}\n");
    }
    for line in before.lines() {
        let (entry, comment) = line.split_at(line.find('#').unwrap_or(line.len()));
        let mut words = entry.split_whitespace();
        let to = words.next().unwrap_or_default();
        let (named, others): (Vec<&str>, Vec<&str>) = words.partition(|word| is_kpay(word));
        if named.is_empty() {
            after += line;
        } else if !others.is_empty() {
            after += &format!("{to} {} {comment}", others.join(" "));
        }
        after.push('\n');
    }
    after
}

/// Returns a name service configuration that looks at the hosts file first, or `None` if this one does. Others may ask a
/// service that does not see the private view.
pub(super) fn name_services(before: &str) -> Option<String> {
    let mut changed = false;
    let lines = before.lines().map(|line| {
        let sources = line.trim_start().strip_prefix("hosts:");
        match sources.filter(|sources| sources.split_whitespace().next() != Some("files")) {
            Some(sources) => {
                changed = true;
                format!("hosts: files {}\n", sources.trim_start())
            }
            None => format!("{line}\n"),
        }
    });
    let after: String = lines.collect();
    changed.then_some(after)
}

/// Returns trusted root certificates with one more.
pub(super) fn roots(before: &[u8], ca: &[u8]) -> Vec<u8> {
    [before, if before.ends_with(b"\n") || before.is_empty() { b"" } else { b"\n" }, ca].concat()
}

/// Returns true if an address is the view's.
pub(super) fn is_own(found: IpAddr, address: Ipv4Addr) -> bool {
    found.to_canonical() == IpAddr::V4(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kpays_hosts_lead_to_one_address_and_all_others_where_they_did() {
        let before = "127.0.0.1 localhost\n\n# a comment\n10.0.0.1 PAY.esicia.com # ours\n10.0.0.2 shop.test pay.esicia.rw. db # two\n::1 pay.esicia.com";
        let after = hosts(before, Ipv4Addr::new(127, 70, 1, 2));
        let lines: Vec<&str> = after.lines().collect();
        assert_eq!(lines[0], "127.70.1.2 pay.esicia.rw pay.esicia.rw. PAY.ESICIA.RW PAY.ESICIA.RW.");
        assert!(lines[1].starts_with("::ffff:127.70.1.2 pay.esicia.rw "), "{after}");
        assert!(lines[2].starts_with("127.70.1.2 pay.esicia.com "), "{after}");
        assert_eq!(
            lines[2 * KPAY_HOSTS.len()..],
            ["127.0.0.1 localhost", "", "# a comment", "", "10.0.0.2 shop.test db # two", ""]
        );
    }

    #[test]
    fn the_hosts_file_is_looked_at_first() {
        for first in ["hosts: files dns\n", "passwd: files\n\thosts:  files mdns4_minimal [NOTFOUND=return] dns\n", ""]
        {
            assert_eq!(name_services(first), None, "{first}");
        }
        let before = "passwd: files systemd\nhosts:      mymachines resolve [!UNAVAIL=return] files dns # comment";
        let after = "passwd: files systemd\nhosts: files mymachines resolve [!UNAVAIL=return] files dns # comment\n";
        assert_eq!(name_services(before).as_deref(), Some(after));
    }

    #[test]
    fn a_certificate_begins_on_a_line_of_its_own() {
        assert_eq!(roots(b"a", b"b\n"), b"a\nb\n");
        assert_eq!(roots(b"a\n", b"b\n"), b"a\nb\n");
        assert_eq!(roots(b"", b"b\n"), b"b\n");
    }
}
