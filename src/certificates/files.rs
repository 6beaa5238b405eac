//! The folder's files: regular files only, read within a limit, replaced as a whole, keys for their owner only.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use base64::Engine;

use super::CertificateError;

/// The largest file that is read. A bundle of the system's roots has about 250 kB.
const LIMIT: u64 = 4 * 1024 * 1024;

/// DER as PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

/// Opens a regular file. A cloned repository can ship links and folders under these names: no link is followed, and
/// opening a FIFO does not wait for its other end.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> Result<File, CertificateError> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
    }
    #[cfg(not(unix))]
    irregular(path, fs::symlink_metadata(path).ok().map(|found| found.file_type()))?;
    match options.open(path).and_then(|file| Ok((file.metadata()?.file_type(), file))) {
        Ok((kind, file)) => irregular(path, Some(kind)).map(|()| file),
        // Systems differ in the error for a link, a folder and a FIFO, so the file itself is asked.
        Err(error) => {
            irregular(path, fs::symlink_metadata(path).ok().map(|found| found.file_type()))?;
            Err(CertificateError::Io { path: path.into(), error })
        }
    }
}

/// Refuses everything but a regular file; nothing at all is fine.
fn irregular(path: &Path, kind: Option<FileType>) -> Result<(), CertificateError> {
    let what = match kind {
        Some(kind) if kind.is_symlink() => "is a symbolic link, and links are not followed",
        Some(kind) if kind.is_dir() => "is a folder instead of a file",
        Some(kind) if !kind.is_file() => "is not a regular file",
        _ => return Ok(()),
    };
    Err(CertificateError::Content { path: path.into(), what })
}

/// A file's content, `None` when it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, CertificateError> {
    let file = match open(path, OpenOptions::new().read(true)) {
        Err(CertificateError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    match file.take(LIMIT + 1).read_to_end(&mut bytes) {
        Ok(read) if read as u64 > LIMIT => {
            Err(CertificateError::Content { path: path.into(), what: "is larger than 4 MiB" })
        }
        Ok(_) => Ok(Some(bytes)),
        Err(error) => Err(CertificateError::Io { path: path.into(), error }),
    }
}

/// Replaces a file as a whole, under the lock: readers see the old or the new one. The mode holds from creation. What
/// a link points to stays as it is: the link itself is replaced.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = Path::new(&unfinished);
    // One left over from a crash may have another mode.
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            irregular(unfinished, fs::symlink_metadata(unfinished).ok().map(|found| found.file_type()))?;
            return Err(CertificateError::Io { path: unfinished.into(), error });
        }
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = open(unfinished, &mut options)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(unfinished, path));
    written.map_err(|error| {
        // Half a file helps nobody, and on a full disk it takes room. The error above is the one to tell.
        let _ = fs::remove_file(unfinished);
        CertificateError::Io { path: path.into(), error }
    })
}

/// Takes a key from everybody but its owner, and returns a notice when that was needed. The permissions are those of the
/// file that was opened, and only of a file that has no other name.
#[cfg(unix)]
pub(super) fn tighten(path: &Path) -> Result<Option<String>, CertificateError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let file = match open(path, OpenOptions::new().read(true)) {
        // A key that this user cannot read is not needed now, and its permissions are its owner's affair.
        Err(CertificateError::Io { error, .. })
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
        {
            return Ok(None);
        }
        file => file?,
    };
    let found = file.metadata().map_err(|error| CertificateError::Io { path: path.into(), error })?;
    if found.mode() & 0o077 == 0 {
        return Ok(None);
    }
    let name = path.display();
    if found.nlink() > 1 {
        return Ok(Some(format!(
            "{name} can be read by others. It has a second name (hard link), so that is not changed"
        )));
    }
    Ok(Some(match file.set_permissions(PermissionsExt::from_mode(0o600)) {
        Ok(()) => format!("{name} could be read by others; now only by its owner"),
        Err(error) => format!("{name} can be read by others, and that cannot be changed: {error}"),
    }))
}

#[cfg(not(unix))]
pub(super) fn tighten(_: &Path) -> Result<Option<String>, CertificateError> {
    Ok(None)
}
