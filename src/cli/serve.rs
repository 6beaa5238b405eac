//! `kpay-sandbox serve`: start, say so, wait for the end.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::fail;
use crate::config::Config;
use crate::environment::write_new;
use crate::log::{self, LogFormat, Writing};
use crate::sandbox::{Facts, Sandbox, StartError};

/// Serves until Ctrl-C or SIGTERM.
pub fn run(config: Config) -> ExitCode {
    #[cfg(unix)]
    allow_many_connections();
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("the runtime does not start: {error}")),
    };
    runtime.block_on(serve(config))
}

/// Many systems let a program have 1024 files and connections until it asks for more.
#[cfg(unix)]
fn allow_many_connections() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where the system has a lower one of its own, what there is has to do.
    let _ = setrlimit(Resource::Nofile, limit);
}

async fn serve(config: Config) -> ExitCode {
    let mut end = match End::listen() {
        Ok(end) => end,
        Err(error) => return fail(1, &format!("signals cannot be listened to: {error}")),
    };
    let (quiet, format, ready_file) = (config.quiet, config.log, config.ready_file.clone());
    if let Some(file) = &ready_file
        && let Err(error) = forget_ready_file(file)
    {
        return fail(2, &format!("{}: cannot be written: {error}; name another with --ready-file", file.display()));
    }
    let (seed, state) = (config.seed, config.state.clone());
    let started = tokio::select! {
        started = Sandbox::start(config) => started,
        // The start may wait for a file on a thread that nothing else ends.
        code = end.asked_for() => std::process::exit(code),
    };
    let sandbox = match started {
        Ok(sandbox) => sandbox,
        Err(error) => return fail(exit_code(&error), &error.to_string()),
    };
    if !quiet {
        sandbox.facts().notices.iter().for_each(|notice| log::say(notice));
    }
    if let Some(file) = &ready_file
        && let Err(error) = write_ready_file(file, sandbox.facts())
    {
        return fail(2, &format!("{}: cannot be written: {error}; name another with --ready-file", file.display()));
    }
    if !quiet {
        let banner = match format {
            LogFormat::Text => banner(sandbox.facts(), seed, state.as_deref()),
            LogFormat::Json => {
                format!("{}\n", serde_json::json!({ "event": "ready", "facts": ready_facts(sandbox.facts()) }))
            }
        };
        // Nobody reading the banner is no reason not to serve.
        let _ = io::stdout().write_all(banner.as_bytes());
    }
    let log = (!quiet).then(|| Writing::start(Arc::clone(sandbox.door()), format, io::stdout()));

    end.asked_for().await;
    tokio::spawn(async move {
        end.asked_for().await;
        std::process::exit(130);
    });
    let left = sandbox.read(crate::gateway::Gateway::scheduled);
    let not_saved = sandbox.stop().await;
    if let Some(log) = log {
        log.end().await;
        if left > 0 && format == LogFormat::Text {
            let _ = writeln!(io::stdout(), "ended with {left} steps or postbacks still to come");
        }
    }
    not_saved.map_or(ExitCode::SUCCESS, |why| fail(1, &why))
}

/// Who asks for the end: Ctrl-C or SIGTERM.
struct End {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl End {
    /// Listens from now on. The first thing of all: a start may wait, and process 1 of a container is not ended by a
    /// signal that nobody listens to.
    #[cfg(unix)]
    fn listen() -> io::Result<End> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(End { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns when it is asked for, with the exit code for a program that the signal ends.
    #[cfg(unix)]
    async fn asked_for(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<End> {
        Ok(End {})
    }

    #[cfg(not(unix))]
    async fn asked_for(&mut self) -> i32 {
        // An error would mean that Ctrl-C cannot be heard: then it ends the program by itself.
        let _ = tokio::signal::ctrl_c().await;
        130
    }
}

/// The program's exit code for a sandbox that did not start.
pub(super) fn exit_code(error: &StartError) -> u8 {
    match error {
        StartError::Setting(_)
        | StartError::Fixture(_)
        | StartError::Certificates(_)
        | StartError::State(_)
        | StartError::Tls { .. } => 2,
        StartError::PortInUse(_) => 3,
        StartError::Listen(..) => 1,
    }
}

fn banner(facts: &Facts, seed: Option<u64>, state: Option<&Path>) -> String {
    let state = state.map_or("in memory, forgotten by a restart (--state FILE keeps it)".into(), Path::to_string_lossy);
    let seed = seed.map_or(String::new(), |seed| format!("  seed      {seed}\n"));
    format!(
        "kpay-sandbox {}: a KPay payment gateway on this machine. Not KPay, no money, not for production.\n\n  \
         url       {}\n  user      {}\n  password  {}\n  CA file   {}\n  bundle    {}\n  profile   {}\n  state     {state}\n{seed}\n{}\n\n",
        env!("CARGO_PKG_VERSION"),
        facts.url,
        facts.username,
        facts.password,
        facts.ca.display(),
        facts.bundle.display(),
        facts.profile,
        facts.curl
    )
}

fn ready_facts(facts: &Facts) -> serde_json::Value {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    serde_json::json!({
        "url": facts.url,
        "port": facts.addresses[0].port(),
        "ca": absolute(&facts.ca),
        "bundle": absolute(&facts.bundle),
        "username": facts.username,
        "password": facts.password,
        "pid": std::process::id(),
    })
}

/// Whoever waits for the file must not find an earlier run's.
fn forget_ready_file(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whoever reads the file finds all of it.
pub(super) fn write_ready_file(file: &Path, facts: &Facts) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let unfinished = file.with_file_name(name);
    write_new(&unfinished, format!("{}\n", ready_facts(facts)).as_bytes())?;
    fs::rename(&unfinished, file)
}
