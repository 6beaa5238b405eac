//! The command line: one file per subcommand.

pub mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// A KPay payment gateway on this machine. Not KPay, no money, not for production.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 ended, 1 failure, 2 usage or configuration, 3 port in use."
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
    Serve(Config),
}

/// Runs what the command line asks for.
pub fn run(cli: Cli) -> ExitCode {
    let config = match cli.command {
        Some(Command::Serve(config)) => config,
        None => cli.config,
    };
    serve::run(config)
}
