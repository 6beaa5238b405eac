//! What a scenario can hold that reads well and can never work, each complaint with its place in the file.

use std::time::Duration;

use super::super::return_code::ReturnCode;
use super::super::timestamp::Span;
use super::super::values::excerpt;
use super::super::wire::{Param, STATUS_WORDS};
use super::{
    Action, Decision, Fault, Fields, Matcher, Phase, Placeholders, Posting, Scenario, Script, Step, Wait, When,
};

impl Scenario {
    /// The first thing in it that cannot be, where it stands, and what to write instead.
    pub fn complaint(&self) -> Option<String> {
        self.check().err().map(|wrong| wrong.to_string())
    }

    fn check(&self) -> Result<(), Wrong> {
        let name = &self.name;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        demand(!name.is_empty() && name.len() <= 64 && name.bytes().all(plain), "name", || {
            format!("'{}': write up to 64 small letters, digits and hyphens", excerpt(name))
        })?;
        for (place, length) in
            [("chain", self.chain.len()), ("steps", self.steps.len()), ("checkstatus", self.checkstatus.len())]
        {
            let limit = Self::PART_LIMIT;
            demand(length <= limit, place, || format!("{length} of them: at most {limit} are allowed"))?;
        }
        if let Some(when) = &self.when {
            when.check().map_err(within("when"))?;
        }
        if !self.chain.is_empty() {
            let alone = self.answer == Script::default() && self.steps.is_empty() && self.checkstatus.is_empty();
            demand(alone, "chain", || {
                "the scenarios it names say what happens: leave answer, steps and checkstatus out".into()
            })?;
        }
        size_limit(&self.description, "description", TEXT_LIMIT)?;
        self.check_answer().map_err(within("answer"))?;
        for (index, step) in self.steps.iter().enumerate() {
            let place = format!("steps[{index}]");
            span_limit(step.after, &format!("{place}.after"))?;
            match &step.action {
                Action::Postback(posting) => {
                    posting.check().map_err(within(&format!("{place}.do.postback")))?;
                }
                Action::Await(wait) => {
                    demand(
                        wait.up_to.is_some() || wait.otherwise.is_none(),
                        &format!("{place}.do.await.else"),
                        || "`else` without `up_to` never happens: say how long the payer may take".into(),
                    )?;
                    span_limit(wait.up_to, &format!("{place}.do.await.up_to"))?;
                    words_limit(wait.otherwise.as_ref().and_then(|settled| settled.statusdesc.as_deref()))
                        .map_err(within(&format!("{place}.do.await.else")))?;
                }
                Action::Settle(settlement) => {
                    words_limit(settlement.statusdesc.as_deref()).map_err(within(&format!("{place}.do.settle")))?;
                }
            }
        }
        for (index, phase) in self.checkstatus.iter().enumerate() {
            let last = index + 1 == self.checkstatus.len();
            phase.check(last).map_err(within(&format!("checkstatus[{index}]")))?;
        }
        Ok(())
    }

    fn check_answer(&self) -> Result<(), Wrong> {
        let Script { decision, fields, wait, fault } = &self.answer;
        fields_limit(fields)?;
        if let Decision::Settled(settlement) = decision {
            words_limit(settlement.statusdesc.as_deref()).map_err(within("settled"))?;
        }
        if let Decision::Refused(refused) = decision {
            size_limit(refused.statusmsg.as_deref().unwrap_or_default(), "refused.statusmsg", TEXT_LIMIT)?;
            let code = refused.retcode;
            demand(!code.is_ever(|code| code == ReturnCode::TransactionNotFound), "refused.retcode", || {
                "611 is an answer of checkstatus: put it under checkstatus".into()
            })?;
            demand(
                code.is_ever(ReturnCode::is_processors) || (self.steps.is_empty() && self.checkstatus.is_empty()),
                "refused",
                || "with this code no transaction comes to exist: leave steps and checkstatus out".into(),
            )?;
        }
        match wait {
            Some(Wait::Postback) => {
                let first = self.steps.iter().position(|step| matches!(step.action, Action::Postback(_)));
                let first =
                    first.ok_or_else(|| Wrong::at("wait", "there is no postback among the steps to wait for"))?;
                let at_once = |after: &Option<Span>| after.is_some_and(|span| span.0.is_zero());
                let prompt = |step: &Step| at_once(&step.after) && !matches!(step.action, Action::Await(_));
                let held = matches!(&self.steps[first].action, Action::Postback(posting) if posting.hold.is_some());
                let soon = !held && self.steps[..=first].iter().all(prompt);
                demand(soon, "wait", || {
                    "a client would wait for ever on a paused clock: give each step up to the postback \"after\": \"0s\", and leave await and hold out".into()
                })?;
            }
            Some(Wait::For(span)) => span_limit(Some(*span), "wait")?,
            None => {}
        }
        fault.as_ref().map_or(Ok(()), check_fault)
    }
}

impl When {
    /// What in a condition on requests can never be, with its place.
    pub fn complaint(&self) -> Option<String> {
        self.check().err().map(|wrong| within("when")(wrong).to_string())
    }

    /// What in a condition on anything else can never be.
    pub fn matcher_complaint(&self) -> Option<String> {
        self.check_matchers().err().map(|wrong| within("match")(wrong).to_string())
    }

    fn check_matchers(&self) -> Result<(), Wrong> {
        for (field, matcher) in &self.0 {
            let why = matcher.complaint(field);
            why.map_or(Ok(()), |why| Err(Wrong::at(field, why)))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Wrong> {
        demand(!self.0.is_empty(), "", || {
            "an empty condition would take every payment: leave it out, and choose the scenario with --scenario".into()
        })?;
        self.check_matchers()?;
        for (field, matcher) in &self.0 {
            let required = Param::ALL.into_iter().any(|param| param.name() == &**field && param.always_required());
            demand(!(required && *matcher == Matcher::Present(false)), field, || {
                "never matches: a request without it is refused with 603 before a scenario is chosen".into()
            })?;
        }
        Ok(())
    }
}

impl Posting {
    /// Also for a postback that is asked for by hand.
    pub fn complaint(&self) -> Option<String> {
        self.check().err().map(|wrong| wrong.to_string())
    }

    fn check(&self) -> Result<(), Wrong> {
        let limit = Scenario::COUNT_LIMIT;
        demand((1..=limit).contains(&self.count), "count", || format!("write 1 to {limit}"))?;
        demand(self.count > 1 || self.every.0.is_zero(), "every", || {
            "nothing is repeated: say how often with `count`".into()
        })?;
        span_limit(Some(self.every), "every")?;
        demand(!self.until_acknowledged || self.count > 1, "until_acknowledged", || {
            "nothing is repeated: say how often at most with `count`".into()
        })?;
        demand(!self.until_acknowledged || !self.every.0.is_zero(), "every", || {
            "0s would be a loop without a pause: write at least \"1ms\"".into()
        })?;
        demand(self.body.is_none() || (self.says.is_none() && self.fields.0.is_empty()), "body", || {
            "it replaces all of the message: leave says and fields out".into()
        })?;
        fields_limit(&self.fields)?;
        words_limit(self.says.as_ref().and_then(|told| told.statusdesc.as_deref())).map_err(within("says"))?;
        composed_limit(self.body.as_deref().unwrap_or_default(), "body", BODY_LIMIT)?;
        composed_limit(self.target.as_deref().unwrap_or_default(), "target", TARGET_LIMIT)?;
        if let Some(hold) = &self.hold {
            demand((2..=1000).contains(&hold.until), "hold.until", || "write 2 to 1000".into())?;
            demand(self.count == 1, "hold", || "only a single postback can be held: leave count out".into())?;
        }
        if let Some(method) = &self.method {
            let token = |byte: u8| byte.is_ascii_uppercase();
            demand((1..=16).contains(&method.len()) && method.bytes().all(token), "method", || {
                format!("'{}' is no HTTP method: write POST, PUT or GET", excerpt(method))
            })?;
            demand(method != "CONNECT", "method", || "CONNECT asks for a tunnel: write POST, PUT or GET".into())?;
        }
        if let Some(label) = &self.content_type {
            let printable = label.len() <= TEXT_LIMIT && label.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            demand(printable, "content_type", || {
                format!("write up to {TEXT_LIMIT} characters of printable ASCII, or \"\" for none")
            })?;
        }
        Ok(())
    }
}

impl Phase {
    fn check(&self, last: bool) -> Result<(), Wrong> {
        demand(self.calls.is_none() || self.span.is_none(), "", || "both calls and for: leave one of them out".into())?;
        demand(self.calls != Some(0), "calls", || "0 calls would never be answered: write at least 1".into())?;
        span_limit(self.span, "for")?;
        span_limit(self.wait, "wait")?;
        fields_limit(&self.fields)?;
        words_limit(self.status.as_ref().and_then(|told| told.statusdesc.as_deref())).map_err(within("status"))?;
        if let Some(refused) = &self.refused {
            size_limit(refused.statusmsg.as_deref().unwrap_or_default(), "refused.statusmsg", TEXT_LIMIT)?;
        }
        let endless = self.calls.is_none() && self.span.is_none();
        demand(last || !endless, "", || "it never ends, so the next one never comes: give it `calls` or `for`".into())?;
        demand(self.status.is_none() || self.refused.is_none(), "", || {
            "both status and refused: leave one of them out".into()
        })?;
        self.fault.as_ref().map_or(Ok(()), check_fault)
    }
}

fn check_fault(fault: &Fault) -> Result<(), Wrong> {
    match fault {
        Fault::Http(http) => {
            demand((200..=599).contains(&http.status), "fault.http.status", || "write 200 to 599".into())?;
            size_limit(http.body.as_deref().unwrap_or_default(), "fault.http.body", BODY_LIMIT)?;
            size_limit(&http.content_type, "fault.http.content_type", TEXT_LIMIT)
        }
        Fault::Trickle(pause) => {
            let bounds = Duration::from_millis(1)..=Duration::from_secs(10);
            demand(bounds.contains(&pause.0), "fault.trickle", || "write a pause from 1ms to 10s".into())
        }
        _ => Ok(()),
    }
}

/// Longer than this is taken for a mistake.
const SPAN_LIMIT: Duration = Duration::from_secs(10 * 366 * 86_400);

fn span_limit(span: Option<Span>, place: &str) -> Result<(), Wrong> {
    let within = span.is_none_or(|span| span.0 <= SPAN_LIMIT);
    demand(within, place, || "more than ten years: write a shorter span".into())
}

/// How many bytes a body may have that a scenario composes, each placeholder being as long as its value can be.
const BODY_LIMIT: usize = 64 * 1024;
/// How many bytes an address may have that a scenario composes.
const TARGET_LIMIT: usize = 8 * 1024;
/// How many bytes any other text of a scenario may have.
const TEXT_LIMIT: usize = 1000;

fn size_limit(text: &str, place: &str, limit: usize) -> Result<(), Wrong> {
    demand(text.len() <= limit, place, || format!("it has {} bytes: at most {limit} are allowed", text.len()))
}

fn words_limit(statusdesc: Option<&str>) -> Result<(), Wrong> {
    size_limit(statusdesc.unwrap_or_default(), STATUS_WORDS, TEXT_LIMIT)
}

/// Checks the length that a text has once its placeholders are replaced. So no payment can make it longer.
fn composed_limit(text: &str, place: &str, limit: usize) -> Result<(), Wrong> {
    let longest = Placeholders::longest(text);
    demand(longest <= limit, place, || {
        format!("with its placeholders replaced it can have {longest} bytes: at most {limit} are allowed")
    })
}

fn fields_limit(fields: &Fields) -> Result<(), Wrong> {
    let text = serde_json::to_string(fields).map_err(|error| Wrong::at("fields", error.to_string()))?;
    composed_limit(&text, "fields", BODY_LIMIT)
}

/// What is wrong, and where.
struct Wrong {
    place: String,
    why: String,
}

impl Wrong {
    fn at(place: &str, why: impl Into<String>) -> Wrong {
        Wrong { place: place.into(), why: why.into() }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// Moves a place into what it is part of.
fn within(outer: &str) -> impl Fn(Wrong) -> Wrong {
    move |Wrong { place, why }| {
        let place = if place.is_empty() { outer.to_owned() } else { format!("{outer}.{place}") };
        Wrong { place, why }
    }
}

fn demand(holds: bool, place: &str, why: impl FnOnce() -> String) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(Wrong::at(place, why())) }
}
