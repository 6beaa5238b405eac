//! Answers before they become hyper's.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::gateway::scenario::ResetPoint;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`; none when empty.
    pub content_type: Cow<'static, str>,
    /// Further headers; values are made safe where they leave.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// How it leaves.
    pub sending: Sending,
}

/// How an answer leaves.
#[derive(Debug, Default)]
pub enum Sending {
    /// At once.
    #[default]
    Whole,
    /// Not at all: the caller waits until it gives up.
    Never,
    /// The connection is reset instead, or after a part.
    Reset(ResetPoint),
    /// It ends half way, and with it the connection.
    Cut,
    /// Byte by byte, with this pause before each.
    Trickle(Duration),
    /// What comes here follows the body, as it comes.
    Live(mpsc::Receiver<Bytes>),
}

impl Reply {
    /// JSON that is made already.
    pub fn json(status: u16, body: Vec<u8>) -> Reply {
        Reply::new(status, "application/json", body)
    }

    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Reply {
        Reply::new(status, "text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// A page. It may load nothing but our own style.
    pub fn html(page: String) -> Reply {
        Reply::new(200, "text/html; charset=utf-8", page.into_bytes())
            .with(
                "Content-Security-Policy",
                "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            )
            .with("X-Content-Type-Options", "nosniff")
            .with("Referrer-Policy", "no-referrer")
    }

    /// A stylesheet.
    pub fn css(style: &'static str) -> Reply {
        let body = Bytes::from_static(style.as_bytes());
        Reply { body, ..Reply::new(200, "text/css; charset=utf-8", Vec::new()) }
    }

    /// An error that is ours, not KPay's: a sentence.
    pub fn problem(status: u16, sentence: &str) -> Reply {
        Reply::text(status, format!("{sentence}\n"))
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Reply {
        let (headers, sending) = (Vec::new(), Sending::Whole);
        Reply { status, content_type: content_type.into(), headers, body: body.into(), sending }
    }
}
