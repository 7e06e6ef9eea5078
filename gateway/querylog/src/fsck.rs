//! The check of a log that nobody writes, and the mending of what a power cut leaves.
//!
//! Tells three things apart: a torn tail, of which nobody was told and which is removed; files that
//! follow from the entries and are made anew; and corruption, of which nothing is touched.

use std::path::Path;

use crate::disk::Disk;
use crate::keys::Keys;
use crate::log::{OpenFault, claim};
use crate::recover::Recovery;
use crate::tree::remove_tiles;
use crate::verify::{Flaw, Report, verify_on};

/// What a check has found, and done.
#[derive(Debug)]
pub enum Fsck {
    /// Nothing is to be done.
    Whole(Report),
    /// The next start, or a check that mends, will do this.
    Mendable {
        /// Bytes after the last whole batch that are not zeros.
        torn_bytes: u64,
        /// Files that follow from the entries, and are lost or wrong.
        derived: Vec<Flaw>,
    },
    /// It was done, and the log is whole.
    Mended(Report),
    /// It was done, and these are left.
    NotMended(Vec<Flaw>),
    /// Entries, or what was signed, are not what was written. Nothing was changed.
    Corrupt(Vec<Flaw>),
}

/// A log cannot be checked or mended.
#[derive(Debug, thiserror::Error)]
pub enum FsckFault {
    /// It cannot be opened. Nothing was changed.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// Without the keys a log cannot be mended.
    #[error("a log is mended with its keys: name their folder")]
    NoKeys,
}

/// Checks the log in `dir` under the writer's lock, with keys the sealed fields too. With `mend`,
/// removes a torn tail and makes anew what follows from the entries; corruption is never touched.
///
/// # Errors
/// There is no log, a server writes it, or mending fails.
pub fn fsck(dir: &Path, keys: Option<&Keys>, mend: bool) -> Result<Fsck, FsckFault> {
    fsck_on(&Disk::default(), dir, keys, mend)
}

pub(crate) fn fsck_on(
    disk: &Disk,
    dir: &Path,
    keys: Option<&Keys>,
    mend: bool,
) -> Result<Fsck, FsckFault> {
    let (origin, _lock) = claim(disk, dir)?;
    let (torn_bytes, derived) = match verify_on(disk, dir, keys) {
        Ok(report) if report.torn_bytes == 0 => return Ok(Fsck::Whole(report)),
        Ok(report) => (report.torn_bytes, Vec::new()),
        Err(flaws) if flaws.iter().all(|flaw| flaw.is_derived) => (0, flaws),
        Err(flaws) => return Ok(Fsck::Corrupt(flaws)),
    };
    if !mend {
        return Ok(Fsck::Mendable { torn_bytes, derived });
    }
    let keys = keys.ok_or(FsckFault::NoKeys)?;
    origin.check_keys(keys, dir).map_err(OpenFault::from)?;
    let recovery = Recovery::offline(disk, dir, keys, origin);
    // Tiles hold entries; that all of them are in the segments as well was just seen.
    if !derived.is_empty() {
        remove_tiles(disk, dir).map_err(OpenFault::from)?;
    }
    recovery.mend_files()?;
    match verify_on(disk, dir, Some(keys)) {
        Ok(report) => Ok(Fsck::Mended(report)),
        Err(flaws) => Ok(Fsck::NotMended(flaws)),
    }
}

#[cfg(test)]
mod tests;
