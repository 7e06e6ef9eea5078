//! The configuration file: one TOML, every mistake reported together.
//!
//! *Trusted: whoever writes it decides who may ask what. Must not be lost: it is not derivable.
//! Written by the operator only.* Paths in it are relative to its own folder. Loading reads files
//! and binds nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jumpgate_admission::{AdmissionPlan, Channel, GrantSettings, QuotaSettings};
use jumpgate_catalogue::{CallerId, Catalogue, DepartmentId, Digest};
use serde::Deserialize;

use crate::endpoint::EndpointSettings;
use crate::operator::{IssuerSettings, Issuers};

mod check;

pub(crate) use check::signature_path;

/// A configuration whose files were found and whose parts agree.
pub struct Config {
    /// What was written.
    pub settings: Settings,
    /// The predicates it serves.
    pub catalogue: Catalogue,
    /// Grants, quotas and protection, checked against the catalogue and the callers.
    pub plan: AdmissionPlan,
    /// Who may connect, by what names them.
    pub callers: Vec<CallerName>,
    /// Who signs for callers' operators.
    pub issuers: Issuers,
    /// SHA-256 of the file, logged with every start.
    pub digest: Digest,
    /// Civil time zone in which `as_of` dates are counted.
    pub civil_time_zone: jiff::tz::TimeZone,
    /// The file it was read from.
    pub path: PathBuf,
    /// Said at the start: the clock is right, though the log's last entry is later.
    pub accept_clock: bool,
}

/// A caller and what names it in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerName {
    /// Its id.
    pub id: CallerId,
    /// What its certificate shows.
    pub shown: Shown,
    /// What it gets besides answers.
    pub rights: Rights,
    /// The issuer whose tokens it must send for its operators, by its key in the configuration.
    pub operators: Option<Arc<str>>,
}

/// What a caller gets besides answers to its questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Its answers wait for the proof and carry it.
    pub proof_inline: bool,
    /// It may fetch the log's checkpoint, tiles and entries.
    pub may_mirror: bool,
}

/// What of a certificate names a caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Shown {
    /// SHA-256 of the certificate.
    Fingerprint(Digest),
    /// A URI in its subject alternative name.
    Uri(String),
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Table and key, or the file.
    pub at: String,
    /// What is wrong and what would be right.
    pub mend: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.at, self.mend)
    }
}

/// The file's tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the gateway is used for; `demo` and `bench` allow what production must not.
    #[serde(default)]
    pub profile: Profile,
    /// IANA name of the civil time zone, `Asia/Shanghai` for one.
    pub civil_time_zone: String,
    /// Folder of the catalogue's TOML files.
    pub catalogue_dir: PathBuf,
    /// Where callers connect.
    pub listener: ListenerSettings,
    /// Where the operator looks and acts.
    pub admin: AdminSettings,
    /// The query log.
    pub log: LogSettings,
    /// The sandbox.
    pub adapters: AdaptersSettings,
    /// Who may connect.
    #[serde(default)]
    pub callers: Vec<CallerSettings>,
    /// Who may ask what for which purpose. Nothing is granted that neither stands here nor is
    /// permitted by a rule.
    #[serde(default)]
    pub grants: Vec<GrantSettings>,
    /// The gateway's own rules.
    #[serde(default)]
    pub policy: PolicySettings,
    /// Who signs for callers' operators, by names of their own.
    #[serde(default)]
    pub operator_issuers: BTreeMap<String, IssuerSettings>,
    /// How often callers may ask.
    #[serde(default)]
    pub quotas: QuotaSettings,
    /// Queries one caller may have in flight.
    #[serde(default = "defaults::in_flight_max")]
    pub in_flight_max: u32,
    /// The departments, by id.
    #[serde(default)]
    pub departments: BTreeMap<String, DepartmentSettings>,
}

/// What the gateway is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Real callers and departments.
    #[default]
    Production,
    /// The demonstration: development certificates, simulated departments.
    Demo,
    /// The benchmark: additionally a listener in clear.
    Bench,
}

/// Where callers connect, and the limits of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    /// Address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// The gateway's certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM, readable by the owner only.
    pub key_file: PathBuf,
    /// Trust anchors of callers' certificates, PEM.
    pub client_trust_file: PathBuf,
    /// Certificate revocation lists (RFC 5280), PEM or DER.
    #[serde(default)]
    pub crl_files: Vec<PathBuf>,
    /// How often the revocation lists are read again, in seconds.
    #[serde(default = "defaults::crl_reload_s")]
    pub crl_reload_s: u64,
    /// Connections open at the same moment; a further one waits in the kernel's queue.
    #[serde(default = "defaults::connections_max")]
    pub connections_max: usize,
    /// Requests in work at the same moment over all connections; a further one is refused.
    #[serde(default = "defaults::requests_max")]
    pub requests_max: usize,
    /// Largest request body, in bytes.
    #[serde(default = "defaults::body_bytes_max")]
    pub body_bytes_max: usize,
    /// Largest request head, in bytes.
    #[serde(default = "defaults::head_bytes_max")]
    pub head_bytes_max: usize,
    /// Time for the TLS handshake, in milliseconds.
    #[serde(default = "defaults::handshake_timeout_ms")]
    pub handshake_timeout_ms: u64,
    /// Time from the end of one request to the last byte of the next one's head, in milliseconds:
    /// how long an idle connection is kept, and a slow head waited for (HTTP/1.1).
    #[serde(default = "defaults::head_timeout_ms")]
    pub head_timeout_ms: u64,
    /// Time for a request's body, in milliseconds.
    #[serde(default = "defaults::body_timeout_ms")]
    pub body_timeout_ms: u64,
    /// Streams open at the same moment on one HTTP/2 connection.
    #[serde(default = "defaults::streams_max")]
    pub streams_max: u32,
    /// Streams a caller may reset before the gateway has looked at them, HTTP/2.
    #[serde(default = "defaults::resets_max")]
    pub resets_max: usize,
    /// Age at which a connection is closed after its current requests, in seconds.
    #[serde(default = "defaults::connection_age_s_max")]
    pub connection_age_s_max: u64,
    /// Time for open queries to end after SIGTERM, in seconds.
    #[serde(default = "defaults::drain_s_max")]
    pub drain_s_max: u64,
    /// A listener without TLS and with a fixed caller, for measuring on loopback.
    pub dangerous_clear: Option<DangerousClearSettings>,
}

/// A listener that believes everybody. Refused outside the bench and demo profiles and off
/// loopback.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DangerousClearSettings {
    /// Loopback address to listen on.
    pub bind: SocketAddr,
    /// The caller that every connection is taken for.
    pub caller: String,
}

/// Where the operator looks and acts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    /// Loopback or management address for health and metrics, without TLS.
    pub bind: SocketAddr,
    /// Unix socket for looking and acting. Who connects is known by his user id.
    pub socket: PathBuf,
    /// File that keeps what acts have decided over a restart.
    #[serde(default = "defaults::state_file")]
    pub state_file: PathBuf,
    /// Acts that take protection away need two people. False is for trying out.
    #[serde(default = "defaults::two_people")]
    pub two_people: bool,
    /// Who may look and act. Without any, the user that the gateway runs as is an operator.
    #[serde(default)]
    pub accounts: Vec<AccountSettings>,
}

/// Somebody who may look and act.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// His name; in the query log it stands in a sealed field.
    pub name: String,
    /// His user id on this machine.
    pub uid: u32,
    /// What he may do.
    pub roles: Vec<Role>,
}

/// What an account may do. Every role may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the gateway: every act; those that take protection away together with `security`.
    Operator,
    /// Answers for its safety: switches departments off, and is the second person.
    Security,
    /// Only looks.
    Auditor,
}

/// The query log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Folder made by `jumpgate log init`.
    pub dir: PathBuf,
    /// Folder of the log's keys.
    pub keys_dir: PathBuf,
    /// Whether an `ask` must be synced, or only written, before the department is touched.
    #[serde(default)]
    pub ask: AskDurability,
    /// Size of one segment, in bytes.
    #[serde(default = "defaults::segment_bytes")]
    pub segment_bytes: u64,
    /// Free bytes on the log's file system below which no question is taken.
    #[serde(default = "defaults::headroom_bytes_min")]
    pub headroom_bytes_min: u64,
    /// Size of the file that holds room back for the end of a full disk.
    #[serde(default = "defaults::ballast_bytes")]
    pub ballast_bytes: u64,
    /// Answers remembered for repeats of a query id within 24 hours.
    #[serde(default = "defaults::replays_max")]
    pub replays_max: usize,
    /// Entries after which the counts behind allotments are kept in a snapshot, 10 to 100 000 000.
    #[serde(default = "defaults::snapshot_entries")]
    pub snapshot_entries: u64,
}

/// When an `ask` lets the department be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskDurability {
    /// After the sync: survives a power cut.
    #[default]
    Durable,
    /// After the write: survives the process being killed; a power cut may lose the asks of the
    /// last batch, whose callers got no answer.
    Written,
}

/// The sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptersSettings {
    /// Private folder of compiled artefacts; made if absent.
    pub cache_dir: PathBuf,
}

/// The gateway's own rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// Files of Cedar rules, in the order in which they decide.
    pub files: Vec<PathBuf>,
}

/// A department's own rules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepartmentPolicySettings {
    /// File of Cedar rules. Its signature lies beside it, in a file named alike and ending in
    /// `.sig`.
    pub file: PathBuf,
    /// The verifier key the department signs for.
    pub key: String,
}

/// A system that may connect. Exactly one of `san_uri` and `fingerprint_sha256` names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallerSettings {
    /// Its id in grants, quotas and the query log.
    pub id: String,
    /// URI in the subject alternative name of its certificate.
    pub san_uri: Option<String>,
    /// SHA-256 of its certificate (DER), hexadecimal.
    pub fingerprint_sha256: Option<String>,
    /// How people reach it; a circumstance that rules see.
    #[serde(default)]
    pub channel: Channel,
    /// The table of `operator_issuers` whose signed token it must send with each question. Without
    /// it, who sits at its desk is its own word.
    pub operators: Option<String>,
    /// When it gets the proof that an answer is in the log's tree.
    #[serde(default)]
    pub proof: Proof,
    /// Lets it fetch the log's checkpoint, tiles and entries, which show who asked what of which
    /// department, when and why.
    #[serde(default)]
    pub may_mirror: bool,
}

/// When a caller gets the proof that an answer is in the log's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// On request, within a second of the answer, which carries the log's promise.
    #[default]
    OnRequest,
    /// With the answer, which waits for it some milliseconds.
    Inline,
}

/// A department.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepartmentSettings {
    /// The adapter component.
    pub component: PathBuf,
    /// Allows a plugin that declares `reveal_subject` to be told the identifier.
    #[serde(default)]
    pub reveal_subject: bool,
    /// Time for one question, waiting included, in milliseconds.
    #[serde(default = "defaults::deadline_ms")]
    pub deadline_ms: u64,
    /// Answers whose time could tell what they do not say leave at a multiple of this after their
    /// question, in milliseconds: 1 to 10 000, and at most `deadline_ms`.
    #[serde(default = "defaults::response_quantum_ms")]
    pub response_quantum_ms: u64,
    /// Starts switched off.
    #[serde(default)]
    pub switched_off: bool,
    /// Its own rules.
    pub policy: Option<DepartmentPolicySettings>,
    /// Bulkhead and breaker.
    #[serde(default)]
    pub protection: jumpgate_admission::DepartmentSettings,
    /// Targets, by the adapter's logical names.
    pub endpoints: BTreeMap<String, EndpointSettings>,
}

impl Config {
    /// Reads and checks the file at `path` and everything it names.
    ///
    /// # Errors
    /// Every mistake found, in the order of the file's tables.
    pub fn load(path: &Path) -> Result<Self, Vec<Mistake>> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![Mistake { at: file.clone(), mend: error.to_string() }])?;
        let mut settings: Settings = toml::from_str(&text)
            .map_err(|error| vec![Mistake { at: file, mend: error.to_string() }])?;
        let folder = path.parent().unwrap_or(Path::new("."));
        settings.resolve_paths(folder);
        let mut config = check::check(settings, Digest::of(text.as_bytes()))?;
        config.path = path.to_owned();
        Ok(config)
    }
}

impl Settings {
    fn resolve_paths(&mut self, folder: &Path) {
        let against = |path: &mut PathBuf| *path = folder.join(&*path);
        against(&mut self.catalogue_dir);
        against(&mut self.listener.certificate_file);
        against(&mut self.listener.key_file);
        against(&mut self.listener.client_trust_file);
        self.listener.crl_files.iter_mut().for_each(against);
        against(&mut self.admin.socket);
        against(&mut self.admin.state_file);
        for issuer in self.operator_issuers.values_mut() {
            issuer.keys_file.iter_mut().for_each(against);
            issuer.keys_roots_file.iter_mut().for_each(against);
        }
        against(&mut self.log.dir);
        against(&mut self.log.keys_dir);
        against(&mut self.adapters.cache_dir);
        self.policy.files.iter_mut().for_each(against);
        for department in self.departments.values_mut() {
            department.policy.iter_mut().for_each(|policy| against(&mut policy.file));
            against(&mut department.component);
            department.endpoints.values_mut().for_each(|endpoint| endpoint.resolve_paths(folder));
        }
    }

    /// The departments with their ids, parsed.
    pub fn departments(&self) -> impl Iterator<Item = (DepartmentId, &DepartmentSettings)> {
        self.departments
            .iter()
            .filter_map(|(id, settings)| Some((DepartmentId::from_str(id).ok()?, settings)))
    }
}

impl DepartmentSettings {
    /// Time for one question.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// The step of time at which answers leave that must not tell by it what they do not say.
    pub fn response_quantum(&self) -> Duration {
        Duration::from_millis(self.response_quantum_ms)
    }
}

/// Every default, each with its reason.
mod defaults {
    use std::path::PathBuf;

    /// Revocation lists are reissued hourly or daily; a minute bounds the lag.
    pub fn crl_reload_s() -> u64 {
        60
    }

    /// 10,000 counters may stay connected; each idle connection costs about 30 kB.
    pub fn connections_max() -> usize {
        12_000
    }

    /// Far above what the departments' bulkheads let through; bounds memory, not the rate.
    pub fn requests_max() -> usize {
        4096
    }

    /// A question has 300 bytes; a full batch 16 times that with room for long names.
    pub fn body_bytes_max() -> usize {
        64 << 10
    }

    /// A head of this interface has 500 bytes.
    pub fn head_bytes_max() -> usize {
        16 << 10
    }

    /// Three round trips over a poor line, and a hardware token on the caller's side.
    pub fn handshake_timeout_ms() -> u64 {
        10_000
    }

    /// A counter asks every few minutes and should not pay a handshake each time; slow heads are
    /// bounded by connections_max.
    pub fn head_timeout_ms() -> u64 {
        300_000
    }

    /// A full batch over a poor line.
    pub fn body_timeout_ms() -> u64 {
        10_000
    }

    /// Several batches of questions from one counter system.
    pub fn streams_max() -> u32 {
        128
    }

    /// Twice what a caller that loses patience with a page of questions makes; beyond it the
    /// connection is closed (CVE-2023-44487).
    pub fn resets_max() -> usize {
        32
    }

    /// A day's shift is eight connections; bounds how long a stolen session key is worth anything.
    pub fn connection_age_s_max() -> u64 {
        3600
    }

    /// Longer than the longest deadline of a department.
    pub fn drain_s_max() -> u64 {
        30
    }

    pub fn state_file() -> PathBuf {
        "admin-state.json".into()
    }

    /// The rule, not the exception.
    pub fn two_people() -> bool {
        true
    }

    /// A caller's share of the bulkheads and queues of several departments side by side.
    pub fn in_flight_max() -> u32 {
        256
    }

    /// About 130,000 entries.
    pub fn headroom_bytes_min() -> u64 {
        128 << 20
    }

    pub fn ballast_bytes() -> u64 {
        64 << 20
    }

    pub fn segment_bytes() -> u64 {
        64 << 20
    }

    /// A district's day of 250,000 questions four times over; about 150 bytes each.
    pub fn replays_max() -> usize {
        1_000_000
    }

    /// A start reads so many entries beyond the snapshot in half a second.
    pub fn snapshot_entries() -> u64 {
        250_000
    }

    /// A clerk waits; a registry that needs longer than 5 seconds is down for him.
    pub fn deadline_ms() -> u64 {
        5_000
    }

    /// Longer than most registries take, so that nearly all answers leave at the first multiple;
    /// no clerk notices it.
    pub fn response_quantum_ms() -> u64 {
        100
    }
}
