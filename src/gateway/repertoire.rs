//! The scenarios that there are, and which of them takes a payment by itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::scenario::{Scenario, When};
use super::values::{Msisdn, excerpt};

/// Where a scenario comes from; an earlier kind goes before a later one, also where names are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Given at run time.
    Added,
    /// A file of `--fixtures`.
    File,
    /// Part of the program.
    BuiltIn,
}

/// A scenario, where it comes from, and whose it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Known {
    /// The only merchant who has it; everybody when `None`.
    pub merchant: Option<Arc<str>>,
    /// Where it comes from.
    pub origin: Origin,
    /// The scenario.
    pub scenario: Arc<Scenario>,
}

/// All scenarios, those that go first first: a merchant's own, then by origin, then by name.
#[derive(Debug, Clone, Default)]
pub struct Repertoire {
    known: Vec<Known>,
    /// By payer's number, which of `known` name it.
    by_payer: HashMap<Box<str>, Vec<usize>>,
    /// Those with a condition that names no numbers one by one.
    by_condition: Vec<usize>,
}

/// How many scenarios there may be.
const LIMIT: usize = 1000;

/// A scenario that names what is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scenario {scenario}: {why}")]
pub struct Dangling {
    /// The scenario's name.
    pub scenario: Arc<str>,
    /// What it names, and what to write instead.
    pub why: String,
}

impl Repertoire {
    /// The repertoire of these, or what is wrong between them.
    pub fn new(known: Vec<Known>) -> Result<Repertoire, Dangling> {
        let mut repertoire = Repertoire { known, ..Repertoire::default() };
        repertoire.sort();
        repertoire.complaint().map_or(Ok(()), Err)?;
        Ok(repertoire)
    }

    fn sort(&mut self) {
        let rank = |known: &Known| (known.merchant.is_none(), known.origin);
        self.known.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.scenario.name.cmp(&b.scenario.name)));
        (self.by_payer, self.by_condition) = (HashMap::new(), Vec::new());
        for (index, known) in self.known.iter().enumerate() {
            match known.scenario.when.as_ref().map(When::payers) {
                None => {}
                Some(None) => self.by_condition.push(index),
                Some(Some(payers)) => {
                    for payer in payers {
                        self.by_payer.entry(payer.as_str().into()).or_default().push(index);
                    }
                }
            }
        }
    }

    /// What is wrong between scenarios: a chain that names what is not there.
    fn complaint(&self) -> Option<Dangling> {
        self.known.iter().find_map(|Known { merchant, scenario, .. }| {
            let missing = |name: &&str| self.get(name, merchant.as_deref()).is_none_or(|found| !found.chain.is_empty());
            let name = scenario.chain.iter().map(|name| &**name).find(missing)?;
            let why = format!(
                "chain: '{}' is no scenario, or a chain itself: name scenarios that have steps of their own",
                excerpt(name)
            );
            Some(Dangling { scenario: scenario.name.clone(), why })
        })
    }

    /// The scenario that a merchant knows by this name.
    pub fn get(&self, name: &str, merchant: Option<&str>) -> Option<&Arc<Scenario>> {
        let named = |known: &&Known| known.is_for(merchant) && *known.scenario.name == *name;
        self.known.iter().find(named).map(|known| &known.scenario)
    }

    /// Returns what to say of a name that is no scenario of a merchant, and what to write instead.
    pub fn unknown(&self, name: &str, merchant: Option<&str>) -> (String, String) {
        let names: Vec<&str> = self.of(merchant).map(|known| &*known.scenario.name).collect();
        let short: String = name.chars().take(64).collect();
        let distance = |known: &&&str| strsim::damerau_levenshtein(known, &short.to_ascii_lowercase());
        let near = names.iter().filter(|known| distance(known) <= 2).min_by_key(distance);
        let instead = match near {
            Some(near) => format!("Did you mean \"{near}\"?"),
            None => format!("Write one of {}", names.join(", ")),
        };
        (format!("unknown scenario \"{}\"", excerpt(name)), instead)
    }

    /// All of them, those that go first first.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        self.known.iter()
    }

    /// Those that a merchant knows, without those that another of the same name goes before. Without a
    /// merchant, those that everybody knows.
    pub fn of<'a>(&'a self, merchant: Option<&'a str>) -> impl Iterator<Item = &'a Known> {
        let mut met = std::collections::HashSet::new();
        self.known
            .iter()
            .filter(move |known| known.is_for(merchant))
            .filter(move |known| met.insert(&*known.scenario.name))
    }

    /// The first scenario whose condition takes a payment by this payer.
    pub fn taking<'a>(
        &self,
        merchant: &str,
        payer: &Msisdn,
        value_of: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Option<&Arc<Scenario>> {
        let named = self.by_payer.get(payer.as_str()).map_or(&[][..], Vec::as_slice);
        let mut candidates: Vec<usize> = named.iter().chain(&self.by_condition).copied().collect();
        candidates.sort_unstable();
        let taking = candidates.into_iter().find(|index| {
            let known = &self.known[*index];
            // Where only the payer counts, the number has been found already.
            let found = |when: &When| when.is_payer_only() && named.contains(index);
            let takes = known.scenario.when.as_ref().is_some_and(|when| found(when) || when.matches(&value_of));
            takes && known.is_for(Some(merchant)) && self.is_first(known, merchant)
        });
        taking.map(|index| &self.known[index].scenario)
    }

    /// Whether no other of the same name goes before it.
    fn is_first(&self, known: &Known, merchant: &str) -> bool {
        self.get(&known.scenario.name, Some(merchant)).is_some_and(|first| Arc::ptr_eq(first, &known.scenario))
    }

    /// Adds a scenario, in place of an added one of the same name and owner.
    pub fn put(&mut self, scenario: Scenario, merchant: Option<Arc<str>>) -> Result<Arc<Scenario>, String> {
        scenario.complaint().map_or(Ok(()), Err)?;
        let scenario = Arc::new(scenario);
        let mut changed = self.clone();
        changed.known.retain(|known| !known.is_added(&scenario.name, merchant.as_deref()));
        if changed.known.len() >= LIMIT {
            return Err(format!("there are {LIMIT} scenarios already: delete one first"));
        }
        changed.known.push(Known { merchant, origin: Origin::Added, scenario: Arc::clone(&scenario) });
        *self = Repertoire::new(changed.known).map_err(|error| error.to_string())?;
        Ok(scenario)
    }

    /// Returns this repertoire with more added scenarios, which may name each other. The error says what is wrong.
    pub(super) fn with_added(
        &self,
        added: impl Iterator<Item = (Option<Arc<str>>, Arc<Scenario>)>,
    ) -> Result<Repertoire, String> {
        let mut known = self.known.clone();
        let mut names = std::collections::HashSet::new();
        for (merchant, scenario) in added {
            if let Some(why) = scenario.complaint() {
                return Err(format!("{}: {why}", scenario.name));
            }
            if !names.insert((merchant.clone(), Arc::clone(&scenario.name))) {
                return Err(format!("{} is there twice", scenario.name));
            }
            known.push(Known { merchant, origin: Origin::Added, scenario });
        }
        if known.len() > LIMIT {
            return Err(format!("{} scenarios are more than {LIMIT}", known.len()));
        }
        Repertoire::new(known).map_err(|error| error.to_string())
    }

    /// Takes an added scenario away; false when there is none of this name and owner.
    pub fn remove(&mut self, name: &str, merchant: Option<&str>) -> Result<bool, String> {
        let before = self.known.len();
        let mut rest = self.known.clone();
        rest.retain(|known| !known.is_added(name, merchant));
        let removed = rest.len() < before;
        *self = Repertoire::new(rest).map_err(|error| error.to_string())?;
        Ok(removed)
    }

    /// Takes away all that were added for a merchant.
    pub fn forget_merchant(&mut self, merchant: &str) {
        self.known.retain(|known| known.merchant.as_deref() != Some(merchant));
        self.sort();
    }

    /// Those that were added at run time.
    pub fn added(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| known.origin == Origin::Added)
    }
}

impl Known {
    fn is_for(&self, merchant: Option<&str>) -> bool {
        self.merchant.is_none() || self.merchant.as_deref() == merchant
    }

    fn is_added(&self, name: &str, merchant: Option<&str>) -> bool {
        self.origin == Origin::Added && *self.scenario.name == *name && self.merchant.as_deref() == merchant
    }
}
