//! Merchants' accounts: credentials, retailers, whitelist. `fixtures/merchants.json`.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::Bound;
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
    /// Takes any password and any `Kpay-Key`: an account that `--open` made.
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

impl Network {
    /// Returns true if the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Network::try_from(text.to_owned())
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
        self.whitelist.iter().any(|network| network.contains(peer))
    }

    /// Returns true if it is like `template` but for the user.
    fn is_made_like(&self, template: &Merchant) -> bool {
        *self == Merchant { username: Arc::clone(&self.username), ..template.clone() }
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
        self.any_password || self.key.as_bytes().ct_eq(key.as_bytes()).into()
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
pub struct Accounts {
    by_user: BTreeMap<Arc<str>, Arc<Account>>,
    /// Those that `--open` made and that may give way, the longest idle first; `None` until it is first needed.
    idle: Option<Idle>,
}

/// Users in the order in which they became idle.
#[derive(Debug, Clone, Default)]
struct Idle {
    order: BTreeMap<u64, Arc<str>>,
    places: HashMap<Arc<str>, u64>,
    last: u64,
}

impl Idle {
    fn add(&mut self, username: &Arc<str>) {
        self.remove(username);
        self.last += 1;
        self.order.insert(self.last, Arc::clone(username));
        self.places.insert(Arc::clone(username), self.last);
    }

    fn remove(&mut self, username: &str) {
        if let Some(place) = self.places.remove(username) {
            self.order.remove(&place);
        }
    }

    fn take_first(&mut self) -> Option<Arc<str>> {
        let (_, username) = self.order.pop_first()?;
        self.places.remove(&username);
        Some(username)
    }
}

/// The most accounts.
const LIMIT: usize = 10_000;

impl Accounts {
    /// The account of this user.
    pub fn get(&self, username: &str) -> Option<&Arc<Account>> {
        self.by_user.get(username)
    }

    /// All of them, by user.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Account>> + Clone {
        self.by_user.values()
    }

    /// Those of the users after this one, by user.
    pub fn after(&self, username: &str) -> impl Iterator<Item = &Arc<Account>> {
        self.by_user.range::<str, _>((Bound::Excluded(username), Bound::Unbounded)).map(|(_, account)| account)
    }

    /// Adds an account, or puts it in the place of the one with the same user. The error says what is wrong.
    pub fn put(&mut self, merchant: Merchant, profiles: &Profiles) -> Result<(), String> {
        merchant.complaint().map_or(Ok(()), Err)?;
        if self.by_user.len() >= LIMIT && !self.by_user.contains_key(&merchant.username) {
            return Err(format!("there are {LIMIT} merchants already: delete one first"));
        }
        let profile = profiles.of(merchant.profile.as_deref()).map_err(|why| format!("profile: {why}"))?;
        if let Some(idle) = &mut self.idle {
            idle.remove(&merchant.username);
        }
        let account = Account { profile: Arc::clone(profile), merchant };
        self.by_user.insert(Arc::clone(&account.merchant.username), Arc::new(account));
        Ok(())
    }

    /// Adds the account of a newcomer under `--open`, made like `template`. When there are too many, the longest idle
    /// account of this kind for which `keeps_nothing` is true gives way. Returns the user that gave way.
    pub(super) fn welcome(
        &mut self,
        username: &str,
        template: &Merchant,
        profiles: &Profiles,
        keeps_nothing: impl Fn(&str) -> bool,
    ) -> Result<Option<Arc<str>>, String> {
        let merchant = Merchant { username: username.into(), ..template.clone() };
        merchant.complaint().map_or(Ok(()), Err)?;
        let gone = if self.by_user.len() < LIMIT {
            None
        } else {
            Some(self.make_room(template, keeps_nothing).ok_or_else(|| {
                format!(
                    "this sandbox has {LIMIT} merchant accounts already, and all of them keep something: delete one with DELETE /__sandbox/api/merchants/USERNAME, or reset the sandbox"
                )
            })?)
        };
        let username = Arc::clone(&merchant.username);
        self.put(merchant, profiles)?;
        if let Some(idle) = &mut self.idle {
            idle.add(&username);
        }
        Ok(gone)
    }

    /// Takes the longest idle account away that keeps nothing. Each look at one that keeps something is the last one
    /// until it is emptied, so that a newcomer costs little on average.
    fn make_room(&mut self, template: &Merchant, keeps_nothing: impl Fn(&str) -> bool) -> Option<Arc<str>> {
        let accounts = &self.by_user;
        let idle = self.idle.get_or_insert_with(|| {
            let mut idle = Idle::default();
            let made = accounts.values().filter(|account| account.merchant.is_made_like(template));
            made.for_each(|account| idle.add(&account.merchant.username));
            idle
        });
        let username = loop {
            let username = idle.take_first()?;
            if keeps_nothing(&username) {
                break username;
            }
        };
        self.by_user.remove(&username);
        Some(username)
    }

    /// Takes note that an account may keep nothing any more.
    pub(super) fn emptied(&mut self, username: &Arc<str>, template: &Merchant) {
        if let Some(idle) = &mut self.idle
            && self.by_user.get(username).is_some_and(|account| account.merchant.is_made_like(template))
        {
            idle.add(username);
        }
    }

    /// Takes an account away; false when there is none.
    pub fn remove(&mut self, username: &str) -> bool {
        if let Some(idle) = &mut self.idle {
            idle.remove(username);
        }
        self.by_user.remove(username).is_some()
    }
}
