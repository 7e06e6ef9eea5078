//! Compiled artefacts on disk, so that a restart does not compile again.
//!
//! *Trusted: each file carries a keyed MAC, because loading one runs it as native code. May be
//! lost: it is compiled again. Written by this process only.*

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jumpgate_catalogue::Digest;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The folder cannot serve as the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheFault {
    /// Other users of the machine can enter the folder.
    #[error("cache folder {0} is open to others: make it mode 0700")]
    Mode(PathBuf),
    /// Reading or writing failed.
    #[error("cache folder {0} cannot be used")]
    Io(PathBuf, #[source] io::Error),
}

/// A private folder of compiled artefacts.
pub struct Cache {
    dir: PathBuf,
    key: hmac::Key,
}

const KEY_FILE: &str = "mac.key";
const MAC_BYTES: usize = 32;
/// A compiled Rust plugin has 0.2 MB, a scripted one 42 MB.
const ARTEFACT_BYTES_MAX: u64 = 128 << 20;

impl Cache {
    /// Opens the folder, making it and its key on first use.
    ///
    /// # Errors
    /// The folder is open to others, or cannot be read or written.
    pub fn open(dir: &Path) -> Result<Self, CacheFault> {
        let io = |source| CacheFault::Io(dir.to_owned(), source);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        if fs::metadata(dir).map_err(io)?.permissions().mode() & 0o077 != 0 {
            return Err(CacheFault::Mode(dir.to_owned()));
        }
        let secret = key_bytes(&dir.join(KEY_FILE)).map_err(io)?;
        Ok(Self { dir: dir.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    /// The artefact of a component under an engine, or none if it is absent, damaged or foreign.
    pub(crate) fn load(&self, engine: &Engine, component: Digest, on: Digest) -> Option<Component> {
        let name = artefact_name(component, on);
        let mut file = File::open(self.dir.join(&name)).ok()?;
        if file.metadata().ok()?.len() > ARTEFACT_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let (mac, artefact) = bytes.split_at_checked(MAC_BYTES)?;
        hmac::verify(&self.key, &mac_input(&name, artefact), mac).ok()?;
        // SAFETY: `deserialize` runs the bytes as native code. The MAC shows that a process holding
        // this folder's private key wrote exactly these bytes under this name, and the only writer
        // is `store` below, which takes them from `Component::serialize`.
        #[expect(unsafe_code, reason = "loading a compiled artefact is one of two reviewed places")]
        unsafe { Component::deserialize(engine, artefact) }.ok()
    }

    /// Keeps a compiled component. A failure is reported but harms nothing: it compiles again.
    pub(crate) fn store(&self, of: Digest, on: Digest, component: &Component) -> io::Result<()> {
        let name = artefact_name(of, on);
        let artefact = component.serialize().map_err(io::Error::other)?;
        let mac = hmac::sign(&self.key, &mac_input(&name, &artefact));
        let draft = self.dir.join(format!("{name}.{}.draft", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(mac.as_ref())?;
        file.write_all(&artefact)?;
        fs::rename(draft, self.dir.join(name))
    }
}

fn artefact_name(component: Digest, engine: Digest) -> String {
    format!("{component}-{engine}.cwasm")
}

fn mac_input(name: &str, artefact: &[u8]) -> Vec<u8> {
    [name.as_bytes(), &[0], artefact].concat()
}

/// Reads the key, drawing it first if there is none; two processes that start together agree,
/// because only one can create the file and a linked file is whole.
fn key_bytes(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut secret = [0; MAC_BYTES];
    SystemRandom::new().fill(&mut secret).map_err(|_| io::Error::other("no randomness"))?;
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&secret)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(taken) if taken.kind() != io::ErrorKind::AlreadyExists => Err(taken),
        _ => fs::read(path),
    }
}
