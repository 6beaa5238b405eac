//! How `exec` keeps its command from the real KPay, beyond its environment: a private view of the machine, on Linux, in which
//! KPay's hosts lead to an address of this `exec`.

#[cfg(target_os = "linux")]
mod files;
mod view;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;

pub(super) use view::{View, enter};

use crate::config::Config;
use crate::server;

/// When the command gets a private view of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// Where the system allows it
    Auto,
    /// Always: without it, the command does not run
    Require,
    /// Never
    Off,
}

/// How far the command is kept from the real KPay.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// Give the command a private view of the machine, in which KPay's hosts lead to the sandbox (Linux)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Isolation::Auto)]
    isolation: Isolation,

    /// PEM file of trusted root certificates that the command sees with the CA in it, repeatable (Linux)
    #[arg(long, value_name = "FILE")]
    trust_file: Vec<PathBuf>,
}

impl Wanted {
    /// Returns why this cannot be had.
    pub(super) fn complaint(&self, intercept: bool) -> Option<String> {
        if !intercept && self.isolation == Isolation::Require {
            return Some("--isolation require does not go with --intercept=false. Leave out one of them".into());
        }
        let is_off = !intercept || self.isolation == Isolation::Off;
        let mut files = self.trust_file.iter().map(|file| file.display());
        match files.next() {
            Some(file) if is_off => Some(format!("--trust-file {file} needs the private view of --isolation auto")),
            _ => {
                let missing = self.trust_file.iter().find(|file| !file.is_file())?.display();
                Some(format!("--trust-file {missing} is not a file. Name a PEM file of trusted root certificates"))
            }
        }
    }

    /// Takes the address for the private view, if one is wanted, and listens on it.
    pub(super) fn take_address(&self, config: &Config, intercept: bool) -> Option<(OwnAddress, Vec<TcpListener>)> {
        let is_wanted = intercept && self.isolation != Isolation::Off && cfg!(target_os = "linux");
        is_wanted.then(|| OwnAddress::take(&config.listen))
    }

    /// Finds the way for a command. An error is the reason why it must not run.
    pub(super) async fn way(&self, own: Option<OwnAddress>, intercept: bool, ca: &Path) -> Result<Way, String> {
        let way = match own {
            _ if !intercept => return Ok(Way::NotIntercepted),
            Some(own) => Way::find(own, Some(ca.into()), self.trust_file.clone()).await,
            None if self.isolation == Isolation::Off => Way::Environment("--isolation off asks for it".into()),
            None => Way::Environment("only Linux has it".into()),
        };
        match &way {
            Way::Closed(_, why) | Way::Environment(why) if self.isolation == Isolation::Require => {
                Err(format!("--isolation require: {why}"))
            }
            _ => Ok(way),
        }
    }

    /// Says before the command starts what a way does not cover; all of it where the user may expect more.
    pub(super) fn told(&self, way: &Way) -> String {
        match way {
            Way::Environment(_) if self.isolation == Isolation::Auto => {
                let file =
                    self.trust_file.first().map(|file| format!(". --trust-file {} has no effect", file.display()));
                way.told() + &file.unwrap_or_default()
            }
            Way::Full { .. } => format!("isolation: full. {UNCOVERED}"),
            Way::Closed(..) => format!("isolation: closed. {UNCOVERED}"),
            Way::Environment(_) => "isolation: none. Clients that ignore HTTPS_PROXY reach the real KPay".to_owned(),
            Way::NotIntercepted => "isolation: none. Requests to KPay's hosts reach the real KPay".to_owned(),
        }
    }
}

/// The variable that tells a command how it is kept from the real KPay.
pub(super) const VARIABLE: &str = "KPAY_SANDBOX_ISOLATION";
/// What no private view covers.
const UNCOVERED: &str =
    "Not covered: containers, programs that ran before, DNS over HTTPS, proxies that the client names itself";

/// What the program is called with to try a private view; no user writes it.
const TRY: &str = "__exec-view";
/// How long a try may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where KPay's hosts lead when nobody can listen for them: no connection to it can be made, in any network. (Ruby would not
/// ask its proxy for a host at a loopback address.)
const NOWHERE: Ipv4Addr = Ipv4Addr::BROADCAST;
/// How many addresses are tried; another `exec` has at most a few of four million.
const TRIES: usize = 8;

/// The address that KPay's hosts lead to in a private view.
#[derive(Debug)]
pub(super) struct OwnAddress {
    /// A loopback address, or `NOWHERE`.
    address: Ipv4Addr,
    /// Why nobody listens at its port 443.
    problem: Option<String>,
    /// It listens at port 80 as well.
    plain: bool,
}

impl OwnAddress {
    /// Takes an address that nobody listens on, and listens at its ports 443 and 80 where this user may. The sandbox is going
    /// to listen at `others`, perhaps at one of the ports of all addresses.
    pub(super) fn take(others: &[SocketAddr]) -> (OwnAddress, Vec<TcpListener>) {
        let is_taken = |port| others.contains(&(Ipv4Addr::UNSPECIFIED, port).into());
        let listen =
            |address, port| if is_taken(port) { Ok(None) } else { server::bind((address, port).into()).map(Some) };
        let mut refused = None;
        for _ in 0..TRIES {
            let address = Ipv4Addr::new(127, 64 | (rand::random::<u8>() >> 2), rand::random(), rand::random());
            match listen(address, 443) {
                Ok(secure) => {
                    let plain = listen(address, 80);
                    let own = OwnAddress { address, problem: None, plain: plain.is_ok() };
                    return (own, secure.into_iter().chain(plain.ok().flatten()).collect());
                }
                Err(error) => refused = Some((address, error)),
            }
        }
        let (address, error) = refused.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, ErrorKind::Other.into()));
        let problem = match error.kind() {
            ErrorKind::AddrInUse => "another program listens at port 443 of all addresses. End it".to_owned(),
            ErrorKind::PermissionDenied => {
                "this user may not listen at port 443. Run as root, or set net.ipv4.ip_unprivileged_port_start=80"
                    .to_owned()
            }
            _ => format!("port 443 of {address} cannot be listened on: {error}"),
        };
        (OwnAddress { address: NOWHERE, problem: Some(problem), plain: false }, Vec::new())
    }
}

/// How a command is kept from the real KPay.
#[derive(Debug)]
pub(super) enum Way {
    /// KPay's hosts lead to an address that this `exec` listens on.
    Full {
        /// What the command sees.
        view: View,
        /// Port 80 is listened on as well.
        plain: bool,
    },
    /// KPay's hosts lead nowhere, for this reason.
    Closed(View, String),
    /// Nothing but the environment leads the command here, for this reason.
    Environment(String),
    /// KPay's hosts do not lead here.
    NotIntercepted,
}

impl Way {
    /// Finds the best way, with this view of the machine.
    async fn find(own: OwnAddress, ca: Option<PathBuf>, trusting: Vec<PathBuf>) -> Way {
        let view = View { address: own.address, ca, trusting };
        match (attempt(&view).await, own.problem) {
            (Err(why), _) => Way::Environment(why),
            (Ok(()), Some(why)) => Way::Closed(view, why),
            (Ok(()), None) => Way::Full { view, plain: own.plain },
        }
    }

    /// Finds the way of an `exec` of this user.
    pub(super) async fn of_this_user() -> Way {
        let (own, _listeners) = OwnAddress::take(&[]);
        Way::find(own, None, Vec::new()).await
    }

    /// What the command sees of the machine, if that is another than others see.
    pub(super) fn view(&self) -> Option<&View> {
        match self {
            Way::Full { view, .. } | Way::Closed(view, _) => Some(view),
            Way::Environment(_) | Way::NotIntercepted => None,
        }
    }

    /// Says which way this is and what it does not cover.
    pub(super) fn told(&self) -> String {
        match self {
            Way::Full { view, plain } => {
                let address = view.address;
                let plain = if *plain { "" } else { ". Another program has port 80" };
                format!("isolation: full, KPay's hosts lead to {address}, which is this sandbox{plain}. {UNCOVERED}")
            }
            Way::Closed(_, why) => format!(
                "isolation: closed, KPay's hosts lead nowhere for clients that ignore HTTPS_PROXY, because {why}. {UNCOVERED}"
            ),
            Way::Environment(why) => format!(
                "isolation: none, because {why}. Not covered: proxies that the client names itself, and clients that ignore HTTPS_PROXY, such as PHP streams and Python's http.client, urllib3 and aiohttp. They reach the real KPay"
            ),
            Way::NotIntercepted => {
                "isolation: none, because --intercept=false leaves KPay's hosts alone. Requests to them reach the real KPay"
                    .to_owned()
            }
        }
    }

    /// Says what to check when no request reached the sandbox.
    pub(super) fn what_to_check(&self) -> &'static str {
        match self {
            Way::Full { .. } => {
                "Check that the command makes a payment, outside of containers and through no proxy of its own"
            }
            Way::Closed(..) => {
                "Check that the command makes a payment and that its client uses HTTPS_PROXY: others could not connect, see kpay-sandbox doctor"
            }
            Way::Environment(_) => {
                "Check that the command makes a payment and that its client uses HTTPS_PROXY: others have reached the real KPay, see kpay-sandbox doctor"
            }
            Way::NotIntercepted => "Check that the command makes a payment and takes the address from KPAY_URL",
        }
    }
}

/// Enters a view in a process of its own, and returns why it cannot be entered.
async fn attempt(view: &View) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("only Linux has it".into());
    }
    let failed = |error: io::Error| format!("the attempt failed: {error}");
    let mut command = tokio::process::Command::new(std::env::current_exe().map_err(failed)?);
    command.arg(TRY).args(view.arguments()).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(format!("the attempt took longer than {PATIENCE:?}")),
    }
}

/// Tries a view, if that is what this program was called for.
pub(super) fn asked_for() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != TRY {
        return None;
    }
    let entered = View::read(&mut words).map_or_else(|| Err("it was called wrongly".to_owned()), |view| enter(&view));
    if let Err(why) = entered {
        print!("{why}");
        return Some(ExitCode::FAILURE);
    }
    Some(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_that_listens_at_the_ports_of_all_addresses_needs_no_more() {
        let others = ["127.0.0.1:8443", "0.0.0.0:443", "0.0.0.0:80"].map(|other| other.parse().unwrap());
        let (own, listeners) = OwnAddress::take(&others);
        assert!(own.problem.is_none() && own.plain && listeners.is_empty(), "{own:?}");
        assert!(own.address.is_loopback() && own.address.octets()[1] >= 64, "{own:?}");
    }
}
