//! Jumpgate as a process: its configuration, its log and where it listens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jumpgate_querylog::{Keys, LogOptions, QueryLog};

use crate::Failure;
use crate::client::Door;
use crate::fixture::{Addresses, CALLER_URI, Fixture};
use crate::process::Process;

/// A running gateway with everything on and a fresh log.
pub struct Gateway {
    /// The process.
    pub process: Process,
    /// Where callers connect.
    pub addresses: Addresses,
    /// Its configuration file.
    pub config: PathBuf,
    admin: SocketAddr,
}

/// What differs between the scenarios.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Time for one question.
    pub deadline_ms: u64,
    /// Questions each department sees at once.
    pub concurrency_max: u16,
    /// Time for a request's head. hyper counts the rest between two requests as part of it.
    pub head_timeout_ms: u64,
    /// Whether answers over TLS wait for their proof.
    pub proof_inline: bool,
    /// Questions that the caller may ask on a day.
    pub caller_per_day: u32,
}

impl Shape {
    /// What a gateway in front of fast departments would have, with a slot for each connection.
    pub fn with_slots(concurrency_max: u16) -> Self {
        Self {
            deadline_ms: 5_000,
            concurrency_max,
            head_timeout_ms: 10_000,
            proof_inline: false,
            caller_per_day: 1_000_000_000,
        }
    }
}

impl Gateway {
    /// Makes the log and starts `jumpgate serve`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(fixture: &Fixture, shape: Shape) -> Result<Self, Failure> {
        let scratch = fixture.scratch();
        let keys = Keys::create(&scratch.join("keys"))?;
        let now_ms = u64::try_from(Timestamp::now().as_millisecond())?;
        let options = LogOptions::default();
        QueryLog::init(&scratch.join("log"), "bench.example/log", &keys, &options, now_ms)?;
        let config = scratch.join("gateway.toml");
        std::fs::write(&config, configuration(fixture, shape))?;
        let arguments = ["serve".to_owned(), config.display().to_string()];
        let mut process = Process::start("jumpgate", &fixture.program, &arguments, scratch)?;
        let tls = address(&mut process, "jumpgate: callers connect to https://").await?;
        let clear =
            address(&mut process, "jumpgate: DANGEROUS: everybody is believed at http://").await?;
        let admin = address(&mut process, "jumpgate: metrics and health at http://").await?;
        Ok(Self { process, addresses: Addresses { tls, clear }, config, admin })
    }

    /// Callers' connections open now.
    ///
    /// # Errors
    /// The admin listener does not answer.
    pub async fn connections(&self) -> Result<u64, Failure> {
        self.metric("jumpgate_connections ").await
    }

    /// The figure behind a name in the metrics.
    ///
    /// # Errors
    /// The admin listener does not answer.
    pub async fn metric(&self, name: &str) -> Result<u64, Failure> {
        let mut client = Door::clear(self.admin).open().await?;
        let reply = client.exchange(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await?;
        let metrics = std::str::from_utf8(reply.body)?;
        let figure = metrics.lines().find_map(|line| line.strip_prefix(name));
        Ok(figure.ok_or_else(|| format!("/metrics has no {name}"))?.parse()?)
    }
}

async fn address(process: &mut Process, prefix: &str) -> Result<SocketAddr, Failure> {
    let line = process.line().await?;
    let rest = line.strip_prefix(prefix).ok_or_else(|| process.failure("printed another line"))?;
    Ok(rest.trim().parse()?)
}

fn quote(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

fn department(fixture: &Fixture, shape: &Shape, words: [&str; 4]) -> String {
    let [id, endpoint, base_url, allow] = words;
    let (deadline_ms, concurrency_max) = (shape.deadline_ms, shape.concurrency_max);
    let idle_max = concurrency_max.min(CONNECTIONS_IDLE_MAX_MAX);
    let component = quote(&fixture.component(id));
    format!(
        r#"
[departments.{id}]
component = {component}
deadline_ms = {deadline_ms}
[departments.{id}.protection]
concurrency_max = {concurrency_max}
[departments.{id}.endpoints.{endpoint}]
base_url = "{base_url}"
timeout_ms = {deadline_ms}
connections_idle_max = {idle_max}
{allow}"#
    )
}

fn configuration(fixture: &Fixture, shape: Shape) -> String {
    let Shape { head_timeout_ms, caller_per_day, .. } = shape;
    let catalogue = quote(&fixture.root.join("spec/catalogue"));
    let certificate = quote(&fixture.certificates.server);
    let key = quote(&fixture.certificates.server_key);
    let trust = quote(&fixture.certificates.authority);
    let proof = if shape.proof_inline { "inline" } else { "on-request" };
    let departments = &fixture.departments;
    let (registry, insurance) = (&departments.civil_registry, &departments.social_insurance);
    let civil = department(fixture, &shape, ["civil-registry", "registry", registry, CIVIL_ALLOW]);
    let social =
        department(fixture, &shape, ["social-insurance", "insurance", insurance, SOCIAL_ALLOW]);
    format!(
        r#"profile = "bench"
civil_time_zone = "Asia/Shanghai"
catalogue_dir = {catalogue}
in_flight_max = 4096

[listener]
bind = "127.0.0.1:0"
certificate_file = {certificate}
key_file = {key}
client_trust_file = {trust}
head_timeout_ms = {head_timeout_ms}
dangerous_clear = {{ bind = "127.0.0.1:0", caller = "one-window" }}

[admin]
bind = "127.0.0.1:0"
socket = "admin.sock"
two_people = false

[log]
dir = "log"
keys_dir = "keys"
ask = "durable"

[adapters]
cache_dir = "cache"

[[callers]]
id = "one-window"
san_uri = "{CALLER_URI}"
proof = "{proof}"

[[grants]]
caller = "one-window"
predicates = ["civil-registry/*", "social-insurance/*"]
purposes = ["*"]

[quotas]
subject = {{ per_day = 100000, per_90_days = 4000000000 }}
attempts = {{ per_day = 100000, per_90_days = 4000000000 }}
subject_alarm_per_day = 100000
[quotas.department]
per_second = 1000000
burst = 1000000
per_day = 1000000000
per_90_days = 4000000000
[quotas.caller]
per_second = 1000000
burst = 1000000
per_day = {caller_per_day}
per_90_days = 4000000000
{civil}
{social}
"#
    )
}

/// The endpoint's own limit.
const CONNECTIONS_IDLE_MAX_MAX: u16 = 256;

const CIVIL_ALLOW: &str = r#"
[[departments.civil-registry.endpoints.registry.allow]]
method = "POST"
path_prefix = "/PersonQuery"
soap_action = "urn:civil-registry:person:2/QueryPerson"
body_root = "{urn:civil-registry:person:2}QueryPerson"
"#;

const SOCIAL_ALLOW: &str = r#"
[[departments.social-insurance.endpoints.insurance.allow]]
method = "GET"
path_prefix = "/v2/persons/"
[[departments.social-insurance.endpoints.insurance.allow]]
method = "GET"
path_prefix = "/v2/employers/"
"#;
