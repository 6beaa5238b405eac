//! The core: a plain state machine that is KPay. It is given the time, a call, a delivery's result; it returns
//! answers and postbacks to send. No I/O, no async and no clock in it.

pub mod admission;
pub mod agenda;
pub mod bank;
pub mod call;
pub mod ids;
pub mod journal;
pub mod ledger;
pub mod merchant;
pub mod method;
pub mod outbox;
pub mod postback;
pub mod profile;
pub mod return_code;
pub mod scenario;
pub mod timestamp;
pub mod transaction;
pub mod values;
pub mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::{Admitted, Rules, admit};
use agenda::Agenda;
use call::{Answered, Body, Call, Refusal};
use ids::Ids;
use journal::{CallRecord, Event, Journal};
use ledger::{Ledger, Position};
use method::Method;
use outbox::Outbox;
use postback::{Delivery, Postback};
use profile::{MomTransactionIdForm, MomoUrl};
pub use return_code::{Grade, ReturnCode};
use scenario::{Action, Scenario, Script, Settlement};
pub use timestamp::Timestamp;
use transaction::{Order, Transaction};
use values::Msisdn;
use wire::Message;

/// What a gateway is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What calls are checked against.
    pub rules: Rules,
    /// The scripts. One named `approve` is among them.
    pub scenarios: Vec<Arc<Scenario>>,
    /// How often a postback that failed is tried again.
    pub retries: u32,
    /// Where ids come from.
    pub ids: Ids,
}

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    ids: Ids,
    ledger: Ledger,
    agenda: Agenda<Due>,
    journal: Journal,
    /// Counts resets: what belongs to an earlier world is told by it.
    generation: u64,
    /// Number of the last postback made.
    postbacks: u64,
    /// Postbacks that are due, and those under way.
    outbox: Outbox,
}

/// What falls due.
#[derive(Debug)]
enum Due {
    /// The step with this index in the transaction's scenario.
    Step(Position, usize),
    /// Another attempt at a postback.
    Retry(Postback),
}

impl Gateway {
    /// A gateway in which nothing has happened.
    pub fn new(settings: Settings) -> Gateway {
        Gateway {
            ids: settings.ids.clone(),
            settings,
            ledger: Ledger::default(),
            agenda: Agenda::default(),
            journal: Journal::default(),
            generation: 0,
            postbacks: 0,
            outbox: Outbox::default(),
        }
    }

    /// The transactions.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What happened.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The number by which a cause of refusal is known under this profile.
    pub fn number(&self, code: ReturnCode) -> u16 {
        code.number(self.settings.rules.profile.codes)
    }

    /// How many steps and retries lie ahead.
    pub fn scheduled(&self) -> usize {
        self.agenda.len() + self.outbox.waiting()
    }

    /// Forgets everything; deliveries still under way belong to a world that is gone. Entries of the journal and
    /// postbacks are numbered on, so that whoever follows them misses nothing.
    pub fn reset(&mut self, now: Timestamp) {
        let (generation, postbacks) = (self.generation + 1, self.postbacks);
        let mut journal = std::mem::take(&mut self.journal);
        journal.clear();
        journal.add(now, Event::Reset);
        *self = Gateway { generation, postbacks, journal, ..Gateway::new(self.settings.clone()) };
    }

    /// Answers a call to the KPay endpoint.
    pub fn handle_call(&mut self, call: &Call<'_>, now: Timestamp) -> Answered {
        let message = match call.body {
            Body::Whole(body) => Message::parse(body),
            Body::TooLarge(_) => Err(String::new()),
        };
        match admit(call, &message, &self.settings.rules, &self.ledger) {
            Ok(Admitted::Pay(order, msisdn)) => self.pay(call, order, &msisdn, now),
            Ok(Admitted::CheckStatus { merchant, tid, refid }) => {
                self.check_status(call.peer, &merchant, &tid, &refid, now)
            }
            Err(refusal) => {
                let refid = message.as_ref().map(Message::refid_echo).unwrap_or_default();
                let authkey = self.ids.authkey();
                let table = self.settings.rules.profile.codes;
                let body = wire::refused(refusal.code, table, None, &authkey, "", &refid);
                let action = message.as_ref().map_or("", Message::action);
                let record = CallRecord { action, refid: refid.into(), ..self.refusal_record(call.peer, &refusal) };
                self.journal.add(now, Event::Call(Box::new(record)));
                Answered { body, refusal: Some(refusal) }
            }
        }
    }

    fn pay(&mut self, call: &Call<'_>, order: Order, msisdn: &Msisdn, now: Timestamp) -> Answered {
        let authkey = self.ids.authkey();
        let position = self.take_in(order, msisdn, now);
        let profile = &self.settings.rules.profile;
        let transaction = self.ledger.get(position);
        let scenario = Arc::clone(&transaction.scenario);
        let (body, refusal) = match &scenario.answer {
            Script::Accepted => {
                let blank = transaction.order.method == Method::Momo && profile.momo_url == MomoUrl::Blank;
                let url =
                    if blank { " ".into() } else { format!("https://{}/checkout/{}", call.host, transaction.checkout) };
                (wire::accepted(&url, &authkey, transaction), None)
            }
            Script::Settled(settlement) => {
                self.settle(position, settlement, now);
                (wire::settled_at_once(self.ledger.get(position)), None)
            }
            Script::Refused(refused) => {
                let code = refused.retcode.0;
                let statusmsg = refused.statusmsg.as_deref().filter(|_| profile.statusmsg);
                let order = &transaction.order;
                let body = wire::refused(code, profile.codes, statusmsg, &authkey, &transaction.tid, &order.refid);
                let settlement = Settlement {
                    statusid: "02".to_owned().try_into().expect("02 is a statusid"),
                    statusdesc: Some(code.reply(profile.codes).into()),
                };
                self.settle(position, &settlement, now);
                let why = refused.statusmsg.as_deref().unwrap_or(code.meaning());
                (body, Some(Refusal { code, reason: format!("scenario {}: {why}", scenario.name) }))
            }
        };
        self.record_payment(call.peer, position, refusal.clone(), now);
        self.schedule(position, 0, now);
        Answered { body, refusal }
    }

    /// Makes the transaction and gives it its script.
    fn take_in(&mut self, order: Order, msisdn: &Msisdn, now: Timestamp) -> Position {
        let (tid, checkout) = self.ids.transaction(self.settings.rules.profile.tid, now);
        let reserved_momtransactionid = self.ids.momtransactionid();
        let scenario = self.choose(msisdn);
        self.ledger.insert(Transaction {
            tid,
            checkout,
            order,
            scenario,
            created: now,
            outcome: None,
            reserved_momtransactionid,
        })
    }

    /// The first scenario that takes this payer, else `approve`.
    fn choose(&self, msisdn: &Msisdn) -> Arc<Scenario> {
        let scenarios = &self.settings.scenarios;
        let chosen = scenarios.iter().find(|scenario| scenario.takes(msisdn));
        let chosen = chosen.or_else(|| scenarios.iter().find(|scenario| &*scenario.name == "approve"));
        Arc::clone(chosen.expect("loading the scenarios made sure of approve"))
    }

    fn settle(&mut self, position: Position, settlement: &Settlement, now: Timestamp) {
        let profile = &self.settings.rules.profile;
        let transaction = self.ledger.get_mut(position);
        let momtransactionid = match profile.momtransactionid {
            MomTransactionIdForm::Number => transaction.reserved_momtransactionid.clone(),
            MomTransactionIdForm::Seconds => now.unix_seconds().to_string().into(),
        };
        transaction.settle(settlement, profile.text(settlement.statusid.as_str()), momtransactionid, now);
        if let Some(outcome) = &transaction.outcome {
            let (statusid, statusdesc) = (outcome.statusid.as_str().into(), outcome.statusdesc.clone());
            self.journal.add(now, Event::Settled { tid: transaction.tid.clone(), statusid, statusdesc });
        }
    }

    /// Puts the step down, after the one that happened at `now`.
    fn schedule(&mut self, position: Position, index: usize, now: Timestamp) {
        let Some(step) = self.ledger.get(position).scenario.steps.get(index) else {
            return;
        };
        let profile = &self.settings.rules.profile;
        let at = match (&step.after, &step.action) {
            (Some(span), _) => now.after(span.0),
            (None, Action::Settle(_)) => profile.settles.moment(now),
            (None, Action::Postback) => now.after(profile.posts_after.0),
        };
        self.agenda.put(at, Due::Step(position, index));
    }

    fn check_status(&mut self, peer: IpAddr, merchant: &str, tid: &str, refid: &str, now: Timestamp) -> Answered {
        let pending = self.settings.rules.profile.text("03");
        let ledger = &self.ledger;
        // Real clients send a right tid with a wrong refid, or their refid as the tid (O).
        let found = ledger.by_tid(merchant, tid).or_else(|| ledger.by_refid(merchant, refid));
        let found = found.or_else(|| ledger.by_refid(merchant, tid)).or_else(|| ledger.by_tid(merchant, refid));
        let Some(transaction) = found else {
            let reason = format!("{merchant} has no transaction with this tid or refid");
            let refusal = Refusal { code: ReturnCode::TransactionNotFound, reason };
            let record = CallRecord {
                action: "checkstatus",
                tid: tid.into(),
                refid: refid.into(),
                ..self.refusal_record(peer, &refusal)
            };
            self.journal.add(now, Event::Call(Box::new(record)));
            return Answered { body: wire::not_found(), refusal: Some(refusal) };
        };
        let body = wire::status(transaction, &pending);
        let (code, reply) = match &transaction.outcome {
            Some(outcome) => (outcome.statusid.as_str(), outcome.statusdesc.clone()),
            None => ("03", pending),
        };
        let record = CallRecord {
            action: "checkstatus",
            peer,
            refid: transaction.order.refid.clone(),
            tid: transaction.tid.clone(),
            summary: String::new(),
            code: code.into(),
            reply,
            scenario: None,
            refusal: None,
        };
        self.journal.add(now, Event::Call(Box::new(record)));
        Answered { body, refusal: None }
    }

    fn refusal_record(&self, peer: IpAddr, refusal: &Refusal) -> CallRecord {
        let table = self.settings.rules.profile.codes;
        CallRecord {
            action: "",
            peer,
            refid: Box::default(),
            tid: Box::default(),
            summary: String::new(),
            code: refusal.code.number(table).to_string().into(),
            reply: refusal.code.reply(table).into(),
            scenario: None,
            refusal: Some(refusal.clone()),
        }
    }

    fn record_payment(&mut self, peer: IpAddr, position: Position, refusal: Option<Refusal>, now: Timestamp) {
        let Transaction { tid, order, scenario, outcome, .. } = self.ledger.get(position);
        let (code, reply) = match (&refusal, outcome) {
            (Some(refusal), _) => {
                (self.number(refusal.code), refusal.code.reply(self.settings.rules.profile.codes).into())
            }
            (None, Some(outcome)) => (0, outcome.statusdesc.clone()),
            (None, None) => (0, "PENDING".into()),
        };
        let record = CallRecord {
            action: "pay",
            peer,
            refid: order.refid.clone(),
            tid: tid.clone(),
            summary: format!("{} {} {}", order.amount, order.currency, order.method.word()),
            code: code.to_string().into(),
            reply,
            scenario: Some(scenario.name.clone()),
            refusal,
        };
        self.journal.add(now, Event::Call(Box::new(record)));
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
                Due::Retry(postback) => self.outbox.put(postback),
                Due::Step(position, index) => self.perform(position, index, at),
            }
        }
        self.outbox.release()
    }

    fn perform(&mut self, position: Position, index: usize, at: Timestamp) {
        let scenario = Arc::clone(&self.ledger.get(position).scenario);
        match &scenario.steps[index].action {
            Action::Settle(settlement) => self.settle(position, settlement, at),
            Action::Postback => {
                self.postbacks += 1;
                let profile = &self.settings.rules.profile;
                let transaction = self.ledger.get(position);
                self.outbox.put(Postback {
                    number: self.postbacks,
                    generation: self.generation,
                    tid: transaction.tid.clone(),
                    refid: transaction.order.refid.clone(),
                    attempt: 1,
                    target: transaction.order.returl.clone(),
                    content_type: profile.postback_content_type.clone(),
                    body: wire::postback(transaction, profile.postback_fields, &profile.text("03")),
                });
            }
        }
        self.schedule(position, index + 1, at);
    }

    /// Takes note of a delivery, and puts another attempt down where that is wanted: after 1 s, 2 s, 4 s …
    pub fn handle_delivery(&mut self, delivery: Delivery, now: Timestamp) {
        if delivery.postback.generation != self.generation || !self.outbox.take_back(&delivery.postback.tid) {
            return;
        }
        let attempt = delivery.postback.attempt;
        if attempt <= self.settings.retries && delivery.wants_retry() {
            self.postbacks += 1;
            let pause = Duration::from_secs(1 << (attempt - 1).min(16));
            let again = Postback { number: self.postbacks, attempt: attempt + 1, ..delivery.postback.clone() };
            self.agenda.put(now.after(pause), Due::Retry(again));
        }
        self.journal.add(now, Event::Delivery(Arc::new(delivery)));
    }

    /// Takes note of a connection that failed before there was a call.
    pub fn handle_connection_failure(&mut self, peer: IpAddr, problem: String, now: Timestamp) {
        self.journal.add(now, Event::ConnectionFailed { peer, problem });
    }
}
