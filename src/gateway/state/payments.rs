//! Payments in a saved state: profiles and scenarios are in tables, and each payment refers to them by index.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use super::super::checkout::Answer;
use super::super::choice::Choice;
use super::super::ledger::{Ledger, Places};
use super::super::profile::Profile;
use super::super::scenario::Scenario;
use super::super::timestamp::Timestamp;
use super::super::transaction::{Asked, Order, Outcome, Progress, Transaction};
use super::super::values::StatusId;

/// The profiles and the scenarios of some payments, each once.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    pub(super) profiles: Table<'a, Profile>,
    pub(super) scenarios: Table<'a, Scenario>,
}

/// Values by the order in which they were first met.
#[derive(Debug)]
pub(super) struct Table<'a, T> {
    all: Vec<&'a Arc<T>>,
    by_address: HashMap<usize, u32>,
}

impl<T> Default for Table<'_, T> {
    fn default() -> Self {
        Table { all: Vec::new(), by_address: HashMap::new() }
    }
}

impl<'a, T> Table<'a, T> {
    fn add(&mut self, value: &'a Arc<T>) {
        let next = self.all.len();
        self.by_address.entry(Arc::as_ptr(value).addr()).or_insert_with(|| {
            self.all.push(value);
            u32::try_from(next).expect("there are fewer than there are payments")
        });
    }

    fn index(&self, value: &Arc<T>) -> u32 {
        self.by_address[&Arc::as_ptr(value).addr()]
    }
}

impl<T: Serialize> Serialize for Table<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.all.iter().map(|value| &***value))
    }
}

impl<'a> Tables<'a> {
    pub(super) fn of(places: &'a Places) -> Tables<'a> {
        let mut tables = Tables::default();
        for transaction in (0..places.count()).filter_map(|place| places.get(place)) {
            tables.profiles.add(&transaction.profile);
            tables.scenarios.add(&transaction.scenario);
        }
        tables
    }
}

/// Payments to be written. Forgotten ones are written as a number: how many there are up to the next one.
#[derive(Debug)]
pub(super) struct Payments<'a> {
    pub(super) places: &'a Places,
    pub(super) tables: &'a Tables<'a>,
}

impl Serialize for Payments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(None)?;
        let mut forgotten = 0;
        for place in 0..self.places.count() {
            let Some(transaction) = self.places.get(place) else {
                forgotten += 1;
                continue;
            };
            if forgotten > 0 {
                all.serialize_element(&std::mem::take(&mut forgotten))?;
            }
            all.serialize_element(&Saved::of(transaction, self.tables))?;
        }
        if forgotten > 0 {
            all.serialize_element(&forgotten)?;
        }
        all.end()
    }
}

/// A payment as it is written. What is as usual is left out.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved<'a> {
    tid: CompactString,
    checkout: CompactString,
    profile: u32,
    scenario: u32,
    #[serde(default = "by_default", skip_serializing_if = "is_by_default")]
    choice: Choice,
    created: Timestamp,
    order: Cow<'a, Order>,
    /// The operator's id that was drawn for it.
    drawn: CompactString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<SavedOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Cow<'a, Answer>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
}

fn by_default() -> Choice {
    Choice::Default
}

fn is_by_default(choice: &Choice) -> bool {
    *choice == Choice::Default
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedOutcome {
    statusid: StatusId,
    /// The profile's words when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    statusdesc: Option<Arc<str>>,
    /// The operator's id when it is not the one that was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    momtransactionid: Option<CompactString>,
    at: Timestamp,
    /// `at` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_at: Option<Timestamp>,
}

impl<'a> Saved<'a> {
    fn of(transaction: &'a Transaction, tables: &Tables<'_>) -> Saved<'a> {
        let Transaction { profile, progress, asked, reserved_momtransactionid: drawn, .. } = transaction;
        Saved {
            tid: transaction.tid.clone(),
            checkout: transaction.checkout.clone(),
            profile: tables.profiles.index(profile),
            scenario: tables.scenarios.index(&transaction.scenario),
            choice: transaction.choice,
            created: transaction.created,
            order: Cow::Borrowed(&transaction.order),
            drawn: drawn.clone(),
            outcome: transaction.outcome.as_ref().map(|outcome| {
                let usual = profile.text(outcome.statusid.as_str());
                SavedOutcome {
                    statusid: outcome.statusid.clone(),
                    statusdesc: (*usual != *outcome.statusdesc).then(|| Arc::clone(&outcome.statusdesc)),
                    momtransactionid: (outcome.momtransactionid != *drawn).then(|| outcome.momtransactionid.clone()),
                    at: outcome.at,
                    first_at: (outcome.first_at != outcome.at).then_some(outcome.first_at),
                }
            }),
            answer: transaction.answer.as_deref().map(Cow::Borrowed),
            progress: (*progress != Progress::default()).then_some(*progress),
            asked: (*asked != Asked::never(transaction.created)).then_some(*asked),
        }
    }
}

/// Payments that are being read. What is the same for many is kept once.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) ledger: Ledger,
    pub(super) profiles: Vec<Arc<Profile>>,
    pub(super) scenarios: Vec<Arc<Scenario>>,
    pub(super) texts: HashSet<Arc<str>>,
}

/// Counts of one payment that are higher are refused, so that no count overflows later.
const COUNT_LIMIT: u32 = u32::MAX / 2;

impl Reading {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    fn take(&mut self, saved: Saved<'_>) -> Result<(), String> {
        let index = |index: u32, length: usize, table: &str| {
            usize::try_from(index)
                .ok()
                .filter(|index| *index < length)
                .ok_or_else(|| format!("{table} has {length} entries, and none with the index {index}"))
        };
        let profile = Arc::clone(&self.profiles[index(saved.profile, self.profiles.len(), "profiles")?]);
        let scenario = Arc::clone(&self.scenarios[index(saved.scenario, self.scenarios.len(), "scenarios")?]);
        let (progress, asked) =
            (saved.progress.unwrap_or_default(), saved.asked.unwrap_or(Asked::never(saved.created)));
        if progress.step.max(progress.turn).max(asked.phase).max(asked.calls) > COUNT_LIMIT {
            return Err(format!("a count in progress or asked is higher than {COUNT_LIMIT}"));
        }
        let mut order = saved.order.into_owned();
        order.merchant = self.shared(&order.merchant);
        let outcome = saved.outcome.map(|outcome| Outcome {
            statusdesc: match &outcome.statusdesc {
                Some(text) => self.shared(text),
                None => self.shared(profile.text(outcome.statusid.as_str())),
            },
            statusid: outcome.statusid,
            momtransactionid: outcome.momtransactionid.unwrap_or_else(|| saved.drawn.clone()),
            at: outcome.at,
            first_at: outcome.first_at.unwrap_or(outcome.at),
        });
        self.ledger.insert_saved(Transaction {
            tid: saved.tid,
            checkout: saved.checkout,
            order,
            profile,
            scenario,
            choice: saved.choice,
            created: saved.created,
            outcome,
            answer: saved.answer.map(|answer| Box::new(answer.into_owned())),
            reserved_momtransactionid: saved.drawn,
            progress,
            asked,
        })
    }
}

/// Reads all payments into the ledger, one after the other.
impl<'de> DeserializeSeed<'de> for &mut Reading {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Reading {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of payments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while all.next_element_seed(One(self))?.is_some() {}
        Ok(())
    }
}

/// Reads one payment, or the number of forgotten ones.
struct One<'a>(&'a mut Reading);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a payment, or the number of forgotten ones")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<(), E> {
        self.0.ledger.skip_saved(usize::try_from(count).unwrap_or(usize::MAX)).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let saved = Saved::deserialize(MapAccessDeserializer::new(map))?;
        let number = self.0.ledger.places() + 1;
        self.0.take(saved).map_err(|why| A::Error::custom(format_args!("payment {number}: {why}")))
    }
}
