//! Names that integrators send in place of KPay's own.

use super::super::journal::Action;
use super::{Message, Param};

/// Other words for a parameter, in small letters and without anything between them.
#[rustfmt::skip] // a table is read by its columns
const OTHERS: [(Param, &[&str]); 14] = [
    (Param::Action, &["method", "operation", "command", "requesttype", "type"]),
    (Param::Msisdn, &["phone", "phonenumber", "mobile", "mobilenumber", "tel", "telephone", "customerphone", "payerphone", "payer", "momonumber", "number"]),
    (Param::Email, &["mail", "emailaddress", "customeremail", "useremail"]),
    (Param::Details, &["description", "desc", "narration", "reason", "memo", "note", "comment", "detail"]),
    (Param::Refid, &["ref", "reference", "referenceid", "refno", "orderid", "ordernumber", "orderref", "txref", "externalid", "invoice", "invoiceid"]),
    (Param::Amount, &["price", "total", "sum", "value", "amt"]),
    (Param::Currency, &["ccy", "currencycode"]),
    (Param::Cname, &["name", "fullname", "customername", "clientname", "names"]),
    (Param::Cnumber, &["customerid", "customernumber", "customerno", "clientid", "customer"]),
    (Param::Pmethod, &["paymentmethod", "paymethod", "paymenttype", "channel", "provider"]),
    (Param::Retailerid, &["retailer", "retailerno", "merchant", "merchantid", "merchantcode", "shopid"]),
    (Param::Returl, &["returnurl", "callback", "callbackurl", "webhook", "webhookurl", "notifyurl", "notificationurl", "postbackurl", "ipnurl"]),
    (Param::Redirecturl, &["redirect", "redirecturi", "successurl", "backurl", "continueurl"]),
    (Param::Bankid, &["bank", "bankcode", "bankno", "institution"]),
];

/// Other words for the id that `checkstatus` asks by, where the two actions differ.
const IDS: [&str; 6] = ["transactionid", "transid", "txid", "trxid", "tidno", "id"];

impl Message<'_> {
    /// Returns what was sent under a name that KPay does not know, and the parameter that was probably meant. Each of
    /// those is one that the message lacks.
    pub fn near_misses(&self) -> Vec<(&str, Param)> {
        let mut found: Vec<(&str, Param)> = Vec::new();
        for (name, _) in &self.extra {
            let Some(param) = meant(name, self.action()) else { continue };
            let lacks = matches!(self.text(param), Ok(None));
            if lacks && !found.iter().any(|(_, other)| *other == param) {
                found.push((name, param));
            }
        }
        found.sort_by_key(|(_, param)| *param as usize);
        found
    }
}

/// Returns the parameter that a name was probably meant for.
fn meant(name: &str, action: Action) -> Option<Param> {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(32).collect();
    if IDS.contains(&&*plain) {
        return Some(if action == Action::CheckStatus { Param::Tid } else { Param::Refid });
    }
    let other = || OTHERS.iter().find(|(_, others)| others.contains(&&*plain)).map(|(param, _)| *param);
    Param::named(&plain).or_else(other).or_else(|| {
        let near = Param::ALL.into_iter().map(|param| (strsim::damerau_levenshtein(&plain, param.name()), param));
        let (distance, param) = near.min_by_key(|(distance, _)| *distance)?;
        // A short name is one letter away from many.
        (distance * 3 <= param.name().len().min(6)).then_some(param)
    })
}
