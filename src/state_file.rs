//! The file of `--state`: read at start, written when something has changed and at the end, and held by one sandbox.
//!
//! A write goes to a file beside it, which then takes its place. So the file is the last whole one, whatever happens.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::door::Door;
use crate::gateway::{Gateway, Settings, Timestamp};
use crate::log::say;
use crate::saved;

/// A state file that belongs to this process.
#[derive(Debug)]
pub struct StateFile {
    /// Where it is, links followed.
    path: PathBuf,
    /// Dropping it, or the end of the process in whatever way, gives the file free.
    lock: File,
    /// The sandbox that had the file before was killed: what it did after its last write is lost.
    was_killed: bool,
    /// Something may have changed since the last write.
    is_behind: AtomicBool,
}

/// How many ids are left out after a kill. More payments than this are not made between two writes.
const SKIPPED_IDS: usize = 100_000;

/// How many bytes a lock file has: a process id and a new line.
const LOCK_LENGTH: usize = 11;

impl StateFile {
    /// Takes possession of the file, which need not exist. The error is a sentence that names it.
    pub fn open(path: &Path) -> Result<StateFile, String> {
        let wrong = |why: String| format!("--state: {}: {why}", path.display());
        let path = resolved(path).map_err(wrong)?;
        let (lock, was_killed) = locked(&beside(&path, ".lock")).map_err(wrong)?;
        Ok(StateFile { path, lock, was_killed, is_behind: AtomicBool::new(was_killed) })
    }

    /// Reads the state, if the file exists. A file that cannot be read is never written either.
    pub fn read(&self, settings: &Settings) -> Result<Option<(Timestamp, Gateway)>, String> {
        let wrong = |why: &dyn std::fmt::Display| {
            let file = self.path.display();
            format!("--state: {file}: {why}. To start without it, move the file away or name another")
        };
        match File::open(&self.path) {
            Ok(file) => {
                let (now, mut gateway) = saved::read(settings, file).map_err(|error| wrong(&error))?;
                if self.was_killed {
                    gateway.skip_ids(SKIPPED_IDS);
                }
                Ok(Some((now, gateway)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(&error)),
        }
    }

    /// Writes the state behind a door, whole or not at all, and returns its revision.
    fn write(&self, door: &Door, info: &serde_json::Value) -> io::Result<u64> {
        let (revision, snapshot) = door.save();
        let unfinished = beside(&self.path, ".tmp");
        let written = self.write_to(&unfinished, &snapshot, info);
        if written.is_err() {
            // It takes room on a disk that may be full. Where it cannot be removed, the next write tries again.
            let _ = fs::remove_file(&unfinished);
        }
        written.map(|()| revision)
    }

    fn write_to(
        &self,
        unfinished: &Path,
        snapshot: &crate::gateway::state::Snapshot,
        info: &serde_json::Value,
    ) -> io::Result<()> {
        // One that a killed process has left.
        match fs::remove_file(unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let mut file = private(&mut options).open(unfinished)?;
        saved::write(snapshot, info, &mut file)?;
        file.sync_all()?;
        fs::rename(unfinished, &self.path)?;
        // The new name is on the disk only when the folder is.
        #[cfg(unix)]
        File::open(folder_of(&self.path))?.sync_all()?;
        Ok(())
    }

    /// Keeps the file up to date until `stop`.
    pub async fn follow(
        self: Arc<Self>,
        door: Arc<Door>,
        info: serde_json::Value,
        interval: Duration,
        mut stop: watch::Receiver<bool>,
    ) {
        let (mut written, mut complained) = (door.revision(), String::new());
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if door.revision() == written {
                continue;
            }
            match self.save(&door, &info).await {
                Ok(revision) => {
                    written = revision;
                    complained.clear();
                }
                Err(why) if why != complained => {
                    say(&format!("{why}. The file is as it was; the next try is in {interval:?}"));
                    complained = why;
                }
                Err(_) => {}
            }
        }
    }

    /// Takes the file into use. Ids that were left out are written before any is given: another kill may come before the
    /// next write.
    pub async fn begin(self: &Arc<Self>, door: &Arc<Door>, info: &serde_json::Value) -> Result<(), String> {
        self.is_behind.store(true, Ordering::Relaxed);
        if self.was_killed || !self.path.exists() {
            self.save(door, info).await?;
        }
        Ok(())
    }

    /// Writes the state for the last time.
    pub async fn finish(self: &Arc<Self>, door: &Arc<Door>, info: &serde_json::Value) -> Result<(), String> {
        self.save(door, info).await?;
        self.is_behind.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the state now. The error is a sentence that names the file.
    async fn save(self: &Arc<Self>, door: &Arc<Door>, info: &serde_json::Value) -> Result<u64, String> {
        let (file, door, info) = (Arc::clone(self), Arc::clone(door), info.clone());
        let writing = tokio::task::spawn_blocking(move || file.write(&door, &info));
        let written = writing.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        written.map_err(|error| format!("--state: {}: cannot be written: {error}", self.path.display()))
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        if !*self.is_behind.get_mut() {
            // One that stays full looks like a kill, and then some ids are left out.
            let _ = self.lock.set_len(0);
        }
    }
}

/// Returns the path of the file itself, also where a link leads to it.
fn resolved(path: &Path) -> Result<PathBuf, String> {
    match fs::canonicalize(path) {
        Ok(path) if path.is_file() => return Ok(path),
        Ok(_) => return Err("is not a regular file: name one, or a file that does not exist yet".into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
        Err(_) => {}
    }
    if path.is_symlink() {
        return Err("is a link to a file that does not exist: name that file".into());
    }
    let name = path.file_name().ok_or("is not the name of a file")?;
    let folder = fs::canonicalize(folder_of(path)).map_err(|error| format!("its folder: {error}. Create it first"))?;
    Ok(folder.join(name))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Opens and locks a lock file, and writes the process id into it, which stays there when the process is killed. Returns
/// true with it if that happened before. It follows no link and takes nothing for a lock file that may be something else.
fn locked(path: &Path) -> Result<(File, bool), String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = private(not_following(&mut options)).open(path).map_err(|error| wrong(&error))?;
    let is_file = file.metadata().map_err(|error| wrong(&error))?.is_file();
    let locked = file.try_lock();
    let mut text = [0; LOCK_LENGTH + 1];
    // On Windows nobody else can read a locked file.
    let length = if is_file { file.read(&mut text).unwrap_or(0) } else { text.len() };
    let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let pid = text.trim();
    if length > LOCK_LENGTH || !pid.bytes().all(|byte| byte.is_ascii_digit()) || (length > 0 && pid.is_empty()) {
        return Err(wrong(&"is not a lock file of kpay-sandbox. Remove it, or name another state file"));
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let who =
                if pid.is_empty() { "another sandbox".into() } else { format!("the sandbox with process id {pid}") };
            return Err(format!("is in use by {who}. End that one, or name another file"));
        }
        Err(TryLockError::Error(error)) => return Err(wrong(&format!("cannot be locked: {error}"))),
    }
    let written = file.seek(SeekFrom::Start(0)).and_then(|_| writeln!(file, "{:>10}", std::process::id()));
    written.map_err(|error| wrong(&error))?;
    Ok((file, !pid.is_empty()))
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn not_following(options: &mut OpenOptions) -> &mut OpenOptions {
    use rustix::fs::OFlags;
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.cast_signed())
}

#[cfg(not(unix))]
fn not_following(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}
