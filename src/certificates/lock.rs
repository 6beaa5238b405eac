//! The folder's lock: one program at a time writes to the folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::CertificateError;
use super::files::open;

/// How long a start waits for another program.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(20);
/// The start of what the holder writes into the file: itself.
const MARK: &str = "kpay-sandbox, process ";

/// A lock that is held until it is dropped.
pub(super) struct Lock {
    file: File,
    /// Our note of who holds it is in the file.
    noted: bool,
}

impl Lock {
    /// Takes the lock, or returns an error that names its holder.
    pub(super) fn take(path: &Path) -> Result<Lock, CertificateError> {
        let file = open(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let holder = note(&file).filter(|note| !note.is_empty());
                    let holder = holder.unwrap_or_else(|| "another program".into());
                    return Err(CertificateError::Locked { path: path.into(), holder });
                }
                Err(TryLockError::Error(error)) => return Err(CertificateError::Io { path: path.into(), error }),
            }
        }
        let mut lock = Lock { file, noted: false };
        // The note only helps whoever waits: a full disk or somebody else's file is no reason not to start.
        lock.noted = lock.is_ours() && lock.write_note().is_ok();
        Ok(lock)
    }

    /// Returns true if the file is one that this program made: nothing else may be written to.
    fn is_ours(&self) -> bool {
        #[cfg(unix)]
        if self.file.metadata().is_ok_and(|found| std::os::unix::fs::MetadataExt::nlink(&found) > 1) {
            return false;
        }
        note(&self.file).is_some()
    }

    fn write_note(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(format!("{MARK}{}\n", std::process::id()).as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.noted {
            // A note that stays behind is replaced by the next holder.
            let _ = self.file.set_len(0);
        }
    }
}

/// The note in a lock file, empty where nobody holds it; `None` when the file has another content.
fn note(mut file: &File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    if text.is_empty() {
        return Some(text);
    }
    let process: u32 = text.strip_prefix(MARK)?.strip_suffix('\n')?.parse().ok()?;
    Some(format!("{MARK}{process}"))
}
