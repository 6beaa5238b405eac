//! Merchants' accounts: credentials, retailers, whitelist. `fixtures/merchants.json`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use subtle::{Choice, ConstantTimeEq};

use super::call::Credentials;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// Basic user.
    pub username: Box<str>,
    /// Basic password.
    pub password: Box<str>,
    /// `Kpay-Key`, asked for under the portal profile.
    pub key: Box<str>,
    /// Whether the account may use the API (601 when not).
    pub api_access: bool,
    /// Retailer ids and what they are; `*` stands for any id not named.
    pub retailers: BTreeMap<Box<str>, Retailer>,
    /// Where calls may come from (602 from elsewhere).
    pub whitelist: Vec<Network>,
}

/// What a retailer id is to a merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

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
    /// What `retailerid` is to this merchant.
    pub fn retailer(&self, id: &str) -> Retailer {
        let found = self.retailers.get(id).or_else(|| self.retailers.get("*"));
        found.copied().unwrap_or(Retailer::Unknown)
    }

    /// Whether a call may come from there.
    pub fn allows(&self, peer: IpAddr) -> bool {
        self.whitelist.iter().any(|network| network.0.contains(&peer))
    }

    /// Compares the key in constant time.
    pub fn has_key(&self, key: &str) -> bool {
        self.key.as_bytes().ct_eq(key.as_bytes()).into()
    }
}

/// The merchant whose user and password these are. Every account is compared to its end, so that the time
/// taken tells neither which part was wrong nor whether the user exists.
pub fn authenticate<'a>(merchants: &'a [Merchant], credentials: &Credentials) -> Option<&'a Merchant> {
    let mut found = None;
    for merchant in merchants {
        let user: Choice = merchant.username.as_bytes().ct_eq(credentials.username.as_bytes());
        let password: Choice = merchant.password.as_bytes().ct_eq(credentials.password.as_bytes());
        if bool::from(user & password) {
            found = Some(merchant);
        }
    }
    found
}
