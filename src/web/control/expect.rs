//! Waiting until something has happened, and verifying that it has.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Request, Surfaces};
use super::input::{Query, body};
use super::search::{BATCH, Condition, Subject, View, complaint, nearest};
use super::work::{Listing, Turn};
use super::{Outcome, Problem, ok, waiting};
use crate::gateway::journal::{Entry, Event};
use crate::gateway::scenario::When;
use crate::gateway::timestamp::Span;
use crate::gateway::transaction::Transaction;

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
    let Wait { subject, when, count, after, timeout } = body(request, EXAMPLE)?;
    let unusable = |why: String| Problem::unusable(why, format!("such as {EXAMPLE}"));
    complaint(&when).map_or(Ok(()), |why| Err(unusable(why)))?;
    if !(1..=1000).contains(&count) {
        return Err(unusable("count: write 1 to 1000".into()));
    }
    let limit = timeout.map_or(Duration::from_secs(10), |span| span.0);
    if limit > LONGEST {
        return Err(unusable("timeout: write 5m at most, and wait again".into()));
    }
    let (merchant, last) = surfaces.door.read(|gateway| (query.merchant(gateway), gateway.journal().last()));
    // A restored journal may end before the entry that the caller has seen.
    let after = if after > last { 0 } else { after };
    let _place = surfaces.work.place_to_wait(count)?;
    let wait = Arc::new(waiting::Wait::new(Condition::new(subject, when, merchant?, after), count));
    let mut turn = surfaces.work.begin();
    let met = tokio::time::timeout(limit, surfaces.work.hub.until(&wait, &mut turn)).await;
    if met == Ok(true) {
        let matched: Vec<Arc<View>> = wait.progress().matched.values().cloned().collect();
        let mut listing = Listing::default();
        let listed = matched.iter().take_while(|view| listing.add(view.value.clone())).count();
        let mut answer = json!({ "matched": listing.values });
        if listed < matched.len() {
            answer["left_out"] = (matched.len() - listed).into();
        }
        return ok(&answer);
    }
    turn.rest();
    let (matched, seen, gone) = {
        let progress = wait.progress();
        (progress.matched.len(), progress.nearest.clone(), progress.gone)
    };
    let nearest = match seen {
        Some(seen) => Some(seen),
        None => nearest(surfaces, &wait.condition, &mut turn).await,
    };
    let found = Found { found: matched, nearest, gone, first: Vec::new() };
    Err(unmet(surfaces, &wait.condition, count, &found, limit))
}

/// Why a wait ended without what was waited for.
fn unmet(surfaces: &Surfaces, condition: &Condition, count: usize, found: &Found, limit: Duration) -> Problem {
    let clock = super::clock::state(surfaces);
    let hint = match (clock["mode"].as_str(), clock["next_due"].as_str()) {
        (Some("paused"), Some(due)) => format!("the clock is paused, and something is due at {due}: advance it"),
        (Some("paused"), None) => "the clock is paused, and nothing is due".to_owned(),
        _ if clock["next_due"].is_null() => "nothing is due any more".to_owned(),
        _ => "wait longer with \"timeout\", up to 5m".to_owned(),
    };
    let message = format!(
        "after {} there were {} of {count} {} that match; {}{}",
        Span(limit),
        found.found,
        condition.subject.plural(),
        found.nearest_in_words(condition),
        found.gone_in_words()
    );
    Problem::new(408, "timeout", message, hint).with(found.nearest_as_json(condition))
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

/// The most expectations of one request.
const EXPECTATIONS: usize = 100;
/// How many of the matches are shown for each expectation.
const SHOWN: usize = 10;
/// How often a check begins again because a reset came between.
const TRIES: usize = 5;

pub(super) async fn verify(surfaces: &Surfaces, request: &Request) -> Outcome {
    let query = Query::parse(request, &["merchant"])?;
    let Verify { expect } = body(request, VERIFY_EXAMPLE)?;
    let merchant = surfaces.door.read(|gateway| query.merchant(gateway))?;
    let (conditions, counts) = read_expectations(expect, merchant.as_ref())?;
    let mut turn = surfaces.work.begin();
    let mut founds = None;
    for _ in 0..TRIES {
        founds = look(surfaces, &conditions, &mut turn).await;
        if founds.is_some() {
            break;
        }
    }
    let Some(mut founds) = founds else {
        return Err(Problem::busy("resets came while the expectations were checked", "Verify again after the reset."));
    };
    let (mut results, mut complaints, mut listing) = (Vec::new(), Vec::new(), Listing::default());
    for (index, ((condition, count), found)) in conditions.iter().zip(&counts).zip(&mut founds).enumerate() {
        // What is gone may have matched.
        let at_most = found.found.saturating_add(usize::try_from(found.gone).unwrap_or(usize::MAX));
        let holds = count.holds(found.found) && count.holds(at_most);
        if !holds {
            if found.found == 0 && found.nearest.is_none() {
                found.nearest = nearest(surfaces, condition, &mut turn).await;
            }
            let words = found.nearest_in_words(condition);
            let nearest = if found.found == 0 { format!("; {words}") } else { String::new() };
            complaints.push(format!(
                "expect[{index}]: wanted {} {}{}, found {}{nearest}{}",
                count.words(),
                condition.subject.plural(),
                wanted(&condition.when),
                found.found,
                found.gone_in_words()
            ));
        }
        let shown = found.first.iter().take_while(|view| listing.add(view.value.clone())).count();
        let matched = listing.values.split_off(listing.values.len() - shown);
        let mut result = json!({ "holds": holds, "found": found.found, "matched": matched });
        if shown < found.first.len() {
            result["left_out"] = (found.first.len() - shown).into();
        }
        results.push(result);
    }
    if complaints.is_empty() {
        return ok(&json!({ "holds": true, "expectations": results }));
    }
    let hint = "GET /__sandbox/api/journal tells all that happened";
    Err(Problem::new(409, "unmet", complaints.join("; "), hint).with(json!({ "expectations": results })))
}

const VERIFY_EXAMPLE: &str =
    r#"{"expect": [{"for": "delivery", "match": {"refid": "ORDER-1"}, "count": {"min": 1, "max": 2}}]}"#;

/// Reads what is expected, and how often.
fn read_expectations(
    expect: Vec<Expectation>,
    merchant: Option<&Arc<str>>,
) -> Result<(Vec<Condition>, Vec<Count>), Problem> {
    let unusable = |why: String| Problem::unusable(why, format!("such as {VERIFY_EXAMPLE}"));
    if expect.is_empty() {
        return Err(unusable("expect: an empty list would always hold".into()));
    }
    if expect.len() > EXPECTATIONS {
        let message = format!("expect: {} expectations are too many; write at most {EXPECTATIONS}", expect.len());
        return Err(Problem::unusable(message, "Send the rest in further requests."));
    }
    let (mut conditions, mut counts) = (Vec::new(), Vec::new());
    for (index, Expectation { subject, when, count, after }) in expect.into_iter().enumerate() {
        complaint(&when).map_or(Ok(()), |why| Err(unusable(format!("expect[{index}].{why}"))))?;
        let count = count.unwrap_or(Count::Between { min: Some(1), max: None });
        if matches!(count, Count::Between { min: None, max: None }) {
            return Err(unusable(format!(
                "expect[{index}].count: write a number or {{\"min\", \"max\"}}: without either it would always hold"
            )));
        }
        conditions.push(Condition::new(subject, when, merchant.cloned(), after));
        counts.push(count);
    }
    Ok((conditions, counts))
}

fn wanted(when: &When) -> String {
    let words: Vec<String> = when.0.iter().map(|(field, matcher)| format!("{field} {matcher}")).collect();
    if words.is_empty() { String::new() } else { format!(" with {}", words.join(" and ")) }
}

/// What was found of one condition.
#[derive(Debug, Default)]
struct Found {
    found: usize,
    /// The first ones that match.
    first: Vec<Arc<View>>,
    /// The nearest that does not match, and how many of its fields do not.
    nearest: Option<(usize, Arc<View>)>,
    /// How many entries were evicted before they could be looked at.
    gone: u64,
}

impl Found {
    fn consider(&mut self, condition: &Condition, view: &Arc<View>) {
        let off = condition.mismatches(view);
        if off == 0 {
            self.found += 1;
            if self.first.len() < SHOWN {
                self.first.push(Arc::clone(view));
            }
        } else if self.nearest.as_ref().is_none_or(|(least, _)| off <= *least) {
            self.nearest = Some((off, Arc::clone(view)));
        }
    }

    fn nearest_in_words(&self, condition: &Condition) -> String {
        match &self.nearest {
            None if self.found == 0 && self.gone > 0 => format!("there are no {}", condition.subject.plural()),
            None if self.found == 0 => format!("there were no {} at all", condition.subject.plural()),
            None => "nothing else came near".into(),
            Some((_, view)) => {
                let refid = view.value["refid"].as_str().filter(|refid| !refid.is_empty());
                let which = refid.unwrap_or("one without a refid");
                format!("nearest came {which}: {}", condition.mismatches_in_words(view).join(", "))
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

    fn nearest_as_json(&self, condition: &Condition) -> Value {
        let mismatches = self.nearest.as_ref().map(|(_, view)| condition.mismatches_in_words(view));
        json!({ "nearest": self.nearest.as_ref().map(|(_, view)| &view.value), "mismatches": mismatches })
    }
}

/// Looks once at all that happened until now, for all conditions together. Returns `None` if a reset or a restored
/// state came between.
async fn look(surfaces: &Surfaces, conditions: &[Condition], turn: &mut Turn<'_>) -> Option<Vec<Found>> {
    let mut founds: Vec<Found> = conditions.iter().map(|_| Found::default()).collect();
    let (last, places) = surfaces.door.read(|gateway| (gateway.journal().last(), gateway.ledger().places()));
    look_at_entries(surfaces, conditions, &mut founds, last, turn).await;
    look_at_payments(surfaces, conditions, &mut founds, places, turn).await;
    let is_same_world = surfaces.door.read(|gateway| {
        let mut newer = gateway.journal().after(last);
        gateway.journal().last() >= last && !newer.any(|entry| matches!(entry.event, Event::Reset { .. }))
    });
    is_same_world.then_some(founds)
}

async fn look_at_entries(
    surfaces: &Surfaces,
    conditions: &[Condition],
    founds: &mut [Found],
    last: u64,
    turn: &mut Turn<'_>,
) {
    // A number beyond the journal's end was seen in another state: nothing is left out for it.
    let after = |condition: &Condition| if condition.after > last { 0 } else { condition.after };
    let of_entries = conditions.iter().filter(|condition| condition.subject != Subject::Transaction);
    let Some(mut cursor) = of_entries.map(after).min() else { return };
    while cursor < last {
        let (evicted, entries): (u64, Vec<Entry>) = surfaces.door.read(|gateway| {
            let journal = gateway.journal();
            let page = journal.after(cursor).take_while(|entry| entry.number <= last).take(BATCH);
            (journal.evicted().min(last), page.cloned().collect())
        });
        for (condition, found) in conditions.iter().zip(founds.iter_mut()) {
            if condition.subject != Subject::Transaction {
                found.gone += evicted.saturating_sub(cursor.max(after(condition)));
            }
        }
        cursor = if entries.len() < BATCH { last } else { entries[BATCH - 1].number };
        for entry in entries {
            if let Event::Reset { merchant } = &entry.event {
                for (condition, found) in conditions.iter().zip(founds.iter_mut()) {
                    if merchant.is_none() || condition.merchant == *merchant {
                        found.gone = 0;
                    }
                }
            }
            let mut view = None;
            for (condition, found) in conditions.iter().zip(founds.iter_mut()) {
                if entry.number > after(condition) && condition.concerns(&entry) {
                    let view = view.get_or_insert_with(|| Arc::new(View::of(entry.clone())));
                    found.consider(condition, view);
                    turn.give_way().await;
                }
            }
        }
        turn.give_way().await;
    }
}

async fn look_at_payments(
    surfaces: &Surfaces,
    conditions: &[Condition],
    founds: &mut [Found],
    places: usize,
    turn: &mut Turn<'_>,
) {
    let mut of_payments: Vec<(&Condition, &mut Found)> = Vec::new();
    for (condition, found) in conditions.iter().zip(founds.iter_mut()) {
        if condition.subject != Subject::Transaction {
            continue;
        }
        match surfaces.door.read(|gateway| condition.named_payments(gateway)) {
            Some(named) => {
                named.iter().for_each(|one| found.consider(condition, &Arc::new(View::of_payment(one))));
            }
            None => of_payments.push((condition, found)),
        }
        turn.give_way().await;
    }
    let mut place = 0;
    while place < places && !of_payments.is_empty() {
        let page: Vec<Transaction> = surfaces.door.read(|gateway| {
            let page = gateway.ledger().page(place, BATCH.min(places - place));
            page.filter(|found| of_payments.iter().any(|(condition, _)| condition.concerns_payment(found)))
                .cloned()
                .collect()
        });
        place += BATCH;
        for one in page {
            let view = Arc::new(View::of_payment(&one));
            for (condition, found) in &mut of_payments {
                if condition.concerns_payment(&one) {
                    found.consider(condition, &view);
                    turn.give_way().await;
                }
            }
        }
        turn.give_way().await;
    }
}
