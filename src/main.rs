//! The program: everything is in the library, so that a test can do what the program does.

use std::process::ExitCode;

/// The system's own allocator takes twice as long, and keeps what threads once had to themselves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kpay_sandbox::cli::run()
}
