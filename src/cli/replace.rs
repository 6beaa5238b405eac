//! Replaces the content of a file of the system's: neither a full disk nor the end of this program leaves half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Replaces a file's content `before` with `after`: written whole beside it and renamed, or in place where the file
/// cannot be renamed over, such as one that a container mounts. The error says what has become of the file.
pub(super) fn replace(file: &Path, before: &[u8], after: &[u8]) -> Result<(), String> {
    // A link stays one: the file that it names is replaced.
    let file = &fs::canonicalize(file).map_err(|error| format!("cannot be found: {error}"))?;
    match beside(file, after) {
        // No room for a second copy is no room for the new content either.
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Err(format!("cannot be written: {error}. It is unchanged"))
        }
        Err(_) => in_place(file, before, after),
        Ok(()) => Ok(()),
    }
}

/// Writes the content into a new file in the same folder, with the old one's owner and mode, and puts it in its place.
fn beside(file: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(format!(".kpay-sandbox-{}", std::process::id()));
    let unfinished = file.with_file_name(name);
    let written = write_like(file, &unfinished, content).and_then(|()| fs::rename(&unfinished, file));
    if let Err(error) = written {
        // It is not there when it could not be made; the error above is the one to act on.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    // The new name is on the disk once the folder is. Where a folder cannot be opened, the system sees to that.
    File::open(file.parent().unwrap_or(file)).map_or(Ok(()), |folder| folder.sync_all())
}

fn write_like(old: &Path, new: &Path, content: &[u8]) -> io::Result<()> {
    let found = fs::metadata(old)?;
    // One left over from an earlier process of the same number; the new one is never somebody's link.
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(new)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let made = file.metadata()?;
        if found.nlink() > 1 {
            return Err(io::Error::other("the file has a second name"));
        }
        if (made.uid(), made.gid()) != (found.uid(), found.gid()) {
            fchown(&file, Some(found.uid()), Some(found.gid()))?;
        }
    }
    file.set_permissions(found.permissions())?;
    file.write_all(content)?;
    file.sync_all()
}

/// Writes the content over the old one, reads it back, and restores the old one when that fails.
fn in_place(path: &Path, before: &[u8], after: &[u8]) -> Result<(), String> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let mut file = file.map_err(|error| format!("cannot be written: {error}. Run this as root, such as with sudo"))?;
    let Err(error) = overwrite(&mut file, before.len(), after) else { return Ok(()) };
    Err(match overwrite(&mut file, after.len().max(before.len()), before) {
        Ok(()) => format!("cannot be written: {error}. It is unchanged"),
        Err(again) => format!("cannot be written: {error}. Its old content cannot be restored: {again}"),
    })
}

/// Writes what is longer than the old content first: that part needs room, and destroys nothing when there is none.
fn overwrite(file: &mut File, old: usize, content: &[u8]) -> io::Result<()> {
    let (start, rest) = content.split_at(old.min(content.len()));
    file.seek(SeekFrom::Start(start.len() as u64))?;
    file.write_all(rest)?;
    file.sync_all()?;
    file.rewind()?;
    file.write_all(start)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()?;
    file.rewind()?;
    let mut found = Vec::with_capacity(content.len() + 1);
    file.take(content.len() as u64 + 1).read_to_end(&mut found)?;
    if found == content { Ok(()) } else { Err(io::Error::other("it reads back otherwise")) }
}
