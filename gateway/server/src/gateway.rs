//! The running gateway: everything a query meets, put together from a configuration.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use jumpgate_admission::{Admission, DefaultClock, UnknownDepartment};
use jumpgate_catalogue::{
    Catalogue, DepartmentId, Fault, FaultCode, ParameterValue, Query, QueryId, Question, Refusal,
};
use jumpgate_querylog::{
    Act, AskMode, Details, KeyFault, Keys, LogOptions, OpenFault, QueryLog, StartDetails,
};
use jumpgate_runtime::{Adapter, Cache, CacheFault, Limits, LoadFault, Runtime, RuntimeFault};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::caller::{Caller, Callers, TrustFault, TrustFiles};
use crate::config::{AskDurability, Config, DepartmentSettings, Settings};
use crate::department::{BLOCKING_STEPS_MAX, Department, Outcome};
use crate::drain::Drain;
use crate::endpoint::Endpoint;
use crate::record::{Asked, Kept, Record};
use crate::replay::{Claim, Claimed, Replays};
use crate::telemetry::Telemetry;
use crate::wire;

/// Everything a query meets. Shared by every connection.
pub struct Gateway {
    /// What may be asked.
    pub catalogue: Catalogue,
    /// Who may ask, how often.
    pub admission: Admission,
    /// Who may connect.
    pub callers: Arc<Callers>,
    /// The query log.
    pub record: Record,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// Queries that must end before the process does.
    pub drain: Drain,
    pub(crate) settings: Settings,
    departments: HashMap<DepartmentId, Department>,
    replays: Arc<Replays>,
    civil_time_zone: jiff::tz::TimeZone,
    now: Now,
    random: SystemRandom,
}

/// The clock by which dates, certificates and entries are judged.
pub type Now = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// The gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The sandbox engine.
    #[error(transparent)]
    Runtime(#[from] RuntimeFault),
    /// The cache of compiled artefacts.
    #[error("adapters.cache_dir")]
    Cache(#[from] CacheFault),
    /// A component's file.
    #[error("component {0} cannot be read")]
    Component(PathBuf, #[source] std::io::Error),
    /// A component.
    #[error("component {0} is refused")]
    Load(PathBuf, #[source] LoadFault),
    /// A component and its department's configuration do not fit.
    #[error("departments.{0}: {1}")]
    Fit(DepartmentId, String),
    /// An endpoint.
    #[error("departments.{0}.endpoints: {1}")]
    Endpoint(DepartmentId, String),
    /// Certificates and revocation lists.
    #[error("listener")]
    Trust(#[from] TrustFault),
    /// The log's keys.
    #[error("log.keys_dir")]
    Keys(#[from] KeyFault),
    /// The log.
    #[error("log.dir")]
    Log(#[from] OpenFault),
    /// The predicates of a configured department that its adapter does not answer.
    #[error("the first entries cannot be written")]
    FirstEntries,
}

impl Gateway {
    /// Loads adapters, opens the query log and restores what it remembers. Touches no department.
    ///
    /// # Errors
    /// The first part that cannot start.
    pub async fn open(config: Config, now: Now) -> Result<Arc<Self>, StartFault> {
        let Config { settings, catalogue, plan, callers, digest, civil_time_zone, accept_clock } =
            config;
        let runtime = runtime()?;
        let departments = departments(&settings, &catalogue, &runtime)?;
        let callers = Callers::new(&callers, TrustFiles::of(&settings.listener))?;
        let civil_now = {
            let (now, zone) = (now.clone(), civil_time_zone.clone());
            Arc::new(move || now().to_zoned(zone.clone()))
        };
        let admission = Admission::new(plan, DefaultClock::default(), civil_now);
        let start = StartDetails {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: digest,
            catalogue: catalogue.digest(),
            policy: admission.policy().digest(),
            engine: runtime.digest(),
            accept_clock,
        };
        let telemetry = Arc::new(Telemetry::default());
        let (log, replays) = open_log(&settings, start, &now)?;
        let adapters = departments.iter().map(|(id, d)| (id.clone(), d.adapter().digest()));
        let record = Record::new(
            log,
            catalogue.digest(),
            admission.policy().digest(),
            runtime.digest(),
            adapters,
            telemetry.clone(),
        );
        let gateway = Self {
            catalogue,
            admission,
            callers,
            record,
            telemetry,
            drain: Drain::default(),
            settings,
            departments,
            replays,
            civil_time_zone,
            now,
            random: SystemRandom::new(),
        };
        gateway.announce().await?;
        Ok(Arc::new(gateway))
    }

    /// Switches off what the configuration starts switched off, and logs each adapter in force.
    async fn announce(&self) -> Result<(), StartFault> {
        for (id, department) in &self.departments {
            let manifest = department.adapter().manifest();
            let details = Details::new()
                .with("department", id.as_str())
                .with("name", manifest.name.as_str())
                .with("version", manifest.version.as_str())
                .with("digest", department.adapter().digest().to_string());
            let acted = self.record.log().act(Act::Adapter, &details).await;
            acted.map_err(|_| StartFault::FirstEntries)?;
        }
        for (id, _) in self.settings.departments().filter(|(_, d)| d.switched_off) {
            let _known = self.admission.kill(&id);
        }
        Ok(())
    }

    /// The time now.
    pub fn now(&self) -> jiff::Timestamp {
        (self.now)()
    }

    /// Checks a question against the catalogue and digests it for its `query_id`.
    pub(crate) fn resolve(
        &self,
        caller: &Caller,
        asked: wire::Asked,
    ) -> Result<(Query, Token), Refusal> {
        let canonical = canonical(&asked.question);
        let token = self.record.log().request_token(caller.id(), &canonical);
        let today = self.now().to_zoned(self.civil_time_zone.clone()).date();
        let id = asked.query_id.unwrap_or_else(|| self.draw_id());
        let query = self.catalogue.resolve(asked.question, id, today)?;
        Ok((query, Token { token, chosen: asked.query_id.is_some() }))
    }

    /// Claims the question's id. An id that the gateway drew is unknown to everybody else.
    pub(crate) fn claim(
        &self,
        caller: &Caller,
        query: &Query,
        token: Token,
    ) -> Result<Claim, Refusal> {
        if !token.chosen {
            return Ok(Claim::Fresh(Claimed::unshared()));
        }
        let now_ms = unix_ms(self.now());
        self.replays.claim(caller.id(), query.id(), token.token, now_ms)
    }

    pub(crate) fn deadline(&self, query: &Query) -> Instant {
        let department = query.predicate().department.as_str();
        let settings = self.settings.departments.get(department);
        let deadline = settings.map(DepartmentSettings::deadline).unwrap_or_default();
        Instant::now() + deadline
    }

    /// Asks the department of a question that is on record.
    pub(crate) async fn ask_department(&self, asked: &Asked) -> Outcome {
        match self.departments.get(&asked.query().predicate().department) {
            Some(department) => department.ask(asked).await,
            // Admission lets no query through to a department without configuration.
            None => Outcome {
                found: Err(Fault::before_effect(FaultCode::GatewayInternal)),
                received: None,
            },
        }
    }

    /// The configured departments.
    pub fn departments(&self) -> impl Iterator<Item = &Department> {
        self.departments.values()
    }

    /// Switches a department off or on, with an entry of its own.
    ///
    /// # Errors
    /// No such department, or the entry cannot be written; then nothing was switched on.
    pub async fn switch(&self, department: &DepartmentId, on: bool) -> Result<bool, SwitchFault> {
        let details = Details::new()
            .with("department", department.as_str())
            .with("switched", if on { "on" } else { "off" });
        // Off takes force before its entry, on after it: a department is spared at once, and never
        // touched again without a record of who allowed it.
        let changed = if on { false } else { self.admission.kill(department)? };
        let entry = self.record.log().act(Act::Config, &details).await;
        entry.map_err(|_| SwitchFault::Log)?;
        Ok(if on { self.admission.revive(department)? } else { changed })
    }

    fn draw_id(&self) -> QueryId {
        let mut id = [0; 16];
        // A drawn id only has to be unlikely to repeat; without randomness the log, which needs
        // salts, refuses the question a moment later.
        let _ = self.random.fill(&mut id);
        QueryId(id)
    }
}

/// A department cannot be switched.
#[derive(Debug, thiserror::Error)]
pub enum SwitchFault {
    /// There is none of that name.
    #[error(transparent)]
    Unknown(#[from] UnknownDepartment),
    /// The query log cannot be written.
    #[error("the query log cannot be written")]
    Log,
}

/// A question's keyed digest, and whether its id was the caller's choice.
#[derive(Clone, Copy)]
pub(crate) struct Token {
    pub(crate) token: [u8; 32],
    chosen: bool,
}

/// Unix time in milliseconds; 0 before 1970.
pub(crate) fn unix_ms(now: jiff::Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(0)
}

fn runtime() -> Result<Runtime, StartFault> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // A step holds a slot only while it runs, and runs on a worker or on a blocking thread; twice
    // the workers leaves room for a second runtime in one process, as tests have.
    let slots = u32::try_from(2 * workers + BLOCKING_STEPS_MAX).unwrap_or(u32::MAX);
    Ok(Runtime::new(Limits::default(), slots)?)
}

fn departments(
    settings: &Settings,
    catalogue: &Catalogue,
    runtime: &Runtime,
) -> Result<HashMap<DepartmentId, Department>, StartFault> {
    let cache = Cache::open(&settings.adapters.cache_dir)?;
    let blocking = Arc::new(Semaphore::new(BLOCKING_STEPS_MAX));
    let mut departments = HashMap::new();
    for (id, department) in settings.departments() {
        let path = &department.component;
        let bytes = fs::read(path).map_err(|error| StartFault::Component(path.clone(), error))?;
        let adapter = Adapter::load(runtime, Some(&cache), &bytes)
            .map_err(|fault| StartFault::Load(path.clone(), fault))?;
        fit(&id, department, &adapter, catalogue)
            .map_err(|mend| StartFault::Fit(id.clone(), mend))?;
        let mut endpoints = HashMap::new();
        for (name, endpoint) in &department.endpoints {
            let endpoint = Endpoint::new(endpoint).map_err(|mistakes| {
                let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                StartFault::Endpoint(id.clone(), text.join("; "))
            })?;
            endpoints.insert(name.clone(), endpoint);
        }
        let reveal = department.reveal_subject;
        let made = Department::new(id.clone(), adapter, endpoints, reveal, blocking.clone());
        departments.insert(id, made);
    }
    Ok(departments)
}

/// Checks that an adapter answers what its department's catalogue entries ask and has the endpoints
/// it wants.
pub(crate) fn fit(
    id: &DepartmentId,
    settings: &DepartmentSettings,
    adapter: &Adapter,
    catalogue: &Catalogue,
) -> Result<(), String> {
    let manifest = adapter.manifest();
    for predicate in catalogue.predicates().filter(|predicate| predicate.department == *id) {
        if !manifest.predicates.contains(&predicate.id) {
            return Err(format!(
                "the adapter {} does not answer {}; install a version that does",
                manifest.name, predicate.id
            ));
        }
    }
    for name in &manifest.endpoints {
        if !settings.endpoints.contains_key(name) {
            return Err(format!("the adapter wants an endpoint {name:?}; add the table"));
        }
    }
    Ok(())
}

fn open_log(
    settings: &Settings,
    start: StartDetails,
    now: &Now,
) -> Result<(QueryLog, Arc<Replays>), StartFault> {
    let log = &settings.log;
    let keys = Keys::open(&log.keys_dir)?;
    let options = LogOptions {
        ask: match log.ask {
            AskDurability::Durable => AskMode::Durable,
            AskDurability::Written => AskMode::Written,
        },
        segment_bytes: log.segment_bytes,
        headroom_bytes_min: log.headroom_bytes_min,
        ballast_bytes: log.ballast_bytes,
        idempotency_entries_max: log.replays_max,
        ..LogOptions::default()
    };
    let clock = now.clone();
    let now_ms = Arc::new(move || unix_ms(clock()));
    let (log_open, opened) = QueryLog::open(&log.dir, &keys, options, start, now_ms)?;
    let replays = Replays::new(log.replays_max);
    // Newest first from the log; the memory forgets its oldest first.
    for past in opened.outcomes.iter().rev() {
        let kept = Kept::restored(past);
        replays.restore(past.caller.clone(), past.query_id, past.request_token, kept);
    }
    Ok((log_open, replays))
}

/// The question in one unambiguous form: each part with its length before it, parameters by name.
fn canonical(question: &Question) -> Zeroizing<Vec<u8>> {
    let mut parameters: Vec<_> = question.parameters.iter().collect();
    parameters.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    let mut part = |text: &[u8]| {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text);
    };
    part(question.predicate.as_bytes());
    for (name, value) in parameters {
        part(name.as_bytes());
        match value {
            ParameterValue::Integer(integer) => part(&integer.to_be_bytes()),
            ParameterValue::Text(text) => part(text.as_bytes()),
        }
    }
    part(question.subject_kind.as_bytes());
    part(question.subject.as_bytes());
    part(question.purpose.as_bytes());
    part(question.case.as_deref().unwrap_or_default().as_bytes());
    part(question.operator.as_deref().unwrap_or_default().as_bytes());
    bytes
}
