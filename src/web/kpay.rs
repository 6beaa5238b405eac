//! KPay's endpoint: `POST /` and `POST /api/`.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};

use super::{Body, RefusalStatus, Reply, Request, Surfaces};
use crate::gateway::call::{self, Call, Credentials};

/// The header that tells a developer why; KPay's own body is not touched.
const REASON: &str = "X-KPay-Sandbox-Reason";

/// Some clients leave the padding out; PHP, which KPay runs on, does not mind.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Answers a call. What kind of call it is stands in the body; neither path nor Content-Type decides.
pub(super) fn answer(surfaces: &Surfaces, request: &Request) -> Reply {
    let call = Call {
        secure: request.secure,
        peer: request.peer,
        credentials: credentials(&request.headers),
        key: request.headers.get("kpay-key").and_then(|key| key.to_str().ok()),
        host: host(&request.headers).unwrap_or(&surfaces.default_host),
        body: match &request.body {
            Body::Whole(body) => call::Body::Whole(body),
            Body::TooLarge => call::Body::TooLarge(Body::LIMIT),
        },
    };
    let answered = surfaces.door.apply(|gateway, now| gateway.handle_call(&call, now));
    let mut reply = Reply::json(200, answered.body);
    if let Some(refusal) = answered.refusal {
        if surfaces.refusal_status == RefusalStatus::Http {
            reply.status = refusal.code.http_status();
        }
        if reply.status == 401 {
            reply = reply.with("WWW-Authenticate", "Basic realm=\"KPay\"");
        }
        reply = reply.with(REASON, refusal.reason);
    }
    if matches!(request.body, Body::TooLarge) {
        reply.status = 413;
    }
    reply
}

fn credentials(headers: &HeaderMap) -> Result<Credentials, String> {
    let header = headers
        .get(AUTHORIZATION)
        .ok_or("the Authorization header is missing: send Basic and the base64 of user:password")?;
    let wrong = |what: &str| format!("the Authorization header {what}: send Basic and the base64 of user:password");
    let header = header.to_str().map_err(|_| wrong("is not text"))?;
    let (scheme, encoded) = header.trim().split_once(' ').ok_or_else(|| wrong("has no credentials"))?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wrong("is not Basic"));
    }
    let decoded = BASE64.decode(encoded.trim()).map_err(|_| wrong("is not base64"))?;
    let decoded = String::from_utf8(decoded).map_err(|_| wrong("is not UTF-8 inside its base64"))?;
    let (username, password) = decoded.split_once(':').ok_or_else(|| wrong("has no colon inside its base64"))?;
    Ok(Credentials { username: username.into(), password: password.into() })
}

/// The name under which the caller reached us, unless it holds what no host and port would.
fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(plain)).then_some(host)
}
