//! KPay's JSON, both ways: the only place that knows its field names. Reading is `message.rs`'s, writing `answers.rs`'s.

mod answers;
mod message;

pub use answers::{
    Told, accepted, acknowledgement_complaint, changed, not_found, postback, redirect, refused, settled_at_once,
    status, told_ids, with_fields, with_order_placeholders, with_placeholders,
};
pub use message::Message;

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

    /// Its name on the wire and what it holds.
    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Param::Action => ("action", "`pay` (also when left out) or `checkstatus`"),
            Param::Msisdn => ("msisdn", "the payer's number: `07XXXXXXXX`, `2507XXXXXXXX`, `+` and blanks allowed"),
            Param::Email => ("email", "the payer's address"),
            Param::Details => ("details", "what is paid for"),
            Param::Refid => ("refid", "your reference, used once; a string, or a number of digits, echoed unchanged"),
            Param::Amount => ("amount", "a positive number or numeric string, at most two decimals"),
            Param::Currency => ("currency", "`RWF` (also when left out) or `USD`"),
            Param::Cname => ("cname", "the payer's name"),
            Param::Cnumber => ("cnumber", "your number for the payer"),
            Param::Pmethod => ("pmethod", "`cc`, `momo`, `bank`, `spenn` or `smartcash`"),
            Param::Retailerid => ("retailerid", "your retailer id, string or number"),
            Param::Returl => ("returl", "where the postback goes; without a scheme it is taken as http"),
            Param::Redirecturl => ("redirecturl", "where the payer's browser goes in the end"),
            Param::Bankid => ("bankid", "a bank's id; optional under `observed` and `portal`"),
            Param::Logourl => ("logourl", "a picture for the checkout page"),
            Param::Tid => ("tid", "KPay's id, for `checkstatus`"),
        }
    }

    /// Whether every profile refuses a `pay` without it.
    pub fn always_required(self) -> bool {
        !matches!(self, Param::Action | Param::Currency | Param::Logourl | Param::Tid | Param::Bankid)
    }

    /// The parameter of this name.
    fn named(name: &str) -> Option<Param> {
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

    /// What it holds.
    pub fn meaning(self) -> &'static str {
        self.row().1
    }
}
