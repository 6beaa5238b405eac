//! What reached the KPay endpoint, and what it is answered with.

use std::net::IpAddr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::scenario::Fault;
use super::system::System;

/// A call, before anything in it is believed.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// HTTP method; only `POST` pays.
    pub method: &'a str,
    /// It came over TLS.
    pub secure: bool,
    /// Where it came from.
    pub peer: IpAddr,
    /// Basic credentials, or what was wrong with the `Authorization` header.
    pub credentials: Result<Credentials, String>,
    /// The `Kpay-Key` header.
    pub key: Option<&'a str>,
    /// The scenario that the request itself names.
    pub scenario: Option<&'a str>,
    /// `host:port` under which the caller reached us.
    pub host: &'a str,
    /// The address that payers' browsers open, in two parts: the checkout page is announced there.
    pub announced: [&'a str; 2],
    /// Request line and headers as they may be kept: `masking::head`.
    pub head: &'a [u8],
    /// The body as it came.
    pub body: Body<'a>,
}

impl Call<'_> {
    /// Returns the system that the call is for.
    pub fn system(&self) -> System {
        System::of_host(self.host)
    }
}

/// A call's body.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// More than this many bytes; the rest was not kept.
    TooLarge(usize),
}

/// Basic credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub username: CompactString,
    /// Password.
    pub password: CompactString,
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// KPay's JSON.
    pub body: Vec<u8>,
    /// Why it was refused, if it was.
    pub refusal: Option<Refusal>,
    /// What is odd in an accepted call.
    pub hint: Option<String>,
    /// What happens to it on its way.
    pub fault: Option<Fault>,
    /// It is kept back until [`super::Gateway::is_held`] says no more of this ticket.
    pub ticket: Option<u64>,
}

impl Answered {
    /// An answer that leaves at once.
    pub(super) fn new(body: Vec<u8>) -> Answered {
        Answered { body, refusal: None, hint: None, fault: None, ticket: None }
    }
}

/// A refusal: the code, and the sentence that KPay does not send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The cause.
    pub code: super::ReturnCode,
    /// What was wrong, and what to write instead.
    pub reason: String,
    /// A scenario wanted it: the request is not to blame.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scripted: bool,
    /// The profile under which the same call would be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_under: Option<Box<str>>,
}

impl Refusal {
    /// A refusal of which nothing more is known.
    pub fn new(code: super::ReturnCode, reason: String) -> Refusal {
        Refusal { code, reason, scripted: false, accepted_under: None }
    }

    /// A refusal that a scenario wants.
    pub(super) fn scripted(code: super::ReturnCode, reason: String) -> Refusal {
        Refusal { scripted: true, ..Refusal::new(code, reason) }
    }
}
