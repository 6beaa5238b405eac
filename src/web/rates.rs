//! `https://esicia.rw/fx/?curr=USD`: the exchange rates that KPay's plugins for shops ask for. The fields are those of an
//! example in the plugins' own source; the rates, and the response for a currency without one, are assumed.

use std::collections::BTreeMap;

use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Reply;
use crate::gateway::return_code::Grade;

/// The rates, as `rates.json` has them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// How well they are known.
    pub grade: Grade,
    lastmodified: String,
    date: String,
    rates: BTreeMap<String, Rate>,
}

/// RWF for one unit of a currency, with a comma for thousands and six decimals.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    buy: String,
    sell: String,
    middle: String,
}

impl Rates {
    /// Answers a question for the rate of `curr`.
    pub(super) fn answer(&self, address: &Uri) -> Reply {
        let named = address.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("curr=")));
        let name = named.unwrap_or_default().to_ascii_uppercase();
        let fx = self.rates.get(&name).map(|Rate { buy, sell, middle }| {
            json!({ "date": self.date, "name": name, "buy": buy, "sell": sell, "middle": middle })
        });
        let body = json!({ "lastmodified": self.lastmodified, "fx": fx });
        Reply::json(200, body.to_string().into_bytes())
    }
}
