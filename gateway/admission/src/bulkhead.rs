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
    sizes: Mutex<Sizes>,
    taken: AtomicU32,
    waiting: AtomicU32,
}

struct Sizes {
    concurrency_max: u32,
    /// Slots that there are now: fewer than `concurrency_max` after a rest.
    limit: u32,
    waiting_max: u32,
    wait_max: Duration,
    /// How long an answer takes, on the average of the last ones. None before the first.
    typical: Option<Duration>,
    slots: Slots,
    /// The slots of before a rest, of which some are in use: they hang on what the department did
    /// not answer, and are none of those that it has now.
    old: Vec<Slots>,
}

/// Slots that were given out together.
struct Slots {
    semaphore: Arc<Semaphore>,
    /// Free ones and those in use. More than there should be: each vanishes when it comes back.
    granted: u32,
}

/// One slot, given back by its drop.
pub(crate) struct Slot {
    bulkhead: Arc<Bulkhead>,
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
}

impl Bulkhead {
    pub(crate) fn new(settings: &DepartmentSettings) -> Self {
        let mut sizes = Sizes {
            concurrency_max: settings.concurrency_max,
            limit: settings.concurrency_max,
            waiting_max: settings.waiting_max,
            wait_max: Duration::from_millis(settings.wait_ms_max),
            typical: None,
            slots: Slots::none(),
            old: Vec::new(),
        };
        sizes.adjust();
        Self { sizes: Mutex::new(sizes), taken: AtomicU32::new(0), waiting: AtomicU32::new(0) }
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
        sizes.limit = if is_recovering { sizes.limit.min(wanted) } else { wanted };
        sizes.adjust();
    }

    /// Begins with few slots again: the department has come back. What still hangs from before
    /// takes none of them, but is counted towards the most.
    pub(crate) fn begin_gently(&self) {
        let mut sizes = self.sizes();
        let few = (sizes.concurrency_max / RECOVERY_PART).max(1);
        sizes.limit = sizes.limit.min(few);
        let old = std::mem::replace(&mut sizes.slots, Slots::none());
        // Whoever waits for one of these waits for one of the new ones.
        old.semaphore.close();
        sizes.old.push(old);
        sizes.adjust();
    }

    /// The department has answered: one slot more, up to the most. So the slots double with each
    /// round of answers.
    fn answered(&self, took: Duration) {
        let mut sizes = self.sizes();
        sizes.learn(took);
        if sizes.limit < sizes.concurrency_max {
            sizes.limit += 1;
            sizes.adjust();
        }
    }

    /// The department has not answered in that time: an answer takes longer.
    fn failed(&self, after: Duration) {
        let mut sizes = self.sizes();
        if sizes.typical.is_some_and(|typical| typical < after) {
            sizes.learn(after);
        }
    }

    /// A slot; waits for one until `deadline` or the longest wait, whichever comes first, and not
    /// at all where an answer would come too late. The only refusal is `Busy`.
    pub(crate) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Slot, Denied> {
        if let Some(slot) = self.free_slot() {
            return Ok(slot);
        }
        let queue = self.sizes().queue();
        let begun = Instant::now();
        let ahead = self.waiting();
        let retry_after = queue.wait_for(ahead + 1).unwrap_or(queue.wait_max).max(RETRY_MIN);
        let busy = || Err(Denied::Busy { retry_after });
        // Of those who wait, and then have an average answer's time, half would be too late.
        let answered_by = deadline.checked_sub(queue.typical.unwrap_or_default() * 2);
        let until = answered_by.unwrap_or(begun).min(begun + queue.wait_max);
        if queue.wait_for(ahead).is_some_and(|wait| begun + wait > until) {
            return busy();
        }
        let Some(_place) = self.queue(queue.waiting_max) else { return busy() };
        loop {
            let semaphore = Arc::clone(&self.sizes().slots.semaphore);
            match timeout_at(until, semaphore.acquire_owned()).await {
                Err(_) => return busy(),
                Ok(Ok(permit)) => return Ok(Slot::taken(self, permit)),
                // These slots are old: there are new ones.
                Ok(Err(_)) => {}
            }
        }
    }

    /// A slot, if one is free now.
    pub(crate) fn free_slot(self: &Arc<Self>) -> Option<Slot> {
        let semaphore = Arc::clone(&self.sizes().slots.semaphore);
        // The semaphore hands a freed slot to the longest waiter, so a free one is nobody's.
        semaphore.try_acquire_owned().ok().map(|permit| Slot::taken(self, permit))
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

/// What a query that finds no free slot must know.
struct Queue {
    limit: u32,
    waiting_max: u32,
    wait_max: Duration,
    typical: Option<Duration>,
}

impl Queue {
    /// How long a query waits that comes after so many others: a slot comes free in each part of an
    /// answer's time, of as many parts as there are slots. None before the first answer.
    fn wait_for(&self, ahead: u32) -> Option<Duration> {
        Some(self.typical? * ahead / self.limit.max(1))
    }
}

impl Sizes {
    fn queue(&self) -> Queue {
        let Self { limit, waiting_max, wait_max, typical, .. } = *self;
        Queue { limit, waiting_max, wait_max, typical }
    }

    fn learn(&mut self, took: Duration) {
        self.typical = Some(match self.typical {
            None => took,
            Some(typical) => (typical * (TYPICAL_ANSWERS - 1) + took) / TYPICAL_ANSWERS,
        });
    }

    /// How many slots there should be: as many as the limit, and with those that hang from before
    /// no more than the most.
    fn wanted(&mut self) -> u32 {
        self.old.retain(|old| old.in_use() > 0);
        let hanging: u32 = self.old.iter().map(Slots::in_use).sum();
        self.limit.min(self.concurrency_max.saturating_sub(hanging))
    }

    /// Adds slots, or takes free ones away.
    fn adjust(&mut self) {
        let wanted = self.wanted();
        let Slots { semaphore, granted } = &mut self.slots;
        if *granted < wanted {
            semaphore.add_permits((wanted - *granted) as usize);
            *granted = wanted;
        } else {
            // At most as many as were to be forgotten.
            *granted -= semaphore.forget_permits((*granted - wanted) as usize) as u32;
        }
    }
}

impl Slots {
    fn none() -> Self {
        Self { semaphore: Arc::new(Semaphore::new(0)), granted: 0 }
    }

    fn in_use(&self) -> u32 {
        self.granted.saturating_sub(self.semaphore.available_permits() as u32)
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

    /// The department has failed on it.
    pub(crate) fn failed(&self) {
        self.bulkhead.failed(self.since.elapsed());
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bulkhead.taken.fetch_sub(1, Ordering::Relaxed);
        let Some(permit) = self.permit.take() else { return };
        // Given back before the sizes are free to change again.
        let mut sizes = self.bulkhead.sizes();
        let is_old = !Arc::ptr_eq(permit.semaphore(), &sizes.slots.semaphore);
        if !is_old && sizes.slots.granted > sizes.wanted() {
            sizes.slots.granted -= 1;
            permit.forget();
            return;
        }
        drop(permit);
        if is_old {
            sizes.adjust();
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
