//! The report of a run, for people and as JUnit XML, and the gates that fail it.

use std::fmt::Write;

use super::gate::{Gate, Requirement};
use crate::gateway::Gateway;
use crate::gateway::run::{Cause, Finding, Run};
use crate::gateway::system::System;
use crate::view;

/// The report.
#[derive(Debug)]
pub(super) struct Report {
    run: Box<Run>,
    /// What `unmet` looks at, in words, and whether the run covered it.
    wanted: Vec<(String, bool)>,
    /// What was covered, in words.
    covered: String,
    /// Requests to the live host are told.
    protect_live: bool,
    /// Any user is accepted.
    open: bool,
}

impl Report {
    /// Takes the record of the run out of a gateway.
    pub(super) fn of(gateway: &mut Gateway, required: &[Requirement], protect_live: bool) -> Report {
        let run = gateway.take_run().unwrap_or_default();
        let coverage = view::coverage(gateway, None, run.covered());
        let covered = |what: &str| coverage["met"][what].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| coverage[name].as_array().cloned().unwrap_or_default();
        let codes = list("codes");
        let wanted = if required.is_empty() {
            let word =
                |code: &serde_json::Value| format!("{} {}", code["code"], code["meaning"].as_str().unwrap_or_default());
            codes.iter().map(|code| (word(code), code["met"] != 0)).collect()
        } else {
            let is_covered = |requirement: &Requirement| match requirement {
                Requirement::Code(number) => codes.iter().any(|code| code["code"] == *number && code["met"] != 0),
                Requirement::Scenario(name) => {
                    list("scenarios").iter().any(|one| one["scenario"] == **name && one["met"] != 0)
                }
            };
            required.iter().map(|one| (one.to_string(), is_covered(one))).collect()
        };
        let covered = format!(
            "return codes {}, scenarios {}, kinds of delivery {}",
            covered("codes"),
            covered("scenarios"),
            covered("deliveries")
        );
        Report { run, wanted, covered, protect_live, open: gateway.settings().open.is_some() }
    }

    /// Returns the gates that this run does not pass, each with the reason.
    pub(super) fn failed(&self, gates: &[Gate]) -> Vec<String> {
        let count = |finding| self.run.count(finding);
        let judged = gates.iter().map(|gate| match gate {
            Gate::Refused => ("refused", counted(count(Finding::Refused), "refused request")),
            Gate::Flagged => {
                let flagged = count(Finding::Unacknowledged) + count(Finding::Undelivered);
                ("flagged", counted(flagged, "undelivered or unacknowledged postback"))
            }
            Gate::Undelivered => ("undelivered", counted(count(Finding::Undelivered), "undelivered postback")),
            Gate::Unacknowledged => {
                ("unacknowledged", counted(count(Finding::Unacknowledged), "unacknowledged postback"))
            }
            Gate::Unmet => ("unmet", self.not_covered()),
            Gate::Live => ("live", self.live()),
            Gate::Unreached => ("unreached", self.unreached()),
        });
        judged.filter_map(|(gate, why)| Some(format!("{gate}: {}", why?))).collect()
    }

    fn not_covered(&self) -> Option<String> {
        let names: Vec<&str> =
            self.wanted.iter().filter(|(_, covered)| !covered).map(|(name, _)| name.as_str()).collect();
        (!names.is_empty())
            .then(|| format!("{} of {} not covered: {}", names.len(), self.wanted.len(), names.join(", ")))
    }

    /// Returns the sentence about requests that would have moved money.
    fn live(&self) -> Option<String> {
        let requests = counted(self.run.live(), "request")?;
        Some(format!("{requests} to {}, where money is real, ended in the sandbox instead", System::Live.host()))
    }

    /// Returns the sentence about a run without a request.
    pub(super) fn unreached(&self) -> Option<String> {
        if self.run.is_reached() {
            return None;
        }
        let failed = self.run.causes().iter().find(|cause| cause.finding == Finding::Connection);
        let failed = failed.map_or_else(String::new, |cause| format!(", but {}", in_words(cause)));
        Some(format!("no request reached the sandbox{failed}"))
    }

    /// Returns the warning that is given without a report as well.
    pub(super) fn warning(&self) -> Option<String> {
        self.live().filter(|_| self.protect_live)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let run = &self.run;
        let refused = run.count(Finding::Refused) + run.count(Finding::Scripted);
        let mut text = format!(
            "requests: {}, refused: {refused}; postbacks: {}, undelivered: {}, unacknowledged: {}; covered: {}",
            run.requests(),
            run.postbacks(),
            run.count(Finding::Undelivered),
            run.count(Finding::Unacknowledged),
            self.covered
        );
        for cause in run.causes().iter().filter(|cause| cause.finding != Finding::NeverMade) {
            let _ = write!(text, "\n  {}", in_words(cause));
        }
        if let Some(never_made) = counted(run.count(Finding::NeverMade), "checkstatus request") {
            let _ = write!(text, "\n  {never_made} named a payment whose pay was refused, and got 611");
        }
        for advice in self.warning().into_iter().chain(self.advice()) {
            let _ = write!(text, "\n  {advice}");
        }
        text
    }

    /// Returns what would change the refusals as a whole.
    fn advice(&self) -> Option<String> {
        let all = self.run.count(Finding::Refused);
        if let Some((profile, count)) = self.run.kindest_profile() {
            return Some(format!("{count} of {all} refusals disappear with --profile {profile}"));
        }
        let refused = self.run.count(Finding::Refused);
        let are_unknown_users = refused > 0 && refused == self.run.unknown_users() && !self.open;
        are_unknown_users.then(|| {
            "every refusal is for an unknown user. Run exec with --open, which accepts any user and password".to_owned()
        })
    }

    /// As JUnit XML: a test case for each request and postback, a failure where a gate does not let it pass.
    pub(super) fn junit(&self, gates: &[Gate]) -> String {
        let mut suite = Suite::default();
        let fails = |finding| gates.iter().any(|gate| gate.looks_at(finding));
        for case in self.run.cases() {
            let class = if case.is_postback { "postbacks" } else { "calls" };
            let cause = case.cause.map(|place| &self.run.causes()[place]);
            suite.add(class, &case.name, cause.map(|cause| (&*cause.text, fails(cause.finding))));
        }
        for cause in self.run.causes().iter().filter(|cause| cause.finding != Finding::Connection) {
            let is_postback = matches!(cause.finding, Finding::Unacknowledged | Finding::Undelivered);
            let more = cause.count - cause.kept;
            if more > 0 {
                let class = if is_postback { "postbacks" } else { "calls" };
                suite.add(class, &format!("{more} more of the same"), Some((&cause.text, fails(cause.finding))));
            }
        }
        for (name, _) in self.wanted.iter().filter(|(_, covered)| !covered) {
            suite.add_not_covered(name, gates.contains(&Gate::Unmet));
        }
        suite.text()
    }
}

/// A cause with those that have it.
fn in_words(cause: &Cause) -> String {
    let mut names = cause.examples.join(", ");
    let more = cause.count.saturating_sub(cause.examples.len() as u64);
    if more > 0 {
        let _ = write!(names, " and {more} more");
    }
    let word = match cause.finding {
        Finding::Unacknowledged => "unacknowledged: ",
        Finding::Undelivered => "undelivered: ",
        Finding::Refused | Finding::Scripted | Finding::NeverMade | Finding::Connection => "",
    };
    format!("{names}: {word}{}", cause.text)
}

/// A suite of test cases as XML.
#[derive(Default)]
struct Suite {
    cases: String,
    tests: usize,
    failures: usize,
}

impl Suite {
    /// Adds a case, with what there is to say about it and whether that is a failure.
    fn add(&mut self, class: &str, name: &str, finding: Option<(&str, bool)>) {
        self.tests += 1;
        let name = escaped(name);
        let _ = match finding {
            None => writeln!(self.cases, "  <testcase classname=\"kpay.{class}\" name=\"{name}\"/>"),
            Some((text, fails)) => {
                self.failures += usize::from(fails);
                let (element, text) = (if fails { "failure" } else { "system-out" }, escaped(text));
                writeln!(
                    self.cases,
                    "  <testcase classname=\"kpay.{class}\" name=\"{name}\"><{element}>{text}</{element}></testcase>"
                )
            }
        };
    }

    fn add_not_covered(&mut self, name: &str, fails: bool) {
        self.tests += 1;
        self.failures += usize::from(fails);
        let what = if fails { "<failure>not covered</failure>" } else { "<skipped message=\"not covered\"/>" };
        let name = escaped(name);
        let _ = writeln!(self.cases, "  <testcase classname=\"kpay.codes\" name=\"{name}\">{what}</testcase>");
    }

    fn text(&self) -> String {
        let Suite { cases, tests, failures } = self;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"kpay-sandbox\" tests=\"{tests}\" failures=\"{failures}\">\n{cases}</testsuite>\n"
        )
    }
}

/// So many of something; `None` when there are none.
fn counted(count: u64, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    }
}

/// A text inside XML, which knows no control characters.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            c => safe.push(c),
        }
    }
    safe
}
