//! How a payer pays: KPay's `pmethod` (contract, section 8; D).

use serde::{Deserialize, Serialize};

/// A payment method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Cards: Visa, MasterCard, and American Express in the 2025 guide.
    Cc,
    /// Mobile money: MTN and Airtel.
    Momo,
    /// A bank account.
    Bank,
    /// The SPENN wallet.
    Spenn,
    /// A SmartCash card.
    SmartCash,
}

impl Method {
    /// All of them, in the guide's order.
    pub const ALL: [Method; 5] = [Method::Cc, Method::Momo, Method::Bank, Method::Spenn, Method::SmartCash];

    /// KPay's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Method::Cc => "cc",
            Method::Momo => "momo",
            Method::Bank => "bank",
            Method::Spenn => "spenn",
            Method::SmartCash => "smartcash",
        }
    }

    /// The method that `word` names, exactly as KPay writes it.
    pub fn from_word(word: &str) -> Option<Method> {
        Self::ALL.into_iter().find(|method| method.word() == word)
    }
}
