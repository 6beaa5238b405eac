//! The program: everything is in the library, so that a test can do what the program does.

use std::process::ExitCode;

fn main() -> ExitCode {
    kpay_sandbox::cli::run()
}
