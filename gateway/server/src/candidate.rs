//! A configuration put together and not yet in force: adapters loaded, endpoints made, certificates
//! read. Everything that can fail has succeeded before a candidate exists.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use jumpgate_admission::AdmissionPlan;
use jumpgate_catalogue::{Catalogue, DepartmentId, Digest};
use jumpgate_querylog::{KeyFault, OpenFault};
use jumpgate_runtime::{Adapter, Cache, CacheFault, Limits, LoadFault, Runtime, RuntimeFault};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::config::{Config, DepartmentSettings, Settings};
use crate::counts::CountFault;
use crate::department::{BLOCKING_STEPS_MAX, Department};
use crate::endpoint::{Endpoint, FileUse};
use crate::gateway::Gateway;
use crate::live::StateFault;
use crate::operator::Issuers;
use crate::trust::{Trust, TrustFault};

/// A configuration that could be in force.
pub struct Candidate {
    pub(crate) settings: Settings,
    pub(crate) catalogue: Catalogue,
    pub(crate) plan: AdmissionPlan,
    pub(crate) departments: HashMap<DepartmentId, Department>,
    pub(crate) trust: Trust,
    pub(crate) endpoint_files: EndpointFiles,
    pub(crate) issuers: Issuers,
    /// SHA-256 of the configuration's file.
    pub(crate) digest: Digest,
}

/// What the files held that endpoints and issuers of tokens name, by the keys they stand under. Of
/// a secret the digest is compared and never told.
pub(crate) type EndpointFiles = BTreeMap<String, (FileUse, Digest)>;

/// What departments are made with, the same for the whole process.
pub(crate) struct Workshop {
    pub(crate) runtime: Runtime,
    cache: Cache,
    blocking: Arc<Semaphore>,
}

/// The gateway cannot start, or a reload cannot come into force.
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
    /// A file changed while it was read.
    #[error("a file that an endpoint names changed while it was read: try again")]
    FilesChange,
    /// What acts have decided before.
    #[error("admin.state_file")]
    State(#[from] StateFault),
    /// The process cannot look at itself.
    #[error("/proc/self cannot be read")]
    Process(#[source] std::io::Error),
    /// The log's keys.
    #[error("log.keys_dir")]
    Keys(#[from] KeyFault),
    /// The log.
    #[error("log.dir")]
    Log(#[from] OpenFault),
    /// What was asked so far cannot be counted.
    #[error("the questions of the last 90 days cannot be counted from log.dir")]
    Counts(#[from] CountFault),
    /// The log cannot be written.
    #[error("the first entries cannot be written")]
    FirstEntries,
}

impl Workshop {
    pub(crate) fn open(settings: &Settings) -> Result<Self, StartFault> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        // A step holds a slot only while it runs, and runs on a worker or on a blocking thread;
        // twice the workers leaves room for a second runtime in one process, as tests have.
        let slots = u32::try_from(2 * workers + BLOCKING_STEPS_MAX).unwrap_or(u32::MAX);
        Ok(Self {
            runtime: Runtime::new(Limits::default(), slots)?,
            cache: Cache::open(&settings.adapters.cache_dir)?,
            blocking: Arc::new(Semaphore::new(BLOCKING_STEPS_MAX)),
        })
    }

    fn adapter(&self, path: &PathBuf, in_force: Option<&Adapter>) -> Result<Adapter, StartFault> {
        let bytes = fs::read(path).map_err(|error| StartFault::Component(path.clone(), error))?;
        match in_force {
            Some(adapter) if adapter.digest() == Digest::of(&bytes) => Ok(adapter.clone()),
            _ => Adapter::load(&self.runtime, Some(&self.cache), &bytes)
                .map_err(|fault| StartFault::Load(path.clone(), fault)),
        }
    }
}

impl Candidate {
    /// Loads adapters, makes endpoints, reads certificates. An adapter that is in force already is
    /// not loaded again. Takes its time: an async caller runs it on a blocking thread.
    ///
    /// # Errors
    /// The first part that cannot be used.
    pub(crate) fn prepare(
        config: Config,
        workshop: &Workshop,
        in_force: Option<&Gateway>,
    ) -> Result<Self, StartFault> {
        let Config { settings, catalogue, plan, callers, mut issuers, digest, .. } = config;
        for (name, issuer) in &mut issuers {
            let known = in_force.and_then(|gateway| gateway.issuers.get(name));
            if let Some(known) = known {
                *issuer = Arc::clone(issuer).with_keys_of(known);
            }
        }
        let mut departments = HashMap::new();
        let mut endpoint_files = read_files(&settings)?;
        for (id, department) in settings.departments() {
            let known = in_force.and_then(|gateway| gateway.adapter(&id));
            let adapter = workshop.adapter(&department.component, known)?;
            fit(&id, department, &adapter, &catalogue)
                .map_err(|mend| StartFault::Fit(id.clone(), mend))?;
            let endpoints = endpoints(&id, department)?;
            let (reveal, blocking) = (department.reveal_subject, workshop.blocking.clone());
            let made = Department::new(id.clone(), adapter, endpoints, reveal, blocking);
            departments.insert(id, made);
        }
        if read_files(&settings)? != endpoint_files {
            return Err(StartFault::FilesChange);
        }
        for (name, issuer) in &issuers {
            let (key, digest) = issuer.trusted();
            let at = format!("operator_issuers.{name}.{key}");
            endpoint_files.insert(at, (FileUse::Trust, digest));
        }
        let trust = Trust::read(&callers, &settings.listener)?;
        Ok(Self { settings, catalogue, plan, departments, trust, endpoint_files, issuers, digest })
    }
}

fn read_files(settings: &Settings) -> Result<EndpointFiles, StartFault> {
    let mut files = EndpointFiles::new();
    for (id, department) in settings.departments() {
        for (name, endpoint) in &department.endpoints {
            for (key, path, used) in endpoint.files() {
                let at = format!("departments.{id}.endpoints.{name}.{key}");
                let bytes = fs::read(path).map(Zeroizing::new);
                let bytes = bytes.map_err(|error| {
                    StartFault::Endpoint(id.clone(), format!("{}: {error}", path.display()))
                })?;
                files.insert(at, (used, Digest::of(&bytes)));
            }
        }
    }
    Ok(files)
}

fn endpoints(
    id: &DepartmentId,
    department: &DepartmentSettings,
) -> Result<HashMap<String, Endpoint>, StartFault> {
    let mut endpoints = HashMap::new();
    for (name, endpoint) in &department.endpoints {
        let endpoint = Endpoint::new(endpoint).map_err(|mistakes| {
            let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            StartFault::Endpoint(id.clone(), text.join("; "))
        })?;
        endpoints.insert(name.clone(), endpoint);
    }
    Ok(endpoints)
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
