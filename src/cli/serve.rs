//! `kpay-sandbox serve`: start, say so, wait for the end.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{absolute, fail, not_written, remote};
use crate::config::Config;
use crate::door::Door;
use crate::environment::write_new;
use crate::gateway::Gateway;
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
        return fail(2, &not_written(file, &error, "--ready-file"));
    }
    let (seed, state) = (config.seed, config.state.clone());
    let started = tokio::select! {
        started = Sandbox::start(config) => started,
        // The start may wait for a file on a thread that nothing else ends.
        code = end.asked_for() => std::process::exit(code),
    };
    let sandbox = match started {
        Ok(sandbox) => sandbox,
        Err(error) => return not_started(&error).await,
    };
    if !quiet {
        sandbox.facts().notices.iter().for_each(|notice| log::say(notice));
    }
    if let Some(file) = &ready_file
        && let Err(error) = write_ready_file(file, sandbox.facts())
    {
        return fail(2, &not_written(file, &error, "--ready-file"));
    }
    if !quiet {
        let banner = match format {
            LogFormat::Text => banner(&sandbox, seed, state.as_deref()),
            LogFormat::Json => {
                format!("{}\n", serde_json::json!({ "event": "ready", "facts": ready_facts(sandbox.facts()) }))
            }
        };
        // Nobody reading the banner is no reason not to serve.
        let _ = io::stdout().write_all(banner.as_bytes());
    }
    let log = (!quiet).then(|| Writing::start(Arc::clone(sandbox.door()), format, io::stdout()));

    end.asked_for().await;
    let left = sandbox.read(Gateway::scheduled);
    tokio::spawn(lost_at_second_signal(end, Arc::clone(sandbox.door()), state));
    let not_saved = sandbox.stop().await;
    if let Some(log) = log {
        log.end().await;
        if left > 0 && format == LogFormat::Text {
            let _ = writeln!(io::stdout(), "ended with {left} steps or postbacks still to come");
        }
    }
    not_saved.map_or(ExitCode::SUCCESS, |why| fail(1, &why))
}

/// Ends at once when it is asked for again, and says what that loses.
async fn lost_at_second_signal(mut end: End, door: Arc<Door>, state: Option<PathBuf>) {
    let code = end.asked_for().await;
    let (scheduled, under_way) = door.read(|gateway| (gateway.scheduled(), gateway.under_way()));
    let mut lost =
        format!("ended at once: {scheduled} steps or postbacks due and {under_way} postbacks under way are lost");
    if let Some(file) = state {
        let _ = write!(lost, ", and {} is not written again", absolute(&file).display());
    }
    log::say(&lost);
    std::process::exit(code);
}

/// Says why a sandbox did not start, and returns the exit code.
pub(super) async fn not_started(error: &StartError) -> ExitCode {
    let mut why = error.to_string();
    if let StartError::PortInUse(address) = error
        && let Some(version) = remote::version_at(&local(*address)).await
    {
        let base = local(*address);
        why = format!(
            "{address} is in use by another kpay-sandbox, version {version}. Use that one, its dashboard is {base}/__sandbox/, or choose another port with --listen ADDRESS:PORT (port 0 picks a free one)"
        );
    }
    fail(exit_code(error), &why)
}

/// The address at which a program on this machine reaches what listens there.
fn local(address: SocketAddr) -> String {
    let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
    if address.is_ipv6() && host != "localhost" {
        return format!("http://[{host}]:{}", address.port());
    }
    format!("http://{host}:{}", address.port())
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

fn banner(sandbox: &Sandbox, seed: Option<u64>, state: Option<&Path>) -> String {
    let facts = sandbox.facts();
    let mut further = String::new();
    let clock = sandbox.door().clock();
    if clock.is_paused() {
        let now = clock.now();
        let _ = writeln!(further, "  clock     paused at {now}. Move it on with: kpay-sandbox advance 30s");
    }
    if facts.closed {
        further += "  control   closed, because other machines reach this port. Open it with --control-token TOKEN, or --control-open for anybody\n";
    }
    let state = state.map_or("in memory, forgotten by a restart (--state FILE keeps it)".into(), Path::to_string_lossy);
    let seed = seed.map_or(String::new(), |seed| format!("  seed      {seed}\n"));
    format!(
        "kpay-sandbox {}: a KPay payment gateway on this machine. Not KPay, no money, not for production.\n\n  \
         url       {}\n  dashboard {}\n  user      {}\n  password  {}\n  CA file   {}\n  bundle    {}\n  profile   {}\n  state     {state}\n{seed}{further}\n{}\n\n",
        env!("CARGO_PKG_VERSION"),
        facts.url,
        facts.dashboard,
        facts.username,
        facts.password,
        facts.ca.display(),
        facts.bundle.display(),
        facts.profile,
        facts.curl
    )
}

fn ready_facts(facts: &Facts) -> serde_json::Value {
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
