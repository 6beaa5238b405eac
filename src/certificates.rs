//! The certificate folder: a CA of this installation's own, a leaf from it, and the bundle for tools whose
//! setting replaces the roots. Made on the first run, renewed when due.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use crate::tls;

/// The names that every installation serves.
const NAMES: [&str; 5] = [
    "localhost",
    "pay.esicia.com",
    "pay.esicia.rw",
    "kpay-sandbox",
    "host.docker.internal",
];
const ADDRESSES: [&str; 2] = ["127.0.0.1", "::1"];
const CA_NAME: &str = "kpay-sandbox development CA";
const DAY: Duration = Duration::from_secs(86_400);
/// A leaf is backdated by a day, for clients whose clock is behind; 397 days are the most that Apple accepts.
const LEAF_LIFE: Duration = DAY.saturating_mul(396);
const CA_LIFE: Duration = DAY.saturating_mul(3650);
/// A leaf with less than this left is renewed at start.
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);

/// What the folder holds.
#[derive(Debug)]
pub struct Certificates {
    /// The CA's certificate, for clients to trust.
    pub ca_file: PathBuf,
    /// The system's roots and the CA.
    pub bundle_file: PathBuf,
    /// The CA.
    pub ca: CertificateDer<'static>,
    /// The server's certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// What the user must know, such as that there is a new CA.
    pub notices: Vec<String>,
}

/// A folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or the folder cannot be read or written.
    #[error("{}: {error}; make it accessible, or choose another folder with --certs", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {what}; delete it to have it made again, or choose another folder with --certs", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Making(#[from] rcgen::Error),
}

/// Whether a name can stand in the certificate; the error says what to write instead.
pub fn check_host(host: &str) -> Result<(), String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = host.len() <= 253 && host.split('.').all(label);
    if name || host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(format!(
        "'{host}' is neither a host name nor an address: write it without scheme, port, path or wildcard, such as shop.test or 192.168.1.5"
    ))
}

/// Opens the folder, making or renewing what is needed for the usual names and `hosts`.
pub fn open(
    folder: &Path,
    hosts: &[String],
    now: SystemTime,
) -> Result<Certificates, CertificateError> {
    let folder = Folder {
        path: folder,
        hosts,
        now,
    };
    // The usual case takes no lock and writes nothing, so the folder may be read-only.
    if let Stored::Good(found) = folder.look()? {
        return Ok(found);
    }
    folder.prepare()?;
    let lock = folder.file(".lock");
    let locked = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| CertificateError::Io { path: lock, error })?;
    // Another process may have made everything while this one waited.
    let mut notices = Vec::new();
    if let Stored::Bad(why) = folder.look()? {
        notices.extend(folder.make(&why)?);
    }
    drop(locked);
    match folder.look()? {
        Stored::Good(mut found) => {
            notices.append(&mut found.notices);
            Ok(Certificates { notices, ..found })
        }
        Stored::Bad(_) => Err(CertificateError::Unreadable {
            path: folder.file("server.pem"),
            what: "is not what was just written there",
        }),
    }
}

struct Folder<'a> {
    path: &'a Path,
    hosts: &'a [String],
    now: SystemTime,
}

/// What was found in the folder.
enum Stored {
    Good(Certificates),
    /// Why it cannot serve as it is.
    Bad(String),
}

impl Folder<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        NAMES
            .into_iter()
            .chain(ADDRESSES)
            .chain(self.hosts.iter().map(String::as_str))
    }

    /// Looks at what is there, as a client would: it is good if a client that trusts the CA accepts the leaf
    /// for every name, now and when the next renewal is due.
    fn look(&self) -> Result<Stored, CertificateError> {
        let (ca_file, bundle_file) = (self.file("ca.pem"), self.file("bundle.pem"));
        let Some(ca) = read(
            &ca_file,
            CertificateDer::from_pem_slice,
            "is not a certificate in PEM",
        )?
        else {
            return Ok(Stored::Bad("it is missing".into()));
        };
        let server = self.file("server.pem");
        let chain = read(
            &server,
            |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>(),
            "is not a certificate in PEM",
        )?;
        let key = read(
            &self.file("server.key"),
            PrivateKeyDer::from_pem_slice,
            "is not a private key in PEM",
        )?;
        let (Some(chain), Some(key)) = (chain, key) else {
            return Ok(Stored::Bad("its leaf is missing".into()));
        };
        if chain.is_empty() {
            return Err(CertificateError::Unreadable {
                path: server,
                what: "holds no certificate",
            });
        }
        if let Some(why) = self.complaint(&ca, &chain, &key) {
            return Ok(Stored::Bad(why));
        }
        if !bundle_file.exists() {
            return Ok(Stored::Bad(BUNDLE_MISSING.into()));
        }
        let notices = ["ca.key", "server.key"]
            .into_iter()
            .filter_map(|name| tighten(&self.file(name)))
            .collect();
        Ok(Stored::Good(Certificates {
            ca_file,
            bundle_file,
            ca,
            chain,
            key,
            notices,
        }))
    }

    fn complaint(
        &self,
        ca: &CertificateDer<'static>,
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Option<String> {
        let matching = CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &tls::provider())
            .and_then(|pair| pair.keys_match());
        if let Err(error) = matching {
            return Some(format!("its leaf and key do not belong together ({error})"));
        }
        let mut roots = RootCertStore::empty();
        if let Err(error) = roots.add(ca.clone()) {
            return Some(format!("it is no CA ({error})"));
        }
        let verifier =
            match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
                .build()
            {
                Ok(verifier) => verifier,
                Err(error) => return Some(format!("it is no CA ({error})")),
            };
        for name in self.names() {
            let Ok(server) = ServerName::try_from(name) else {
                return Some(format!("'{name}' is no name"));
            };
            for moment in [self.now, self.now + RENEW_BEFORE] {
                let at = UnixTime::since_unix_epoch(
                    moment.duration_since(UNIX_EPOCH).unwrap_or_default(),
                );
                match verifier.verify_server_cert(&chain[0], &chain[1..], &server, &[], at) {
                    Ok(_) => {}
                    Err(rustls::Error::InvalidCertificate(error))
                        if format!("{error:?}").contains("Expired") =>
                    {
                        return Some("it expires soon or has expired".into());
                    }
                    Err(_) => return Some(format!("it does not cover '{name}'")),
                }
            }
        }
        None
    }

    fn prepare(&self) -> Result<(), CertificateError> {
        fs::create_dir_all(self.path).map_err(|error| CertificateError::Io {
            path: self.path.into(),
            error,
        })?;
        let ignore = self.file(".gitignore");
        if ignore.exists() {
            Ok(())
        } else {
            write(&ignore, b"*\n", false)
        }
    }

    /// Makes what is needed, and says so: the bundle alone, a leaf from the CA there is, or all anew.
    fn make(&self, why: &str) -> Result<Option<String>, CertificateError> {
        let (ca_file, key_file) = (self.file("ca.pem"), self.file("ca.key"));
        let old = read(
            &ca_file,
            CertificateDer::from_pem_slice,
            "is not a certificate in PEM",
        )?;
        if let Some(ca) = old.as_ref().filter(|_| why == BUNDLE_MISSING) {
            return self.write_bundle(ca).map(|()| None);
        }
        let key = read(
            &key_file,
            |pem| Ok::<_, rustls::pki_types::pem::Error>(pem.to_vec()),
            "cannot be read",
        )?;
        if let (Some(ca), Some(key)) = (&old, key) {
            let unreadable = || CertificateError::Unreadable {
                path: key_file.clone(),
                what: "is not a private key in PEM",
            };
            let key =
                KeyPair::from_pem(&String::from_utf8_lossy(&key)).map_err(|_| unreadable())?;
            let issuer = Issuer::new(self.ca_params()?, key);
            let (pem, leaf_key) = self.leaf(&issuer)?;
            // The leaf is only worth writing if this CA may vouch for every name.
            let chain = CertificateDer::from_pem_slice(pem.as_bytes()).map(|leaf| vec![leaf]);
            let der = PrivateKeyDer::from_pem_slice(leaf_key.as_bytes());
            if let (Ok(chain), Ok(der)) = (chain, der)
                && self.complaint(ca, &chain, &der).is_none()
            {
                self.write_leaf(&pem, &leaf_key)?;
                self.write_bundle(ca)?;
                return Ok(Some(format!(
                    "renewed the certificate in {}; the CA stays the same",
                    self.path.display()
                )));
            }
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let ca = self.ca_params()?.self_signed(&key)?;
        let (ca_pem, ca_key) = (ca.pem(), key.serialize_pem());
        let (leaf, leaf_key) = self.leaf(&Issuer::new(self.ca_params()?, key))?;
        write(&key_file, ca_key.as_bytes(), true)?;
        write(&ca_file, ca_pem.as_bytes(), false)?;
        self.write_leaf(&leaf, &leaf_key)?;
        self.write_bundle(ca.der())?;
        let file = ca_file.display();
        Ok(Some(match old {
            None => format!("made a CA for this installation: {file}; clients must trust it"),
            Some(_) => format!(
                "NEW CA: the old one could not go on, {why}; every client that trusted it must now trust the new {file}"
            ),
        }))
    }

    fn ca_params(&self) -> Result<CertificateParams, CertificateError> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "kpay-sandbox");
        name.push(DnType::CommonName, CA_NAME);
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial());
        self.limit(&mut params, CA_LIFE);
        // Whoever trusts this CA trusts it for these names and no other: a stolen key opens no other site.
        let addresses = self
            .names()
            .filter_map(|name| name.parse::<IpAddr>().ok())
            .map(|address| match address {
                IpAddr::V4(v4) if v4.is_loopback() => CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8),
                IpAddr::V4(v4) => CidrSubnet::from_v4_prefix(v4.octets(), 32),
                IpAddr::V6(v6) => CidrSubnet::from_v6_prefix(v6.octets(), 128),
            });
        let addresses = addresses.map(GeneralSubtree::IpAddress);
        let names = self
            .names()
            .filter(|name| name.parse::<IpAddr>().is_err())
            .map(|name| GeneralSubtree::DnsName(name.into()));
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: names.chain(addresses).collect(),
            excluded_subtrees: Vec::new(),
        });
        Ok(params)
    }

    fn leaf(&self, issuer: &Issuer<'_, KeyPair>) -> Result<(String, String), CertificateError> {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "kpay-sandbox");
        params.distinguished_name = name;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        self.limit(&mut params, LEAF_LIFE);
        for name in self.names() {
            params.subject_alt_names.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.try_into()?),
            });
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = params.signed_by(&key, issuer)?;
        Ok((leaf.pem(), key.serialize_pem()))
    }

    fn limit(&self, params: &mut CertificateParams, life: Duration) {
        let begin = self.now - DAY;
        params.not_before = begin.into();
        params.not_after = (begin + life).into();
    }

    fn write_leaf(&self, pem: &str, key: &str) -> Result<(), CertificateError> {
        write(&self.file("server.key"), key.as_bytes(), true)?;
        write(&self.file("server.pem"), pem.as_bytes(), false)
    }

    fn write_bundle(&self, ca: &CertificateDer<'_>) -> Result<(), CertificateError> {
        // The system's roots may be an earlier bundle of ours, through SSL_CERT_FILE: leave our CAs out of it.
        let ours = |der: &[u8]| {
            der.windows(CA_NAME.len())
                .any(|window| window == CA_NAME.as_bytes())
        };
        let roots = rustls_native_certs::load_native_certs().certs;
        let roots = roots.iter().filter(|root| !ours(root)).chain([ca]);
        let bundle: String = roots.map(|root| pem(root)).collect();
        write(&self.file("bundle.pem"), bundle.as_bytes(), false)
    }
}

const BUNDLE_MISSING: &str = "bundle.pem is missing";

fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] &= 0x7f; // serial numbers are positive
    SerialNumber::from(bytes.to_vec())
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// A file's content, `None` when it is not there.
fn read<T, E>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
    what: &'static str,
) -> Result<Option<T>, CertificateError> {
    match fs::read(path) {
        Ok(bytes) => parse(&bytes)
            .map(Some)
            .map_err(|_| CertificateError::Unreadable {
                path: path.into(),
                what,
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CertificateError::Io {
            path: path.into(),
            error,
        }),
    }
}

/// Writes a file whole: readers see the old one or the new one. A secret one is its owner's from the start.
fn write(path: &Path, bytes: &[u8], secret: bool) -> Result<(), CertificateError> {
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
    let written = options
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes));
    written
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(|error| CertificateError::Io {
            path: path.into(),
            error,
        })
}

/// Takes a key from everybody but its owner; says so when that was needed.
#[cfg(unix)]
fn tighten(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).ok()?.permissions().mode();
    if mode & 0o077 == 0 {
        return None;
    }
    Some(
        match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
            Ok(()) => format!(
                "{} could be read by others; now only by its owner",
                path.display()
            ),
            Err(error) => format!(
                "{} can be read by others and that cannot be changed: {error}",
                path.display()
            ),
        },
    )
}

#[cfg(not(unix))]
fn tighten(_: &Path) -> Option<String> {
    None
}
