//! The numbered, bounded record of what happened. Log, dashboard and coverage are readers of it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use super::call::Refusal;
use super::postback::Delivery;
use super::timestamp::Timestamp;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A call reached the endpoint and was answered.
    Call(Box<CallRecord>),
    /// A transaction got a result.
    Settled {
        /// Which.
        tid: Box<str>,
        /// Its new `statusid`.
        statusid: Box<str>,
        /// In words.
        statusdesc: Box<str>,
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
    /// Everything before was forgotten.
    Reset,
}

/// A call and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// `pay`, `checkstatus`, or empty when it could not be told.
    pub action: &'static str,
    /// Where it came from.
    pub peer: IpAddr,
    /// The merchant's reference, empty when there was none.
    pub refid: Box<str>,
    /// KPay's id, empty when no transaction was concerned.
    pub tid: Box<str>,
    /// What was asked for, in short: amount, currency and method of a payment.
    pub summary: String,
    /// The number answered: `retcode`, or `statusid` of a `checkstatus`.
    pub code: Box<str>,
    /// The words answered beside it.
    pub reply: Box<str>,
    /// The scenario that an accepted payment follows.
    pub scenario: Option<Box<str>>,
    /// Why it was refused; its code also knows its grade.
    pub refusal: Option<Refusal>,
}

/// The record.
#[derive(Debug, Default)]
pub struct Journal {
    entries: VecDeque<Entry>,
    weight: usize,
    last: u64,
}

/// How many bytes the journal may hold; the oldest entries go first.
const WEIGHT_LIMIT: usize = 64 * 1024 * 1024;

impl Journal {
    /// Adds an entry.
    pub fn add(&mut self, at: Timestamp, event: Event) {
        self.last += 1;
        let entry = Entry { number: self.last, at, event };
        self.weight += entry.weight();
        self.entries.push_back(entry);
        while self.weight > WEIGHT_LIMIT {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.weight -= oldest.weight();
        }
    }

    /// Lets all entries go; the next one is numbered on.
    pub fn clear(&mut self) {
        (self.entries, self.weight) = (VecDeque::new(), 0);
    }

    /// The number of the newest entry, 0 when there has been none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The entries after number `cursor` that are still here.
    pub fn after(&self, cursor: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        let first = self.entries.front().map_or(self.last + 1, |entry| entry.number);
        let skip = usize::try_from((cursor + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        self.entries.range(skip.min(self.entries.len())..)
    }

    /// The deliveries that are still here, in the order in which they ended.
    pub fn deliveries(&self) -> impl DoubleEndedIterator<Item = &Arc<Delivery>> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Delivery(delivery) => Some(delivery),
            _ => None,
        })
    }
}

impl Entry {
    /// Roughly what it takes in memory, in bytes.
    fn weight(&self) -> usize {
        let inside = match &self.event {
            Event::Call(call) => {
                let reason = call.refusal.as_ref().map_or(0, |refusal| refusal.reason.len());
                size_of::<CallRecord>() + call.refid.len() + call.tid.len() + call.summary.len() + reason + 64
            }
            Event::Settled { tid, statusdesc, .. } => tid.len() + statusdesc.len() + 16,
            Event::Delivery(delivery) => {
                let headers = |list: &[(String, String)]| {
                    list.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>()
                };
                let answer =
                    delivery.outcome.as_ref().map_or(256, |answer| answer.body.len() + headers(&answer.headers));
                size_of::<Delivery>()
                    + delivery.postback.body.len()
                    + delivery.url.len() * 2
                    + headers(&delivery.headers)
                    + answer
            }
            Event::ConnectionFailed { problem, .. } => problem.len(),
            Event::Reset => 0,
        };
        size_of::<Entry>() + inside
    }
}
