//! From files to a log that may be written: find the end, mend the tail, close what is open.
//!
//! Owns the rules of `spec/query-log.md` §Recovery. Reading is what `verify` and `Reader` use;
//! writing is what the writer thread uses. A fault before the tail is mended has changed nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use jumpgate_catalogue::{Fault, FaultCode};
use jumpgate_tlog::SignerKey;

use crate::cipher::Cipher;
use crate::coalesce::Coalesced;
use crate::compose::{Composed, Composer, StartFacts};
use crate::disk::{Disk, DiskFile};
use crate::entry::{Entry, leaf_hash};
use crate::fields::{FieldId, Fields};
use crate::find::Finder;
use crate::frame::{RawRecord, Walk, used_bytes};
use crate::handles::{self, HANDLES_FILE, HandleTable};
use crate::headroom::Headroom;
use crate::keys::Keys;
use crate::kind::Kind;
use crate::log::{LOCK_FILE, OpenFault, Opened, PastClosing, PastOutcome, StartDetails};
use crate::options::{AskMode, LogOptions, NowMs};
use crate::origin::{ORIGIN_FILE, Origin};
use crate::publisher::Publishing;
use crate::queue::Queue;
use crate::segments::{self, Loaded, SegmentFault};
use crate::shared::{CLOCK_BACK_MS_MAX, Progress, Shared};
use crate::snapshot;
use crate::store::Store;
use crate::ticket::Recorded;
use crate::tree::{State, Tree, TreeFault};
use crate::watch::{Watch, WatchedFiles};

/// How far back outcomes are handed to the server: as long as a `query_id` is kept.
const OUTCOMES_MS: u64 = 24 * 60 * 60 * 1000;

pub(crate) struct Recovery<'a> {
    pub disk: Disk,
    pub dir: &'a Path,
    pub keys: &'a Keys,
    pub options: LogOptions,
    pub now_ms: NowMs,
    pub origin: Origin,
}

/// What the entries since the oldest open question and of the last day say.
#[derive(Default)]
struct History {
    /// Open questions, by their index: the encoded `ask`.
    open: BTreeMap<u64, Vec<u8>>,
    /// Asks closed by an entry already seen whose `ask` is still to come, further back.
    closed: HashSet<u64>,
    outcomes: Vec<PastOutcome>,
    /// The kind of the very last entry.
    last_kind: Option<Kind>,
    /// The latest time in the entries that were read, the last segment's among them, from the last
    /// start on that was told that the clock is right.
    latest_ms: u64,
    /// True once that start was met.
    is_accepted: bool,
}

/// What a start has read.
struct Found {
    firsts: Vec<u64>,
    tail: Tail,
    cipher: Cipher,
    handles_bytes: Vec<u8>,
    table: HandleTable,
    history: History,
    tree: Tree,
    clock: Clock,
}

/// The clock at the start, and how far it is behind the last entry, if it is too far.
struct Clock {
    now_ms: u64,
    back_ms: Option<u64>,
}

/// The end of the log and the bytes around it.
struct Tail {
    segment: Loaded,
    walk: Walk,
}

impl From<SegmentFault> for OpenFault {
    fn from(fault: SegmentFault) -> Self {
        match fault {
            SegmentFault::Disk(fault) => Self::Disk(fault),
            SegmentFault::Damaged { file, offset, why } => Self::Corrupt { file, offset, why },
        }
    }
}

impl<'a> Recovery<'a> {
    /// Of a log that is checked or changed and not opened: it gets no entry and needs no clock.
    pub fn offline(disk: &Disk, dir: &'a Path, keys: &'a Keys, origin: Origin) -> Self {
        let (options, now_ms) = (LogOptions::default(), Arc::new(|| 0));
        Self { disk: disk.clone(), dir, keys, options, now_ms, origin }
    }

    /// Reads, mends, closes open questions, writes `start`.
    pub fn run(self, start: &StartDetails) -> Result<(Shared, Store, Tree, Opened), OpenFault> {
        let found = self.read(start)?;
        snapshot::remove_draft(&self.disk, self.dir)?;
        let headroom = Headroom::open(self.disk.clone(), self.dir, &self.options)?;

        // From here on files are changed, and only above the durable mark.
        let handles_file = self.cut_handles(&found.handles_bytes, &found.tail)?;
        let (segment, torn_bytes) = self.mend(&found.tail)?;
        let Found { firsts, tail, cipher, table, history, mut tree, clock, .. } = found;
        let open = history.open.keys().copied().collect();
        let mut store = self.store(&tail, Arc::new(segment), Arc::new(handles_file), open);
        drop(tail);
        store.prepare_ahead();

        tree.resume()?;
        let log_id = self.origin.log_id;
        let finder = Finder::new(self.disk.clone(), self.dir.to_owned(), log_id, firsts);
        let facts = self.facts(&history, &clock, torn_bytes, store.asks_written);
        let composer = Composer { cipher: &cipher, time_ms: clock.now_ms };
        let mut records = Vec::with_capacity(history.open.len() + 1);
        for (index, bytes) in &history.open {
            let ask = Entry::decode(bytes).map_err(|fault| OpenFault::Start(fault.into()))?;
            records.push(composer.abandoned(ask, *index).map_err(OpenFault::Start)?);
        }
        records.push(composer.start(start, &facts, &self.origin).map_err(OpenFault::Start)?);
        self.write_first(&mut store, &records)?;
        finder.add(&mut store.begun);

        let opened = Opened {
            outcomes: history.outcomes,
            asks_abandoned: facts.asks_abandoned,
            entries: store.next_index,
            handles: table.len() as u64,
            torn_bytes,
            interrupted: facts.previous == INTERRUPTED,
        };
        let shared = Shared {
            cipher,
            handles: Mutex::new(table),
            queue: Queue::new(self.options.queue_entries_max),
            coalesced: Coalesced::default(),
            progress: Progress::at(store.next_index),
            finder,
            publishing: Publishing::new(tree.size()),
            promiser: self.promiser()?,
            watch: self.watch(&store)?,
            headroom,
            latest_ms: AtomicU64::new(clock.now_ms),
            now_ms: self.now_ms,
            verifier: self.origin.verifier,
            options: self.options,
        };
        Ok((shared, store, tree, opened))
    }

    /// Reads everything that a start depends on, and changes nothing.
    fn read(&self, start: &StartDetails) -> Result<Found, OpenFault> {
        let firsts = segments::list(&self.disk, self.dir)?;
        let tail = self.find_tail(&firsts)?;
        let cipher = Cipher::new(self.keys);
        let handles_bytes = self.disk.open_read(&self.dir.join(HANDLES_FILE))?;
        let handles_bytes = handles_bytes.read_all(u64::MAX)?;
        let table = self.load_handles(&handles_bytes, &tail, &cipher)?;
        let history = self.read_history(&firsts, &tail, &cipher, &table)?;
        let tree = self.signed(&tail)?;
        let now_ms = (self.now_ms)();
        let back_ms = history.latest_ms.saturating_sub(now_ms);
        let back_ms = (back_ms > CLOCK_BACK_MS_MAX).then_some(back_ms);
        if let Some(back_ms) = back_ms.filter(|_| !start.accept_clock) {
            return Err(OpenFault::ClockBack { segment: tail.segment.path, back_ms });
        }
        let clock = Clock { now_ms, back_ms };
        Ok(Found { firsts, tail, cipher, handles_bytes, table, history, tree, clock })
    }

    /// What `start` says of the run before.
    fn facts(
        &self,
        history: &History,
        clock: &Clock,
        torn_bytes: u64,
        asks_written: bool,
    ) -> StartFacts {
        let previous = match history.last_kind {
            None => "none",
            Some(Kind::Stop) => "stopped",
            Some(_) => INTERRUPTED,
        };
        StartFacts {
            asks_abandoned: history.open.len() as u64,
            torn_bytes,
            ask: self.options.ask,
            previous,
            asks_lost_possible: previous == INTERRUPTED && asks_written,
            clock_back_ms: clock.back_ms,
        }
    }

    /// Zeroes the rows that no durable batch counts, and what is left of erased ones.
    fn cut_handles(&self, bytes: &[u8], tail: &Tail) -> Result<DiskFile, OpenFault> {
        let file = self.disk.open_write(&self.dir.join(HANDLES_FILE))?;
        handles::cut(&file, bytes, tail.walk.marks.handle_rows)?;
        handles::finish_erasures(&file, bytes, tail.walk.marks.handle_rows)?;
        Ok(file)
    }

    fn watch(&self, store: &Store) -> Result<Watch, OpenFault> {
        let watched = WatchedFiles {
            segment: Arc::clone(&store.segment),
            handles: Arc::clone(&store.handles),
            origin: self.disk.open_read(&self.dir.join(ORIGIN_FILE))?,
            lock: self.disk.open_read(&self.dir.join(LOCK_FILE))?,
        };
        let watch = Watch::new(self.disk.clone(), self.dir, watched)?;
        watch.handles_grown(store.handle_rows);
        Ok(watch)
    }

    /// Checks that the entries are those that were signed last. Changes nothing.
    pub fn check_signed(&self) -> Result<(), OpenFault> {
        let firsts = segments::list(&self.disk, self.dir)?;
        let tail = self.find_tail(&firsts)?;
        self.signed(&tail).map(drop)
    }

    /// Mends what a start mends, and writes no entry.
    pub fn mend_files(self) -> Result<(), OpenFault> {
        let firsts = segments::list(&self.disk, self.dir)?;
        let tail = self.find_tail(&firsts)?;
        let handles_bytes = self.disk.open_read(&self.dir.join(HANDLES_FILE))?;
        let handles_bytes = handles_bytes.read_all(u64::MAX)?;
        let mut tree = self.signed(&tail)?;
        self.cut_handles(&handles_bytes, &tail)?;
        self.mend(&tail)?;
        Ok(tree.resume()?)
    }

    /// The tree as it was signed last, whose entries must all be there and give its root.
    fn signed(&self, tail: &Tail) -> Result<Tree, OpenFault> {
        let Origin { name, log_id, verifier, .. } = &self.origin;
        let state = State::read(&self.disk, self.dir, verifier)?;
        state.check_published(&self.disk, self.dir, verifier)?;
        state.check_entries(self.dir, tail.walk.next_index)?;
        let other_key = || TreeFault::Key { path: self.dir.join("origin") };
        let signer = self.keys.signer(name).map_err(|_| other_key())?;
        if signer.verifier() != verifier {
            return Err(other_key().into());
        }
        let former = self.keys.former_signer(name).map_err(|_| other_key())?;
        let signers = [signer].into_iter().chain(former).collect();
        Ok(Tree::prove(&self.disk, self.dir, *log_id, signers, &state)?)
    }

    fn promiser(&self) -> Result<SignerKey, OpenFault> {
        let promiser = self.keys.promiser(&self.origin.name);
        // Its check value was compared: it is the key that made the origin's line.
        promiser.map_err(|_| TreeFault::Key { path: self.dir.join(ORIGIN_FILE) }.into())
    }

    /// Walks the last segment to its end.
    fn find_tail(&self, firsts: &[u64]) -> Result<Tail, OpenFault> {
        let last = firsts.last().copied().unwrap_or(0);
        let segment = segments::load(&self.disk, self.dir, self.origin.log_id, last)?;
        let mut walk = Walk::new(&segment.header, 0);
        while walk.step(&segment.bytes).map_err(|damage| damage.in_file(&segment))?.is_some() {}
        Ok(Tail { segment, walk })
    }

    fn load_handles(
        &self,
        bytes: &[u8],
        tail: &Tail,
        cipher: &Cipher,
    ) -> Result<HandleTable, OpenFault> {
        let rows = tail.walk.marks.handle_rows;
        let max = self.options.handles_max;
        if rows > max as u64 {
            return Err(OpenFault::HandlesFull { handles: rows, max });
        }
        HandleTable::load(bytes, self.origin.log_id, rows, cipher).map_err(|damage| {
            OpenFault::Corrupt {
                file: self.dir.join(HANDLES_FILE),
                offset: damage.offset,
                why: damage.why.to_owned(),
            }
        })
    }

    /// Goes back segment by segment until every open question was met and the outcomes are
    /// complete.
    fn read_history(
        &self,
        firsts: &[u64],
        tail: &Tail,
        cipher: &Cipher,
        table: &HandleTable,
    ) -> Result<History, OpenFault> {
        let mut history = History::default();
        let since_ms = (self.now_ms)().saturating_sub(OUTCOMES_MS);
        let closed_below = tail.walk.marks.closed_below;
        let mut durable_elsewhere = 0;
        for first in firsts.iter().rev() {
            let older;
            let segment = if *first == tail.segment.header.first_index {
                &tail.segment
            } else {
                older = segments::load(&self.disk, self.dir, self.origin.log_id, *first)?;
                &older
            };
            let max = self.options.idempotency_entries_max;
            let past = PastReader { cipher, table, since_ms, max, closed_below };
            let reaches_back = history.read_segment(segment, durable_elsewhere, &past)?;
            durable_elsewhere = *first;
            if *first <= closed_below && history.last_kind.is_some() && !reaches_back {
                break;
            }
        }
        Ok(history)
    }

    /// Zeroes a torn tail and writes the last whole frame again. After a failed sync the page cache
    /// may show a frame that the disk does not hold; written again and synced, it is what it seems.
    fn mend(&self, tail: &Tail) -> Result<(DiskFile, u64), OpenFault> {
        let bytes = &tail.segment.bytes;
        let file = self.disk.open_write(&tail.segment.path)?;
        let torn = used_bytes(bytes).saturating_sub(tail.walk.offset) as u64;
        if torn > 0 {
            let from = tail.walk.offset as u64;
            file.fill_with_zeros(from, from + torn)?;
        }
        if let Some(frame) = tail.walk.last_frame {
            file.write_at(&bytes[frame..tail.walk.offset], frame as u64)?;
        }
        file.sync_all()?;
        Ok((file, torn))
    }

    fn store(
        &self,
        tail: &Tail,
        segment: Arc<DiskFile>,
        handles: Arc<DiskFile>,
        open: BTreeSet<u64>,
    ) -> Store {
        Store {
            disk: self.disk.clone(),
            dir: self.dir.to_owned(),
            log_id: self.origin.log_id,
            segment_bytes_new: self.options.segment_bytes,
            segment,
            segment_bytes: tail.segment.header.segment_bytes,
            offset: tail.walk.offset as u64,
            next_index: tail.walk.next_index,
            durable_entries: tail.walk.next_index,
            handles,
            handle_rows: tail.walk.marks.handle_rows,
            open,
            asks_written: tail.walk.marks.asks_written,
            asks_written_last: tail.walk.marks.asks_written,
            prepared: None,
            frame: Vec::new(),
            begun: Vec::new(),
        }
    }

    fn write_first(&self, store: &mut Store, records: &[Composed]) -> Result<(), OpenFault> {
        let mut rest = records;
        while !rest.is_empty() {
            let sizes = rest.iter().map(|composed| composed.record.len());
            let (batch, after) = rest.split_at(self.options.batch_of(sizes));
            if after.is_empty() {
                // With `start`, and not before it: until then the last run's asks may be lost.
                store.asks_written = self.options.ask == AskMode::Written;
            }
            store.write(batch.iter())?;
            // A crash here or later leaves some questions open and some abandoned; the next start
            // abandons those that are left.
            store.sync()?;
            rest = after;
        }
        Ok(())
    }
}

/// How a run ended that wrote no `stop`.
const INTERRUPTED: &str = "interrupted";

struct PastReader<'a> {
    cipher: &'a Cipher,
    table: &'a HandleTable,
    since_ms: u64,
    max: usize,
    /// No question below this leaf index is open.
    closed_below: u64,
}

impl History {
    /// Reads one segment; later ones were read before. True if older segments may hold outcomes
    /// that are wanted.
    fn read_segment(
        &mut self,
        segment: &Loaded,
        durable_elsewhere: u64,
        past: &PastReader<'_>,
    ) -> Result<bool, OpenFault> {
        let mut walk = Walk::new(&segment.header, durable_elsewhere);
        let mut asks = BTreeMap::new();
        let mut closings = Vec::new();
        let mut last_kind = None;
        let mut earliest_ms = u64::MAX;
        let (mut latest_ms, mut is_accepted) = (0, false);
        while let Some(batch) =
            walk.step(&segment.bytes).map_err(|damage| damage.in_file(segment))?
        {
            for record in batch.records(&segment.bytes) {
                let entry = decode(segment, &record)?;
                last_kind = Some(entry.kind);
                earliest_ms = earliest_ms.min(entry.time_ms);
                latest_ms = latest_ms.max(entry.time_ms);
                if is_accepted_clock(&entry) {
                    // What came before was made by a clock that was ahead.
                    latest_ms = entry.time_ms;
                    is_accepted = true;
                }
                match entry.kind {
                    Kind::Ask | Kind::BreakGlass if record.index >= past.closed_below => {
                        asks.insert(record.index, record.entry);
                    }
                    Kind::Answer | Kind::Failed | Kind::Abandoned => {
                        self.closed.extend(entry.ask.filter(|ask| *ask >= past.closed_below));
                        closings.push((record, entry));
                    }
                    Kind::Ask
                    | Kind::BreakGlass
                    | Kind::Refused
                    | Kind::Coalesced
                    | Kind::Start
                    | Kind::Stop
                    | Kind::Act(_) => {}
                }
            }
        }
        for (index, ask) in asks {
            if !self.closed.remove(&index) {
                self.open.insert(index, ask.to_vec());
            }
        }
        self.last_kind = self.last_kind.or(last_kind);
        if !self.is_accepted {
            self.latest_ms = self.latest_ms.max(latest_ms);
        }
        self.is_accepted |= is_accepted;
        for (record, entry) in closings.iter().rev() {
            if self.outcomes.len() < past.max {
                self.outcomes.extend(past.outcome(record, entry));
            }
        }
        Ok(earliest_ms >= past.since_ms && self.outcomes.len() < past.max)
    }
}

impl PastReader<'_> {
    /// An outcome that a repeat may get again; none for an old or abandoned question, and none for
    /// a subject who was erased since.
    fn outcome(&self, record: &RawRecord<'_>, entry: &Entry<'_>) -> Option<PastOutcome> {
        if entry.time_ms < self.since_ms || entry.kind == Kind::Abandoned {
            return None;
        }
        let leaf_hash = leaf_hash(record.entry);
        let opened = self.cipher.open(record.sealed, &leaf_hash, |row| self.table.handle(row));
        let (fields, _) = opened.ok()?;
        Some(PastOutcome {
            query_id: entry.query_id?,
            caller: entry.caller.as_deref()?.parse().ok()?,
            predicate: entry.predicate.as_deref()?.parse().ok()?,
            request_token: fields.digest(FieldId::RequestToken)?,
            closing: past_closing(entry, &fields)?,
            recorded: Recorded::new(record.index, leaf_hash, entry.time_ms, None),
        })
    }
}

fn is_accepted_clock(entry: &Entry<'_>) -> bool {
    let details = entry.details.as_ref().filter(|_| entry.kind == Kind::Start);
    details.is_some_and(|details| details.find("clock_back_ms").is_some())
}

fn past_closing(entry: &Entry<'_>, fields: &Fields) -> Option<PastClosing> {
    if entry.kind == Kind::Answer {
        return Some(PastClosing::Answer {
            verdict: fields.verdict()?,
            as_of: fields.date(FieldId::AsOf)?,
            next_as_of: fields.date(FieldId::NextAsOf),
        });
    }
    let text = entry.code.as_deref()?;
    let code = FaultCode::ALL.into_iter().find(|code| code.code() == text)?;
    Some(PastClosing::Failed { fault: Fault { code, retry_is_safe: fields.retry_is_safe()? } })
}

/// Decodes an entry whose batch is whole: what does not decode was never written by this gateway.
fn decode<'a>(segment: &Loaded, record: &RawRecord<'a>) -> Result<Entry<'a>, OpenFault> {
    Entry::decode(record.entry).map_err(|fault| OpenFault::Corrupt {
        file: segment.path.clone(),
        offset: record.offset as u64,
        why: fault.to_string(),
    })
}

impl crate::frame::Damage {
    pub(crate) fn in_file(self, segment: &Loaded) -> SegmentFault {
        let file = segment.path.clone();
        SegmentFault::Damaged { file, offset: self.offset as u64, why: self.why.to_owned() }
    }
}

#[cfg(test)]
mod tests;
