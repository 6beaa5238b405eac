//! Owns the certificate folder: a CA of this installation's own, a leaf from it, and the bundle for
//! tools whose setting replaces the system's roots. Made on the first run, renewed when due.

mod bundle;
mod error;
mod files;
mod hosts;
mod issue;
mod judge;
mod lock;

pub use error::CertificateError;
pub use hosts::{check_host, names};
pub use issue::CA_NAME;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) use files::{pem, read};
use files::{tighten, write};
pub(crate) use issue::is_ours;
use issue::{LATEST, Leaves, Wanted, end_of, is_for_tls_servers_only, is_limited, permitted_names};
use judge::shown;
use lock::Lock;

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
    /// The server's certificate without addresses, for clients that name a host.
    pub names_only: Vec<CertificateDer<'static>>,
    /// The key of both.
    pub key: PrivateKeyDer<'static>,
    /// What the user must know, such as that there is a new CA.
    pub notices: Vec<String>,
}

impl Certificates {
    /// Returns true if the CA can sign for the names that it lists only, so that trusting it endangers no other site.
    pub fn is_limited(&self) -> bool {
        is_limited(&self.ca)
    }

    /// The CA's certificate in PEM.
    pub fn ca_pem(&self) -> String {
        pem("CERTIFICATE", &self.ca)
    }

    /// The end of the server's certificate, for people; empty when it cannot be read, which the TLS library says too.
    pub fn expires(&self) -> String {
        self.chain.first().and_then(|leaf| end_of(leaf)).map_or_else(String::new, |end| end.to_string())
    }
}

/// Opens the folder, making or renewing what is needed to serve the usual names and `hosts` at `now`.
pub fn open(folder: &Path, hosts: &[String], now: SystemTime) -> Result<Certificates, CertificateError> {
    for host in hosts {
        check_host(host).map_err(CertificateError::Host)?;
    }
    if now > UNIX_EPOCH + LATEST {
        return Err(CertificateError::FarFuture(shown(now)));
    }
    let folder = Folder { path: folder, names: names(hosts), now };
    // The usual case takes no lock and writes nothing, so the folder may be read-only.
    let mut found = match folder.look()? {
        Stored::Good(mut found) => {
            if let Some(bundle) = folder.outdated_bundle(&found.ca)? {
                match folder.locked(|| folder.write_bundle(&bundle)) {
                    Ok(notice) => found.notices.extend(notice),
                    Err(error) => found.notices.push(format!("the bundle of roots is missing or out of date: {error}")),
                }
            }
            found
        }
        Stored::Bad(_) => {
            folder.refuse_foreign()?;
            folder.locked(|| folder.make())?
        }
    };
    let file = found.ca_file.display();
    if let Some(doubt) = folder.clock_doubt(&found.ca) {
        let notice = format!("{file}: {doubt}. Set the clock: until then clients refuse the certificate");
        found.notices.insert(0, notice);
    }
    if is_ours(&found.ca) && !is_for_tls_servers_only(&found.ca) {
        found.notices.push(format!(
            "{file}: this CA of an earlier version can also sign for e-mail and code. For one that signs for TLS servers only, delete the file, start again, and trust the new CA"
        ));
    }
    for key in ["ca.key", "server.key"] {
        found.notices.extend(tighten(&folder.file(key))?);
    }
    Ok(found)
}

/// A fault of a certificate folder.
#[derive(Debug)]
pub struct Complaint {
    /// The words that follow "the CA in ca.pem".
    pub why: String,
    /// The machine's clock is probably what is wrong.
    pub by_clock: bool,
}

/// What is wrong with a folder, in words that follow "the CA in ca.pem"; nothing is changed.
pub fn complaint(folder: &Path, now: SystemTime) -> Result<Option<Complaint>, CertificateError> {
    let folder = Folder { path: folder, names: names(&[]), now };
    let stored = folder.look()?;
    let doubt = folder.read_certificates("ca.pem")?.first().and_then(|ca| folder.clock_doubt(ca));
    Ok(match (stored, doubt) {
        (_, Some(doubt)) => Some(Complaint { why: format!("does not fit the time: {doubt}"), by_clock: true }),
        (Stored::Bad(why), None) => Some(Complaint { why, by_clock: false }),
        (Stored::Good(_), None) => None,
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
    Done(Leaves),
    /// The CA is good, except for these names, which it may not sign for.
    TooNarrow(Vec<String>),
    /// Why a new CA is needed, as what follows "the one in ca.pem".
    Impossible(String),
}

/// How many names a CA may sign for. Beyond, it forgets the ones that are not asked for any more.
const NAMES_LIMIT: usize = 256;

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

    /// Returns this folder with the names that its CA may sign for added. Whoever starts without a name that another one
    /// has asked for keeps it so.
    fn with_names_of(&self, ca: &CertificateDer<'_>) -> Folder<'_> {
        let mut names = self.names.clone();
        if is_ours(ca) && is_limited(ca) {
            let more = permitted_names(ca).into_iter().filter(|name| check_host(name).is_ok());
            for name in more {
                if names.len() < NAMES_LIMIT && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Folder { path: self.path, names, now: self.now }
    }

    /// What is stored, judged as a client would.
    fn look(&self) -> Result<Stored, CertificateError> {
        let cas = self.read_certificates("ca.pem")?;
        let chain = self.read_certificates("server.pem")?;
        let names_only = self.read_certificates("server-names.pem")?;
        let key = self.read_key("server.key")?;
        let Some(ca) = cas.into_iter().next() else {
            return Ok(Stored::Bad("is gone".into()));
        };
        // Somebody else's certificates are served as they are.
        let names_only = if names_only.is_empty() && !is_ours(&ca) { chain.clone() } else { names_only };
        let (Some(key), false, false) = (key, chain.is_empty(), names_only.is_empty()) else {
            return Ok(Stored::Bad("has no server certificate".into()));
        };
        if let Some(why) = self.with_names_of(&ca).judge(&ca, &chain, &names_only, &key) {
            return Ok(Stored::Bad(why));
        }
        Ok(Stored::Good(self.certificates(ca, chain, names_only, key)))
    }

    fn certificates(
        &self,
        ca: CertificateDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        names_only: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Certificates {
        let (ca_file, bundle_file) = (self.file("ca.pem"), self.file("bundle.pem"));
        Certificates { ca_file, bundle_file, ca, chain, names_only, key, notices: Vec::new() }
    }

    /// Does something while no other process writes to the folder, which is made if need be.
    fn locked<T>(&self, work: impl FnOnce() -> Result<T, CertificateError>) -> Result<T, CertificateError> {
        let at = |path: PathBuf| |error| CertificateError::Io { path, error };
        fs::create_dir_all(self.path).map_err(at(self.path.into()))?;
        let _lock = Lock::take(&self.file(".lock"))?;
        let ignore = self.file(".gitignore");
        // A link that leads nowhere is there as well: git reads the file, this program does not.
        if fs::symlink_metadata(&ignore).is_err() {
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
        let old = self.read_certificates("ca.pem")?.into_iter().next();
        let ca_key = self.read_key("ca.key")?;
        let first = old.is_none() && ca_key.is_none() && !self.file("server.pem").exists();
        let file = self.file("ca.pem").display().to_string();
        if let Some(ca) = &old {
            if let Some(doubt) = self.clock_doubt(ca) {
                return Err(CertificateError::Clock { path: self.file("ca.pem"), doubt });
            }
            let grown = self.with_names_of(ca);
            match grown.renew(ca, ca_key.as_ref())? {
                Renewal::Done(leaves) => {
                    let notice = format!("certificate renewed; the CA in {file} stays, so clients need nothing");
                    return self.keep(ca.clone(), leaves, notice);
                }
                Renewal::TooNarrow(names) => {
                    let (ca, leaves) = grown.new_ca(ca_key.as_ref())?;
                    let names = names.join(", ");
                    let notice = format!(
                        "the CA in {file} now covers {names} too. It keeps its key, so sandboxes that run stay trusted. If a system or a browser trusts the earlier certificate, run: kpay-sandbox trust"
                    );
                    return self.keep(ca, leaves, notice);
                }
                Renewal::Impossible(reason) => why = reason,
            }
        }
        let (ca, leaves) = self.new_ca(None)?;
        let notice = if first {
            format!(
                "made a certificate authority for this installation: {file}; clients must trust it, and it vouches for the sandbox's names only"
            )
        } else {
            format!("NEW CA: the one in {file} {why}; clients that trusted it must trust {file} again")
        };
        self.keep(ca, leaves, notice)
    }

    /// New server certificates from the CA there is, if a client would take them.
    fn renew(
        &self,
        ca: &CertificateDer<'static>,
        ca_key: Option<&PrivateKeyDer<'_>>,
    ) -> Result<Renewal, CertificateError> {
        let Some(ca_key) = ca_key else { return Ok(Renewal::Impossible("cannot sign: its key is gone".into())) };
        let Ok(issuer) = self.wanted().issuer(ca_key) else {
            return Ok(Renewal::Impossible("cannot sign: its key is damaged".into()));
        };
        let refused = |folder: &Folder<'_>| {
            let leaves = folder.wanted().leaves(&issuer).map_err(self.making())?;
            let [all, names_only] = [&leaves.all, &leaves.names_only].map(std::slice::from_ref);
            Ok(match folder.judge(ca, all, names_only, &leaves.key) {
                Some(why) => Err(why),
                None => Ok(leaves),
            })
        };
        let reason = match refused(self)? {
            Ok(leaves) => return Ok(Renewal::Done(leaves)),
            Err(reason) => reason,
        };
        // A client refuses a certificate as a whole: to tell for which name, each gets one of its own.
        let mut narrow = Vec::new();
        for name in &self.names {
            let single = Folder { path: self.path, names: vec![name.clone()], now: self.now };
            if refused(&single)?.is_err() {
                narrow.push(name.clone());
            }
        }
        let good_otherwise = !narrow.is_empty() && narrow.len() < self.names.len();
        Ok(if good_otherwise { Renewal::TooNarrow(narrow) } else { Renewal::Impossible(reason) })
    }

    /// Makes a CA, with the key of the earlier one if that is given.
    fn new_ca(&self, key: Option<&PrivateKeyDer<'_>>) -> Result<(CertificateDer<'static>, Leaves), CertificateError> {
        let (ca, ca_key) = self.wanted().ca(key).map_err(self.making())?;
        let issuer = self.wanted().issuer(&ca_key).map_err(self.making())?;
        let leaves = self.wanted().leaves(&issuer).map_err(self.making())?;
        // After a crash between the two they do not match, which the next start sees. The certificate comes first: it
        // shows that a key beside it is ours.
        write(&self.file("ca.pem"), pem("CERTIFICATE", &ca).as_bytes(), 0o644)?;
        write(&self.file("ca.key"), pem("PRIVATE KEY", ca_key.secret_der()).as_bytes(), 0o600)?;
        Ok((ca, leaves))
    }

    /// Writes the server's certificates, and the bundle if it does not hold the CA.
    fn keep(
        &self,
        ca: CertificateDer<'static>,
        Leaves { all, names_only, key }: Leaves,
        notice: String,
    ) -> Result<Certificates, CertificateError> {
        write(&self.file("server.key"), pem("PRIVATE KEY", key.secret_der()).as_bytes(), 0o600)?;
        write(&self.file("server.pem"), pem("CERTIFICATE", &all).as_bytes(), 0o644)?;
        write(&self.file("server-names.pem"), pem("CERTIFICATE", &names_only).as_bytes(), 0o644)?;
        let mut found = self.certificates(ca, vec![all], vec![names_only], key);
        found.notices.push(notice);
        if let Some(bundle) = self.outdated_bundle(&found.ca)? {
            found.notices.extend(self.write_bundle(&bundle)?);
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
        let mut certificates = 0;
        for name in ["ca.pem", "server.pem", "server-names.pem"] {
            let found = self.read_certificates(name)?;
            certificates += found.len();
            if found.first().is_some_and(|der| !is_ours(der)) {
                return Err(CertificateError::Foreign(self.file(name)));
            }
        }
        for name in ["ca.key", "server.key", "bundle.pem"] {
            if certificates == 0 && read(&self.file(name))?.is_some() {
                return Err(CertificateError::Unknown(self.file(name)));
            }
        }
        Ok(())
    }
}
