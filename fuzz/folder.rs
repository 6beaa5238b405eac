//! A certificate folder made of bytes, and what must hold when a sandbox opens it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kpay_sandbox::certificates::{self, Certificates};
use kpay_sandbox::clock::wall_clock;
use kpay_sandbox::tls;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use tempfile::TempDir;
use x509_parser::prelude::{FromDer, X509Certificate};

const NAMES: [&str; 14] = [
    "ca.pem",
    "ca.key",
    "server.pem",
    "server.key",
    "bundle.pem",
    ".lock",
    ".gitignore",
    "ca.pem.new",
    "ca.key.new",
    "server.pem.new",
    "server.key.new",
    "bundle.pem.new",
    "server-names.pem",
    "server-names.pem.new",
];

/// Folders to take files from, and files that nobody may touch.
pub(crate) struct Folders {
    ours: TempDir,
    others: TempDir,
    /// With a CA that is not ours.
    foreign: TempDir,
    outside: TempDir,
    before: Vec<(PathBuf, Vec<u8>, u32)>,
}

/// Takes bytes; zero when there are none left.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }
}

impl Folders {
    pub(crate) fn new() -> Folders {
        let folder = || tempfile::tempdir().expect("a temporary folder");
        let (ours, others, foreign, outside) = (folder(), folder(), folder(), folder());
        for made in [&ours, &others] {
            certificates::open(made.path(), &[], wall_clock()).expect("an empty folder is filled");
        }
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        for name in NAMES {
            let content = if name.contains(".key") { key.serialize_pem() } else { certificate.clone() };
            fs::write(foreign.path().join(name), content).expect("it is written");
        }
        fs::write(outside.path().join("secret"), "somebody else's\n").expect("it is written");
        fs::write(outside.path().join("empty"), "").expect("it is written");
        // What a link leads to may be a key that would serve.
        for name in NAMES.iter().filter(|name| ours.path().join(name).is_file()) {
            fs::copy(ours.path().join(name), outside.path().join(name)).expect("it is copied");
            fs::set_permissions(outside.path().join(name), PermissionsExt::from_mode(0o644)).expect("its mode is set");
        }
        let before = content(outside.path());
        Folders { ours, others, foreign, outside, before }
    }

    pub(crate) fn open(&self, input: &[u8]) {
        let mut bytes = Bytes(input);
        let now = match bytes.next() % 8 {
            0 => UNIX_EPOCH,
            1 => UNIX_EPOCH - Duration::from_secs(86_400),
            2 => UNIX_EPOCH + Duration::from_secs(4_102_444_800),
            3 => wall_clock() + Duration::from_secs(86_400 * 380),
            4 => UNIX_EPOCH + Duration::from_secs(253_402_214_400),
            _ => wall_clock(),
        };
        let hosts = if bytes.next() % 8 == 0 { vec!["shop.test".to_owned()] } else { Vec::new() };
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in NAMES {
            self.put(&folder.path().join(name), name, &mut bytes);
        }
        let (tell, told) = mpsc::channel();
        let path = folder.path().to_owned();
        std::thread::spawn(move || {
            // Nobody listens any more when it has taken too long, and that is reported.
            let _ = tell.send(certificates::open(&path, &hosts, now));
        });
        let opened = told.recv_timeout(Duration::from_secs(30)).expect("it ends, and without a panic");
        assert_eq!(content(self.outside.path()), self.before, "a file outside the folder has changed");
        match opened {
            Ok(found) => verify(&found, now),
            Err(error) => {
                let error = error.to_string();
                let named = error.contains(&*folder.path().to_string_lossy()) || error.contains("clock says");
                assert!(named && !error.contains('\n'), "{error}");
            }
        }
    }

    /// Puts one file into the folder, or something else, or nothing.
    fn put(&self, path: &Path, name: &str, bytes: &mut Bytes<'_>) {
        let (kind, mode) = (bytes.next(), bytes.next());
        let outside = self.outside.path();
        let copy = |folder: &TempDir| fs::read(folder.path().join(name)).unwrap_or_default();
        let content = match kind % 16 {
            0 => return,
            1 => Vec::new(),
            2 => copy(&self.others),
            3 => copy(&self.foreign),
            4 => {
                let mut damaged = copy(&self.ours);
                for _ in 0..1 + mode % 8 {
                    let (at, to) = (usize::from(bytes.next()) << 8 | usize::from(bytes.next()), bytes.next());
                    if !damaged.is_empty() {
                        let at = at % damaged.len();
                        damaged[at] = to;
                    }
                }
                damaged
            }
            5 => {
                let cut = copy(&self.ours);
                cut[..cut.len() * usize::from(bytes.next()) / 256].to_vec()
            }
            6 => vec![bytes.next(); 5 << 20],
            7 => return fs::create_dir(path).expect("a folder"),
            8 => return symlink(outside.join("secret"), path).expect("a link"),
            9 => return symlink(outside.join(name), path).expect("a link"),
            10 => return symlink(outside.join("nothing"), path).expect("a link"),
            11 => return fs::hard_link(outside.join("secret"), path).unwrap_or(()),
            12 => return assert!(Command::new("mkfifo").arg(path).status().is_ok_and(|made| made.success())),
            _ if name.ends_with(".new") => return,
            _ => copy(&self.ours),
        };
        fs::write(path, content).expect("it is written");
        fs::set_permissions(path, PermissionsExt::from_mode(u32::from(mode) << 1 & 0o777)).expect("its mode is set");
    }
}

/// A client that trusts the CA takes the certificate, once its clock is within the CA's life.
fn verify(found: &Certificates, now: SystemTime) {
    let (_, ca) = X509Certificate::from_der(&found.ca).expect("a CA");
    let from = [&found.ca, &found.chain[0]].map(|der| {
        let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
        UNIX_EPOCH + Duration::from_secs(certificate.validity().not_before.timestamp().try_into().unwrap_or(0))
    });
    let early = now < from[0];
    let at = if early { from[0].max(from[1]) } else { now };
    assert!(!early || found.notices.iter().any(|notice| notice.contains("clock says")), "{:?}", found.notices);
    assert!(ca.is_ca());
    tls::acceptor(found.chain.clone(), found.names_only.clone(), &found.key).expect("it can be served with");
    let mut roots = RootCertStore::empty();
    roots.add(found.ca.clone()).expect("a root");
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build();
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let name = ServerName::try_from("pay.esicia.com").expect("a name");
    let verifier = verifier.expect("a verifier");
    for chain in [&found.chain, &found.names_only] {
        verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], at).expect("a client takes it");
    }
}

/// The content and mode of each file of a folder.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>, u32)> {
    let files = fs::read_dir(folder).expect("it is listed").map(|entry| entry.expect("it is listed").path());
    let mut files: Vec<_> = files
        .map(|path| {
            let mode = fs::symlink_metadata(&path).expect("it is there").permissions().mode();
            (path.clone(), fs::read(&path).expect("it can be read"), mode)
        })
        .collect();
    files.sort();
    files
}
