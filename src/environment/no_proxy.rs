//! `NO_PROXY`: hosts that are not asked through the proxy. KPay's are never among them.

use crate::proxy::KPAY_HOSTS;

/// Hosts of this machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Joins lists, without what means KPay's hosts and with what means this machine.
pub(super) fn without_kpay(lists: impl Iterator<Item = String>) -> String {
    let mut kept: Vec<String> = Vec::new();
    let lists: Vec<String> = lists.collect();
    let given = lists.iter().flat_map(|list| list.split(|c: char| c == ',' || c.is_whitespace()));
    for entry in given.filter(|entry| !entry.is_empty() && !means_kpay(entry)).chain(LOCAL) {
        if !kept.iter().any(|known| known == entry) {
            kept.push(entry.to_owned());
        }
    }
    kept.join(",")
}

/// Returns true if any client might take an entry for one of KPay's hosts.
fn means_kpay(entry: &str) -> bool {
    let entry = entry.to_ascii_lowercase();
    let name = match entry.split_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => &entry,
    };
    // A client takes `.com`, `com` and `*.com` for the same; wget even `cia.com`.
    let name = name.trim_start_matches(['*', '.']).trim_end_matches('.');
    KPAY_HOSTS.iter().any(|host| {
        let mut parts = name.split('*');
        let end = parts.next_back().unwrap_or_default();
        let rest = parts.try_fold(*host, |rest, part| rest.split_once(part).map(|(_, rest)| rest));
        rest.is_some_and(|rest| rest.ends_with(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kpays_hosts_are_taken_out_however_they_are_written() {
        let entries = [
            "*",
            ".com",
            "com",
            "*.com",
            ".rw",
            "esicia.com",
            ".esicia.com",
            "*.esicia.com",
            "pay.esicia.com",
            "PAY.esicia.rw",
            "pay.esicia.com:443",
            ".esicia.com:443",
            "esicia.com.",
            "*:443",
            "pay.*",
            "*esicia*",
            "cia.com",
            "p*.com",
            ".",
        ];
        for entry in entries {
            let lists = [format!("a.test, {entry} b.test"), format!("{entry},c.test")];
            let expected = "a.test,b.test,c.test,localhost,127.0.0.1,::1";
            assert_eq!(without_kpay(lists.into_iter()), expected, "{entry}");
        }
    }

    #[test]
    fn others_stay_and_none_stands_there_twice() {
        let list =
            "10.0.0.0/8,::1,[::1]:80,shop.test:8080,.internal,example.com,*.example.rw,pay.example.com,esicia.org";
        assert_eq!(without_kpay([list.to_owned(), list.to_owned()].into_iter()), format!("{list},localhost,127.0.0.1"));
        assert_eq!(without_kpay(std::iter::empty()), "localhost,127.0.0.1,::1");
    }
}
