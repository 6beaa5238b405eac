//! The chain of checks from a call to something to do. It changes nothing.

use compact_str::CompactString;
use std::borrow::Cow;
use std::sync::Arc;

use super::bank::Bank;
use super::call::{Body, Call, Refusal};
use super::card::Cards;
use super::hints;
use super::ledger::Ledger;
use super::masking;
use super::merchant::{Account, Accounts, Merchant, Retailer};
use super::method::Method;
use super::profile::{Profile, Profiles};
use super::return_code::ReturnCode;
use super::system::System;
use super::transaction::Order;
use super::values::{Amount, Currency, Msisdn, excerpt};
use super::wire::{Message, Param};

/// What the checks are made against.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How to be KPay.
    pub profiles: Profiles,
    /// The accounts.
    pub accounts: Accounts,
    /// The financial institutions.
    pub banks: Vec<Bank>,
    /// The test cards.
    pub cards: Cards,
}

/// What an admitted call asks for.
#[derive(Debug)]
pub enum Admitted {
    /// A payment.
    Pay {
        /// The account that asks.
        account: Arc<Account>,
        /// What it asks for.
        order: Order,
        /// The payer's number for comparison.
        payer: Msisdn,
        /// What is odd in the request.
        hint: Option<String>,
    },
    /// How a payment stands.
    CheckStatus {
        /// The account that asks.
        account: Arc<Account>,
        /// `tid` as it was sent, empty when it was not.
        tid: String,
        /// `refid` as it was sent, empty when it was not.
        refid: String,
    },
}

/// The checks, in order of precedence (contract, section 3; the order is A).
pub fn admit(
    call: &Call<'_>,
    message: &Result<Message<'_>, String>,
    rules: &Rules,
    ledger: &Ledger,
) -> Result<Admitted, Refusal> {
    let account = sender(call, rules)?;
    admit_under(&account.profile, account, call, message, rules, ledger)
}

/// The checks up to the account that a call comes from.
fn sender<'a>(call: &Call<'_>, rules: &'a Rules) -> Result<&'a Arc<Account>, Refusal> {
    use ReturnCode::*;

    check(call.secure, NonHttps, || format!("the call came over plain HTTP: use https://{}/", call.host))?;
    let credentials = call.credentials.as_ref().map_err(|why| Refusal::new(MissingAuthentication, why.clone()))?;
    let claimed = rules.accounts.get(&credentials.username);
    let known = claimed.filter(|account| account.merchant.has_password(&credentials.password));
    known.ok_or_else(|| {
        let user = excerpt(&credentials.username);
        let reason = if claimed.is_some() {
            format!("the password of '{user}' is wrong: send the account's in merchants.json, not the payer's PIN")
        } else {
            format!("user '{user}' is unknown")
        };
        Refusal::new(InvalidCredentials, reason)
    })
}

/// The checks of a known account's call, as a profile has them.
fn admit_under(
    profile: &Profile,
    account: &Arc<Account>,
    call: &Call<'_>,
    message: &Result<Message<'_>, String>,
    rules: &Rules,
    ledger: &Ledger,
) -> Result<Admitted, Refusal> {
    use ReturnCode::*;

    let merchant = &account.merchant;
    if profile.key_required {
        let key = call.key.ok_or_else(|| Refusal::new(InvalidApiKey, "the Kpay-Key header is missing".into()))?;
        check(merchant.has_key(key), InvalidApiKey, || {
            format!("the Kpay-Key header is not the key of {}", merchant.username)
        })?;
    }
    check(merchant.api_access, InvalidRemoteUser, || {
        format!("{} may not use the API: set api_access in merchants.json", merchant.username)
    })?;
    check(merchant.allows(call.peer), NotWhitelisted, || {
        format!("{} is not in the whitelist of {} in merchants.json", call.peer, merchant.username)
    })?;

    check(call.method == "POST", MissingParameters, || {
        let without = if matches!(call.body, Body::Whole([])) { " without a body" } else { "" };
        format!("this was a {}{without}: POST the JSON", excerpt(call.method))
    })?;
    if let Body::TooLarge(limit) = call.body {
        return Err(Refusal::new(MissingParameters, format!("the body is larger than {limit} bytes")));
    }
    let message = message.as_ref().map_err(|why| Refusal::new(MissingParameters, why.clone()))?;
    let missing = |why| Refusal::new(MissingParameters, why);
    match message.text(Param::Action).map_err(missing)?.as_deref() {
        None | Some("pay") => {}
        Some("checkstatus") => return status_query(message, account).map_err(missing),
        Some(other) => {
            return Err(missing(format!("action '{}' is neither pay nor checkstatus", excerpt(other))));
        }
    }
    let (mut draft, payer) = read_order(message, merchant, profile).map_err(missing)?;

    let retailer = merchant.retailer(&draft.retailerid);
    let id = &draft.retailerid;
    check(retailer != Retailer::Unknown, UnknownRetailer, || {
        format!("retailerid '{}' is none of {}'s in merchants.json", excerpt(id), merchant.username)
    })?;
    check(retailer == Retailer::Enabled, RetailerNotEnabled, || {
        format!("retailerid '{}' of {} is switched off in merchants.json", excerpt(id), merchant.username)
    })?;
    let method = Method::from_word(&draft.pmethod).ok_or_else(|| {
        let words = Method::ALL.map(Method::word).join(", ");
        Refusal::new(UnknownMethod, format!("pmethod '{}' is none of {words}", excerpt(&draft.pmethod)))
    })?;
    if let Some(id) = &draft.bankid {
        let bank = rules.banks.iter().find(|bank| bank.bankid == *id);
        let bank =
            bank.ok_or_else(|| Refusal::new(UnknownBank, format!("bankid '{}' is not in banks.json", excerpt(id))))?;
        check(bank.enabled, UnknownBank, || format!("bankid '{id}' ({}) is switched off in banks.json", bank.name))?;
        if method == Method::Momo && !bank.has(&payer) {
            draft.hint = draft.hint.or_else(|| hints::other_network(bank, &payer, &rules.banks));
        }
    }
    if let Some(limits) = profile.amount_limits.get(&method).filter(|_| draft.currency == Currency::Rwf) {
        let within = draft.amount.within(limits.min, limits.max);
        check(within, AmountOutOfRange, || {
            format!("amount {} is outside {}–{} RWF for {}", draft.amount, limits.min, limits.max, method.word())
        })?;
    }
    let used = ledger.by_refid(&merchant.username, call.system(), &draft.refid);
    check(used.is_none(), RefidUsed, || {
        let tid = used.map_or("", |transaction| &transaction.tid);
        format!(
            "refid '{}' was used before, by {tid}: ask checkstatus how that payment stands, it may have succeeded",
            excerpt(&draft.refid)
        )
    })?;
    let hint = draft.hint.take();
    let order = draft.with(call.system(), method, message);
    Ok(Admitted::Pay { account: Arc::clone(account), order, payer, hint })
}

/// Returns the profile under which a refused call would be accepted. Who sends a key means the portal.
pub(super) fn accepting_profile<'a>(
    call: &Call<'_>,
    message: &Result<Message<'_>, String>,
    rules: &'a Rules,
    ledger: &Ledger,
) -> Option<&'a Arc<Profile>> {
    let account = sender(call, rules).ok()?;
    let mut others: Vec<_> = rules.profiles.iter().filter(|other| other.name != account.profile.name).collect();
    others.sort_by_key(|other| other.key_required != call.key.is_some());
    others.into_iter().find(|other| admit_under(other, account, call, message, rules, ledger).is_ok())
}

fn check(holds: bool, code: ReturnCode, reason: impl FnOnce() -> String) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::new(code, reason())) }
}

/// An order whose words have been read but not yet looked up.
struct Draft {
    merchant: Arc<str>,
    refid: CompactString,
    msisdn: CompactString,
    amount: Amount,
    currency: Currency,
    pmethod: CompactString,
    bankid: Option<CompactString>,
    retailerid: CompactString,
    returl: CompactString,
    redirecturl: CompactString,
    hint: Option<String>,
}

impl Draft {
    fn with(self, system: System, method: Method, message: &Message<'_>) -> Order {
        let Draft { merchant, refid, msisdn, amount, currency, bankid, retailerid, returl, redirecturl, .. } = self;
        let record = message.record();
        let retailerid = masking::text(&retailerid).into();
        Order {
            merchant,
            system,
            refid,
            msisdn,
            amount,
            currency,
            method,
            bankid,
            retailerid,
            returl,
            redirecturl,
            record,
        }
    }
}

/// Without blanks at its ends, where nearly no text has any.
fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

/// Reads the parameters of `pay`. All that are required must be there before any is found unusable, so that
/// the first answer of an integrator's first try names what is missing.
fn read_order(message: &Message<'_>, merchant: &Merchant, profile: &Profile) -> Result<(Draft, Msisdn), String> {
    let mut texts: [Cow<'_, str>; Param::ALL.len()] = Default::default();
    let mut missing = Vec::new();
    for param in Param::ALL {
        if param.always_required() || (param == Param::Bankid && profile.bankid_required) {
            match message.required(param) {
                Ok(text) => texts[param as usize] = text,
                Err(_) if param == Param::Email && profile.blank_email && message.is_blank(param) => {}
                Err(why) => missing.push(why),
            }
        }
    }
    if !missing.is_empty() {
        return Err(missing.join("; "));
    }
    let text = |param: Param| trimmed(&texts[param as usize]);
    let named = |param: Param| move |why| format!("{}: {why}", param.name());
    let refid = &texts[Param::Refid as usize];
    if message.is_number(Param::Refid) && !refid.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("refid: the number {} would not come back unchanged: send it as a string", excerpt(refid)));
    }
    let msisdn = Msisdn::parse(text(Param::Msisdn)).map_err(named(Param::Msisdn))?;
    let (amount, is_rounded) = Amount::parse(text(Param::Amount)).map_err(named(Param::Amount))?;
    let currency = match message.text(Param::Currency)?.as_deref().map(trimmed) {
        None | Some("RWF") => Currency::Rwf,
        Some("USD") => Currency::Usd,
        Some(other) => {
            return Err(format!("currency '{}' is neither RWF nor USD", excerpt(other)));
        }
    };
    let draft = Draft {
        merchant: merchant.username.clone(),
        refid: refid.as_ref().into(),
        msisdn: texts[Param::Msisdn as usize].as_ref().into(),
        amount,
        currency,
        pmethod: text(Param::Pmethod).into(),
        bankid: message.text(Param::Bankid)?.map(|id| trimmed(&id).into()),
        retailerid: text(Param::Retailerid).into(),
        returl: text(Param::Returl).into(),
        redirecturl: text(Param::Redirecturl).into(),
        hint: is_rounded.then(|| hints::rounded(text(Param::Amount), amount)),
    };
    message.text(Param::Logourl)?;
    Ok((draft, msisdn))
}

fn status_query(message: &Message<'_>, account: &Arc<Account>) -> Result<Admitted, String> {
    let tid = message.text(Param::Tid)?.unwrap_or_default();
    let refid = message.text(Param::Refid)?.unwrap_or_default();
    if tid.is_empty() && refid.is_empty() {
        return Err("checkstatus needs tid or refid".into());
    }
    Ok(Admitted::CheckStatus { account: Arc::clone(account), tid: tid.into_owned(), refid: refid.into_owned() })
}
