//! Profiles: how the emulator behaves where the sources differ (contract, section 9). `fixtures/profiles/*.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::method::Method;
use super::return_code::{CodeTable, ReturnCode};
use super::timestamp::{Span, Timestamp};
use super::values::excerpt;

/// One way to be KPay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name, which is also its file's.
    pub name: Box<str>,
    /// One line about it.
    pub description: Box<str>,
    /// Whether a `pay` without `bankid` is refused.
    pub bankid_required: bool,
    /// Accepts a `pay` whose `email` is blank.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blank_email: bool,
    /// Which numbers refusals carry.
    pub codes: CodeTable,
    /// Whether the `Kpay-Key` header is required.
    pub key_required: bool,
    /// The least and the most that a method takes, in whole francs (payments in RWF only).
    pub amount_limits: BTreeMap<Method, Limits>,
    /// The shape of a tid.
    pub tid: TidForm,
    /// What `url` holds for mobile money.
    pub momo_url: MomoUrl,
    /// Whether a 606 carries a `statusmsg`.
    pub statusmsg: bool,
    /// The label on a postback.
    pub postback_content_type: CompactString,
    /// The fields of a postback and of a `checkstatus` response, and their order.
    pub postback_fields: PostbackFields,
    /// The scenarios of payments for which nothing else chooses one, by method; `approve` for the others.
    #[serde(default)]
    pub scenarios: BTreeMap<Method, Box<str>>,
    /// When a payment settles, unless its scenario says otherwise.
    pub settles: Settles,
    /// How long after it settled the postback goes out, unless its scenario says otherwise.
    pub posts_after: Span,
    /// Where `momtransactionid` comes from.
    pub momtransactionid: MomTransactionIdForm,
    /// `statusdesc` for each `statusid`.
    pub texts: BTreeMap<Box<str>, Arc<str>>,
}

impl Profile {
    /// Returns true if a request can be refused with this code.
    pub fn produces(&self, code: ReturnCode) -> bool {
        match code {
            ReturnCode::InvalidApiKey => self.key_required,
            ReturnCode::AmountOutOfRange => !self.amount_limits.is_empty(),
            code => code.is_in(self.codes),
        }
    }
}

/// The profiles that there are.
#[derive(Debug, Clone)]
pub struct Profiles {
    all: Vec<Arc<Profile>>,
    default: Arc<Profile>,
}

impl Profiles {
    /// These, and the name of the one for everybody; the error lists those there are.
    pub fn new(all: Vec<Profile>, default: &str) -> Result<Profiles, String> {
        let all: Vec<Arc<Profile>> = all.into_iter().map(Arc::new).collect();
        let default = Arc::clone(named(&all, default)?);
        Ok(Profiles { all, default })
    }

    /// The profile with this name, or everybody's; the error lists those there are.
    pub fn of(&self, name: Option<&str>) -> Result<&Arc<Profile>, String> {
        name.map_or(Ok(&self.default), |name| named(&self.all, name))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.all.iter()
    }

    /// Everybody's.
    pub fn default(&self) -> &Arc<Profile> {
        &self.default
    }
}

fn named<'a>(profiles: &'a [Arc<Profile>], name: &str) -> Result<&'a Arc<Profile>, String> {
    profiles.iter().find(|profile| &*profile.name == name).ok_or_else(|| {
        let names: Vec<&str> = profiles.iter().map(|profile| &*profile.name).collect();
        format!("there is no profile '{}': write one of {}", excerpt(name), names.join(", "))
    })
}

/// The least and the most, both allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

/// The shape of a tid (contract, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TidForm {
    /// Letter, counter, unix seconds: `E6974831594723691` (D, O).
    Plain,
    /// Letter, counter of eight digits, `KPY`, unix seconds (O).
    Kpy,
}

/// What `url` holds for mobile money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MomoUrl {
    /// The checkout page (D).
    Checkout,
    /// One blank (O).
    Blank,
}

/// The fields of a postback and of a `checkstatus` response, and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostbackFields {
    /// The guide's (D).
    Documented,
    /// As seen in a log: another order, no `payaccount` (O).
    Observed,
}

/// Where `momtransactionid` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MomTransactionIdForm {
    /// Ten digits, for a payment that succeeded (D).
    Number,
    /// Unix seconds of completion, for one that failed too (O).
    Seconds,
}

/// When a payment settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settles {
    /// At least this long after it was accepted.
    pub after: Span,
    /// Then at this second of a minute, as a cron job would.
    pub at_second: Option<u8>,
}

impl Settles {
    /// The moment at which a payment accepted `now` settles.
    pub fn moment(&self, now: Timestamp) -> Timestamp {
        let earliest = now.after(self.after.0);
        let Some(second) = self.at_second else {
            return earliest;
        };
        let minute = Timestamp::from_unix_seconds(earliest.unix_seconds() / 60 * 60 + u64::from(second));
        if minute >= earliest { minute } else { minute.after(std::time::Duration::from_secs(60)) }
    }
}

/// The guide's words for a processor's own error code (D).
const INTERNAL_ERROR: &str = "An internal error caused the operation to fail";

impl Profile {
    /// `statusdesc` for a `statusid`: the profile's text, or the guide's for a processor's own error code (D).
    pub fn text(&self, statusid: &str) -> &str {
        self.texts.get(statusid).map_or(INTERNAL_ERROR, |text| text)
    }

    /// The same, to be kept.
    pub fn shared_text(&self, statusid: &str) -> Arc<str> {
        self.texts.get(statusid).map_or_else(|| INTERNAL_ERROR.into(), Arc::clone)
    }

    /// What a file can hold that no payment could use.
    pub fn complaint(&self) -> Option<String> {
        if self.settles.at_second.is_some_and(|second| second > 59) {
            return Some("settles.at_second: a minute's seconds go from 0 to 59".into());
        }
        let inverted = self.amount_limits.iter().find(|(_, limits)| limits.min > limits.max);
        inverted.map(|(method, _)| format!("amount_limits.{}: min is more than max", method.word()))
    }
}
