//! Reading a log without writing it, while a server runs or not.
//!
//! Owns the iteration over records and the opening of sealed fields. It takes no lock and changes
//! nothing. At a place where a writer may be at work, it ends with the last whole batch.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::cipher::Cipher;
use crate::disk::{Disk, DiskFault};
use crate::entry::{Entry, EntryFault, LeafHash, leaf_hash};
use crate::fields::{Fields, FieldsFault};
use crate::frame::{Batch, Walk};
use crate::handles::{HANDLES_FILE, HandleTable};
use crate::keys::Keys;
use crate::origin::{Origin, OriginFault};
use crate::segments::{self, Loaded, SegmentFault};

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The leaf index.
    pub index: u64,
    /// RFC 6962 §2.1 leaf hash of `entry_bytes`.
    pub leaf_hash: LeafHash,
    /// The entry.
    pub entry: Entry<'static>,
    /// The entry's bytes: the leaf of the tree.
    pub entry_bytes: Vec<u8>,
    /// The sealed fields; empty if the entry commits to none.
    pub sealed: Vec<u8>,
}

/// A log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// There is no log.
    #[error("{} holds no log", path.display())]
    NotInitialised {
        /// The folder.
        path: PathBuf,
    },
    /// The origin file or the keys are not this log's.
    #[error(transparent)]
    Origin(#[from] OriginFault),
    /// A file is not what was written.
    #[error(
        "{} is damaged at byte {offset}: {why}; restore it from a mirror or a backup",
        file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// An entry does not decode, although its batch is whole.
    #[error("entry {index} in {} does not decode", file.display())]
    Entry {
        /// The segment.
        file: PathBuf,
        /// The leaf index.
        index: u64,
        /// What is wrong.
        source: EntryFault,
    },
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}

impl From<SegmentFault> for ReadFault {
    fn from(fault: SegmentFault) -> Self {
        match fault {
            SegmentFault::Disk(fault) => Self::Disk(fault),
            SegmentFault::Damaged { file, offset, why } => Self::Damaged { file, offset, why },
        }
    }
}

/// Iterates over the records in order; ends after the first fault. Holds one segment in memory.
pub struct Reader {
    cursor: Cursor,
    segments: VecDeque<u64>,
    from_index: u64,
    records: VecDeque<Record>,
    failed: bool,
}

impl Reader {
    /// Reads from the first entry.
    pub fn open(dir: &Path) -> Result<Self, ReadFault> {
        Self::open_at(dir, 0)
    }

    /// Reads from the entry at `index`.
    pub fn open_at(dir: &Path, index: u64) -> Result<Self, ReadFault> {
        Self::open_on(Disk::default(), dir, index)
    }

    pub(crate) fn open_on(disk: Disk, dir: &Path, index: u64) -> Result<Self, ReadFault> {
        let (cursor, mut firsts) = Cursor::open(disk, dir)?;
        let before = firsts.partition_point(|first| *first <= index).saturating_sub(1);
        let segments = firsts.split_off(before).into();
        Ok(Self { cursor, segments, from_index: index, records: VecDeque::new(), failed: false })
    }

    fn read_batch(&mut self) -> Result<bool, ReadFault> {
        loop {
            if !self.cursor.is_in_segment() {
                let Some(first) = self.segments.pop_front() else { return Ok(false) };
                let next = self.segments.front().copied().unwrap_or(0);
                self.cursor.enter(first, next)?;
            }
            let from_index = self.from_index;
            match self.cursor.step()? {
                Some((segment, batch)) => {
                    for raw in batch.records(&segment.bytes).filter(|raw| raw.index >= from_index) {
                        let record = Record::decode(raw.index, raw.entry, raw.sealed);
                        self.records.push_back(record.map_err(|source| ReadFault::Entry {
                            file: segment.path.clone(),
                            index: raw.index,
                            source,
                        })?);
                    }
                    return Ok(true);
                }
                None => self.cursor.leave(),
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Record, ReadFault>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.records.is_empty() && !self.failed {
            match self.read_batch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(fault) => {
                    self.failed = true;
                    return Some(Err(fault));
                }
            }
        }
        self.records.pop_front().map(Ok)
    }
}

impl Record {
    pub(crate) fn decode(index: u64, entry: &[u8], sealed: &[u8]) -> Result<Self, EntryFault> {
        Ok(Self {
            index,
            leaf_hash: leaf_hash(entry),
            entry: Entry::decode(entry)?.into_owned(),
            entry_bytes: entry.to_vec(),
            sealed: sealed.to_vec(),
        })
    }
}

/// A place in a segment. Shared with `verify`, which goes on after damage.
pub(crate) struct Cursor {
    pub disk: Disk,
    pub dir: PathBuf,
    pub log_id: u64,
    current: Option<(Loaded, Walk)>,
}

impl Cursor {
    /// A cursor in no segment, and the first indices of all segments.
    pub fn open(disk: Disk, dir: &Path) -> Result<(Self, Vec<u64>), ReadFault> {
        let Some(origin) = Origin::read(&disk, dir)? else {
            return Err(ReadFault::NotInitialised { path: dir.to_owned() });
        };
        let firsts = segments::list(&disk, dir)?;
        let cursor = Self { disk, dir: dir.to_owned(), log_id: origin.log_id, current: None };
        Ok((cursor, firsts))
    }

    /// Goes to the start of a segment; `next` is the first index of the one after it, or 0.
    pub fn enter(&mut self, first: u64, next: u64) -> Result<(), ReadFault> {
        let segment = segments::load(&self.disk, &self.dir, self.log_id, first)?;
        let walk = Walk::new(&segment.header, next);
        self.current = Some((segment, walk));
        Ok(())
    }

    pub fn is_in_segment(&self) -> bool {
        self.current.is_some()
    }

    /// Leaves the segment and says where its durable part ended.
    pub fn leave(&mut self) {
        self.current = None;
    }

    /// The segment and the walk in it, while there is one.
    pub fn place(&self) -> Option<&(Loaded, Walk)> {
        self.current.as_ref()
    }

    /// The next batch; none at the segment's end. A segment is read piece by piece while the writer
    /// may be at work in it, so what looks like damage is believed only after a second reading.
    pub fn step(&mut self) -> Result<Option<(&Loaded, Batch)>, ReadFault> {
        let Some((segment, walk)) = &mut self.current else { return Ok(None) };
        let mut stepped = walk.step(&segment.bytes);
        if stepped.is_err() {
            *segment = segments::load(&self.disk, &self.dir, self.log_id, walk.first_index)?;
            stepped = walk.step(&segment.bytes);
        }
        let batch = stepped.map_err(|damage| damage.in_file(segment))?;
        Ok(batch.map(|batch| (&*segment, batch)))
    }
}

/// Opens the sealed fields of records, for whoever holds the keys.
pub struct Sealer {
    cipher: Cipher,
    table: HandleTable,
}

impl Sealer {
    /// Reads the handle table. While a server runs, subjects that are new since then do not open.
    pub fn open(dir: &Path, keys: &Keys) -> Result<Self, ReadFault> {
        Self::open_on(&Disk::default(), dir, keys)
    }

    pub(crate) fn open_on(disk: &Disk, dir: &Path, keys: &Keys) -> Result<Self, ReadFault> {
        let (mut cursor, firsts) = Cursor::open(disk.clone(), dir)?;
        if let Some(origin) = Origin::read(&cursor.disk, dir)? {
            origin.check_keys(keys, dir)?;
        }
        let last = firsts.last().copied().unwrap_or(0);
        cursor.enter(last, 0)?;
        while cursor.step()?.is_some() {}
        let rows = cursor.place().map_or(0, |(_, walk)| walk.marks.handle_rows);
        Self::load(&cursor.disk, dir, cursor.log_id, rows, keys)
    }

    pub(crate) fn load(
        disk: &Disk,
        dir: &Path,
        log_id: u64,
        rows: u64,
        keys: &Keys,
    ) -> Result<Self, ReadFault> {
        let file = dir.join(HANDLES_FILE);
        let bytes = disk.open_read(&file)?.read_all(u64::MAX)?;
        let cipher = Cipher::new(keys);
        let table = HandleTable::load(&bytes, log_id, rows, &cipher).map_err(|damage| {
            ReadFault::Damaged { file, offset: damage.offset, why: damage.why.to_owned() }
        })?;
        Ok(Self { cipher, table })
    }

    /// Opens a record's fields, and checks that they are those its entry commits to and that the
    /// subject's handle gives the entry's pseudonym.
    pub fn open_fields(&self, record: &Record) -> Result<Fields, FieldsFault> {
        let entry = &record.entry;
        let Some(commitment) = entry.fields else { return Err(FieldsFault::Missing) };
        if record.sealed.is_empty() {
            return Err(FieldsFault::Missing);
        }
        let find = |row| self.table.handle(row);
        let (fields, subject) = self.cipher.open(&record.sealed, &record.leaf_hash, find)?;
        if fields.commitment() != commitment {
            return Err(FieldsFault::Commitment);
        }
        if let (Some(department), Some(written)) = (&entry.department, entry.pseudonym) {
            let made = self.cipher.pseudonym(department, written.epoch, &subject.handle);
            if made != written {
                return Err(FieldsFault::Pseudonym);
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests;
