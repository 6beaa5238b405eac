//! A postback on its way out, what came back, and how that is judged. Sending it is the courier's.

use compact_str::CompactString;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::timestamp::Span;

/// One message that is to leave for a merchant's `returl`, one attempt at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Postback {
    /// Number of this attempt, counted from 1 over the whole run: the id of its delivery.
    pub number: u64,
    /// The world in which it left, given by the outbox: a delivery that ends in another world is dropped.
    #[serde(skip)]
    pub generation: u64,
    /// Whose listener it is for.
    pub merchant: Arc<str>,
    /// Of those with the same lane at most one is under way; usually the tid.
    pub lane: CompactString,
    /// The transaction it tells about.
    pub tid: CompactString,
    /// The merchant's own reference of that transaction.
    pub refid: CompactString,
    /// 1 for the first attempt, 2 for the first retry and so on.
    pub attempt: u32,
    /// When it is tried again.
    pub again: Option<Again>,
    /// HTTP method.
    pub method: CompactString,
    /// `returl`, as the merchant wrote it, or where the script sends it instead.
    pub target: CompactString,
    /// The `Content-Type` it is labelled with (a fact of the profile); none when empty.
    pub content_type: CompactString,
    /// The bytes to send: JSON, unless the script says otherwise.
    /// Repetitions and records share it.
    #[serde(with = "text_or_bytes")]
    pub body: Arc<[u8]>,
}

/// When an attempt is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Again {
    /// After 1 s, 2 s, 4 s …, unless the answer was a success.
    Retry,
    /// After this time, unless the answer was the guide's, so many times more.
    UntilAcknowledged(Span, u32),
}

impl Postback {
    /// Its body as text.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Bodies as text where they are text: so a saved state can be read.
pub(super) mod text_or_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Body<'a> {
        Text(std::borrow::Cow<'a, str>),
        Bytes(std::borrow::Cow<'a, [u8]>),
    }

    pub(in super::super) fn serialize<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(body) {
            Ok(text) => Body::Text(text.into()).serialize(serializer),
            Err(_) => Body::Bytes(body.into()).serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: From<Vec<u8>>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        Body::deserialize(deserializer).map(|body| match body {
            Body::Text(text) => text.into_owned().into_bytes().into(),
            Body::Bytes(bytes) => bytes.into_owned().into(),
        })
    }
}

/// What became of one postback: request, answer or failure, and the time it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What was to be sent.
    pub postback: Postback,
    /// Where it was sent, after `--postback-to`; empty when the target was unusable.
    pub url: String,
    /// The headers that were sent.
    pub headers: Vec<(String, String)>,
    /// The listener's answer, or why there was none.
    pub outcome: Result<Answer, Failure>,
    /// From the first attempt to connect to the end of the answer, in the sandbox's time: none on a paused clock.
    pub took: Duration,
}

/// The listener's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its headers, values that are not text made readable.
    pub headers: Vec<(String, String)>,
    /// Its body, at most [`Answer::LIMIT`] bytes of it.
    #[serde(with = "text_or_bytes")]
    pub body: Vec<u8>,
    /// The body went on beyond the limit and was cut there.
    pub cut: bool,
}

impl Answer {
    /// How much of an answer is read, in bytes.
    pub const LIMIT: usize = 64 * 1024;

    /// Returns true if its status says that the postback was received.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why a postback got no answer. Each carries a sentence for the developer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// `returl` is not an address that anything can be posted to.
    #[error("returl is unusable: {0}")]
    BadTarget(String),
    /// No postback may go to this target.
    #[error("not sent: {0}")]
    NotPermitted(String),
    /// No connection: refused, no such host, unreachable.
    #[error("could not connect: {0}")]
    Unreachable(String),
    /// TLS failed, mostly a certificate that is not trusted.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The listener did not finish its answer in time.
    #[error("no complete answer within {0:?}")]
    TimedOut(Duration),
    /// The connection broke, or what came back is not HTTP.
    #[error("the exchange broke: {0}")]
    Broken(String),
    /// The sandbox was stopped before the answer came.
    #[error("the sandbox was stopped before the answer came")]
    Stopped,
}

/// What a delivery is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The listener answered as the guide asks (D): `{tid, refid, reply: "OK"}`.
    Acknowledged,
    /// The listener received it, and its response is another one; the sentence says how.
    Unacknowledged(String),
    /// The listener refused it: its status is no success.
    Rejected(String),
    /// It did not reach the listener.
    Failed(String),
}

impl Delivery {
    /// Compares the answer with the one that the guide expects (D).
    pub fn verdict(&self) -> Verdict {
        match &self.outcome {
            Err(failure) => Verdict::Failed(failure.to_string()),
            Ok(answer) => match self.complaint(answer) {
                None => Verdict::Acknowledged,
                Some(why) if answer.is_success() => Verdict::Unacknowledged(why),
                Some(why) => Verdict::Rejected(why),
            },
        }
    }

    /// Whether another attempt makes sense: nothing came back, or a status that is not a success.
    pub fn wants_retry(&self) -> bool {
        match &self.outcome {
            Err(Failure::BadTarget(_) | Failure::NotPermitted(_) | Failure::Stopped) => false,
            Err(_) => true,
            Ok(answer) => !answer.is_success(),
        }
    }

    /// How long after this attempt there is another, and what then follows that one; `None` when there is none.
    pub fn next_attempt(&self, retries: u32) -> Option<(Duration, Again)> {
        let attempt = self.postback.attempt;
        match self.postback.again? {
            Again::Retry if attempt <= retries && self.wants_retry() => {
                Some((Duration::from_secs(1 << attempt.saturating_sub(1).min(16)), Again::Retry))
            }
            Again::UntilAcknowledged(every, left) if left > 0 => {
                let stopped = matches!(self.outcome, Err(Failure::Stopped));
                let wanted = !stopped && self.verdict() != Verdict::Acknowledged;
                wanted.then(|| (every.0, Again::UntilAcknowledged(every, left - 1)))
            }
            _ => None,
        }
    }
}
