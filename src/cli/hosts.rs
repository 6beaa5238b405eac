//! `kpay-sandbox hosts`: the lines that make KPay's names lead to this machine for clients that ignore proxies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::fail;
use crate::log::say;
use crate::proxy::KPAY_HOSTS;

/// What is done with the lines.
#[derive(Debug, Clone, Args)]
pub struct Hosts {
    /// Write them into the file, in place of those that are there
    #[arg(long)]
    write: bool,

    /// Take them out of the file
    #[arg(long, conflicts_with = "write")]
    remove: bool,

    /// The hosts file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,

    /// Where KPay's names are to lead
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    address: std::net::IpAddr,
}

#[cfg(not(windows))]
pub(super) const DEFAULT_FILE: &str = "/etc/hosts";
#[cfg(windows)]
pub(super) const DEFAULT_FILE: &str = r"C:\Windows\System32\drivers\etc\hosts";

/// What tells our lines from others'.
const MARK: &str = "# kpay-sandbox";

pub(super) fn run(hosts: &Hosts) -> ExitCode {
    let line = format!("{} {} {MARK}\n", hosts.address, KPAY_HOSTS.join(" "));
    if !hosts.write && !hosts.remove {
        print!("{line}");
        return ExitCode::SUCCESS;
    }
    let file = hosts.file.display();
    if let Err(why) = set(&hosts.file, if hosts.write { &line } else { "" }) {
        return fail(1, &why);
    }
    say(&if hosts.write {
        format!(
            "{file}: {} lead to {}; take that back with: kpay-sandbox hosts --remove",
            KPAY_HOSTS.join(" and "),
            hosts.address
        )
    } else {
        format!("{file}: nothing of kpay-sandbox is left in it")
    });
    ExitCode::SUCCESS
}

/// Whether a line of the file is ours.
pub(super) fn is_ours(line: &str) -> bool {
    line.trim_end().ends_with(MARK)
}

/// Takes our lines out.
pub(super) fn remove(file: &Path) -> Result<(), String> {
    set(file, "")
}

/// Puts a line, or nothing, in place of ours.
fn set(file: &Path, line: &str) -> Result<(), String> {
    let name = file.display();
    let before = fs::read_to_string(file);
    let before = before.map_err(|error| format!("{name}: cannot be read: {error}; name another with --file"))?;
    let others: String = before.split_inclusive('\n').filter(|line| !is_ours(line)).collect();
    // The first line that names a host is the one that counts.
    let after = format!("{line}{others}");
    if after == before {
        return Ok(());
    }
    // In place: in a container the file is a mount, in whose stead no other can be put.
    fs::write(file, &after)
        .map_err(|error| format!("{name}: cannot be written: {error}; run this as root, such as with sudo"))
}
