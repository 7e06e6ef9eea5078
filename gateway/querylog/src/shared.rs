//! What every handle on a log shares: keys, handle table, queue, counters.
//!
//! Owns the making of submissions. No lock in it is held across an `.await`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jumpgate_tlog::{Hash, SignerKey, VerifierKey};

use crate::cipher::Cipher;
use crate::coalesce::Coalesced;
use crate::compose::{Asked, Composed, Composer};
use crate::entry::EntryFault;
use crate::find::Finder;
use crate::handles::{HandleTable, SubjectRow};
use crate::headroom::Headroom;
use crate::options::{LogOptions, NowMs};
use crate::promise::SignedBatch;
use crate::publisher::Publishing;
use crate::queue::{Queue, locked};
use crate::ticket::{AskHeader, Closing, RefusedHeader, SubjectRef};
use crate::watch::Watch;

/// Nothing may be answered: the entry that must be on record first is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogUnavailable {
    /// A write or a sync failed. Final: only a new start, which reads the files again, mends it.
    #[error("the query log has stopped: {reason}")]
    Poisoned {
        /// The operation, the file and the system's error.
        reason: Arc<str>,
    },
    /// The log was closed in order.
    #[error("the query log is closed")]
    Closed,
    /// The disk is nearly full. Questions are taken again once there is room.
    #[error(
        "the query log's file system has {free} bytes free, and {min} are the least; make room"
    )]
    NoHeadroom {
        /// Bytes free.
        free: u64,
        /// The limit.
        min: u64,
    },
    /// The clock is behind the last entry. Questions are taken again once it is not.
    #[error(
        "the clock is {back_ms} ms behind the query log's last entry; set it right, or, if it is \
         right now and was ahead before, start again with --accept-clock"
    )]
    ClockBack {
        /// How far, in milliseconds.
        back_ms: u64,
    },
    /// The entry may not be written: it is larger than `entry_bytes_max`.
    #[error(transparent)]
    Entry(#[from] EntryFault),
    /// The sealed fields are larger than a record may carry.
    #[error("the sealed fields have {bytes} bytes; sealed_bytes_max is {max}")]
    FieldsTooLarge {
        /// Size of the sealed fields.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The handle table is full, and this subject is not in it.
    #[error("the handle table holds handles_max = {max} subjects; raise it and start again")]
    HandlesFull {
        /// The limit.
        max: usize,
    },
    /// The system gave no randomness for salts, nonces or handles.
    #[error("the system's random source failed")]
    NoRandomness,
}

/// The log's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why the log has stopped for good, if it has.
    pub poisoned: Option<Arc<str>>,
    /// Why no question is taken now, though the log has not stopped.
    pub waiting_for: Option<LogUnavailable>,
    /// Entries written: the next leaf index.
    pub entries: u64,
    /// Entries synced: every index below it is durable.
    pub durable_entries: u64,
    /// Entries in the tree that is published.
    pub published_entries: u64,
    /// Entries waiting for the writer.
    pub queue_entries: usize,
    /// Places left in the queue, those owed to open questions not counted as left.
    pub queue_places_free: usize,
    /// Subjects in the handle table.
    pub handles: usize,
    /// Segment files.
    pub segments: u64,
    /// Bytes free on the log's file system.
    pub free_bytes: u64,
    /// True while the ballast holds room back.
    pub has_ballast: bool,
}

impl Health {
    /// In a word: `writing`, `waiting` for files or room that are gone, or `stopped` for good.
    pub fn state(&self) -> &'static str {
        match (&self.poisoned, &self.waiting_for) {
            (Some(_), _) => "stopped",
            (None, Some(_)) => "waiting",
            (None, None) => "writing",
        }
    }
}

/// Counters since the log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Batches written, each with one sync.
    pub batches: u64,
    /// Entries written.
    pub entries: u64,
    /// Bytes written, frames included.
    pub bytes: u64,
    /// Time in write and sync, all batches.
    pub commit_time_sum: Duration,
    /// Time in write and sync, slowest batch.
    pub commit_time_max: Duration,
    /// Entries in the largest batch.
    pub batch_entries_max: u64,
}

/// Counters that the writer moves and anybody reads.
#[derive(Default)]
pub(crate) struct Progress {
    pub entries: AtomicU64,
    pub durable_entries: AtomicU64,
    pub batches: AtomicU64,
    pub entries_written: AtomicU64,
    pub bytes: AtomicU64,
    pub commit_ns_sum: AtomicU64,
    pub commit_ns_max: AtomicU64,
    pub batch_entries_max: AtomicU64,
}

impl Progress {
    /// The counters of a log whose next entry is `entries`.
    pub fn at(entries: u64) -> Self {
        let (written, durable) = (AtomicU64::new(entries), AtomicU64::new(entries));
        Self { entries: written, durable_entries: durable, ..Self::default() }
    }

    pub fn metrics(&self) -> Metrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            batches: load(&self.batches),
            entries: load(&self.entries_written),
            bytes: load(&self.bytes),
            commit_time_sum: Duration::from_nanos(load(&self.commit_ns_sum)),
            commit_time_max: Duration::from_nanos(load(&self.commit_ns_max)),
            batch_entries_max: load(&self.batch_entries_max),
        }
    }

    /// Called by the writer only, after a batch of `entries` is durable.
    pub fn committed(&self, durable: u64, entries: u64, bytes: u64, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.entries_written.fetch_add(entries, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.commit_ns_sum.fetch_add(took_ns, Ordering::Relaxed);
        self.commit_ns_max.fetch_max(took_ns, Ordering::Relaxed);
        self.batch_entries_max.fetch_max(entries, Ordering::Relaxed);
        // Release, so that a reader who sees the index also finds the bytes.
        self.durable_entries.store(durable, Ordering::Release);
    }
}

pub(crate) struct Shared {
    pub cipher: Cipher,
    pub handles: Mutex<HandleTable>,
    pub queue: Queue,
    pub coalesced: Coalesced,
    pub now_ms: NowMs,
    pub progress: Progress,
    pub finder: Finder,
    pub publishing: Publishing,
    /// What the log's checkpoints are checked with.
    pub verifier: VerifierKey,
    /// What signs promises.
    pub promiser: SignerKey,
    pub watch: Watch,
    pub headroom: Headroom,
    /// The latest time in an entry.
    pub latest_ms: AtomicU64,
    pub options: LogOptions,
}

/// How far the clock may be behind the last entry: entries are made side by side, and a clock that
/// is kept right by small steps steps by less.
pub(crate) const CLOCK_BACK_MS_MAX: u64 = 1000;

impl Shared {
    /// The time of a new entry, never more than a moment before that of another; and how far the
    /// clock is behind, if it is.
    fn time_ms(&self) -> (u64, Option<u64>) {
        let now_ms = (self.now_ms)();
        let latest_ms = self.latest_ms.load(Ordering::Relaxed);
        let back_ms = latest_ms.saturating_sub(now_ms);
        if back_ms > CLOCK_BACK_MS_MAX { (latest_ms, Some(back_ms)) } else { (now_ms, None) }
    }

    pub fn composer(&self) -> Composer<'_> {
        let time_ms = self.time_ms().0;
        self.latest_ms.fetch_max(time_ms, Ordering::Relaxed);
        Composer { cipher: &self.cipher, time_ms }
    }

    /// Signs a batch whose entries are, or are about to be, durable.
    pub fn sign(&self, first_index: u64, leaves: Vec<Hash>) -> Arc<SignedBatch> {
        let (origin, time_ms) = (self.verifier.name(), self.time_ms().0);
        Arc::new(SignedBatch::sign(origin, first_index, leaves, time_ms, &self.promiser))
    }

    /// Why no question can be taken now.
    pub fn admit(&self) -> Result<(), LogUnavailable> {
        self.headroom.admit()?;
        match self.time_ms().1 {
            Some(back_ms) => Err(LogUnavailable::ClockBack { back_ms }),
            None => Ok(()),
        }
    }

    pub fn compose_ask(&self, ask: &AskHeader<'_>) -> Result<(Composed, Asked), LogUnavailable> {
        let subject = self.handle_of(&ask.subject)?;
        self.composer().ask(ask, subject)
    }

    pub fn compose_refused(&self, refused: &RefusedHeader<'_>) -> Result<Composed, LogUnavailable> {
        let subject = self.handle_of(&refused.question.subject)?;
        self.composer().refused(refused, subject)
    }

    pub fn compose_closing(
        &self,
        asked: &Asked,
        ask_index: u64,
        closing: &Closing,
    ) -> Result<Composed, LogUnavailable> {
        self.composer().closing(asked, ask_index, closing)
    }

    /// The subject's handle, drawn now if the log meets it for the first time. The row of a new
    /// handle waits in the table; the writer takes the waiting rows after it has taken a batch, and
    /// syncs them first, so that no entry is durable before the row it depends on.
    pub fn handle_of(&self, subject: &SubjectRef<'_>) -> Result<SubjectRow, LogUnavailable> {
        let token = self.cipher.token(subject.kind.as_str(), subject.identifier);
        if let Some(known) = locked(&self.handles).find(&token) {
            return Ok(known);
        }
        let drawn = self.cipher.draw_handle(&token).map_err(|_| LogUnavailable::NoRandomness)?;
        let max = self.options.handles_max;
        locked(&self.handles).insert(&drawn, max).ok_or(LogUnavailable::HandlesFull { max })
    }
}
