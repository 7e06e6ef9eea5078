//! The key files.
//!
//! Owns their format and their folder's modes. A key never prints, and its copies here are wiped.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jumpgate_tlog::{InvalidKey, SignerKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::promise::promise_name;

/// The root keys of a log. See `spec/keys.md` for who needs which, and what is lost with it.
pub struct Keys {
    /// Seals fields and handle rows.
    pub(crate) seal: Zeroizing<[u8; 32]>,
    /// Finds a subject's handle row.
    pub(crate) lookup: Zeroizing<[u8; 32]>,
    /// Makes pseudonyms.
    pub(crate) pseudonym: Zeroizing<[u8; 32]>,
    /// Binds a `query_id` to a request's body.
    pub(crate) idempotency: Zeroizing<[u8; 32]>,
    /// Seed of the key that signs checkpoints.
    pub(crate) log: Zeroizing<[u8; 32]>,
    /// Seed of the key that signed checkpoints before, and does so beside it for a while.
    pub(crate) former_log: Option<Zeroizing<[u8; 32]>>,
    /// Seed of the key that signs promises.
    pub(crate) receipt: Zeroizing<[u8; 32]>,
    /// Keeps what was released about whom, for the disclosure auditor.
    pub(crate) disclosure: Zeroizing<[u8; 32]>,
}

/// Key files cannot be made or read. Never contains a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// A key file is there already.
    #[error("{} is there already; a key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A key file or the folder is not there.
    #[error("{} is missing; restore it from the backup of this log's keys", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
    },
    /// Others than the owner may read or enter.
    #[error(
        "{} has mode {found:04o}, and others than its owner get at it; run `chmod {wanted:04o}` \
         on it, and replace the key if anyone may have read it",
        path.display()
    )]
    Mode {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        found: u32,
        /// The widest mode allowed.
        wanted: u32,
    },
    /// A rotation would drop a key that still signs.
    #[error(
        "{} still signs beside the log key: remove it once everybody has the present verifier key, \
         then rotate again",
        path.display()
    )]
    FormerKept {
        /// The file.
        path: PathBuf,
    },
    /// The file is not this key.
    #[error(
        "{} is not a key file of purpose {purpose}: {why}; restore it from the backup",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The purpose it should have.
        purpose: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// The system gave no randomness.
    #[error("the system's random source failed")]
    NoRandomness,
    /// A file operation failed.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Keys {
    /// Draws new keys and writes them to `dir`, durable when this returns. Makes the folder; if any
    /// key file is there already, writes none.
    pub fn create(dir: &Path) -> Result<Self, KeyFault> {
        create_dir(dir)?;
        check_mode(dir, DIR_MODE)?;
        for purpose in PURPOSES {
            let path = path_of(dir, purpose);
            if path.exists() {
                return Err(KeyFault::Exists { path });
            }
        }
        let random = SystemRandom::new();
        let mut drawn = [const { [0; 32] }; PURPOSES.len()].map(Zeroizing::new);
        for (purpose, key) in PURPOSES.into_iter().zip(&mut drawn) {
            random.fill(&mut key[..]).map_err(|_| KeyFault::NoRandomness)?;
            write_key(&path_of(dir, purpose), purpose, key)?;
        }
        sync_dir(dir)?;
        let [seal, lookup, pseudonym, idempotency, log, receipt, disclosure] = drawn;
        let former_log = None;
        Ok(Self { seal, lookup, pseudonym, idempotency, log, former_log, receipt, disclosure })
    }

    /// Reads the keys in `dir`. Refuses a folder wider than 0700 and files wider than 0600.
    pub fn open(dir: &Path) -> Result<Self, KeyFault> {
        check_mode(dir, DIR_MODE)?;
        let read = |purpose| read_key(&path_of(dir, purpose), purpose);
        let [seal, lookup, pseudonym, idempotency, log, receipt, disclosure] = PURPOSES;
        Ok(Self {
            seal: read(seal)?,
            lookup: read(lookup)?,
            pseudonym: read(pseudonym)?,
            idempotency: read(idempotency)?,
            log: read(log)?,
            former_log: read_if_there(&former_of(dir))?,
            receipt: read(receipt)?,
            disclosure: read(disclosure)?,
        })
    }

    /// What signs the checkpoints of the log of this name. Names are checked where a log is made.
    pub(crate) fn signer(&self, origin: &str) -> Result<SignerKey, InvalidKey> {
        SignerKey::from_seed(origin, &self.log)
    }

    /// What signed the checkpoints before and signs beside the log key; none once its file is
    /// removed.
    pub(crate) fn former_signer(&self, origin: &str) -> Result<Option<SignerKey>, InvalidKey> {
        let former = self.former_log.as_ref().filter(|former| **former != self.log);
        former.map(|seed| SignerKey::from_seed(origin, seed)).transpose()
    }

    /// These keys with the next one of a purpose, which is drawn and written beside the present one
    /// unless an interrupted rotation has done so.
    pub(crate) fn with_next(&self, dir: &Path, purpose: &'static str) -> Result<Self, KeyFault> {
        let mut next = Self::open(dir)?;
        let (Some(place), path) = (next.of_purpose(purpose), next_of(dir, purpose)) else {
            return Ok(next);
        };
        if path.exists() {
            *place = read_key(&path, purpose)?;
            return Ok(next);
        }
        SystemRandom::new().fill(&mut place[..]).map_err(|_| KeyFault::NoRandomness)?;
        write_whole(&path, purpose, place)?;
        sync_dir(dir)?;
        Ok(next)
    }

    /// Fails while a former log key is kept that is not the present one.
    pub(crate) fn check_former(&self, dir: &Path) -> Result<(), KeyFault> {
        match &self.former_log {
            Some(former) if **former != *self.log => {
                Err(KeyFault::FormerKept { path: former_of(dir) })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Puts the next key of a purpose in the place of the present one.
    pub(crate) fn take_next(dir: &Path, purpose: &str) -> Result<(), KeyFault> {
        let next = next_of(dir, purpose);
        fs::rename(&next, path_of(dir, purpose)).map_err(io_fault("rename", &next))?;
        sync_dir(dir)
    }

    /// Keeps the present log key as the former one.
    pub(crate) fn keep_former_log(dir: &Path) -> Result<(), KeyFault> {
        let (present, former) = (read_key(&path_of(dir, LOG), LOG)?, former_of(dir));
        write_whole(&former, LOG, &present)?;
        sync_dir(dir)
    }

    fn of_purpose(&mut self, purpose: &str) -> Option<&mut Zeroizing<[u8; 32]>> {
        let Self { seal, lookup, pseudonym, idempotency, log, receipt, disclosure, .. } = self;
        let keys = [seal, lookup, pseudonym, idempotency, log, receipt, disclosure];
        PURPOSES.into_iter().zip(keys).find(|(known, _)| *known == purpose).map(|(_, key)| key)
    }

    /// What signs the promises of the log of this name.
    pub(crate) fn promiser(&self, origin: &str) -> Result<SignerKey, InvalidKey> {
        SignerKey::from_seed(&promise_name(origin), &self.receipt)
    }

    /// Purpose and check value of every key: the first 8 bytes of
    /// HMAC-SHA256(key, "jumpgate/key-check/v1"), which tell keys apart and nothing else.
    pub(crate) fn check_values(&self) -> [(&'static str, [u8; 8]); PURPOSES.len()] {
        let Self { seal, lookup, pseudonym, idempotency, log, receipt, disclosure, .. } = self;
        let keys = [seal, lookup, pseudonym, idempotency, log, receipt, disclosure];
        let mut index = 0;
        PURPOSES.map(|purpose| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &keys[index][..]);
            index += 1;
            let tag = hmac::sign(&key, b"jumpgate/key-check/v1");
            let mut check = [0; 8];
            check.copy_from_slice(&tag.as_ref()[..8]);
            (purpose, check)
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").finish_non_exhaustive()
    }
}

fn create_dir(dir: &Path) -> Result<(), KeyFault> {
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io_fault("make the folder", dir)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn check_mode(path: &Path, wanted: u32) -> Result<(), KeyFault> {
    let metadata = fs::metadata(path).map_err(io_fault("examine", path))?;
    let found = metadata.permissions().mode() & 0o7777;
    if found & !wanted == 0 {
        Ok(())
    } else {
        Err(KeyFault::Mode { path: path.to_owned(), found, wanted })
    }
}

fn write_key(path: &Path, purpose: &str, key: &[u8; 32]) -> Result<(), KeyFault> {
    let text = Zeroizing::new(format!("{}\n{}\n", header(purpose), *hex_of(key)));
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(FILE_MODE).open(path);
    let mut file = file.map_err(io_fault("create", path))?;
    file.write_all(text.as_bytes()).map_err(io_fault("write", path))?;
    file.sync_all().map_err(io_fault("sync", path))
}

fn read_key(path: &Path, purpose: &'static str) -> Result<Zeroizing<[u8; 32]>, KeyFault> {
    check_mode(path, FILE_MODE)?;
    let file = File::open(path).map_err(io_fault("open", path))?;
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX));
    let read = file.take(KEY_FILE_BYTES_MAX as u64).read_to_string(&mut text);
    read.map_err(io_fault("read", path))?;
    let wrong = |why| KeyFault::Format { path: path.to_owned(), purpose, why };
    let (first, rest) = text.split_once('\n').ok_or(wrong("it has no second line"))?;
    if first != header(purpose) {
        return Err(wrong("its first line does not name this purpose and algorithm"));
    }
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(rest.trim_end(), &mut key[..])
        .map_err(|_| wrong("its second line is not 64 hexadecimal digits"))?;
    Ok(key)
}

/// Writes a key file under another name and renames it, so that it is whole or not there.
fn write_whole(path: &Path, purpose: &str, key: &[u8; 32]) -> Result<(), KeyFault> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".tmp");
    let draft = PathBuf::from(draft);
    if draft.exists() {
        fs::remove_file(&draft).map_err(io_fault("remove", &draft))?;
    }
    write_key(&draft, purpose, key)?;
    fs::rename(&draft, path).map_err(io_fault("rename", &draft))
}

fn read_if_there(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, KeyFault> {
    if path.exists() { read_key(path, LOG).map(Some) } else { Ok(None) }
}

fn sync_dir(dir: &Path) -> Result<(), KeyFault> {
    let synced = File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(io_fault("sync", dir))
}

/// Where the next key of a purpose waits for its place.
fn next_of(dir: &Path, purpose: &str) -> PathBuf {
    dir.join(format!("{purpose}.key.next"))
}

/// Where the log key stays that a rotation has replaced.
fn former_of(dir: &Path) -> PathBuf {
    dir.join("log.key.former")
}

fn hex_of(key: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(hex::encode(key))
}

fn header(purpose: &str) -> String {
    let signs = purpose == LOG || purpose == RECEIPT;
    let algorithm = if signs { "ed25519" } else { "hmac-sha256" };
    format!("jumpgate-key/v1 {purpose} {algorithm}")
}

fn path_of(dir: &Path, purpose: &str) -> PathBuf {
    dir.join(format!("{purpose}.key"))
}

fn io_fault(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> KeyFault {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => KeyFault::Missing { path: path.to_owned() },
        _ => KeyFault::Io { doing, path: path.to_owned(), source },
    }
}

const PURPOSES: [&str; 7] =
    ["seal", "lookup", "pseudonym", "idempotency", LOG, RECEIPT, "disclosure"];
const LOG: &str = "log";
const RECEIPT: &str = "receipt";
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Longer than any key file, so that a wrong file is not read whole.
const KEY_FILE_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests;
