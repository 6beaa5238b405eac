//! What a gateway is made of: rules, scenarios and flags.

use super::admission::Rules;
use super::ids::Ids;
use super::merchant::Merchant;
use super::repertoire::Repertoire;

/// What a gateway is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What calls are checked against.
    pub rules: Rules,
    /// The scripts. One named `approve` is among them.
    pub repertoire: Repertoire,
    /// The scenario of payments for which nothing else chooses one.
    pub scenario: Option<Box<str>>,
    /// The share of payments that chaos takes, 0 to 1.
    pub chaos: f64,
    /// What an unknown user's account is made like, under `--open`.
    pub open: Option<Merchant>,
    /// How often a postback that failed is tried again.
    pub retries: u32,
    /// Where ids come from.
    pub ids: Ids,
    /// Where disorder comes from, so that it changes no id.
    pub disorder_seed: u64,
}

impl Settings {
    /// What in them names something that is not there.
    pub fn complaint(&self) -> Option<String> {
        let missing = |name: &str, merchant: Option<&str>| self.repertoire.get(name, merchant).is_none();
        let profiles =
            self.rules.profiles.iter().flat_map(|profile| profile.scenarios.values().map(move |name| (profile, name)));
        if let Some((profile, name)) = profiles.into_iter().find(|(_, name)| missing(name, None)) {
            return Some(format!("profiles/{}.json: scenarios: there is no scenario '{name}'", profile.name));
        }
        if missing("approve", None) {
            return Some("there is no scenario 'approve': payments for which nothing else chooses one need it".into());
        }
        if let Some(name) = self.scenario.as_deref().filter(|name| missing(name, None)) {
            let (unknown, instead) = self.repertoire.unknown(name, None);
            return Some(format!("--scenario: {unknown}. {instead}"));
        }
        let mut merchants = self.rules.accounts.iter().map(|account| &account.merchant);
        let wrong = merchants.find(|merchant| merchant.scenario.as_deref().is_some_and(|name| missing(name, None)))?;
        Some(format!("merchants.json: {}: scenario: there is no such scenario", wrong.username))
    }
}
