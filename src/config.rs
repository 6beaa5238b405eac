//! Every setting: its flag, its environment variable, its help, its default. Adding one is one place.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::certificates;
use crate::clock::ClockMode;
use crate::courier::{PostbackHost, Postbacks, Redirection};
use crate::gateway::Timestamp;
use crate::gateway::merchant::Network;
use crate::gateway::timestamp::Span;
use crate::log::LogFormat;
use crate::proxy::Upstream;
use crate::web::{Redirect, RefusalStatus};

/// How a sandbox is set up. The default one listens on a free port of 127.0.0.1, for use inside a test.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address to listen on, repeatable; port 0 picks a free one [default: 127.0.0.1:8443 and [::1]:8443]
    #[arg(long, env = "KPAY_SANDBOX_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',', value_parser = listen_address)]
    pub listen: Vec<SocketAddr>,

    /// Further name or address that the certificate is to cover, repeatable
    #[arg(long = "host", env = "KPAY_SANDBOX_HOST", value_name = "NAME", value_delimiter = ',', value_parser = host)]
    pub hosts: Vec<String>,

    /// Folder of the CA and the certificate, made on the first run
    #[arg(long, env = "KPAY_SANDBOX_CERTS", value_name = "FOLDER", default_value = "certs")]
    pub certs: PathBuf,

    /// How to be KPay where the sources differ: documented, observed or portal
    #[arg(long, env = "KPAY_SANDBOX_PROFILE", value_name = "NAME", default_value = "documented")]
    pub profile: String,

    /// Folder whose files replace the built-in fixtures: merchants.json, banks.json, cards.json, card-outcomes.json, rates.json, profiles/, scenarios/
    #[arg(long, env = "KPAY_SANDBOX_FIXTURES", value_name = "FOLDER")]
    pub fixtures: Option<PathBuf>,

    /// Scenario of payments for which nothing else chooses one
    #[arg(long, env = "KPAY_SANDBOX_SCENARIO", value_name = "NAME")]
    pub scenario: Option<String>,

    /// Share of payments that get a scenario of disorder, by the seed: 0 to 1
    #[arg(long, env = "KPAY_SANDBOX_CHAOS", value_name = "RATE", default_value_t = 0.0, value_parser = chaos)]
    pub chaos: f64,

    /// Accept any user and password: each user is a merchant of its own, made when first seen
    #[arg(long, env = "KPAY_SANDBOX_OPEN", value_parser = clap::builder::FalseyValueParser::new())]
    pub open: bool,

    /// Address at which browsers reach the sandbox, which answers announce
    ///
    /// The `url` of an answer leads to the checkout page there: behind port mappings, tunnels and Codespaces.
    #[arg(long, env = "KPAY_SANDBOX_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,

    /// Believe X-Forwarded-Proto, -For and -Host from these addresses
    #[arg(long, env = "KPAY_SANDBOX_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxy: Vec<Network>,

    /// Announce the sandbox's own address in plain HTTP only: set by `exec`.
    #[arg(skip)]
    pub announces_own: bool,

    /// HTTP status of a refusal: 200 as KPay, or http for a real one (401, 403, 400, 409, 404 ...)
    #[arg(long, env = "KPAY_SANDBOX_REFUSAL_STATUS", value_name = "200|http", default_value = "200", value_parser = refusal_status, hide_possible_values = true)]
    pub refusal_status: RefusalStatus,

    /// How the payer's browser comes back to redirecturl: unchanged, with the result in the query, or posting it
    #[arg(long, env = "KPAY_SANDBOX_REDIRECT", value_name = "HOW", value_enum, default_value_t = Redirect::Unchanged)]
    pub redirect: Redirect,

    /// Addresses that postbacks may go to: local and private ones, or anywhere
    #[arg(long, env = "KPAY_SANDBOX_POSTBACKS", value_name = "WHERE", value_enum, default_value_t = Postbacks::Local)]
    pub postbacks: Postbacks,

    /// Send postbacks for one origin to another, repeatable: https://shop.example=http://localhost:3000
    #[arg(long, env = "KPAY_SANDBOX_POSTBACK_TO", value_name = "FROM=TO", value_delimiter = ',')]
    pub postback_to: Vec<Redirection>,

    /// Host header of postbacks that --postback-to sends elsewhere: the original one, or the local one
    #[arg(long, env = "KPAY_SANDBOX_POSTBACK_HOST", value_name = "WHICH", value_enum, default_value_t = PostbackHost::Original)]
    pub postback_host: PostbackHost,

    /// PEM file of further roots that postback targets may be certified by, repeatable
    #[arg(long, env = "KPAY_SANDBOX_POSTBACK_CA", value_name = "FILE", value_delimiter = ',')]
    pub postback_ca: Vec<PathBuf>,

    /// Accept any certificate of a postback target
    #[arg(long, env = "KPAY_SANDBOX_POSTBACK_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub postback_insecure: bool,

    /// How often a postback that failed is tried again, after 1 s, 2 s, 4 s ...
    #[arg(long, env = "KPAY_SANDBOX_POSTBACK_RETRIES", value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=16))]
    pub postback_retries: u32,

    /// How long a postback may take, answer included
    #[arg(long, env = "KPAY_SANDBOX_POSTBACK_TIMEOUT", value_name = "SPAN", default_value = "10s", value_parser = postback_timeout)]
    pub postback_timeout: Span,

    /// Send nothing to other machines: no tunnels of the proxy, and postbacks to local and private addresses only
    #[arg(long, env = "KPAY_SANDBOX_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub offline: bool,

    /// The proxies on the way to other hosts. `exec` takes them from its environment, where it replaces them.
    #[arg(skip)]
    pub upstream: Upstream,

    /// Write url, port, ca, bundle, username, password and pid to this file, as JSON, once ready
    #[arg(long, env = "KPAY_SANDBOX_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Keep the state in this file: read at start, written at intervals and at the end
    #[arg(long, env = "KPAY_SANDBOX_STATE", value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// How often the state file is written when something has changed
    #[arg(long, env = "KPAY_SANDBOX_STATE_INTERVAL", value_name = "SPAN", default_value = "1m", value_parser = state_interval, requires = "state")]
    pub state_interval: Span,

    /// Make ids repeatable: the same calls in the same order get the same ids
    #[arg(long, env = "KPAY_SANDBOX_SEED", value_name = "N")]
    pub seed: Option<u64>,

    /// Whether time passes by itself, or only when it is advanced
    #[arg(long, env = "KPAY_SANDBOX_CLOCK", value_name = "MODE", value_enum, default_value_t = ClockMode::Running)]
    pub clock: ClockMode,

    /// Moment at which the clock starts, such as 2026-01-31T12:00:00Z [default: now]
    #[arg(long, env = "KPAY_SANDBOX_CLOCK_START", value_name = "MOMENT")]
    pub clock_start: Option<Timestamp>,

    /// How many of the clock's seconds pass in a real one
    #[arg(long, env = "KPAY_SANDBOX_CLOCK_SPEED", value_name = "FACTOR", default_value_t = 1.0, value_parser = clock_speed)]
    pub clock_speed: f64,

    /// Bearer token that calls of the control API must carry
    #[arg(long, env = "KPAY_SANDBOX_CONTROL_TOKEN", value_name = "TOKEN", hide_env_values = true, value_parser = control_token)]
    pub control_token: Option<String>,

    /// Let anybody who reaches the port use the control API, without a token, from beyond this machine too
    #[arg(long, env = "KPAY_SANDBOX_CONTROL_OPEN", value_parser = clap::builder::FalseyValueParser::new())]
    pub control_open: bool,

    /// Log for people or for machines
    #[arg(long, env = "KPAY_SANDBOX_LOG", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,

    /// Print errors only: no banner, no notices, no log
    #[arg(long, env = "KPAY_SANDBOX_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub quiet: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            hosts: Vec::new(),
            certs: "certs".into(),
            profile: "documented".into(),
            fixtures: None,
            refusal_status: RefusalStatus::Ok,
            redirect: Redirect::Unchanged,
            postbacks: Postbacks::Local,
            postback_to: Vec::new(),
            postback_host: PostbackHost::Original,
            postback_ca: Vec::new(),
            postback_insecure: false,
            postback_retries: 0,
            postback_timeout: Span(Duration::from_secs(10)),
            offline: false,
            upstream: Upstream::default(),
            ready_file: None,
            state: None,
            state_interval: Span(Duration::from_secs(60)),
            seed: None,
            log: LogFormat::Text,
            quiet: false,
            scenario: None,
            chaos: 0.0,
            open: false,
            public_url: None,
            trusted_proxy: Vec::new(),
            announces_own: false,
            clock: ClockMode::Running,
            clock_start: None,
            clock_speed: 1.0,
            control_token: None,
            control_open: false,
        }
    }
}

/// An address at which browsers reach the sandbox: `http` or `https`, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(pub String);

impl PublicUrl {
    /// Returns the host without its port.
    pub fn host(&self) -> &str {
        let authority = self.0.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
        authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(authority, |(host, _)| host)
    }

    /// Returns scheme, host and port.
    pub fn origin(&self) -> String {
        self.0.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
    }
}

impl std::str::FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<PublicUrl, &'static str> {
        let wrong = "write http:// or https:// and a host, such as https://name-8443.app.github.dev";
        let uri: http::Uri = text.parse().map_err(|_| wrong)?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain = uri.authority().is_some_and(|found| !found.as_str().contains('@')) && uri.query().is_none();
        if is_web && is_plain { Ok(PublicUrl(text.trim_end_matches('/').to_owned())) } else { Err(wrong) }
    }
}

/// Where the program listens when no `--listen` says otherwise.
pub const DEFAULT_LISTEN: [(std::net::IpAddr, u16); 2] =
    [(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443), (std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 8443)];

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    // A port alone is one of this machine's own: the others are let in by naming an address.
    let text = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() };
    text.parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:8443, :8443, [::1]:8443 or 0.0.0.0:0".into())
}

fn host(text: &str) -> Result<String, String> {
    certificates::check_host(text).map(|()| text.to_owned())
}

fn refusal_status(text: &str) -> Result<RefusalStatus, String> {
    match text {
        "200" => Ok(RefusalStatus::Ok),
        "http" => Ok(RefusalStatus::Http),
        _ => Err("write 200 or http".into()),
    }
}

fn chaos(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
    rate.ok_or_else(|| "write a rate from 0 to 1, such as 0.05".into())
}

fn clock_speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (0.001..=1_000_000.0).contains(speed));
    speed.ok_or_else(|| "write a factor from 0.001 to 1000000, such as 60 for a minute a second".into())
}

fn control_token(text: &str) -> Result<String, String> {
    let sound = (8..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if sound { Ok(text.to_owned()) } else { Err("write 8 to 256 characters of ASCII without blanks".into()) }
}

fn postback_timeout(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    let bounds = Duration::from_millis(1)..=Duration::from_secs(300);
    if bounds.contains(&span.0) { Ok(span) } else { Err("write a span from 1ms to 5m".into()) }
}

fn state_interval(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    let bounds = Duration::from_millis(10)..=Duration::from_secs(86_400);
    if bounds.contains(&span.0) { Ok(span) } else { Err("write a span from 10ms to 24h".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_is_one_of_the_web() {
        for (text, origin, host) in [
            ("https://a.test/", "https://a.test", "a.test"),
            ("http://a.test:81/pay/", "http://a.test:81", "a.test"),
            ("http://[::1]:81", "http://[::1]:81", "[::1]"),
        ] {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!((&*url.origin(), url.host(), url.0.ends_with('/')), (origin, host, false), "{text}");
        }
        for wrong in ["a.test", "ftp://a.test", "https://", "https://u:p@a.test", "https://a.test/?x=1", ""] {
            assert!(wrong.parse::<PublicUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_alone_listens_on_this_machine_only() {
        assert_eq!(listen_address(":443"), Ok(([127, 0, 0, 1], 443).into()));
        assert_eq!(listen_address("[::1]:8443"), Ok((Ipv6Addr::LOCALHOST, 8443).into()));
        assert!(listen_address("localhost:443").is_err() && listen_address(":").is_err());
    }
}
