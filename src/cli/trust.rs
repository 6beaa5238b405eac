//! `kpay-sandbox trust` and `untrust`: the CA in the system's store, and in Firefox's and Chromium's own where `certutil` is
//! there. The CA vouches for the sandbox's names only, so trusting it endangers no other site.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use super::fail;
use crate::certificates;
use crate::clock::wall_clock;
use crate::environment::write_new;
use crate::log::say;

/// Which CA, and where to.
#[derive(Debug, Clone, Args)]
pub struct Trust {
    /// Folder of the CA, made when it is not there
    #[arg(long, env = "KPAY_SANDBOX_CERTS", value_name = "FOLDER", default_value = "certs")]
    certs: PathBuf,

    /// Folder of the system's further roots, where it keeps them elsewhere than usual; it is not told to read them again
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

/// The name of the CA in stores that have names, and of its file in those that have files.
const NAME: &str = "kpay-sandbox";

/// A store that is a folder of files, and the command that has the system read it.
struct Store {
    folder: PathBuf,
    refresh: Option<&'static [&'static str]>,
}

/// Where systems keep further roots: Debian, Fedora, Arch.
const STORES: [(&str, &[&str]); 3] = [
    ("/usr/local/share/ca-certificates", &["update-ca-certificates"]),
    ("/etc/pki/ca-trust/source/anchors", &["update-ca-trust", "extract"]),
    ("/etc/ca-certificates/trust-source/anchors", &["trust", "extract-compat"]),
];

/// Puts the CA into the stores, or takes it out of them.
pub(super) fn run(trust: &Trust, wanted: bool) -> ExitCode {
    // Nobody who takes a CA away wants a new one made.
    let opened = wanted.then(|| certificates::open(&trust.certs, &[], wall_clock()));
    if let Some(Ok(found)) = &opened {
        found.notices.iter().for_each(|notice| say(notice));
    }
    let ca = match opened {
        Some(Ok(found)) if found.is_limited() => found.ca_file,
        Some(Ok(found)) => {
            let file = found.ca_file.display();
            return fail(
                2,
                &format!("{file} can sign for every name, so it is not trusted. Choose another folder with --certs"),
            );
        }
        Some(Err(error)) => return fail(2, &error.to_string()),
        None => trust.certs.join("ca.pem"),
    };
    let done = match (&trust.into, std::env::consts::OS) {
        (None, "macos") => keychain(&ca, wanted),
        (None, "windows") => windows_store(&ca, wanted),
        (into, _) => store(into.as_deref()).and_then(|store| store.set(&ca, wanted)),
    };
    match done {
        Ok(said) => say(&said),
        Err(why) => return fail(1, &why),
    }
    if wanted && curl_uses_mbedtls() {
        say(
            "this machine's curl uses mbedTLS, which accepts no CA that is limited to names, as this one is. Use a curl with another TLS library",
        );
    }
    for (database, problem) in if trust.into.is_none() { browsers(&ca, wanted) } else { Vec::new() } {
        match problem {
            None => {
                say(&format!("{database}: {}", if wanted { "it is trusted there" } else { "it is gone from there" }))
            }
            Some(why) => return fail(1, &format!("{database}: {why}")),
        }
    }
    ExitCode::SUCCESS
}

/// Returns true if `curl`, by which the library is known best, is built with mbedTLS.
fn curl_uses_mbedtls() -> bool {
    let output = Command::new("curl").arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).to_ascii_lowercase().contains("mbedtls"))
}

fn store(into: Option<&Path>) -> Result<Store, String> {
    if let Some(folder) = into {
        return Ok(Store { folder: folder.to_owned(), refresh: None });
    }
    let found = STORES.iter().find(|(folder, _)| Path::new(folder).is_dir());
    let (folder, refresh) = found.ok_or("no folder for further roots was found; name it with --into FOLDER")?;
    Ok(Store { folder: folder.into(), refresh: Some(refresh) })
}

impl Store {
    fn set(&self, ca: &Path, wanted: bool) -> Result<String, String> {
        let file = self.folder.join(format!("{NAME}.crt"));
        let changed = if wanted {
            copy(ca, &file)
        } else {
            match fs::remove_file(&file) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            }
        };
        changed.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("{}: there is no such folder; name another with --into", self.folder.display())
            }
            _ => format!("{}: {error}; run this as root, such as with sudo", file.display()),
        })?;
        if let Some([program, arguments @ ..]) = self.refresh {
            command(program, arguments)?;
        }
        Ok(match wanted {
            true => format!("{}: the system trusts it; take that back with: kpay-sandbox untrust", file.display()),
            false => format!("{}: the system no longer has it", file.display()),
        })
    }
}

/// Copies the CA. A link in its place is replaced, and what it points to stays as it is.
fn copy(ca: &Path, file: &Path) -> io::Result<()> {
    let pem = certificates::read(ca).map_err(io::Error::other)?;
    let pem = pem.ok_or_else(|| io::Error::other(format!("{} is not there", ca.display())))?;
    write_new(file, &pem)?;
    // Every user's programs read it, whatever umask the file was made with.
    fs::set_permissions(file, fs::metadata(ca)?.permissions())
}

/// Runs a command; what it said when it failed.
fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}; install it, or run this as root"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].concat();
    Err(format!("{program} failed: {}", String::from_utf8_lossy(&said).trim()))
}

fn keychain(ca: &Path, wanted: bool) -> Result<String, String> {
    let file = ca.display().to_string();
    let keychain = "/Library/Keychains/System.keychain";
    if wanted {
        command("security", &["add-trusted-cert", "-d", "-r", "trustRoot", "-k", keychain, &file])?;
        return Ok(format!("{keychain}: the system trusts {file}; take that back with: kpay-sandbox untrust"));
    }
    command("security", &["remove-trusted-cert", "-d", &file])?;
    Ok(format!("{keychain}: the system no longer has it"))
}

fn windows_store(ca: &Path, wanted: bool) -> Result<String, String> {
    let file = ca.display().to_string();
    if wanted {
        command("certutil", &["-addstore", "-f", "Root", &file])?;
        return Ok(format!("Root: the system trusts {file}; take that back with: kpay-sandbox untrust"));
    }
    command("certutil", &["-delstore", "Root", certificates::CA_NAME])?;
    Ok("Root: the system no longer has it".into())
}

/// Firefox and Chromium on Linux have stores of their own; each that was found, and what went wrong with it.
fn browsers(ca: &Path, wanted: bool) -> Vec<(String, Option<String>)> {
    let Some(home) = std::env::var_os("HOME").filter(|_| cfg!(unix)).map(PathBuf::from) else { return Vec::new() };
    if Command::new("certutil").arg("--help").output().is_err() {
        return Vec::new();
    }
    let profiles = [".mozilla/firefox", "snap/firefox/common/.mozilla/firefox"].map(|folder| home.join(folder));
    let profiles = profiles.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let profiles = profiles.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let databases = profiles.chain([home.join(".pki/nssdb")]).filter(|folder| folder.join("cert9.db").is_file());
    databases
        .map(|folder| {
            let (database, file) = (format!("sql:{}", folder.display()), ca.display().to_string());
            // One that is there already is put in anew, and one that is not there is gone.
            let removed = command("certutil", &["-D", "-d", &database, "-n", NAME]);
            let added = if wanted {
                command("certutil", &["-A", "-d", &database, "-t", "C,,", "-n", NAME, "-i", &file])
            } else {
                removed.or_else(|why| {
                    if why.contains("NOT_FOUND") || why.contains("could not find") { Ok(()) } else { Err(why) }
                })
            };
            (database, added.err())
        })
        .collect()
}
