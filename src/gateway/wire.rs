//! KPay's JSON, both ways: the only file that knows its field names.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as DeserializeDerive, Serialize};
use serde_json::value::RawValue;

use super::profile::PostbackFields;
use super::return_code::{CodeTable, ReturnCode};
use super::transaction::{Transaction, excerpt};

/// Every parameter that KPay knows, in the guide's order (D).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is KPay's own word, explained in `meaning`")]
pub enum Param {
    Action,
    Msisdn,
    Email,
    Details,
    Refid,
    Amount,
    Currency,
    Cname,
    Cnumber,
    Pmethod,
    Retailerid,
    Returl,
    Redirecturl,
    Bankid,
    Logourl,
    Tid,
}

impl Param {
    /// All of them.
    pub const ALL: [Param; 16] = [
        Param::Action,
        Param::Msisdn,
        Param::Email,
        Param::Details,
        Param::Refid,
        Param::Amount,
        Param::Currency,
        Param::Cname,
        Param::Cnumber,
        Param::Pmethod,
        Param::Retailerid,
        Param::Returl,
        Param::Redirecturl,
        Param::Bankid,
        Param::Logourl,
        Param::Tid,
    ];

    /// Its name on the wire and what it holds.
    fn row(self) -> (&'static str, &'static str) {
        match self {
            Param::Action => ("action", "`pay` (also when left out) or `checkstatus`"),
            Param::Msisdn => ("msisdn", "the payer's number: `07XXXXXXXX`, `2507XXXXXXXX`, `+` and blanks allowed"),
            Param::Email => ("email", "the payer's address"),
            Param::Details => ("details", "what is paid for"),
            Param::Refid => ("refid", "your reference, used once; a string, or a number of digits, echoed unchanged"),
            Param::Amount => ("amount", "a positive number or numeric string, at most two decimals"),
            Param::Currency => ("currency", "`RWF` (also when left out) or `USD`"),
            Param::Cname => ("cname", "the payer's name"),
            Param::Cnumber => ("cnumber", "your number for the payer"),
            Param::Pmethod => ("pmethod", "`cc`, `momo`, `bank`, `spenn` or `smartcash`"),
            Param::Retailerid => ("retailerid", "your retailer id, string or number"),
            Param::Returl => ("returl", "where the postback goes; without a scheme it is taken as http"),
            Param::Redirecturl => ("redirecturl", "where the payer's browser goes in the end"),
            Param::Bankid => ("bankid", "a bank's id; optional under `observed` and `portal`"),
            Param::Logourl => ("logourl", "a picture for the checkout page"),
            Param::Tid => ("tid", "KPay's id, for `checkstatus`"),
        }
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it holds.
    pub fn meaning(self) -> &'static str {
        self.row().1
    }
}

/// How many parameters one message may have.
const PARAMETER_LIMIT: usize = 256;

/// A request's parameters, not yet interpreted. Values stay the text they were sent as: a number of 16
/// digits must come back digit for digit, which no float could do.
#[derive(Debug)]
pub struct Message<'a> {
    known: [Option<&'a RawValue>; Param::ALL.len()],
    extra: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Message<'a> {
    /// Reads a body; the error says what is wrong with it.
    pub fn parse(body: &'a [u8]) -> Result<Message<'a>, String> {
        let text = std::str::from_utf8(body)
            .map_err(|error| format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to()))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        match text.as_bytes().first() {
            None => return Err("the body is empty: send a JSON object".into()),
            Some(b'{') => {}
            Some(b'[') => return Err("the body is a JSON array: send the object itself".into()),
            Some(b'"') => {
                return Err("the body is a JSON string: send the object itself, encoded once".into());
            }
            Some(_) if text.contains('=') => {
                return Err("the body is a form, not JSON: send the JSON itself as the body".into());
            }
            Some(_) => return Err("the body is not a JSON object".into()),
        }
        let message: Message =
            serde_json::from_str(text).map_err(|error| format!("the body is not usable JSON: {error}"))?;
        for (name, value) in &message.extra {
            // A raw value is read without a limit to its nesting; a parsed one has serde_json's, 128.
            if value.get().starts_with(['[', '{']) && serde_json::from_str::<serde_json::Value>(value.get()).is_err() {
                return Err(format!("{}: nested too deeply", excerpt(name)));
            }
        }
        Ok(message)
    }

    /// A parameter as text; `None` when it is absent, null or blank.
    pub fn text(&self, param: Param) -> Result<Option<Cow<'a, str>>, String> {
        let Some(raw) = self.known[param as usize].map(RawValue::get) else {
            return Ok(None);
        };
        let unusable = |what: &str| Err(format!("{} is {what}: send a string", param.name()));
        let text = match raw.as_bytes()[0] {
            b'"' => unquoted(raw).map_err(|error| format!("{} cannot be read: {error}", param.name()))?,
            b'n' => return Ok(None),
            b't' | b'f' => return unusable("true or false"),
            b'[' => return unusable("an array"),
            b'{' => return unusable("an object"),
            _ => Cow::Borrowed(raw),
        };
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }

    /// A parameter that must be there.
    pub fn required(&self, param: Param) -> Result<Cow<'a, str>, String> {
        self.text(param)?.ok_or_else(|| match self.known[param as usize] {
            None => format!("{} is missing", param.name()),
            Some(_) => format!("{} is blank", param.name()),
        })
    }

    /// The refid as it is echoed: unchanged, as a string; empty when it cannot be read.
    pub fn refid_echo(&self) -> Cow<'a, str> {
        self.text(Param::Refid).ok().flatten().unwrap_or_default()
    }

    /// What is asked for, as far as it can be told: `pay` also when it is not said (D), empty when it is neither.
    pub fn action(&self) -> &'static str {
        match self.text(Param::Action).as_ref().map(Option::as_deref) {
            Ok(None | Some("pay")) => "pay",
            Ok(Some("checkstatus")) => "checkstatus",
            _ => "",
        }
    }

    /// Whether the refid was sent as a number.
    pub fn refid_is_number(&self) -> bool {
        self.known[Param::Refid as usize].is_some_and(|raw| !raw.get().starts_with('"'))
    }

    /// What is kept for the record beside the parameters that an order interprets.
    pub fn record(&self) -> Box<[(Box<str>, Box<str>)]> {
        let known = [Param::Email, Param::Details, Param::Cname, Param::Cnumber, Param::Logourl].into_iter();
        let known = known.filter_map(|param| Some((param.name().into(), self.text(param).ok()??.into())));
        let extra = self.extra.iter().map(|(name, raw)| {
            let value = unquoted(raw.get()).unwrap_or(Cow::Borrowed(raw.get()));
            (name.as_ref().into(), value.into())
        });
        known.chain(extra).collect()
    }
}

fn unquoted(raw: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) if !inside.contains('\\') => Ok(Cow::Borrowed(inside)),
        Some(_) => serde_json::from_str::<String>(raw).map(Cow::Owned),
        None => Ok(Cow::Borrowed(raw)),
    }
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
        let mut message = Message { known: [None; Param::ALL.len()], extra: Vec::new() };
        while let Some(Name(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            let twice = match Param::ALL.into_iter().find(|param| param.name() == name) {
                Some(param) => message.known[param as usize].replace(value).is_some(),
                None => {
                    let twice = message.extra.iter().any(|(other, _)| *other == name);
                    message.extra.push((name.clone(), value));
                    twice
                }
            };
            if twice {
                return Err(de::Error::custom(format!("{} stands there twice", excerpt(&name))));
            }
            if message.extra.len() > PARAMETER_LIMIT {
                return Err(de::Error::custom(format!("more than {PARAMETER_LIMIT} parameters")));
            }
        }
        Ok(message)
    }
}

/// An object's key, borrowed where it has no escapes.
#[derive(DeserializeDerive)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

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
