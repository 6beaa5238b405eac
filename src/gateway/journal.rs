//! The numbered, bounded record of what happened. Log, dashboard and coverage are readers of it.

use compact_str::{CompactString, ToCompactString};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::call::{Body, Call, Refusal};
use super::checkout::Act;
use super::choice::Choice;
use super::kept_request::KeptRequest;
use super::masking;
use super::postback::Delivery;
use super::return_code::{CodeTable, Grade};
use super::run::Run;
use super::tally::Tallies;
use super::timestamp::Timestamp;
use super::wire::Message;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counted from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A call reached the endpoint and was answered.
    Call(Arc<CallRecord>),
    /// An answer that had been kept back left.
    Released {
        /// Whose.
        merchant: Arc<str>,
        /// The transaction that it was about.
        tid: CompactString,
    },
    /// A transaction got a result.
    Settled {
        /// Whose.
        merchant: Arc<str>,
        /// Which.
        tid: CompactString,
        /// Its new `statusid`.
        statusid: CompactString,
        /// In words.
        statusdesc: Arc<str>,
        /// Somebody settled it by hand; else its script did.
        by_hand: bool,
    },
    /// A transaction waits for the payer.
    Awaits {
        /// Whose.
        merchant: Arc<str>,
        /// Which.
        tid: CompactString,
    },
    /// The payer did something on the checkout page.
    Payer {
        /// Whose payment.
        merchant: Arc<str>,
        /// Which.
        tid: CompactString,
        /// What.
        act: Act,
    },
    /// A postback waits for others.
    Held {
        /// Whose.
        merchant: Arc<str>,
        /// Which transaction's.
        tid: CompactString,
        /// How many wait now.
        waiting: u32,
        /// How many must.
        until: u32,
    },
    /// A postback was delivered, or not.
    Delivery(Arc<Delivery>),
    /// A connection failed before there was a call.
    ConnectionFailed {
        /// Whose.
        peer: IpAddr,
        /// In words.
        problem: String,
    },
    /// A request was refused before the gateway read it: for its path, or for its sender (a foreign web page, a postback
    /// of a sandbox).
    RequestRefused {
        /// Where it came from.
        peer: IpAddr,
        /// The host that it named.
        #[serde(default)]
        host: CompactString,
        /// Its method and path.
        request: CompactString,
        /// The reason, as a sentence.
        problem: String,
    },
    /// Everything before was forgotten, or everything of one merchant.
    Reset {
        /// Which merchant; everybody when `None`.
        merchant: Option<Arc<str>>,
    },
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A payment.
    Pay,
    /// How a payment stands.
    CheckStatus,
    /// It could not be told.
    Unknown,
}

impl Action {
    /// KPay's word for it; none when it could not be told.
    pub fn word(self) -> &'static str {
        match self {
            Action::Pay => "pay",
            Action::CheckStatus => "checkstatus",
            Action::Unknown => "",
        }
    }
}

/// A call and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// What it asked for.
    pub action: Action,
    /// The account that it named; `None` when there is no such account.
    pub merchant: Option<Arc<str>>,
    /// Where it came from.
    pub peer: IpAddr,
    /// The merchant's reference, empty when there was none.
    pub refid: CompactString,
    /// KPay's id, empty when no transaction was concerned.
    pub tid: CompactString,
    /// The payer's number as it was sent, empty when there was none.
    pub msisdn: CompactString,
    /// What was asked for, in short: amount, currency and method of a payment.
    pub summary: CompactString,
    /// The number answered: `retcode`, or `statusid` of a `checkstatus`.
    pub code: CompactString,
    /// The words answered beside it.
    pub reply: CompactString,
    /// What a `pay` that passed the checks follows.
    pub decision: Option<Decision>,
    /// What happened to the answer on its way, in a word; empty when nothing did.
    pub fault: Cow<'static, str>,
    /// Why it was refused; its code also knows its grade.
    pub refusal: Option<Refusal>,
    /// What is odd in it, although it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Box<str>>,
    /// What was sent, secrets masked.
    pub request: KeptRequest,
}

/// Which scenario was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its name.
    pub scenario: Arc<str>,
    /// How sure we are that KPay does so.
    pub grade: Grade,
    /// Why this one.
    pub choice: Choice,
}

impl CallRecord {
    /// The record of a call of which nothing is known yet but what it looked like.
    pub(super) fn new(call: &Call<'_>, message: Option<&Message<'_>>) -> CallRecord {
        CallRecord {
            action: Action::Unknown,
            merchant: None,
            peer: call.peer,
            refid: CompactString::default(),
            tid: CompactString::default(),
            msisdn: CompactString::default(),
            summary: CompactString::default(),
            code: CompactString::default(),
            reply: CompactString::default(),
            decision: None,
            fault: Cow::Borrowed(""),
            refusal: None,
            hint: None,
            request: match call.body {
                Body::Whole(body) => KeptRequest::new(call.head, &masking::body(body, message)),
                Body::TooLarge(_) => KeptRequest::new(call.head, b""),
            },
        }
    }

    /// Returns the refid, or the tid if there is no refid: what a person knows the request by.
    pub fn named(&self) -> &str {
        if self.refid.is_empty() { &self.tid } else { &self.refid }
    }

    /// How sure we are that KPay answers so: of the refusal's text, or of the scenario.
    pub fn grade(&self) -> Option<Grade> {
        let refused = self.refusal.as_ref().map(|refusal| refusal.code.grade());
        refused.or(self.decision.as_ref().map(|decision| decision.grade))
    }

    /// With a refusal, and what is answered with it.
    pub(super) fn refused(self, refusal: &Refusal, table: CodeTable) -> CallRecord {
        CallRecord {
            code: refusal.code.number(table).to_compact_string(),
            reply: refusal.code.reply(table).into(),
            refusal: Some(refusal.clone()),
            ..self
        }
    }
}

impl Event {
    /// Whose event it is; `None` when it is nobody's, or everybody's.
    pub fn merchant(&self) -> Option<&str> {
        match self {
            Event::Call(call) => call.merchant.as_deref(),
            Event::Released { merchant, .. }
            | Event::Settled { merchant, .. }
            | Event::Awaits { merchant, .. }
            | Event::Payer { merchant, .. }
            | Event::Held { merchant, .. } => Some(merchant),
            Event::Delivery(delivery) => Some(&delivery.postback.merchant),
            Event::Reset { merchant } => merchant.as_deref(),
            Event::ConnectionFailed { .. } | Event::RequestRefused { .. } => None,
        }
    }

    /// The transaction that it is about, empty when there is none.
    pub fn tid(&self) -> &str {
        match self {
            Event::Call(call) => &call.tid,
            Event::Released { tid, .. }
            | Event::Settled { tid, .. }
            | Event::Awaits { tid, .. }
            | Event::Payer { tid, .. }
            | Event::Held { tid, .. } => tid,
            Event::Delivery(delivery) => &delivery.postback.tid,
            Event::Reset { .. } | Event::ConnectionFailed { .. } | Event::RequestRefused { .. } => "",
        }
    }
}

/// The record.
#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    weight: usize,
    last: u64,
    /// The number of the newest entry that was let go for want of room.
    evicted: u64,
    tallies: Tallies,
    /// Counts restored states: a number means another entry in each.
    world: u64,
    /// The record of the whole run, for whoever reports it.
    pub(super) run: Option<Box<Run>>,
}

/// How many bytes the journal may hold; the oldest entries go first.
const WEIGHT_LIMIT: usize = 16 * 1024 * 1024;

impl Journal {
    /// Adds an entry.
    pub fn add(&mut self, at: Timestamp, event: Event) {
        self.tallies.count(&event);
        if let Some(run) = &mut self.run {
            run.add(&event);
        }
        self.keep(Entry { number: self.last + 1, at, event });
    }

    /// Adds an entry that has its number.
    fn keep(&mut self, entry: Entry) {
        self.last = entry.number;
        self.weight += entry.weight();
        self.entries.push_back(entry);
        if self.weight > WEIGHT_LIMIT {
            self.evict();
        }
    }

    /// Lets the oldest entries go, many at a time: no cache holds them any more, and so they are fetched side by side
    /// instead of one after the other.
    fn evict(&mut self) {
        let mut count = 0;
        for entry in &self.entries {
            if self.weight <= WEIGHT_LIMIT - WEIGHT_LIMIT / 1024 {
                break;
            }
            self.weight -= entry.weight();
            self.evicted = entry.number;
            count += 1;
        }
        self.entries.drain(..count);
    }

    /// An empty journal whose next entry is numbered on. It takes the record of the run over.
    pub(super) fn numbered_on(before: &mut Journal) -> Journal {
        Journal { last: before.last, world: before.world, run: before.run.take(), ..Journal::default() }
    }

    /// Returns a journal as it was saved. Its entries are in the order of their numbers.
    pub(super) fn restored(entries: Vec<Entry>, last: u64, evicted: u64, tallies: Tallies) -> Journal {
        let mut journal = Journal { evicted, tallies, ..Journal::default() };
        entries.into_iter().for_each(|entry| journal.keep(entry));
        journal.last = last;
        journal
    }

    /// Counts this journal, which was restored, after another one. It takes the record of the run over.
    pub(super) fn become_next_world_of(&mut self, other: &mut Journal) {
        self.world = other.world + 1;
        self.run = other.run.take();
    }

    /// The number of states that were restored before this one.
    pub fn world(&self) -> u64 {
        self.world
    }

    /// Lets the entries and counts of one merchant go.
    pub(super) fn forget_merchant(&mut self, merchant: &str) {
        self.entries.retain(|entry| entry.event.merchant() != Some(merchant));
        self.weight = self.entries.iter().map(Entry::weight).sum();
        self.tallies.forget_merchant(merchant);
    }

    /// Counts what a merchant did as nobody's from now on.
    pub(super) fn disown(&mut self, merchant: &str) {
        self.tallies.disown(merchant);
    }

    /// The number of the newest entry, 0 when there has been none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The number of the newest entry that was let go for want of room, 0 when none was.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// What was met in this run, whether or not its entries are still here.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The entries after number `cursor` that are still here.
    pub fn after(&self, cursor: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.range(self.entries.partition_point(|entry| entry.number <= cursor)..)
    }

    /// The entries before number `number` that are still here, the newest first.
    pub fn before(&self, number: u64) -> impl Iterator<Item = &Entry> {
        self.entries.range(..self.entries.partition_point(|entry| entry.number < number)).rev()
    }

    /// The entries from a moment on that are still here.
    pub fn since(&self, moment: Timestamp) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.range(self.entries.partition_point(|entry| entry.at < moment)..)
    }

    /// The deliveries that are still here, in the order in which they ended.
    pub fn deliveries(&self) -> impl DoubleEndedIterator<Item = &Arc<Delivery>> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Delivery(delivery) => Some(delivery),
            _ => None,
        })
    }
}
