//! From a leaf index to its entry.
//!
//! Owns the list of segments and a bounded set of landmarks in them, built while it looks. The
//! entries themselves are read from the files each time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jumpgate_catalogue::QueryId;

use crate::disk::{Disk, DiskFault, DiskFile};
use crate::entry::{Entry, EntryFault, LeafHash, leaf_hash};
use crate::fields::FieldsFault;
use crate::frame::{
    BATCH_HEADER_BYTES, BatchHeader, CRC_BYTES, SEGMENT_HEADER_BYTES, split_record, whole_payload,
};
use crate::kind::Kind;
use crate::queue::locked;
use crate::segments;

/// What a receipt says about an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafInfo {
    /// The leaf index.
    pub index: u64,
    /// The kind of the entry.
    pub kind: Kind,
    /// RFC 6962 §2.1 leaf hash.
    pub leaf_hash: LeafHash,
    /// The time in the entry, Unix milliseconds.
    pub time_ms: u64,
    /// Who asked, where the entry names a caller.
    pub caller: Option<String>,
    /// The question's own id.
    pub query_id: Option<QueryId>,
    /// The `ask` that the entry closes.
    pub ask: Option<u64>,
}

/// An entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LeafFault {
    /// The bytes in its place are not what was written; run `jumpgate log verify`.
    #[error("{} is damaged near byte {offset}; run `jumpgate log verify`", file.display())]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the batch begins.
        offset: u64,
    },
    /// The entry does not decode.
    #[error("entry {index} does not decode")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: EntryFault,
    },
    /// The entry's sealed fields do not open.
    #[error("the sealed fields of entry {index} do not open; run `jumpgate log verify` with keys")]
    Fields {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: FieldsFault,
    },
    /// A file of the published tree is not there, or is not what follows from the entries.
    #[error(
        "{} is lost or wrong: `jumpgate log fsck --mend` makes it anew, with the gateway stopped",
        file.display()
    )]
    Derived {
        /// The file.
        file: PathBuf,
    },
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}

pub(crate) struct Finder {
    disk: Disk,
    dir: PathBuf,
    log_id: u64,
    state: Mutex<State>,
}

struct State {
    /// First indices of all segments, ascending.
    firsts: Vec<u64>,
    /// Batches' first indices and offsets, by segment.
    landmarks: BTreeMap<u64, Vec<Landmark>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Landmark {
    index: u64,
    offset: u64,
}

impl Finder {
    pub fn new(disk: Disk, dir: PathBuf, log_id: u64, firsts: Vec<u64>) -> Self {
        Self { disk, dir, log_id, state: Mutex::new(State { firsts, landmarks: BTreeMap::new() }) }
    }

    /// Where the log is.
    pub fn place(&self) -> (&Disk, &Path) {
        (&self.disk, &self.dir)
    }

    /// Which log it is.
    pub fn log_id(&self) -> u64 {
        self.log_id
    }

    /// First indices of all segments, ascending.
    pub fn firsts(&self) -> Vec<u64> {
        locked(&self.state).firsts.clone()
    }

    /// Takes over segments that were begun.
    pub fn add(&self, begun: &mut Vec<u64>) {
        if !begun.is_empty() {
            locked(&self.state).firsts.append(begun);
        }
    }

    /// The entry at `index`, which the caller knows to be durable.
    pub fn leaf(&self, index: u64) -> Result<LeafInfo, LeafFault> {
        let (bytes, _) = self.record(index)?;
        let entry = Entry::decode(&bytes).map_err(|source| LeafFault::Entry { index, source })?;
        Ok(LeafInfo {
            index,
            kind: entry.kind,
            leaf_hash: leaf_hash(&bytes),
            time_ms: entry.time_ms,
            caller: entry.caller.map(|caller| caller.into_owned()),
            query_id: entry.query_id,
            ask: entry.ask,
        })
    }

    /// The bytes of the entry at `index` and of its sealed fields.
    pub fn record(&self, index: u64) -> Result<(Vec<u8>, Vec<u8>), LeafFault> {
        let (first, from) = locked(&self.state).nearest(index);
        let file = self.disk.open_read(&segments::path_of(&self.dir, first))?;
        let (header, at, passed) = self.walk(&file, from, index)?;
        locked(&self.state).remember(first, &passed);

        let damaged = || LeafFault::Damaged { file: file.path().to_owned(), offset: at };
        let mut batch = vec![0; BATCH_HEADER_BYTES + header.payload_bytes as usize + CRC_BYTES];
        file.read_at(&mut batch, at)?;
        // Without this a changed byte could pass for something that was meant: an erased subject.
        let mut rest = whole_payload(&batch).ok_or_else(damaged)?;
        let mut record = split_record(&mut rest).ok_or_else(damaged)?;
        for _ in header.first_index..index {
            record = split_record(&mut rest).ok_or_else(damaged)?;
        }
        let (entry, sealed) = record;
        Ok((entry.to_vec(), sealed.to_vec()))
    }

    /// Goes from header to header until the batch that holds `index`, and keeps a landmark now and
    /// then.
    fn walk(
        &self,
        file: &DiskFile,
        from: Landmark,
        index: u64,
    ) -> Result<(BatchHeader, u64, Vec<Landmark>), LeafFault> {
        let (mut at, mut last) = (from, from);
        let mut passed = Vec::new();
        let mut bytes = [0; BATCH_HEADER_BYTES];
        loop {
            let damaged = || LeafFault::Damaged { file: file.path().to_owned(), offset: at.offset };
            file.read_at(&mut bytes, at.offset)?;
            let header = BatchHeader::decode(&bytes).ok_or_else(damaged)?;
            if header.log_id != self.log_id || header.first_index != at.index {
                return Err(damaged());
            }
            let end = header.first_index + u64::from(header.entry_count);
            if index < end {
                return Ok((header, at.offset, passed));
            }
            at = Landmark { index: end, offset: at.offset + header.frame_bytes() };
            if at.offset >= last.offset + LANDMARK_BYTES {
                passed.push(at);
                last = at;
            }
        }
    }
}

impl State {
    /// The segment that holds `index` and the nearest known batch at or before it.
    fn nearest(&self, index: u64) -> (u64, Landmark) {
        // The first segment begins at 0, so one always begins at or before `index`.
        let place = self.firsts.partition_point(|first| *first <= index).saturating_sub(1);
        let first = self.firsts.get(place).copied().unwrap_or(0);
        let start = Landmark { index: first, offset: SEGMENT_HEADER_BYTES as u64 };
        let known = self.landmarks.get(&first);
        let near = known.and_then(|landmarks| {
            let after = landmarks.partition_point(|landmark| landmark.index <= index);
            landmarks[..after].last().copied()
        });
        (first, near.unwrap_or(start))
    }

    fn remember(&mut self, first: u64, passed: &[Landmark]) {
        if passed.is_empty() {
            return;
        }
        if self.landmarks.len() >= SEGMENTS_REMEMBERED_MAX && !self.landmarks.contains_key(&first) {
            // Whoever reads receipts reads recent ones: the oldest segment is least missed.
            self.landmarks.pop_first();
        }
        let known = self.landmarks.entry(first).or_default();
        for landmark in passed {
            // Two readers may have walked the same way.
            if known.last().is_none_or(|last| last.index < landmark.index) {
                known.push(*landmark);
            }
        }
    }
}

/// A landmark every 256 KiB: 256 of them in a segment of 64 MiB, and at most some hundred headers
/// from one to the next.
const LANDMARK_BYTES: u64 = 256 << 10;
/// At 4 KiB of landmarks each, one megabyte.
const SEGMENTS_REMEMBERED_MAX: usize = 256;

#[cfg(test)]
mod tests;
