//! What the demonstration needs before the first question: plugins, departments, certificates, a
//! log, a running gateway.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use jumpgate_querylog::{Keys, LogOptions, QueryLog};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Client, heading, progress};
use crate::admin::Admin;
use crate::author;
use crate::cli::Failure;
use crate::config::Config;
use crate::development::{Authority, LONG, Use};
use crate::gateway::unix_ms;
use crate::listener::Listener;
use crate::live::Live;

/// Everything that runs during the demonstration.
pub(super) struct Stage {
    folder: TempDir,
    departments: Departments,
    live: Arc<Live>,
    address: SocketAddr,
    admin_address: SocketAddr,
    stopper: watch::Sender<bool>,
    serving: [JoinHandle<()>; 2],
}

/// The simulated departments' process. It ends when its standard input closes, so it cannot outlive
/// this one.
struct Departments {
    child: Child,
    urls: Value,
}

impl Stage {
    /// Sets everything up, saying what it does.
    pub async fn set() -> Result<Self, Failure> {
        if !Path::new("spec/catalogue").is_dir() || !Path::new("plugins").is_dir() {
            return Err("run the demo from the root of a checkout".into());
        }
        heading("Setting up, in a scratch folder");
        let target = target_folder()?;
        for plugin in ["civil-registry", "social-insurance"] {
            timed(&format!("build the {plugin} plugin for the sandbox"), || {
                let built =
                    author::build(&Path::new("plugins").join(plugin), &target.join("plugins"))?;
                Ok(format!("{} kB, no imports", built.bytes / 1000))
            })?;
        }
        let folder = tempfile::Builder::new().prefix("jumpgate-demo-").tempdir()?;
        let mut departments = None;
        timed("build and start two departments as their own process", || {
            let started = Departments::start(&target)?;
            let said = format!("process {}, 400 people", started.child.id());
            departments = Some(started);
            Ok(said)
        })?;
        let departments = departments.ok_or("the departments did not start")?;
        timed("draw development certificates", || certificates(folder.path()))?;
        timed("make the query log and its keys", || init_log(folder.path()))?;
        let config_path = folder.path().join("jumpgate.toml");
        fs::write(&config_path, config_text(&departments, &target)?)?;
        progress("start the gateway");
        let begun = Instant::now();
        let config = Config::load(&config_path).map_err(|mistakes| {
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        })?;
        let live = Live::open(config, Arc::new(jiff::Timestamp::now)).await?;
        let admin = Admin::bind(live.clone()).await?;
        let listener = Listener::bind(live.clone()).await?;
        let (address, admin_address) = (listener.address()?, admin.address()?);
        println!("https://{address} ({:.1?})", begun.elapsed());
        let (stopper, stop) = watch::channel(false);
        let serving = [tokio::spawn(listener.serve(stop.clone())), tokio::spawn(admin.serve(stop))];
        Ok(Self { folder, departments, live, address, admin_address, stopper, serving })
    }

    /// The scratch folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where callers connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// A client with one of the certificates in the scratch folder.
    pub fn client(&self, name: &str) -> Result<Client, Failure> {
        let base_url = format!("https://localhost:{}", self.address.port());
        Client::with_certificate(self.folder(), &base_url, name)
    }

    /// Address of one of the departments' servers: `civil_registry`, `social_insurance`, `control`.
    pub fn url(&self, name: &str) -> &str {
        self.departments.urls[name].as_str().unwrap_or_default()
    }

    /// Drains the gateway, closes the log and ends the departments.
    pub async fn clear(mut self) -> Result<(), Failure> {
        self.stopper.send_replace(true);
        for task in self.serving {
            task.await?;
        }
        self.live.close().await?;
        drop(self.departments.child.stdin.take());
        self.departments.child.wait()?;
        Ok(())
    }
}

impl Departments {
    fn start(target: &Path) -> Result<Self, Failure> {
        let mut cargo = author::cargo();
        cargo
            .args(["build", "--quiet", "--bin", "jumpgate-departments", "--target-dir"])
            .arg(target);
        let profile = profile_folder()?;
        if profile == "release" {
            cargo.arg("--release");
        }
        if !cargo.status()?.success() {
            return Err("cargo could not build the simulated departments".into());
        }
        let mut child = Command::new(target.join(profile).join("jumpgate-departments"))
            .args(["--seed", "7", "--people", "400"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the departments have no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { child, urls: serde_json::from_str(&line)? })
    }
}

/// The folder this binary was built into, so that the demonstration's builds share what is there.
fn target_folder() -> Result<PathBuf, Failure> {
    let binary = std::env::current_exe()?;
    let folder = binary.parent().and_then(Path::parent);
    Ok(folder.ok_or("the binary lies in no target folder")?.to_owned())
}

fn profile_folder() -> Result<String, Failure> {
    let binary = std::env::current_exe()?;
    let folder = binary.parent().and_then(Path::file_name);
    Ok(folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

fn timed(what: &str, work: impl FnOnce() -> Result<String, Failure>) -> Result<(), Failure> {
    progress(what);
    let begun = Instant::now();
    let said = work()?;
    println!("{said} ({:.1?})", begun.elapsed());
    Ok(())
}

fn certificates(folder: &Path) -> Result<String, Failure> {
    let authority = Authority::new("Jumpgate development authority")?;
    fs::write(folder.join("authority.crt"), authority.certificate())?;
    let server = Use::Server(&["localhost", "127.0.0.1"]);
    authority.issue("gateway", server, LONG)?.write(folder, "gateway")?;
    for (name, uri) in [
        ("one-window", "urn:example:district:one-window"),
        ("stranger", "urn:example:district:nobody-knows-it"),
    ] {
        authority.issue(name, Use::Client(uri), LONG)?.write(folder, name)?;
    }
    Ok("an authority, a gateway, a caller, a stranger".to_owned())
}

fn init_log(folder: &Path) -> Result<String, Failure> {
    let keys = Keys::create(&folder.join("keys"))?;
    let options = LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() };
    let now_ms = unix_ms(jiff::Timestamp::now());
    QueryLog::init(&folder.join("log"), "demo.jumpgate.example/log", &keys, &options, now_ms)?;
    Ok("empty, keys of mode 0600".to_owned())
}

/// The demonstration writes a hundred entries.
const SEGMENT_BYTES: u64 = 4 << 20;

fn config_text(departments: &Departments, target: &Path) -> Result<String, Failure> {
    let root = std::env::current_dir()?;
    let url = |name: &str| departments.urls[name].as_str().unwrap_or_default().to_owned();
    let text = include_str!("jumpgate.toml");
    let places = [
        ("{catalogue}", root.join("spec/catalogue").display().to_string()),
        ("{plugins}", target.join("plugins").display().to_string()),
        ("{civil_registry}", url("civil_registry")),
        ("{social_insurance}", url("social_insurance")),
        ("{segment_bytes}", SEGMENT_BYTES.to_string()),
    ];
    Ok(places.iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value)))
}
