//! What leaves: answers, postbacks, and how a listener's answer is read.

use serde::Serialize;

use super::super::profile::PostbackFields;
use super::super::return_code::{CodeTable, ReturnCode};
use super::super::transaction::Transaction;
use super::super::values::excerpt;

/// `pay`, accepted (D).
pub fn accepted(url: &str, authkey: &str, transaction: &Transaction) -> Vec<u8> {
    #[derive(Serialize)]
    struct Accepted<'a> {
        reply: &'static str,
        url: &'a str,
        success: u8,
        authkey: &'a str,
        tid: &'a str,
        refid: &'a str,
        retcode: u16,
    }
    let (tid, refid) = (&transaction.tid, &transaction.order.refid);
    json(&Accepted { reply: "PENDING", url, success: 1, authkey, tid, refid, retcode: 0 })
}

/// `pay`, refused (D; `statusmsg` O). The tid is empty when no transaction came to exist (A).
pub fn refused(
    code: ReturnCode,
    table: CodeTable,
    statusmsg: Option<&str>,
    authkey: &str,
    tid: &str,
    refid: &str,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Refused<'a> {
        reply: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        statusmsg: Option<&'a str>,
        url: &'static str,
        success: u8,
        authkey: &'a str,
        tid: &'a str,
        refid: &'a str,
        retcode: u16,
    }
    json(&Refused {
        reply: code.reply(table),
        statusmsg,
        url: " ",
        success: 0,
        authkey,
        tid,
        refid,
        retcode: code.number(table),
    })
}

/// `pay`, settled at once (D).
pub fn settled_at_once(transaction: &Transaction) -> Vec<u8> {
    #[derive(Serialize)]
    struct Settled<'a> {
        tid: &'a str,
        refid: &'a str,
        momtransactionid: &'a str,
        statusdesc: &'a str,
        statusid: &'a str,
        retcode: u16,
    }
    let now = State::of(transaction, "");
    json(&Settled {
        tid: &transaction.tid,
        refid: &transaction.order.refid,
        momtransactionid: now.momtransactionid,
        statusdesc: now.statusdesc,
        statusid: now.statusid,
        retcode: 0,
    })
}

/// Where a transaction stands, in KPay's words.
struct State<'a> {
    statusid: &'a str,
    statusdesc: &'a str,
    momtransactionid: &'a str,
    payaccount: Option<&'a str>,
}

impl<'a> State<'a> {
    fn of(transaction: &'a Transaction, pending: &'a str) -> State<'a> {
        match &transaction.outcome {
            None => State { statusid: "03", statusdesc: pending, momtransactionid: "", payaccount: None },
            Some(outcome) => State {
                statusid: outcome.statusid.as_str(),
                statusdesc: &outcome.statusdesc,
                momtransactionid: &outcome.momtransactionid,
                payaccount: (outcome.statusid.as_str() == "01").then_some(&*transaction.order.msisdn),
            },
        }
    }
}

/// The postback's data in the guide's order (D), which is also `checkstatus`'s answer.
#[derive(Serialize)]
struct Documented<'a> {
    tid: &'a str,
    refid: &'a str,
    momtransactionid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payaccount: Option<&'a str>,
    statusid: &'a str,
    statusdesc: &'a str,
}

/// `checkstatus`; `pending` are the words for a payment that is (O: they contain "Pending").
pub fn status(transaction: &Transaction, pending: &str) -> Vec<u8> {
    let State { statusid, statusdesc, momtransactionid, payaccount } = State::of(transaction, pending);
    let (tid, refid) = (&transaction.tid, &transaction.order.refid);
    json(&Documented { tid, refid, momtransactionid, payaccount, statusid, statusdesc })
}

/// `checkstatus` of what is not there (D).
pub fn not_found() -> Vec<u8> {
    let (tid, refid, momtransactionid) = ("", "", "");
    json(&Documented {
        tid,
        refid,
        momtransactionid,
        payaccount: None,
        statusid: "611",
        statusdesc: "Transaction not found",
    })
}

/// A postback's body.
pub fn postback(transaction: &Transaction, fields: PostbackFields, pending: &str) -> Box<str> {
    #[derive(Serialize)]
    struct Observed<'a> {
        tid: &'a str,
        refid: &'a str,
        momtransactionid: &'a str,
        statusdesc: &'a str,
        statusid: &'a str,
    }
    let body = match fields {
        PostbackFields::Documented => status(transaction, pending),
        PostbackFields::Observed => {
            let State { statusid, statusdesc, momtransactionid, .. } = State::of(transaction, pending);
            let (tid, refid) = (&transaction.tid, &transaction.order.refid);
            json(&Observed { tid, refid, momtransactionid, statusdesc, statusid })
        }
    };
    String::from_utf8(body).expect("serde_json writes UTF-8").into()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a struct of strings and numbers always serialises")
}

/// What is wrong with a listener's answer; `None` when it is what the guide asks for (D).
pub fn acknowledgement_complaint(body: &[u8], tid: &str, refid: &str) -> Option<String> {
    let wanted = || format!(r#"the guide asks for {{"tid":"{tid}","refid":"{refid}","reply":"OK"}}"#);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Some(format!("answered with an empty body; {}", wanted()));
    }
    let Ok(serde_json::Value::Object(answer)) = serde_json::from_slice(body) else {
        return Some(format!(
            "answered {:?}, which is not a JSON object; {}",
            excerpt(&String::from_utf8_lossy(body)),
            wanted()
        ));
    };
    for (name, expected) in [("tid", tid), ("refid", refid), ("reply", "OK")] {
        match answer.get(name) {
            Some(serde_json::Value::String(value)) if value == expected => {}
            Some(value) => {
                return Some(format!("answered {name} {}; {}", excerpt(&value.to_string()), wanted()));
            }
            None => return Some(format!("answered without {name}; {}", wanted())),
        }
    }
    None
}
