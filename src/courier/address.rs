//! Where a postback goes: what a `returl` means, and which origins lead elsewhere.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::reach::is_kpays;
use crate::gateway::masking;

/// Postbacks for one origin go to another: `https://shop.example=http://localhost:3000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    from: Origin,
    to: Origin,
}

/// Scheme, host in lower case, and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

/// The place that a `returl` names, after the redirections.
#[derive(Debug, Clone)]
pub struct Target {
    /// The address to post to, without credentials.
    pub uri: Uri,
    /// The origin that the `returl` names.
    pub(super) named: Origin,
    /// `--postback-to` chose the address.
    pub(super) redirected: bool,
    /// The `Authorization` header for a user and a password in the `returl`.
    pub(super) authorization: Option<HeaderValue>,
}

/// The characters that PHP's curl sends as they are, although no address may have them.
const ENCODED: &AsciiSet =
    &CONTROLS.add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

impl FromStr for Redirection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write FROM=TO, such as https://shop.example=http://localhost:3000";
        let (from, to) = text.split_once('=').ok_or_else(|| format!("{} has no '=': {FORM}", shown(text)))?;
        let origin = |text: &str| Origin::parse(text).map_err(|why| format!("{why}; {FORM}"));
        let (from, to) = (origin(from)?, origin(to)?);
        if is_kpays(&to.host) {
            return Err(format!("{} is KPay's, and no postback goes there; {FORM}", to.host));
        }
        Ok(Redirection { from, to })
    }
}

/// Returns where a `returl` leads, after the redirections, or a sentence why it leads nowhere.
///
/// Without a scheme it is taken as http; a fragment is dropped, as every client does.
pub fn target(returl: &str, redirections: &[Redirection]) -> Result<Target, String> {
    let wrong = |why: String| format!("{}: {why}", shown(returl));
    let text = returl.trim();
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("it holds blanks or control characters".into()));
    }
    let text = with_scheme(text).map_err(wrong)?;
    let (userinfo, text) = without_userinfo(&text);
    let uri: Uri = text.parse().map_err(|error| wrong(format!("it is no address ({error})")))?;
    let named = Origin::of(&uri).map_err(wrong)?;
    let rule = redirections.iter().find(|rule| rule.from == named);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let address = rule.map_or(&named, |rule| &rule.to).with_path(path);
    let uri = address.parse().map_err(|error| wrong(format!("it is no address ({error})")))?;
    Ok(Target { uri, redirected: rule.is_some(), authorization: userinfo.and_then(basic), named })
}

/// Splits an address with a scheme into what stands before the `@` of its host, and the address without that, its path
/// and query encoded where they need it.
fn without_userinfo(text: &str) -> (Option<&str>, String) {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (userinfo, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    (userinfo, format!("{scheme}://{host}{}", utf8_percent_encode(path, ENCODED)))
}

/// Returns the `Authorization` header that PHP's curl sends for `user:password` in an address.
fn basic(userinfo: &str) -> Option<HeaderValue> {
    if userinfo.is_empty() {
        return None;
    }
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    let mut header = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials)).parse().ok();
    header.iter_mut().for_each(|header: &mut HeaderValue| header.set_sensitive(true));
    header
}

/// The same address on another host, if this one means the machine itself.
pub(super) fn around(uri: &Uri, host: &str) -> Option<Uri> {
    let mut origin = Origin::of(uri).ok()?;
    let name = origin.host.trim_start_matches('[').trim_end_matches(']');
    let itself = is_localhost(name) || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    origin.host = host.to_owned();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    itself.then(|| origin.with_path(path).parse().ok())?
}

/// Returns true for `localhost` and every name under it, which all mean this machine (RFC 6761).
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.strip_suffix("localhost").is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Returns an address with `http://` before it if it has no scheme. Decided here and not by the parser, which takes
/// `localhost:3000` for a scheme or a bare authority.
pub(crate) fn with_scheme(text: &str) -> Result<String, String> {
    let before_path = text.find(['/', '?']).map_or(text, |end| &text[..end]);
    if before_path.is_empty() {
        let why = "it has no host: write the whole address, such as http://localhost:3000/kpay";
        return Err(why.into());
    }
    let implied = Ok(format!("http://{text}"));
    if before_path.starts_with('[') || before_path.contains('@') {
        return implied;
    }
    let Some((scheme, rest)) = before_path.split_once(':') else {
        return implied;
    };
    let has_slashes = text[before_path.len()..].starts_with("//");
    if rest.is_empty() && has_slashes {
        return Ok(text.to_owned());
    }
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return implied;
    }
    Err(format!("{} is neither http:// nor https://, and no port follows it", shown(&format!("{scheme}:"))))
}

impl Origin {
    fn of(uri: &Uri) -> Result<Origin, String> {
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("it must begin with http:// or https://".into()),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a user or a password. Leave them out".into());
        }
        let host = authority.host();
        if host.is_empty() {
            return Err("it has no host".into());
        }
        let port = match authority.as_str().get(host.len()..) {
            None | Some("") if secure => 443,
            None | Some("") => 80,
            Some(_) => {
                authority.port_u16().filter(|port| *port > 0).ok_or("its port is not a number from 1 to 65535")?
            }
        };
        let host = host.to_ascii_lowercase();
        Ok(Origin { secure, host, port })
    }

    fn parse(text: &str) -> Result<Origin, String> {
        let wrong = |why: String| format!("{} is not an origin: {why}", shown(text));
        let uri: Uri = text.trim().parse().map_err(|error| wrong(format!("{error}")))?;
        let origin = Origin::of(&uri).map_err(wrong)?;
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") || text.contains('#') {
            return Err(wrong("leave the path out, paths stay as they are".into()));
        }
        Ok(origin)
    }

    /// Returns the host, and the port unless it is the scheme's own.
    pub(super) fn authority(&self) -> String {
        match (self.secure, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// Returns `http` or `https`.
    pub(super) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    fn with_path(&self, path: &str) -> String {
        // `http://shop.test?x=1` has a query and no path; what is sent needs one.
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{self}{slash}{path}")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

/// Somebody else's text inside a sentence: its control characters escaped, its length bounded.
fn shown(text: &str) -> String {
    let text = masking::address(text);
    let mut start: String = text.chars().take(200).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("'{}'", start.escape_debug())
}
