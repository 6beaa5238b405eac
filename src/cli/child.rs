//! The step between `exec` and its command, on Linux: asks the system for a signal when `exec` is no more, even where it was
//! killed, and then ends the command with all that it has started.
//!
//! Away from a terminal the command has a process group of its own, whose every member gets the signals that `exec` gets,
//! and which is ended with the command. At a terminal the group is the terminal's affair: it signals all of it, and stops
//! those that use it from another group.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

#[cfg(target_os = "linux")]
use super::isolation;
use super::isolation::View;

/// What this program is called with to be that step; no user writes it.
const WORD: &str = "__exec-child";
/// The command has a view of its own of the machine: its arguments follow.
const PRIVATE: &str = "private";
/// The command sees the machine as others do.
const SHARED: &str = "shared";

/// A command that ends with this program and has a view of its own of the machine, where the system can do that.
pub(super) fn command(words: &[OsString], view: Option<&View>) -> std::io::Result<Command> {
    if cfg!(target_os = "linux") {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(WORD).arg(std::process::id().to_string()).arg(if view.is_some() { PRIVATE } else { SHARED });
        command.args(view.map(View::arguments).into_iter().flatten()).args(words);
        #[cfg(unix)]
        if !at_terminal() {
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        return Ok(command);
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Ok(command)
}

/// Returns true if a terminal controls this process, whatever standard input is.
#[cfg(unix)]
pub(super) fn at_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Runs the command, if that is what this program was called for.
#[cfg(target_os = "linux")]
pub(super) fn asked_for() -> Option<ExitCode> {
    use std::os::unix::process::CommandExt;
    let mut words = std::env::args_os().skip(1);
    if words.next()? != WORD {
        return None;
    }
    let parent: i32 = words.next()?.to_str()?.parse().ok()?;
    if words.next()? == PRIVATE
        && let Err(why) = isolation::enter(&View::read(&mut words)?)
    {
        return Some(super::fail(1, &format!("the command does not run: {why}. Try --isolation off")));
    }
    let mut command = Command::new(words.next()?);
    command.args(words);
    // Where it cannot be set, the command ends with `exec` in all but one case.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    if rustix::process::getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
        return Some(ExitCode::FAILURE);
    }
    if at_terminal() {
        return Some(not_run(&command.exec(), &command));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Some(super::fail(1, &format!("the runtime does not start: {error}"))),
    };
    Some(runtime.block_on(guard(command)))
}

/// Runs the command in this process's group, passes on to all of it what it is told itself, and ends what is left of it.
#[cfg(target_os = "linux")]
async fn guard(command: Command) -> ExitCode {
    use rustix::process::{Signal, getpid, kill_process_group};
    let mut signals = match super::signals::Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return super::fail(1, &format!("signals cannot be listened to: {error}")),
    };
    let mut command = tokio::process::Command::from(command);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return not_run(&error, command.as_std()),
    };
    // What is passed on to the group comes back once, as this process is of it.
    let mut echo = None;
    let status = loop {
        let signal = tokio::select! {
            status = child.wait() => break status,
            signal = signals.next() => signal,
        };
        if echo.take() != Some(signal) {
            echo = Some(signal);
            // There is a group: this process leads it.
            let _ = kill_process_group(getpid(), signal);
        }
    };
    let _ = kill_process_group(getpid(), Signal::TERM);
    match status {
        Ok(status) => ExitCode::from(super::exec::code_of(status)),
        Err(error) => super::fail(1, &format!("the command cannot be waited for: {error}")),
    }
}

#[cfg(target_os = "linux")]
fn not_run(error: &std::io::Error, command: &Command) -> ExitCode {
    let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    super::fail(code, &format!("{}: {error}", command.get_program().to_string_lossy()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn asked_for() -> Option<ExitCode> {
    None
}
