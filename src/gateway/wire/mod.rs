//! KPay's JSON, both ways: the only place that knows its field names. Reading is `message.rs`'s, writing `answers.rs`'s.

mod answers;
mod message;
mod near;
mod unreadable;

pub use answers::{
    Told, accepted, acknowledgement_complaint, changed, not_found, redirect, refused, settled_at_once, status,
    told_ids, with_fields, with_order_placeholders, with_placeholders,
};
pub use message::Message;

/// The field with the words of a status, in messages and in scenarios.
pub const STATUS_WORDS: &str = "statusdesc";

/// What a scenario's texts can hold in braces, each with how many bytes its value takes at most, also inside JSON.
pub const PLACEHOLDERS: [(&str, usize); 6] = [
    ("tid", Param::Tid.limit()),
    // A character takes at most six bytes in JSON: `\u0001`.
    ("refid", Param::Refid.limit() * 6),
    ("msisdn", Param::Msisdn.limit()),
    ("amount", Param::Amount.limit()),
    ("currency", Param::Currency.limit()),
    ("momtransactionid", Param::Tid.limit()),
];

/// Every parameter that KPay knows, in the guide's order (D).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is KPay's own word, explained in `meaning`")]
pub enum Param {
    Action,
    Msisdn,
    Email,
    Details,
    Refid,
    Amount,
    Currency,
    Cname,
    Cnumber,
    Pmethod,
    Retailerid,
    Returl,
    Redirecturl,
    Bankid,
    Logourl,
    Tid,
}

impl Param {
    /// All of them.
    pub const ALL: [Param; 16] = [
        Param::Action,
        Param::Msisdn,
        Param::Email,
        Param::Details,
        Param::Refid,
        Param::Amount,
        Param::Currency,
        Param::Cname,
        Param::Cnumber,
        Param::Pmethod,
        Param::Retailerid,
        Param::Returl,
        Param::Redirecturl,
        Param::Bankid,
        Param::Logourl,
        Param::Tid,
    ];

    /// Its name on the wire, how many characters it may have (A), and what it holds. Real values are far shorter.
    const fn row(self) -> (&'static str, usize, &'static str) {
        match self {
            Param::Action => ("action", 32, "`pay` (also when left out) or `checkstatus`"),
            Param::Msisdn => {
                ("msisdn", 32, "the payer's number: `07XXXXXXXX`, `2507XXXXXXXX`, `+250 (0) 7…`; blanks allowed")
            }
            Param::Email => ("email", 254, "the payer's address; may be blank under `observed`"),
            Param::Details => ("details", 1000, "what is paid for"),
            Param::Refid => {
                ("refid", 255, "your reference, used once; a string, or a number of digits, echoed unchanged")
            }
            Param::Amount => {
                ("amount", 32, "a positive number or numeric string; further decimals than two are rounded")
            }
            Param::Currency => ("currency", 16, "`RWF` (also when left out) or `USD`"),
            Param::Cname => ("cname", 255, "the payer's name"),
            Param::Cnumber => ("cnumber", 255, "your number for the payer"),
            Param::Pmethod => ("pmethod", 32, "`cc`, `momo`, `bank`, `spenn` or `smartcash`"),
            Param::Retailerid => ("retailerid", 64, "your retailer id, string or number"),
            Param::Returl => ("returl", 2000, "where the postback goes; without a scheme it is taken as http"),
            Param::Redirecturl => {
                ("redirecturl", 2000, "where the payer's browser goes in the end; without a scheme it is taken as http")
            }
            Param::Bankid => ("bankid", 32, "a bank's id; optional under `observed` and `portal`"),
            Param::Logourl => ("logourl", 2000, "a picture for the checkout page"),
            Param::Tid => ("tid", 64, "KPay's id, for `checkstatus`"),
        }
    }

    /// Whether every profile refuses a `pay` without it.
    pub fn always_required(self) -> bool {
        !matches!(self, Param::Action | Param::Currency | Param::Logourl | Param::Tid | Param::Bankid)
    }

    /// The parameter of this name.
    pub(in super::super) fn named(name: &str) -> Option<Param> {
        const NAMES: [&str; Param::ALL.len()] = {
            let mut names = [""; Param::ALL.len()];
            let mut index = 0;
            while index < names.len() {
                names[index] = Param::ALL[index].row().0;
                index += 1;
            }
            names
        };
        NAMES.iter().position(|own| *own == name).map(|index| Param::ALL[index])
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns how many characters it may have.
    pub const fn limit(self) -> usize {
        self.row().1
    }

    /// What it holds.
    pub fn meaning(self) -> &'static str {
        self.row().2
    }
}
