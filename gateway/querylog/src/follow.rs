//! Reading the log's durable entries in their order, batch by batch, as they come.
//!
//! Owns a place in the segments. It reads nothing above the index that it is told is durable, so
//! that everything it meets must be whole: what is not is damage.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::frame::{BATCH_HEADER_BYTES, BatchHeader, RawRecord, SEGMENT_HEADER_BYTES, Walk};
use crate::segments::{self, SegmentFault};

pub(crate) struct Follower {
    disk: Disk,
    dir: PathBuf,
    log_id: u64,
    place: Option<Place>,
    /// Leaf index of the next batch.
    next_index: u64,
}

struct Place {
    file: DiskFile,
    file_bytes: u64,
    /// Where the next frame begins.
    offset: u64,
}

impl Follower {
    /// A follower whose next batch holds the entry at `index`, or begins with it if that is the
    /// log's end.
    pub fn open_at(
        disk: Disk,
        dir: PathBuf,
        log_id: u64,
        index: u64,
    ) -> Result<Self, SegmentFault> {
        let firsts = segments::list(&disk, &dir)?;
        let before = firsts.partition_point(|first| *first <= index).saturating_sub(1);
        let next_index = firsts.get(before).copied().unwrap_or(0);
        let mut follower = Self { disk, dir, log_id, place: None, next_index };
        follower.enter()?;
        while let Some(header) = follower.header()?
            && header.first_index + u64::from(header.entry_count) <= index
        {
            follower.skip(&header);
        }
        Ok(follower)
    }

    /// Leaf index of the entry that the next batch begins with.
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// The segment that it is in.
    pub fn file(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| place.file.path())
    }

    /// Hands the records of the next batch to `each`. False if the next entry is not below
    /// `durable`.
    pub fn batch(
        &mut self,
        durable: u64,
        each: impl FnMut(RawRecord<'_>),
    ) -> Result<bool, SegmentFault> {
        if self.next_index >= durable {
            return Ok(false);
        }
        if self.header()?.is_none() {
            // The segment is full, so the next one begins here.
            if let Err(fault) = self.enter() {
                return Err(match fault {
                    SegmentFault::Disk(fault) if fault.source.kind() == ErrorKind::NotFound => {
                        self.damaged("no whole batch header stands here")
                    }
                    SegmentFault::Disk(_) | SegmentFault::Damaged { .. } => fault,
                });
            }
        }
        let Some(header) = self.header()? else { return Err(self.damaged("no batch stands here")) };
        let Some(place) = &self.place else { return Err(self.damaged("no segment stands here")) };
        // A parsed header's frame lies within a segment of at most 1 GiB.
        let mut frame = vec![0; header.frame_bytes() as usize];
        place.file.read_at(&mut frame, place.offset)?;
        let batch = Walk::frame(&frame, self.log_id, self.next_index);
        let batch = batch.map_err(|why| self.damaged(why))?;
        batch.records(&frame).for_each(each);
        self.skip(&header);
        Ok(true)
    }

    fn skip(&mut self, header: &BatchHeader) {
        if let Some(place) = &mut self.place {
            place.offset += header.frame_bytes();
        }
        self.next_index = header.first_index + u64::from(header.entry_count);
    }

    /// Opens the segment that begins at the next index.
    fn enter(&mut self) -> Result<(), SegmentFault> {
        let file = self.disk.open_read(&segments::path_of(&self.dir, self.next_index))?;
        let file_bytes = file.bytes()?;
        self.place = Some(Place { file, file_bytes, offset: SEGMENT_HEADER_BYTES as u64 });
        Ok(())
    }

    /// The header of the batch at the place, if one of this log with the right index stands there.
    fn header(&self) -> Result<Option<BatchHeader>, SegmentFault> {
        let Some(place) = &self.place else { return Ok(None) };
        if place.offset + BATCH_HEADER_BYTES as u64 > place.file_bytes {
            return Ok(None);
        }
        let mut bytes = [0; BATCH_HEADER_BYTES];
        place.file.read_at(&mut bytes, place.offset)?;
        Ok(BatchHeader::decode(&bytes).filter(|header| {
            header.log_id == self.log_id
                && header.first_index == self.next_index
                && place.offset + header.frame_bytes() <= place.file_bytes
        }))
    }

    fn damaged(&self, why: &str) -> SegmentFault {
        let place = self.place.as_ref();
        SegmentFault::Damaged {
            file: place.map_or_else(PathBuf::new, |place| place.file.path().to_owned()),
            offset: place.map_or(0, |place| place.offset),
            why: why.to_owned(),
        }
    }
}
