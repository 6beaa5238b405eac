//! The financial institutions that `bankid` may name: `fixtures/banks.json` (contract, section 8; D).

use compact_str::CompactString;
use serde::Deserialize;

use super::values::Msisdn;

/// One row of the guide's table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bank {
    /// KPay's id, digits with their leading zeros.
    pub bankid: CompactString,
    /// Its full name.
    pub name: Box<str>,
    /// Its short name.
    pub short: Box<str>,
    /// The first digits of its payers' numbers, in the national form; empty where it has none of its own.
    #[serde(default)]
    pub numbers: Vec<Box<str>>,
    /// A disabled one is refused like an unknown one (610).
    pub enabled: bool,
}

impl Bank {
    /// Returns true if a number is one of its payers'.
    pub fn has(&self, payer: &Msisdn) -> bool {
        self.numbers.iter().any(|start| payer.as_str().starts_with(&**start))
    }
}
