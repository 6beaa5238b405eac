//! `/__sandbox/ca.pem` and `/__sandbox/bundle.pem`: the certificates that clients must trust. They are public, so neither a
//! token nor TLS is asked for: a job fetches them from its service container before it can trust it.

use std::path::PathBuf;

use super::Reply;
use crate::certificates;

/// The certificates that clients trust.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// The CA in use, in PEM.
    pub ca: String,
    /// The file with the system's roots and the CA.
    pub bundle: PathBuf,
}

const PEM: &str = "application/x-pem-file";

impl Roots {
    pub(super) fn ca(&self) -> Reply {
        Reply { content_type: PEM.into(), ..Reply::text(200, self.ca.clone()) }
    }

    /// The bundle as it is now, which always has the CA in use.
    pub(super) fn bundle(&self) -> Reply {
        let read = match certificates::read(&self.bundle) {
            Ok(read) => read.unwrap_or_default(),
            Err(error) => return Reply::problem(503, &format!("{error}. Fetch ca.pem instead")),
        };
        let mut bundle = String::from_utf8_lossy(&read).into_owned();
        if !bundle.contains(&self.ca) {
            bundle.push_str(&self.ca);
        }
        Reply { content_type: PEM.into(), ..Reply::text(200, bundle) }
    }
}
