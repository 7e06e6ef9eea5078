//! From a plugin's crate to a component with no imports.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_component::ComponentEncoder;

/// The target that links nothing in.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// A built component.
#[derive(Debug, Clone)]
pub struct Built {
    /// The component's file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: usize,
}

/// A plugin cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildFault {
    /// There is no crate in the folder.
    #[error("{0} holds no Cargo.toml with a package name")]
    NoCrate(PathBuf),
    /// The Rust target is missing and could not be installed.
    #[error("the Rust target is missing; run: rustup target add {WASM_TARGET}")]
    NoTarget,
    /// cargo failed; its own output says why.
    #[error("cargo could not build {0}")]
    Cargo(String),
    /// A file cannot be read or written.
    #[error("{0}")]
    Io(PathBuf, #[source] io::Error),
    /// The core module is not an adapter.
    #[error("{0} cannot be encoded as a component (does it call jumpgate_adapter::export!?)")]
    Encode(PathBuf, #[source] wit_component_error::Fault),
}

/// wit-component reports with `anyhow`; only its text is kept.
pub mod wit_component_error {
    /// The encoder's text.
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    pub struct Fault(pub String);
}

/// How a plugin is compiled: small state, one unit, no unwinding machinery, vector instructions for
/// whoever searches a reply. Given on the command line so that a plugin outside this workspace
/// builds alike.
const PROFILE: [&str; 7] = [
    "profile.release.panic=\"abort\"",
    "profile.release.lto=\"fat\"",
    "profile.release.codegen-units=1",
    "profile.release.opt-level=3",
    "profile.release.debug=false",
    // Function names stay: a trap is reported by the name of its function.
    "profile.release.strip=\"debuginfo\"",
    "target.wasm32-unknown-unknown.rustflags=[\"-Ctarget-feature=+simd128\"]",
];

/// Builds the crate in `plugin` and writes `<target>/<name>.component.wasm`. cargo's own progress
/// goes to the terminal. `target` is a folder of its own, so that no other build is disturbed.
///
/// # Errors
/// The target is missing, cargo fails, or the module is not an adapter.
pub fn build(plugin: &Path, target: &Path) -> Result<Built, BuildFault> {
    let manifest = plugin.join("Cargo.toml");
    let name = package_name(&manifest).ok_or_else(|| BuildFault::NoCrate(plugin.to_owned()))?;
    ensure_target()?;
    let mut cargo = cargo();
    cargo
        .args(["build", "--release", "--quiet", "--target", WASM_TARGET, "--package", &name])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(target);
    for setting in PROFILE {
        cargo.args(["--config", setting]);
    }
    // Flags meant for the host's build do not fit the sandbox's.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    if !cargo.status().is_ok_and(|status| status.success()) {
        return Err(BuildFault::Cargo(name));
    }
    let module =
        target.join(WASM_TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
    let core = fs::read(&module).map_err(|error| BuildFault::Io(module.clone(), error))?;
    let component = encode(&core)
        .map_err(|text| BuildFault::Encode(module, wit_component_error::Fault(text)))?;
    let path = target.join(format!("{name}.component.wasm"));
    replace(&path, &component).map_err(|error| BuildFault::Io(path.clone(), error))?;
    Ok(Built { path, bytes: component.len() })
}

/// cargo, as from a shell. A program that cargo itself has started carries its package's variables,
/// and build scripts that look at them would make everything be built anew.
pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OF_A_PACKAGE.iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Beginnings of the variables that cargo sets for a program it starts.
const OF_A_PACKAGE: [&str; 6] = [
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
];

fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default().validate(true);
    encoder = encoder.module(core).map_err(|error| format!("{error:#}"))?;
    encoder.encode().map_err(|error| format!("{error:#}"))
}

/// Whole or not at all, so that a server that starts meanwhile reads no half component.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    fs::write(&draft, bytes)?;
    fs::rename(draft, path)
}

fn package_name(manifest: &Path) -> Option<String> {
    let text = fs::read_to_string(manifest).ok()?;
    let table: toml::Table = text.parse().ok()?;
    Some(table.get("package")?.get("name")?.as_str()?.to_owned())
}

/// Installs the target if rustup can, else says how.
fn ensure_target() -> Result<(), BuildFault> {
    let printed = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .output()
        .map_err(|_| BuildFault::NoTarget)?;
    let folder = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
    if printed.status.success() && Path::new(&folder).is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", WASM_TARGET]).status();
    if added.is_ok_and(|status| status.success()) { Ok(()) } else { Err(BuildFault::NoTarget) }
}
