//! `kpay-sandbox hosts`: the lines that make KPay's names lead to this machine for clients that ignore proxies.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::fail;
use super::replace::replace;
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

/// The largest hosts file that is changed.
const LIMIT: u64 = 64 * 1024 * 1024;

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
    // Bytes, because comments may be in any encoding.
    let before = read(file).map_err(|error| format!("{name}: cannot be read: {error}; name another with --file"))?;
    let others = before.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_ours(&String::from_utf8_lossy(line)));
    // The first line that names a host is the one that counts.
    let after = std::iter::once(line.as_bytes()).chain(others).collect::<Vec<_>>().concat();
    if after == before {
        return Ok(());
    }
    replace(file, &before, &after).map_err(|why| format!("{name}: {why}"))
}

/// Reads a hosts file. Lists of blocked hosts have a few megabytes.
pub(super) fn read(file: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(file)?.file_type().is_file() {
        let mut bytes = Vec::new();
        let read = fs::File::open(file)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
        return if read as u64 > LIMIT { Err(io::Error::other("it is larger than 64 MiB")) } else { Ok(bytes) };
    }
    Err(io::Error::other("it is not a regular file"))
}
