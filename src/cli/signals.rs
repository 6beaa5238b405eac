//! Signals that `exec` gets: they are passed on to its command.

use std::process::ExitStatus;

use tokio::process::Child;

#[cfg(unix)]
use super::child;

/// The signals that are passed on to the command.
pub(super) struct Signals {
    #[cfg(unix)]
    taken: [tokio::signal::unix::Signal; 4],
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn listen() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let [term, hup] = [SignalKind::terminate(), SignalKind::hangup()];
        let [int, quit] = [SignalKind::interrupt(), SignalKind::quit()];
        Ok(Signals { taken: [signal(term)?, signal(hup)?, signal(int)?, signal(quit)?] })
    }

    /// The next one that comes.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> rustix::process::Signal {
        use rustix::process::Signal;
        let [term, hup, int, quit] = &mut self.taken;
        tokio::select! {
            _ = term.recv() => Signal::TERM,
            _ = hup.recv() => Signal::HUP,
            _ = int.recv() => Signal::INT,
            _ = quit.recv() => Signal::QUIT,
        }
    }

    /// Waits for the next one, and returns the exit code for a program that it ends.
    #[cfg(unix)]
    pub(super) async fn code_of_next(&mut self) -> i32 {
        128 + self.next().await.as_raw()
    }

    #[cfg(not(unix))]
    pub(super) async fn code_of_next(&mut self) -> i32 {
        // An error would mean that Ctrl-C cannot be heard: then it ends the program by itself.
        let _ = tokio::signal::ctrl_c().await;
        130
    }

    /// Waits for the command. A terminal sends Ctrl-C to it as well, so that is not passed on from there.
    #[cfg(unix)]
    pub(super) async fn until_end_of(&mut self, child: &mut Child) -> std::io::Result<ExitStatus> {
        use rustix::process::{Pid, Signal, kill_process};
        let at_terminal = child::at_terminal();
        loop {
            let signal = tokio::select! {
                status = child.wait() => return status,
                signal = self.next() => signal,
            };
            let from_terminal = at_terminal && matches!(signal, Signal::INT | Signal::QUIT);
            if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
                && !from_terminal
            {
                // It may have ended by now, which the next turn sees.
                let _ = kill_process(pid, signal);
            }
        }
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> std::io::Result<Signals> {
        Ok(Signals {})
    }

    #[cfg(not(unix))]
    pub(super) async fn until_end_of(&mut self, child: &mut Child) -> std::io::Result<ExitStatus> {
        loop {
            tokio::select! {
                status = child.wait() => return status,
                // The console sends it to the command as well.
                _ = tokio::signal::ctrl_c() => {}
            }
        }
    }
}
