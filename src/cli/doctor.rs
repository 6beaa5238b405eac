//! `kpay-sandbox doctor`: finds what usually goes wrong between an integration and the sandbox, and says the mend.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::isolation::Way;
use super::{fail, hosts, remote};
use crate::certificates;
use crate::clock::wall_clock;
use crate::proxy::KPAY_HOSTS;

/// Where to look.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// The port at which a sandbox runs, or should
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    port: u16,

    /// The sandbox's --control-token, if it has one
    #[arg(long, env = "KPAY_SANDBOX_CONTROL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Folder of the CA
    #[arg(long, env = "KPAY_SANDBOX_CERTS", value_name = "FOLDER", default_value = "certs")]
    certs: PathBuf,

    /// The hosts file
    #[arg(long, value_name = "FILE", default_value = hosts::DEFAULT_FILE)]
    hosts: PathBuf,

    /// Mend what can be mended here: certificates, and lines of ours in the hosts file
    #[arg(long)]
    fix: bool,
}

/// What was looked at, and how it is.
enum Finding {
    Good(String),
    /// What is wrong, and the mend.
    Wrong(String, String),
    /// It could not be looked at.
    Skipped(String),
}
use Finding::{Good, Skipped, Wrong};

/// Looks, tells, and ends with 0 when nothing is wrong.
pub(super) fn run(doctor: &Doctor) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("the runtime does not start: {error}")),
    };
    let control = format!("http://localhost:{}", doctor.port);
    let info = runtime.block_on(remote::info(&control, doctor.token.as_deref()));
    let mut findings = vec![sandbox(doctor, &info)];
    findings.push(folder(doctor));
    if let Ok(info) = &info {
        findings.extend(clock(info));
        findings.extend(tools(doctor.port, info));
    }
    findings.push(hosts_file(doctor));
    findings.extend(proxies(doctor.port));
    findings.push(match runtime.block_on(Way::of_this_user()) {
        way @ Way::Full { .. } => Good(way.told()),
        way => Skipped(way.told()),
    });
    let mut text = String::new();
    for finding in &findings {
        text += &match finding {
            Good(what) => format!("ok     {what}\n"),
            Wrong(what, mend) => format!("WRONG  {what}\n       mend: {mend}\n"),
            Skipped(what) => format!("-      {what}\n"),
        };
    }
    // Nobody reading it is no reason to fail otherwise than by the findings.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let wrong = findings.iter().any(|finding| matches!(finding, Wrong(..)));
    if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether a sandbox runs, or could.
fn sandbox(doctor: &Doctor, info: &Result<Value, String>) -> Finding {
    let port = doctor.port;
    match info {
        Ok(info) => {
            let (theirs, ours) = (info["version"].as_str().unwrap_or("?"), env!("CARGO_PKG_VERSION"));
            let told = format!("a sandbox runs at port {port}: version {theirs}");
            if theirs == ours {
                return Good(told);
            }
            Wrong(
                format!("{told}, and this program is {ours}"),
                format!("end process {} and start this one", info["pid"]),
            )
        }
        Err(why) => match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => Skipped(format!("no sandbox runs at port {port}, which is free: start one with kpay-sandbox")),
            Err(_) if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() => Wrong(
                format!("port {port} cannot be listened on"),
                "choose another with --listen 127.0.0.1:PORT, above 1023 unless you are root".into(),
            ),
            Err(_) => Wrong(
                format!(
                    "port {port} is taken{}, and no sandbox answers: {}",
                    owner(port),
                    why.lines().next().unwrap_or_default()
                ),
                "end that program, or choose another port with --listen 127.0.0.1:PORT".into(),
            ),
        },
    }
}

/// Which program listens at a port, where the system tells.
fn owner(port: u16) -> String {
    let holder = || {
        let lines = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| std::fs::read_to_string(file).unwrap_or_default());
        let wanted = format!(":{port:04X}");
        let socket = lines.iter().flat_map(|text| text.lines()).find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let listens = words.get(1)?.ends_with(&wanted) && *words.get(3)? == "0A";
            listens.then(|| format!("socket:[{}]", words[9]))
        })?;
        let processes = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok).map(|entry| entry.path());
        let holder = processes.into_iter().find(|process| {
            let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok);
            open.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| link == Path::new(&socket))
        })?;
        let name = std::fs::read_to_string(holder.join("comm")).ok()?;
        Some(format!(" by {}, process {}", name.trim(), holder.file_name()?.to_string_lossy()))
    };
    holder().unwrap_or_default()
}

/// Whether the certificates are there and good.
fn folder(doctor: &Doctor) -> Finding {
    let folder = doctor.certs.display();
    let complaint = certificates::complaint(&doctor.certs, wall_clock());
    let why = match complaint {
        Ok(None) => return Good(format!("{folder}: the CA and its certificate are good for the next 30 days")),
        Ok(Some(complaint)) => {
            let why = format!("{folder}: the CA in ca.pem {}", complaint.why);
            if complaint.by_clock {
                return Wrong(why, "set this machine's clock".into());
            }
            why
        }
        Err(error) => error.to_string(),
    };
    if doctor.fix {
        return match certificates::open(&doctor.certs, &[], wall_clock()) {
            Ok(made) => Good(format!("{why}: mended; {}", made.notices.join("; "))),
            Err(error) => Wrong(why, error.to_string()),
        };
    }
    Wrong(why, "start the sandbox, which makes it, or run: kpay-sandbox doctor --fix".into())
}

/// Whether the sandbox's clock is far from this machine's: tests that compare times then fail.
fn clock(info: &Value) -> Option<Finding> {
    let theirs: crate::gateway::Timestamp = info["clock"]["now"].as_str()?.parse().ok()?;
    let ours = wall_clock().duration_since(std::time::UNIX_EPOCH).ok()?;
    let apart = Duration::from_secs(theirs.unix_seconds().abs_diff(ours.as_secs()));
    let mode = info["clock"]["mode"].as_str().unwrap_or("?");
    Some(if apart < Duration::from_secs(60) {
        Good(format!("the sandbox's clock is {mode} and near this machine's"))
    } else {
        Skipped(format!(
            "the sandbox's clock is {mode}, {} s from this machine's: no harm unless your code compares the two",
            apart.as_secs()
        ))
    })
}

/// Whether each language's client trusts the CA as it is called from here.
fn tools(port: u16, info: &Value) -> Vec<Finding> {
    let url = format!("https://localhost:{port}/__sandbox/livez");
    let php = format!("exit(@file_get_contents('{url}') === false ? 1 : 0);");
    let node = format!("require('https').get('{url}', () => process.exit(0)).on('error', () => process.exit(1))");
    let python = format!("import urllib.request; urllib.request.urlopen('{url}')");
    let (ca, bundle) = (info["ca"].as_str().unwrap_or("ca.pem"), info["bundle"].as_str().unwrap_or("bundle.pem"));
    let tries: [(&str, &[&str], String); 4] = [
        ("curl", &["--silent", "--output", "-", &url], format!("export CURL_CA_BUNDLE={bundle}")),
        ("php", &["-r", &php], format!("php -d curl.cainfo={bundle} -d openssl.cafile={bundle}")),
        ("node", &["-e", &node], format!("export NODE_EXTRA_CA_CERTS={ca}")),
        ("python3", &["-c", &python], format!("export SSL_CERT_FILE={bundle} REQUESTS_CA_BUNDLE={bundle}")),
    ];
    let judge = |(program, arguments, mend): (&str, &[&str], String)| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A proxy is a question of its own.
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        match command.status() {
            Ok(status) if status.success() => Good(format!("{program} trusts the CA")),
            Ok(_) => Wrong(
                format!("{program} does not trust the CA"),
                format!("{mend}, or eval \"$(kpay-sandbox env)\" for all of them, or sudo kpay-sandbox trust"),
            ),
            Err(_) => Skipped(format!("{program} is not here")),
        }
    };
    tries.into_iter().map(judge).collect()
}

/// Where the hosts file sends KPay's names.
fn hosts_file(doctor: &Doctor) -> Finding {
    let file = doctor.hosts.display();
    let Ok(text) = std::fs::read_to_string(&doctor.hosts) else {
        return Skipped(format!("{file} cannot be read"));
    };
    let named = text.lines().enumerate().find_map(|(number, line)| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.find(|word| KPAY_HOSTS.contains(word)).map(|host| (number + 1, address, host.to_owned()))
    });
    let Some((number, address, host)) = named else {
        return Good(format!("{file} leaves KPay's names alone"));
    };
    let told = format!("{file}, line {number}, sends {host} to {address}");
    if address.is_loopback() && TcpStream::connect_timeout(&(address, 443).into(), Duration::from_secs(1)).is_ok() {
        return Good(format!("{told}, where somebody listens at port 443"));
    }
    if doctor.fix && text.lines().any(hosts::is_ours) {
        return match hosts::remove(&doctor.hosts) {
            Ok(()) => Good(format!("{told}: our line is taken out")),
            Err(why) => Wrong(told, why),
        };
    }
    let mend = if address.is_loopback() {
        "start a sandbox with --listen 127.0.0.1:443, or run: sudo kpay-sandbox hosts --remove".to_owned()
    } else {
        format!("take the line out of {file}: your code would reach that address instead of the sandbox")
    };
    Wrong(format!("{told}, where no sandbox listens at port 443"), mend)
}

/// Proxies that stand between.
fn proxies(port: u16) -> Vec<Finding> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let no_proxy = set("NO_PROXY").or_else(|| set("no_proxy")).unwrap_or_default();
    let spared = no_proxy.split(',').map(str::trim).any(|name| matches!(name, "*" | "localhost"));
    let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let judge = |name: &&str| {
        let value = set(name)?;
        let address = value.rsplit('@').next().unwrap_or_default();
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        Some(if ours.iter().any(|own| own == address) {
            Good(format!("{name} leads to the sandbox: KPay's hosts end there"))
        } else if spared {
            Good(format!("{name} leads to {address}, and NO_PROXY spares localhost"))
        } else {
            Wrong(
                format!("{name} leads to {address}, also for the sandbox at localhost"),
                "export NO_PROXY=localhost,127.0.0.1, or eval \"$(kpay-sandbox env)\"".into(),
            )
        })
    };
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].iter().filter_map(judge).collect()
}
