//! What a run came to: refused calls, postbacks that were flagged or failed, what was met; for people and as JUnit XML.

use std::fmt::Write;

use super::exec::Gate;
use crate::gateway::Gateway;
use crate::gateway::journal::Event;
use crate::proxy::LIVE_HOST;
use crate::view;

/// The report.
#[derive(Debug)]
pub(super) struct Report {
    calls: Vec<Case>,
    postbacks: Vec<Case>,
    /// Return codes that were never met, in words.
    unmet: Vec<String>,
    /// What was met, in words.
    met: String,
    /// Calls of the host where money is real.
    live: usize,
    /// Connections that failed, in words.
    connections: Vec<String>,
    /// What the log has about entries that are gone.
    lost: u64,
}

/// A call or a postback.
#[derive(Debug)]
struct Case {
    name: String,
    /// What was wrong with it, and whether the command is to blame: a scenario may have wanted it.
    problem: Option<(String, bool)>,
}

impl Report {
    pub(super) fn of(gateway: &Gateway, protect_live: bool) -> Report {
        let journal = gateway.journal();
        let mut report = Report {
            calls: Vec::new(),
            postbacks: Vec::new(),
            unmet: Vec::new(),
            met: String::new(),
            live: 0,
            connections: Vec::new(),
            lost: journal.evicted(),
        };
        for entry in journal.after(0) {
            match &entry.event {
                Event::Call(call) => {
                    let wanted = call.decision.is_some();
                    let problem = call
                        .refusal
                        .as_ref()
                        .map(|refusal| (format!("{} {} because {}", call.code, call.reply, refusal.reason), !wanted));
                    let action = if call.action.word().is_empty() { "call" } else { call.action.word() };
                    let name = format!("{action} {}", call.refid).trim().to_owned();
                    report.calls.push(Case { name, problem });
                    let head = call.request.head();
                    let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
                    let live = host.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case(LIVE_HOST));
                    report.live += usize::from(live && protect_live);
                }
                Event::Delivery(delivery) => {
                    let (verdict, why) = view::verdict(delivery);
                    let target = view::target(delivery);
                    report.postbacks.push(Case {
                        name: format!("postback {} {} to {target}", delivery.postback.number, delivery.postback.refid),
                        problem: why.map(|why| (format!("{verdict}: {why}"), true)),
                    });
                }
                Event::ConnectionFailed { peer, problem } => report.connections.push(format!("{peer}: {problem}")),
                Event::RequestRefused { peer, request, problem } => {
                    report.connections.push(format!("{request} from {peer} was refused: {problem}"));
                }
                _ => {}
            }
        }
        let coverage = view::coverage(gateway, None, &gateway.journal().tallies().of(None));
        let met = |what: &str| coverage["met"][what].as_str().unwrap_or_default().to_owned();
        report.met = format!(
            "return codes {}, scenarios {}, kinds of delivery {}",
            met("codes"),
            met("scenarios"),
            met("deliveries")
        );
        let codes = coverage["codes"].as_array().into_iter().flatten().filter(|code| code["met"] == 0);
        report.unmet =
            codes.map(|code| format!("{} {}", code["code"], code["meaning"].as_str().unwrap_or_default())).collect();
        report
    }

    /// Which gates this run does not pass, and why.
    pub(super) fn failed(&self, gates: &[Gate]) -> Vec<String> {
        let blamed = |cases: &[Case]| cases.iter().filter(|case| case.blames()).count();
        let judged = gates.iter().map(|gate| match gate {
            Gate::Refused => ("refused", counted(blamed(&self.calls), "refused call")),
            Gate::Flagged => ("flagged", counted(blamed(&self.postbacks), "flagged or failed postback")),
            Gate::Unmet => ("unmet", counted(self.unmet.len(), "unmet return code")),
        });
        judged.filter_map(|(gate, why)| Some(format!("{gate}: {}", why?))).collect()
    }

    /// What to say of calls that would have moved money.
    pub(super) fn live(&self) -> Option<String> {
        let calls = counted(self.live, "call")?;
        Some(format!("{calls} to {LIVE_HOST}, where money is real, ended in the sandbox instead"))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let problems = |cases: &[Case]| cases.iter().filter(|case| case.problem.is_some()).count();
        let mut text = format!(
            "calls: {}, refused: {}; postbacks: {}, flagged or failed: {}; met: {}",
            self.calls.len(),
            problems(&self.calls),
            self.postbacks.len(),
            problems(&self.postbacks),
            self.met
        );
        for case in self.calls.iter().chain(&self.postbacks) {
            if let Some((problem, _)) = &case.problem {
                let _ = write!(text, "\n  {}: {problem}", case.name);
            }
        }
        for connection in &self.connections {
            let _ = write!(text, "\n  a connection of {connection}");
        }
        if let Some(live) = self.live() {
            let _ = write!(text, "\n  {live}");
        }
        if self.lost > 0 {
            let _ = write!(text, "\n  {} older entries are not here any more", self.lost);
        }
        text
    }

    /// As JUnit XML: a test case for each call and postback, a failure where a gate does not let it pass.
    pub(super) fn junit(&self, gates: &[Gate]) -> String {
        let mut cases = String::new();
        let mut failures = 0;
        for (list, class, gate) in
            [(&self.calls, "calls", Gate::Refused), (&self.postbacks, "postbacks", Gate::Flagged)]
        {
            for case in list {
                let name = escaped(&case.name);
                let Some((problem, _)) = &case.problem else {
                    let _ = writeln!(cases, "  <testcase classname=\"kpay.{class}\" name=\"{name}\"/>");
                    continue;
                };
                let fails = case.blames() && gates.contains(&gate);
                failures += usize::from(fails);
                let element = if fails { "failure" } else { "system-out" };
                let message = escaped(problem);
                let _ = writeln!(
                    cases,
                    "  <testcase classname=\"kpay.{class}\" name=\"{name}\"><{element}>{message}</{element}></testcase>"
                );
            }
        }
        for code in &self.unmet {
            let fails = gates.contains(&Gate::Unmet);
            failures += usize::from(fails);
            let what = if fails { "<failure>never met</failure>" } else { "<skipped message=\"never met\"/>" };
            let _ =
                writeln!(cases, "  <testcase classname=\"kpay.codes\" name=\"{}\">{what}</testcase>", escaped(code));
        }
        let tests = self.calls.len() + self.postbacks.len() + self.unmet.len();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"kpay-sandbox\" tests=\"{tests}\" failures=\"{failures}\">\n{cases}</testsuite>\n"
        )
    }
}

impl Case {
    fn blames(&self) -> bool {
        self.problem.as_ref().is_some_and(|(_, blames)| *blames)
    }
}

/// So many of something; `None` when there are none.
fn counted(count: usize, what: &str) -> Option<String> {
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
