//! The file `origin`: which log this is, and which keys are its own.
//!
//! Written once by `init`, last of all files, and trusted afterwards: it is what binds segments,
//! handle table and keys together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jumpgate_tlog::{InvalidKey, VerifierKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::disk::{Disk, DiskFault};
use crate::keys::Keys;
use crate::log::InitFault;
use crate::promise::promise_name;

pub(crate) const ORIGIN_FILE: &str = "origin";

#[derive(Clone)]
pub(crate) struct Origin {
    /// The log's public name.
    pub name: String,
    /// Random; stands in every segment and batch, so that files of two logs are never mixed.
    pub log_id: u64,
    created_ms: u64,
    /// What the log's checkpoints are checked with.
    pub verifier: VerifierKey,
    /// What its promises are checked with.
    pub promise: VerifierKey,
    /// Check value of each key by its purpose, in hexadecimal.
    keys: BTreeMap<String, String>,
}

/// The origin file or the keys are not this log's.
#[derive(Debug, thiserror::Error)]
pub enum OriginFault {
    /// The file does not read.
    #[error(
        "{} is damaged: {why}; restore it from a mirror or a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A key is another log's.
    #[error(
        "the {purpose} key is not the one that the log in {} was made with; name the folder of \
         this log's keys, or, if a rotation was cut off, run `jumpgate log rotate-key` again",
        path.display()
    )]
    Key {
        /// The key's purpose.
        purpose: &'static str,
        /// The log's folder.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}

impl Origin {
    /// A new log's origin.
    pub fn new(name: &str, key_set: &Keys, created_ms: u64) -> Result<Self, InitFault> {
        // The rule of a note's key name (C2SP signed-note), which the origin becomes.
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
        if name.is_empty() || name.len() > 255 || !printable {
            return Err(InitFault::Origin);
        }
        let mut id = [0; 8];
        SystemRandom::new().fill(&mut id).map_err(|_| InitFault::NoRandomness)?;
        let log_id = u64::from_le_bytes(id);
        Self::of(name, log_id, created_ms, key_set).map_err(|_| InitFault::Origin)
    }

    /// The same log with other keys.
    pub fn with_keys(&self, key_set: &Keys) -> Result<Self, InvalidKey> {
        Self::of(&self.name, self.log_id, self.created_ms, key_set)
    }

    fn of(name: &str, log_id: u64, created_ms: u64, key_set: &Keys) -> Result<Self, InvalidKey> {
        let checks = key_set.check_values().into_iter();
        let keys =
            checks.map(|(purpose, check)| (purpose.to_owned(), hex::encode(check))).collect();
        let verifier = key_set.signer(name)?.verifier().clone();
        let promise = key_set.promiser(name)?.verifier().clone();
        Ok(Self { name: name.to_owned(), log_id, created_ms, verifier, promise, keys })
    }

    /// Writes the file, durable when this returns: temporary name, sync, rename, folder's sync.
    pub fn write(&self, disk: &Disk, dir: &Path) -> Result<(), DiskFault> {
        let temporary = dir.join("origin.tmp");
        disk.remove(&temporary)?;
        let file = disk.create_new(&temporary)?;
        file.write_at(self.text().as_bytes(), 0)?;
        file.sync_all()?;
        disk.rename(&temporary, &dir.join(ORIGIN_FILE))?;
        disk.sync_dir(dir)
    }

    /// Reads the file; none if there is no log.
    pub fn read(disk: &Disk, dir: &Path) -> Result<Option<Self>, OriginFault> {
        let path = dir.join(ORIGIN_FILE);
        let Some(bytes) = disk.read_small(&path, ORIGIN_BYTES_MAX)? else { return Ok(None) };
        let damaged = |why| OriginFault::Damaged { path: path.clone(), why };
        let text = String::from_utf8(bytes).map_err(|_| damaged("it is not a text"))?;
        Self::parse(&text).map(Some).map_err(damaged)
    }

    /// Finds keys of another log before they make tokens and pseudonyms that fit nothing.
    pub fn check_keys(&self, keys: &Keys, dir: &Path) -> Result<(), OriginFault> {
        for (purpose, check) in keys.check_values() {
            if self.keys.get(purpose) != Some(&hex::encode(check)) {
                return Err(OriginFault::Key { purpose, path: dir.to_owned() });
            }
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "jumpgate-log/v1\norigin {}\ncreated_ms {}\nlog_id {:016x}\nhash sha-256\n\
             verifier_key {}\npromise_key {}\n",
            self.name, self.created_ms, self.log_id, self.verifier, self.promise
        );
        for (purpose, check) in &self.keys {
            text.push_str(&format!("key {purpose} {check}\n"));
        }
        text.push_str(&format!("crc32c {:08x}\n", crc32c::crc32c(text.as_bytes())));
        text
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.lines();
        let mut next = |name| {
            let line = lines.next().ok_or("it is cut off")?;
            line.strip_prefix(name).ok_or("a line is not in its place")
        };
        if next("jumpgate-log/")? != "v1" {
            return Err("it has a version that this release does not know");
        }
        let name = next("origin ")?.to_owned();
        let created_ms = next("created_ms ")?.parse().map_err(|_| "created_ms is no number")?;
        let log_id =
            u64::from_str_radix(next("log_id ")?, 16).map_err(|_| "log_id is no number")?;
        next("hash sha-256")?;
        let verifier: VerifierKey =
            next("verifier_key ")?.parse().map_err(|_| "verifier_key is no key")?;
        if verifier.name() != name {
            return Err("verifier_key is another log's");
        }
        let promise: VerifierKey =
            next("promise_key ")?.parse().map_err(|_| "promise_key is no key")?;
        if promise.name() != promise_name(&name) {
            return Err("promise_key is another log's");
        }
        let mut keys = BTreeMap::new();
        for line in lines {
            if let Some((purpose, check)) =
                line.strip_prefix("key ").and_then(|l| l.split_once(' '))
            {
                keys.insert(purpose.to_owned(), check.to_owned());
            }
        }
        let origin = Self { name, log_id, created_ms, verifier, promise, keys };
        // One text for one content: this also checks the last line, the checksum.
        if origin.text() == text { Ok(origin) } else { Err("its checksum is wrong") }
    }
}

/// Five times a file of seven keys.
const ORIGIN_BYTES_MAX: u64 = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestLog;

    #[test]
    fn an_origin_reads_back() {
        let log = TestLog::new();
        let origin = Origin::new("gateway.example.gov/log", &log.keys, 7).unwrap();
        let again = Origin::parse(&origin.text()).unwrap();
        assert_eq!(again.text(), origin.text());
        assert_eq!(again.log_id, origin.log_id);
    }

    #[test]
    fn the_specification_shows_a_file_that_reads() {
        let page = include_str!("../../../spec/query-log.md");
        let lines = page.lines().skip_while(|line| *line != "    jumpgate-log/v1");
        let text: String = lines
            .map_while(|line| line.strip_prefix("    "))
            .map(|line| format!("{line}\n"))
            .collect();
        let origin = Origin::parse(&text).unwrap();
        assert_eq!(origin.log_id, 0x1122_3344_5566_7788);
        assert_eq!(origin.keys.len(), 7);
    }

    #[test]
    fn any_changed_byte_is_found() {
        let log = TestLog::new();
        let text = Origin::new("gateway.example.gov/log", &log.keys, 7).unwrap().text();
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Origin::parse(&changed).is_err(), "byte {position}");
        }
    }

    #[test]
    fn origins_that_a_checkpoint_cannot_name_are_refused() {
        let log = TestLog::new();
        for name in ["", "a b", "a+b", "é", "a\n", &"a".repeat(256)] {
            assert!(matches!(Origin::new(name, &log.keys, 0), Err(InitFault::Origin)), "{name}");
        }
    }
}
