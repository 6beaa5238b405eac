//! The record of one whole run: counts and causes over all resets, restored states and merchants, within bounds.
//!
//! The journal forgets with a reset and lets old entries go. A report and its gates must not, so they read this.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use compact_str::{CompactString, format_compact};

use super::journal::{Action, CallRecord, Event};
use super::masking;
use super::postback::{Delivery, Verdict};
use super::refused;
use super::return_code::ReturnCode;
use super::system::System;
use super::tally::Tally;
use super::values::excerpt;

/// How many different causes are kept.
const CAUSES: usize = 1000;
/// How many requests and postbacks are kept one by one.
const CASES: usize = 10_000;
/// How many requests or postbacks a cause names.
const EXAMPLES: usize = 3;
/// How many refused payments are remembered.
const REFUSED_PAYMENTS: usize = 100_000;
/// The most characters of a cause's text, and of a name.
const TEXT: usize = 1000;
const NAME: usize = 200;

/// What happened in a run.
#[derive(Debug, Default)]
pub struct Run {
    /// What was covered.
    covered: Tally,
    requests: u64,
    /// The home page was visited.
    is_visited: bool,
    postbacks: u64,
    /// Requests that named the live host.
    live: u64,
    causes: Vec<Cause>,
    /// The place of each cause.
    places: HashMap<(Finding, String), usize>,
    cases: Vec<Case>,
    /// Hashes of merchant and refid of payments that were refused.
    refused_payments: HashSet<u64>,
    /// Refusals because the user has no account.
    unknown_users: u64,
    /// Refusals that another profile would not give, by its name.
    accepted_under: BTreeMap<Box<str>, u64>,
}

/// What there is to say about a request, a postback or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// A request was refused.
    Refused,
    /// A request was refused because its scenario says so.
    Scripted,
    /// A `checkstatus` asked for a payment whose `pay` was refused.
    NeverMade,
    /// A postback arrived, and the response is not the guide's.
    Unacknowledged,
    /// A postback was lost, or refused by the listener.
    Undelivered,
    /// A connection failed, or a request to the control API was refused.
    Connection,
}

/// Equal findings.
#[derive(Debug)]
pub struct Cause {
    /// What it is.
    pub finding: Finding,
    /// In words, as it was the first time.
    pub text: String,
    /// The first that have it.
    pub examples: Vec<CompactString>,
    /// How many have it.
    pub count: u64,
    /// How many of them are kept as a [`Case`].
    pub kept: u64,
}

/// A request or a postback.
#[derive(Debug)]
pub struct Case {
    /// Its action and ids, or the postback's number, refid and target.
    pub name: CompactString,
    /// It is a postback.
    pub is_postback: bool,
    /// The place of its cause, if there is something to say about it.
    pub cause: Option<usize>,
}

impl Run {
    /// Returns what was covered.
    pub fn covered(&self) -> &Tally {
        &self.covered
    }

    /// Returns the number of requests to KPay.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Returns true if something reached the sandbox: a request, or a visit of its home page.
    pub fn is_reached(&self) -> bool {
        self.requests > 0 || self.is_visited
    }

    /// Takes note of a visit of the home page.
    pub(super) fn visit(&mut self) {
        self.is_visited = true;
    }

    /// Returns the number of postbacks that left.
    pub fn postbacks(&self) -> u64 {
        self.postbacks
    }

    /// Returns the number of requests that named the host where money is real.
    pub fn live(&self) -> u64 {
        self.live
    }

    /// Returns the number of refusals because the user has no account.
    pub fn unknown_users(&self) -> u64 {
        self.unknown_users
    }

    /// Returns the profile that would accept most of the refused requests, and how many.
    pub fn kindest_profile(&self) -> Option<(&str, u64)> {
        let kindest = self.accepted_under.iter().max_by_key(|(_, count)| **count);
        kindest.map(|(name, count)| (&**name, *count))
    }

    /// Returns the causes in the order in which they first came.
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }

    /// Returns the first requests and postbacks.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Returns how often something was found.
    pub fn count(&self, finding: Finding) -> u64 {
        self.causes.iter().filter(|cause| cause.finding == finding).map(|cause| cause.count).sum()
    }

    pub(super) fn add(&mut self, event: &Event) {
        self.covered.count(event);
        match event {
            Event::Call(call) => self.add_call(call),
            Event::Delivery(delivery) => self.add_delivery(delivery),
            Event::ConnectionFailed { peer, problem } => {
                self.find(Finding::Connection, format_compact!("a connection of {peer}"), problem, &[]);
            }
            Event::RequestRefused { peer, request, problem, .. } if request.contains(" /__sandbox") => {
                self.find(Finding::Connection, format_compact!("{request} from {peer}"), problem, &[]);
            }
            Event::RequestRefused { host, request, problem, .. } => {
                self.requests += 1;
                self.live += u64::from(is_live(host));
                let problem = problem.strip_suffix(refused::LAST).unwrap_or(problem);
                let cause = self.find(Finding::Refused, request.clone(), problem, &[]);
                self.keep(request.clone(), false, Some(cause));
            }
            _ => {}
        }
    }

    fn add_call(&mut self, call: &CallRecord) {
        self.requests += 1;
        let head = call.request.head();
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        self.live += u64::from(is_live(host));
        let name = name_of(call);
        let Some(refusal) = &call.refusal else { return self.keep(name, false, None) };
        let is_unknown_user = refusal.code == ReturnCode::InvalidCredentials && call.merchant.is_none();
        self.unknown_users += u64::from(is_unknown_user);
        if let Some(profile) = refusal.accepted_under.as_ref().filter(|_| !refusal.scripted) {
            *self.accepted_under.entry(profile.clone()).or_default() += 1;
        }
        let finding = match refusal.code {
            ReturnCode::TransactionNotFound if !refusal.scripted && self.was_refused(call) => Finding::NeverMade,
            _ if refusal.scripted => Finding::Scripted,
            _ => Finding::Refused,
        };
        if call.action == Action::Pay && call.tid.is_empty() && self.refused_payments.len() < REFUSED_PAYMENTS {
            self.refused_payments.insert(payment(call, &call.refid));
        }
        let text = format!("{} {} because {}", call.code, call.reply, refusal.reason);
        let cause = self.find(finding, name.clone(), &text, &[&call.refid, &call.tid]);
        self.keep(name, false, Some(cause));
    }

    /// Returns true if a `checkstatus` names a payment that was refused. Some clients send their refid as the tid (O).
    fn was_refused(&self, call: &CallRecord) -> bool {
        let ids = [&call.refid, &call.tid];
        ids.into_iter().any(|id| !id.is_empty() && self.refused_payments.contains(&payment(call, id)))
    }

    fn add_delivery(&mut self, delivery: &Delivery) {
        self.postbacks += 1;
        let postback = &delivery.postback;
        let target = if delivery.url.is_empty() { &*postback.target } else { &delivery.url };
        let target = masking::address(target);
        let name = format!("postback {} {} to {target}", postback.number, postback.refid);
        let name: CompactString = name.chars().take(NAME).collect();
        let (finding, why) = match delivery.verdict() {
            Verdict::Acknowledged => return self.keep(name, true, None),
            Verdict::Unacknowledged(why) => (Finding::Unacknowledged, why),
            Verdict::Rejected(why) | Verdict::Failed(why) => (Finding::Undelivered, why),
        };
        let cause = self.find(finding, name.clone(), &why, &[&postback.refid, &postback.tid]);
        self.keep(name, true, Some(cause));
    }

    /// Counts a finding with those of the same cause, whose texts differ in their own ids only. Returns its place.
    fn find(&mut self, finding: Finding, name: CompactString, text: &str, ids: &[&str]) -> usize {
        let key = (finding, without_ids(text, ids));
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => {
                let is_room = self.places.len() < CAUSES;
                let (key, text) = if is_room { (key, text) } else { ((finding, String::new()), "other causes") };
                *self.places.entry(key).or_insert_with(|| {
                    let text = text.chars().take(TEXT).collect();
                    self.causes.push(Cause { finding, text, examples: Vec::new(), count: 0, kept: 0 });
                    self.causes.len() - 1
                })
            }
        };
        let cause = &mut self.causes[place];
        cause.count += 1;
        if cause.examples.len() < EXAMPLES && !cause.examples.contains(&name) {
            cause.examples.push(name);
        }
        place
    }

    fn keep(&mut self, name: CompactString, is_postback: bool, cause: Option<usize>) {
        if self.cases.len() < CASES {
            self.cases.push(Case { name, is_postback, cause });
            if let Some(cause) = cause {
                self.causes[cause].kept += 1;
            }
        }
    }
}

/// A request's action, and the refid or tid that it names.
fn name_of(call: &CallRecord) -> CompactString {
    let action = if call.action.word().is_empty() { "request" } else { call.action.word() };
    format!("{action} {}", call.named()).trim_end().chars().take(NAME).collect()
}

/// Returns true if a `Host` is the one where money is real.
fn is_live(host: &str) -> bool {
    System::of_host(host) == System::Live
}

fn payment(call: &CallRecord, refid: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (call.merchant.as_deref(), refid).hash(&mut hasher);
    hasher.finish()
}

/// A text without these ids, and without words with long numbers, such as the ids of other payments.
fn without_ids(text: &str, ids: &[&str]) -> String {
    let mut text = text.to_owned();
    for id in ids.iter().filter(|id| !id.is_empty()) {
        text = text.replace(&format!("'{}'", excerpt(id)), "…");
    }
    let is_id = |word: &str| {
        let word = word.trim_matches(|c: char| ",.:;'\"".contains(c));
        // An address has numbers too, and another one is another cause.
        let is_address = word.contains(['.', ':', '/']);
        let has_number = word.bytes().filter(u8::is_ascii_digit).count() >= 6;
        (has_number && !is_address) || ids.contains(&word)
    };
    let words = text.split(' ').map(|word| if is_id(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
