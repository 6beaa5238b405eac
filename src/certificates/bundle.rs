//! The bundle: the system's trusted root certificates and the CA, for tools whose setting replaces the former.

use std::path::Path;
use std::time::UNIX_EPOCH;

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

/// The system's file of trusted root certificates, where it has one.
fn system_file() -> Option<&'static Path> {
    let own_stores = cfg!(any(windows, target_os = "macos"));
    SYSTEM_FILES.into_iter().map(Path::new).find(|file| !own_stores && file.is_file())
}

/// Returns the system's trusted root certificates, in an order that is always the same.
fn system_roots() -> Vec<CertificateDer<'static>> {
    let mut roots = match system_file() {
        Some(file) => rustls_native_certs::load_certs_from_paths(Some(file), None).certs,
        None => rustls_native_certs::load_native_certs().certs,
    };
    // The variables may name this very bundle, and the system may trust the CA, so certificates of ours are left out.
    roots.retain(|root| !is_ours(root));
    roots.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
    roots.dedup();
    roots
}

/// Returns the first line of a bundle made now whose certificates take so many bytes: it tells the state of the system's
/// file. Reading all of its certificates would take half of a start.
fn stamp(certificates: usize) -> Option<String> {
    let file = system_file()?;
    let metadata = file.metadata().ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!(
        "# made by kpay-sandbox from {} ({} bytes, {} ns): {certificates} bytes\n",
        file.display(),
        metadata.len(),
        modified.as_nanos()
    ))
}

/// What the bundle of a folder should hold.
pub(super) struct Bundle {
    certificates: String,
    has_roots: bool,
}

impl Bundle {
    /// Returns the bundle for a CA, with the system's roots as they are now.
    fn of(ca: &CertificateDer<'_>) -> Bundle {
        let roots = system_roots();
        let certificates = roots.iter().chain([ca]).map(|root| pem("CERTIFICATE", root)).collect();
        Bundle { certificates, has_roots: !roots.is_empty() }
    }
}

/// Parts a bundle into its first line, if that is a stamp, and its certificates.
fn parts(bundle: &[u8]) -> (&[u8], &[u8]) {
    let line = bundle.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    bundle.split_at(if bundle.starts_with(b"#") { line } else { 0 })
}

impl Folder<'_> {
    /// Returns what the folder's bundle should be, if it is not that.
    pub(super) fn outdated_bundle(&self, ca: &CertificateDer<'_>) -> Result<Option<Bundle>, CertificateError> {
        let found = match read(&self.file("bundle.pem")) {
            Ok(found) => found.unwrap_or_default(),
            // One that cannot be read is written anew, and the error then says why not.
            Err(CertificateError::Io { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let (line, certificates) = parts(&found);
        let is_stamped = stamp(certificates.len()).is_some_and(|stamp| stamp.as_bytes() == line);
        if is_stamped && certificates.ends_with(pem("CERTIFICATE", ca).as_bytes()) {
            return Ok(None);
        }
        let bundle = Bundle::of(ca);
        let fits = if bundle.has_roots {
            certificates == bundle.certificates.as_bytes()
        } else {
            // Roots that are there are not given up for none, such as in a container with the folder of its host.
            String::from_utf8_lossy(certificates).contains(&bundle.certificates)
        };
        Ok((!fits).then_some(bundle))
    }

    /// Writes the bundle. Returns what the user must know of it.
    pub(super) fn write_bundle(&self, bundle: &Bundle) -> Result<Option<String>, CertificateError> {
        let file = self.file("bundle.pem");
        let text = stamp(bundle.certificates.len()).unwrap_or_default() + &bundle.certificates;
        write(&file, text.as_bytes(), 0o644)?;
        let notice = format!("{} holds this CA only: the system's roots cannot be read", file.display());
        Ok((!bundle.has_roots).then_some(notice))
    }
}
