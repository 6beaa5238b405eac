//! Owns the certificate folder: a CA of this installation's own, a leaf from it, and the bundle for
//! tools whose setting replaces the system's roots. Made on the first run, renewed when due.

mod files;
mod hosts;
mod issue;

pub use hosts::{check_host, names};
pub use issue::CA_NAME;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError as Refusal, Error as TlsError};

use crate::tls;
use files::{pem, read, tighten, write};
use hosts::NAMES;
use issue::{Pair, Wanted, end_of, is_for_tls_servers_only, is_ours};

/// What has less than this left is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// What the folder holds.
#[derive(Debug)]
pub struct Certificates {
    /// The CA's certificate, for clients to trust.
    pub ca_file: PathBuf,
    /// The system's roots and the CA.
    pub bundle_file: PathBuf,
    /// The CA's certificate.
    pub ca: CertificateDer<'static>,
    /// The server's certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// The server's key.
    pub key: PrivateKeyDer<'static>,
    /// What the user must know, such as that there is a new CA.
    pub notices: Vec<String>,
}

impl Certificates {
    /// The end of the server's certificate, for people; empty when it cannot be read, which the TLS library says too.
    pub fn expires(&self) -> String {
        self.chain.first().and_then(|leaf| end_of(leaf)).map_or_else(String::new, |end| end.to_string())
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        _ => "make it accessible to this user",
    }
}

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or the folder cannot be read or written.
    #[error("{}: {error}; {}, or choose another folder with --certs", .path.display(), remedy(.error))]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file holds what it should not.
    #[error("{}: {what}; delete it to have it made again, or choose another folder with --certs", .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file is somebody else's certificate, which is not replaced.
    #[error("{} is not a certificate of kpay-sandbox's, so it is not replaced; choose another folder with --certs", .0.display())]
    Foreign(PathBuf),
    /// A host cannot stand in a certificate.
    #[error("{0}")]
    Host(String),
    /// The library refuses to make a certificate.
    #[error("{}: no certificate could be made for it ({error}); choose other hosts", .path.display())]
    Making {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: rcgen::Error,
    },
}

/// Opens the folder, making or renewing what is needed to serve the usual names and `hosts` at `now`.
pub fn open(folder: &Path, hosts: &[String], now: SystemTime) -> Result<Certificates, CertificateError> {
    for host in hosts {
        check_host(host).map_err(CertificateError::Host)?;
    }
    let folder = Folder { path: folder, names: names(hosts), now };
    // The usual case takes no lock and writes nothing, so the folder may be read-only.
    let mut found = match folder.look()? {
        Stored::Good(found) if folder.bundled(&found.ca) => found,
        Stored::Good(mut found) => {
            match folder.locked(|| folder.write_bundle(&found.ca)) {
                Ok(notice) => found.notices.extend(notice),
                Err(error) => found.notices.push(format!("there is no bundle of roots: {error}")),
            }
            found
        }
        Stored::Bad(_) => folder.locked(|| folder.make())?,
    };
    if is_ours(&found.ca) && !is_for_tls_servers_only(&found.ca) {
        found.notices.push(format!(
            "{}: this CA of an earlier version can also sign for e-mail and code. For one that signs for TLS servers only, delete the file, start again, and trust the new CA",
            found.ca_file.display()
        ));
    }
    found.notices.extend(["ca.key", "server.key"].iter().filter_map(|key| tighten(&folder.file(key))));
    Ok(found)
}

/// What is wrong with a folder, in words that follow "the CA in ca.pem"; nothing is changed.
pub fn complaint(folder: &Path, now: SystemTime) -> Result<Option<String>, CertificateError> {
    Ok(match (Folder { path: folder, names: names(&[]), now }).look()? {
        Stored::Good(_) => None,
        Stored::Bad(why) => Some(why),
    })
}

struct Folder<'a> {
    path: &'a Path,
    names: Vec<String>,
    now: SystemTime,
}

/// What was found in the folder.
enum Stored {
    Good(Certificates),
    /// Why it cannot serve, as what follows "the one in ca.pem".
    Bad(String),
}

/// What came of an attempt to go on with the CA there is.
enum Renewal {
    Done(Pair),
    /// Why a new CA is needed, as what follows "the one in ca.pem".
    Impossible(String),
}

impl Folder<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn read_certificates(&self, name: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let path = self.file(name);
        let Some(bytes) = read(&path)? else {
            return Ok(Vec::new());
        };
        match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, pem::Error>>() {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => Err(CertificateError::Content { path, what: "is not a certificate in PEM" }),
        }
    }

    fn read_key(&self, name: &str) -> Result<Option<PrivateKeyDer<'static>>, CertificateError> {
        let path = self.file(name);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Ok(Some(key)),
            Err(_) => Err(CertificateError::Content { path, what: "is not a private key in PEM" }),
        }
    }

    /// What is stored, judged by `complaint`.
    fn look(&self) -> Result<Stored, CertificateError> {
        let cas = self.read_certificates("ca.pem")?;
        let chain = self.read_certificates("server.pem")?;
        let key = self.read_key("server.key")?;
        let Some(ca) = cas.into_iter().next() else {
            return Ok(Stored::Bad("is gone".into()));
        };
        let (Some(key), false) = (key, chain.is_empty()) else {
            return Ok(Stored::Bad("has no server certificate".into()));
        };
        if let Some(why) = self.complaint(&ca, &chain, &key) {
            return Ok(Stored::Bad(why));
        }
        Ok(Stored::Good(self.certificates(ca, chain, key)))
    }

    fn certificates(
        &self,
        ca: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Certificates {
        let (ca_file, bundle_file) = (self.file("ca.pem"), self.file("bundle.pem"));
        Certificates { ca_file, bundle_file, ca, chain, key, notices: Vec::new() }
    }

    /// Why a client that trusts the CA, and only it, would refuse the leaf for one of the names, now or
    /// before the next renewal is due.
    fn complaint(
        &self,
        ca: &CertificateDer<'static>,
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Option<String> {
        let pair = CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &tls::provider());
        if pair.and_then(|pair| pair.keys_match()).is_err() {
            return Some("has a server certificate that does not match its key".into());
        }
        let mut roots = RootCertStore::empty();
        let added = roots.add(ca.clone());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build();
        let (Ok(()), Ok(verifier)) = (added, verifier) else {
            return Some("is damaged".into());
        };
        let verify = |leaf: &CertificateDer<'_>, name: &str, at: SystemTime| {
            let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
            let name = ServerName::try_from(name).map_err(|_| Refusal::NotValidForName)?;
            verifier.verify_server_cert(leaf, &chain[1..], &name, &[], at)
        };
        for at in [self.now, self.now + RENEW_BEFORE] {
            // A root's own dates are not looked at, so the CA is also judged as if it were a leaf: it is
            // refused in any case, but for its dates first.
            if let Err(error) = verify(ca, NAMES[0], at)
                && let Some(why) = outdated(&error)
            {
                return Some(why.into());
            }
            for name in &self.names {
                if let Err(error) = verify(&chain[0], name, at) {
                    return Some(match (outdated(&error), error) {
                        (Some(_), _) => "has a server certificate that is out of date".into(),
                        (_, TlsError::InvalidCertificate(Refusal::UnknownIssuer | Refusal::BadSignature)) => {
                            "does not match its key or its server certificate".into()
                        }
                        _ => format!("does not cover '{name}'"),
                    });
                }
            }
        }
        None
    }

    /// Does something while no other process writes to the folder, which is made if need be.
    fn locked<T>(&self, work: impl FnOnce() -> Result<T, CertificateError>) -> Result<T, CertificateError> {
        let at = |path: PathBuf| |error| CertificateError::Io { path, error };
        fs::create_dir_all(self.path).map_err(at(self.path.into()))?;
        let path = self.file(".lock");
        let lock = File::create(&path).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(at(path))?;
        let ignore = self.file(".gitignore");
        if !ignore.exists() {
            write(&ignore, b"*\n", 0o644)?;
        }
        work()
    }

    /// Under the lock: a leaf from the CA there is, or else a new CA with its leaf.
    fn make(&self) -> Result<Certificates, CertificateError> {
        let mut why = match self.look()? {
            // Another process has been here while this one waited.
            Stored::Good(found) => return Ok(found),
            Stored::Bad(why) => why,
        };
        self.refuse_foreign()?;
        let old = self.read_certificates("ca.pem")?.into_iter().next();
        let ca_key = self.read_key("ca.key")?;
        let first = old.is_none() && ca_key.is_none() && !self.file("server.pem").exists();
        let file = self.file("ca.pem").display().to_string();
        if let Some(ca) = &old {
            match self.renew(ca, ca_key.as_ref())? {
                Renewal::Done(leaf) => {
                    let notice = format!("certificate renewed; the CA in {file} stays, so clients need nothing");
                    return self.keep(ca.clone(), leaf, notice);
                }
                Renewal::Impossible(reason) => why = reason,
            }
        }
        let (ca, leaf) = self.new_ca()?;
        let notice = if first {
            format!(
                "made a certificate authority for this installation: {file}; clients must trust it, and it vouches for the sandbox's names only"
            )
        } else {
            format!("NEW CA: the one in {file} {why}; clients that trusted it must trust {file} again")
        };
        self.keep(ca, leaf, notice)
    }

    /// A leaf from the CA there is, if a client would take it.
    fn renew(
        &self,
        ca: &CertificateDer<'static>,
        ca_key: Option<&PrivateKeyDer<'_>>,
    ) -> Result<Renewal, CertificateError> {
        let Some(ca_key) = ca_key else { return Ok(Renewal::Impossible("cannot sign: its key is gone".into())) };
        let Ok(issuer) = self.wanted().issuer(ca_key) else {
            return Ok(Renewal::Impossible("cannot sign: its key is damaged".into()));
        };
        let (leaf, key) = self.wanted().leaf(&issuer).map_err(self.making())?;
        let Some(reason) = self.complaint(ca, std::slice::from_ref(&leaf), &key) else {
            return Ok(Renewal::Done((leaf, key)));
        };
        // A client refuses a leaf as a whole: to tell for which name, each gets one of its own.
        for name in &self.names {
            let single = Folder { path: self.path, names: vec![name.clone()], now: self.now };
            let (leaf, key) = single.wanted().leaf(&issuer).map_err(self.making())?;
            if let Some(why) = single.complaint(ca, &[leaf], &key) {
                return Ok(Renewal::Impossible(why));
            }
        }
        Ok(Renewal::Impossible(reason))
    }

    fn new_ca(&self) -> Result<(CertificateDer<'static>, Pair), CertificateError> {
        let (ca, ca_key) = self.wanted().ca().map_err(self.making())?;
        let issuer = self.wanted().issuer(&ca_key).map_err(self.making())?;
        let leaf = self.wanted().leaf(&issuer).map_err(self.making())?;
        // The key first: after a crash between the two they do not match, which the next start sees.
        write(&self.file("ca.key"), pem("PRIVATE KEY", ca_key.secret_der()).as_bytes(), 0o600)?;
        write(&self.file("ca.pem"), pem("CERTIFICATE", &ca).as_bytes(), 0o644)?;
        Ok((ca, leaf))
    }

    /// Writes a leaf, and the bundle if it does not hold the CA.
    fn keep(
        &self,
        ca: CertificateDer<'static>,
        (leaf, key): Pair,
        notice: String,
    ) -> Result<Certificates, CertificateError> {
        write(&self.file("server.key"), pem("PRIVATE KEY", key.secret_der()).as_bytes(), 0o600)?;
        write(&self.file("server.pem"), pem("CERTIFICATE", &leaf).as_bytes(), 0o644)?;
        let mut found = self.certificates(ca, vec![leaf], key);
        found.notices.push(notice);
        if !self.bundled(&found.ca) {
            found.notices.extend(self.write_bundle(&found.ca)?);
        }
        Ok(found)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { names: &self.names, now: self.now }
    }

    fn making(&self) -> impl Fn(rcgen::Error) -> CertificateError {
        let path = self.path.to_owned();
        move |error| CertificateError::Making { path: path.clone(), error }
    }

    /// Somebody may have named a folder with certificates of their own: those are not overwritten.
    fn refuse_foreign(&self) -> Result<(), CertificateError> {
        for name in ["ca.pem", "server.pem"] {
            if self.read_certificates(name)?.first().is_some_and(|der| !is_ours(der)) {
                return Err(CertificateError::Foreign(self.file(name)));
            }
        }
        Ok(())
    }

    fn bundled(&self, ca: &CertificateDer<'_>) -> bool {
        let bundle = fs::read_to_string(self.file("bundle.pem"));
        bundle.is_ok_and(|bundle| bundle.contains(&pem("CERTIFICATE", ca)))
    }

    fn write_bundle(&self, ca: &CertificateDer<'_>) -> Result<Option<String>, CertificateError> {
        // SSL_CERT_FILE may name this very bundle, so earlier certificates of ours are left out.
        let mut roots = rustls_native_certs::load_native_certs().certs;
        roots.retain(|root| !is_ours(root));
        let file = self.file("bundle.pem");
        let bundle: String = roots.iter().chain([ca]).map(|root| pem("CERTIFICATE", root)).collect();
        write(&file, bundle.as_bytes(), 0o644)?;
        let notice = format!("{} holds this CA only: the system's roots cannot be read", file.display());
        Ok(roots.is_empty().then_some(notice))
    }
}

/// What a refusal says about dates, if it is about dates.
fn outdated(error: &TlsError) -> Option<&'static str> {
    match error {
        TlsError::InvalidCertificate(Refusal::Expired | Refusal::ExpiredContext { .. }) => {
            Some("has expired, or will within 30 days")
        }
        TlsError::InvalidCertificate(Refusal::NotValidYet | Refusal::NotValidYetContext { .. }) => {
            Some("is not valid yet by this machine's clock")
        }
        _ => None,
    }
}
