//! The check of a whole log: every frame, every entry, every question.
//!
//! Owns the rules that an intact log keeps. It goes on after a flaw, so that one run lists them,
//! and changes nothing. Without keys it checks all but the sealed fields.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use jumpgate_catalogue::QueryId;

use crate::disk::Disk;
use crate::entry::Entry;
use crate::fields::FieldsFault;
use crate::frame::used_bytes;
use crate::handles::{self, HANDLES_FILE};
use crate::keys::Keys;
use crate::kind::Kind;
use crate::reader::{Cursor, ReadFault, Record, Sealer};
use crate::verify::tree::TreeCheck;

mod tree;

/// What an intact log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries in the log.
    pub entries: u64,
    /// Segment files.
    pub segments: u64,
    /// Entries of each kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Questions that are open at the end: a server is running, or was interrupted.
    pub open_asks: Vec<u64>,
    /// True if the last entry is `stop`.
    pub stopped: bool,
    /// Bytes after the last whole batch that are not zeros: a batch being written, or torn.
    pub torn_bytes: u64,
    /// Records whose fields were opened and fit.
    pub fields_opened: u64,
    /// Records whose subject is erased.
    pub fields_erased: u64,
    /// Entries in the published tree, whose every tile was compared.
    pub published: u64,
    /// What is odd, yet no flaw: a clock that went back.
    pub warnings: Vec<Flaw>,
}

/// Something that an intact log does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The file, where one is at fault.
    pub file: Option<PathBuf>,
    /// The byte at which it begins.
    pub offset: Option<u64>,
    /// The leaf index, where an entry is at fault.
    pub index: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// True if the file follows from entries that are whole: it can be made anew.
    pub is_derived: bool,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{}: ", file.display())?;
        }
        if let Some(offset) = self.offset {
            write!(formatter, "byte {offset}: ")?;
        }
        if let Some(index) = self.index {
            write!(formatter, "entry {index}: ")?;
        }
        formatter.write_str(&self.what)
    }
}

/// Checks the log in `dir`. With keys, every sealed record is opened as well.
///
/// # Errors
/// Every flaw found, at most 100.
pub fn verify(dir: &Path, keys: Option<&Keys>) -> Result<Report, Vec<Flaw>> {
    verify_on(&Disk::default(), dir, keys)
}

pub(crate) fn verify_on(disk: &Disk, dir: &Path, keys: Option<&Keys>) -> Result<Report, Vec<Flaw>> {
    let mut check = Check::default();
    if let Err(fault) = check.run(disk, dir, keys) {
        check.flaw_of(fault);
    }
    check.finish()
}

#[derive(Default)]
struct Check {
    report: Report,
    flaws: Vec<Flaw>,
    /// Open questions by their index.
    open: BTreeMap<u64, OpenAsk>,
    sealer: Option<Sealer>,
    /// Records whose fields are still to be opened.
    sealed: Vec<Record>,
    latest_ms: u64,
    last_kind: Option<Kind>,
    /// Rows of the handle table that the last whole batch counts.
    handle_rows: u64,
    /// The tree, grown anew beside the entries; none after damage to them.
    tree: Option<TreeCheck>,
    /// True after damage that may have swallowed entries: links to what is gone are no flaws then.
    lossy: bool,
}

struct OpenAsk {
    query_id: Option<QueryId>,
    caller: Option<String>,
}

impl Check {
    fn run(&mut self, disk: &Disk, dir: &Path, keys: Option<&Keys>) -> Result<(), ReadFault> {
        // The tree first: while the log grows, its segments hold whatever was signed before.
        let tree = TreeCheck::open(disk, dir);
        let (mut cursor, firsts) = Cursor::open(disk.clone(), dir)?;
        let mut unopened = None;
        if let Some(keys) = keys {
            match Sealer::open_on(disk, dir, keys) {
                Ok(sealer) => self.sealer = Some(sealer),
                Err(fault) => unopened = Some(fault),
            }
        }
        self.report.segments = firsts.len() as u64;
        match tree {
            Ok(tree) => {
                self.report.published = tree.published();
                self.tree = Some(tree);
            }
            Err(flaw) => self.flaw(flaw),
        }
        let nexts = firsts.iter().skip(1).copied().chain([0]);
        for (first, next) in firsts.iter().copied().zip(nexts) {
            if let Err(fault) = self.segment(&mut cursor, first, next) {
                self.flaw_of(fault);
                self.lossy = true;
            }
            cursor.leave();
        }
        self.open_all();
        self.handles(&cursor)?;
        // After damage every tile would be another; the damage is told already.
        if let Some(tree) = self.tree.take().filter(|_| !self.lossy) {
            tree.end().into_iter().for_each(|flaw| self.flaw(flaw));
        }
        match unopened {
            // Damage that has been found above is not told twice.
            Some(fault) if self.flaws.is_empty() => Err(fault),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks the rows that the last whole batch counts.
    fn handles(&mut self, cursor: &Cursor) -> Result<(), ReadFault> {
        let file = cursor.dir.join(HANDLES_FILE);
        let bytes = cursor.disk.open_read(&file)?.read_all(u64::MAX)?;
        handles::check(&bytes, cursor.log_id, self.handle_rows).map_err(|damage| {
            ReadFault::Damaged { file, offset: damage.offset, why: damage.why.to_owned() }
        })
    }

    fn segment(&mut self, cursor: &mut Cursor, first: u64, next: u64) -> Result<(), ReadFault> {
        cursor.enter(first, next)?;
        while let Some((segment, batch)) = cursor.step()? {
            let file = &segment.path;
            for raw in batch.records(&segment.bytes) {
                match Record::decode(raw.index, raw.entry, raw.sealed) {
                    Ok(record) => self.record(&record),
                    Err(fault) => {
                        self.lossy = true;
                        let (file, offset) = (Some(file.clone()), Some(raw.offset as u64));
                        let (index, what) = (Some(raw.index), fault.to_string());
                        self.flaw(Flaw { file, offset, index, what, is_derived: false });
                    }
                }
            }
            let closed_below = batch.header.marks.closed_below;
            let open = self.open.first_key_value().map(|(ask, _)| *ask);
            if let Some(ask) = open.filter(|ask| *ask < closed_below && !self.lossy) {
                let what = format!("a batch says that the open ask {ask} is closed");
                let (file, offset) = (Some(file.clone()), Some(batch.offset as u64));
                self.flaw(Flaw { file, offset, index: Some(ask), what, is_derived: false });
            }
        }
        if let Some((segment, walk)) = cursor.place() {
            self.report.entries = walk.next_index;
            self.handle_rows = walk.marks.handle_rows;
            if next == 0 {
                let torn = used_bytes(&segment.bytes).saturating_sub(walk.offset);
                self.report.torn_bytes = torn as u64;
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &Record) {
        let (index, entry) = (record.index, &record.entry);
        *self.report.kinds.entry(entry.kind).or_default() += 1;
        self.last_kind = Some(entry.kind);
        self.time(index, entry);
        match entry.kind {
            Kind::Ask | Kind::BreakGlass => {
                let caller = entry.caller.as_deref().map(str::to_owned);
                self.open.insert(index, OpenAsk { query_id: entry.query_id, caller });
            }
            Kind::Answer | Kind::Failed | Kind::Abandoned => self.closing(index, entry),
            Kind::Start | Kind::Stop => {
                for ask in std::mem::take(&mut self.open).into_keys() {
                    // Its closing entry may have stood where the damage is.
                    if self.lossy {
                        break;
                    }
                    self.flaw_at(index, format!("{} follows the open ask {ask}", entry.kind));
                }
            }
            Kind::Refused | Kind::Coalesced | Kind::Act(_) => {}
        }
        self.fields(record);
        if let Some(tree) = self.tree.as_mut().filter(|_| !self.lossy) {
            tree.add(&record.entry_bytes);
        }
    }

    /// Entries are made side by side and written in the order they are queued, so that two may
    /// stand the wrong way round by a moment.
    fn time(&mut self, index: u64, entry: &Entry<'_>) {
        if entry.time_ms.saturating_add(TIME_BACK_MS_MAX) < self.latest_ms {
            let back_ms = self.latest_ms - entry.time_ms;
            let what = format!("the clock went back by {back_ms} ms");
            if self.report.warnings.len() < FLAWS_MAX {
                self.report.warnings.push(Flaw {
                    file: None,
                    offset: None,
                    index: Some(index),
                    what,
                    is_derived: false,
                });
            }
        }
        self.latest_ms = self.latest_ms.max(entry.time_ms);
    }

    fn closing(&mut self, index: u64, entry: &Entry<'_>) {
        // The decoder accepts no closing entry without a link.
        let ask = entry.ask.unwrap_or(u64::MAX);
        match self.open.remove(&ask) {
            None if self.lossy => {}
            None => {
                let what = format!("it closes {ask}, which is no open ask");
                self.flaw_at(index, what);
            }
            Some(asked) => {
                let same = asked.query_id == entry.query_id
                    && asked.caller.as_deref() == entry.caller.as_deref();
                if !same {
                    self.flaw_at(index, format!("it closes the ask {ask} of another question"));
                }
            }
        }
    }

    fn fields(&mut self, record: &Record) {
        let committed = record.entry.fields.is_some();
        if committed == record.sealed.is_empty() {
            self.flaw_at(record.index, FieldsFault::Missing.to_string());
            return;
        }
        if self.sealer.is_some() && committed {
            self.sealed.push(record.clone());
            if self.sealed.len() >= SEALED_MAX {
                self.open_all();
            }
        }
    }

    /// Opens the sealed fields that wait for it, on two threads: it takes longer than all the rest.
    fn open_all(&mut self) {
        let Some(sealer) = &self.sealer else { return };
        let records = std::mem::take(&mut self.sealed);
        let open = |part: &[Record]| -> Vec<_> {
            part.iter().map(|record| (record.index, sealer.open_fields(record).map(drop))).collect()
        };
        let (first, second) = records.split_at(records.len() / 2);
        let opened = std::thread::scope(|scope| {
            let beside = scope.spawn(|| open(second));
            let mut opened = open(first);
            opened.extend(beside.join().unwrap_or_else(|_| open(second)));
            opened
        });
        for (index, result) in opened {
            match result {
                Ok(()) => self.report.fields_opened += 1,
                Err(FieldsFault::Erased) => self.report.fields_erased += 1,
                Err(fault) => self.flaw_at(index, fault.to_string()),
            }
        }
    }

    fn finish(mut self) -> Result<Report, Vec<Flaw>> {
        self.report.stopped = self.last_kind == Some(Kind::Stop);
        self.report.open_asks = self.open.into_keys().collect();
        if self.flaws.is_empty() { Ok(self.report) } else { Err(self.flaws) }
    }

    fn flaw_of(&mut self, fault: ReadFault) {
        let (file, offset, index, what) = match fault {
            ReadFault::Damaged { file, offset, why } => (Some(file), Some(offset), None, why),
            ReadFault::Entry { file, index, source } => {
                (Some(file), None, Some(index), source.to_string())
            }
            ReadFault::Disk(fault) => {
                let what = format!("cannot {}: {}", fault.doing, fault.source);
                (Some(fault.path), None, None, what)
            }
            ReadFault::NotInitialised { .. } | ReadFault::Origin(_) => {
                (None, None, None, fault.to_string())
            }
        };
        self.flaw(Flaw { file, offset, index, what, is_derived: false });
    }

    fn flaw_at(&mut self, index: u64, what: String) {
        self.flaw(Flaw { file: None, offset: None, index: Some(index), what, is_derived: false });
    }

    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(flaw);
        } else if !flaw.is_derived
            && let Some(place) = self.flaws.iter_mut().rfind(|it| it.is_derived)
        {
            // What can be made anew must not hide what cannot.
            *place = flaw;
        }
    }
}

/// A few MiB of records.
const SEALED_MAX: usize = 4096;
/// As many as a reader looks at; what is wrong beyond them has the same cause.
const FLAWS_MAX: usize = 100;
/// The time an entry may wait before it is written.
const TIME_BACK_MS_MAX: u64 = 1000;

#[cfg(test)]
mod tests;
