//! The command line: one file per subcommand.

pub mod child;
pub mod doctor;
pub mod exec;
mod gate;
pub mod hosts;
pub mod isolation;
mod linger;
mod payers;
pub mod probe;
pub mod remote;
mod replace;
mod report;
pub mod serve;
mod signals;
pub mod trust;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, Args, Command as Program, CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::config::Config;
use crate::log::say;
use doctor::Doctor;
use exec::Exec;
use hosts::Hosts;
use probe::Probe;
use remote::{Remote, Target};
use trust::Trust;

/// A KPay payment gateway on this machine. Not KPay, no money, not for production.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 ended, 1 failure, 2 usage or configuration, 3 port in use, 4 not as waited for or expected, 5 a gate of exec failed."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until Ctrl-C or SIGTERM (also what happens without a subcommand)
    Serve(Box<Config>),
    /// Run a command against a sandbox of its own, with KPay's hosts leading there; exit code 5 when a gate fails
    Exec(Box<Exec>),
    /// Diagnose common setup problems and show fixes
    Doctor(Doctor),
    /// Post what KPay may post to a listener, and tell what is wrong with its answers
    Probe(Probe),
    /// Put the CA into the system's store, and into browsers' own where certutil is there
    Trust(Trust),
    /// Take the CA out of those stores again
    Untrust(Trust),
    /// Print the hosts-file lines for clients that ignore proxies; write or remove them
    Hosts(Hosts),
    #[command(flatten)]
    Remote(Remote),
}

/// Runs what the command line and the environment ask for.
pub fn run() -> ExitCode {
    if let Some(code) = child::asked_for().or_else(isolation::asked_for) {
        return code;
    }
    let matches = without_empty_variables(program()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Some(Command::Serve(config)) => serve::run(*config),
        Some(Command::Exec(exec)) => {
            let own = matches.subcommand().map_or(&matches, |(_, own)| own);
            let named = |name: &str| own.value_source(name) != Some(ValueSource::DefaultValue) && own.contains_id(name);
            exec::run(exec.with_defaults(named("certs"), named("log")))
        }
        Some(Command::Probe(probe)) => probe::run(probe),
        Some(Command::Trust(trust)) => trust::run(&trust, true),
        Some(Command::Untrust(trust)) => trust::run(&trust, false),
        Some(Command::Doctor(doctor)) => doctor::run(&doctor),
        Some(Command::Hosts(hosts)) => hosts::run(&hosts),
        Some(Command::Remote(remote)) => {
            let own = matches.subcommand().map_or(&matches, |(_, own)| own);
            remote::run(Target::from_arg_matches(own).unwrap_or_else(|error| error.exit()), remote)
        }
        None => serve::run(cli.config),
    }
}

/// The command line: whatever asks a running sandbox also takes what says which one.
pub fn program() -> Program {
    let remote = Remote::augment_subcommands(Program::new(""));
    remote.get_subcommands().map(Program::get_name).fold(Cli::command(), |program, name| {
        program.mut_subcommand(name, |command| {
            // Further arguments would bring their own description along.
            let about = command.get_about().cloned().unwrap_or_default();
            Target::augment_args(command).about(about)
        })
    })
}

/// Ends with a sentence.
fn fail(code: u8, sentence: &str) -> ExitCode {
    say(sentence);
    ExitCode::from(code)
}

/// The sentence about a file that cannot be written, and the flag that names another.
fn not_written(file: &Path, error: &io::Error, flag: &str) -> String {
    format!("{}: cannot be written: {error}. Name another place with {flag}", absolute(file).display())
}

/// A path from the root, as it is if that cannot be told.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// CI services set a variable to nothing where they mean not to set it.
fn without_empty_variables(program: Program) -> Program {
    let unless_empty = |argument: Arg| {
        let value = argument.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { argument.env(None::<&'static str>) } else { argument }
    };
    let names: Vec<String> = program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(program.mut_args(unless_empty), |program, name| {
        program.mut_subcommand(name, |command| command.mut_args(unless_empty))
    })
}

/// The runtime of a program that serves. On one processor there is nothing that threads could share but their cost.
fn runtime() -> io::Result<Runtime> {
    let alone = std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
    let mut builder = if alone { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}
