//! `checkstatus`: the truth, or what the script tells instead.

use std::sync::Arc;

use super::Gateway;
use super::call::{Answered, Call, Refusal};
use super::journal::{Action, CallRecord, Event, Journal};
use super::ledger::{Ledger, Position};
use super::masking;
use super::merchant::Account;
use super::return_code::ReturnCode;
use super::scenario::{Phase, Since, Wait};
use super::system::System;
use super::timestamp::Timestamp;
use super::transaction::Transaction;
use super::values::excerpt;
use super::wire::{self, Message, Told};

impl Gateway {
    pub(super) fn check_status(
        &mut self,
        call: &Call<'_>,
        message: Option<&Message<'_>>,
        account: &Account,
        tid: &str,
        refid: &str,
        now: Timestamp,
    ) -> Answered {
        let merchant = &account.merchant.username;
        let record = CallRecord {
            action: Action::CheckStatus,
            merchant: Some(Arc::clone(merchant)),
            refid: refid.into(),
            // Until a payment is found, it may be anything.
            tid: masking::text(tid).into(),
            ..CallRecord::new(call, message)
        };
        let system = call.system();
        let Some(position) = find(&self.ledger, merchant, system, tid, refid) else {
            let refusal = self.no_such_payment(merchant, system, tid, refid);
            return self.not_found(account, refusal, record, now);
        };
        let phase = self.ledger.get_mut(position).and_then(|transaction| transaction.ask(now));
        let transaction = self.transaction(position);
        let scenario = Arc::clone(&transaction.scenario);
        let phase = phase.map(|index| &scenario.checkstatus[index]);
        let (refid, tid) = (transaction.order.refid.clone(), transaction.tid.clone());
        let fault = phase.and_then(|phase| phase.fault.clone());
        let word = fault.as_ref().map_or_else(Default::default, |fault| fault.word().into());
        let record = CallRecord { refid, tid, fault: word, ..record };
        let mut answered = match phase.and_then(|phase| phase.refused.as_ref()) {
            Some(refused) if refused.retcode.code(account.profile.codes) == ReturnCode::TransactionNotFound => {
                let reason = format!("scenario {}: not found yet", scenario.name);
                self.not_found(account, Refusal::scripted(ReturnCode::TransactionNotFound, reason), record, now)
            }
            Some(refused) => {
                let table = account.profile.codes;
                let code = refused.retcode.code(table);
                let reason = format!("scenario {}: {}", scenario.name, code.meaning());
                let refusal = Refusal::scripted(code, reason);
                let statusmsg = refused.statusmsg.as_deref().filter(|_| account.profile.statusmsg);
                let body = wire::refused(code, table, statusmsg, &self.ids.authkey(), &record.tid, &record.refid);
                self.journal.add(now, Event::Call(Arc::new(record.refused(&refusal, table))));
                Answered { refusal: Some(refusal), ..Answered::new(body) }
            }
            None => self.tell_status(position, phase, record, now),
        };
        let Some(phase) = phase else { return answered };
        let transaction = self.transaction(position);
        let (merchant, tid) = (Arc::clone(merchant), transaction.tid.clone());
        answered.body = wire::with_fields(answered.body, &phase.fields, transaction);
        answered.ticket = phase.wait.map(|span| self.keep_back(&merchant, &tid, Wait::For(span), now));
        Answered { fault, ..answered }
    }

    fn tell_status(
        &mut self,
        position: Position,
        phase: Option<&Phase>,
        record: CallRecord,
        now: Timestamp,
    ) -> Answered {
        let transaction = self.transaction(position);
        let told = Told::of(transaction, phase.and_then(|phase| phase.status.as_ref()));
        let body = wire::status(transaction, told);
        let record = CallRecord { code: told.statusid.into(), reply: told.statusdesc.into(), ..record };
        self.journal.add(now, Event::Call(Arc::new(record)));
        Answered::new(body)
    }

    /// Returns the refusal for what is not there, with what the caller may have meant.
    fn no_such_payment(&self, merchant: &str, system: System, tid: &str, refid: &str) -> Refusal {
        let why = format!("{merchant} has no transaction with this tid or refid");
        let mut refusal = Refusal::new(ReturnCode::TransactionNotFound, why);
        let other = System::ALL.into_iter().find(|other| find(&self.ledger, merchant, *other, tid, refid).is_some());
        if let Some(other) = other {
            refusal.add(&format!(
                "The payment was made at {}, and this request is for {}, which is another system",
                other.host(),
                system.host()
            ));
        } else if let Some(pay) = refused_pay(&self.journal, merchant, [refid, tid]) {
            refusal.add(&format!("The pay with refid '{}' was refused with {}", excerpt(&pay.refid), pay.code));
        }
        refusal
    }

    fn not_found(&mut self, account: &Account, refusal: Refusal, record: CallRecord, now: Timestamp) -> Answered {
        let record = record.refused(&refusal, account.profile.codes);
        self.journal.add(now, Event::Call(Arc::new(record)));
        Answered { refusal: Some(refusal), ..Answered::new(wire::not_found()) }
    }
}

/// Returns the newest of the last entries that is a refused `pay` of a merchant with one of these references.
fn refused_pay<'a>(journal: &'a Journal, merchant: &str, references: [&str; 2]) -> Option<&'a CallRecord> {
    const LOOK: usize = 1000;
    journal.before(u64::MAX).take(LOOK).find_map(|entry| match &entry.event {
        Event::Call(call) if call.action == Action::Pay && call.refusal.is_some() => {
            let is_own = call.merchant.as_deref() == Some(merchant);
            let is_named = !call.refid.is_empty() && references.contains(&&*call.refid);
            (is_own && is_named).then_some(&**call)
        }
        _ => None,
    })
}

/// Real clients send a right tid with a wrong refid, or their refid as the tid (O).
fn find(ledger: &Ledger, merchant: &str, system: System, tid: &str, refid: &str) -> Option<Position> {
    let by_tid = |tid| {
        let found = ledger.by_tid(merchant, tid).filter(|found| found.order.system == system)?;
        ledger.position(&found.tid)
    };
    let by_refid = |refid| ledger.position_by_refid(merchant, system, refid);
    by_tid(tid).or_else(|| by_refid(refid)).or_else(|| by_refid(tid)).or_else(|| by_tid(refid))
}

impl Transaction {
    /// Counts a call and tells which phase of its script answers it; `None` when the truth does.
    fn ask(&mut self, now: Timestamp) -> Option<usize> {
        loop {
            let phase = self.scenario.checkstatus.get(self.asked.phase as usize)?;
            let end = phase.span.and_then(|span| match phase.since {
                Since::Before => Some(self.asked.since.after(span.0)),
                Since::Settled => self.outcome.as_ref().map(|outcome| outcome.first_at.after(span.0)),
            });
            let asked_enough = phase.calls.is_some_and(|calls| self.asked.calls >= calls);
            if !asked_enough && end.is_none_or(|end| now < end) {
                self.asked.calls += 1;
                return Some(self.asked.phase as usize);
            }
            self.asked.phase += 1;
            (self.asked.since, self.asked.calls) = (end.unwrap_or(now), 0);
        }
    }
}
