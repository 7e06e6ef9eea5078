//! The entries of an open log read again, for whoever keeps counts of what was asked.
//!
//! Owns the way from an index to everything after it, in order. Only what is durable is read, so
//! all of it must be whole: what is not is damage.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use jumpgate_catalogue::{Release, Verdict};

use crate::entry::{Entry, LeafHash, leaf_hash};
use crate::erase::rectified_attribute;
use crate::fields::{Fields, FieldsFault};
use crate::find::LeafFault;
use crate::follow::Follower;
use crate::frame::RawRecord;
use crate::log::QueryLog;
use crate::reader::ReadFault;
use crate::shared::Shared;
use crate::snapshot::{self, Snapshot};
use crate::ticket::SubjectRef;
use crate::{LogUnavailable, queue::locked};

/// An entry of the log that is read again.
pub struct PastEntry<'a> {
    /// The leaf index.
    pub index: u64,
    /// The entry.
    pub entry: Entry<'a>,
    raw: RawRecord<'a>,
    shared: &'a Shared,
}

impl PastEntry<'_> {
    /// The number of the subject, as [`QueryLog::subject_number`] gives it; none in an entry that
    /// seals nothing of a subject.
    pub fn subject_number(&self) -> Option<u64> {
        self.shared.cipher.row_of(self.raw.sealed)
    }

    /// The verdict of an `answer`; none in other entries, and where the subject is erased.
    pub fn verdict(&self) -> Option<Verdict> {
        self.fields().ok()?.verdict()
    }

    /// What an exact `answer` told; none in other entries, and where the subject is erased.
    ///
    /// # Errors
    /// The sealed fields do not open.
    pub fn release(&self) -> Result<Option<Release>, FieldsFault> {
        match self.fields() {
            Ok(fields) => Ok(fields.release()),
            Err(FieldsFault::Erased) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The attribute of which this entry says that the subject's record was corrected.
    pub fn rectified(&self) -> Option<&str> {
        rectified_attribute(self.entry.details.as_ref()?)
    }

    fn fields(&self) -> Result<Fields, FieldsFault> {
        let leaf: LeafHash = leaf_hash(self.raw.entry);
        // The lock is for the handle alone: queries wait for it.
        let handle = |row| locked(&self.shared.handles).handle(row);
        Ok(self.shared.cipher.open(self.raw.sealed, &leaf, handle)?.0)
    }
}

impl QueryLog {
    /// The number under which the log knows a subject: it says nothing of him, is the same for the
    /// life of the log and never becomes another's. A subject that is met for the first time gets
    /// one now.
    ///
    /// # Errors
    /// No question can be taken now.
    pub fn subject_number(&self, subject: &SubjectRef<'_>) -> Result<u64, LogUnavailable> {
        self.shared().admit()?;
        self.shared().handle_of(subject).map(|known| known.row)
    }

    /// Entries that are durable: every index below is.
    pub fn durable_entries(&self) -> u64 {
        self.shared().progress.durable_entries.load(Ordering::Acquire)
    }

    /// An index at or before the first entry that was made at `since_ms` or later, by no more than
    /// a segment. Reads files, so an async caller runs it on a blocking thread.
    ///
    /// # Errors
    /// A segment's first entry cannot be read.
    pub fn index_since(&self, since_ms: u64) -> Result<u64, LeafFault> {
        let finder = &self.shared().finder;
        let firsts = finder.firsts();
        let (mut from, mut to) = (0, firsts.len());
        while from < to {
            let middle = from.midpoint(to);
            if firsts[middle] < self.durable_entries()
                && finder.leaf(firsts[middle])?.time_ms < since_ms
            {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from.checked_sub(1).and_then(|place| firsts.get(place)).copied().unwrap_or(0))
    }

    /// Hands every durable entry from `from` to before `until` to `each`, in order. Reads files, so
    /// an async caller runs it on a blocking thread.
    ///
    /// # Errors
    /// A segment cannot be read, or is damaged.
    pub fn replay(
        &self,
        from: u64,
        until: u64,
        mut each: impl FnMut(&PastEntry<'_>),
    ) -> Result<(), ReadFault> {
        let shared = self.shared();
        let until = until.min(self.durable_entries());
        if from >= until {
            return Ok(());
        }
        let (disk, dir) = shared.finder.place();
        let log_id = shared.finder.log_id();
        let mut follower = Follower::open_at(disk.clone(), dir.to_owned(), log_id, from)?;
        let mut undecodable = None;
        loop {
            let more = follower.batch(until, |raw| {
                if !(from..until).contains(&raw.index) {
                    return;
                }
                match Entry::decode(raw.entry) {
                    Ok(entry) => each(&PastEntry { index: raw.index, entry, raw, shared }),
                    Err(source) => {
                        undecodable.get_or_insert((raw.index, source));
                    }
                }
            })?;
            if let Some((index, source)) = undecodable {
                let file = follower.file().map_or_else(PathBuf::new, ToOwned::to_owned);
                return Err(ReadFault::Entry { file, index, source });
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Keeps what was counted from the entries before `covered`, encrypted, in the log's folder:
    /// what `write` adds to the bytes that it is given. A start may take it for those entries.
    /// Writes files, so an async caller runs it on a blocking thread.
    ///
    /// # Errors
    /// It cannot be written, or there is no room for it beside the log; what was kept before is
    /// still there.
    pub fn keep_snapshot(
        &self,
        covered: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SnapshotUnkept> {
        let shared = self.shared();
        let last = covered.checked_sub(1).ok_or(SnapshotUnkept::Empty)?;
        let leaf_hash = shared.finder.leaf(last)?.leaf_hash;
        let log_id = shared.finder.log_id();
        let bytes = snapshot::seal(log_id, covered, &leaf_hash, write, &shared.cipher);
        let bytes = bytes.ok_or(SnapshotUnkept::NoRandomness)?;
        let (disk, dir) = shared.finder.place();
        snapshot::remove_draft(disk, dir)?;
        let (free, wanted) = (disk.free_bytes(dir)?, shared.headroom.wanted_with(bytes.len()));
        if free < wanted {
            return Err(SnapshotUnkept::NoRoom { free, wanted });
        }
        Ok(snapshot::replace(disk, dir, &bytes)?)
    }

    /// What [`Self::keep_snapshot`] kept, with the index of the first entry that it does not cover.
    /// None if there is none that can be read, or none of this log as it stands.
    ///
    /// # Errors
    /// The last entry that it covers cannot be read.
    pub fn kept_snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, LeafFault> {
        let shared = self.shared();
        let (disk, dir) = shared.finder.place();
        let bytes = match disk.read_small(&dir.join(snapshot::SNAPSHOT_FILE), u64::MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(fault) => {
                tracing::warn!(%fault, "the snapshot of counts cannot be read");
                return Ok(None);
            }
        };
        let opened = Snapshot::open(bytes, shared.finder.log_id(), &shared.cipher);
        let Some(Snapshot { covered, leaf_hash, content }) = opened else { return Ok(None) };
        let is_ours = (1..=self.durable_entries()).contains(&covered)
            && shared.finder.leaf(covered - 1)?.leaf_hash == leaf_hash;
        Ok(is_ours.then_some((covered, content)))
    }
}

/// A snapshot was not kept. Nothing depends on it but the time that a start takes.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotUnkept {
    /// It covers no entry.
    #[error("a snapshot covers an entry at least")]
    Empty,
    /// The last entry that it covers cannot be read.
    #[error(transparent)]
    Leaf(#[from] LeafFault),
    /// It would take room that the log needs.
    #[error("the log's file system has {free} bytes free, and {wanted} are wanted for it")]
    NoRoom {
        /// Bytes free.
        free: u64,
        /// The file's size and what the log keeps free.
        wanted: u64,
    },
    /// The system gave no randomness.
    #[error("the system's random source failed")]
    NoRandomness,
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] crate::disk::DiskFault),
}

#[cfg(test)]
mod tests;
