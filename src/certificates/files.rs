//! The folder's files: read whole, written whole, keys for their owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use base64::Engine;

use super::CertificateError;

/// DER as PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

/// A file's content, `None` when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, CertificateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CertificateError::Io { path: path.into(), error }),
    }
}

/// Writes a file whole, under the lock: readers see the old or the new one. The mode holds from creation.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    // One left over from a crash may have another mode.
    let _ = fs::remove_file(&unfinished);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let file = options.open(&unfinished);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(|error| CertificateError::Io { path: path.into(), error })
}

/// Takes a key from everybody but its owner; says so when that was needed.
#[cfg(unix)]
pub(super) fn tighten(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let name = path.display();
    (mode & 0o077 != 0).then(|| match fs::set_permissions(path, PermissionsExt::from_mode(0o600)) {
        Ok(()) => format!("{name} could be read by others; now only by its owner"),
        Err(error) => {
            format!("{name} can be read by others, and that cannot be changed: {error}")
        }
    })
}

#[cfg(not(unix))]
pub(super) fn tighten(_: &Path) -> Option<String> {
    None
}
