//! Gates: what a run may fail on although its command succeeded.

use clap::ValueEnum;

use crate::gateway::Gateway;
use crate::gateway::run::Finding;
use crate::gateway::tally::Tally;
use crate::view;

/// A gate of `--fail-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Gate {
    /// A request was refused, and no scenario wanted it
    Refused,
    /// A postback was lost, or the listener refused it
    Undelivered,
    /// A postback arrived, and the response is not the guide's
    Unacknowledged,
    /// A postback is undelivered or unacknowledged
    Flagged,
    /// A return code of the profile was not covered
    Unmet,
    /// A request named the live host
    Live,
    /// No request reached the sandbox
    Unreached,
}

impl Gate {
    /// Returns true if it looks at findings of this kind.
    pub(super) fn looks_at(self, finding: Finding) -> bool {
        match finding {
            Finding::Refused => self == Gate::Refused,
            Finding::Undelivered => matches!(self, Gate::Undelivered | Gate::Flagged),
            Finding::Unacknowledged => matches!(self, Gate::Unacknowledged | Gate::Flagged),
            Finding::Scripted | Finding::NeverMade | Finding::Connection => false,
        }
    }
}

/// What `--require` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requirement {
    /// A return code, by the number in the profile's table.
    Code(u16),
    /// A scenario.
    Scenario(String),
}

impl Requirement {
    /// Reads one, which must be something that this gateway can produce.
    pub(super) fn read(text: &str, gateway: &Gateway) -> Result<Requirement, String> {
        let coverage = view::coverage(gateway, None, &Tally::default());
        let is_in = |list: &str, name: &str, value: &serde_json::Value| {
            coverage[list].as_array().into_iter().flatten().any(|one| one[name] == *value)
        };
        if let Ok(number) = text.parse::<u16>() {
            if is_in("codes", "code", &number.into()) {
                return Ok(Requirement::Code(number));
            }
            let codes = coverage["codes"].as_array().into_iter().flatten().map(|code| code["code"].to_string());
            let profile = &gateway.rules().profiles.default().name;
            let codes = codes.collect::<Vec<_>>().join(", ");
            return Err(format!("--require {text}: profile {profile} has no such return code. Write one of {codes}"));
        }
        if is_in("scenarios", "scenario", &text.into()) {
            return Ok(Requirement::Scenario(text.to_owned()));
        }
        if let Some(found) = gateway.repertoire().get(text, None) {
            let links: Vec<&str> = found.chain.iter().map(|link| &**link).collect();
            return Err(format!("--require {text}: it is a chain of scenarios. Write those: {}", links.join(",")));
        }
        let near = coverage["scenarios"].as_array().into_iter().flatten().filter_map(|one| one["scenario"].as_str());
        let near = near.max_by(|a, b| strsim::jaro_winkler(a, text).total_cmp(&strsim::jaro_winkler(b, text)));
        let near = near.unwrap_or("approve");
        Err(format!("--require {text}: unknown scenario or return code. Did you mean \"{near}\"?"))
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Requirement::Code(number) => write!(formatter, "{number}"),
            Requirement::Scenario(name) => formatter.write_str(name),
        }
    }
}
