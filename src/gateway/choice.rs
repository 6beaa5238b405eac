//! Which scenario a payment follows, and why: the first rule that applies.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::merchant::Merchant;
use super::method::Method;
use super::profile::Profile;
use super::repertoire::Repertoire;
use super::scenario::{Scenario, When};
use super::values::Msisdn;
use super::wire::Message;

/// Why a payment follows its scenario, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// It stood in the queue.
    Next,
    /// The request's header named it.
    Header,
    /// Its condition took the payment.
    When,
    /// Chaos chose it.
    Chaos,
    /// It is the merchant's own.
    Merchant,
    /// `--scenario` named it.
    Setting,
    /// Nothing else applied: the profile's for the method.
    Default,
}

impl Choice {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Choice::Next => "by the next queue",
            Choice::Header => "by the request's header",
            Choice::When => "by its `when`",
            Choice::Chaos => "by chaos",
            Choice::Merchant => "as the merchant's own",
            Choice::Setting => "by --scenario",
            Choice::Default => "by default",
        }
    }
}

/// A scenario that waits for the next payments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Next {
    /// Whose payments; anybody's when `None`.
    pub merchant: Option<Arc<str>>,
    /// Which of them; any when `None`.
    pub when: Option<When>,
    /// For how many more.
    pub times: u32,
    /// What they follow.
    pub scenario: Arc<Scenario>,
}

/// What choosing remembers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Chooser {
    /// The queue.
    pub(super) next: VecDeque<Next>,
    /// How many payments of a payer a chain has had, by merchant, chain and payer.
    chains: HashMap<Box<str>, HashMap<Box<str>, u32>>,
}

/// How many may wait in the queue.
pub const NEXT_LIMIT: usize = 1000;

/// What a choice is made from.
pub(super) struct Question<'a> {
    pub(super) merchant: &'a Merchant,
    pub(super) profile: &'a Profile,
    pub(super) method: Method,
    pub(super) payer: &'a Msisdn,
    pub(super) message: &'a Message<'a>,
    /// The request's header.
    pub(super) header: Option<&'a str>,
    /// `--scenario`.
    pub(super) setting: Option<&'a str>,
    /// `--chaos`, and what decides on it.
    pub(super) chaos: Option<(f64, &'a mut ChaCha8Rng)>,
}

impl Chooser {
    /// The scenario for a payment. Takes it out of the queue, and moves a payer's chain on.
    pub(super) fn choose(&mut self, repertoire: &Repertoire, question: Question<'_>) -> (Arc<Scenario>, Choice) {
        let (merchant, payer) = (&question.merchant.username, question.payer);
        let (scenario, choice) = self.first_rule(repertoire, question);
        if scenario.chain.is_empty() {
            return (scenario, choice);
        }
        let payers = self.chains.entry(format!("{merchant}\n{}", scenario.name).into()).or_default();
        let had = payers.entry(payer.as_str().into()).or_default();
        let link = &scenario.chain[(*had as usize).min(scenario.chain.len() - 1)];
        *had = had.saturating_add(1);
        let link = repertoire.get(link, Some(merchant)).unwrap_or(&scenario);
        (Arc::clone(link), choice)
    }

    fn first_rule(&mut self, repertoire: &Repertoire, question: Question<'_>) -> (Arc<Scenario>, Choice) {
        let Question { merchant, profile, method, payer, message, header, setting, chaos } = question;
        let named = |name: &str| repertoire.get(name, Some(&merchant.username)).map(Arc::clone);
        if let Some(scenario) = self.take_next(merchant, message) {
            return (scenario, Choice::Next);
        }
        if let Some(scenario) = header.and_then(named) {
            return (scenario, Choice::Header);
        }
        if let Some(scenario) = repertoire.taking(&merchant.username, payer, |field| message.field(field)) {
            return (Arc::clone(scenario), Choice::When);
        }
        if let Some((rate, random)) = chaos
            && random.random_bool(rate)
        {
            let disorder: Vec<_> =
                repertoire.of(Some(&merchant.username)).filter(|known| known.scenario.chaos).collect();
            if !disorder.is_empty() {
                let chosen = &disorder[random.random_range(0..disorder.len())].scenario;
                return (Arc::clone(chosen), Choice::Chaos);
            }
        }
        if let Some(scenario) = merchant.scenario.as_deref().and_then(named) {
            return (scenario, Choice::Merchant);
        }
        if let Some(scenario) = setting.and_then(named) {
            return (scenario, Choice::Setting);
        }
        let usual = profile.scenarios.get(&method).map_or("approve", |name| name);
        (named(usual).expect("the settings were checked for it"), Choice::Default)
    }

    fn take_next(&mut self, merchant: &Merchant, message: &Message<'_>) -> Option<Arc<Scenario>> {
        let fits = |next: &Next| {
            next.merchant.as_ref().is_none_or(|wanted| *wanted == merchant.username)
                && next.when.as_ref().is_none_or(|when| when.matches(|field| message.field(field)))
        };
        let index = self.next.iter().position(fits)?;
        let next = &mut self.next[index];
        let scenario = Arc::clone(&next.scenario);
        next.times = next.times.saturating_sub(1);
        if next.times == 0 {
            self.next.remove(index);
        }
        Some(scenario)
    }

    /// Puts a scenario into the queue.
    pub fn queue(&mut self, next: Next) -> Result<(), String> {
        if next.times == 0 {
            return Err("times: 0 payments would never come: write at least 1".into());
        }
        if self.next.len() >= NEXT_LIMIT {
            return Err(format!("{NEXT_LIMIT} scenarios wait already: take payments or clear the queue"));
        }
        self.next.push_back(next);
        Ok(())
    }

    /// What in the queue can never be followed.
    pub(super) fn complaint(&self) -> Option<String> {
        self.next.iter().find_map(|next| next.scenario.complaint())
    }

    /// What waits in the queue.
    pub fn queued(&self) -> impl Iterator<Item = &Next> {
        self.next.iter()
    }

    /// Forgets what one merchant's payments would have followed; the queue only, for everybody, when `None`.
    pub(super) fn clear_next(&mut self, merchant: Option<&str>) {
        self.next.retain(|next| merchant.is_some() && next.merchant.as_deref() != merchant);
    }

    pub(super) fn forget_merchant(&mut self, merchant: &str) {
        self.clear_next(Some(merchant));
        self.chains.retain(|key, _| key.split('\n').next() != Some(merchant));
    }
}
