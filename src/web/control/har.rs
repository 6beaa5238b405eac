//! Deliveries for other tools: a curl line, an HTTP archive.

use serde_json::{Value, json};

use crate::gateway::Timestamp;
use crate::gateway::masking;
use crate::gateway::postback::Delivery;
use crate::view::{self, shell_quoted};

/// A line that sends the same request. A password in `returl` is left to whoever sends it.
pub(in crate::web) fn curl(delivery: &Delivery) -> String {
    let postback = &delivery.postback;
    let url = view::target(delivery);
    let mut line = format!("curl --request {} {}", postback.method, shell_quoted(&url));
    let colon = if postback.content_type.is_empty() { ":" } else { ": " };
    let label = format!("Content-Type{colon}{}", postback.content_type);
    let mut headers = vec![label, "User-Agent:".to_owned()];
    let differs = |(name, value): &&(String, String)| match name.as_str() {
        "host" => !url.contains(&format!("://{value}/")),
        name => matches!(name, "authorization" | "x-forwarded-proto" | "x-forwarded-host"),
    };
    headers.extend(delivery.headers.iter().filter(differs).map(|(name, value)| format!("{name}: {value}")));
    for header in headers {
        line = format!("{line} --header {}", shell_quoted(&header));
    }
    format!("{line} --data-binary {}", shell_quoted(&postback.text()))
}

/// An HTTP archive (HAR 1.2) of these entries. Older deliveries were left out if there is a `next_before`.
pub(super) fn log(entries: Vec<Value>, next_before: Option<u64>) -> Value {
    let creator = json!({ "name": "kpay-sandbox", "version": env!("CARGO_PKG_VERSION") });
    let mut log = json!({ "version": "1.2", "creator": creator, "entries": entries });
    if let Some(before) = next_before {
        log["comment"] = format!("older deliveries follow with before={before}").into();
    }
    json!({ "log": log })
}

/// A delivery as an entry of the archive, with the moment at which it ended.
pub(super) fn entry(delivery: &Delivery, ended: Timestamp) -> Value {
    let Delivery { postback, headers, outcome, took, .. } = delivery;
    let pairs = |headers: &[(String, String)]| -> Value {
        headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let (status, text, answered, body) = match outcome {
        Ok(answer) => (answer.status, String::new(), pairs(&answer.headers), String::from_utf8_lossy(&answer.body)),
        Err(failure) => (0, failure.to_string(), json!([]), "".into()),
    };
    let label = |headers: &Value| {
        let mut all = headers.as_array().into_iter().flatten();
        let found =
            all.find(|header| header["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("content-type")));
        found.and_then(|header| header["value"].as_str()).unwrap_or_default().to_owned()
    };
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    json!({
        "startedDateTime": ended.before(*took).to_string(),
        "time": milliseconds,
        "request": {
            "method": postback.method, "url": masking::address(&delivery.url), "httpVersion": "HTTP/1.1", "cookies": [],
            "headers": pairs(headers), "queryString": [], "headersSize": -1, "bodySize": postback.body.len(),
            "postData": { "mimeType": postback.content_type, "text": postback.text() },
        },
        "response": {
            "status": status, "statusText": text, "httpVersion": "HTTP/1.1", "cookies": [], "headers": answered,
            "redirectURL": "", "headersSize": -1, "bodySize": body.len(),
            "content": { "size": body.len(), "mimeType": label(&answered), "text": body },
        },
        "cache": {},
        "timings": { "send": 0, "wait": milliseconds, "receive": 0 },
        "comment": format!("postback {} of {}", postback.number, postback.tid),
    })
}
