//! A gateway alone, with a seed and a clock that the test moves: no sockets, no waiting.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kpay_sandbox::fixtures::Fixtures;
use kpay_sandbox::gateway::admission::Rules;
use kpay_sandbox::gateway::call::{Answered, Body, Call, Credentials};
use kpay_sandbox::gateway::ids::Ids;
use kpay_sandbox::gateway::journal::Entry;
use kpay_sandbox::gateway::merchant::Accounts;
use kpay_sandbox::gateway::postback::{Answer, Delivery, Postback};
use kpay_sandbox::gateway::profile::Profiles;
use kpay_sandbox::gateway::{Gateway, Settings, Timestamp};
use serde_json::{Value, json};

pub(crate) struct Core {
    pub(crate) gateway: Gateway,
    pub(crate) now: Timestamp,
}

impl Core {
    pub(crate) fn new(profile: &str) -> Core {
        Core::with_retries(profile, 0)
    }

    pub(crate) fn with_retries(profile: &str, retries: u32) -> Core {
        Core::with(profile, |settings| settings.retries = retries)
    }

    pub(crate) fn with(profile: &str, change: impl FnOnce(&mut Settings)) -> Core {
        let fixtures = Fixtures::load(None).expect("the built-in fixtures are sound");
        let profiles = Profiles::new(fixtures.profiles, profile).expect("it is built in");
        let mut accounts = Accounts::default();
        fixtures.merchants.into_iter().for_each(|merchant| accounts.put(merchant, &profiles).expect("it is sound"));
        let mut settings = Settings {
            rules: Rules { profiles, accounts, banks: fixtures.banks, cards: fixtures.cards },
            repertoire: fixtures.repertoire,
            scenario: None,
            chaos: 0.0,
            open: None,
            retries: 0,
            ids: Ids::new(1, false),
            disorder_seed: 1,
        };
        change(&mut settings);
        Core { gateway: Gateway::new(settings), now: Timestamp::from_unix_seconds(1_769_860_805) }
    }

    /// Sends the bytes of a recorded delivery again; the number of the new postback.
    pub(crate) fn replay(&mut self, number: u64) -> u64 {
        let recorded = self.gateway.journal().deliveries().find(|delivery| delivery.postback.number == number);
        let recorded = Arc::clone(recorded.expect("it was recorded"));
        self.gateway.replay(&recorded).expect("its payment is there")
    }

    /// A call as the default merchant would make it.
    pub(crate) fn call(&mut self, body: &str) -> Answered {
        self.call_with(|_| {}, body.as_bytes())
    }

    pub(crate) fn call_with(&mut self, change: impl FnOnce(&mut Call<'_>), body: &[u8]) -> Answered {
        let mut call = good_call(body);
        change(&mut call);
        self.gateway.handle_call(&call, self.now)
    }

    /// The state as it is saved.
    pub(crate) fn saved(&self) -> String {
        let mut text = Vec::new();
        kpay_sandbox::saved::write(&self.gateway.snapshot(self.now), (), &mut text).expect("memory takes it");
        String::from_utf8(text).expect("JSON is text")
    }

    /// The same as a value, for comparisons: in its maps the order counts for nothing.
    pub(crate) fn saved_value(&self) -> Value {
        serde_json::from_str(&self.saved()).expect("it is JSON")
    }

    pub(crate) fn restore(&mut self, saved: &str) -> Result<(), String> {
        let read = kpay_sandbox::saved::read(self.gateway.settings(), saved.as_bytes());
        let (now, gateway) = read.map_err(|error| error.to_string())?;
        self.gateway.replace(gateway);
        self.now = now;
        Ok(())
    }

    /// Saves and restores, as if the program was started again.
    pub(crate) fn carry_over(&mut self) {
        let saved = self.saved();
        self.restore(&saved).expect("what was saved can be restored");
    }

    pub(crate) fn pay(&mut self, change: impl FnOnce(&mut Value)) -> Value {
        let mut body = good_pay();
        change(&mut body);
        let answered = self.call(&body.to_string());
        serde_json::from_slice(&answered.body).expect("answers are JSON")
    }

    pub(crate) fn check_status(&mut self, tid: &str, refid: &str) -> Value {
        let body = json!({ "action": "checkstatus", "tid": tid, "refid": refid });
        serde_json::from_slice(&self.call(&body.to_string()).body).expect("answers are JSON")
    }

    /// Moves time on, from due moment to due moment, with a listener that acknowledges everything.
    pub(crate) fn advance(&mut self, span: Duration) -> Vec<(Timestamp, Postback)> {
        self.advance_with(span, acknowledge)
    }

    pub(crate) fn advance_with(
        &mut self,
        span: Duration,
        listener: impl Fn(&Postback) -> Delivery,
    ) -> Vec<(Timestamp, Postback)> {
        let target = self.now.after(span);
        let mut posted = Vec::new();
        while let Some(due) = self.gateway.next_due().filter(|due| *due <= target) {
            self.now = self.now.max(due);
            for postback in self.gateway.take_due(self.now) {
                self.gateway.handle_delivery(listener(&postback), self.now);
                posted.push((self.now, postback));
            }
        }
        self.now = target;
        posted
    }
}

pub(crate) fn good_call(body: &[u8]) -> Call<'_> {
    Call {
        method: "POST",
        secure: true,
        peer: IpAddr::from([127, 0, 0, 1]),
        credentials: Ok(Credentials { username: "your_username".into(), password: "your_password".into() }),
        key: Some("your_api_key"),
        scenario: None,
        host: "pay.esicia.com",
        announced: ["https://", "pay.esicia.com"],
        head: b"POST /\n",
        body: Body::Whole(body),
    }
}

/// The guide's sample request, as an object to change.
pub(crate) fn good_pay() -> Value {
    json!({
        "action": "pay", "msisdn": "0783300000", "email": "customer@example.rw", "details": "order",
        "refid": "ORDER-1", "amount": 5000, "currency": "RWF", "cname": "Jane Customer", "cnumber": "CUST-1",
        "pmethod": "momo", "retailerid": "02", "returl": "http://localhost:3000/postback",
        "redirecturl": "https://shop.example/thanks", "bankid": "63510"
    })
}

pub(crate) fn acknowledge(postback: &Postback) -> Delivery {
    let body = json!({ "tid": postback.tid, "refid": postback.refid, "reply": "OK" });
    answered(postback, 200, &body.to_string())
}

pub(crate) fn answered(postback: &Postback, status: u16, body: &str) -> Delivery {
    let answer = Answer { status, headers: Vec::new(), body: body.into(), cut: false };
    Delivery {
        postback: postback.clone(),
        url: postback.target.to_string(),
        headers: Vec::new(),
        outcome: Ok(answer),
        took: Duration::ZERO,
    }
}

/// An entry's line in the text log; empty when it has none.
pub(crate) fn line_of(entry: &Entry) -> String {
    let mut line = String::new();
    kpay_sandbox::view::write_line(entry, &mut line);
    line
}
