//! `pay`: an admitted order becomes a transaction that follows a script, or is refused by one.

use std::sync::Arc;

use compact_str::{CompactString, ToCompactString};

use super::call::{Answered, Call, Refusal};
use super::choice::{Choice, Question};
use super::journal::{Action, CallRecord, Decision as Chosen, Event};
use super::ledger::Position;
use super::merchant::Account;
use super::method::Method;
use super::profile::{MomoUrl, Profile};
use super::scenario::{Decision, Scenario, ScriptedRefusal, Settlement, Wait};
use super::timestamp::Timestamp;
use super::transaction::{Asked, Order, Progress, Transaction};
use super::values::Msisdn;
use super::wire::{self, Message};
use super::{Due, Gateway, Ticket};

impl Gateway {
    pub(super) fn pay(
        &mut self,
        call: &Call<'_>,
        message: &Message<'_>,
        account: &Arc<Account>,
        (order, hint): (Order, Option<String>),
        payer: &Msisdn,
        now: Timestamp,
    ) -> Answered {
        let question = Question {
            merchant: &account.merchant,
            profile: &account.profile,
            method: order.method,
            payer,
            message,
            header: call.scenario,
            setting: self.settings.scenario.as_deref(),
            chaos: (self.settings.chaos > 0.0).then_some((self.settings.chaos, &mut self.disorder)),
        };
        let (scenario, choice) = self.chooser.choose(&self.repertoire, question);
        if let Decision::Refused(refused) = &scenario.answer.decision
            && !refused.retcode.code(account.profile.codes).is_processors()
        {
            return self.refuse_by_script((call, message), account, &order, (&scenario, choice), refused, now);
        }
        let authkey = self.ids.authkey();
        let position = self.take_in(order, &account.profile, Arc::clone(&scenario), choice, now);
        let (body, refusal) = self.decide(position, &scenario, call.announced, &authkey, now);
        let transaction = self.transaction(position);
        let tid = transaction.tid.clone();
        let body = wire::with_fields(body, &scenario.answer.fields, transaction);
        let mut record = payment_record((call, message), &transaction.order, (&scenario, choice));
        record.tid.clone_from(&tid);
        (record.code, record.reply) = match (&refusal, &transaction.outcome) {
            (Some(refusal), _) => {
                let table = account.profile.codes;
                (refusal.code.number(table).to_compact_string(), refusal.code.reply(table).into())
            }
            (None, Some(outcome)) => ("0".into(), CompactString::from(&*outcome.statusdesc)),
            (None, None) => ("0".into(), "PENDING".into()),
        };
        record.refusal.clone_from(&refusal);
        record.hint = hint.as_deref().map(Into::into);
        let ticket = scenario.answer.wait.map(|wait| self.keep_back(&account.merchant.username, &tid, wait, now));
        self.journal.add(now, Event::Call(Arc::new(record)));
        self.schedule(position, now);
        Answered { refusal, hint, fault: scenario.answer.fault.clone(), ticket, ..Answered::new(body) }
    }

    /// What the script answers, and what that makes of the transaction.
    fn decide(
        &mut self,
        position: Position,
        scenario: &Scenario,
        [scheme, host]: [&str; 2],
        authkey: &str,
        now: Timestamp,
    ) -> (Vec<u8>, Option<Refusal>) {
        match &scenario.answer.decision {
            Decision::Accepted => {
                let transaction = self.transaction(position);
                let blank = transaction.order.method == Method::Momo && transaction.profile.momo_url == MomoUrl::Blank;
                let page = [scheme, host, "/checkout/", &*transaction.checkout];
                (wire::accepted(if blank { &[" "] } else { &page }, authkey, transaction), None)
            }
            Decision::Settled(settlement) => {
                self.settle(position, settlement, false, now);
                (wire::settled_at_once(self.transaction(position)), None)
            }
            Decision::Refused(refused) => {
                let transaction = self.transaction(position);
                let profile = &transaction.profile;
                let refusal = scripted_refusal(scenario, refused, profile);
                let code = refusal.code;
                let statusmsg = refused.statusmsg.as_deref().filter(|_| profile.statusmsg);
                let (tid, refid) = (&transaction.tid, &transaction.order.refid);
                let body = wire::refused(code, profile.codes, statusmsg, authkey, tid, refid);
                let settlement = Settlement::failed(Some(code.reply(profile.codes).into()));
                self.settle(position, &settlement, false, now);
                (body, Some(refusal))
            }
        }
    }

    /// A transaction that is there: positions of forgotten ones never come this far.
    pub(super) fn transaction(&self, position: Position) -> &Transaction {
        self.ledger.get(position).expect("it was just taken in or found")
    }

    /// Refused as if a check had: no transaction comes to exist, and the refid stays free.
    fn refuse_by_script(
        &mut self,
        (call, message): (&Call<'_>, &Message<'_>),
        account: &Account,
        order: &Order,
        chosen: (&Scenario, Choice),
        refused: &ScriptedRefusal,
        now: Timestamp,
    ) -> Answered {
        let scenario = chosen.0;
        let refusal = scripted_refusal(scenario, refused, &account.profile);
        let (code, table) = (refusal.code, account.profile.codes);
        let statusmsg = refused.statusmsg.as_deref().filter(|_| account.profile.statusmsg);
        let body = wire::refused(code, table, statusmsg, &self.ids.authkey(), "", &order.refid);
        let body = wire::with_order_placeholders(order, |own| wire::changed(body, &scenario.answer.fields, own));
        let record = payment_record((call, message), order, chosen).refused(&refusal, table);
        let ticket = scenario.answer.wait.map(|wait| self.keep_back(&order.merchant, "", wait, now));
        self.journal.add(now, Event::Call(Arc::new(record)));
        Answered { refusal: Some(refusal), fault: scenario.answer.fault.clone(), ticket, ..Answered::new(body) }
    }

    /// Makes the transaction.
    fn take_in(
        &mut self,
        order: Order,
        profile: &Arc<Profile>,
        scenario: Arc<Scenario>,
        choice: Choice,
        now: Timestamp,
    ) -> Position {
        let (tid, checkout) = self.ids.transaction(profile.tid, now);
        self.ledger.insert(Transaction {
            tid,
            checkout,
            order,
            profile: Arc::clone(profile),
            scenario,
            choice,
            created: now,
            outcome: None,
            answer: None,
            reserved_momtransactionid: self.ids.momtransactionid(),
            progress: Progress::default(),
            asked: Asked { phase: 0, since: now, calls: 0 },
        })
    }

    /// Keeps an answer back.
    pub(super) fn keep_back(&mut self, merchant: &Arc<str>, tid: &str, wait: Wait, now: Timestamp) -> u64 {
        self.last_ticket += 1;
        let until_postback = wait == Wait::Postback;
        let ticket = Ticket { merchant: Arc::clone(merchant), tid: tid.into(), until_postback };
        self.tickets.insert(self.last_ticket, ticket);
        if let Wait::For(span) = wait {
            self.agenda.put(now.after(span.0), Due::Release(self.last_ticket));
        }
        self.last_ticket
    }

    /// Lets an answer go that was kept back.
    pub(super) fn release(&mut self, ticket: u64, now: Timestamp) {
        if let Some(Ticket { merchant, tid, .. }) = self.tickets.remove(&ticket) {
            self.released.push(ticket);
            self.journal.add(now, Event::Released { merchant, tid });
        }
    }
}

fn scripted_refusal(scenario: &Scenario, refused: &ScriptedRefusal, profile: &Profile) -> Refusal {
    let code = refused.retcode.code(profile.codes);
    let why = refused.statusmsg.as_deref().unwrap_or(code.meaning());
    Refusal::scripted(code, format!("scenario {}: {why}", scenario.name))
}

fn payment_record(
    (call, message): (&Call<'_>, &Message<'_>),
    order: &Order,
    (scenario, choice): (&Scenario, Choice),
) -> CallRecord {
    let mut record = CallRecord::new(call, Some(message));
    record.action = Action::Pay;
    record.merchant = Some(Arc::clone(&order.merchant));
    record.refid.clone_from(&order.refid);
    record.msisdn.clone_from(&order.msisdn);
    record.summary = order.amount.in_words();
    for word in [order.currency.word(), order.method.word()] {
        record.summary.extend([" ", word]);
    }
    record.decision = Some(Chosen { scenario: scenario.name.clone(), grade: scenario.grade, choice });
    record.fault = scenario.answer.fault.as_ref().map_or_else(Default::default, |fault| fault.word().into());
    record
}
