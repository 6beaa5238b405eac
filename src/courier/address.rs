//! Where a postback goes: what a `returl` means, and which origins lead elsewhere.

use std::str::FromStr;

use http::Uri;

/// Postbacks for one origin go to another: `https://shop.example=http://localhost:3000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    from: Origin,
    to: Origin,
}

/// Scheme, host in lower case, and port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl FromStr for Redirection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write FROM=TO, such as https://shop.example=http://localhost:3000";
        let (from, to) = text.split_once('=').ok_or_else(|| format!("{} has no '=': {FORM}", shown(text)))?;
        let origin = |text: &str| Origin::parse(text).map_err(|why| format!("{why}; {FORM}"));
        Ok(Redirection { from: origin(from)?, to: origin(to)? })
    }
}

/// The address that a `returl` means, after the redirections, or a sentence why there is none.
///
/// Without a scheme it is taken as http; a fragment is dropped, as every client does.
pub fn target(returl: &str, redirections: &[Redirection]) -> Result<Uri, String> {
    let wrong = |why: String| format!("{}: {why}", shown(returl));
    let text = returl.trim();
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("it holds blanks or control characters".into()));
    }
    let uri: Uri =
        with_scheme(text).map_err(wrong)?.parse().map_err(|error| wrong(format!("it is no address ({error})")))?;
    let origin = Origin::of(&uri).map_err(wrong)?;
    let rule = redirections.iter().find(|rule| rule.from == origin);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    rule.map_or(&origin, |rule| &rule.to)
        .with_path(path)
        .parse()
        .map_err(|error| wrong(format!("it is no address ({error})")))
}

/// The same address on another host, if this one means the machine itself.
pub(super) fn around(uri: &Uri, host: &str) -> Option<Uri> {
    let mut origin = Origin::of(uri).ok()?;
    let name = origin.host.trim_start_matches('[').trim_end_matches(']');
    let itself = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    origin.host = host.to_owned();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    itself.then(|| origin.with_path(path).parse().ok())?
}

/// Decided here and not by the parser, which takes `localhost:3000` for a scheme or a bare authority.
fn with_scheme(text: &str) -> Result<String, String> {
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
            return Err("it holds a user or a password: leave them out".into());
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

    fn with_path(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let port = match (self.secure, self.port) {
            (false, 80) | (true, 443) => String::new(),
            (_, port) => format!(":{port}"),
        };
        // `http://shop.test?x=1` has a query and no path; what is sent needs one.
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{}{port}{slash}{path}", self.host)
    }
}

/// Somebody else's text inside a sentence: its control characters escaped, its length bounded.
fn shown(text: &str) -> String {
    let mut start: String = text.chars().take(200).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("'{}'", start.escape_debug())
}
