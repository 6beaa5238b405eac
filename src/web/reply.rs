//! Answers before they become hyper's.

use std::borrow::Cow;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::stream::BodyReader;
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
    /// The body, then the pieces from this reader. A client sees a broken transfer if the producer does not end the body.
    Streamed(BodyReader),
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

    /// A page. It may load, run, ask and post to nothing but what is ours.
    pub fn page(status: u16, page: &impl Template) -> Reply {
        Reply::page_with(status, page, None)
    }

    /// A page that may also show pictures from one other origin.
    pub fn page_with(status: u16, page: &impl Template, pictures: Option<&str>) -> Reply {
        let also = pictures.map(|origin| format!(" {origin}")).unwrap_or_default();
        Reply::html(status, page, &format!("img-src 'self'{also}; form-action 'self'"))
    }

    /// A page whose form goes to another site.
    pub fn page_posting(status: u16, page: &impl Template) -> Reply {
        Reply::html(status, page, "img-src 'self'")
    }

    fn html(status: u16, page: &impl Template, policy: &str) -> Reply {
        // Rendering strings into a string cannot fail.
        let page = page.render().unwrap_or_default();
        Reply::new(status, "text/html; charset=utf-8", page.into_bytes())
            .with(
                "Content-Security-Policy",
                format!("default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; {policy}"),
            )
            .with("X-Content-Type-Options", "nosniff")
            .with("Referrer-Policy", "same-origin")
            .with("Cache-Control", "no-store")
    }

    /// A file that belongs to the pages; it changes with the program only, so browsers may keep it a while.
    pub fn asset(content_type: &'static str, text: &'static str) -> Reply {
        let body = Bytes::from_static(text.as_bytes());
        Reply { body, ..Reply::new(200, content_type, Vec::new()) }
            .with("Cache-Control", "max-age=60")
            .with("X-Content-Type-Options", "nosniff")
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
