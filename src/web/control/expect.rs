//! Waiting until something has happened, and verifying that it has.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Request, Surfaces};
use super::input::{Query, body};
use super::{Outcome, Problem, ok};
use crate::gateway::Gateway;
use crate::gateway::journal::{Entry, Event};
use crate::gateway::scenario::{Matcher, When};
use crate::gateway::timestamp::Span;
use crate::view;

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Subject {
    /// A call to the KPay endpoint.
    Call,
    /// A transaction is in a state.
    Transaction,
    /// A postback was delivered, or not.
    Delivery,
}

impl Subject {
    fn plural(self) -> &'static str {
        match self {
            Subject::Call => "calls",
            Subject::Transaction => "transactions",
            Subject::Delivery => "deliveries",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    #[serde(rename = "for")]
    subject: Subject,
    #[serde(rename = "match", default)]
    when: When,
    /// How many must match.
    #[serde(default = "one")]
    count: usize,
    /// Calls and deliveries after this number of the journal only.
    #[serde(default)]
    after: u64,
    timeout: Option<Span>,
}

fn one() -> usize {
    1
}

/// The longest that a call may wait, in real time.
const LONGEST: Duration = Duration::from_secs(300);
const EXAMPLE: &str =
    r#"{"for": "delivery", "match": {"refid": "ORDER-1", "verdict": "acknowledged"}, "timeout": "10s"}"#;

pub(super) async fn wait(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let wait: Wait = body(request, EXAMPLE)?;
    let unusable = |why: String| Problem::unusable(why, format!("such as {EXAMPLE}"));
    check(&wait.when).map_err(unusable)?;
    if !(1..=1000).contains(&wait.count) {
        return Err(unusable("count: write 1 to 1000".into()));
    }
    let limit = wait.timeout.map_or(Duration::from_secs(10), |span| span.0);
    if limit > LONGEST {
        return Err(unusable("timeout: write 5m at most, and wait again".into()));
    }
    let merchant = surfaces.door.read(|gateway| query.merchant(gateway))?;
    let mut search = Search::new(wait.subject, &wait.when, merchant.as_deref(), wait.after);
    let (mut changes, mut stop) = (surfaces.door.watch(), surfaces.stop.clone());
    let met = async {
        loop {
            while surfaces.door.read(|gateway| search.look(gateway)) {}
            if search.matched.len() >= wait.count {
                return true;
            }
            tokio::select! {
                () = changes.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return false,
            }
        }
    };
    let met = tokio::time::timeout(limit, met).await;
    if met == Ok(true) {
        return ok(&json!({ "matched": search.matched.into_values().collect::<Vec<_>>() }));
    }
    Err(unmet(surfaces, &wait, &search, limit))
}

/// Why a wait ended without what was waited for.
fn unmet(surfaces: &Surfaces, wait: &Wait, search: &Search<'_>, limit: Duration) -> Problem {
    let clock = super::clock::state(surfaces);
    let hint = match (clock["mode"].as_str(), clock["next_due"].as_str()) {
        (Some("paused"), Some(due)) => format!("the clock is paused, and something is due at {due}: advance it"),
        (Some("paused"), None) => "the clock is paused, and nothing is due".to_owned(),
        _ if clock["next_due"].is_null() => "nothing is due any more".to_owned(),
        _ => "wait longer with \"timeout\", up to 5m".to_owned(),
    };
    let message = format!(
        "after {} there were {} of {} {} that match; {}{}",
        Span(limit),
        search.matched.len(),
        wait.count,
        wait.subject.plural(),
        search.nearest_in_words(),
        search.gone_in_words()
    );
    Problem::new(408, "timeout", message, hint).with(search.nearest_as_json())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    expect: Vec<Expectation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    #[serde(rename = "for")]
    subject: Subject,
    #[serde(rename = "match", default)]
    when: When,
    count: Option<Count>,
    #[serde(default)]
    after: u64,
}

/// How many there must be: a number, or bounds; at least one when left out.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "write a number or {\"min\", \"max\"}")]
enum Count {
    Exactly(usize),
    Between { min: Option<usize>, max: Option<usize> },
}

impl Count {
    fn holds(&self, found: usize) -> bool {
        match self {
            Count::Exactly(count) => found == *count,
            Count::Between { min, max } => min.is_none_or(|min| found >= min) && max.is_none_or(|max| found <= max),
        }
    }

    fn words(&self) -> String {
        match self {
            Count::Exactly(count) => format!("exactly {count}"),
            Count::Between { min: Some(min), max: Some(max) } => format!("{min} to {max}"),
            Count::Between { min: Some(min), max: None } => format!("at least {min}"),
            Count::Between { min: None, max } => format!("at most {}", max.unwrap_or(usize::MAX)),
        }
    }
}

pub(super) fn verify(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let example = r#"{"expect": [{"for": "delivery", "match": {"refid": "ORDER-1"}, "count": {"min": 1, "max": 2}}]}"#;
    let Verify { expect } = body(request, example)?;
    let unusable = |why: String| Problem::unusable(why, format!("such as {example}"));
    if expect.is_empty() {
        return Err(unusable("expect: an empty list would always hold".into()));
    }
    let merchant = surfaces.door.read(|gateway| query.merchant(gateway))?;
    let (mut results, mut complaints) = (Vec::new(), Vec::new());
    for (index, Expectation { subject, when, count, after }) in expect.into_iter().enumerate() {
        check(&when).map_err(|why| unusable(format!("expect[{index}].{why}")))?;
        let count = count.unwrap_or(Count::Between { min: Some(1), max: None });
        if matches!(count, Count::Between { min: None, max: None }) {
            return Err(unusable(format!(
                "expect[{index}].count: write a number or {{\"min\", \"max\"}}: without either it would always hold"
            )));
        }
        let mut search = Search::new(subject, &when, merchant.as_deref(), after);
        while surfaces.door.read(|gateway| search.look(gateway)) {}
        let found = search.matched.len();
        // What is gone may have matched.
        let at_most = found.saturating_add(usize::try_from(search.gone).unwrap_or(usize::MAX));
        let holds = count.holds(found) && count.holds(at_most);
        if !holds {
            let nearest = if found == 0 { format!("; {}", search.nearest_in_words()) } else { String::new() };
            complaints.push(format!(
                "expect[{index}]: wanted {} {}{}, found {found}{nearest}{}",
                count.words(),
                subject.plural(),
                wanted(&when),
                search.gone_in_words()
            ));
        }
        results.push(json!({ "holds": holds, "found": found, "matched": search.matched.into_values().take(10).collect::<Vec<_>>() }));
    }
    if complaints.is_empty() {
        return ok(&json!({ "holds": true, "expectations": results }));
    }
    let hint = "GET /__sandbox/api/journal tells all that happened";
    Err(Problem::new(409, "unmet", complaints.join("; "), hint).with(json!({ "expectations": results })))
}

fn wanted(when: &When) -> String {
    let words: Vec<String> = when.0.iter().map(|(field, matcher)| format!("{field} {matcher}")).collect();
    if words.is_empty() { String::new() } else { format!(" with {}", words.join(" and ")) }
}

fn check(when: &When) -> Result<(), String> {
    when.matcher_complaint().map_or(Ok(()), Err)
}

/// A search that goes on where it stopped.
struct Search<'a> {
    subject: Subject,
    when: &'a When,
    merchant: Option<&'a str>,
    /// The number of the last entry that was looked at.
    cursor: u64,
    /// How far the transactions of before were looked at; what happens to them meanwhile is behind the cursor.
    place: usize,
    /// What matches, by number, or by when the transaction was met.
    matched: BTreeMap<CompactString, Value>,
    /// What came nearest, and how many of its fields did not match.
    nearest: Option<(usize, Value)>,
    /// How many entries could not be looked at, since the journal had let them go.
    gone: u64,
}

/// How many entries are looked at under one lock.
const BATCH: usize = 500;

impl<'a> Search<'a> {
    fn new(subject: Subject, when: &'a When, merchant: Option<&'a str>, after: u64) -> Search<'a> {
        let matched = BTreeMap::new();
        Search { subject, when, merchant, cursor: after, place: 0, matched, nearest: None, gone: 0 }
    }

    /// Looks at what is new; true when there may be more at once.
    fn look(&mut self, gateway: &Gateway) -> bool {
        let journal = gateway.journal();
        if journal.last() < self.cursor {
            self.cursor = 0;
        }
        if self.subject == Subject::Transaction && self.place < gateway.ledger().places() {
            if self.place == 0 {
                self.cursor = journal.last();
            }
            let page = gateway.ledger().page(self.place, BATCH);
            self.place += BATCH;
            let mine = page.filter(|found| self.is_mine(Some(&found.order.merchant)));
            let values: Vec<(CompactString, Value)> =
                mine.map(|found| (found.tid.clone(), view::transaction(found))).collect();
            values.into_iter().for_each(|(tid, value)| self.consider(tid, value));
            return true;
        }
        if self.subject != Subject::Transaction {
            self.gone += journal.evicted().saturating_sub(self.cursor);
        }
        self.cursor = self.cursor.max(journal.evicted());
        let entries: Vec<&Entry> = journal.after(self.cursor).take(BATCH).collect();
        let mut touched = BTreeSet::new();
        for entry in &entries {
            self.cursor = entry.number;
            if let Event::Reset { merchant } = &entry.event {
                self.forget(merchant.as_deref());
            }
            if !self.is_mine(entry.event.merchant()) {
                continue;
            }
            match (self.subject, &entry.event) {
                (Subject::Transaction, _) => drop(touched.insert(entry.event.tid())),
                (Subject::Call, Event::Call(_)) | (Subject::Delivery, Event::Delivery(_)) => {
                    self.consider(format!("{:020}", entry.number).into(), view::entry(entry));
                }
                _ => {}
            }
        }
        for tid in touched {
            if let Some(found) = gateway.ledger().find(tid) {
                self.consider(tid.into(), view::transaction(found));
            }
        }
        entries.len() == BATCH
    }

    /// What one merchant has done is no more, or what everybody has.
    fn forget(&mut self, merchant: Option<&str>) {
        self.place = 0;
        self.matched.retain(|_, value| merchant.is_some_and(|merchant| value["merchant"] != merchant));
        if merchant.is_none() || self.merchant == merchant {
            self.gone = 0;
        }
    }

    fn is_mine(&self, merchant: Option<&str>) -> bool {
        self.merchant.is_none() || self.merchant == merchant
    }

    fn consider(&mut self, key: CompactString, value: Value) {
        let off = self.when.mismatches(|field| field_of(&value, field)).len();
        if off == 0 {
            self.matched.insert(key, value);
            return;
        }
        // A transaction that matched may do so no longer.
        self.matched.remove(&key);
        if self.nearest.as_ref().is_none_or(|(least, _)| off <= *least) {
            self.nearest = Some((off, value));
        }
    }

    fn mismatches_of(&self, value: &Value) -> Vec<String> {
        let off = self.when.mismatches(|field| field_of(value, field));
        let words = off.into_iter().map(|(field, matcher, found): (&str, &Matcher, _)| {
            let found = found.map_or_else(|| "absent".to_owned(), |found| format!("'{found}'"));
            format!("{field} is {found}, wanted {matcher}")
        });
        words.collect()
    }

    fn nearest_in_words(&self) -> String {
        match &self.nearest {
            None if self.matched.is_empty() && self.gone > 0 => format!("there are no {}", self.subject.plural()),
            None if self.matched.is_empty() => format!("there were no {} at all", self.subject.plural()),
            None => "nothing else came near".into(),
            Some((_, value)) => {
                let which = value["refid"].as_str().filter(|refid| !refid.is_empty()).unwrap_or("one without a refid");
                format!("nearest came {which}: {}", self.mismatches_of(value).join(", "))
            }
        }
    }

    fn gone_in_words(&self) -> String {
        match self.gone {
            0 => String::new(),
            gone => format!(
                "; {gone} older entries of the journal are gone and may have matched: look behind them with \"after\", or reset before you begin"
            ),
        }
    }

    fn nearest_as_json(&self) -> Value {
        let mismatches = self.nearest.as_ref().map(|(_, value)| self.mismatches_of(value));
        json!({ "nearest": self.nearest.as_ref().map(|(_, value)| value), "mismatches": mismatches })
    }
}

/// A field of what is shown, as text; `body.statusid` is a field of the JSON in `body`.
fn field_of<'a>(value: &'a Value, field: &str) -> Option<Cow<'a, str>> {
    if let Some(inner) = field.strip_prefix("body.") {
        let body: Value = serde_json::from_str(value["body"].as_str()?).ok()?;
        return field_of(&body, inner).map(|text| Cow::Owned(text.into_owned()));
    }
    match value.get(field)? {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text.as_str())).filter(|text| !text.is_empty()),
        other => Some(Cow::Owned(other.to_string())),
    }
}
