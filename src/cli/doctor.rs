//! `kpay-sandbox doctor`: diagnoses common setup problems between an integration and the sandbox, and shows their fixes.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::isolation::{self, Way};
use super::{fail, hosts, remote};
use crate::certificates;
use crate::clock::wall_clock;
use crate::proxy::KPAY_HOSTS;
use crate::view::shell_quoted;

/// Where to look.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// Address of the sandbox
    ///
    /// Inside of `exec`, it is the sandbox of that run.
    #[arg(long, env = "KPAY_SANDBOX_CONTROL", value_name = "URL", default_value = "http://localhost:8443")]
    control: String,

    /// Port of the sandbox on this machine, instead of --control
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// The sandbox's --control-token, if it has one
    #[arg(long, env = "KPAY_SANDBOX_CONTROL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Folder of the CA [default: the running sandbox's, else certs]
    #[arg(long, env = "KPAY_SANDBOX_CERTS", value_name = "FOLDER")]
    certs: Option<PathBuf>,

    /// The hosts file
    #[arg(long, value_name = "FILE", default_value = hosts::DEFAULT_FILE)]
    hosts: PathBuf,

    /// Fix certificates, and the lines of ours in the hosts file
    #[arg(long)]
    fix: bool,
}

/// What was looked at, and how it is.
enum Finding {
    Good(String),
    /// What is wrong, and the fix.
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
    let found = match runtime.block_on(Found::at(doctor)) {
        Ok(found) => found,
        Err(why) => return fail(2, &why),
    };
    let (certificates, by_clock) = found.certificates(doctor);
    let mut findings = vec![found.sandbox(), certificates];
    if let Some(info) = &found.info
        && !by_clock
    {
        findings.extend(clock(info));
        findings.extend(tools(&found, info));
    }
    findings.push(hosts_file(doctor));
    findings.extend(proxies(found.port));
    // Inside of an exec, that tells; elsewhere it is what an exec of this user would have.
    let isolation = std::env::var(isolation::VARIABLE);
    let isolation = isolation.unwrap_or_else(|_| runtime.block_on(Way::of_this_user()).told());
    findings.push(if isolation.starts_with("isolation: full") { Good(isolation) } else { Skipped(isolation) });
    let mut text = String::new();
    for finding in &findings {
        text += &match finding {
            Good(what) => format!("ok     {what}\n"),
            Wrong(what, fix) => format!("WRONG  {what}\n       fix: {fix}\n"),
            Skipped(what) => format!("-      {what}\n"),
        };
    }
    // Nobody reading it is no reason to fail otherwise than by the findings.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let wrong = findings.iter().any(|finding| matches!(finding, Wrong(..)));
    if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A running sandbox, as far as one answers.
struct Found {
    control: String,
    port: u16,
    /// Its version, if one answers at all.
    version: Option<String>,
    /// What it says of itself, if this program may ask.
    info: Option<Value>,
    /// Why it does not say it.
    why: String,
    /// The CA that it serves.
    ca: Option<String>,
}

impl Found {
    async fn at(doctor: &Doctor) -> Result<Found, String> {
        let control = doctor.port.map_or_else(|| doctor.control.clone(), |port| format!("http://localhost:{port}"));
        let uri: http::Uri = control.parse().map_err(|_| format!("--control {control}: write http://HOST:PORT"))?;
        let version = remote::version_at(&control).await;
        let asked = remote::info(&control, doctor.token.as_deref()).await;
        let (info, why) = match asked {
            Ok(info) => (Some(info), String::new()),
            Err(why) => (None, why),
        };
        let ca = if version.is_some() { remote::ca_at(&control).await } else { None };
        Ok(Found { port: uri.port_u16().unwrap_or(80), control, version, info, why, ca })
    }

    /// Tells if a sandbox runs, or could.
    fn sandbox(&self) -> Finding {
        let Found { port, why, .. } = self;
        let Some(theirs) = &self.version else { return self.nobody() };
        let told = format!("a sandbox of version {theirs} runs at {}", self.control);
        let ours = env!("CARGO_PKG_VERSION");
        if theirs != ours {
            let process = self.info.as_ref().map_or_else(String::new, |info| format!(", process {}", info["pid"]));
            return Wrong(
                format!("{told}, and this program is {ours}"),
                format!("end the sandbox at port {port}{process} and start this one"),
            );
        }
        match &self.info {
            Some(_) => Good(told),
            None => Good(format!("{told}; it does not tell more to this program: {why}")),
        }
    }

    /// Tells why no sandbox answers.
    fn nobody(&self) -> Finding {
        let (port, control) = (self.port, &self.control);
        let is_here = ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| control.contains(&format!("//{host}")));
        if !is_here {
            return Wrong(
                format!("no sandbox answers at {control}: {}", self.why.lines().next().unwrap_or_default()),
                "start one there, or name another with --control".into(),
            );
        }
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => Skipped(format!("no sandbox runs at port {port}, which is free: start one with kpay-sandbox")),
            Err(_) if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() => Wrong(
                format!("port {port} cannot be listened on"),
                "choose another with --listen 127.0.0.1:PORT, above 1023 unless you are root".into(),
            ),
            Err(_) => Wrong(
                format!("port {port} is taken{}, and what answers there is no kpay-sandbox", owner(port)),
                "end that program, or choose another port with --listen 127.0.0.1:PORT".into(),
            ),
        }
    }

    /// Judges the certificates: the running sandbox's where one runs. Returns true if this machine's clock is what is wrong.
    fn certificates(&self, doctor: &Doctor) -> (Finding, bool) {
        let file = self.info.as_ref().and_then(|info| info["ca"].as_str()).map(PathBuf::from);
        if doctor.certs.is_some() || self.version.is_none() {
            return folder(doctor.certs.as_deref().unwrap_or(Path::new("certs")), doctor.fix, false);
        }
        let (Some(file), Some(served)) = (file, &self.ca) else {
            let why = "the running sandbox does not tell where its certificates are: add --token, or --certs";
            return (Skipped(why.into()), false);
        };
        let fetch =
            format!("curl --output {} {}/__sandbox/ca.pem", shell_quoted(&file.to_string_lossy()), self.control);
        let shown = file.display();
        match certificates::read(&file) {
            Ok(Some(found)) if found == served.as_bytes() => {
                let folder_of = file.parent().unwrap_or(Path::new("."));
                folder(folder_of, false, true)
            }
            Ok(Some(_)) => (
                Wrong(
                    format!(
                        "{shown} is not the CA of the running sandbox, so clients that trust it refuse the sandbox"
                    ),
                    format!("{fetch}, or start the sandbox again"),
                ),
                false,
            ),
            // A sandbox in a container has its files there.
            Ok(None) | Err(_) => (
                Skipped(format!(
                    "the running sandbox keeps its certificates where this program does not see them. Fetch its CA: curl --output ca.pem {}/__sandbox/ca.pem",
                    self.control
                )),
                false,
            ),
        }
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

/// Judges a folder of certificates. Returns true if this machine's clock is what is wrong.
fn folder(path: &Path, fix: bool, runs: bool) -> (Finding, bool) {
    let absolute = super::absolute(path);
    let shown = absolute.display();
    let complaint = certificates::complaint(path, wall_clock());
    let (what, remedy) = match complaint {
        Ok(None) => return (Good(format!("{shown}: the CA and its certificate are good for the next 30 days")), false),
        Ok(Some(complaint)) => {
            let what = format!("{shown}: the CA in ca.pem {}", complaint.why);
            if complaint.by_clock {
                return (Wrong(what, "set this machine's clock".into()), true);
            }
            (what, "start the sandbox, which makes it, or run: kpay-sandbox doctor --fix".to_owned())
        }
        // Its message ends with what to do.
        Err(error) => match error.to_string().split_once("; ") {
            Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
            None => (error.to_string(), "choose another folder with --certs".to_owned()),
        },
    };
    if runs {
        return (Wrong(what, "start the sandbox again".into()), false);
    }
    let finding = match fix.then(|| certificates::open(path, &[], wall_clock())) {
        Some(Ok(made)) => Good(format!("{what}: fixed; {}", made.notices.join("; "))),
        Some(Err(error)) => Wrong(what, error.to_string()),
        None => Wrong(what, remedy),
    };
    (finding, false)
}

/// Compares the sandbox's clock with this machine's: tests that compare times fail when they are apart.
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

/// Tells which languages' clients trust the CA as they are called from here.
fn tools(found: &Found, info: &Value) -> Vec<Finding> {
    // A container says the address that it has inside.
    let base = found.control.replacen("http://", "https://", 1);
    let url = format!("{base}/__sandbox/livez");
    let php = format!("exit(@file_get_contents('{url}') === false ? 1 : 0);");
    let node = format!("require('https').get('{url}', () => process.exit(0)).on('error', () => process.exit(1))");
    let python = format!("import urllib.request; urllib.request.urlopen('{url}')");
    let file = |name: &str| {
        let here = info[name].as_str().filter(|file| Path::new(file).is_file());
        here.map_or_else(|| format!("{name}.pem (from {}/__sandbox/{name}.pem)", found.control), str::to_owned)
    };
    let (ca, bundle) = (file("ca"), file("bundle"));
    let tries: [(&str, &[&str], String); 4] = [
        ("curl", &["--silent", "--output", "-", &url], format!("export CURL_CA_BUNDLE={bundle}")),
        ("php", &["-r", &php], format!("php -d curl.cainfo={bundle} -d openssl.cafile={bundle}")),
        ("node", &["-e", &node], format!("export NODE_EXTRA_CA_CERTS={ca}")),
        ("python3", &["-c", &python], format!("export SSL_CERT_FILE={bundle} REQUESTS_CA_BUNDLE={bundle}")),
    ];
    let judge = |(program, arguments, fix): (&str, &[&str], String)| {
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
                format!("{fix}, or eval \"$(kpay-sandbox env)\" for all of them, or sudo kpay-sandbox trust"),
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
    let fix = if address.is_loopback() {
        "start a sandbox with --listen 127.0.0.1:443, or run: sudo kpay-sandbox hosts --remove".to_owned()
    } else {
        format!("take the line out of {file}: your code would reach that address instead of the sandbox")
    };
    Wrong(format!("{told}, where no sandbox listens at port 443"), fix)
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
