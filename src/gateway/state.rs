//! A gateway as data: saved to a file or attached to a bug report, and restored in another run.
//!
//! The document has a `format` of its own. A format is read by every version of the program that knows it. What is
//! configuration (flags, fixtures, built-in scenarios) is not part of it. Two exceptions: each payment keeps the
//! profile and the scenario that it follows, and all accounts are written, so that a report is complete.

mod checks;
mod payments;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use rand_chacha::ChaCha8Rng;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::agenda::Agenda;
use super::choice::Chooser;
use super::ids::Ids;
use super::journal::{Entry, Journal};
use super::ledger::{Ledger, Places};
use super::merchant::{Account, Merchant};
use super::postback::Postback;
use super::profile::Profile;
use super::scenario::Scenario;
use super::tally::Tallies;
use super::timestamp::Timestamp;
use super::{Due, Gateway, Held, Settings};
use payments::{Payments, Reading, Tables};

/// The format that is written, and the only one that is read.
pub const FORMAT: u64 = 1;

/// A gateway at one moment. Taking one is quick; writing it may take as long as it likes.
#[derive(Debug)]
pub struct Snapshot {
    now: Timestamp,
    rest: Rest<SharedMerchant>,
    places: Places,
}

/// All but the payments. Delayed responses belong to connections, and are not saved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest<M> {
    ids: Ids,
    disorder: ChaCha8Rng,
    merchants: Vec<M>,
    /// Accounts that were as the fixtures have them: the program that restores takes its own.
    configured: Vec<Arc<str>>,
    /// Accounts of the fixtures that were deleted.
    removed: Vec<Arc<str>>,
    scenarios: Vec<AddedScenario>,
    chooser: Chooser,
    agenda: Vec<(Timestamp, Due)>,
    /// Postbacks that have not come back. Those under way leave again.
    outbox: Vec<Postback>,
    pools: BTreeMap<CompactString, Vec<Held>>,
    postbacks: u64,
    journal: Vec<Entry>,
    journal_last: u64,
    journal_evicted: u64,
    tallies: Tallies,
}

/// A scenario that was added at run time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddedScenario {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merchant: Option<Arc<str>>,
    scenario: Arc<Scenario>,
}

/// An account that is written without being copied.
#[derive(Debug)]
struct SharedMerchant(Arc<Account>);

impl Serialize for SharedMerchant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.merchant.serialize(serializer)
    }
}

/// A saved state as it is written.
#[derive(Serialize)]
struct Document<'a, I> {
    format: u64,
    /// The version that wrote it: for an error message of one that does not know its format.
    version: &'static str,
    /// The clock's time, in microseconds since 1970.
    now: Timestamp,
    /// Facts for whoever reads a report.
    info: I,
    gateway: &'a Rest<SharedMerchant>,
    profiles: &'a payments::Table<'a, Profile>,
    scenarios: &'a payments::Table<'a, Scenario>,
    transactions: Payments<'a>,
}

impl Snapshot {
    /// Writes the document, with some facts for people.
    pub fn write<S: serde::Serializer>(&self, info: impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
        let tables = Tables::of(&self.places);
        let document = Document {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            now: self.now,
            info,
            gateway: &self.rest,
            profiles: &tables.profiles,
            scenarios: &tables.scenarios,
            transactions: Payments { places: &self.places, tables: &tables },
        };
        document.serialize(serializer)
    }
}

impl Gateway {
    /// Returns the state at this moment. Payments are shared until they change, so it does not take long.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let (own, current) = (&self.settings.rules.accounts, &self.rules.accounts);
        let (mut configured, mut removed) = (Vec::new(), Vec::new());
        for account in own.iter() {
            let username = &account.merchant.username;
            match current.get(username) {
                Some(found) if Arc::ptr_eq(found, account) => configured.push(Arc::clone(username)),
                Some(_) => {}
                None => removed.push(Arc::clone(username)),
            }
        }
        let added = self.repertoire.added();
        let rest = Rest {
            ids: self.ids.clone(),
            disorder: self.disorder.clone(),
            merchants: current.iter().map(|account| SharedMerchant(Arc::clone(account))).collect(),
            configured,
            removed,
            scenarios: added
                .map(|known| AddedScenario { merchant: known.merchant.clone(), scenario: Arc::clone(&known.scenario) })
                .collect(),
            chooser: self.chooser.clone(),
            agenda: (self.agenda.iter().filter(|(_, due)| !matches!(due, Due::Release(_))))
                .map(|(at, due)| (at, due.clone()))
                .collect(),
            outbox: self.outbox.all(),
            pools: self.pools.clone(),
            postbacks: self.postbacks,
            journal: self.journal.after(0).cloned().collect(),
            journal_last: self.journal.last(),
            journal_evicted: self.journal.evicted(),
            tallies: self.journal.tallies().clone(),
        };
        Snapshot { now, rest, places: self.ledger.snapshot() }
    }

    /// Leaves out the ids of so many payments: they may have been given to payments that were made after the state was
    /// saved. Where there is no room for that many, it does nothing.
    pub fn skip_ids(&mut self, payments: usize) {
        if self.ledger.skip_saved(payments).is_ok() {
            self.ids.skip(payments);
        }
    }

    /// Takes the place of another gateway, whose postbacks under way then come back to nobody. Returns the other one:
    /// dropping it takes long when it has many payments.
    pub fn replace(&mut self, mut next: Gateway) -> Gateway {
        next.outbox.become_next_world_of(&self.outbox);
        next.journal.become_next_world_of(&mut self.journal);
        next.last_ticket = self.last_ticket;
        // Nobody waits for a response of the world that goes.
        self.drop_tickets(None);
        next.released = self.take_released();
        std::mem::replace(self, next)
    }

    /// Returns the gateway that was saved. The error says what in it contradicts itself or these settings.
    fn restored(settings: &Settings, rest: Rest<Merchant>, ledger: Ledger) -> Result<Gateway, String> {
        rest.check(ledger.places())?;
        let mut rules = settings.rules.clone();
        for username in &rest.removed {
            rules.accounts.remove(username);
        }
        let configured: HashSet<Arc<str>> = rest.configured.into_iter().collect();
        for merchant in rest.merchants {
            if configured.contains(&merchant.username) && settings.rules.accounts.get(&merchant.username).is_some() {
                continue;
            }
            let username = Arc::clone(&merchant.username);
            let put = rules.accounts.put(merchant, &rules.profiles);
            put.map_err(|why| format!("gateway.merchants: {username}: {why}"))?;
        }
        let added = rest.scenarios.into_iter().map(|AddedScenario { merchant, scenario }| (merchant, scenario));
        let repertoire = settings.repertoire.with_added(added).map_err(|why| format!("gateway.scenarios: {why}"))?;
        let mut gateway = Gateway { rules, repertoire, ledger, ..Gateway::new(settings.clone()) };
        let mut agenda = Agenda::default();
        rest.agenda.into_iter().for_each(|(at, due)| agenda.put(at, due));
        rest.outbox.into_iter().for_each(|postback| gateway.outbox.put(postback));
        gateway.journal = Journal::restored(rest.journal, rest.journal_last, rest.journal_evicted, rest.tallies);
        Ok(Gateway {
            ids: rest.ids,
            disorder: rest.disorder,
            chooser: rest.chooser,
            agenda,
            pools: rest.pools,
            postbacks: rest.postbacks,
            ..gateway
        })
    }
}

/// Reads a document into a gateway with these settings.
#[derive(Debug)]
pub struct Restoring<'a>(pub &'a Settings);

/// A document that was read.
#[derive(Debug)]
pub enum Restored {
    /// The clock's time, and the gateway.
    World(Timestamp, Box<Gateway>),
    /// It has a format that this program does not know.
    OtherFormat {
        /// The format.
        format: u64,
        /// The version that wrote it.
        version: String,
    },
}

impl<'de> DeserializeSeed<'de> for Restoring<'_> {
    type Value = Restored;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Restored, D::Error> {
        deserializer.deserialize_map(self)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Format,
    Version,
    Now,
    Info,
    Gateway,
    Profiles,
    Scenarios,
    Transactions,
}

/// Keeps a value that may be there only once.
fn once<T, E: Error>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    if place.replace(value).is_some() { Err(E::duplicate_field(name)) } else { Ok(()) }
}

impl<'de> Visitor<'de> for Restoring<'_> {
    type Value = Restored;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a saved state")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Restored, A::Error> {
        if !matches!(map.next_key()?, Some(Key::Format)) {
            return Err(A::Error::custom("a saved state begins with `format`"));
        }
        let format = map.next_value()?;
        if format != FORMAT {
            return other_format(format, map);
        }
        let (mut version, mut now, mut info, mut rest) = (None, None, None, None);
        let (mut profiles, mut scenarios, mut ledger) = (None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                Key::Format => return Err(A::Error::duplicate_field("format")),
                Key::Version => once(&mut version, "version", map.next_value::<String>()?)?,
                Key::Now => once(&mut now, "now", map.next_value()?)?,
                Key::Info => once(&mut info, "info", map.next_value::<IgnoredAny>()?)?,
                Key::Gateway => once(&mut rest, "gateway", map.next_value::<Rest<Merchant>>()?)?,
                Key::Profiles => once(&mut profiles, "profiles", map.next_value::<Vec<Arc<Profile>>>()?)?,
                Key::Scenarios => once(&mut scenarios, "scenarios", map.next_value::<Vec<Arc<Scenario>>>()?)?,
                Key::Transactions => {
                    let (Some(rest), Some(profiles), Some(scenarios)) = (&rest, profiles.clone(), scenarios.clone())
                    else {
                        return Err(A::Error::custom("gateway, profiles and scenarios come before transactions"));
                    };
                    checks::tables(&profiles, &scenarios).map_err(A::Error::custom)?;
                    let texts = rest.merchants.iter().map(|merchant| Arc::clone(&merchant.username)).collect();
                    let mut reading = Reading { ledger: Ledger::new(rest.ids.checkouts()), profiles, scenarios, texts };
                    map.next_value_seed(&mut reading)?;
                    once(&mut ledger, "transactions", reading.ledger)?;
                }
            }
        }
        version.ok_or_else(|| A::Error::missing_field("version"))?;
        let now = now.ok_or_else(|| A::Error::missing_field("now"))?;
        let rest = rest.ok_or_else(|| A::Error::missing_field("gateway"))?;
        let ledger = ledger.ok_or_else(|| A::Error::missing_field("transactions"))?;
        let gateway = Gateway::restored(self.0, rest, ledger).map_err(A::Error::custom)?;
        Ok(Restored::World(now, Box::new(gateway)))
    }
}

/// Reads past everything that another format may hold, up to the version that wrote it.
fn other_format<'de, A: MapAccess<'de>>(format: u64, mut map: A) -> Result<Restored, A::Error> {
    let mut version = None;
    while let Some(key) = map.next_key::<String>()? {
        if key == "version" {
            once(&mut version, "version", map.next_value()?)?;
        } else {
            map.next_value::<IgnoredAny>()?;
        }
    }
    let version = version.ok_or_else(|| A::Error::missing_field("version"))?;
    Ok(Restored::OtherFormat { format, version })
}
