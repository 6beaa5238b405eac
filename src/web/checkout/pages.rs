//! The checkout pages' contents; how they look is `pages/*.html`.

use askama::Template;

use super::super::{Reply, Request};
use super::{merchant_name, money};
use crate::gateway::bank::Bank;
use crate::gateway::card::{CardForm, CardProblems};
use crate::gateway::checkout::Act;
use crate::gateway::method::Method;
use crate::gateway::transaction::Transaction;
use crate::gateway::{Gateway, Timestamp};

/// A page with nothing but words.
#[derive(Template)]
#[template(path = "checkout-notice.html")]
pub(super) struct Notice<'a> {
    title: &'a str,
    words: &'a str,
}

impl Notice<'_> {
    pub(super) fn page(status: u16, title: &str, words: &str) -> Reply {
        Reply::page(status, &Notice { title, words })
    }
}

/// What is paid for, to whom; on every page of a payment.
struct Summary {
    merchant: String,
    details: String,
    amount: String,
    refid: String,
    /// The shop's picture, where its address is one that a browser may ask.
    logo: Option<String>,
}

impl Summary {
    fn of(gateway: &Gateway, found: &Transaction) -> Summary {
        let order = &found.order;
        Summary {
            merchant: merchant_name(gateway, found),
            details: found.sent("details").unwrap_or_default().to_owned(),
            amount: money::formatted(order.amount, order.currency),
            refid: order.refid.to_string(),
            logo: found.sent("logourl").and_then(money::web_address),
        }
    }

    /// A page that may show this payment's picture.
    fn reply(&self, status: u16, page: &impl Template) -> Reply {
        Reply::page_with(status, page, self.logo.as_deref().and_then(money::origin).as_deref())
    }
}

/// A payment that waits for its payer, or for the processor.
#[derive(Template)]
#[template(path = "checkout.html")]
pub(super) struct Checkout<'a> {
    summary: Summary,
    id: &'a str,
    /// What has been done already, in words; empty while nothing has.
    answered: String,
    means: Means<'a>,
    /// What to say about a script that asks nobody; empty when it asks.
    unasked: String,
    /// Until when the payer's answer is waited for; empty when that is for ever.
    until: String,
}

/// How the payer pays.
enum Means<'a> {
    Card(Box<CardPage<'a>>),
    Phone(Phone),
    Bank { chosen: &'a str, banks: Vec<&'a Bank> },
}

/// The card form and the drawer beside it.
struct CardPage<'a> {
    smartcash: bool,
    card: Card,
    tests: Vec<TestCard<'a>>,
    outcomes: Vec<TestOutcome<'a>>,
}

struct TestCard<'a> {
    index: usize,
    brand: &'a str,
    kind: &'a str,
    grouped: String,
}

struct TestOutcome<'a> {
    index: usize,
    name: &'a str,
    cvv: &'a str,
    statusid: &'a str,
    statusdesc: &'a str,
}

/// Who asks on the payer's phone, and what the payer does there.
struct Phone {
    operator: &'static str,
    /// What to dial where the request does not come by itself; empty for an app.
    dial: &'static str,
    msisdn: String,
}

/// What stands in the card form.
#[derive(Default)]
pub(super) struct Card {
    number: String,
    holder: String,
    expiry: String,
    /// A test card's; a payer's own is never sent back.
    cvv: String,
    problems: CardProblems,
    wrong: bool,
}

impl Card {
    /// The test card that was picked from the drawer; an empty form when none was.
    pub(super) fn suggested(gateway: &Gateway, request: &Request, now: Timestamp) -> Card {
        let picked = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(request.query().as_bytes());
            pairs.find(|(name, _)| name == wanted).and_then(|(_, index)| index.parse::<usize>().ok())
        };
        let (card, outcome) = (picked("card"), picked("outcome"));
        let cards = &gateway.rules().cards;
        if card.is_none() && outcome.is_none() {
            return Card::default();
        }
        let outcome = outcome.and_then(|index| cards.outcomes.get(index));
        let Some(card) = cards.cards.get(card.unwrap_or(0)) else { return Card::default() };
        let year = now.to_string().get(2..4).and_then(|year| year.parse::<u8>().ok()).unwrap_or(0);
        Card {
            number: grouped(&card.number),
            holder: outcome.map_or("Test Payer", |outcome| &outcome.name).to_owned(),
            expiry: format!("12/{:02}", (year + 3) % 100),
            cvv: "1234"[..card.cvv_digits.min(4)].to_owned(),
            ..Card::default()
        }
    }

    /// What a payer typed, with what has to be mended.
    pub(super) fn typed(form: &CardForm<'_>, problems: CardProblems) -> Card {
        let kept = |text: &str| text.chars().take(200).collect();
        Card {
            number: kept(form.number),
            holder: kept(form.holder),
            expiry: kept(form.expiry),
            cvv: String::new(),
            problems,
            wrong: true,
        }
    }
}

/// Digits in groups, as on the card.
fn grouped(number: &str) -> String {
    let sizes: &[usize] = if number.len() == 15 { &[4, 6, 5] } else { &[4, 4, 4, 4, 4] };
    let (mut text, mut rest) = (String::new(), number);
    for size in sizes {
        let (group, more) = rest.split_at((*size).min(rest.len()));
        if !group.is_empty() && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(group);
        rest = more;
    }
    text
}

impl<'a> Checkout<'a> {
    pub(super) fn of(gateway: &'a Gateway, found: &'a Transaction, card: Card) -> Checkout<'a> {
        let moments = gateway.ahead(&found.tid);
        let name = &found.scenario.name;
        let unasked = match (found.asks_payer(), moments.first()) {
            (true, _) => String::new(),
            (false, Some(at)) => {
                format!("Its scenario, {name}, asks no payer: it goes on by itself at {}.", clock_time(*at))
            }
            (false, None) => format!("Its scenario, {name}, asks no payer, and nothing more happens by itself."),
        };
        let until = moments.first().filter(|_| gateway.awaits_payer(&found.tid)).map(|at| clock_time(*at));
        Checkout {
            summary: Summary::of(gateway, found),
            id: &found.checkout,
            answered: found.answer.as_ref().map(|answer| answer.act.to_string()).unwrap_or_default(),
            means: means_of(gateway, found, card),
            unasked,
            until: until.unwrap_or_default(),
        }
    }

    /// Whether the page may be loaded again without a loss of what was typed.
    fn only_waits(&self) -> bool {
        !self.answered.is_empty() || matches!(self.means, Means::Phone(_))
    }

    pub(super) fn page(&self, status: u16) -> Reply {
        self.summary.reply(status, self)
    }
}

fn means_of<'a>(gateway: &'a Gateway, found: &'a Transaction, card: Card) -> Means<'a> {
    let order = &found.order;
    let (rules, bankid) = (gateway.rules(), order.bankid.as_deref().unwrap_or_default());
    match order.method {
        Method::Cc | Method::SmartCash => {
            let cards = &rules.cards;
            let tests = cards.cards.iter().enumerate().map(|(index, card)| TestCard {
                index,
                brand: &card.brand,
                kind: &card.kind,
                grouped: grouped(&card.number),
            });
            let outcomes = cards.outcomes.iter().enumerate().map(|(index, outcome)| TestOutcome {
                index,
                name: &outcome.name,
                cvv: &outcome.cvv,
                statusid: outcome.settle.statusid.as_str(),
                statusdesc: outcome.settle.statusdesc.as_deref().unwrap_or_default(),
            });
            let (tests, outcomes) = (tests.collect(), outcomes.collect());
            Means::Card(Box::new(CardPage { smartcash: order.method == Method::SmartCash, card, tests, outcomes }))
        }
        Method::Bank => Means::Bank { chosen: bankid, banks: rules.banks.iter().filter(|bank| bank.enabled).collect() },
        Method::Momo | Method::Spenn => {
            let dial = if order.method == Method::Momo { "*182*7*1#" } else { "" };
            let operator = match (order.method, bankid) {
                (Method::Spenn, _) => "SPENN",
                (_, "63514") => "Airtel Money",
                _ => "MTN MoMo",
            };
            Means::Phone(Phone { operator, dial, msisdn: order.msisdn.to_string() })
        }
    }
}

/// `12:00:05 UTC`.
fn clock_time(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} UTC", text.get(11..19).unwrap_or(&text))
}

/// What came of a payment.
#[derive(Template)]
#[template(path = "checkout-result.html")]
pub(super) struct Outcome<'a> {
    summary: Summary,
    id: &'a str,
    paid: bool,
    title: &'static str,
    words: &'a str,
    /// What the payer did, in words; empty when nothing.
    answered: String,
    tid: &'a str,
    /// Where the shop wants its payer back, as it was sent.
    redirecturl: &'a str,
    /// Whether a browser may be sent there.
    can_return: bool,
    /// Whether the browser goes there by itself.
    returns: bool,
}

impl<'a> Outcome<'a> {
    pub(super) fn of(gateway: &Gateway, found: &'a Transaction) -> Outcome<'a> {
        let outcome = found.outcome.as_ref();
        let paid = outcome.is_some_and(|outcome| outcome.statusid.as_str() == "01");
        let act = found.answer.as_ref().map(|answer| &answer.act);
        let title = match act {
            _ if paid => "Payment successful",
            Some(Act::Cancel) => "Payment cancelled",
            Some(Act::Expire) => "Payment expired",
            _ => "Payment failed",
        };
        Outcome {
            summary: Summary::of(gateway, found),
            id: &found.checkout,
            paid,
            title,
            words: outcome.map_or("", |outcome| &outcome.statusdesc),
            answered: act.map(ToString::to_string).unwrap_or_default(),
            tid: &found.tid,
            redirecturl: &found.order.redirecturl,
            can_return: money::web_address(&found.order.redirecturl).is_some(),
            returns: false,
        }
    }

    /// The page; with `returns` it goes back to the shop by itself.
    pub(super) fn page(self, returns: bool) -> Reply {
        let page = Outcome { returns: returns && self.can_return, ..self };
        page.summary.reply(200, &page)
    }
}

/// A form that posts the result to the shop.
#[derive(Template)]
#[template(path = "checkout-forward.html")]
pub(super) struct Forward<'a> {
    address: &'a str,
    fields: [(&'static str, String); 5],
}

impl Forward<'_> {
    pub(super) fn page(address: &str, fields: [(&'static str, String); 5]) -> Reply {
        // The shop's answer may lead the browser on, and a policy that named its origin would forbid that.
        Reply::page_posting(200, &Forward { address, fields })
    }
}
