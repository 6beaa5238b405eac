//! A request as the journal keeps it: line, headers and body in one piece of memory.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A request as it is kept, secrets masked. There are many, and the oldest go all the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RequestParts", into = "RequestParts")]
pub struct KeptRequest {
    all: Box<[u8]>,
    /// Where the body begins.
    body: usize,
}

/// A request as it is saved.
#[derive(Serialize, Deserialize)]
struct RequestParts {
    head: String,
    #[serde(with = "super::postback::text_or_bytes")]
    body: Vec<u8>,
}

impl From<RequestParts> for KeptRequest {
    fn from(RequestParts { head, body }: RequestParts) -> KeptRequest {
        KeptRequest::new(head.as_bytes(), &body)
    }
}

impl From<KeptRequest> for RequestParts {
    fn from(request: KeptRequest) -> RequestParts {
        RequestParts { head: request.head().into_owned(), body: request.body().to_owned() }
    }
}

impl KeptRequest {
    pub(super) fn new(head: &[u8], body: &[u8]) -> KeptRequest {
        KeptRequest { all: [head, body].concat().into(), body: head.len() }
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The request line and the headers.
    pub fn head(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.all[..self.body])
    }

    /// The body; empty when it was too large to be read.
    pub fn body(&self) -> &[u8] {
        &self.all[self.body..]
    }
}
