//! What a gateway keeps, read as somebody would who looks for secrets in it.

use std::fmt::Write;

use kpay_sandbox::view;

use crate::core::{Core, line_of};

/// A Visa test number, a password and a token. Of the number the last four digits may be shown.
pub(crate) const PAN: &str = "4111111111111111";
pub(crate) const PASSWORD: &str = "Tr0ub4dorX";
pub(crate) const TOKEN: &str = "qk9tokenvalue7";

/// Everything that a gateway keeps and shows, with a name for each part.
pub(crate) fn kept(core: &Core) -> Vec<(&'static str, String)> {
    let (mut whole, mut log, mut payments) = (String::new(), String::new(), String::new());
    for entry in core.gateway.journal().after(0) {
        writeln!(whole, "{}", view::whole(entry)).unwrap();
        log.push_str(&line_of(entry));
    }
    for transaction in core.gateway.ledger().iter() {
        write!(payments, "{}", view::transaction(transaction)).unwrap();
        write!(payments, "{}", view::sent(transaction)).unwrap();
    }
    let state = core.saved();
    vec![("journal", whole), ("log", log), ("payments", payments), ("state", state)]
}

/// A text as somebody could read it who looks for secrets: escapes resolved, only letters and digits left.
fn readable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    let mut rest = &*decoded;
    while let Some(start) = rest.find("\\u") {
        plain.push_str(&rest[..start]);
        let code = rest.get(start + 2..start + 6).and_then(|code| u32::from_str_radix(code, 16).ok());
        let resolved = code.and_then(char::from_u32);
        plain.extend(resolved);
        rest = &rest[start + if resolved.is_some() { 6 } else { 2 }..];
    }
    plain.push_str(rest);
    let digit = |c: char| match u32::from(c) {
        code @ 0xFF10..=0xFF19 => char::from_digit(code - 0xFF10, 10).unwrap(),
        code @ 0x0660..=0x0669 => char::from_digit(code - 0x0660, 10).unwrap(),
        _ => c,
    };
    plain.chars().map(digit).filter(char::is_ascii_alphanumeric).collect()
}

pub(crate) fn assert_masked(kept: &[(&'static str, String)], case: &str) {
    for (place, text) in kept {
        let plain = readable(text);
        for secret in [PAN, PASSWORD, TOKEN] {
            assert!(!plain.contains(secret), "{secret} of {case} in the {place}: {text}");
        }
    }
}
