//! The financial institutions that `bankid` may name: `fixtures/banks.json` (contract, section 8; D).

use compact_str::CompactString;
use serde::Deserialize;

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
    /// A disabled one is refused like an unknown one (610).
    pub enabled: bool,
}
