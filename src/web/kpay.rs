//! KPay's endpoint: `/` and `/api/`, with any number of slashes.

use std::time::Duration;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};

use super::control::is_browsers;
use super::{Body, RefusalStatus, Reply, Request, Sending, Surfaces};
use crate::courier::SENDER_HEADER;
use crate::gateway::Gateway;
use crate::gateway::call::{self, Call, Credentials};
use crate::gateway::masking;
use crate::gateway::scenario::{Fault, ResetPoint};

/// The header that tells a developer why; KPay's own body is not touched.
const REASON: &str = "X-KPay-Sandbox-Reason";

/// The header with what is odd in an accepted call.
const HINT: &str = "X-KPay-Sandbox-Hint";

/// The longest that an answer is kept back, in real time.
const LONGEST: Duration = Duration::from_secs(300);

/// The header by which a request names its scenario.
const SCENARIO: &str = "X-KPay-Sandbox-Scenario";

/// Some clients leave the padding out; PHP, which KPay runs on, does not mind.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns true if a request to the endpoint asks KPay for something. The others open its address in a browser.
pub(super) fn is_call(request: &Request) -> bool {
    let is_empty = matches!(&request.body, Body::Whole(body) if body.is_empty());
    let is_visit = matches!(request.method, Method::GET | Method::HEAD) && !request.path().contains("api");
    !(is_visit && is_empty && !request.headers.contains_key(AUTHORIZATION))
}

/// Answers a call. What kind of call it is stands in the body; neither path nor Content-Type decides.
pub(super) async fn answer(surfaces: &Surfaces, request: &Request) -> Reply {
    let known = Headers::read(&request.headers);
    if known.may_be_foreign
        && let Some(mut problem) = surfaces.guard.foreign_sender(&request.headers)
    {
        if is_browsers(&request.headers) {
            problem += ". Call KPay from your server: a page would show the password to everybody";
        }
        let reply = Reply::problem(403, &problem);
        surfaces.request_refused(request, problem);
        return reply;
    }
    let scenario = known.scenario.map(|name| name.to_str().unwrap_or("?"));
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let credentials = credentials(known.authorization);
    let user = credentials.as_ref().ok().map(|credentials| &*credentials.username);
    let head = masking::head(request.method.as_str(), request.path(), headers, user);
    // Its characters are checked with the head.
    let host = known.host.and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty());
    let host = host.unwrap_or(&surfaces.default_host);
    let call = Call {
        method: request.method.as_str(),
        scenario,
        secure: request.secure,
        peer: request.peer,
        credentials,
        key: known.key.and_then(|key| key.to_str().ok()),
        host,
        announced: surfaces.announced.for_host(host, request.forwarded),
        head: &head,
        body: match &request.body {
            Body::Whole(body) => call::Body::Whole(body),
            Body::TooLarge | Body::Streamed(_) => call::Body::TooLarge(Body::LIMIT),
        },
    };
    let username = call.credentials.as_ref().ok().map(|credentials| &*credentials.username);
    if let Some(name) = scenario
        && let Some(unknown) = surfaces.door.read(|gateway| unknown_scenario(gateway, name, username))
    {
        let reply = Reply::problem(400, &unknown);
        surfaces.request_refused(request, unknown);
        return reply;
    }
    let answered = surfaces.door.apply(|gateway, now| gateway.handle_call(&call, now));
    if let Some(ticket) = answered.ticket
        && Box::pin(tokio::time::timeout(LONGEST, surfaces.door.released(ticket))).await.is_err()
    {
        // The caller has long gone, and on a clock that stands still nothing else would end this.
        return Reply { sending: Sending::Reset(ResetPoint::BeforeAnswer), ..Reply::text(504, "") };
    }
    let mut reply = Reply::json(200, answered.body);
    if let Some(hint) = answered.hint {
        reply = reply.with(HINT, hint);
    }
    if let Some(refusal) = answered.refusal {
        if surfaces.refusal_status == RefusalStatus::Http {
            reply.status = refusal.code.http_status();
        }
        // Some clients send credentials only when they are asked for them. A browser would keep them, and then send them
        // for any page that has it post here. An address that somebody typed in is a GET.
        if reply.status == 401 && request.method == Method::POST && !is_browsers(&request.headers) {
            reply = reply.with("WWW-Authenticate", "Basic realm=\"KPay\"");
        }
        reply = reply.with(REASON, refusal.reason);
    }
    if matches!(request.body, Body::TooLarge) {
        reply.status = 413;
    }
    match answered.fault {
        Some(fault) => with_fault(reply, fault),
        None => reply,
    }
}

fn unknown_scenario(gateway: &Gateway, name: &str, merchant: Option<&str>) -> Option<String> {
    if gateway.repertoire().get(name, merchant).is_some() {
        return None;
    }
    let (unknown, instead) = gateway.repertoire().unknown(name, merchant);
    Some(format!("{SCENARIO}: {unknown}. {instead}"))
}

/// The answer as a script has it arrive.
fn with_fault(mut reply: Reply, fault: Fault) -> Reply {
    match fault {
        Fault::Never => reply.sending = Sending::Never,
        Fault::Reset(point) => reply.sending = Sending::Reset(point),
        Fault::Cut => reply.sending = Sending::Cut,
        Fault::Trickle(pause) => reply.sending = Sending::Trickle(pause.0),
        Fault::Empty => reply.body = Bytes::new(),
        Fault::Malformed => reply.body.truncate(reply.body.len().saturating_sub(1)),
        Fault::Http(http) => {
            reply.status = http.status;
            reply.content_type = String::from(http.content_type).into();
            let reason = http::StatusCode::from_u16(http.status).ok().and_then(|status| status.canonical_reason());
            let title = format!("{} {}", http.status, reason.unwrap_or_default());
            let page =
                || format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n").into();
            reply.body = Bytes::from(String::from(http.body.unwrap_or_else(page)));
        }
    }
    reply
}

/// The headers that matter here, the first of each name.
#[derive(Default)]
struct Headers<'a> {
    authorization: Option<&'a HeaderValue>,
    host: Option<&'a HeaderValue>,
    /// The one that the newer portal asks for (D, portal).
    key: Option<&'a HeaderValue>,
    scenario: Option<&'a HeaderValue>,
    /// There is a header that only browsers and sandboxes send.
    may_be_foreign: bool,
}

impl Headers<'_> {
    /// Looks at each header once, which takes less time than to look up each name.
    fn read(headers: &HeaderMap) -> Headers<'_> {
        let mut known = Headers::default();
        for (name, value) in headers {
            let place = match name.as_str() {
                "authorization" => &mut known.authorization,
                "host" => &mut known.host,
                "kpay-key" => &mut known.key,
                name if name.eq_ignore_ascii_case(SCENARIO) => &mut known.scenario,
                name if name == "origin" || name == "sec-fetch-site" || name == SENDER_HEADER.as_str() => {
                    known.may_be_foreign = true;
                    continue;
                }
                _ => continue,
            };
            place.get_or_insert(value);
        }
        known
    }
}

/// Returns the name of a scheme other than Basic that an `Authorization` header has. Any other word may be a secret.
pub(super) fn other_scheme(header: &str) -> Option<&'static str> {
    let word = header.split(' ').next()?;
    ["Bearer", "Token", "Digest", "ApiKey", "Negotiate", "NTLM"]
        .into_iter()
        .find(|scheme| word.eq_ignore_ascii_case(scheme))
}

fn credentials(header: Option<&HeaderValue>) -> Result<Credentials, String> {
    let header = header.ok_or("the Authorization header is missing: send Basic and the base64 of user:password")?;
    let wrong = |what: &str| format!("the Authorization header {what}: send Basic and the base64 of user:password");
    let header = header.to_str().map_err(|_| wrong("is not text"))?.trim();
    let (scheme, encoded) = header.split_at_checked("Basic ".len()).unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("Basic ") {
        return Err(match other_scheme(header) {
            Some(scheme) => wrong(&format!("is {scheme}, not Basic")),
            None => wrong(if header.contains(' ') { "is not Basic" } else { "has no credentials" }),
        });
    }
    let decoded = BASE64.decode(encoded.trim()).map_err(|_| wrong("is not base64"))?;
    let decoded = String::from_utf8(decoded).map_err(|_| {
        "the Authorization header is not UTF-8 inside its base64, but probably Latin-1: encode user:password as UTF-8 before base64".to_owned()
    })?;
    let (username, password) = decoded.split_once(':').ok_or_else(|| wrong("has no colon inside its base64"))?;
    Ok(Credentials { username: username.into(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_leniently_and_what_is_wrong_with_them_is_told() {
        let read = |header: &'static str| credentials(Some(&HeaderValue::from_static(header)));
        for header in ["Basic dTpw", "basic dTpw", " BASIC   dTpw ", "Basic dTpwOg==", "Basic dTpwOg"] {
            let Credentials { username, password } = read(header).unwrap();
            assert_eq!((&*username, password.trim_end_matches(':')), ("u", "p"), "{header}");
        }
        for (header, wrong) in [
            ("", "has no credentials"),
            ("Basic", "has no credentials"),
            ("Basic ", "has no credentials"),
            ("dTpwOjEyMzQ1Ng==", "has no credentials"),
            ("a b", "is not Basic"),
            ("Basic #", "is not base64"),
            ("Basic dQ==", "has no colon inside its base64"),
        ] {
            let why = read(header).unwrap_err();
            assert_eq!(why, format!("the Authorization header {wrong}: send Basic and the base64 of user:password"));
        }
        assert!(credentials(None).unwrap_err().contains("is missing"));
        let latin = read("Basic ZulsaXg6cOlyZQ==").unwrap_err();
        assert!(latin.contains("Latin-1") && latin.contains("encode user:password as UTF-8"), "{latin}");
        let bearer = read("Bearer abc").unwrap_err();
        assert!(bearer.contains("is Bearer, not Basic: send Basic"), "{bearer}");
    }
}
