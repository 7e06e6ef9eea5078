//! What acts have decided and a restart must not undo: which departments are switched off, and the
//! newest version of each department's rules.
//!
//! *Trusted: whoever may write the file can switch a department on at the next start, whose entries
//! say what is off. Must not be lost: where the log has entries and the file is not there, every
//! department starts switched off. Written by the gateway only, as a whole, synced before it
//! counts.*

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jumpgate_admission::Policy;
use jumpgate_catalogue::{DepartmentId, Notice};
use serde::{Deserialize, Serialize};

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    version: u32,
    /// With what people are shown meanwhile, if somebody wrote it.
    switched_off: BTreeMap<String, Option<Shown>>,
    policy_serials: BTreeMap<String, u64>,
}

/// A notice, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    en: String,
    zh: String,
}

const VERSION: u32 = 1;

/// What acts have decided, as it stands in its file.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    decided: Decided,
    /// What the file holds; what it could not be made to hold is in `decided` alone.
    written: Option<Decided>,
}

/// What acts have decided cannot be read, kept or followed.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// The file cannot be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The file is not one of the gateway's.
    #[error("{0} is damaged: restore it from a backup; without it every department starts off")]
    Damaged(PathBuf),
    /// An older version of a department's rules than one that was in force.
    #[error(
        "the rules of {department} have version {found}, and version {newest} was in force; have \
         the department sign them with a higher one"
    )]
    OlderRules {
        /// The department.
        department: String,
        /// The version found.
        found: u64,
        /// The newest that was in force.
        newest: u64,
    },
}

impl State {
    /// Reads the file; one that does not exist yet stands for nothing decided.
    pub fn open(path: &Path) -> Result<Self, StateFault> {
        let written = match fs::read(path) {
            Ok(bytes) => Some(
                serde_json::from_slice::<Decided>(&bytes)
                    .ok()
                    .filter(|decided| decided.version == VERSION)
                    .ok_or_else(|| StateFault::Damaged(path.to_owned()))?,
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StateFault::File(path.to_owned(), error)),
        };
        let none = Decided { version: VERSION, ..Decided::default() };
        let decided = written.clone().unwrap_or(none);
        Ok(Self { path: path.to_owned(), decided, written })
    }

    /// True if there was no file.
    pub fn is_missing(&self) -> bool {
        self.written.is_none()
    }

    /// The departments that were switched off.
    pub fn switched_off(&self) -> impl Iterator<Item = (DepartmentId, Option<Notice>)> {
        self.decided.switched_off.iter().filter_map(|(id, shown)| {
            let notice = shown.as_ref().and_then(|Shown { en, zh }| Notice::new(en, zh).ok());
            Some((id.parse().ok()?, notice))
        })
    }

    /// Keeps that a department is off, durable before it returns. Where that fails, the next thing
    /// that is kept keeps it too.
    pub fn switch_off(
        &mut self,
        department: &DepartmentId,
        notice: Option<&Notice>,
    ) -> Result<(), StateFault> {
        let shown = notice.map(|it| Shown { en: it.en.clone(), zh: it.zh.clone() });
        let kept = self.decided.switched_off.entry(department.to_string()).or_default();
        // Switched off once more without a message, it keeps the one that it has.
        if shown.is_some() {
            *kept = shown;
        }
        self.keep(self.decided.clone())
    }

    /// Keeps that a department is on, durable before it returns.
    pub fn switch_on(&mut self, department: &DepartmentId) -> Result<(), StateFault> {
        let mut decided = self.decided.clone();
        decided.switched_off.remove(department.as_str());
        self.keep(decided)
    }

    /// Checks that no department's rules are older than those that were in force.
    pub fn check_rules(&self, policy: &Policy) -> Result<(), StateFault> {
        for (department, &found) in policy.serials() {
            let newest = self.decided.policy_serials.get(department).copied().unwrap_or(0);
            if found < newest {
                let department = department.clone();
                return Err(StateFault::OlderRules { department, found, newest });
            }
        }
        Ok(())
    }

    /// Keeps the versions of the departments' rules, durable before it returns.
    pub fn keep_rules(&mut self, policy: &Policy) -> Result<(), StateFault> {
        let mut decided = self.decided.clone();
        decided.policy_serials.extend(policy.serials().clone());
        self.keep(decided)
    }

    /// Writes the file, unless it holds the same already.
    fn keep(&mut self, decided: Decided) -> Result<(), StateFault> {
        if self.written.as_ref() == Some(&decided) {
            return Ok(());
        }
        let fault = |error| StateFault::File(self.path.clone(), error);
        let bytes = serde_json::to_vec_pretty(&decided).map_err(io::Error::from).map_err(fault)?;
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(fault)?;
        self.written = Some(decided.clone());
        self.decided = decided;
        Ok(())
    }
}
