//! The writing end of the files: handle rows, then one frame, then one sync.
//!
//! Owns the order in which things become durable. Used by recovery and by the writer thread alike.
//! After a fault it must not be used again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::compose::{Composed, Effect};
use crate::disk::{Disk, DiskFault, DiskFile};
use crate::frame::{BatchHeader, Marks, SEGMENT_HEADER_BYTES, SegmentHeader, write_batch};
use crate::handles;
use crate::segments;

pub(crate) struct Store {
    pub disk: Disk,
    pub dir: PathBuf,
    pub log_id: u64,
    pub segment_bytes_new: u64,
    pub segment: Arc<DiskFile>,
    pub segment_bytes: u64,
    /// Where the next frame begins.
    pub offset: u64,
    pub next_index: u64,
    pub durable_entries: u64,
    pub handles: Arc<DiskFile>,
    pub handle_rows: u64,
    /// Written `ask`s whose closing entry is not written.
    pub open: BTreeSet<u64>,
    pub asks_written: bool,
    /// As the last batch says.
    pub asks_written_last: bool,
    pub prepared: Option<JoinHandle<Result<DiskFile, DiskFault>>>,
    pub frame: Vec<u8>,
    /// First indices of segments begun by this store, for whoever reads.
    pub begun: Vec<u64>,
}

impl Store {
    /// Makes handle rows durable. No entry made after them may be written before.
    pub fn write_rows(&mut self, rows: &[u8]) -> Result<(), DiskFault> {
        if rows.is_empty() {
            return Ok(());
        }
        handles::append(&self.handles, self.handle_rows, rows)?;
        self.handle_rows += (rows.len() / handles::ROW_BYTES) as u64;
        // A crash here leaves rows that no durable batch counts; recovery zeroes them.
        Ok(())
    }

    /// Writes one batch and returns the leaf index of its first entry. Once this returns the batch
    /// survives the end of the process, but not yet a power cut.
    pub fn write<'a>(
        &mut self,
        batch: impl Iterator<Item = &'a Composed> + Clone,
    ) -> Result<u64, DiskFault> {
        // A batch that does not fit begins a segment, whose header tells of what was before it.
        let before = self.marks();
        for (index, composed) in (self.next_index..).zip(batch.clone()) {
            match composed.effect {
                Effect::Opens => drop(self.open.insert(index)),
                Effect::Closes(ask) => drop(self.open.remove(&ask)),
                Effect::Neither => {}
            }
        }
        let entries = batch.clone().count() as u64;
        let closed_below = self.open.first().copied().unwrap_or(self.next_index + entries);
        let header = BatchHeader {
            log_id: self.log_id,
            first_index: self.next_index,
            durable_entries: self.durable_entries,
            marks: Marks { closed_below, asks_written: self.asks_written, ..before },
            payload_bytes: 0,
            entry_count: 0,
        };
        let header = write_batch(header, batch.map(|it| &it.record[..]), &mut self.frame);
        if self.offset + self.frame.len() as u64 > self.segment_bytes {
            self.roll(before)?;
        }
        self.segment.write_at(&self.frame, self.offset)?;
        self.offset += self.frame.len() as u64;
        self.next_index += u64::from(header.entry_count);
        self.asks_written_last = self.asks_written;
        Ok(header.first_index)
    }

    /// Makes everything written durable.
    pub fn sync(&mut self) -> Result<(), DiskFault> {
        self.segment.sync()?;
        self.durable_entries = self.next_index;
        Ok(())
    }

    /// The marks of everything written so far.
    fn marks(&self) -> Marks {
        Marks {
            handle_rows: self.handle_rows,
            closed_below: self.open.first().copied().unwrap_or(self.next_index),
            asks_written: self.asks_written_last,
        }
    }

    /// Bytes of the last frame.
    pub fn frame_bytes(&self) -> u64 {
        self.frame.len() as u64
    }

    /// Begins the next segment. Everything before it is durable: a frame is only written after the
    /// one before it was synced.
    fn roll(&mut self, marks: Marks) -> Result<(), DiskFault> {
        let prepared = match self.prepared.take() {
            Some(thread) => match thread.join() {
                Ok(Ok(prepared)) => prepared,
                // There was no room then. The file is no part of the log: there may be room now.
                Ok(Err(fault)) if fault.is_full() => self.prepare_now()?,
                Ok(Err(fault)) => return Err(fault),
                Err(_) => self.prepare_now()?,
            },
            None => self.prepare_now()?,
        };
        let header = SegmentHeader {
            log_id: self.log_id,
            first_index: self.next_index,
            segment_bytes: self.segment_bytes_new,
            marks,
        };
        self.segment = Arc::new(segments::begin(prepared, &self.dir, &header)?);
        self.segment_bytes = header.segment_bytes;
        self.offset = SEGMENT_HEADER_BYTES as u64;
        self.begun.push(header.first_index);
        self.prepare_ahead();
        Ok(())
    }

    /// Starts to prepare the next segment, so that the path of a query does not wait for it.
    pub fn prepare_ahead(&mut self) {
        let (disk, dir, bytes) = (self.disk.clone(), self.dir.clone(), self.segment_bytes_new);
        let thread = std::thread::Builder::new()
            .name("querylog-prepare".to_owned())
            .spawn(move || segments::prepare(&disk, &dir, bytes));
        // Without a thread the segment is prepared when it is needed.
        self.prepared = thread.ok();
    }

    fn prepare_now(&self) -> Result<DiskFile, DiskFault> {
        segments::prepare(&self.disk, &self.dir, self.segment_bytes_new)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The next process must not find this thread writing to the prepared file.
        if let Some(thread) = self.prepared.take() {
            let _ = thread.join();
        }
    }
}
