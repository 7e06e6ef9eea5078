//! What a gateway needs before it starts, and what a test changes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use jumpgate::candidate::StartFault;
use jumpgate::development::{Authority, Identity, LONG, Use};
use jumpgate_departments::{Departments, Options};
use jumpgate_querylog::{Keys, LogOptions, QueryLog};
use tempfile::TempDir;
use toml::{Table, Value};

use super::{Harness, TODAY, noon_ms, parts, run};

/// The usual gateway and departments, with what a test lays over them.
pub struct Setup {
    overlays: Vec<String>,
    files: Vec<(PathBuf, String)>,
    options: Options,
}

/// Everything but the running gateway.
pub struct Ground {
    pub folder: TempDir,
    pub authority: Authority,
    pub departments: Departments,
}

impl Setup {
    /// Nothing changed.
    pub fn new() -> Self {
        Self { overlays: Vec::new(), files: Vec::new(), options: Options::new(7, TODAY) }
    }

    /// TOML that is laid over the configuration table by table; a list replaces a list.
    pub fn with(mut self, overlay: &str) -> Self {
        self.overlays.push(overlay.to_owned());
        self
    }

    /// A file in the scratch folder, by its path there.
    pub fn file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push((path.into(), text.into()));
        self
    }

    /// Changes how the departments are: their people, TLS, credentials.
    pub fn departments(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Makes folder, certificates, log, configuration and departments.
    pub async fn ground(self) -> Ground {
        let plugins = parts::plugins().await;
        let departments = Departments::start(self.options).await.unwrap();
        let folder = tempfile::Builder::new().prefix("jumpgate-it-").tempdir().unwrap();
        let authority = Authority::new("Jumpgate test authority").unwrap();
        write_certificates(&authority, folder.path());
        let list = authority.revocation_list(1, &[]).unwrap();
        fs::write(folder.path().join("revoked.crl"), list).unwrap();
        for (path, text) in &self.files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        init_log(folder.path());
        let mut config = usual(plugins, &departments);
        for overlay in &self.overlays {
            lay_over(&mut config, overlay.parse().unwrap());
        }
        let config = toml::to_string(&config).unwrap();
        fs::write(folder.path().join("jumpgate.toml"), config).unwrap();
        Ground { folder, authority, departments }
    }

    /// Starts the gateway.
    pub async fn start(self) -> Harness {
        self.ground().await.start().await.unwrap()
    }
}

impl Ground {
    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("jumpgate.toml")
    }

    /// The certificate and key of a caller in the scratch folder.
    pub fn identity(&self, name: &str) -> Identity {
        read_identity(self.folder.path(), name)
    }

    /// Tries to start the gateway in this process, and ends it again.
    pub async fn try_start(&self) -> Result<(), StartFault> {
        let clock = Arc::new(AtomicI64::new(noon_ms(TODAY)));
        run(&self.config(), &clock).await.map(drop)
    }

    /// Starts the gateway in this process.
    pub async fn start(self) -> Result<Harness, StartFault> {
        let clock = Arc::new(AtomicI64::new(noon_ms(TODAY)));
        let running = run(&self.config(), &clock).await?;
        let Self { folder, authority, departments } = self;
        Ok(Harness { folder, clock, authority, departments, running })
    }
}

/// Reads a certificate and its key.
pub(super) fn read_identity(folder: &Path, name: &str) -> Identity {
    let read = |file: String| fs::read_to_string(folder.join(file)).unwrap();
    let (certificate, key) = (read(format!("{name}.crt")), read(format!("{name}.key")));
    Identity { certificate, key, serial: Vec::new() }
}

/// The certificates of a gateway and three callers, of whom the last is nowhere configured.
fn write_certificates(authority: &Authority, folder: &Path) {
    fs::write(folder.join("authority.crt"), authority.certificate()).unwrap();
    let server = Use::Server(&["localhost", "127.0.0.1"]);
    authority.issue("gateway", server, LONG).unwrap().write(folder, "gateway").unwrap();
    for name in ["one-window", "other-window", "stranger"] {
        let uri = format!("urn:example:district:{name}");
        let identity = authority.issue(name, Use::Client(&uri), LONG).unwrap();
        identity.write(folder, name).unwrap();
    }
}

fn init_log(folder: &Path) {
    let keys = Keys::create(&folder.join("keys")).unwrap();
    let options = LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() };
    let now_ms = u64::try_from(noon_ms(TODAY)).unwrap();
    let origin = "it.jumpgate.example/log";
    QueryLog::init(&folder.join("log"), origin, &keys, &options, now_ms).unwrap();
}

/// A few thousand entries: some tests fill more than one segment.
const SEGMENT_BYTES: u64 = 2 << 20;

/// Lays TOML over a configuration file.
pub(super) fn lay_over_file(file: &Path, overlay: &str) {
    let mut config: Table = fs::read_to_string(file).unwrap().parse().unwrap();
    lay_over(&mut config, overlay.parse().unwrap());
    fs::write(file, toml::to_string(&config).unwrap()).unwrap();
}

fn lay_over(table: &mut Table, overlay: Table) {
    for (key, value) in overlay {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

/// The usual configuration. `one-window` may ask everything, `other-window` ages for hiring, and no
/// quota is in the way.
fn usual(plugins: &Path, departments: &Departments) -> Table {
    let text = USUAL
        .replace("{catalogue}", &parts::root().join("spec/catalogue").display().to_string())
        .replace("{plugins}", &plugins.display().to_string())
        .replace("{cache}", &parts::cache_folder().display().to_string())
        .replace("{civil_registry}", departments.civil_registry.base_url())
        .replace("{social_insurance}", departments.social_insurance.base_url())
        .replace("{segment_bytes}", &SEGMENT_BYTES.to_string());
    text.parse().unwrap()
}

const USUAL: &str = include_str!("usual.toml");
