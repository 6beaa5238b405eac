//! `kpay-sandbox exec -- COMMAND`: a sandbox of its own for one command, whose environment makes it meet that one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;

use clap::Args;

use super::gate::{Gate, Requirement};
use super::isolation::{self, Way};
use super::report::Report;
use super::signals::Signals;
use super::{child, fail, linger, not_written, payers};
use crate::cli::serve;
use crate::config::Config;
use crate::environment::{self, Surroundings};
use crate::gateway::Gateway;
use crate::gateway::timestamp::Span;
use crate::log::{Writing, say};
use crate::proxy::Upstream;
use crate::sandbox::Sandbox;

/// What `exec` takes beside all that `serve` takes.
#[derive(Debug, Clone, Args)]
pub struct Exec {
    #[command(flatten)]
    config: Config,

    /// Let KPay's own hosts lead to the sandbox, through HTTPS_PROXY and, in Node, a preload
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    intercept: bool,

    /// Say so when the command called the host where money is real; the call ended in the sandbox
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    protect_live: bool,

    #[command(flatten)]
    isolation: isolation::Wanted,

    /// Print the report also when the command succeeded
    #[arg(long)]
    report: bool,

    /// Write calls and postbacks as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Exit with code 5 on these findings
    #[arg(long, value_name = "FINDINGS", value_enum, value_delimiter = ',')]
    fail_on: Vec<Gate>,

    /// Exit with code 5 unless these return codes and scenarios were covered
    ///
    /// It is the list that `--fail-on unmet` looks at, instead of every return code of the profile.
    #[arg(long, value_name = "CODES,SCENARIOS", value_delimiter = ',')]
    require: Vec<String>,

    /// A log was asked for.
    #[arg(skip)]
    logs: bool,

    /// Wait this long for payments and postbacks that are on their way when the command ends
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = linger::span)]
    linger: Span,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true, num_args = 1..)]
    command: Vec<OsString>,
}

impl Exec {
    /// Nobody who runs a command wants a fixed port, or a folder of certificates among the sources.
    pub(super) fn with_defaults(mut self, certs_named: bool, log_named: bool) -> Exec {
        // What the command says is what counts: a log has to be asked for.
        self.logs = log_named;
        self.config.announces_own = true;
        if self.config.listen.is_empty() {
            self.config.listen = Config::default().listen;
        }
        if !certs_named && let Some(folder) = own_certs() {
            self.config.certs = folder;
        }
        self
    }

    /// Tells what the start has to say, and goes on to tell what happens.
    fn speak(&self, sandbox: &Sandbox) -> Voice {
        if self.config.quiet {
            return Voice { log: None, payers: None };
        }
        sandbox.facts().notices.iter().for_each(|notice| say(notice));
        let base = base_of(sandbox);
        let door = sandbox.door();
        let log = self.logs.then(|| Writing::start(Arc::clone(door), self.config.log, std::io::stderr()));
        Voice { log, payers: Some(tokio::spawn(payers::tell(Arc::clone(door), base))) }
    }

    /// Says what the user should know.
    fn notify(&self, notices: impl IntoIterator<Item = String>) {
        notices.into_iter().filter(|_| !self.config.quiet).for_each(|notice| say(&notice));
    }

    /// Returns the variables of the command, once the files are there that they name.
    fn variables(&self, surroundings: &Surroundings) -> Result<Vec<(&'static str, String)>, String> {
        let before = |name: &str| std::env::var(name).ok();
        let tools =
            surroundings.write_tools(before).map_err(|error| not_written(&self.config.certs, &error, "--certs"))?;
        let mut variables = surroundings.variables(&tools, before);
        let replaced = environment::keep(&mut variables, self.config.open, before);
        self.notify(tools.notices.into_iter().chain(replaced));
        Ok(variables)
    }

    /// Reads what `--require` names.
    fn required(&self, gateway: &Gateway) -> Result<Vec<Requirement>, String> {
        self.require.iter().map(|text| Requirement::read(text, gateway)).collect()
    }

    /// Reports, and returns the exit code.
    fn conclude(&self, report: &Report, status: ExitStatus, way: &Way, rest: Option<String>) -> ExitCode {
        let mut gates = self.fail_on.clone();
        if !self.require.is_empty() && !gates.contains(&Gate::Unmet) {
            gates.push(Gate::Unmet);
        }
        let failed = report.failed(&gates);
        let is_bad = !status.success() || !failed.is_empty();
        if self.report || (is_bad && !self.config.quiet) {
            say(&report.text());
            say(&way.told());
        } else if let Some(warning) = report.warning().filter(|_| !self.config.quiet) {
            say(&warning);
        }
        let unreached = report.unreached().map(|what| format!("{what}. {}", way.what_to_check()));
        unreached.into_iter().chain(rest).filter(|_| !self.config.quiet).for_each(|warning| say(&warning));
        for why in &failed {
            say(&format!("--fail-on {why}"));
        }
        if let Some(file) = &self.junit
            && let Err(error) = std::fs::write(file, report.junit(&gates))
        {
            return fail(2, &not_written(file, &error, "--junit"));
        }
        match code_of(status) {
            0 if !failed.is_empty() => ExitCode::from(5),
            code => ExitCode::from(code),
        }
    }
}

/// The user's own folder of certificates: for those who did not ask for one among their sources.
pub(super) fn own_certs() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))
    };
    folder.map(|folder| folder.join("kpay-sandbox/certs"))
}

/// Starts, runs, ends, reports.
pub(super) fn run(mut exec: Exec) -> ExitCode {
    if exec.config.state.is_some() {
        let why = "--state: each exec starts empty, so that its report is about one run. Use serve, or PUT state";
        return fail(2, why);
    }
    if let Some(why) = exec.isolation.complaint(exec.intercept) {
        return fail(2, &why);
    }
    if exec.intercept {
        // It replaces the proxies that it finds, so it hands on to them what is not for KPay.
        let (upstream, notices) = Upstream::of_environment(|name| std::env::var(name).ok());
        exec.config.upstream = upstream;
        exec.notify(notices);
    }
    match super::runtime() {
        // The command is started on this thread, whose end the system takes for the end of the program.
        Ok(runtime) => runtime.block_on(around(exec)),
        Err(error) => fail(1, &format!("the runtime does not start: {error}")),
    }
}

async fn around(exec: Exec) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(1, &format!("signals cannot be listened to: {error}")),
    };
    let (own, listeners) = exec.isolation.take_address(&exec.config, exec.intercept).unzip();
    let started = tokio::select! {
        started = Sandbox::start_with(exec.config.clone(), listeners.unwrap_or_default()) => started,
        // The start may wait for a file on a thread that nothing else ends.
        code = signals.code_of_next() => std::process::exit(code),
    };
    let sandbox = match started {
        Ok(sandbox) => sandbox,
        Err(error) => return serve::not_started(&error).await,
    };
    sandbox.door().apply(|gateway, _| gateway.record_run());
    let required = match sandbox.read(|gateway| exec.required(gateway)) {
        Ok(required) => required,
        Err(why) => return fail(2, &why),
    };
    let voice = exec.speak(&sandbox);
    if let Some(file) = &exec.config.ready_file
        && let Err(error) = serve::write_ready_file(file, sandbox.facts())
    {
        return fail(2, &not_written(file, &error, "--ready-file"));
    }
    let surroundings = surroundings(&sandbox, exec.intercept);
    let variables = match exec.variables(&surroundings) {
        Ok(variables) => variables,
        Err(why) => return fail(2, &why),
    };
    let way = match exec.isolation.way(own, exec.intercept, &surroundings.ca).await {
        Ok(way) => way,
        Err(why) => return fail(2, &why),
    };
    exec.notify([format!("dashboard {}/__sandbox/; {}", base_of(&sandbox), exec.isolation.told(&way))]);
    let child = child::command(&exec.command, way.view()).and_then(|mut command| {
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        // A doctor that the command calls tells of this run.
        command.env(isolation::VARIABLE, way.told());
        tokio::process::Command::from(command).kill_on_drop(true).spawn()
    });
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return fail(127, &format!("{}: {error}", exec.command[0].to_string_lossy())),
    };
    let status = signals.until_end_of(&mut child).await;
    let rest = linger::wait(&sandbox, exec.linger.0, &mut signals).await;
    let report = sandbox.door().apply(|gateway, _| Report::of(gateway, &required, exec.protect_live));
    sandbox.stop().await;
    voice.end().await;
    match status {
        Ok(status) => exec.conclude(&report, status, &way, rest),
        Err(error) => fail(1, &format!("the command cannot be waited for: {error}")),
    }
}

/// The sandbox's address on this machine.
fn base_of(sandbox: &Sandbox) -> String {
    format!("http://{}", address_of(sandbox.facts().addresses[0]))
}

/// What is said while the command runs.
struct Voice {
    log: Option<Writing>,
    payers: Option<tokio::task::JoinHandle<()>>,
}

impl Voice {
    /// Ends it once everything is said.
    async fn end(self) {
        if let Some(payers) = self.payers {
            payers.abort();
        }
        if let Some(log) = self.log {
            log.end().await;
        }
    }
}

/// The command's own code, or that of a shell for a command that a signal has ended.
pub(super) fn code_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(1);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn surroundings(sandbox: &Sandbox, intercept: bool) -> Surroundings {
    let facts = sandbox.facts();
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let retailer = sandbox.read(|gateway| {
        let account = gateway.rules().accounts.get(&facts.username);
        account.map_or("02", |account| account.merchant.usable_retailer()).to_owned()
    });
    Surroundings {
        url: facts.url.clone(),
        address: address_of(facts.addresses[0]),
        username: facts.username.clone(),
        password: facts.password.clone(),
        key: facts.key.clone(),
        retailer,
        ca: absolute(&facts.ca),
        bundle: absolute(&facts.bundle),
        intercept,
    }
}

/// How a program on this machine reaches what listens there.
fn address_of(listening: std::net::SocketAddr) -> String {
    if listening.ip().is_unspecified() { format!("127.0.0.1:{}", listening.port()) } else { listening.to_string() }
}
