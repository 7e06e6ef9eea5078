//! How many queries a department sees at once.
//!
//! Owns a department's slots and the queue before them. It is the only place of admission that
//! waits, for a bounded time in a bounded queue, first come first served. It never refuses a query
//! while a slot is free and nobody waits; one that would wait in vain it refuses at once. After a
//! rest it begins with few slots, and each answer brings one more.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::denied::Denied;
use crate::settings::DepartmentSettings;

/// The slots of one department.
pub(crate) struct Bulkhead {
    slots: Arc<Semaphore>,
    sizes: Mutex<Sizes>,
    taken: AtomicU32,
    waiting: AtomicU32,
}

#[derive(Clone, Copy)]
struct Sizes {
    concurrency_max: u32,
    /// Slots that there are now: fewer than `concurrency_max` after a rest.
    limit: u32,
    waiting_max: u32,
    wait_max: Duration,
    /// Slots in use that there are no longer: each vanishes when it is given back.
    surplus: u32,
    /// How long an answer takes, on the average of the last ones. None before the first.
    typical: Option<Duration>,
}

/// One slot, given back by its drop.
pub(crate) struct Slot {
    bulkhead: Arc<Bulkhead>,
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
}

impl Bulkhead {
    pub(crate) fn new(settings: &DepartmentSettings) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(settings.concurrency_max as usize)),
            sizes: Mutex::new(Sizes {
                concurrency_max: settings.concurrency_max,
                limit: settings.concurrency_max,
                waiting_max: settings.waiting_max,
                wait_max: Duration::from_millis(settings.wait_ms_max),
                surplus: 0,
                typical: None,
            }),
            taken: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Takes over other sizes. Fewer slots than are in use: none is free until enough have come
    /// back. Who waits already waits as long as he was told.
    pub(crate) fn resize(&self, settings: &DepartmentSettings) {
        let mut sizes = self.sizes();
        let is_recovering = sizes.limit < sizes.concurrency_max;
        sizes.concurrency_max = settings.concurrency_max;
        sizes.waiting_max = settings.waiting_max;
        sizes.wait_max = Duration::from_millis(settings.wait_ms_max);
        let wanted = settings.concurrency_max;
        let limit = if is_recovering { sizes.limit.min(wanted) } else { wanted };
        self.set_limit(&mut sizes, limit);
    }

    /// Begins with few slots again: the department has come back.
    pub(crate) fn begin_gently(&self) {
        let mut sizes = self.sizes();
        let few = (sizes.concurrency_max / RECOVERY_PART).max(1);
        let limit = sizes.limit.min(few);
        self.set_limit(&mut sizes, limit);
    }

    /// The department has answered: one slot more, up to the most. So the slots double with each
    /// round of answers.
    fn answered(&self, took: Duration) {
        let mut sizes = self.sizes();
        sizes.typical = Some(match sizes.typical {
            None => took,
            Some(typical) => (typical * (TYPICAL_ANSWERS - 1) + took) / TYPICAL_ANSWERS,
        });
        if sizes.limit < sizes.concurrency_max {
            let limit = sizes.limit + 1;
            self.set_limit(&mut sizes, limit);
        }
    }

    fn set_limit(&self, sizes: &mut Sizes, limit: u32) {
        // What the semaphore holds, free and in use.
        let held = sizes.limit + sizes.surplus;
        sizes.limit = limit;
        if limit >= held {
            sizes.surplus = 0;
            self.slots.add_permits((limit - held) as usize);
        } else {
            let forgotten = self.slots.forget_permits((held - limit) as usize);
            // At most as many as were to be forgotten.
            sizes.surplus = held - limit - forgotten as u32;
        }
    }

    /// A slot; waits for one until `deadline` or the longest wait, whichever comes first, and not
    /// at all where an answer would come too late. The only refusal is `Busy`.
    pub(crate) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Slot, Denied> {
        // The semaphore hands a freed slot to the longest waiter, so a free one is nobody's.
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Slot::taken(self, permit));
        }
        let sizes = *self.sizes();
        let begun = Instant::now();
        let ahead = self.waiting();
        let retry_after = sizes.wait_for(ahead + 1).map(|wait| wait.max(RETRY_MIN));
        let busy = Denied::Busy { retry_after: retry_after.unwrap_or(sizes.wait_max) };
        let latest = deadline.checked_sub(sizes.typical.unwrap_or_default()).unwrap_or(begun);
        let until = latest.min(begun + sizes.wait_max);
        if sizes.wait_for(ahead).is_some_and(|wait| begun + wait > until) {
            return Err(busy);
        }
        let Some(_place) = self.queue(sizes.waiting_max) else { return Err(busy) };
        match timeout_at(until, Arc::clone(&self.slots).acquire_owned()).await {
            // The semaphore is never closed.
            Err(_) | Ok(Err(_)) => Err(busy),
            Ok(Ok(permit)) => Ok(Slot::taken(self, permit)),
        }
    }

    /// Slots taken now.
    pub(crate) fn in_flight(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Queries that wait for a slot now.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn concurrency_max(&self) -> u32 {
        self.sizes().concurrency_max
    }

    /// Slots that there are now.
    pub(crate) fn limit(&self) -> u32 {
        self.sizes().limit
    }

    /// How long an answer takes, on the average of the last ones.
    pub(crate) fn typical(&self) -> Option<Duration> {
        self.sizes().typical
    }

    fn queue(&self, waiting_max: u32) -> Option<Place<'_>> {
        let longer = |waiting| (waiting < waiting_max).then_some(waiting + 1);
        (self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, longer).ok())
            .map(|_| Place { bulkhead: self })
    }

    /// A panic elsewhere cannot leave the sizes half written, so a poisoned lock is still good.
    fn sizes(&self) -> MutexGuard<'_, Sizes> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sizes {
    /// How long a query waits that comes after so many others: a slot comes free in each part of an
    /// answer's time, of as many parts as there are slots. None before the first answer.
    fn wait_for(&self, ahead: u32) -> Option<Duration> {
        Some(self.typical? * ahead / self.limit.max(1))
    }
}

impl Slot {
    fn taken(bulkhead: &Arc<Bulkhead>, permit: OwnedSemaphorePermit) -> Self {
        bulkhead.taken.fetch_add(1, Ordering::Relaxed);
        Self { bulkhead: Arc::clone(bulkhead), permit: Some(permit), since: Instant::now() }
    }

    /// The department has answered the query that had the slot.
    pub(crate) fn answered(&self) {
        self.bulkhead.answered(self.since.elapsed());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bulkhead.taken.fetch_sub(1, Ordering::Relaxed);
        // Given back before the sizes are free to change again.
        let mut sizes = self.bulkhead.sizes();
        let permit = self.permit.take();
        if sizes.surplus > 0 {
            sizes.surplus -= 1;
            permit.into_iter().for_each(OwnedSemaphorePermit::forget);
        }
    }
}

/// A place in the queue, given back by its drop.
struct Place<'a> {
    bulkhead: &'a Bulkhead,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.bulkhead.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A department that has just come back gets an eighth of what it could take.
const RECOVERY_PART: u32 = 8;
/// Nobody comes back to a full department sooner.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Answers over which the typical time is taken: enough that one slow record does not decide.
const TYPICAL_ANSWERS: u32 = 8;

#[cfg(test)]
mod tests;
