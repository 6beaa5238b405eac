//! What `wait` and `verify` look for, and what they look at. Both match the JSON that the lists show.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::Value;

use super::super::Surfaces;
use super::work::Turn;
use crate::gateway::journal::{Entry, Event};
use crate::gateway::ledger::Ledger;
use crate::gateway::scenario::{Matcher, When};
use crate::gateway::transaction::Transaction;
use crate::gateway::values::excerpt;
use crate::gateway::{Gateway, merchant::Accounts};
use crate::view;

/// The kinds of things that are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Subject {
    /// A request to the KPay endpoint.
    Call,
    /// A payment and its state.
    Transaction,
    /// A postback that was delivered, or not.
    Delivery,
}

impl Subject {
    pub(super) fn plural(self) -> &'static str {
        match self {
            Subject::Call => "calls",
            Subject::Transaction => "transactions",
            Subject::Delivery => "deliveries",
        }
    }
}

/// The most matchers that one condition may have, those inside lists included.
const MATCHERS: usize = 100;
/// The most bytes that the texts of one condition may have together.
const TEXTS: usize = 4096;
/// How many of the newest entries or payments are looked at for the nearest one.
const NEAREST: usize = 500;
/// How many entries or places of the ledger are looked at under one lock.
pub(super) const BATCH: usize = 250;
/// How many look-ups by refid are made under one lock.
const LOOKUPS: usize = 4000;

/// What one `wait` or one expectation looks for.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) subject: Subject,
    pub(super) when: When,
    pub(super) merchant: Option<Arc<str>>,
    /// Entries up to this number do not count.
    pub(super) after: u64,
    /// The only ones that can match, where the condition names them.
    pub(super) keys: Option<Vec<Key>>,
}

/// What names one entry or a few.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Refid(CompactString),
    Tid(CompactString),
    Postback(u64),
}

impl Condition {
    pub(super) fn new(subject: Subject, when: When, merchant: Option<Arc<str>>, after: u64) -> Condition {
        let keys = keys_of(subject, &when);
        Condition { subject, when, merchant, after, keys }
    }

    /// Looks for the delivery of one postback.
    pub(super) fn delivery_of(postback: u64, after: u64) -> Condition {
        let keys = Some(vec![Key::Postback(postback)]);
        Condition { subject: Subject::Delivery, when: When::default(), merchant: None, after, keys }
    }

    /// Returns true if this merchant's things count.
    pub(super) fn is_mine(&self, merchant: Option<&str>) -> bool {
        self.merchant.is_none() || self.merchant.as_deref() == merchant
    }

    /// Returns true if the entry is of the right kind and of the right merchant, and what the condition names.
    pub(super) fn concerns(&self, entry: &Entry) -> bool {
        let right = match (self.subject, &entry.event) {
            (Subject::Call, Event::Call(call)) => self.names(&call.refid, &call.tid, None),
            (Subject::Delivery, Event::Delivery(delivery)) => {
                let postback = &delivery.postback;
                self.names(&postback.refid, &postback.tid, Some(postback.number))
            }
            _ => false,
        };
        right && self.is_mine(entry.event.merchant())
    }

    /// The same for a payment.
    pub(super) fn concerns_payment(&self, found: &Transaction) -> bool {
        self.subject == Subject::Transaction
            && self.names(&found.order.refid, &found.tid, None)
            && self.is_mine(Some(&found.order.merchant))
    }

    fn names(&self, refid: &str, tid: &str, postback: Option<u64>) -> bool {
        let is = |key: &Key| match key {
            Key::Refid(wanted) => *wanted == *refid,
            Key::Tid(wanted) => *wanted == *tid,
            Key::Postback(wanted) => Some(*wanted) == postback,
        };
        self.keys.as_ref().is_none_or(|keys| keys.iter().any(is))
    }

    /// The number of fields that are not as wanted.
    pub(super) fn mismatches(&self, view: &View) -> usize {
        self.when.mismatches(|field| view.field(field)).len()
    }

    /// What is not as wanted, in words.
    pub(super) fn mismatches_in_words(&self, view: &View) -> Vec<String> {
        let off = self.when.mismatches(|field| view.field(field));
        let words = off.into_iter().map(|(field, matcher, found): (&str, &Matcher, _)| {
            let found = found.map_or_else(|| "absent".to_owned(), |found| format!("'{}'", excerpt(&found)));
            format!("{field} is {found}, wanted {matcher}")
        });
        words.collect()
    }

    /// The payments that the condition names, found without looking at all others; `None` if it names none, or more
    /// than can be looked up under one lock.
    pub(super) fn named_payments(&self, gateway: &Gateway) -> Option<Vec<Transaction>> {
        let keys = self.keys.as_ref()?;
        let (ledger, accounts) = (gateway.ledger(), &gateway.rules().accounts);
        let each = if self.merchant.is_some() { 1 } else { accounts.iter().len() };
        if keys.len() * each > LOOKUPS {
            return None;
        }
        let found = keys.iter().flat_map(|key| match key {
            Key::Tid(tid) => ledger.find(tid).into_iter().collect(),
            Key::Refid(refid) => by_refid(ledger, accounts, self.merchant.as_deref(), refid),
            Key::Postback(_) => Vec::new(),
        });
        Some(found.filter(|found| self.concerns_payment(found)).cloned().collect())
    }
}

fn by_refid<'a>(ledger: &'a Ledger, accounts: &Accounts, merchant: Option<&str>, refid: &str) -> Vec<&'a Transaction> {
    match merchant {
        Some(merchant) => ledger.of_refid(merchant, refid).collect(),
        None => accounts.iter().flat_map(|account| ledger.of_refid(&account.merchant.username, refid)).collect(),
    }
}

/// What a condition names by text without wildcards: refids before tids, because payers and shops know those.
fn keys_of(subject: Subject, when: &When) -> Option<Vec<Key>> {
    let literals = |field: &str| {
        let literal = |matcher: &Matcher| match matcher {
            Matcher::Text(text) if !text.contains(['*', '?']) => Some(CompactString::from(&**text)),
            _ => None,
        };
        match when.0.get(field)? {
            Matcher::OneOf(list) => list.iter().map(literal).collect::<Option<Vec<_>>>(),
            one => literal(one).map(|text| vec![text]),
        }
    };
    let keys = |field: &str, key: fn(CompactString) -> Key| {
        literals(field).map(|texts| texts.into_iter().map(key).collect::<Vec<_>>())
    };
    let postback = || {
        let numbers = literals("id").filter(|_| subject == Subject::Delivery)?;
        numbers.iter().map(|text| text.parse().ok().map(Key::Postback)).collect::<Option<Vec<_>>>()
    };
    postback().or_else(|| keys("refid", Key::Refid)).or_else(|| keys("tid", Key::Tid))
}

/// Returns what is wrong with a condition: nothing can match, or it is too large to be looked for.
pub(super) fn complaint(when: &When) -> Option<String> {
    if let Some(why) = when.matcher_complaint() {
        return Some(why);
    }
    let (mut matchers, mut bytes) = (0, 0);
    let mut rest: Vec<&Matcher> = when.0.values().collect();
    while let Some(matcher) = rest.pop() {
        matchers += 1;
        match matcher {
            Matcher::Text(text) => bytes += text.len(),
            Matcher::OneOf(list) => rest.extend(list),
            Matcher::Number(_) | Matcher::Range(..) | Matcher::Present(_) => {}
        }
    }
    if matchers > MATCHERS {
        return Some(format!("match: {matchers} matchers are too many; write at most {MATCHERS}"));
    }
    (bytes > TEXTS).then(|| format!("match: its texts have {bytes} bytes; write at most {TEXTS}"))
}

/// An entry or a payment as the lists show it.
#[derive(Debug)]
pub(super) struct View {
    /// The entry; `None` for a payment.
    pub(super) entry: Option<Entry>,
    pub(super) value: Value,
    /// The JSON in `body`, parsed when first asked for.
    body: OnceLock<Option<Value>>,
}

impl View {
    pub(super) fn of(entry: Entry) -> View {
        View { value: view::entry(&entry), entry: Some(entry), body: OnceLock::new() }
    }

    pub(super) fn of_payment(found: &Transaction) -> View {
        View { value: view::transaction(found), entry: None, body: OnceLock::new() }
    }

    /// A field as text; `body.statusid` is a field of the JSON in `body`.
    fn field(&self, field: &str) -> Option<Cow<'_, str>> {
        let Some(inner) = field.strip_prefix("body.") else { return text_of(self.value.get(field)?) };
        let body = self.body.get_or_init(|| serde_json::from_str(self.value["body"].as_str()?).ok());
        text_of(body.as_ref()?.get(inner)?)
    }
}

fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text.as_str())).filter(|text| !text.is_empty()),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// The nearest of the newest things, for a condition that named one that is not there.
pub(super) async fn nearest(
    surfaces: &Surfaces,
    condition: &Condition,
    turn: &mut Turn<'_>,
) -> Option<(usize, Arc<View>)> {
    let kind = Condition { when: When::default(), keys: None, merchant: condition.merchant.clone(), ..*condition };
    let (entries, payments): (Vec<Entry>, Vec<Transaction>) = surfaces.door.read(|gateway| {
        if kind.subject == Subject::Transaction {
            let newest = gateway.ledger().newest(usize::MAX, NEAREST).filter_map(|(_, found)| found);
            return (Vec::new(), newest.filter(|found| kind.concerns_payment(found)).cloned().collect());
        }
        let newest = gateway.journal().before(u64::MAX).take(NEAREST).filter(|entry| kind.concerns(entry));
        (newest.cloned().collect(), Vec::new())
    });
    let views = entries.into_iter().map(View::of).chain(payments.iter().map(View::of_payment));
    let mut nearest: Option<(usize, View)> = None;
    for view in views {
        let off = condition.mismatches(&view);
        if off > 0 && nearest.as_ref().is_none_or(|(least, _)| off < *least) {
            nearest = Some((off, view));
        }
        turn.give_way().await;
    }
    nearest.map(|(off, view)| (off, Arc::new(view)))
}
