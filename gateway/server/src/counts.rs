//! What was asked and released so far, made again from the query log at a start, and a snapshot of
//! it, so that a start need not read all entries.
//!
//! Owns when a snapshot is made and which entries are read. What they count is admission's.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jumpgate_admission::{Ledger, Rebuild, SubjectNumber};
use jumpgate_catalogue::Catalogue;
use jumpgate_querylog::{
    Act, FieldsFault, Kind, LeafFault, PastEntry, QueryLog, ReadFault, SnapshotUnkept,
};

use crate::gateway::{Gateway, Now, unix_ms};
use crate::live::Live;

/// The query log cannot be counted, or what was counted cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CountFault {
    /// An entry cannot be read.
    #[error(transparent)]
    Leaf(#[from] LeafFault),
    /// Entries cannot be read.
    #[error(transparent)]
    Read(#[from] ReadFault),
    /// What an exact answer has told cannot be read.
    #[error("the sealed fields of entry {0}: {1}; run `jumpgate log verify` with the keys")]
    Sealed(u64, FieldsFault),
    /// The snapshot cannot be kept.
    #[error(transparent)]
    Unkept(#[from] SnapshotUnkept),
}

/// What the counts are made from.
#[derive(Clone)]
pub(crate) struct Counting {
    pub(crate) log: QueryLog,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) zone: TimeZone,
    pub(crate) now: Now,
}

impl Counting {
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self {
            log: gateway.record.log().clone(),
            catalogue: Arc::clone(&gateway.catalogue),
            zone: gateway.civil_time_zone.clone(),
            now: gateway.now.clone(),
        }
    }

    /// The counts of a log that was opened just now and has no open question, and the first entry
    /// that no snapshot covers. Reads files.
    ///
    /// # Errors
    /// An entry that counts cannot be read.
    pub(crate) fn ledger(&self) -> Result<(Arc<Ledger>, u64), CountFault> {
        let (rebuild, from, until) = self.rebuild()?;
        tracing::info!(entries = until.saturating_sub(from), "quotas counted from the query log");
        Ok((rebuild.into_ledger(), from))
    }

    /// Keeps a snapshot that covers all durable entries. Reads and writes files. Returns the first
    /// entry that it does not cover, and after how many entries the next one is worth its cost.
    fn keep(&self, every: u64) -> Result<(u64, u64), CountFault> {
        let (rebuild, _, until) = self.rebuild()?;
        self.log.keep_snapshot(until, |bytes| rebuild.snapshot(bytes))?;
        Ok((until, every.max(rebuild.subject_counts() / COUNTS_PER_ENTRY_MAX)))
    }

    /// The counts until now, and which entries they were made from beside a snapshot.
    fn rebuild(&self) -> Result<(Rebuild, u64, u64), CountFault> {
        let (mut rebuild, counted) = self.begin()?;
        // What was released is never forgotten, so that without a snapshot all of the log is read.
        let from = if counted.is_snapshot || !rebuild.follows() { counted.from } else { 0 };
        let until = self.log.durable_entries();
        let mut unread = None;
        self.log.replay(from, until, |past| {
            if let Err(fault) = release(&mut rebuild, past) {
                unread.get_or_insert(CountFault::Sealed(past.index, fault));
            }
            if past.index >= counted.from {
                count(&mut rebuild, past);
            }
        })?;
        if let Some(fault) = unread {
            return Err(fault);
        }
        rebuild.forget_erased(|subject| self.log.has_subject(subject.0));
        Ok((rebuild, from, until))
    }

    /// The snapshot, if there is one of any use, and the first entry that it does not cover; else
    /// the first one that can still count.
    fn begin(&self) -> Result<(Rebuild, Counted), CountFault> {
        let now_ms = unix_ms((self.now)());
        if let Some((covered, content)) = self.log.kept_snapshot()? {
            let needed_ms = now_ms.saturating_sub(NEEDED_MS);
            match Rebuild::restore(&content, self.zone.clone(), &self.catalogue, needed_ms) {
                Ok(rebuild) => {
                    return Ok((rebuild, Counted { from: covered, is_snapshot: true }));
                }
                Err(why) => tracing::warn!(%why, "the snapshot of counts is of no use"),
            }
        }
        let since_ms = now_ms.saturating_sub(REACH_MS);
        let from = self.log.index_since(since_ms)?;
        // A log that is younger than that is read whole.
        let since_ms = if from == 0 { 0 } else { since_ms };
        let rebuild = Rebuild::new(self.zone.clone(), &self.catalogue, since_ms);
        Ok((rebuild, Counted { from, is_snapshot: false }))
    }
}

/// The first entry that is counted, and whether a snapshot covers those before it.
struct Counted {
    from: u64,
    is_snapshot: bool,
}

/// Takes over what an exact answer told.
fn release(rebuild: &mut Rebuild, past: &PastEntry<'_>) -> Result<(), FieldsFault> {
    let entry = &past.entry;
    if !rebuild.follows() {
        return Ok(());
    }
    if entry.kind == Kind::Act(Act::Declare) {
        if let Some((attribute, subject)) = past.rectified().zip(past.subject_number()) {
            rebuild.rectified(SubjectNumber(subject), attribute);
        }
        return Ok(());
    }
    let by = entry.caller.as_deref().zip(entry.predicate.as_deref());
    let Some(by) = by.filter(|_| entry.kind == Kind::Answer) else { return Ok(()) };
    // Of every predicate, also one that the catalogue has no more.
    if let Some((subject, release)) = past.subject_number().zip(past.release()?) {
        rebuild.released(SubjectNumber(subject), &release, by);
    }
    Ok(())
}

fn count(rebuild: &mut Rebuild, past: &PastEntry<'_>) {
    let entry = &past.entry;
    match (entry.kind, entry.ask) {
        (Kind::Ask | Kind::BreakGlass, _) => {
            let names = (&entry.caller, &entry.department, &entry.predicate);
            let (Some(caller), Some(department), Some(predicate)) = names else { return };
            let Some(subject) = past.subject_number() else { return };
            let names = (&**caller, &**department, &**predicate);
            rebuild.asked(past.index, entry.time_ms, names, SubjectNumber(subject));
        }
        (Kind::Refused, _) => {
            if let Some(caller) = &entry.caller {
                rebuild.refused(entry.time_ms, caller);
            }
        }
        (Kind::Answer, Some(ask)) => rebuild.answered(ask, || past.verdict()),
        (Kind::Failed | Kind::Abandoned, Some(ask)) => rebuild.failed(ask),
        (Kind::Answer | Kind::Failed | Kind::Abandoned, None)
        | (Kind::Coalesced | Kind::Start | Kind::Stop | Kind::Act(_), _) => {}
    }
}

/// Keeps a snapshot now and then, of a log whose entries from `covered` on are in none. What cannot
/// be kept leaves the one before, makes the next start slower, and is tried again after a while.
pub(crate) async fn keep_snapshots(live: Arc<Live>, mut covered: u64) {
    let every = live.gateway().settings.log.snapshot_entries;
    let (mut wanted, mut pause) = (every, LOOK_EVERY);
    loop {
        // Nothing tells that so many entries have come; a second late is early enough.
        tokio::time::sleep(pause).await;
        let counting = Counting::of(&live.gateway());
        if counting.log.durable_entries().saturating_sub(covered) < wanted {
            continue;
        }
        match tokio::task::spawn_blocking(move || counting.keep(every)).await {
            Ok(Ok(kept)) => {
                (covered, wanted) = kept;
                pause = LOOK_EVERY;
                continue;
            }
            Ok(Err(fault)) => tracing::error!(%fault, "the snapshot of counts cannot be kept"),
            Err(_) => tracing::error!("keeping the snapshot of counts panicked"),
        }
        pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
    }
}

/// How often it is looked whether enough entries have come. A look is cheap.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a fault, between two tries: it doubles with each.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);
/// Keeping a snapshot costs about as much as reading an entry for four counts that are in it.
const COUNTS_PER_ENTRY_MAX: u64 = 4;
/// 90 days, and one for the civil day that began before them.
const NEEDED_MS: u64 = 91 * 24 * 60 * 60 * 1000;
/// The same, and one for clocks.
const REACH_MS: u64 = 92 * 24 * 60 * 60 * 1000;
