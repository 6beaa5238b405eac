//! What a page shows of a payment: amounts, and addresses that a browser may be sent to.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::courier::with_scheme;
use crate::gateway::values::{Amount, Currency};

/// An amount as people write it: `RWF 5,000`, which has no decimals, and `USD 12.50`, which has two.
pub(super) fn formatted(amount: Amount, currency: Currency) -> String {
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match (fraction, currency) {
        ("", Currency::Rwf) => format!("{currency} {grouped}"),
        ("", Currency::Usd) => format!("{currency} {grouped}.00"),
        (fraction, _) => format!("{currency} {grouped}.{fraction}"),
    }
}

/// What must not stand in an address that goes into a header.
const UNSAFE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// Longer addresses fit into no header.
const LONGEST: usize = 16_000;

/// An http or https address as a browser takes it; `None` for anything else, which is shown and never followed. Without a
/// scheme it is taken as http, as `returl` is.
pub(super) fn web_address(text: &str) -> Option<String> {
    let address = utf8_percent_encode(text.trim(), UNSAFE).to_string();
    if address.len() > LONGEST {
        return None;
    }
    // A user before the host is a way to show another host than the one that is opened.
    let address = with_scheme(&address).ok().filter(|whole| whole.len() == address.len() || !address.contains('@'))?;
    let scheme = address.split_once("://")?.0.to_ascii_lowercase();
    (matches!(&*scheme, "http" | "https") && origin(&address).is_some()).then_some(address)
}

/// Returns true if an address is on the host that a request was sent to, on whatever port.
pub(super) fn is_on_host_of(address: &str, headers: &HeaderMap) -> bool {
    let address: Option<Uri> = address.parse().ok();
    let asked: Option<Authority> = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse().ok());
    let (Some(address), Some(asked)) = (address.as_ref().and_then(Uri::host), asked) else { return true };
    address.eq_ignore_ascii_case(asked.host())
}

/// `scheme://host:port` of an address, for a policy; `None` when it holds what no host would.
pub(super) fn origin(address: &str) -> Option<String> {
    let end = address.find("://")? + 3;
    let authority = address[end..].split(['/', '?', '#']).next()?;
    let authority: Authority = authority.parse().ok()?;
    let host = authority.host();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'[' | b']' | b':');
    if host.is_empty() || !host.bytes().all(plain) {
        return None;
    }
    let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}{host}{port}", &address[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_look_as_people_write_them() {
        let shown = |text, currency| formatted(Amount::parse(text).unwrap().0, currency);
        assert_eq!(shown("5000", Currency::Rwf), "RWF 5,000");
        assert_eq!(shown("1234567.5", Currency::Rwf), "RWF 1,234,567.50");
        assert_eq!(shown("999", Currency::Usd), "USD 999.00");
        assert_eq!(shown("0.05", Currency::Usd), "USD 0.05");
    }

    #[test]
    fn only_web_addresses_are_followed() {
        assert_eq!(
            web_address("https://shop.example/thanks?a=b&c=%20").unwrap(),
            "https://shop.example/thanks?a=b&c=%20"
        );
        assert_eq!(web_address("HTTP://shop.example/é \r\nX: y").unwrap(), "HTTP://shop.example/%C3%A9%20%0D%0AX:%20y");
        for (without, whole) in [
            ("shop.example", "http://shop.example"),
            ("shop.example/thanks?a=b", "http://shop.example/thanks?a=b"),
            ("localhost:3000/thanks", "http://localhost:3000/thanks"),
            ("[::1]:3000", "http://[::1]:3000"),
        ] {
            assert_eq!(web_address(without).as_deref(), Some(whole));
        }
        for unusable in [
            "",
            "/",
            "//shop.example",
            "mailto:a@shop.example",
            "shop.example@evil.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://",
            "https:///x",
            "ftp://x/",
            "https://a b/",
            "http://;script-src x/",
            "javascript://x/%0aalert(1)",
        ] {
            assert_eq!(web_address(unusable), None, "{unusable}");
        }
        assert_eq!(origin("https://user@shop.example:8443/a").unwrap(), "https://shop.example:8443");
    }
}
