//! The program: everything is in the library, so that a test can do what the program does.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    kpay_sandbox::cli::run(kpay_sandbox::cli::Cli::parse())
}
