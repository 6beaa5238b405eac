//! The step between `exec` and its command: asks the system to end the command when `exec` is no more, even where it was
//! killed, and becomes the command.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// What this program is called with to be that step; no user writes it.
const WORD: &str = "__exec-child";

/// A command that ends with this program, where the system can do that.
pub(super) fn command(words: &[OsString]) -> std::io::Result<Command> {
    if cfg!(target_os = "linux") {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(WORD).arg(std::process::id().to_string()).args(words);
        return Ok(command);
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Ok(command)
}

/// Becomes the command, if that is what this program was called for; returns when that cannot be.
#[cfg(target_os = "linux")]
pub(super) fn asked_for() -> Option<ExitCode> {
    use std::os::unix::process::CommandExt;
    let mut words = std::env::args_os().skip(1);
    if words.next()? != WORD {
        return None;
    }
    let parent: i32 = words.next()?.to_str()?.parse().ok()?;
    let command = words.next()?;
    let set = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let alive = rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    if set.is_ok() && !alive {
        return Some(ExitCode::FAILURE);
    }
    let error = Command::new(&command).args(words).exec();
    crate::log::say(&format!("{}: {error}", command.to_string_lossy()));
    Some(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn asked_for() -> Option<ExitCode> {
    None
}
