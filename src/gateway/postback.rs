//! A postback on its way out, what came back, and how that is judged. Sending it is the courier's.

use std::time::Duration;

use super::wire;

/// One message that is to leave for a merchant's `returl`, one attempt at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postback {
    /// Number of this attempt, counted from 1 over the whole run: the id of its delivery.
    pub number: u64,
    /// The world it belongs to: a delivery that ends after a reset is dropped.
    pub generation: u64,
    /// The transaction it tells about.
    pub tid: Box<str>,
    /// The merchant's own reference of that transaction.
    pub refid: Box<str>,
    /// 1 for the first attempt, 2 for the first retry and so on.
    pub attempt: u32,
    /// `returl`, as the merchant wrote it.
    pub target: Box<str>,
    /// The `Content-Type` it is labelled with (a fact of the profile).
    pub content_type: Box<str>,
    /// The JSON to send.
    pub body: Box<str>,
}

/// What became of one postback: request, answer or failure, and the time it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What was to be sent.
    pub postback: Postback,
    /// Where it was sent, after `--postback-to`; empty when the target was unusable.
    pub url: String,
    /// The headers that were sent.
    pub headers: Vec<(String, String)>,
    /// The listener's answer, or why there was none.
    pub outcome: Result<Answer, Failure>,
    /// From the first attempt to connect to the end of the answer.
    pub took: Duration,
}

/// The listener's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its headers, values that are not text made readable.
    pub headers: Vec<(String, String)>,
    /// Its body, at most [`Answer::LIMIT`] bytes of it.
    pub body: Vec<u8>,
    /// The body went on beyond the limit and was cut there.
    pub cut: bool,
}

impl Answer {
    /// How much of an answer is read, in bytes.
    pub const LIMIT: usize = 64 * 1024;
}

/// Why a postback got no answer. Each carries a sentence for the developer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// `returl` is not an address that anything can be posted to.
    #[error("returl is unusable: {0}")]
    BadTarget(String),
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
    /// Delivered, but answered otherwise; the sentence says how.
    Flagged(String),
    /// Not delivered.
    Failed(String),
}

impl Delivery {
    /// Compares the answer with the one that the guide expects (D).
    pub fn verdict(&self) -> Verdict {
        match &self.outcome {
            Err(failure) => Verdict::Failed(failure.to_string()),
            Ok(answer) => match self.complaint(answer) {
                None => Verdict::Acknowledged,
                Some(why) => Verdict::Flagged(why),
            },
        }
    }

    /// Whether another attempt makes sense: nothing came back, or a status that is not a success.
    pub fn wants_retry(&self) -> bool {
        match &self.outcome {
            Err(Failure::BadTarget(_) | Failure::Stopped) => false,
            Err(_) => true,
            Ok(answer) => !(200..300).contains(&answer.status),
        }
    }

    fn complaint(&self, answer: &Answer) -> Option<String> {
        match answer.status {
            200..300 => {}
            300..400 => {
                let to = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
                let to = to.map_or("elsewhere", |(_, value)| value);
                return Some(format!("answered {} to {to}; redirects are not followed: give the final address as returl", answer.status));
            }
            415 => return Some("answered 415: the listener trusts the Content-Type; read the raw body instead, KPay has been seen to label JSON as a form".into()),
            status => return Some(format!("answered HTTP {status}; a listener answers 200 once it has kept the result")),
        }
        if answer.cut {
            return Some(format!("answered more than {} KiB; the rest was not read", Answer::LIMIT / 1024));
        }
        wire::acknowledgement_complaint(&answer.body, &self.postback.tid, &self.postback.refid)
    }
}
