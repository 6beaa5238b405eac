//! KPay's two systems, each with payments of its own (contract, section 1; A).

use serde::{Deserialize, Serialize};

/// The system that a request is for. The host that it names tells which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// `pay.esicia.com`, and every name of the sandbox itself.
    #[default]
    Sandbox,
    /// `pay.esicia.rw`, where money is real (D).
    Live,
}

impl System {
    /// Both.
    pub const ALL: [System; 2] = [System::Sandbox, System::Live];

    /// Returns the system that a `Host` header names.
    pub fn of_host(host: &str) -> System {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.eq_ignore_ascii_case(System::Live.host()) { System::Live } else { System::Sandbox }
    }

    /// Its host (D).
    pub const fn host(self) -> &'static str {
        match self {
            System::Sandbox => "pay.esicia.com",
            System::Live => "pay.esicia.rw",
        }
    }

    pub(super) fn is_sandbox(&self) -> bool {
        *self == System::Sandbox
    }
}
