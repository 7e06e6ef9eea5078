//! The one thread that writes.
//!
//! Takes what queued while the last sync ran, writes it as one batch, syncs once, wakes the
//! waiters. Syncs keep a distance, so that a busy log spends its processor on entries and not on
//! syncs that carry two of them; an entry that comes after a quiet moment is synced at once. It
//! makes no cryptography but one signature a batch. The first failed write or sync ends it for
//! good, and so does a file that is not the log's any more: what the disk holds is then unknown,
//! and only a new start that reads it again can know.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jumpgate_tlog::Hash;

use crate::compose::Composed;
use crate::disk::DiskFault;
use crate::options::AskMode;
use crate::promise::SignedBatch;
use crate::queue::{Submission, Waiter, locked};
use crate::shared::{LogUnavailable, Shared};
use crate::store::Store;
use crate::ticket::Recorded;
use crate::watch::Reason;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    store: Store,
    /// Taken from the queue and not yet in a batch.
    waiting: VecDeque<Submission>,
    /// The batch that is being written.
    batch: Vec<Submission>,
    last_flush: Instant,
    /// When the last batch was begun.
    last_commit: Option<Instant>,
}

impl Writer {
    pub fn spawn(shared: Arc<Shared>, store: Store) -> Result<JoinHandle<()>, io::Error> {
        let (waiting, batch) = (VecDeque::new(), Vec::new());
        let last_flush = Instant::now();
        let mut writer = Self { shared, store, waiting, batch, last_flush, last_commit: None };
        let thread = std::thread::Builder::new().name("querylog-writer".to_owned());
        thread.spawn(move || {
            // A panic here must not leave tasks waiting for a thread that is gone.
            let reason = match catch_unwind(AssertUnwindSafe(|| writer.run())) {
                Ok(Ok(())) => return,
                Ok(Err(fault)) => writer.shared.watch.check().err().unwrap_or(fault.0),
                Err(_) => "the writer thread panicked".into(),
            };
            tracing::error!(
                reason = &*reason,
                "the query log has stopped; nothing is answered until restart"
            );
            writer.fail(&reason);
            writer.shared.watch.keep_vigil();
        })
    }

    fn run(&mut self) -> Result<(), Stopped> {
        let window = self.shared.options.coalesce_window;
        loop {
            let wait = window.saturating_sub(self.last_flush.elapsed());
            let mut open = self.shared.queue.take(&mut self.waiting, wait);
            if open && !self.waiting.is_empty() {
                open = self.gather();
            }
            if !open || self.last_flush.elapsed() >= window {
                self.flush_coalesced();
                self.shared.watch.check().map_err(Stopped)?;
            }
            while !self.waiting.is_empty() {
                self.commit()?;
            }
            if !open {
                return Ok(());
            }
        }
    }

    /// Keeps the distance to the last sync and takes what queued meanwhile. Nobody has to wake the
    /// writer for it. False when nothing will follow.
    fn gather(&mut self) -> bool {
        let distance = self.shared.options.sync_distance;
        let since = self.last_commit.map_or(distance, |began| began.elapsed());
        if since < distance {
            std::thread::sleep(distance - since);
        }
        self.shared.queue.take(&mut self.waiting, Duration::ZERO)
    }

    /// Puts the counted refusals before everything that waits, so that `stop` stays last.
    fn flush_coalesced(&mut self) {
        self.last_flush = Instant::now();
        let composer = self.shared.composer();
        for (caller, code, count) in self.shared.coalesced.take() {
            // Such an entry is small and has no sealed fields: nothing in it can fail.
            if let Ok(composed) = composer.coalesced(caller.as_deref(), code.code(), count) {
                self.waiting.push_front(Submission::new(composed, Waiter::Nobody, None));
            }
        }
    }

    /// Writes one batch of what waits, and tells its waiters when it is durable.
    fn commit(&mut self) -> Result<(), Stopped> {
        self.check()?;
        let sizes = self.waiting.iter().map(|submission| submission.composed.record.len());
        let count = self.shared.options.batch_of(sizes);
        self.batch.extend(self.waiting.drain(..count));
        let began = Instant::now();
        self.last_commit = Some(began);
        // After the batch was taken, because every row it depends on was pending before that.
        let rows = locked(&self.shared.handles).take_pending();
        self.store.write_rows(&rows)?;
        let first_index = self.store.write(self.batch.iter().map(|it| &it.composed))?;
        // From here on the batch survives the end of the process.
        self.shared.progress.entries.store(self.store.next_index, Ordering::Release);
        if self.shared.options.ask == AskMode::Written {
            for (index, submission) in (first_index..).zip(&mut self.batch) {
                if submission.waiter.is_ask() {
                    let waiter = std::mem::replace(&mut submission.waiter, Waiter::Nobody);
                    waiter.succeed(recorded(index, &submission.composed, None));
                }
            }
        }
        let signed = self.sign(first_index);
        self.store.sync()?;
        self.watch(!rows.is_empty())?;
        // From here on the batch survives a power cut.
        self.shared.finder.add(&mut self.store.begun);
        let bytes = self.store.frame_bytes() + rows.len() as u64;
        let (durable, entries) = (self.store.durable_entries, self.batch.len() as u64);
        self.shared.progress.committed(durable, entries, bytes, began.elapsed());
        for (index, submission) in (first_index..).zip(self.batch.drain(..)) {
            submission.waiter.succeed(recorded(index, &submission.composed, signed.clone()));
        }
        Ok(())
    }

    /// The promise of a batch that somebody else than a question waits for. Made before the sync,
    /// told after it.
    fn sign(&self, first_index: u64) -> Option<Arc<SignedBatch>> {
        let is_wanted = self.batch.iter().any(|submission| submission.waiter.wants_promise());
        let leaves = self.batch.iter().map(|submission| Hash(submission.composed.leaf_hash));
        is_wanted.then(|| self.shared.sign(first_index, leaves.collect()))
    }

    /// Looks whether what was just synced stands where a start will find it.
    fn watch(&self, has_rows: bool) -> Result<(), Stopped> {
        let watch = &self.shared.watch;
        if !self.store.begun.is_empty() {
            watch.segment_begun(Arc::clone(&self.store.segment))?;
        }
        if has_rows {
            watch.handles_grown(self.store.handle_rows);
        }
        watch.check().map_err(Stopped)?;
        self.check()
    }

    /// Whoever else has stopped the log has stopped the writer as well.
    fn check(&self) -> Result<(), Stopped> {
        self.shared.queue.fault().map_or(Ok(()), |reason| Err(Stopped(reason)))
    }

    /// Stops the log and fails whoever waits.
    fn fail(&mut self, reason: &Arc<str>) {
        self.shared.queue.poison(reason);
        for submission in self.batch.drain(..).chain(self.waiting.drain(..)) {
            submission.waiter.fail(LogUnavailable::Poisoned { reason: Arc::clone(reason) });
        }
    }
}

/// Why the writer ends.
struct Stopped(Reason);

impl From<DiskFault> for Stopped {
    fn from(fault: DiskFault) -> Self {
        Self(fault.in_full().into())
    }
}

fn recorded(index: u64, composed: &Composed, signed: Option<Arc<SignedBatch>>) -> Recorded {
    Recorded::new(index, composed.leaf_hash, composed.time_ms, signed)
}

#[cfg(test)]
mod tests;
