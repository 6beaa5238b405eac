//! `kpay-sandbox hosts`: the lines that make KPay's names lead to this machine for clients that ignore proxies.

use std::fs;
use std::path::PathBuf;
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
const DEFAULT_FILE: &str = "/etc/hosts";
#[cfg(windows)]
const DEFAULT_FILE: &str = r"C:\Windows\System32\drivers\etc\hosts";

/// What tells our lines from others'.
const MARK: &str = "# kpay-sandbox";

pub(super) fn run(hosts: &Hosts) -> ExitCode {
    let line = format!("{} {} {MARK}\n", hosts.address, KPAY_HOSTS.join(" "));
    if !hosts.write && !hosts.remove {
        print!("{line}");
        return ExitCode::SUCCESS;
    }
    let file = hosts.file.display();
    let before = match fs::read_to_string(&hosts.file) {
        Ok(text) => text,
        Err(error) => return fail(1, &format!("{file}: cannot be read: {error}; name another with --file")),
    };
    let mut after: String =
        before.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(MARK)).map(str::to_owned).collect();
    if hosts.write {
        // The first line that names a host is the one that counts.
        after.insert_str(0, &line);
    }
    // In place: in a container the file is a mount, in whose stead no other can be put.
    if after != before
        && let Err(error) = fs::write(&hosts.file, &after)
    {
        return fail(1, &format!("{file}: cannot be written: {error}; run this as root, such as with sudo"));
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
