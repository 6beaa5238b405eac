//! Judges what is stored as a client would, and the machine's clock by what is stored.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError as Refusal, Error as TlsError, RootCertStore};

use super::Folder;
use super::issue::{dates, is_limited, is_ours};
use crate::tls;

const DAY: Duration = Duration::from_secs(86_400);
/// A certificate with less time left than this is renewed.
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);
/// A clock that is further than this beyond a CA's end is doubted, instead of replacing the CA.
const CLOCK_DOUBT: Duration = DAY.saturating_mul(730);

impl Folder<'_> {
    /// Returns why a client that trusts the CA, and only it, would refuse the server's certificates for one of the names, now
    /// or before the next renewal is due. A CA that is not valid yet is judged as of its first day: see `clock_doubt`.
    pub(super) fn judge(
        &self,
        ca: &CertificateDer<'static>,
        chain: &[CertificateDer<'static>],
        names_only: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Option<String> {
        for chain in [chain, names_only] {
            let pair = CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &tls::provider());
            if pair.and_then(|pair| pair.keys_match()).is_err() {
                return Some("has a server certificate that does not match its key".into());
            }
        }
        let mut roots = RootCertStore::empty();
        let added = roots.add(ca.clone());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build();
        let (Ok(()), Ok(verifier), Some((from, to)), Some((leaf_from, _))) =
            (added, verifier, dates(ca), dates(&chain[0]))
        else {
            return Some("is damaged".into());
        };
        if is_ours(ca) && !is_limited(ca) {
            return Some("can sign for every name, which no CA of kpay-sandbox may".into());
        }
        let at = if self.now < from { from.max(leaf_from) } else { self.now };
        // A client does not look at a root's own dates.
        if later(at, RENEW_BEFORE) > to {
            return Some("has expired, or will within 30 days".into());
        }
        let all: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let dns: Vec<&str> = all.iter().copied().filter(|name| name.parse::<IpAddr>().is_err()).collect();
        for at in [at, later(at, RENEW_BEFORE)] {
            let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
            let refused = refusal(&verifier, chain, &all, at).or_else(|| refusal(&verifier, names_only, &dns, at));
            if refused.is_some() {
                return refused;
            }
        }
        None
    }

    /// Returns why the machine's clock is probably wrong, by the CA's dates. Clients trust a CA by hand: one that is
    /// good in the real present must outlive a start with a wrong clock.
    pub(super) fn clock_doubt(&self, ca: &[u8]) -> Option<String> {
        let (from, to) = dates(ca)?;
        if (from..=later(to, CLOCK_DOUBT)).contains(&self.now) {
            return None;
        }
        let [now, from, to] = [self.now, from, to].map(shown);
        Some(format!("this machine's clock says {now}, and the CA is valid from {from} to {to}"))
    }
}

/// Returns why a client refuses a chain for one of the names. The signatures are the same for all names, so they are
/// verified once.
fn refusal(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'static>],
    names: &[&str],
    at: UnixTime,
) -> Option<String> {
    let leaf = ParsedCertificate::try_from(&chain[0]);
    names.iter().enumerate().find_map(|(number, name)| {
        let verdict =
            ServerName::try_from(*name).map_err(|_| TlsError::from(Refusal::NotValidForName)).and_then(|host| {
                match &leaf {
                    Ok(leaf) if number > 0 => verify_server_name(leaf, &host),
                    _ => verifier.verify_server_cert(&chain[0], &chain[1..], &host, &[], at).map(drop),
                }
            });
        verdict.err().map(|error| reason(&error, name))
    })
}

/// Returns why a client refuses a leaf for a name.
fn reason(error: &TlsError, name: &str) -> String {
    match error {
        TlsError::InvalidCertificate(
            Refusal::Expired
            | Refusal::ExpiredContext { .. }
            | Refusal::NotValidYet
            | Refusal::NotValidYetContext { .. },
        ) => "has a server certificate that is out of date".into(),
        TlsError::InvalidCertificate(Refusal::UnknownIssuer | Refusal::BadSignature) => {
            "does not match its key or its server certificate".into()
        }
        _ => format!("does not cover '{name}'"),
    }
}

/// A later moment, or the same one where the system knows no later one.
fn later(moment: SystemTime, by: Duration) -> SystemTime {
    moment.checked_add(by).unwrap_or(moment)
}

/// A moment for people.
pub(super) fn shown(moment: SystemTime) -> String {
    jiff::Timestamp::try_from(moment).map_or_else(|_| "nonsense".into(), |moment| format!("{moment:.0}"))
}
