//! What a refused call should have been, and what is odd in an accepted one. A refused call is looked at again here, so that
//! an accepted one pays nothing for it.

use std::borrow::Cow;

use super::admission::{Rules, accepting_profile};
use super::bank::Bank;
use super::call::{Call, Refusal};
use super::journal::Action;
use super::ledger::Ledger;
use super::merchant::Account;
use super::method::Method;
use super::return_code::ReturnCode;
use super::values::{Amount, Msisdn, excerpt};
use super::wire::{Message, Param};

/// A refused call.
pub(super) struct Refused<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) message: &'a Result<Message<'a>, String>,
    /// The account that it names.
    pub(super) account: Option<&'a Account>,
    pub(super) rules: &'a Rules,
    pub(super) ledger: &'a Ledger,
}

impl Refused<'_> {
    /// Returns a refusal whose reason also says what would be right.
    pub(super) fn explain(&self, mut refusal: Refusal) -> Refusal {
        if let Some(hint) = self.hint(refusal.code) {
            refusal.add(&hint);
        }
        if let Some(profile) = accepting_profile(self.call, self.message, self.rules, self.ledger) {
            let has_own = self.account.is_some_and(|account| account.merchant.profile.is_some());
            refusal.add(&if has_own {
                format!("Accepted under \"profile\": \"{}\" in merchants.json", profile.name)
            } else {
                format!("Accepted under --profile {}", profile.name)
            });
            refusal.accepted_under = Some(profile.name.clone());
        }
        refusal
    }

    fn hint(&self, code: ReturnCode) -> Option<String> {
        let message = self.message.as_ref().ok();
        let sent = |param| message.and_then(|message| message.text(param).ok().flatten());
        match code {
            ReturnCode::NonHttps => self.forwarded("x-forwarded-proto: https"),
            ReturnCode::NotWhitelisted => self.forwarded("x-forwarded-for: "),
            ReturnCode::MissingAuthentication => waiting_client(self.call.head),
            ReturnCode::InvalidCredentials if self.account.is_none() => Some(self.account_hint()),
            ReturnCode::MissingParameters => match message {
                Some(message) => parameter_hint(message),
                None => encoding_hint(self.call.head),
            },
            ReturnCode::UnknownRetailer => {
                let id = sent(Param::Retailerid)?;
                let mut known = self.account?.merchant.retailers.keys();
                known.find(|known| is_same_number(known, &id)).map(|known| format!("Did you mean \"{known}\"?"))
            }
            ReturnCode::UnknownMethod => {
                method_meant(&sent(Param::Pmethod)?).map(|method| format!("Did you mean \"{}\"?", method.word()))
            }
            ReturnCode::UnknownBank => {
                let bank = bank_meant(&sent(Param::Bankid)?, &self.rules.banks)?;
                let as_text = if message?.is_number(Param::Bankid) { " Send it as a string" } else { "" };
                Some(format!("Did you mean \"{}\" ({})?{as_text}", bank.bankid, bank.short))
            }
            _ => None,
        }
    }

    /// The flag that believes a proxy's header, if the request has one that begins so.
    fn forwarded(&self, header: &str) -> Option<String> {
        let head = String::from_utf8_lossy(self.call.head);
        let name = header.split(':').next().unwrap_or_default();
        head.lines()
            .any(|line| line.starts_with(header))
            .then(|| format!("Its {name} header is believed with --trusted-proxy {} only", self.call.peer))
    }

    /// Where accounts come from, and the account that was probably meant.
    fn account_hint(&self) -> String {
        let asked = self.call.credentials.as_ref().map_or("", |credentials| &*credentials.username);
        let able = self.rules.accounts.iter().filter(|account| account.merchant.api_access).take(LOOK);
        let users = || able.clone().map(|account| &*account.merchant.username);
        if let Some(near) = users().find(|user| is_near(asked, user)) {
            return format!("Did you mean '{near}'?");
        }
        // One that takes any retailer is the easiest to use.
        let easiest = able.clone().min_by_key(|account| !account.merchant.retailers.contains_key("*"));
        let such_as = easiest.map(|account| &*account.merchant.username);
        let such_as = such_as.map_or(String::new(), |user| format!(", such as {}", excerpt(user)));
        format!("Use an account of merchants.json{such_as}, or start with --open to accept any account")
    }
}

fn parameter_hint(message: &Message<'_>) -> Option<String> {
    if let Some(meant) = message.text(Param::Action).ok().flatten().as_deref().and_then(action_meant) {
        return Some(format!("Did you mean \"{meant}\"?"));
    }
    let misses = message.near_misses();
    if !misses.is_empty() {
        let list = |names: Vec<String>| names.join(" and ");
        let sent = list(misses.iter().map(|(name, _)| format!("\"{}\"", excerpt(name))).collect());
        let meant = list(misses.iter().map(|(_, param)| format!("\"{}\"", param.name())).collect());
        return Some(format!("You sent {sent}: did you mean {meant}?"));
    }
    if message.action() == Action::CheckStatus && message.is_blank(Param::Tid) {
        return Some("A refused pay has no tid: look at its retcode first".into());
    }
    let currency = message.text(Param::Currency).ok()??;
    let francs = ["rwf", "frw", "rfw", "francs", "rwandanfrancs"].contains(&&*plain(&currency));
    let meant = if francs { "RWF" } else { "USD" };
    let is_wrong = currency.trim() != meant && (francs || ["usd", "us$", "$", "dollars"].contains(&&*plain(&currency)));
    is_wrong.then(|| format!("Did you mean \"{meant}\"?"))
}

/// The hint at a body that cannot be read because it is compressed.
fn encoding_hint(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let encoding = head.lines().find_map(|line| line.strip_prefix("content-encoding: "))?.trim();
    let is_compressed = !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity");
    is_compressed.then(|| format!("Its Content-Encoding is {}: send it without one", excerpt(encoding)))
}

impl Refusal {
    /// Adds a sentence to the reason.
    pub(super) fn add(&mut self, sentence: &str) {
        self.reason.push_str(if self.reason.ends_with(['?', '.']) { " " } else { ". " });
        self.reason.push_str(sentence);
    }
}

/// How many accounts are looked at for one of a similar name.
const LOOK: usize = 1000;

/// Without anything but letters, digits and currency signs, in small letters.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric() || *c == '$').flat_map(char::to_lowercase).take(32).collect()
}

/// Returns true for texts that differ in case, blanks or a letter.
fn is_near(text: &str, known: &str) -> bool {
    text.len() <= 64
        && known.len() >= 3
        && (plain(text) == plain(known) || strsim::damerau_levenshtein(text, known) <= 1)
}

/// Returns true for numbers that differ in their first zeros: a JSON number has lost them.
fn is_same_number(known: &str, sent: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let stripped = |text: &'_ str| text.trim_start_matches('0').to_owned();
    is_digits(known) && is_digits(sent.trim()) && stripped(known) == stripped(sent.trim())
}

fn action_meant(action: &str) -> Option<&'static str> {
    match &*plain(action) {
        "pay" | "checkstatus" if matches!(action, "pay" | "checkstatus") => None,
        "check" | "status" | "checkstatus" | "paymentstatus" | "transactionstatus" | "query" | "verify"
        | "getstatus" => Some("checkstatus"),
        "pay" | "payment" | "charge" | "collect" | "debit" | "purchase" | "initiate" | "request" | "requesttopay" => {
            Some("pay")
        }
        plain => ["checkstatus"].into_iter().find(|word| strsim::damerau_levenshtein(plain, word) <= 2),
    }
}

fn method_meant(word: &str) -> Option<Method> {
    let word = plain(word);
    Method::from_word(&word).or(match &*word {
        "mtn" | "mtnmomo" | "airtel" | "airtelmoney" | "mobilemoney" | "mobile" | "momopay" | "mm" => {
            Some(Method::Momo)
        }
        "card" | "cards" | "visa" | "mastercard" | "amex" | "creditcard" | "debitcard" => Some(Method::Cc),
        "banktransfer" | "bankaccount" | "banks" => Some(Method::Bank),
        _ => None,
    })
}

fn bank_meant<'a>(id: &str, banks: &'a [Bank]) -> Option<&'a Bank> {
    let word = plain(id);
    let same = banks.iter().find(|bank| is_same_number(&bank.bankid, id));
    let named = || {
        let names = |bank: &Bank| [plain(&bank.short), plain(&bank.name)];
        let exact = banks.iter().find(|bank| names(bank).contains(&word));
        exact.or_else(|| {
            banks.iter().find(|bank| word.len() >= 3 && names(bank).iter().any(|name| name.starts_with(&word)))
        })
    };
    let near = || banks.iter().find(|bank| word.len() >= 4 && strsim::damerau_levenshtein(&word, &bank.bankid) <= 1);
    same.or_else(named).or_else(near)
}

/// Returns how a client sends credentials that waits for a 401, which KPay's status of 200 never is.
fn waiting_client(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    if head.lines().any(|line| line.starts_with("authorization: ")) {
        return None;
    }
    let agent = head.lines().find_map(|line| line.strip_prefix("user-agent: "))?;
    let (client, instead): (_, Cow<'_, str>) = match agent.split(['/', ' ']).next()? {
        "Wget" => ("Wget", "add --auth-no-challenge".into()),
        "Python-urllib" => ("urllib", "set the Authorization header yourself".into()),
        "Java" | "Java-http-client" => ("Java's Authenticator", "set the Authorization header yourself".into()),
        "Apache-HttpClient" => ("Apache HttpClient", "set the Authorization header yourself".into()),
        _ => return None,
    };
    Some(format!("{client} waits to be asked for credentials, and KPay answers 200: {instead}"))
}

/// The hint at an amount whose decimals were rounded.
pub(super) fn rounded(sent: &str, amount: Amount) -> String {
    format!(
        "amount {} has more than two decimals and was taken as {amount}. KPay does not say how it rounds",
        excerpt(sent)
    )
}

/// Returns the hint at a mobile money payment by the number of another network.
pub(super) fn other_network(bank: &Bank, payer: &Msisdn, banks: &[Bank]) -> Option<String> {
    if bank.numbers.is_empty() || bank.has(payer) {
        return None;
    }
    let own = banks.iter().find(|bank| bank.has(payer))?;
    Some(format!(
        "{} is a number of {}, whose bankid is {}, and {} is {}",
        payer.as_str(),
        own.name,
        own.bankid,
        bank.bankid,
        bank.name
    ))
}
