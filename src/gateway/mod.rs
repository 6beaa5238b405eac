//! The core: a plain state machine that is KPay. It is given the time, a call, a delivery's result; it returns
//! answers and postbacks to send. No I/O, no async and no clock in it.
//!
//! Here are the gateway and its verbs; `pay.rs` and `check_status.rs` answer calls, `checkout.rs` is the payer's side,
//! `steps.rs` performs scripts, `by_hand.rs` is what a developer does to it, `state.rs` saves and restores it.

mod acknowledgement;
pub mod admission;
pub mod agenda;
pub mod bank;
pub mod by_hand;
pub mod call;
pub mod card;
mod check_status;
pub mod checkout;
pub mod choice;
mod hints;
pub mod ids;
pub mod journal;
pub mod kept_request;
pub mod ledger;
pub mod masking;
pub mod merchant;
pub mod method;
pub mod outbox;
mod pay;
pub mod postback;
pub mod profile;
pub mod record;
mod refused;
pub mod repertoire;
pub mod return_code;
pub mod run;
pub mod scenario;
mod settings;
pub mod state;
mod steps;
pub mod system;
pub mod tally;
pub mod timestamp;
pub mod transaction;
pub mod unfinished;
pub mod values;
mod weight;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use admission::{Admitted, Rules, admit};
use agenda::Agenda;
use call::{Answered, Body, Call, Refusal};
use choice::Chooser;
use hints::Refused;
use ids::Ids;
use journal::{Event, Journal};
use ledger::{Ledger, Position};
use outbox::Outbox;
use postback::Postback;
use refused::Repeats;
use repertoire::Repertoire;
pub use return_code::{Grade, ReturnCode};
use run::Run;
pub use settings::Settings;
pub use timestamp::Timestamp;
use wire::Message;

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    rules: Rules,
    repertoire: Repertoire,
    ids: Ids,
    disorder: ChaCha8Rng,
    chooser: Chooser,
    ledger: Ledger,
    agenda: Agenda<Due>,
    journal: Journal,
    /// Number of the last postback made.
    postbacks: u64,
    /// Postbacks that are due, and those under way.
    outbox: Outbox,
    /// Postbacks that wait for others, by merchant and scenario.
    pools: BTreeMap<CompactString, Vec<Held>>,
    /// Answers that are kept back.
    tickets: BTreeMap<u64, Ticket>,
    /// Number of the last ticket.
    last_ticket: u64,
    /// Tickets whose answers may leave, until [`Gateway::take_released`].
    released: Vec<u64>,
    /// Refused requests that were recorded.
    repeats: Repeats,
}

/// What falls due.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Due {
    /// The next step of a transaction, unless it has had another turn since.
    Step(Position, u32),
    /// The postback that follows a settlement by hand.
    Tell(Position, u32),
    /// What the payer answered takes effect, likewise.
    Answer(Position, u32),
    /// A postback leaves: a repetition, or another attempt.
    Send(Box<Postback>),
    /// An answer that was kept back leaves.
    Release(u64),
}

/// A postback that waits for others, and whose script goes on when it leaves.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Held {
    postback: Postback,
    position: Position,
    turn: u32,
}

/// An answer that is kept back.
#[derive(Debug)]
struct Ticket {
    merchant: Arc<str>,
    tid: CompactString,
    /// It leaves when a postback of its transaction has come back.
    until_postback: bool,
}

impl Gateway {
    /// A gateway in which nothing has happened.
    pub fn new(settings: Settings) -> Gateway {
        Gateway {
            rules: settings.rules.clone(),
            repertoire: settings.repertoire.clone(),
            ids: settings.ids.clone(),
            ledger: Ledger::new(settings.ids.checkouts()),
            disorder: ChaCha8Rng::seed_from_u64(settings.disorder_seed),
            settings,
            chooser: Chooser::default(),
            agenda: Agenda::default(),
            journal: Journal::default(),
            postbacks: 0,
            outbox: Outbox::default(),
            pools: BTreeMap::new(),
            tickets: BTreeMap::new(),
            last_ticket: 0,
            released: Vec::new(),
            repeats: Repeats::default(),
        }
    }

    /// Returns what it was made of.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The transactions.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What happened.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The scenarios.
    pub fn repertoire(&self) -> &Repertoire {
        &self.repertoire
    }

    /// What is remembered for choosing scenarios.
    pub fn chooser(&self) -> &Chooser {
        &self.chooser
    }

    /// The accounts, banks and profiles.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many steps, retries and postbacks lie ahead.
    pub fn scheduled(&self) -> usize {
        self.agenda.len() + self.outbox.waiting()
    }

    /// How many postbacks are under way.
    pub fn under_way(&self) -> usize {
        self.outbox.under_way()
    }

    /// How many postbacks wait for others to be released with.
    pub fn held(&self) -> usize {
        self.pools.values().map(Vec::len).sum()
    }

    /// Whether the answer with this ticket is still kept back.
    pub fn is_held(&self, ticket: u64) -> bool {
        self.tickets.contains_key(&ticket)
    }

    /// Returns the tickets whose answers may leave since the last call.
    pub fn take_released(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.released)
    }

    /// Takes the tickets of a merchant, or all of them, out of the world: nobody waits for what a reset forgot.
    pub(super) fn drop_tickets(&mut self, merchant: Option<&str>) {
        let released = &mut self.released;
        self.tickets.retain(|number, ticket| {
            let stays = merchant.is_some_and(|merchant| *ticket.merchant != *merchant);
            if !stays {
                released.push(*number);
            }
            stays
        });
    }

    /// Records the whole run from now on, for a report: a reset does not empty it.
    pub fn record_run(&mut self) {
        self.journal.run.get_or_insert_default();
    }

    /// Takes note of a visit of the home page, for a report: it is no request to KPay, and yet it came here.
    pub fn visit(&mut self) {
        if let Some(run) = &mut self.journal.run {
            run.visit();
        }
    }

    /// Takes the record of the run out, which ends it.
    pub fn take_run(&mut self) -> Option<Box<Run>> {
        self.journal.run.take()
    }

    /// Forgets everything, what was added at run time too; deliveries still under way belong to a world that is
    /// gone. Entries of the journal, postbacks and tickets are numbered on, so that whoever follows them misses
    /// nothing. Returns the gateway as it was: dropping it takes long when it has many payments.
    pub fn reset(&mut self, now: Timestamp) -> Gateway {
        let mut journal = Journal::numbered_on(&mut self.journal);
        journal.add(now, Event::Reset { merchant: None });
        let (outbox, postbacks, last_ticket) = (self.outbox.of_next_world(), self.postbacks, self.last_ticket);
        self.drop_tickets(None);
        let released = self.take_released();
        let next = Gateway { outbox, postbacks, last_ticket, released, journal, ..Gateway::new(self.settings.clone()) };
        std::mem::replace(self, next)
    }

    /// Forgets what one merchant has done and was given; its account and the others stay.
    pub fn reset_merchant(&mut self, merchant: &Arc<str>, now: Timestamp) {
        self.journal.forget_merchant(merchant);
        self.chooser.forget_merchant(merchant);
        self.repertoire.forget_merchant(merchant);
        self.ledger.forget_merchant(merchant);
        self.outbox.forget_merchant(merchant);
        self.drop_tickets(Some(merchant));
        self.pools.values_mut().for_each(|pool| pool.retain(|held| held.postback.merchant != *merchant));
        self.pools.retain(|_, pool| !pool.is_empty());
        let (ledger, tickets) = (&self.ledger, &self.tickets);
        self.agenda.retain(|due| match due {
            Due::Step(position, _) | Due::Tell(position, _) | Due::Answer(position, _) => {
                ledger.get(*position).is_some()
            }
            Due::Send(postback) => postback.merchant != *merchant,
            Due::Release(ticket) => tickets.contains_key(ticket),
        });
        self.emptied(merchant);
        self.journal.add(now, Event::Reset { merchant: Some(Arc::clone(merchant)) });
    }

    /// Answers a call to the KPay endpoint.
    pub fn handle_call(&mut self, call: &Call<'_>, now: Timestamp) -> Answered {
        let welcomed = call.credentials.as_ref().map_or(Ok(()), |credentials| self.welcome(&credentials.username));
        let message = match call.body {
            Body::Whole(body) => Message::parse(body),
            Body::TooLarge(_) => Err(String::new()),
        };
        match admit(call, &message, &self.rules, &self.ledger) {
            Ok(Admitted::Pay { account, order, payer, hint }) => {
                let message = message.as_ref().expect("admitted with it");
                self.pay(call, message, &account, (order, hint), &payer, now)
            }
            Ok(Admitted::CheckStatus { account, tid, refid }) => {
                self.check_status(call, message.as_ref().ok(), &account, &tid, &refid, now)
            }
            Err(refusal) => {
                let username = call.credentials.as_ref().map_or("", |credentials| &credentials.username);
                let account = self.rules.accounts.get(username).cloned();
                let refusal = match welcomed {
                    // A user for whom there is no account has no wrong password.
                    Err(reason) if refusal.code == ReturnCode::InvalidCredentials => Refusal { reason, ..refusal },
                    _ => {
                        let (message, account) = (&message, account.as_deref());
                        let (rules, ledger) = (&self.rules, &self.ledger);
                        Refused { call, message, account, rules, ledger }.explain(refusal)
                    }
                };
                self.refuse(call, account.as_ref(), message.as_ref().ok(), refusal, now)
            }
        }
    }

    /// Under `--open`, makes an account for a user who has none. The error says why there can be none.
    pub fn welcome(&mut self, username: &str) -> Result<(), String> {
        let Some(template) = &self.settings.open else { return Ok(()) };
        if self.rules.accounts.get(username).is_some() {
            return Ok(());
        }
        let (ledger, repertoire, chooser) = (&self.ledger, &self.repertoire, &self.chooser);
        let keeps_nothing = |username: &str| {
            !ledger.has_merchant(username)
                && !repertoire.added().any(|known| known.merchant.as_deref() == Some(username))
                && !chooser.queued().any(|next| next.merchant.as_deref() == Some(username))
        };
        let Rules { accounts, profiles, .. } = &mut self.rules;
        if let Some(gone) = accounts.welcome(username, template, profiles, keeps_nothing)? {
            self.journal.disown(&gone);
        }
        Ok(())
    }

    /// Takes note that a merchant may keep nothing any more, so that its account may give way to a newcomer's.
    fn emptied(&mut self, merchant: &Arc<str>) {
        if let Some(template) = &self.settings.open {
            self.rules.accounts.emptied(merchant, template);
        }
    }

    /// When there is next something to do: a step, or a postback that may leave at once.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.outbox.may_release() { Some(Timestamp::ZERO) } else { self.agenda.next() }
    }

    /// Does what is due and returns the postbacks that leave now. Of one transaction at most one is under
    /// way, so that its postbacks arrive in order.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Postback> {
        while let Some((at, due)) = self.agenda.take(now) {
            match due {
                Due::Send(postback) => self.outbox.put(*postback),
                Due::Step(position, turn) => self.perform(position, turn, at),
                Due::Tell(position, turn) => self.tell(position, turn),
                Due::Answer(position, turn) => self.settle_as_answered(position, turn, at),
                Due::Release(ticket) => self.release(ticket, at),
            }
        }
        self.outbox.release()
    }

    /// Mixes by the seed.
    fn shuffle<T>(&mut self, list: &mut [T]) {
        use rand::seq::SliceRandom;
        list.shuffle(&mut self.disorder);
    }
}
