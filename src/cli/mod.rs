//! The command line: one file per subcommand.

pub mod serve;

use std::process::ExitCode;

use clap::{Arg, Command as Program, CommandFactory, FromArgMatches, Parser, Subcommand};

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

/// Runs what the command line and the environment ask for.
pub fn run() -> ExitCode {
    let program = without_empty_variables(Cli::command());
    let cli = match Cli::from_arg_matches(&program.get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let config = match cli.command {
        Some(Command::Serve(config)) => config,
        None => cli.config,
    };
    serve::run(config)
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
