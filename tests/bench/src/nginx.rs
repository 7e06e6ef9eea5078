//! nginx as a process: the same job by hand in Lua, or a bare hop.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::Failure;
use crate::fixture::{Addresses, Fixture};
use crate::process::Process;

/// A running nginx with two workers.
pub struct Nginx {
    /// The master; its workers are its children.
    pub process: Process,
    /// Where it listens.
    pub addresses: Addresses,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// JSON in, SOAP out, the birth date picked from the reply, a verdict out, a line in a log.
    ByHand,
    /// SOAP in, SOAP out.
    Bare,
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Self::ByHand => "nginx-by-hand",
            Self::Bare => "nginx-bare",
        }
    }

    fn locations(self) -> &'static str {
        match self {
            Self::ByHand => include_str!("../nginx/by-hand.conf"),
            Self::Bare => include_str!("../nginx/bare.conf"),
        }
    }
}

impl Nginx {
    /// Starts it.
    ///
    /// # Errors
    /// It is not installed, does not know Lua, or finds no ports.
    pub async fn start(fixture: &Fixture, job: Job) -> Result<Self, Failure> {
        let modules = modules_path()?;
        let scratch = fixture.scratch().join(job.name());
        std::fs::create_dir(&scratch)?;
        std::fs::write(scratch.join("age.lua"), include_str!("../nginx/age.lua"))?;
        let mut failure = Failure::from("nginx was not tried");
        for _ in 0..PORT_TRIES_MAX {
            let addresses = Addresses { tls: free_address()?, clear: free_address()? };
            let text = configuration(fixture, job, &modules, &scratch, addresses);
            let file = scratch.join("nginx.conf");
            std::fs::write(&file, text)?;
            let prefix = scratch.display().to_string();
            let arguments = ["-p".to_owned(), prefix, "-c".to_owned(), file.display().to_string()];
            let mut process =
                Process::start(job.name(), Path::new(PROGRAM), &arguments, fixture.scratch())?;
            match wait(&mut process, addresses).await {
                Ok(()) => return Ok(Self { process, addresses }),
                Err(cause) => failure = cause,
            }
        }
        Err(failure)
    }
}

/// Until both ports accept; nginx binds them before it starts its workers.
async fn wait(process: &mut Process, addresses: Addresses) -> Result<(), Failure> {
    for _ in 0..START_TRIES_MAX {
        if !process.is_running()? {
            return Err(process.failure("ended"));
        }
        let (tls, clear) = (TcpStream::connect(addresses.tls), TcpStream::connect(addresses.clear));
        if tls.await.is_ok() && clear.await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(START_PAUSE).await;
    }
    Err(process.failure("does not listen"))
}

/// nginx cannot take a port of the system's choice, so it gets one that was free a moment ago.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn modules_path() -> Result<PathBuf, Failure> {
    let missing = "nginx is missing: install nginx-light and libnginx-mod-http-lua (Debian), or \
                   leave it out with --only a";
    let output = Command::new(PROGRAM).arg("-V").output().map_err(|_| missing)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let path = said.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="));
    let path = PathBuf::from(path.ok_or("nginx -V names no --modules-path")?);
    if path.join(LUA_MODULE).exists() { Ok(path) } else { Err(missing.into()) }
}

fn configuration(
    fixture: &Fixture,
    job: Job,
    modules: &Path,
    scratch: &Path,
    addresses: Addresses,
) -> String {
    let certificates = &fixture.certificates;
    let replacements = [
        ("@MODULES@", modules.display().to_string()),
        ("@SCRATCH@", scratch.display().to_string()),
        ("@TLS@", addresses.tls.to_string()),
        ("@CLEAR@", addresses.clear.to_string()),
        ("@CERTIFICATE@", certificates.server.display().to_string()),
        ("@KEY@", certificates.server_key.display().to_string()),
        ("@AUTHORITY@", certificates.authority.display().to_string()),
        ("@REGISTRY@", fixture.departments.civil_registry_authority().to_owned()),
    ];
    let whole = include_str!("../nginx/nginx.conf").replace("@LOCATIONS@", job.locations());
    replacements.iter().fold(whole, |text, (place, value)| text.replace(place, value))
}

const PROGRAM: &str = "/usr/sbin/nginx";
const LUA_MODULE: &str = "ngx_http_lua_module.so";
/// Somebody else takes one of two ports in that moment once in a thousand runs.
const PORT_TRIES_MAX: usize = 3;
const START_TRIES_MAX: usize = 100;
const START_PAUSE: Duration = Duration::from_millis(20);
