//! The bundle: the system's trusted root certificates and the CA, for tools whose setting replaces the former.

use std::path::Path;

use rustls::pki_types::CertificateDer;

use super::files::{pem, read, write};
use super::issue::is_ours;
use super::{CertificateError, Folder};

/// The files of Linux distributions and BSDs. They are read themselves, so that the bundle does not depend on what
/// `SSL_CERT_FILE` happens to hold at this start.
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// Returns the system's trusted root certificates, in an order that is always the same.
fn system_roots() -> Vec<CertificateDer<'static>> {
    let own_stores = cfg!(any(windows, target_os = "macos"));
    let file = SYSTEM_FILES.iter().map(Path::new).find(|file| !own_stores && file.is_file());
    let mut roots = match file {
        Some(file) => rustls_native_certs::load_certs_from_paths(Some(file), None).certs,
        None => rustls_native_certs::load_native_certs().certs,
    };
    // The variables may name this very bundle, and the system may trust the CA, so certificates of ours are left out.
    roots.retain(|root| !is_ours(root));
    roots.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    roots.dedup();
    roots
}

/// What the bundle of a folder should hold.
pub(super) struct Bundle {
    text: String,
    has_roots: bool,
}

impl Bundle {
    /// Returns the bundle for a CA, with the system's roots as they are now.
    pub(super) fn of(ca: &CertificateDer<'_>) -> Bundle {
        let roots = system_roots();
        let text = roots.iter().chain([ca]).map(|root| pem("CERTIFICATE", root)).collect();
        Bundle { text, has_roots: !roots.is_empty() }
    }
}

impl Folder<'_> {
    /// Returns true if the folder's bundle needs no change.
    pub(super) fn is_bundled(&self, bundle: &Bundle) -> Result<bool, CertificateError> {
        match read(&self.file("bundle.pem")) {
            // Roots that are there are not given up for none, such as in a container with the folder of its host.
            Ok(Some(found)) if !bundle.has_roots => Ok(String::from_utf8_lossy(&found).contains(&bundle.text)),
            Ok(Some(found)) => Ok(found == bundle.text.as_bytes()),
            // One that cannot be read is written anew, and the error then says why not.
            Ok(None) | Err(CertificateError::Io { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes the bundle. Returns what the user must know of it.
    pub(super) fn write_bundle(&self, bundle: &Bundle) -> Result<Option<String>, CertificateError> {
        let file = self.file("bundle.pem");
        write(&file, bundle.text.as_bytes(), 0o644)?;
        let notice = format!("{} holds this CA only: the system's roots cannot be read", file.display());
        Ok((!bundle.has_roots).then_some(notice))
    }
}
