//! A running sandbox: started from a `Config`, stopped or dropped. The program and every test use this door.

mod facts;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::certificates::{self, CertificateError, Certificates};
use crate::clock::{Clock, ClockMode, wall_clock};
use crate::config::{Config, DEFAULT_LISTEN};
use crate::courier::{self, Courier, CourierSettings};
use crate::door::Door;
use crate::fixtures::{FixtureError, Fixtures};
use crate::gateway::admission::Rules;
use crate::gateway::ids::Ids;
use crate::gateway::merchant::{Accounts, Merchant};
use crate::gateway::profile::Profiles;
use crate::gateway::{Gateway, Settings};
use crate::proxy::Proxy;
use crate::scheduler::{Advanced, CannotAdvance, Scheduler};
use crate::state_file::StateFile;
use crate::web::{Roots, Surfaces, Work};
use crate::{server, tls};
pub use facts::Facts;
use facts::{announced, curl_line, dashboard, guard, home, info, url};

/// How long deliveries under way may still take after a stop.
const PATIENCE: Duration = Duration::from_secs(3);

/// A sandbox that serves until it is stopped or dropped.
#[derive(Debug)]
pub struct Sandbox {
    door: Arc<Door>,
    scheduler: Arc<Scheduler>,
    facts: Facts,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// The file of `--state`, and the facts that are written into it.
    state: Option<(Arc<StateFile>, serde_json::Value)>,
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot be used.
    #[error("{0}")]
    Setting(String),
    /// A fixture that cannot be used.
    #[error(transparent)]
    Fixture(#[from] FixtureError),
    /// A certificate folder that cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// A state file that cannot be used.
    #[error("{0}")]
    State(String),
    /// The certificate was refused by the TLS library.
    #[error("{}: the certificate cannot be used: {error}; delete the files in it to have them made again", .folder.display())]
    Tls {
        /// The certificate folder.
        folder: PathBuf,
        /// What the library says.
        error: rustls::Error,
    },
    /// Another program has the port.
    #[error(
        "{0} is in use by another program: end that one, or choose another with --listen ADDRESS:PORT (port 0 picks a free one)"
    )]
    PortInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}; choose another with --listen ADDRESS:PORT")]
    Listen(SocketAddr, io::Error),
}

impl Sandbox {
    /// Starts a sandbox. When this returns, it is ready.
    pub async fn start(config: Config) -> Result<Sandbox, StartError> {
        Sandbox::start_with(config, Vec::new()).await
    }

    /// Starts a sandbox that also serves what arrives at `further` listeners.
    pub async fn start_with(config: Config, further: Vec<TcpListener>) -> Result<Sandbox, StartError> {
        // On a thread of its own: a lock or a FIFO can make it wait, and signals must be heard meanwhile.
        let reading = tokio::task::spawn_blocking(move || Files::read(&config).map(|files| (config, files)));
        let read = reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (config, Files { fixtures, extra_roots, certificates }) = read?;
        let (expires, ca_pem) = (certificates.expires(), certificates.ca_pem());
        let acceptor = tls::acceptor(certificates.chain, certificates.names_only, &certificates.key)
            .map_err(|error| StartError::Tls { folder: config.certs.clone(), error })?;
        let state = config.state.as_deref().map(StateFile::open).transpose().map_err(StartError::State)?.map(Arc::new);
        let listeners = bind(&config.listen, further)?;
        let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();

        let seed = config.seed.unwrap_or_else(rand::random);
        let caller =
            fixtures.merchants.iter().find(|merchant| merchant.api_access).unwrap_or(&fixtures.merchants[0]).clone();
        let rates = fixtures.rates.clone();
        let settings = settings(fixtures, &config, seed)?;
        let door = Arc::new(open_door(settings, &config, state.as_ref()).await?);
        let courier = Courier::new(courier_settings(&config, certificates.ca, extra_roots, &addresses));
        let scheduler = Arc::new(Scheduler::new(Arc::clone(&door), Arc::new(courier)));

        let mut facts = Facts {
            url: url(&addresses),
            addresses,
            ca: certificates.ca_file,
            bundle: certificates.bundle_file,
            username: caller.username.to_string(),
            password: caller.password.into(),
            key: caller.key.into(),
            profile: config.profile.clone(),
            curl: String::new(),
            dashboard: String::new(),
            closed: false,
            notices: certificates.notices,
        };
        let guard = guard(&facts, &config);
        facts.closed = guard.is_closed();
        facts.curl = curl_line(&facts);
        facts.dashboard = dashboard(&facts, config.public_url.as_ref());
        let (stop, stopped) = watch::channel(false);
        let surfaces = Arc::new(Surfaces {
            scheduler: Arc::clone(&scheduler),
            rates,
            guard,
            info: info(&facts, seed, config.seed.is_some(), &expires),
            work: Arc::new(Work::new(Arc::clone(&door), stopped.clone())),
            stop: stopped.clone(),
            door: Arc::clone(&door),
            refusal_status: config.refusal_status,
            default_host: facts.url.trim_start_matches("https://").to_owned(),
            announced: announced(&facts, &config),
            trusted_proxies: config.trusted_proxy,
            roots: Roots { ca: ca_pem, bundle: facts.bundle.clone() },
            home: home(&facts),
            redirect: config.redirect,
            proxy: Proxy::new(config.offline, config.upstream, &facts.addresses),
        });
        let state = state.map(|file| (file, surfaces.info.clone()));
        if let Some((file, info)) = &state {
            file.begin(&door, info).await.map_err(StartError::State)?;
        }
        let mut tasks = vec![
            tokio::spawn(server::serve(listeners, acceptor, surfaces, stopped.clone())),
            tokio::spawn(Arc::clone(&scheduler).follow(stopped.clone(), PATIENCE)),
        ];
        if let Some((file, info)) = state.clone() {
            tasks.push(tokio::spawn(file.follow(Arc::clone(&door), info, config.state_interval.0, stopped)));
        }
        Ok(Sandbox { door, scheduler, facts, stop, tasks, state })
    }

    /// What a client needs to know.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Base URL, without a slash at its end: `https://127.0.0.1:41234`.
    pub fn url(&self) -> &str {
        &self.facts.url
    }

    /// The CA file that a client must trust.
    pub fn ca(&self) -> &Path {
        &self.facts.ca
    }

    /// Reads the gateway: ledger, journal, deliveries.
    pub fn read<T>(&self, look: impl FnOnce(&Gateway) -> T) -> T {
        self.door.read(look)
    }

    /// The door, for readers that follow the journal.
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Moves a paused clock on. When this returns, everything that fell due has been sent and recorded.
    pub async fn advance(&self, span: Duration) -> Result<Advanced, CannotAdvance> {
        let scheduler = Arc::clone(&self.scheduler);
        // Spawned: a caller that stops waiting must not leave the clock half way.
        let advancing = tokio::spawn(async move { scheduler.advance(Some(span)).await });
        advancing.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Forgets everything and sets the clock back to where it started, as [`Door::reset`].
    pub fn reset(&self) {
        self.door.reset();
    }

    /// Ends gracefully: no new connections, answers and deliveries under way are finished, within 5 s. Then the state
    /// file is written. Returns why it was not.
    pub async fn stop(mut self) -> Option<String> {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            // A task that panicked has said so already; the others are still waited for.
            let _ = task.await;
        }
        let (file, info) = self.state.as_ref()?;
        file.finish(&self.door, info).await.err()
    }
}

/// The files that a start reads.
struct Files {
    fixtures: Fixtures,
    extra_roots: Vec<CertificateDer<'static>>,
    certificates: Certificates,
}

impl Files {
    fn read(config: &Config) -> Result<Files, StartError> {
        let fixtures = Fixtures::load(config.fixtures.as_deref())?;
        let mut extra_roots = Vec::new();
        for file in &config.postback_ca {
            extra_roots.extend(courier::read_roots(file).map_err(StartError::Setting)?);
        }
        let certificates = certificates::open(&config.certs, &wanted_hosts(config), wall_clock())?;
        Ok(Files { fixtures, extra_roots, certificates })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// The door to a new gateway, or to the one of the state file. Time goes on there: at the wall clock's time, or where
/// it stood if that is later or if the clock is paused.
async fn open_door(settings: Settings, config: &Config, state: Option<&Arc<StateFile>>) -> Result<Door, StartError> {
    let mut clock = Clock::start(config.clock, config.clock_start, config.clock_speed);
    let Some(file) = state.cloned() else { return Ok(Door::new(settings, clock)) };
    let reading = tokio::task::spawn_blocking(move || (file.read(&settings), settings));
    let (read, settings) = reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let Some((saved, gateway)) = read.map_err(StartError::State)? else { return Ok(Door::new(settings, clock)) };
    let stands = config.clock == ClockMode::Paused && config.clock_start.is_none();
    if stands || saved > clock.now() {
        clock.set(saved);
    }
    Ok(Door::of(gateway, clock))
}

/// What the gateway is made of, by the fixtures and the configuration.
fn settings(fixtures: Fixtures, config: &Config, seed: u64) -> Result<Settings, StartError> {
    let profiles = Profiles::new(fixtures.profiles, &config.profile).map_err(StartError::Setting)?;
    let template = Merchant { any_password: true, ..fixtures.merchants[0].clone() };
    let mut accounts = Accounts::default();
    for merchant in fixtures.merchants {
        let username = Arc::clone(&merchant.username);
        let put = accounts.put(merchant, &profiles);
        put.map_err(|why| StartError::Setting(format!("merchants.json: {username}: {why}")))?;
    }
    let settings = Settings {
        rules: Rules { profiles, accounts, banks: fixtures.banks, cards: fixtures.cards },
        repertoire: fixtures.repertoire,
        scenario: config.scenario.as_deref().map(Into::into),
        chaos: config.chaos,
        open: config.open.then_some(template),
        retries: config.postback_retries,
        // Only a seed that somebody chose promises repeatable ids.
        ids: Ids::new(seed, config.seed.is_some()),
        disorder_seed: seed,
    };
    settings.complaint().map_or(Ok(settings), |why| Err(StartError::Setting(why)))
}

/// Returns how postbacks are sent, by the configuration.
fn courier_settings(
    config: &Config,
    own_ca: CertificateDer<'static>,
    extra_roots: Vec<CertificateDer<'static>>,
    addresses: &[SocketAddr],
) -> CourierSettings {
    CourierSettings {
        own_ca,
        extra_roots,
        insecure: config.postback_insecure,
        time_limit: config.postback_timeout.0,
        redirections: config.postback_to.clone(),
        host: config.postback_host,
        postbacks: config.postbacks,
        offline: config.offline,
        own_addresses: addresses.to_vec(),
        around: in_container().then_some("host.docker.internal"),
    }
}

/// The names that the certificate must cover beside its usual ones.
fn wanted_hosts(config: &Config) -> Vec<String> {
    let listening = config.listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_loopback() && !ip.is_unspecified());
    let mut hosts = config.hosts.clone();
    hosts.extend(listening.map(|ip| ip.to_string()));
    hosts
}

/// Whether this is a container: `localhost` in a returl then mostly means the machine around it.
fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists())
}

/// Listens at these addresses. Returns the listeners, with `further` ones after them.
fn bind(wanted: &[SocketAddr], further: Vec<TcpListener>) -> Result<Vec<TcpListener>, StartError> {
    let by_default = wanted.is_empty();
    let wanted: Vec<SocketAddr> =
        if by_default { DEFAULT_LISTEN.map(SocketAddr::from).to_vec() } else { wanted.to_vec() };
    let mut listeners = Vec::new();
    for address in wanted {
        match server::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(StartError::PortInUse(address));
            }
            // Many containers have no IPv6; nobody who did not ask for it misses it there.
            Err(_) if by_default && address.is_ipv6() && !listeners.is_empty() => {}
            Err(error) => return Err(StartError::Listen(address, error)),
        }
    }
    listeners.extend(further);
    Ok(listeners)
}
