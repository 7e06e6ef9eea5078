//! One gateway for one test: a scratch folder, an authority, simulated departments, a clock that
//! only the test moves, and callers that connect over real TLS.
//!
//! Owns what runs and ends it in order: [`Harness::finish`] drains, closes the log and checks every
//! entry of it with the keys. It must never sleep; [`eventually`] polls what a test waits for.

pub mod client;
pub mod exact;
pub mod parts;
pub mod questions;
mod setup;
pub mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use jumpgate::admin::{self, Admin};
use jumpgate::candidate::StartFault;
use jumpgate::config::{Config, Mistake};
use jumpgate::development::{Authority, Identity, Use, Validity};
use jumpgate::gateway::{Gateway, Now};
use jumpgate::listener::Listener;
use jumpgate::live::Live;
use jumpgate_departments::{Departments, Server};
use jumpgate_querylog::{Fields, Flaw, Keys, Kind, Reader, Record, Report, Sealer, verify};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use client::{Broken, Client, Protocol, Reply};
pub use setup::{Ground, Setup};

/// Longer than anything takes on a busy machine; nothing waits for it but a failing test.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The day in Beijing on which every test begins.
pub const TODAY: jiff::civil::Date = jiff::civil::date(2026, 5, 12);

/// A running gateway and everything around it.
pub struct Harness {
    folder: TempDir,
    clock: Arc<AtomicI64>,
    /// What issues certificates that the gateway trusts.
    pub authority: Authority,
    /// The departments in front of which the gateway stands.
    pub departments: Departments,
    running: Running,
}

/// What a restart replaces.
struct Running {
    live: Arc<Live>,
    address: SocketAddr,
    admin_address: SocketAddr,
    stopper: watch::Sender<bool>,
    serving: [JoinHandle<()>; 2],
}

impl Harness {
    /// The configuration of most tests.
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// Another configuration: TOML that is laid over the usual one, table by table.
    pub async fn with(config: &str) -> Self {
        Setup::new().with(config).start().await
    }

    /// What is in force in the running gateway.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.running.live.gateway()
    }

    /// Where callers connect.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Where health and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.running.admin_address
    }

    /// The scratch folder: `jumpgate.toml`, certificates, `log`, `keys`, `admin.sock`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The query log's folder.
    pub fn log_dir(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// The query log's keys.
    pub fn keys(&self) -> Keys {
        Keys::open(&self.folder().join("keys")).unwrap()
    }

    /// The civil registry.
    pub fn civil(&self) -> &Server {
        &self.departments.civil_registry
    }

    /// Social insurance.
    pub fn social(&self) -> &Server {
        &self.departments.social_insurance
    }

    /// Moves the gateway's clock.
    pub fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap();
        self.clock.fetch_add(by_ms, Ordering::SeqCst);
    }

    /// The time by the gateway's clock, Unix seconds.
    pub fn now_s(&self) -> i64 {
        self.clock.load(Ordering::SeqCst) / 1000
    }

    /// Sets the gateway's clock.
    pub fn set_now(&self, now: &str) {
        let now: jiff::Timestamp = now.parse().unwrap();
        self.clock.store(now.as_millisecond(), Ordering::SeqCst);
    }

    /// Issues a client certificate with this URI.
    pub fn issue(&self, uri: &str, validity: Validity) -> Identity {
        self.authority.issue("issued by a test", Use::Client(uri), validity).unwrap()
    }

    /// Writes the revocation list `revoked.crl`, which names these certificates. It has an effect
    /// once the gateway reads it, if its configuration has it.
    pub fn revoke(&self, number: u64, serials: &[&[u8]]) {
        let list = self.authority.revocation_list(number, serials).unwrap();
        std::fs::write(self.folder().join("revoked.crl"), list).unwrap();
    }

    /// Sends an act to the admin socket, and returns the sentence that comes back.
    pub async fn act(&self, path: &str) -> (StatusCode, String) {
        let (status, said) = self.at_socket(Method::POST, path).await;
        (status, said["said"].as_str().unwrap().to_owned())
    }

    /// Looks or acts at the admin socket.
    pub async fn at_socket(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let socket = self.folder().join("admin.sock");
        admin::send(&socket, method, path, String::new()).await.unwrap()
    }

    /// Sends an act with a body to the admin socket.
    pub async fn at_socket_with(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let socket = self.folder().join("admin.sock");
        admin::send(&socket, Method::POST, path, body.to_owned()).await.unwrap()
    }

    /// Changes the configuration file as [`Harness::with`] does; a reload reads it.
    pub fn reconfigure(&self, overlay: &str) {
        setup::lay_over_file(&self.folder().join("jumpgate.toml"), overlay);
    }

    /// A connection of `one-window`, `other-window` or `stranger`, HTTP/1.1.
    pub async fn client(&self, name: &str) -> Client {
        self.connect(Some(&self.identity(name)), Protocol::Http1).await.unwrap()
    }

    /// The same, HTTP/2.
    pub async fn client_h2(&self, name: &str) -> Client {
        self.connect(Some(&self.identity(name)), Protocol::Http2).await.unwrap()
    }

    /// A connection that shows this certificate, or none.
    pub async fn connect(
        &self,
        shown: Option<&Identity>,
        protocol: Protocol,
    ) -> Result<Client, Broken> {
        let stream = self.tls(shown, protocol).await?;
        Client::over(stream, protocol).await
    }

    /// A TLS connection on which a test writes its own bytes.
    pub async fn tls(
        &self,
        shown: Option<&Identity>,
        protocol: Protocol,
    ) -> Result<client::Tls, Broken> {
        let anchor = self.authority.certificate();
        client::tls(self.address(), anchor, shown, protocol).await
    }

    /// The certificate and key of a caller in the scratch folder.
    pub fn identity(&self, name: &str) -> Identity {
        setup::read_identity(self.folder(), name)
    }

    /// The metrics page.
    pub async fn metrics(&self) -> String {
        client::get_in_clear(self.admin_address(), "/metrics").await
    }

    /// Every entry that is in the log now.
    pub fn records(&self) -> Vec<Record> {
        Reader::open(&self.log_dir()).unwrap().map(Result::unwrap).collect()
    }

    /// The entries of one kind, in their order.
    pub fn records_of(&self, kind: Kind) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.entry.kind == kind);
        records
    }

    /// The sealed fields of an entry.
    pub fn fields(&self, record: &Record) -> Fields {
        let sealer = Sealer::open(&self.log_dir(), &self.keys()).unwrap();
        sealer.open_fields(record).unwrap()
    }

    /// What is counted under a code in `coalesced` entries now.
    pub fn coalesced(&self, code: &str) -> u64 {
        let records = self.records_of(Kind::Coalesced);
        let of_code = records.iter().filter(|record| record.entry.code.as_deref() == Some(code));
        of_code.filter_map(|record| record.entry.count).sum()
    }

    /// Checks the log as it stands while the gateway runs.
    pub fn verify(&self) -> Result<Report, Vec<Flaw>> {
        verify(&self.log_dir(), Some(&self.keys()))
    }

    /// Waits until the published tree holds every entry. From then on, and until somebody asks, no
    /// file of the log comes or goes.
    pub async fn published(&self) {
        let all = async || {
            let health = self.gateway().record.log().health();
            (health.published_entries == health.entries).then_some(())
        };
        eventually("the published tree holds every entry", all).await;
    }

    /// Tells the gateway to stop, as SIGTERM does, and returns at once.
    pub fn begin_stop(&self) {
        self.running.stopper.send_replace(true);
    }

    /// Stops the gateway in order and starts another on the same folder.
    pub async fn restart(self) -> Self {
        let Self { folder, clock, authority, departments, running } = self;
        running.stop().await;
        let running = run(&folder.path().join("jumpgate.toml"), &clock).await.unwrap();
        Self { folder, clock, authority, departments, running }
    }

    /// Drains, closes the log and checks it: intact, every ask closed exactly once, every sealed
    /// field fit, `stop` at its end.
    pub async fn finish(self) -> Report {
        self.stop().await.1
    }

    /// The same, and what is left for another gateway to start on.
    pub async fn stop(self) -> (Ground, Report) {
        let Self { folder, authority, departments, running, .. } = self;
        // What hangs at a department is answered now, so that the drain has an end.
        departments.civil_registry.faults().clear();
        departments.social_insurance.faults().clear();
        running.stop().await;
        let keys = Keys::open(&folder.path().join("keys")).unwrap();
        let report = verify(&folder.path().join("log"), Some(&keys)).unwrap();
        assert_intact(&report);
        (Ground { folder, authority, departments }, report)
    }
}

impl Running {
    async fn stop(self) {
        self.stopper.send_replace(true);
        for task in self.serving {
            task.await.unwrap();
        }
        self.live.close().await.unwrap();
    }
}

/// Asserts what holds of every log that was closed in order.
pub fn assert_intact(report: &Report) {
    let of = |kind| report.kinds.get(&kind).copied().unwrap_or(0);
    assert!(report.stopped, "the last entry is no stop: {report:?}");
    assert_eq!(report.open_asks, [0; 0]);
    assert_eq!(report.torn_bytes, 0);
    let closed = of(Kind::Answer) + of(Kind::Failed) + of(Kind::Abandoned);
    assert_eq!(of(Kind::Ask) + of(Kind::BreakGlass), closed, "{:?}", report.kinds);
}

/// How often each kind stands in a log, by the kinds' words.
pub fn counted(report: &Report) -> BTreeMap<&'static str, u64> {
    report.kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect()
}

/// Polls until `probe` finds something; for what becomes true by itself and soon.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let polled = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(PATIENCE, polled).await {
        Ok(found) => found,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Between two looks; short beside what is waited for.
const POLL: Duration = Duration::from_millis(5);

/// Loads a configuration, or returns its mistakes.
pub fn load(config: &Path) -> Result<Config, Vec<Mistake>> {
    Config::load(config)
}

async fn run(config: &Path, clock: &Arc<AtomicI64>) -> Result<Running, StartFault> {
    let mut config = load(config).unwrap();
    // The clock is the tests' own, and a process of its own may have written with the system's.
    config.accept_clock = true;
    let live = Live::open(config, now(clock)).await?;
    let admin = Admin::bind(live.clone()).await.unwrap();
    let listener = Listener::bind(live.clone()).await.unwrap();
    let (address, admin_address) = (listener.address().unwrap(), admin.address().unwrap());
    let (stopper, stop) = watch::channel(false);
    let serving = [tokio::spawn(listener.serve(stop.clone())), tokio::spawn(admin.serve(stop))];
    Ok(Running { live, address, admin_address, stopper, serving })
}

fn now(clock: &Arc<AtomicI64>) -> Now {
    let clock = clock.clone();
    let read = move || jiff::Timestamp::from_millisecond(clock.load(Ordering::SeqCst)).unwrap();
    Arc::new(read)
}

fn noon_ms(day: jiff::civil::Date) -> i64 {
    let noon = day.at(12, 0, 0, 0).in_tz("Asia/Shanghai").unwrap();
    noon.timestamp().as_millisecond()
}
