//! Segment headers, batch frames and records, byte by byte.
//!
//! Owns the formats of `spec/query-log.md` §Segments and the one rule that tells a torn tail from
//! corruption. Works on bytes alone: it performs no IO and changes nothing.

use crate::entry::ENTRY_BYTES_MAX;
use crate::fields::SEALED_BYTES_MAX;

pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
pub(crate) const BATCH_HEADER_BYTES: usize = 64;
pub(crate) const RECORD_HEADER_BYTES: usize = 8;
pub(crate) const CRC_BYTES: usize = 4;
/// Frames begin at multiples of this.
const ALIGNMENT_BYTES: usize = 8;
/// What a frame adds to its records, at most.
pub(crate) const BATCH_OVERHEAD_BYTES: usize = BATCH_HEADER_BYTES + CRC_BYTES + ALIGNMENT_BYTES;

/// What a header says of everything before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Rows of the handle table that were durable.
    pub handle_rows: u64,
    /// Every `ask` below this leaf index has its closing entry, in the batch itself at the latest.
    pub closed_below: u64,
    /// True if questions are asked once their `ask` is written, before it is durable.
    pub asks_written: bool,
}

impl Marks {
    fn encode(self, header: &mut [u8; 64]) {
        header[32..40].copy_from_slice(&self.handle_rows.to_le_bytes());
        header[48..56].copy_from_slice(&self.closed_below.to_le_bytes());
        header[56..60].copy_from_slice(&u32::from(self.asks_written).to_le_bytes());
    }

    fn decode(header: &[u8]) -> Option<Self> {
        let asks_written = match u32_at(header, 56) {
            0 => false,
            1 => true,
            _ => return None,
        };
        let (handle_rows, closed_below) = (u64_at(header, 32), u64_at(header, 48));
        Some(Self { handle_rows, closed_below, asks_written })
    }
}

/// The header of a segment file. A segment is begun only after everything before it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub log_id: u64,
    /// Leaf index of the segment's first entry.
    pub first_index: u64,
    /// Size of the file.
    pub segment_bytes: u64,
    /// As they were when the segment was begun.
    pub marks: Marks,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        header[..8].copy_from_slice(SEGMENT_MAGIC);
        header[8..16].copy_from_slice(&self.log_id.to_le_bytes());
        header[16..24].copy_from_slice(&self.first_index.to_le_bytes());
        header[24..32].copy_from_slice(&self.segment_bytes.to_le_bytes());
        self.marks.encode(&mut header);
        header[40..44].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        header[44..48].copy_from_slice(&HASH_SHA256.to_le_bytes());
        seal_header(&mut header);
        header
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header = open_header(bytes, SEGMENT_MAGIC)?;
        if u32_at(header, 40) != FORMAT_VERSION || u32_at(header, 44) != HASH_SHA256 {
            return None;
        }
        let (first_index, marks) = (u64_at(header, 16), Marks::decode(header)?);
        if marks.closed_below > first_index {
            return None;
        }
        let (log_id, segment_bytes) = (u64_at(header, 8), u64_at(header, 24));
        Some(Self { log_id, first_index, segment_bytes, marks })
    }
}

/// The header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub log_id: u64,
    /// Leaf index of the batch's first entry.
    pub first_index: u64,
    /// Every entry below this index was durable when the batch was written: the durable mark.
    pub durable_entries: u64,
    /// As they were when the batch was written.
    pub marks: Marks,
    pub payload_bytes: u32,
    pub entry_count: u32,
}

impl BatchHeader {
    fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut header = [0; BATCH_HEADER_BYTES];
        header[..8].copy_from_slice(BATCH_MAGIC);
        header[8..16].copy_from_slice(&self.log_id.to_le_bytes());
        header[16..24].copy_from_slice(&self.first_index.to_le_bytes());
        header[24..32].copy_from_slice(&self.durable_entries.to_le_bytes());
        self.marks.encode(&mut header);
        header[40..44].copy_from_slice(&self.payload_bytes.to_le_bytes());
        header[44..48].copy_from_slice(&self.entry_count.to_le_bytes());
        seal_header(&mut header);
        header
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header = open_header(bytes, BATCH_MAGIC)?;
        Some(Self {
            log_id: u64_at(header, 8),
            first_index: u64_at(header, 16),
            durable_entries: u64_at(header, 24),
            marks: Marks::decode(header)?,
            payload_bytes: u32_at(header, 40),
            entry_count: u32_at(header, 44),
        })
    }

    /// Leaf index after the batch's last entry.
    pub fn end(&self) -> u64 {
        self.first_index.saturating_add(u64::from(self.entry_count))
    }

    /// Size of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        let bytes = (BATCH_HEADER_BYTES + CRC_BYTES) as u64 + u64::from(self.payload_bytes);
        bytes.next_multiple_of(ALIGNMENT_BYTES as u64)
    }
}

/// Writes a whole frame into `out`, which is cleared first. `header`'s payload size and count are
/// set here.
pub(crate) fn write_batch<'a>(
    mut header: BatchHeader,
    records: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) -> BatchHeader {
    out.clear();
    out.resize(BATCH_HEADER_BYTES, 0);
    header.entry_count = 0;
    for record in records {
        out.extend_from_slice(record);
        header.entry_count += 1;
    }
    header.payload_bytes = u32::try_from(out.len() - BATCH_HEADER_BYTES)
        .expect("a batch has at most batch_bytes_max bytes, which is checked to be 64 MiB or less");
    let head = header.encode();
    out[..BATCH_HEADER_BYTES].copy_from_slice(&head);
    let crc = payload_crc(&head, &out[BATCH_HEADER_BYTES..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(ALIGNMENT_BYTES), 0);
    header
}

/// Writes the two lengths at the start of a record whose entry has `entry_bytes`.
pub(crate) fn write_record_header(record: &mut [u8], entry_bytes: usize) {
    let sealed_bytes = record.len() - RECORD_HEADER_BYTES - entry_bytes;
    let length = |bytes: usize| {
        u32::try_from(bytes).expect("an entry and its sealed fields have a few KiB").to_le_bytes()
    };
    record[..4].copy_from_slice(&length(entry_bytes));
    record[4..8].copy_from_slice(&length(sealed_bytes));
}

/// A whole batch in a segment's bytes, which it does not borrow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub header: BatchHeader,
    /// Where the frame begins in the segment.
    pub offset: usize,
}

/// A record in a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    pub index: u64,
    /// Where the record begins in the segment.
    pub offset: usize,
    pub entry: &'a [u8],
    pub sealed: &'a [u8],
}

impl Batch {
    /// The records, of which the parser has found the right number. `bytes` are the segment's.
    pub fn records<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = RawRecord<'a>> + use<'a> {
        let start = self.offset + BATCH_HEADER_BYTES;
        let end = start + self.header.payload_bytes as usize;
        let (mut rest, mut index) =
            (bytes.get(start..end).unwrap_or_default(), self.header.first_index);
        std::iter::from_fn(move || {
            let offset = end - rest.len();
            let (entry, sealed) = split_record(&mut rest)?;
            let record = RawRecord { index, offset, entry, sealed };
            index += 1;
            Some(record)
        })
    }
}

/// Damage in a place whose entries were durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage {
    pub offset: usize,
    pub why: &'static str,
}

/// A walk over a segment's batches. Holds no bytes, so that a reader can own them.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    log_id: u64,
    /// Leaf index of the segment's first entry.
    pub first_index: u64,
    /// Where the next frame begins.
    pub offset: usize,
    /// Leaf index of the next entry.
    pub next_index: u64,
    /// Entries known to be durable from outside the segment: the first index of the next segment,
    /// or 0 for the last one.
    durable_elsewhere: u64,
    /// Where the last whole frame begins.
    pub last_frame: Option<usize>,
    /// The latest marks seen.
    pub marks: Marks,
}

impl Walk {
    pub fn new(header: &SegmentHeader, durable_elsewhere: u64) -> Self {
        Self {
            log_id: header.log_id,
            first_index: header.first_index,
            offset: SEGMENT_HEADER_BYTES,
            next_index: header.first_index,
            durable_elsewhere,
            last_frame: None,
            marks: header.marks,
        }
    }

    /// The batch of a frame that is read alone.
    pub fn frame(bytes: &[u8], log_id: u64, next_index: u64) -> Result<Batch, &'static str> {
        let walk = Self {
            log_id,
            first_index: next_index,
            offset: 0,
            next_index,
            durable_elsewhere: 0,
            last_frame: None,
            marks: Marks::default(),
        };
        walk.parse(bytes)
    }

    /// The next whole batch; none at the end of the segment's durable part. What follows the end is
    /// zeros or a torn tail. It is damage if an entry at or after the broken place is known to have
    /// been durable: a later batch, of which only the header need be whole, or the next segment
    /// says so. A walk that met damage stays where it is.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Option<Batch>, Damage> {
        if self.durable_elsewhere != 0 && self.next_index == self.durable_elsewhere {
            return Ok(None);
        }
        match self.parse(bytes) {
            Ok(batch) => {
                let end = batch.header.end();
                if self.durable_elsewhere != 0 && end > self.durable_elsewhere {
                    let why = "the batch overlaps the next segment";
                    return Err(Damage { offset: self.offset, why });
                }
                self.last_frame = Some(self.offset);
                self.next_index = end;
                self.marks = batch.header.marks;
                // A parsed frame lies within the segment.
                self.offset += batch.header.frame_bytes() as usize;
                Ok(Some(batch))
            }
            Err(why) => {
                let durable = self.latest_mark(bytes).max(self.durable_elsewhere);
                if durable > self.next_index {
                    Err(Damage { offset: self.offset, why })
                } else {
                    Ok(None)
                }
            }
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<Batch, &'static str> {
        let rest = bytes.get(self.offset..).unwrap_or_default();
        let header = BatchHeader::decode(rest).ok_or("no whole batch header stands here")?;
        if header.log_id != self.log_id {
            return Err("the batch belongs to another log");
        }
        if header.first_index != self.next_index || header.durable_entries > header.first_index {
            return Err("the batch has the wrong index");
        }
        if header.marks.closed_below > header.end() {
            return Err("the batch closes questions that are still to come");
        }
        let (head, rest) = rest.split_at(BATCH_HEADER_BYTES);
        let payload_bytes = header.payload_bytes as usize;
        let Some((payload, rest)) = rest.split_at_checked(payload_bytes) else {
            return Err("the batch reaches beyond the segment");
        };
        if rest.get(..CRC_BYTES) != Some(&payload_crc(head, payload).to_le_bytes()[..]) {
            return Err("the batch's checksum is wrong");
        }
        let padded = header.frame_bytes() as usize - BATCH_HEADER_BYTES - payload_bytes;
        match rest.get(CRC_BYTES..padded) {
            Some(padding) if padding.iter().all(|byte| *byte == 0) => {}
            Some(_) | None => return Err("the batch is not followed by zeros"),
        }
        let mut records = payload;
        for _ in 0..header.entry_count {
            split_record(&mut records).ok_or("a record reaches beyond its batch")?;
        }
        if !records.is_empty() || header.entry_count == 0 {
            return Err("the batch holds another number of records than it says");
        }
        Ok(Batch { header, offset: self.offset })
    }

    /// The highest durable mark of all whole batch headers after the current place.
    fn latest_mark(&self, bytes: &[u8]) -> u64 {
        let start = self.offset.min(bytes.len());
        let mut latest = 0;
        for (position, word) in bytes[start..].chunks_exact(ALIGNMENT_BYTES).enumerate() {
            if word != BATCH_MAGIC {
                continue;
            }
            let offset = start + position * ALIGNMENT_BYTES;
            if let Some(header) = BatchHeader::decode(&bytes[offset..])
                && header.log_id == self.log_id
            {
                latest = latest.max(header.durable_entries);
            }
        }
        latest
    }
}

/// Length of the part of `bytes` that is not zeros at the end.
pub(crate) fn used_bytes(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

pub(crate) fn split_record<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (header, body) = rest.split_at_checked(RECORD_HEADER_BYTES)?;
    let (entry_bytes, sealed_bytes) = (u32_at(header, 0) as usize, u32_at(header, 4) as usize);
    if entry_bytes > ENTRY_BYTES_MAX || sealed_bytes > SEALED_BYTES_MAX {
        return None;
    }
    let (entry, body) = body.split_at_checked(entry_bytes)?;
    let (sealed, body) = body.split_at_checked(sealed_bytes)?;
    *rest = body;
    Some((entry, sealed))
}

/// The payload of a batch of which everything to the end of its checksum was read; none if that is
/// wrong.
pub(crate) fn whole_payload(batch: &[u8]) -> Option<&[u8]> {
    let (head, rest) = batch.split_at_checked(BATCH_HEADER_BYTES)?;
    let (payload, crc) = rest.split_at_checked(rest.len().checked_sub(CRC_BYTES)?)?;
    (crc == payload_crc(head, payload).to_le_bytes()).then_some(payload)
}

/// The checksum of the payload, begun with the header's, so that the two belong together.
fn payload_crc(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(u32_at(header, BATCH_HEADER_BYTES - CRC_BYTES), payload)
}

fn seal_header(header: &mut [u8; 64]) {
    let crc = crc32c::crc32c(&header[..64 - CRC_BYTES]);
    header[64 - CRC_BYTES..].copy_from_slice(&crc.to_le_bytes());
}

fn open_header<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Option<&'a [u8]> {
    let header = bytes.get(..64)?;
    let whole = header.starts_with(magic)
        && crc32c::crc32c(&header[..64 - CRC_BYTES]) == u32_at(header, 64 - CRC_BYTES);
    whole.then_some(header)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

const SEGMENT_MAGIC: &[u8; 8] = b"JGSEGMNT";
const BATCH_MAGIC: &[u8; 8] = b"JGBATCH\0";
const FORMAT_VERSION: u32 = 1;
const HASH_SHA256: u32 = 1;

#[cfg(test)]
mod tests;
