//! Cards on the checkout page: the guide's test cards, and what becomes of a payment by each.
//! `fixtures/cards.json` (contract, section 8; D) and `fixtures/card-outcomes.json` (ours).

use serde::Deserialize;

use super::scenario::Settlement;
use super::timestamp::{Span, Timestamp};
use super::values::excerpt;

/// A test card: with any future expiry and any CVV it pays (D).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Visa, MasterCard or American Express.
    pub brand: Box<str>,
    /// Its digits.
    pub number: Box<str>,
    /// What the guide calls it.
    pub kind: Box<str>,
    /// How many digits its CVV has.
    pub cvv_digits: usize,
}

/// Another outcome than success, chosen by the holder's name or by the CVV (ours; nobody knows KPay's).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardOutcome {
    /// The holder's name that chooses it, in any case.
    pub name: Box<str>,
    /// The CVV that chooses it; with a zero before it on cards of four digits.
    pub cvv: Box<str>,
    /// The payment's result.
    pub settle: Settlement,
    /// How long the processor takes over it; nothing when left out.
    #[serde(default)]
    pub after: Span,
}

/// The test cards and the outcomes.
#[derive(Debug, Clone, Default)]
pub struct Cards {
    /// The cards.
    pub cards: Vec<Card>,
    /// The outcomes that are no success.
    pub outcomes: Vec<CardOutcome>,
}

/// What a payer typed. It is read and forgotten: only [`Charge`] is kept.
#[derive(Clone, Copy)]
pub struct CardForm<'a> {
    /// The card's number, blanks allowed.
    pub number: &'a str,
    /// The holder's name.
    pub holder: &'a str,
    /// `MM/YY` or `MM/YYYY`.
    pub expiry: &'a str,
    /// The code on the card.
    pub cvv: &'a str,
}

/// What a card comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Its brand, as far as the number tells.
    pub brand: &'static str,
    /// The last four digits of its number.
    pub last_four: Box<str>,
    /// The payment's result.
    pub settlement: Settlement,
    /// How long the processor takes over it.
    pub after: Span,
}

/// What is wrong with each field of a form; empty where nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardProblems {
    /// The number.
    pub number: &'static str,
    /// The holder's name.
    pub holder: &'static str,
    /// The expiry.
    pub expiry: &'static str,
    /// The CVV.
    pub cvv: &'static str,
}

/// How long a holder's name may be, in characters.
pub const HOLDER_LIMIT: usize = 100;

impl Cards {
    /// What a file can hold that no payer could type.
    pub fn complaint(&self) -> Option<String> {
        let unsound = |card: &&Card| !digits(&card.number) || !(12..=19).contains(&card.number.len());
        let wrong = self.cards.iter().find(unsound)?;
        Some(format!("number '{}': write its 12 to 19 digits, without blanks", excerpt(&wrong.number)))
    }

    /// What a card comes to at this moment, or what in the form has to be mended first.
    pub fn charge(&self, form: &CardForm<'_>, now: Timestamp) -> Result<Charge, CardProblems> {
        let number: String = form.number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let (holder, cvv) = (form.holder.trim(), form.cvv.trim());
        let test_card = self.cards.iter().find(|card| *card.number == *number);
        let brand = brand(&number);
        let cvv_digits = test_card.map_or(if brand == AMEX { 4 } else { 3 }, |card| card.cvv_digits);
        let problems = CardProblems {
            number: match () {
                () if number.is_empty() => "Enter the card's number.",
                () if !digits(&number) || !(12..=19).contains(&number.len()) => {
                    "A card's number has 12 to 19 digits, such as 4111 1111 1111 1111."
                }
                () if test_card.is_none() && !luhn(&number) => {
                    "This is not a card's number: its last digit does not fit the others. Choose a test card."
                }
                () => "",
            },
            holder: match holder.chars().count() {
                0 => "Enter the name on the card.",
                1..=HOLDER_LIMIT => "",
                _ => "A name has 100 characters at most.",
            },
            expiry: match read_expiry(form.expiry) {
                None => "Write the month and the year, such as 12/30.",
                Some(expiry) if expiry < year_and_month(now) => "This card's time is over: any month to come will do.",
                Some(_) => "",
            },
            cvv: match () {
                () if digits(cvv) && cvv.len() == cvv_digits => "",
                () if cvv_digits == 4 => "Enter the four digits on the front of the card.",
                () => "Enter the three digits on the back of the card.",
            },
        };
        if problems != CardProblems::default() {
            return Err(problems);
        }
        let last_four = number[number.len() - 4..].into();
        let charge = |settlement, after| Charge { brand, last_four, settlement, after };
        if test_card.is_none() {
            let why = "Declined: not a test card. The sandbox takes only those that its checkout page lists.";
            return Ok(charge(Settlement::failed(Some(why.into())), Span::default()));
        }
        let chosen = |outcome: &&CardOutcome| {
            outcome.name.eq_ignore_ascii_case(holder)
                || *outcome.cvv == *cvv
                || cvv.strip_prefix('0') == Some(&outcome.cvv)
        };
        Ok(match self.outcomes.iter().find(chosen) {
            Some(outcome) => charge(outcome.settle.clone(), outcome.after),
            None => charge(Settlement::successful(), Span::default()),
        })
    }
}

const AMEX: &str = "American Express";

/// The brand of a number, as far as its first digits tell; a plain "card" otherwise.
pub fn brand(number: &str) -> &'static str {
    let first = |count: usize| number.get(..count).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    match (first(1), first(2), first(4)) {
        (4, ..) => "Visa",
        (_, 34 | 37, _) => AMEX,
        (_, 51..=55 | 67, _) | (_, _, 2221..=2720) => "MasterCard",
        _ => "card",
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a number's last digit fits the others, as on every real card.
pub fn luhn(number: &str) -> bool {
    let sum: u32 = number.bytes().rev().enumerate().fold(0, |sum, (place, digit)| {
        let digit = u32::from(digit.wrapping_sub(b'0'));
        sum + if place % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
    });
    sum.is_multiple_of(10)
}

/// Year and month, to be compared.
fn read_expiry(text: &str) -> Option<(u16, u8)> {
    let text: String = text.chars().filter(|c| *c != ' ').collect();
    let (month, year) = match text.split_once(['/', '-']) {
        Some(parts) => parts,
        None if text.is_char_boundary(2) && matches!(text.len(), 4 | 6) => text.split_at(2),
        None => return None,
    };
    if !digits(month) || !digits(year) || month.len() > 2 || !matches!(year.len(), 2 | 4) {
        return None;
    }
    let (month, short): (u8, u16) = (month.parse().ok()?, year.parse().ok()?);
    let year = if year.len() == 2 { 2000 + short } else { short };
    (1..=12).contains(&month).then_some((year, month))
}

fn year_and_month(now: Timestamp) -> (u16, u8) {
    let text = now.to_string();
    let part = |range| text.get(range).and_then(|part: &str| part.parse::<u16>().ok()).unwrap_or(0);
    (part(0..4), u8::try_from(part(5..7)).unwrap_or(0))
}
