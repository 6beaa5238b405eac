//! Names whose values are secrets.

/// Parts of a name that make its value a secret: `api_key`, `momoPin`, `X-Auth-Token`. A number behind a part is ignored.
const PARTS: [&str; 27] = [
    "apikey",
    "auth",
    "authkey",
    "authorization",
    "bearer",
    "cookie",
    "cookies",
    "csc",
    "cvc",
    "cvn",
    "cvv",
    "jwt",
    "key",
    "keys",
    "mdp",
    "mpin",
    "otp",
    "pass",
    "pin",
    "pwd",
    "secret",
    "secrets",
    "session",
    "signature",
    "token",
    "tokens",
    "totp",
];

/// Texts that make a name a secret's wherever they stand in it, separators left out: `userpassword`, `accesstokens`.
const ANYWHERE: [&str; 16] = [
    "apikey",
    "authkey",
    "cardcode",
    "credential",
    "jsessionid",
    "motdepasse",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "phpsessid",
    "secretkey",
    "securitycode",
    "sessionid",
    "token",
    "authorization",
];

/// Ends of a name that is written in one word: `clientsecret`, `momopin`, `kpaykey`.
const ENDS: [&str; 29] = [
    "secret",
    "pin",
    "otp",
    "pwd",
    "cvv",
    "cvc",
    "userpass",
    "dbpass",
    "loginpass",
    "accesskey",
    "accountkey",
    "appkey",
    "clientkey",
    "consumerkey",
    "encryptionkey",
    "hashkey",
    "kpaykey",
    "livekey",
    "masterkey",
    "merchantkey",
    "privatekey",
    "serverkey",
    "servicekey",
    "sharedkey",
    "signingkey",
    "subscriptionkey",
    "testkey",
    "userkey",
    "webhookkey",
];

/// Words that end like a secret's name and are none.
const OTHER_WORDS: [&str; 3] = ["spin", "hairpin", "linchpin"];

/// Parts beside which a `key` is no secret.
const OPEN_KEYS: [&str; 4] = ["public", "idempotency", "primary", "foreign"];

/// The longest name whose letters are compared without an allocation.
const SHORT: usize = 64;

/// Returns true if a field of this name holds a secret. Letter case and separators do not count.
pub(super) fn is_secret(name: &str) -> bool {
    let (mut short, mut long) = ([0; SHORT], Vec::new());
    let letters: &mut [u8] = if name.len() <= SHORT {
        &mut short[..name.len()]
    } else {
        long.resize(name.len(), 0);
        &mut long
    };
    let (mut length, mut start, mut before) = (0, 0, b' ');
    let (mut found, mut key, mut open) = (false, false, false);
    let mut end_part = |part: &[u8]| {
        let digits = part.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let Ok(part) = std::str::from_utf8(&part[..part.len() - digits]) else { return };
        open |= OPEN_KEYS.contains(&part);
        if part == "key" || part == "keys" {
            key = true;
        } else {
            found |= PARTS.contains(&part);
        }
    };
    let bytes = name.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        // `momoPin` and `APIKey` have two parts each.
        let next_is_small = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        let capital = byte.is_ascii_uppercase() && (before.is_ascii_lowercase() || next_is_small);
        if (capital || !byte.is_ascii_alphanumeric()) && start < length {
            end_part(&letters[start..length]);
            start = length;
        }
        if byte.is_ascii_alphanumeric() {
            letters[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        before = *byte;
    }
    end_part(&letters[start..length]);
    let digits = letters[..length].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let Ok(joined) = std::str::from_utf8(&letters[..length - digits]) else { return found };
    found
        || (key && !open)
        || ANYWHERE.iter().any(|word| joined.contains(word))
        || (ENDS.iter().any(|end| joined.ends_with(end)) && !OTHER_WORDS.iter().any(|word| joined.ends_with(word)))
        || joined.strip_prefix("otp").is_some_and(|rest| rest == "code")
}
