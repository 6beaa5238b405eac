//! Merchants' accounts: credentials, retailers, whitelist. `fixtures/merchants.json`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::profile::{Profile, Profiles};
use super::values::excerpt;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// Basic user.
    #[serde(default)]
    pub username: Arc<str>,
    /// What payers know it by; the user when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// Basic password.
    #[serde(default)]
    pub password: Box<str>,
    /// Takes any password: an account that `--open` made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_password: bool,
    /// `Kpay-Key`, asked for under the portal profile.
    #[serde(default)]
    pub key: Box<str>,
    /// Whether the account may use the API (601 when not).
    #[serde(default = "yes")]
    pub api_access: bool,
    /// Retailer ids and what they are; `*` stands for any id not named.
    #[serde(default = "any_retailer")]
    pub retailers: BTreeMap<Box<str>, Retailer>,
    /// Where calls may come from (602 from elsewhere).
    #[serde(default = "anywhere")]
    pub whitelist: Vec<Network>,
    /// A profile of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Box<str>>,
    /// The scenario that its payments follow when nothing else chooses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Box<str>>,
}

fn yes() -> bool {
    true
}

fn any_retailer() -> BTreeMap<Box<str>, Retailer> {
    BTreeMap::from([("*".into(), Retailer::Enabled)])
}

fn anywhere() -> Vec<Network> {
    ["0.0.0.0/0", "::/0"].map(|network| Network(network.parse().expect("a network"))).into()
}

/// What a retailer id is to a merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retailer {
    /// Takes payments.
    Enabled,
    /// Refused with 605.
    Disabled,
    /// Refused with 604, as if it were not there.
    Unknown,
}

/// An address or a network in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl From<Network> for String {
    fn from(network: Network) -> String {
        let one_address = network.0.prefix_len() == network.0.max_prefix_len();
        if one_address { network.0.addr().to_string() } else { network.0.to_string() }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network
            .map(Network)
            .map_err(|_| format!("'{text}' is neither an address nor a network: write 127.0.0.1 or 10.0.0.0/8"))
    }
}

impl Merchant {
    /// What payers know it by.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.username)
    }

    /// A retailer that takes payments.
    pub fn usable_retailer(&self) -> &str {
        let mut enabled = self.retailers.iter().filter(|(_, is)| **is == Retailer::Enabled).map(|(id, _)| &**id);
        enabled.find(|id| *id != "*").unwrap_or("02")
    }

    /// What `retailerid` is to this merchant.
    pub fn retailer(&self, id: &str) -> Retailer {
        let found = self.retailers.get(id).or_else(|| self.retailers.get("*"));
        found.copied().unwrap_or(Retailer::Unknown)
    }

    /// Whether a call may come from there.
    pub fn allows(&self, peer: IpAddr) -> bool {
        self.whitelist.iter().any(|network| network.0.contains(&peer))
    }

    /// What can be written and never be used.
    fn complaint(&self) -> Option<String> {
        let sound = !self.username.is_empty() && self.username.len() <= 128;
        let sound = sound && !self.username.contains(|c: char| c == ':' || c.is_control());
        let why = || {
            format!(
                "username '{}': Basic authentication needs one of 1 to 128 characters without a colon",
                excerpt(&self.username)
            )
        };
        (!sound).then(why)
    }

    /// Compares the password in constant time.
    pub fn has_password(&self, password: &str) -> bool {
        self.any_password || self.password.as_bytes().ct_eq(password.as_bytes()).into()
    }

    /// Compares the key in constant time.
    pub fn has_key(&self, key: &str) -> bool {
        self.key.as_bytes().ct_eq(key.as_bytes()).into()
    }
}

/// An account and the profile that is meant for it.
#[derive(Debug)]
pub struct Account {
    /// The account.
    pub merchant: Merchant,
    /// Its own profile, or everybody's.
    pub profile: Arc<Profile>,
}

/// The accounts, by user.
#[derive(Debug, Clone, Default)]
pub struct Accounts(BTreeMap<Arc<str>, Arc<Account>>);

/// How many accounts there may be.
const LIMIT: usize = 10_000;

impl Accounts {
    /// The account of this user.
    pub fn get(&self, username: &str) -> Option<&Arc<Account>> {
        self.0.get(username)
    }

    /// All of them, by user.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Account>> {
        self.0.values()
    }

    /// Adds an account, or puts it in the place of the one with the same user. The error says what is wrong.
    pub fn put(&mut self, merchant: Merchant, profiles: &Profiles) -> Result<(), String> {
        merchant.complaint().map_or(Ok(()), Err)?;
        if self.0.len() >= LIMIT && !self.0.contains_key(&merchant.username) {
            return Err(format!("there are {LIMIT} merchants already: delete one first"));
        }
        let profile = profiles.of(merchant.profile.as_deref()).map_err(|why| format!("profile: {why}"))?;
        let account = Account { profile: Arc::clone(profile), merchant };
        self.0.insert(Arc::clone(&account.merchant.username), Arc::new(account));
        Ok(())
    }

    /// Takes an account away; false when there is none.
    pub fn remove(&mut self, username: &str) -> bool {
        self.0.remove(username).is_some()
    }
}
