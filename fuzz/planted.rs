//! Secrets planted in fuzzed texts, at the places where `SECURITY.md` promises that they are masked.

use std::time::Duration;

use kpay_sandbox::gateway::call::Credentials;
use kpay_sandbox::gateway::masking;
use kpay_sandbox::gateway::postback::Answer;
use serde_json::{Value, json};

use crate::core::{Core, acknowledge, good_call, good_pay};
use crate::kept::{PAN, PASSWORD, TOKEN, assert_masked, kept};

/// Names whose values are secrets.
const NAMES: [&str; 18] = [
    "password",
    "kpay_key",
    "access_token",
    "client_secret",
    "mpin",
    "momo_pin",
    "otp",
    "cvc2",
    "pass",
    "X-Api-Key",
    "accessToken",
    "momoPin",
    "AUTHKEY",
    "user-pwd",
    "authorization",
    "secret",
    "token",
    "cvv",
];

/// Fields in which no card number stays.
const FIELDS: [&str; 13] = [
    "details",
    "cname",
    "cnumber",
    "email",
    "retailerid",
    "bankid",
    "action",
    "pmethod",
    "currency",
    "amount",
    "tid",
    "logourl",
    "note",
];

/// Separators between the digits of a card number.
const SEPARATORS: [&str; 12] = ["", " ", "-", ".", "/", "  ", " - ", "\u{a0}", "_", "+", "\u{200b}", "%20"];

/// A gateway, and the secret that was planted in it last.
pub(crate) struct Garden {
    pub(crate) core: Core,
    pub(crate) planted: String,
}

/// Where a text with a secret goes.
#[derive(Default)]
struct Plot {
    body: Option<String>,
    head: Vec<u8>,
    username: Option<String>,
    returl: Option<String>,
    response: Option<Answer>,
}

/// The first bytes of an input choose, the rest is a text.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % count
    }
}

impl Garden {
    pub(crate) fn new() -> Garden {
        Garden { core: Core::new("documented"), planted: String::new() }
    }

    /// Plants a secret, lets the gateway do what it does with it, and looks for it everywhere.
    pub(crate) fn plant(&mut self, input: &[u8]) {
        let (chosen, noise) = input.split_at(input.len().min(8));
        let mut choices = Choices(chosen.iter());
        let noise = String::from_utf8_lossy(noise);
        let middle = noise.chars().count() / 2;
        let middle = noise.char_indices().nth(middle).map_or(noise.len(), |(at, _)| at);
        let plot = plot(&mut choices, noise.split_at(middle));
        self.core.gateway.reset(self.core.now);
        let body = plot.body.unwrap_or_else(|| {
            let mut body = good_pay();
            if let Some(returl) = &plot.returl {
                (body["returl"], body["redirecturl"]) = (json!(returl), json!(returl));
            }
            body.to_string()
        });
        self.planted = format!("{body:?} {:?} {:?}", String::from_utf8_lossy(&plot.head), plot.username);
        let mut call = good_call(body.as_bytes());
        if !plot.head.is_empty() {
            call.head = &plot.head;
        }
        if let Some(username) = plot.username {
            call.credentials = Ok(Credentials { username: username.into(), password: PASSWORD.into() });
        }
        self.core.gateway.handle_call(&call, self.core.now);
        // Another payment, whose postback is answered so.
        if let Some(answer) = plot.response {
            self.planted = format!("{answer:?}");
            self.core.pay(|body| body["refid"] = json!("ANSWERED"));
            self.core.advance_with(Duration::from_secs(10), |postback| {
                let mut delivery = acknowledge(postback);
                delivery.outcome = Ok(answer.clone());
                delivery
            });
        } else {
            self.core.advance(Duration::from_secs(10));
        }
        // A saved state has the addresses whole: postbacks go there, and browsers load the picture.
        let has_address = plot.returl.is_some() || self.planted.contains("logourl");
        let places = if has_address { 3 } else { 4 };
        assert_masked(&kept(&self.core)[..places], &self.planted);
    }
}

/// A text with a secret in it, and the place where it goes.
fn plot(choices: &mut Choices<'_>, noise: (&str, &str)) -> Plot {
    let mut plot = Plot::default();
    match choices.below(8) {
        0 | 1 => plot.body = Some(body(choices, noise)),
        2 => plot.body = Some(broken(choices, noise)),
        3 => {
            let text = text(choices, noise);
            let name = ["user-agent", "referer", "x-data", "accept"][choices.below(4)];
            plot.head = head("/", &[("host", "h"), (name, &text)]);
        }
        4 => {
            let name = name(choices).to_ascii_lowercase();
            let value = format!("{}{TOKEN}{}", noise.0, noise.1);
            plot.head = head(&format!("/{}", text(choices, noise)), &[(&name, &value), ("cookie", &value)]);
        }
        5 => plot.username = Some(number(choices, noise)),
        6 => {
            let user = ["", "u:", "user:p"][choices.below(3)];
            let user = if user.is_empty() { String::new() } else { format!("{user}{PASSWORD}@") };
            let query = format!("x={}&{}={TOKEN}&y={}", noise.0, name(choices), noise.1);
            plot.returl = Some(format!("http://{user}localhost:3000/cb?{query}"));
        }
        _ => {
            let body = if choices.below(2) == 0 { body(choices, noise) } else { broken(choices, noise) };
            let headers = vec![
                ("Set-Cookie".to_owned(), format!("sid={TOKEN}; Path=/")),
                ("x-note".to_owned(), text(choices, noise)),
                (name(choices).to_owned(), format!("{}{TOKEN}", noise.0)),
            ];
            plot.response = Some(Answer { status: 200, headers, body: body.into_bytes(), cut: false });
        }
    }
    plot
}

fn name(choices: &mut Choices<'_>) -> &'static str {
    NAMES[choices.below(NAMES.len())]
}

fn head(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    masking::head("POST", path, headers.iter().map(|(name, value)| (*name, value.as_bytes())), None)
}

/// A card number in a text. Other digits may be glued to one end of it, not to both.
fn number(choices: &mut Choices<'_>, (before, after): (&str, &str)) -> String {
    let separator = SEPARATORS[choices.below(SEPARATORS.len())];
    let group = [4, 1, 6, 16][choices.below(4)];
    let groups: Vec<&str> = PAN.as_bytes().chunks(group).map(|group| std::str::from_utf8(group).unwrap()).collect();
    let free = ["", " ", "PAN", "\""][choices.below(4)];
    let free = if free.is_empty() && before.ends_with(char::is_numeric) { "x" } else { free };
    format!("{before}{free}{}{after}", groups.join(separator))
}

/// A card number in a text, or a secret behind its name.
fn text(choices: &mut Choices<'_>, noise: (&str, &str)) -> String {
    let name = name(choices);
    match choices.below(4) {
        0 => number(choices, noise),
        1 => format!("{}&{name}={PASSWORD}&{}", noise.0, noise.1),
        2 => format!("{}\n{name}: {PASSWORD}\n{}", noise.0, noise.1),
        _ => nested(choices, noise).to_string(),
    }
}

/// An object with a secret, inside lists, objects and strings.
fn nested(choices: &mut Choices<'_>, noise: (&str, &str)) -> Value {
    let mut value = match choices.below(3) {
        0 => json!({ noise.0: noise.1, name(choices): PASSWORD, "after": noise.0 }),
        1 => json!({ name(choices): [noise.0, { "inner": PASSWORD }], "after": noise.1 }),
        _ => json!({ "before": noise.0, "inner": number(choices, noise), "after": 1 }),
    };
    for _ in 0..choices.below(5) {
        value = match choices.below(3) {
            0 => json!([noise.1, value]),
            1 => json!({ "inner": value, "after": noise.0 }),
            _ => json!(value.to_string()),
        };
    }
    value
}

/// A request's body that is JSON.
fn body(choices: &mut Choices<'_>, noise: (&str, &str)) -> String {
    let mut body = good_pay();
    let field = FIELDS[choices.below(FIELDS.len())];
    match choices.below(5) {
        0 => body[field] = json!(number(choices, noise)),
        1 => body[field] = nested(choices, noise),
        2 => body[field] = json!(text(choices, noise)),
        3 => body[number(choices, noise)] = json!(noise.0),
        _ => {
            let name = name(choices);
            body["more"] = json!(noise.0);
            let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
            let body = body.to_string();
            return format!("{{\"{escaped}\":\"{PASSWORD}\",{}", &body[1..]);
        }
    }
    body.to_string()
}

/// A body that is no JSON, or no longer.
fn broken(choices: &mut Choices<'_>, (before, after): (&str, &str)) -> String {
    let name = name(choices);
    match choices.below(7) {
        6 => format!("{before}\"\\u{:04x}{}\" : \"{PASSWORD}\", {after}", name.as_bytes()[0], &name[1..]),
        0 => format!("{before}&{name}={PASSWORD}&{after}"),
        1 => format!("{before}&user[{name}]={PASSWORD}&{after}"),
        2 => format!("{before}\"{name}\" : \"{PASSWORD}\", {after}"),
        3 => format!("{{{before},\"{name}\":{{\"inner\":\"{PASSWORD}\"{after}"),
        4 => format!("{before}&data=%7B%22{name}%22%3A%22{PASSWORD}%22%7D&{after}"),
        _ => number(choices, (before, after)),
    }
}
