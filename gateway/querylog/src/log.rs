//! The log as the path of a query sees it.
//!
//! Owns [`QueryLog`]: making a log, opening it, and the calls of the path. It performs no file IO
//! of its own after opening; the writer thread does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::civil::Date;
use jumpgate_catalogue::{CallerId, Digest, Fault, PredicateId, QueryId, RefusalCode, Verdict};
use jumpgate_tlog::{Hash, VerifierKey};
use tokio::sync::oneshot;

use crate::compose::Composed;
use crate::disk::{Disk, DiskFault, DiskFile};
use crate::entry::{Details, LeafHash};
use crate::fields::FieldsFault;
use crate::find::{LeafFault, LeafInfo};
use crate::keys::Keys;
use crate::kind::Act;
use crate::options::{LogOptions, NowMs, OptionsFault};
use crate::origin::{Origin, OriginFault};
use crate::publisher;
use crate::queue::{Slot, Submission, Waiter, locked};
use crate::receipt::{Receipt, receipt};
use crate::recover;
use crate::segments;
use crate::shared::{Health, LogUnavailable, Metrics, Shared};
use crate::ticket::{AskHeader, AskTicket, Closing, Recorded, RefusedHeader, SubjectRef};
use crate::tree::{Published, Tree, TreeFault, published_file};
use crate::watch;
use crate::writer::Writer;

/// A log open for writing. Cheap to clone; the last clone's drop ends the writer thread without a
/// `stop` entry, as the process's end would. [`QueryLog::close`] ends it in order.
#[derive(Clone)]
pub struct QueryLog {
    shared: Arc<Shared>,
    _threads: Arc<Threads>,
}

/// What opening found and did.
#[derive(Debug)]
pub struct Opened {
    /// Closing entries of the last 24 hours, newest first, up to `idempotency_entries_max`.
    pub outcomes: Vec<PastOutcome>,
    /// Open questions that got their `abandoned` entry now.
    pub asks_abandoned: u64,
    /// Entries in the log, those written by opening included.
    pub entries: u64,
    /// Subjects in the handle table.
    pub handles: u64,
    /// Bytes of a torn tail that were zeroed: a batch that no answer depended on.
    pub torn_bytes: u64,
    /// True if the log was not closed in order before.
    pub interrupted: bool,
}

/// An earlier outcome, for the answer to a repeated `query_id`.
#[derive(Debug, Clone)]
pub struct PastOutcome {
    /// The question's own id.
    pub query_id: QueryId,
    /// Who asked; a `query_id` is bound to its caller.
    pub caller: CallerId,
    /// What was asked.
    pub predicate: PredicateId,
    /// Keyed digest of the request's body; a `query_id` is bound to it.
    pub request_token: [u8; 32],
    /// How the question ended.
    pub closing: PastClosing,
    /// The closing entry.
    pub recorded: Recorded,
}

/// What a caller was told, as far as a repeat needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastClosing {
    /// A verdict.
    Answer {
        /// What crossed to the caller.
        verdict: Verdict,
        /// The civil date the answer is about.
        as_of: Date,
        /// First date on which the same question can get another answer.
        next_as_of: Option<Date>,
    },
    /// A fault.
    Failed {
        /// What broke, and whether a repeat was safe.
        fault: Fault,
    },
}

/// What the `start` entry says about the gateway that opened the log.
#[derive(Debug, Clone)]
pub struct StartDetails {
    /// The software's version.
    pub version: String,
    /// Digest of the configuration file.
    pub config: Digest,
    /// Digest of the catalogue.
    pub catalogue: Digest,
    /// Digest of the policy.
    pub policy: Digest,
    /// Digest of the engine's configuration.
    pub engine: Digest,
    /// True if the log goes on although its last entry is later than the clock: somebody says that
    /// the clock was ahead then and is right now.
    pub accept_clock: bool,
}

/// A log cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InitFault {
    /// A setting is outside its limits.
    #[error(transparent)]
    Options(#[from] OptionsFault),
    /// The origin's text breaks its rule.
    #[error(
        "an origin is 1 to 255 bytes of printable ASCII without spaces and '+', such as \
         gateway.example.gov/log"
    )]
    Origin,
    /// There is something already.
    #[error("{0} is not empty; a log is made once, in a folder of its own", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There was a log here.
    #[error(
        "{} holds what was saved of the log that was here: move it back to its place and name \
         without .saved, with the other files of that log; or, to begin another log, move it away",
        path.display()
    )]
    Saved {
        /// What was saved.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The system gave no randomness for the log's id.
    #[error("the system's random source failed")]
    NoRandomness,
}

/// A log cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// A setting is outside its limits.
    #[error(transparent)]
    Options(#[from] OptionsFault),
    /// There is no log.
    #[error("{} holds no log; run `jumpgate log init` once to make it", path.display())]
    NotInitialised {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes this log.
    #[error(
        "{} is locked: another process writes this log; stop it, or send the command to it",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The origin file is not this log's.
    #[error(transparent)]
    Origin(#[from] OriginFault),
    /// A file below the durable mark is not what was written.
    #[error(
        "{} is damaged at byte {offset}: {why}; entries that were durable are affected, so nothing \
         was changed: restore this file from a mirror or a backup",
        file.display()
    )]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// What was saved when a file was lost is not in its place.
    #[error(
        "{} holds what was saved when files of the log were removed or replaced: move it back to \
         its place and name without .saved, keep what stands there now elsewhere, and start again",
        path.display()
    )]
    Saved {
        /// What was saved.
        path: PathBuf,
    },
    /// The clock is behind the last entry.
    #[error(
        "the clock is {back_ms} ms behind the last entry in {}; set it right, or, if it is right \
         now and was ahead before, start once with --accept-clock",
        segment.display()
    )]
    ClockBack {
        /// The segment with that entry.
        segment: PathBuf,
        /// How far, in milliseconds.
        back_ms: u64,
    },
    /// The tree cannot be continued.
    #[error(transparent)]
    Tree(#[from] TreeFault),
    /// The table holds more subjects than it may.
    #[error("the handle table holds {handles} subjects; raise handles_max = {max}")]
    HandlesFull {
        /// Subjects in the table.
        handles: u64,
        /// The limit.
        max: usize,
    },
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The first entries could not be made.
    #[error("the start entry cannot be made")]
    Start(#[source] LogUnavailable),
    /// The writer thread could not be started.
    #[error("the writer thread cannot be started")]
    Thread(#[source] std::io::Error),
}

impl QueryLog {
    /// Makes an empty log in `dir`, which must be absent or empty, and binds it to `keys`. `origin`
    /// is the log's public name in checkpoints (C2SP tlog-checkpoint). An interrupted `init` leaves
    /// a folder that `open` refuses and that may be removed.
    pub fn init(
        dir: &Path,
        origin: &str,
        keys: &Keys,
        options: &LogOptions,
        now_ms: u64,
    ) -> Result<(), InitFault> {
        Self::init_on(&Disk::default(), dir, origin, keys, options, now_ms)
    }

    pub(crate) fn init_on(
        disk: &Disk,
        dir: &Path,
        origin: &str,
        keys: &Keys,
        options: &LogOptions,
        now_ms: u64,
    ) -> Result<(), InitFault> {
        options.check()?;
        let origin = Origin::new(origin, keys, now_ms)?;
        if let Some(path) = watch::saved_beside(disk, dir)? {
            return Err(InitFault::Saved { path });
        }
        let made = disk.create_dir(dir)?;
        if !disk.list(dir)?.is_empty() {
            return Err(InitFault::NotEmpty { path: dir.to_owned() });
        }
        segments::create_first(disk, dir, origin.log_id, options.segment_bytes)?;
        crate::handles::create(disk, dir, origin.log_id)?;
        let signer = keys.signer(&origin.name).map_err(|_| InitFault::Origin)?;
        Tree::create(disk, dir, signer)?;
        disk.create_new(&dir.join(LOCK_FILE))?.sync_all()?;
        disk.sync_dir(dir)?;
        // The origin comes last, after every other name is durable: a folder that holds one is a
        // whole log.
        origin.write(disk, dir)?;
        made.iter().try_for_each(|folder| disk.sync_dir(folder))?;
        Ok(())
    }

    /// What the checkpoints and receipts of the log in `dir` are checked with, and its promises.
    pub fn verifier_keys(dir: &Path) -> Result<(VerifierKey, VerifierKey), OpenFault> {
        let origin = origin_of(&Disk::default(), dir)?;
        Ok((origin.verifier, origin.promise))
    }

    /// Opens the log in `dir` for writing: takes the lock, recovers, closes every question that
    /// was left open and writes `start`, all durable before it returns. Blocks on files; a day's
    /// entries are read at most. Never makes a log.
    pub fn open(
        dir: &Path,
        keys: &Keys,
        options: LogOptions,
        start: StartDetails,
        now_ms: NowMs,
    ) -> Result<(Self, Opened), OpenFault> {
        Self::open_on(Disk::default(), dir, keys, options, start, now_ms)
    }

    pub(crate) fn open_on(
        disk: Disk,
        dir: &Path,
        keys: &Keys,
        options: LogOptions,
        start: StartDetails,
        now_ms: NowMs,
    ) -> Result<(Self, Opened), OpenFault> {
        options.check()?;
        let (origin, lock) = claim(&disk, dir)?;
        origin.check_keys(keys, dir)?;
        let recovery = recover::Recovery { disk, dir, keys, options, now_ms, origin };
        let (shared, store, tree, opened) = recovery.run(&start)?;
        let shared = Arc::new(shared);
        let own = || Arc::clone(&shared);
        let mut threads = Threads { shared: own(), writer: None, tree: None, _lock: lock };
        let spawned = publisher::spawn(own(), tree).map_err(OpenFault::Thread)?;
        threads.tree = Some(spawned);
        let spawned = Writer::spawn(own(), store).map_err(OpenFault::Thread)?;
        threads.writer = Some(spawned);
        tracing::info!(
            entries = opened.entries,
            asks_abandoned = opened.asks_abandoned,
            torn_bytes = opened.torn_bytes,
            "query log open"
        );
        Ok((Self { shared, _threads: Arc::new(threads) }, opened))
    }

    /// Puts a question on record. It returns when the entry is durable, or only written if the
    /// log's options say so; before that the department must not be touched. Waits while the queue
    /// is full. Cancelled after the entry was submitted, the question is recorded as failed.
    pub async fn ask(&self, ask: AskHeader<'_>) -> Result<AskTicket, LogUnavailable> {
        self.shared.admit()?;
        let mut slots = self.shared.queue.reserve(2).await?;
        let (composed, asked) = self.shared.compose_ask(&ask)?;
        let (sender, receiver) = oneshot::channel();
        // The place of the closing entry is taken now, so that closing never waits.
        let closing_slot = slots.split_one();
        let shared = Arc::clone(&self.shared);
        let waiter = Waiter::Ask { sender, asked: Box::new(asked), closing_slot, shared };
        self.shared.queue.push(Submission::new(composed, waiter, Some(slots)))?;
        self.outcome(receiver).await
    }

    /// Closes a question: exactly one closing entry, durable when this returns. Once polled, the
    /// entry is written even if the future is dropped.
    pub async fn conclude(
        &self,
        mut ticket: AskTicket,
        closing: Closing,
    ) -> Result<Recorded, LogUnavailable> {
        let (sender, receiver) = oneshot::channel();
        ticket.close(&closing, Waiter::Entry(sender))?;
        self.outcome(receiver).await
    }

    /// Puts a refused question on record, durable when this returns.
    pub async fn refuse(&self, refused: RefusedHeader<'_>) -> Result<Recorded, LogUnavailable> {
        self.shared.admit()?;
        let slot = self.shared.queue.reserve(1).await?;
        let composed = self.shared.compose_refused(&refused)?;
        self.record(composed, slot).await
    }

    /// Counts a refusal that gets no entry of its own; see [`RefusalCode::is_coalesced`]. The count
    /// is written within a second. Never waits and takes bounded memory: beyond 1024 pairs of
    /// caller and code in one window, callers are counted together as [`crate::OTHER_CALLERS`].
    pub fn coalesce(&self, caller: Option<&CallerId>, code: RefusalCode) {
        self.shared.coalesced.count(caller, code);
    }

    /// Puts an administrative act on record, durable when this returns.
    pub async fn act(&self, act: Act, details: &Details<'_>) -> Result<Recorded, LogUnavailable> {
        self.act_by(act, details, None).await
    }

    /// Puts an act on record, durable when this returns, with the names of the people whose act it
    /// is in a sealed field: a detail may name no person.
    pub async fn act_by(
        &self,
        act: Act,
        details: &Details<'_>,
        by: Option<&str>,
    ) -> Result<Recorded, LogUnavailable> {
        let slot = self.shared.queue.reserve(1).await?;
        let composed = self.shared.composer().act(act, details, by)?;
        self.record(composed, slot).await
    }

    /// The same about a subject, whose handle is sealed with it.
    pub async fn act_about(
        &self,
        act: Act,
        details: &Details<'_>,
        by: &str,
        subject: &SubjectRef<'_>,
    ) -> Result<Recorded, LogUnavailable> {
        let slot = self.shared.queue.reserve(1).await?;
        let row = self.shared.handle_of(subject)?;
        let composed = self.shared.composer().act_about(act, details, by, &row)?;
        self.record(composed, slot).await
    }

    /// Keyed digest of a request's body (HMAC-SHA256), which binds a `query_id` to what was asked
    /// under it without keeping the body.
    pub fn request_token(&self, caller: &CallerId, body: &[u8]) -> [u8; 32] {
        self.shared.cipher.request_token(caller.as_str(), body)
    }

    /// The durable entry at `index`, or none if there is none yet. Reads files, so an async caller
    /// runs it on a blocking thread.
    pub fn leaf(&self, index: u64) -> Result<Option<LeafInfo>, LeafFault> {
        let durable =
            self.shared.progress.durable_entries.load(std::sync::atomic::Ordering::Acquire);
        if index >= durable { Ok(None) } else { self.shared.finder.leaf(index).map(Some) }
    }

    /// A promise of an entry that the log has recorded, signed now: for answers that are given
    /// again. `index` and `leaf_hash` must be those of a [`Recorded`]. Fails once the log has
    /// stopped: it may have lost what it would promise.
    pub fn promise(&self, index: u64, leaf_hash: &LeafHash) -> Result<String, LogUnavailable> {
        self.still_writes()?;
        Ok(self.shared.sign(index, vec![Hash(*leaf_hash)]).promise(index))
    }

    /// Fails once the log has stopped, or is closed.
    pub fn still_writes(&self) -> Result<(), LogUnavailable> {
        self.shared.queue.check()
    }

    /// As [`Self::receipt`], after waiting until the published tree holds the entry; none if it
    /// does not within `patience`.
    ///
    /// # Errors
    /// As [`Self::receipt`].
    pub async fn receipt_when_published(
        &self,
        index: u64,
        patience: Duration,
    ) -> Result<Option<String>, LeafFault> {
        let published = tokio::time::timeout(patience, self.published(index)).await;
        if !matches!(published, Ok(Ok(_))) {
            return Ok(None);
        }
        let log = self.clone();
        let found = tokio::task::spawn_blocking(move || log.receipt(index)).await;
        match found {
            Ok(Ok(Receipt::Proven(text))) => Ok(Some(text)),
            Ok(Ok(Receipt::NotYet | Receipt::Erased)) => Ok(None),
            Ok(Err(fault)) => Err(fault),
            // It panicked, or the process ends.
            Err(_) => Ok(None),
        }
    }

    /// The receipt of the entry at `index`. Reads files, so an async caller runs it on a blocking
    /// thread.
    ///
    /// # Errors
    /// A file that it is made of is lost or damaged, or cannot be read.
    pub fn receipt(&self, index: u64) -> Result<Receipt, LeafFault> {
        let shared = &self.shared;
        if index >= shared.publishing.published().borrow().size {
            return Ok(Receipt::NotYet);
        }
        let (entry, sealed) = shared.finder.record(index)?;
        let mut fields = None;
        if !sealed.is_empty() {
            let leaf_hash = crate::entry::leaf_hash(&entry);
            let table = locked(&shared.handles);
            let opened = shared.cipher.open(&sealed, &leaf_hash, |row| table.handle(row));
            match opened {
                Ok((opened, _)) => fields = Some(opened),
                Err(FieldsFault::Erased) => return Ok(Receipt::Erased),
                Err(source) => return Err(LeafFault::Fields { index, source }),
            }
        }
        let (disk, dir) = shared.finder.place();
        let made = receipt(disk, dir, &shared.verifier, index, &entry, fields.as_ref())?;
        Ok(Receipt::Proven(made))
    }

    /// A file of the published tree by its path in C2SP tlog-tiles, `checkpoint` or `tile/…`; none
    /// if there is no such path, the tree is smaller, or a partial tile is gone. Reads files, so an
    /// async caller runs it on a blocking thread.
    ///
    /// # Errors
    /// The file is lost, or cannot be read.
    pub fn published_file(&self, path: &str) -> Result<Option<(Published, Vec<u8>)>, LeafFault> {
        let (disk, dir) = self.shared.finder.place();
        // Read before the file: what is of this size was there before.
        let size = self.shared.publishing.published().borrow().size;
        published_file(disk, dir, path, size)
    }

    /// The log's state.
    pub fn health(&self) -> Health {
        let (queue_entries, queue_places_free, poisoned) = self.shared.queue.state();
        let load = |counter: &std::sync::atomic::AtomicU64| {
            counter.load(std::sync::atomic::Ordering::Acquire)
        };
        Health {
            waiting_for: self.shared.admit().err(),
            poisoned,
            entries: load(&self.shared.progress.entries),
            durable_entries: load(&self.shared.progress.durable_entries),
            published_entries: self.shared.publishing.published().borrow().size,
            queue_entries,
            queue_places_free,
            handles: locked(&self.shared.handles).len(),
            segments: self.shared.finder.firsts().len() as u64,
            free_bytes: self.shared.headroom.free_bytes(),
            has_ballast: self.shared.headroom.has_ballast(),
        }
    }

    /// Counters since opening.
    pub fn metrics(&self) -> Metrics {
        self.shared.progress.metrics()
    }

    /// Waits until every open question is closed and every entry durable, then writes `stop` and
    /// ends the writer. Later calls on other clones get [`LogUnavailable::Closed`]. The caller
    /// bounds the wait; if it gives up, the next start writes `abandoned` for what was open.
    pub async fn close(self) -> Result<Recorded, LogUnavailable> {
        let slots = self.shared.queue.reserve_all().await?;
        let composed = self.shared.composer().stop()?;
        let (sender, receiver) = oneshot::channel();
        let last = Submission::new(composed, Waiter::Entry(sender), Some(slots));
        self.shared.queue.push_last(last)?;
        let recorded = self.outcome(receiver).await?;
        self.published(recorded.index()).await?;
        Ok(recorded)
    }

    /// Waits until the entry at `index` is in the published tree.
    async fn published(&self, index: u64) -> Result<(), LogUnavailable> {
        let mut published = self.shared.publishing.published();
        self.shared.publishing.hurry();
        let reached = published.wait_for(|it| it.size > index || it.has_failed).await;
        match reached {
            Ok(reached) if reached.size > index => Ok(()),
            Ok(_) | Err(_) => Err(self.shared.queue.why_unavailable()),
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn record(&self, composed: Composed, slot: Slot) -> Result<Recorded, LogUnavailable> {
        let (sender, receiver) = oneshot::channel();
        self.shared.queue.push(Submission::new(composed, Waiter::Entry(sender), Some(slot)))?;
        self.outcome(receiver).await
    }

    async fn outcome<T>(
        &self,
        receiver: oneshot::Receiver<Result<T, LogUnavailable>>,
    ) -> Result<T, LogUnavailable> {
        // The writer answers every submission; a lost sender means that it is gone.
        receiver.await.unwrap_or_else(|_| Err(self.shared.queue.why_unavailable()))
    }
}

impl fmt::Debug for QueryLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("QueryLog").field("health", &self.health()).finish_non_exhaustive()
    }
}

fn origin_of(disk: &Disk, dir: &Path) -> Result<Origin, OpenFault> {
    match Origin::read(disk, dir)? {
        Some(origin) => Ok(origin),
        None => Err(match watch::saved_beside(disk, dir)? {
            // There was one: nobody should make another in its place.
            Some(path) => OpenFault::Saved { path },
            None => OpenFault::NotInitialised { path: dir.to_owned() },
        }),
    }
}

/// The log in `dir` for whoever is to change it: its origin, and the lock, held until it is
/// dropped. Refuses while what was saved of a lost file is not back in its place.
pub(crate) fn claim(disk: &Disk, dir: &Path) -> Result<(Origin, DiskFile), OpenFault> {
    let origin = origin_of(disk, dir)?;
    let path = dir.join(LOCK_FILE);
    let lock = disk.lock(&path)?.ok_or(OpenFault::Locked { path })?;
    match watch::saved(disk, dir)? {
        Some(path) => Err(OpenFault::Saved { path }),
        None => Ok((origin, lock)),
    }
}

pub(crate) const LOCK_FILE: &str = "lock";

/// Ends and joins the threads when the last handle is gone, so that the lock is free afterwards.
struct Threads {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    tree: Option<JoinHandle<()>>,
    /// Held while the log may be written.
    _lock: DiskFile,
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The threads catch their own panics; there is nothing to learn from their results.
        let join = |thread: &mut Option<JoinHandle<()>>| thread.take().map(JoinHandle::join);
        self.shared.watch.end();
        self.shared.queue.close();
        drop(join(&mut self.writer));
        // What the writer has made durable goes into the tree.
        self.shared.publishing.end();
        drop(join(&mut self.tree));
    }
}
