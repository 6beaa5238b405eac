//! How a listener's response is judged, and the fix of a wrong one in the listener's framework.

use std::borrow::Cow;

use super::postback::{Answer, Delivery};
use super::values::excerpt_to;
use super::wire;

/// How many characters of a response are shown.
const SHOWN: usize = 80;

impl Delivery {
    /// Returns what is wrong with the response and how to fix it; `None` if it is the guide's (D).
    pub(super) fn complaint(&self, answer: &Answer) -> Option<String> {
        let body = String::from_utf8_lossy(&answer.body);
        let mut why = if answer.is_success() {
            if answer.cut {
                return Some(format!("answered more than {} KiB; the rest was not read", Answer::LIMIT / 1024));
            }
            // A listener can only name the ids that it was told.
            let told = wire::told_ids(&self.postback.body);
            let (tid, refid) =
                told.as_ref().map_or((&*self.postback.tid, &*self.postback.refid), |(tid, refid)| (tid, refid));
            let why = wire::acknowledgement_complaint(&answer.body, tid, refid)?;
            php_message(&body).or_else(|| page(&body)).unwrap_or(why)
        } else {
            format!("answered HTTP {}{}. {}", answer.status, words(&body), self.fix(answer, &body))
        };
        if let Some(label) = self.label_hint(answer, &body) {
            why.push_str(if why.ends_with(['.', '?']) { " " } else { ". " });
            why.push_str(label);
        }
        Some(why)
    }

    /// The fix for a status that is no success.
    fn fix(&self, answer: &Answer, body: &str) -> Cow<'static, str> {
        let text = body.to_ascii_lowercase();
        let about = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let (method, path) = (&self.postback.method, path(&self.url));
        match answer.status {
            300..400 => self.redirect_fix(answer),
            400 if about(&["https port", "https server", "ssl-enabled"]) => {
                "It speaks TLS there: write https:// in returl".into()
            }
            401 => "Take the route out of authentication, or write user:password@ into returl".into(),
            403 | 422 if about(&["csrf", "authenticitytoken", "authenticity token"]) => {
                "Exempt the route from CSRF protection: @csrf_exempt in Django, skip_before_action :verify_authenticity_token in Rails".into()
            }
            403 => "Exempt the route from CSRF protection (@csrf_exempt in Django) and from authentication".into(),
            404 => format!("No route takes {method} {path}. Compare returl with your routes; those of Laravel's routes/api.php begin with /api").into(),
            405 => {
                let allowed = header(answer, "allow").map_or(String::new(), |allow| format!(", not only {allow}"));
                format!("Accept {method} at {path}{allowed}: Route::post in Laravel, methods=[\"POST\"] in Flask, app.post in Express").into()
            }
            415 => "The listener trusts the Content-Type. Read the raw body instead".into(),
            419 => "Exempt the route from Laravel's CSRF check: put it into routes/api.php, or name it in validateCsrfTokens(except: [...])".into(),
            400 | 422 => "The listener did not find what it looks for. Read the raw body as JSON".into(),
            429 => "Take the route out of the rate limit".into(),
            502..=504 => "The server behind this proxy did not answer. Is your listener running?".into(),
            500..600 => "The listener failed: look into its log".into(),
            _ => "Return HTTP 200 after saving the result".into(),
        }
    }

    fn redirect_fix(&self, answer: &Answer) -> Cow<'static, str> {
        let Some(to) = header(answer, "location") else {
            return "It names no address, and redirects are not followed: give the final address as returl".into();
        };
        let shown = excerpt_to(to, SHOWN);
        let lower = to.to_ascii_lowercase();
        if ["login", "signin", "sign-in", "sign_in", "auth"].iter().any(|word| lower.contains(word)) {
            return format!("It leads to {shown}: take the route out of authentication").into();
        }
        format!("It leads to {shown}, and redirects are not followed: give the final address as returl").into()
    }

    /// What the label of a postback may have to do with its response.
    fn label_hint(&self, answer: &Answer, body: &str) -> Option<&'static str> {
        let label = &*self.postback.content_type;
        if label.contains("form-urlencoded") && self.postback.body.starts_with(b"{") {
            return Some(
                "It was posted as form-urlencoded over JSON: a listener that trusts the label sees nothing. Read the raw body",
            );
        }
        let finds_nothing = matches!(answer.status, 400 | 415 | 422 | 500) || is_undefined(body);
        (label.contains("json") && finds_nothing)
            .then_some("A listener that was made for the form label of real traffic gets it with --profile observed")
    }
}

/// What a response that is no success says, in its own words.
fn words(body: &str) -> String {
    if let Some(why) = php_message(body) {
        return why.replacen("answered with", " with", 1);
    }
    let shown = title(body).unwrap_or_else(|| excerpt_to(&without_tags(body), SHOWN));
    if shown.is_empty() { shown } else { format!(" ('{shown}')") }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

/// The path of an address, without its query.
fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |start| &rest[start..]);
    path.split(['?', '#']).next().unwrap_or(path)
}

/// What PHP prints before its messages.
const MESSAGES: [&str; 6] = ["Fatal error", "Parse error", "Warning", "Notice", "Deprecated", "Uncaught "];

/// Returns true for messages of PHP about values that a listener did not get.
fn is_undefined(body: &str) -> bool {
    ["Undefined index", "Undefined array key", "Undefined property", "offset on value of type null", "on null"]
        .iter()
        .any(|words| body.contains(words))
}

/// Returns what is wrong with a response in which PHP has printed a message.
fn php_message(body: &str) -> Option<String> {
    let is_message = |start: &usize| {
        let rest = body[*start..].trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let rest = rest.strip_prefix("</b>").unwrap_or(rest);
        rest.starts_with(':') && rest.contains(" on line ") || body[*start..].starts_with("Uncaught ")
    };
    let start = MESSAGES.iter().filter_map(|word| body.find(word).filter(is_message)).min()?;
    let message = excerpt_to(&without_tags(&body[start..]), SHOWN);
    let fix = if is_undefined(body) {
        "KPay's JSON is not in $_POST: read file_get_contents('php://input')"
    } else {
        "Fix it, and set display_errors=0 so that nothing stands around the JSON"
    };
    Some(format!("answered with a message of PHP: '{message}'. {fix}"))
}

/// Returns what is wrong with a response that is a page.
fn page(body: &str) -> Option<String> {
    let start = body.trim_start_matches('\u{feff}').trim_start();
    start.starts_with('<').then(|| {
        let shown = title(body).unwrap_or_else(|| excerpt_to(&without_tags(start), SHOWN));
        format!(
            "answered with an HTML page: '{shown}'. Is it the listener's route? It has to answer JSON: a page that takes every path, or a login, answers so"
        )
    })
}

/// The title of a page.
fn title(body: &str) -> Option<String> {
    let start = body.find("<title")?;
    let title = body[start..].split_once('>')?.1.split('<').next()?;
    let title = excerpt_to(title.trim(), SHOWN);
    (!title.is_empty()).then_some(title)
}

/// A text without its tags, on one line.
fn without_tags(text: &str) -> String {
    let (mut plain, mut is_tag) = (String::new(), false);
    for c in text.chars().take(1000) {
        match c {
            '<' => is_tag = true,
            '>' if is_tag => is_tag = false,
            _ if is_tag => {}
            c if c.is_whitespace() => {
                if !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            c => plain.push(c),
        }
    }
    plain.trim().to_owned()
}
