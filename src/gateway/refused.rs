//! Calls, requests and connections that are refused before there is a transaction.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::call::{Answered, Call, Refusal};
use super::journal::{Action, CallRecord, Event};
use super::merchant::Account;
use super::timestamp::Timestamp;
use super::values::excerpt;
use super::wire::{self, Message, Param};
use super::{Gateway, masking};

impl Gateway {
    /// Refuses a call before there is a transaction.
    pub(super) fn refuse(
        &mut self,
        call: &Call<'_>,
        account: Option<&Arc<Account>>,
        message: Option<&Message<'_>>,
        refusal: Refusal,
        now: Timestamp,
    ) -> Answered {
        let refid = message.map(Message::refid_echo).unwrap_or_default();
        let authkey = self.ids.authkey();
        let table = account.map_or(self.rules.profiles.default(), |account| &account.profile).codes;
        let body = wire::refused(refusal.code, table, None, &authkey, "", &refid);
        let action = message.map_or(Action::Unknown, Message::action);
        let tid =
            message.filter(|_| action == Action::CheckStatus).and_then(|message| message.text(Param::Tid).ok()?);
        self.journal.add(
            now,
            Event::Call(Arc::new(CallRecord {
                action,
                merchant: account.map(|account| Arc::clone(&account.merchant.username)),
                refid: refid.into(),
                tid: tid.map(|tid| masking::text(&tid).as_ref().into()).unwrap_or_default(),
                code: refusal.code.number(table).to_string().into(),
                reply: refusal.code.reply(table).into(),
                refusal: Some(refusal.clone()),
                ..CallRecord::new(call, message)
            })),
        );
        Answered { refusal: Some(refusal), ..Answered::new(body) }
    }

    /// Takes note of a connection that failed before there was a call.
    pub fn handle_connection_failure(&mut self, peer: IpAddr, problem: String, now: Timestamp) {
        let problem = masking::text(&problem).into_owned();
        self.journal.add(now, Event::ConnectionFailed { peer, problem });
    }

    /// Records a request that was refused before anything read it: its method and path, and why. One that is repeated is
    /// recorded a few times only.
    pub fn handle_refused_request(
        &mut self,
        (peer, host): (IpAddr, &str),
        request: &str,
        problem: String,
        now: Timestamp,
    ) {
        let host = excerpt(&masking::text(host)).into();
        let request = excerpt(&masking::text(request));
        let mut problem = masking::text(&problem).into_owned();
        match self.repeats.count(&[&*request, &*problem].concat()) {
            Recorded::Yes => {}
            Recorded::Last => problem.push_str(LAST),
            Recorded::No => return,
        }
        let request = request.into();
        self.journal.add(now, Event::RequestRefused { peer, host, request, problem });
    }
}

/// Counts the refused requests that were recorded.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<Box<str>, u32>);

/// What the last entry of a repeated request says.
pub(super) const LAST: &str = ". Further requests like this are not recorded";

/// How many entries one request gets.
const SAME: u32 = 10;
/// How many different requests are counted by themselves; all others are counted together.
const DIFFERENT: usize = 100;

/// How a request is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// In an entry of its own.
    Yes,
    /// In the last entry that this request gets.
    Last,
    /// Not at all.
    No,
}

impl Repeats {
    /// Counts a request and tells how it is recorded.
    fn count(&mut self, request: &str) -> Recorded {
        let is_own = self.0.len() < DIFFERENT || self.0.contains_key(request);
        let count = self.0.entry(if is_own { request } else { "" }.into()).or_default();
        *count = count.saturating_add(1);
        match (*count).cmp(&SAME) {
            Ordering::Less => Recorded::Yes,
            Ordering::Equal => Recorded::Last,
            Ordering::Greater => Recorded::No,
        }
    }
}
