//! The log's settings, each with its default, its limit and the reason.

use std::sync::Arc;
use std::time::Duration;

use crate::entry::ENTRY_BYTES_MAX;
use crate::fields::SEALED_BYTES_MAX;
use crate::frame::{BATCH_OVERHEAD_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};

/// The log's clock: Unix time in milliseconds.
pub type NowMs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// When `ask` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskMode {
    /// When the entry is synced: it survives a power cut.
    Durable,
    /// When the entry is written: it survives the process, and a power cut may lose the questions
    /// of the last batch, whose callers got no answer. The next `start` entry says so.
    Written,
}

impl AskMode {
    /// The word in configuration and in a `start` entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Written => "written",
        }
    }
}

/// Settings of a log.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// When `ask` returns. Default: durable.
    pub ask: AskMode,
    /// Size of a new segment file, all of it reserved beforehand. Default 64 MiB: about a minute
    /// at a thousand queries a second, and small enough to be read whole.
    pub segment_bytes: u64,
    /// Entries in one batch. Default 1024: a sync of 0.5 ms then carries two million entries a
    /// second, far above what tasks can make, and waking a batch's waiters stays below 1 ms.
    pub batch_entries_max: usize,
    /// Bytes of records in one batch. Default 1 MiB: what a disk writes in about 1 ms.
    pub batch_bytes_max: usize,
    /// Smallest time from the beginning of one sync to that of the next. A sync costs the processor
    /// 0.05 to 0.1 ms whatever it carries: one a millisecond takes a tenth of a core from a busy
    /// gateway, where one after the other takes half. Default 1 ms; at most 100 ms; 0 for none.
    pub sync_distance: Duration,
    /// Entries queued or owed to open questions; an `ask` takes two places, one of them for its
    /// closing entry. Default 8192: 4096 open questions, at about 1 KiB each.
    pub queue_entries_max: usize,
    /// How often durable entries are taken into the tree and a checkpoint is published. At most
    /// 1 s, which is promised; default 200 ms.
    pub publish_interval: Duration,
    /// Free bytes on the file system below which no question is taken. Default 128 MiB: two
    /// segments, of which one is begun and the next prepared while questions are still open.
    pub headroom_bytes_min: u64,
    /// Size of the ballast, a file that holds room back for the end of a full disk; 0 for a file
    /// without content. Default 64 MiB: a segment.
    pub ballast_bytes: u64,
    /// Subjects in the handle table, about 100 bytes of memory each. Default 4,000,000: a large
    /// prefecture in 400 MB.
    pub handles_max: usize,
    /// Closing entries of the last 24 hours handed back at start, so that a repeated `query_id`
    /// gets its old answer. Default 100,000, the newest; opening one takes about 5 µs.
    pub idempotency_entries_max: usize,
    /// How long coalesced refusals are counted before their entry is written. At most 1 s, since
    /// a reviewer must see a flood while it lasts; default 500 ms.
    pub coalesce_window: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            ask: AskMode::Durable,
            segment_bytes: 64 << 20,
            batch_entries_max: 1024,
            batch_bytes_max: 1 << 20,
            sync_distance: Duration::from_millis(1),
            queue_entries_max: 8192,
            publish_interval: Duration::from_millis(200),
            headroom_bytes_min: 128 << 20,
            ballast_bytes: 64 << 20,
            handles_max: 4_000_000,
            idempotency_entries_max: 100_000,
            coalesce_window: Duration::from_millis(500),
        }
    }
}

/// A setting is outside its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} = {value} is outside {min} to {max}")]
pub struct OptionsFault {
    /// The setting.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// Smallest value.
    pub min: u64,
    /// Largest value.
    pub max: u64,
}

impl LogOptions {
    /// Checks every setting against its limits; the first one outside them is the fault.
    pub fn check(&self) -> Result<(), OptionsFault> {
        let record_bytes_max = (RECORD_HEADER_BYTES + ENTRY_BYTES_MAX + SEALED_BYTES_MAX) as u64;
        let batch_bytes = self.batch_bytes_max as u64;
        let segment_bytes_min = (SEGMENT_HEADER_BYTES + BATCH_OVERHEAD_BYTES) as u64 + batch_bytes;
        let distance_us = u64::try_from(self.sync_distance.as_micros()).unwrap_or(u64::MAX);
        let publish_ms = self.publish_interval.as_millis() as u64;
        let window_ms = self.coalesce_window.as_millis() as u64;
        // Segments and batches are read into memory and their sizes stand in 32 bits.
        let limits = [
            ("batch_bytes_max", batch_bytes, record_bytes_max, 64 << 20),
            ("segment_bytes", self.segment_bytes, segment_bytes_min, 1 << 30),
            ("batch_entries_max", self.batch_entries_max as u64, 1, 65_536),
            ("sync_distance_us", distance_us, 0, 100_000),
            // Two, because an `ask` takes two places at once.
            ("queue_entries_max", self.queue_entries_max as u64, 2, 1 << 20),
            ("publish_interval_ms", publish_ms, 1, 1000),
            // Half of it must hold the segment that a start may have to make.
            ("headroom_bytes_min", self.headroom_bytes_min, 2 * self.segment_bytes, 1 << 50),
            ("ballast_bytes", self.ballast_bytes, 0, 1 << 40),
            ("handles_max", self.handles_max as u64, 1, u64::from(u32::MAX)),
            ("idempotency_entries_max", self.idempotency_entries_max as u64, 0, 10_000_000),
            ("coalesce_window_ms", window_ms, 1, 1000),
        ];
        for (name, value, min, max) in limits {
            if !(min..=max).contains(&value) {
                return Err(OptionsFault { name, value, min, max });
            }
        }
        Ok(())
    }

    /// How many of the records whose sizes these are make the next batch: at least one, and at most
    /// what the two limits allow.
    pub(crate) fn batch_of(&self, sizes: impl Iterator<Item = usize>) -> usize {
        let mut bytes = 0;
        let fits = sizes.take(self.batch_entries_max).take_while(|size| {
            bytes += size;
            bytes <= self.batch_bytes_max
        });
        fits.count().max(1)
    }
}
