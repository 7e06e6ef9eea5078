//! How many queries a department sees at once.
//!
//! Owns a department's slots and the queue before them. It is the only place of admission that
//! waits, for a bounded time in a bounded queue, first come first served. It never refuses a query
//! while a slot is free and nobody waits.

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
    waiting_max: u32,
    wait_max: Duration,
    /// Slots in use that there are no longer: each vanishes when it is given back.
    surplus: u32,
}

/// One slot, given back by its drop.
pub(crate) struct Slot {
    bulkhead: Arc<Bulkhead>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Bulkhead {
    pub(crate) fn new(settings: &DepartmentSettings) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(settings.concurrency_max as usize)),
            sizes: Mutex::new(Sizes::of(settings)),
            taken: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Takes over other sizes. Fewer slots than are in use: none is free until enough have come
    /// back. Who waits already waits as long as he was told.
    pub(crate) fn resize(&self, settings: &DepartmentSettings) {
        let mut sizes = self.sizes();
        // What the semaphore holds, free and in use, is `concurrency_max + surplus`.
        let held = sizes.concurrency_max + sizes.surplus;
        *sizes = Sizes::of(settings);
        let wanted = sizes.concurrency_max;
        if wanted >= held {
            self.slots.add_permits((wanted - held) as usize);
        } else {
            let forgotten = self.slots.forget_permits((held - wanted) as usize);
            // At most as many as were to be forgotten.
            sizes.surplus = held - wanted - forgotten as u32;
        }
    }

    /// A slot; waits for one until `deadline` or the longest wait, whichever comes first. The only
    /// refusal is `Busy`.
    pub(crate) async fn acquire(self: &Arc<Self>, deadline: Instant) -> Result<Slot, Denied> {
        // The semaphore hands a freed slot to the longest waiter, so a free one is nobody's.
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Slot::taken(self, permit));
        }
        let Sizes { waiting_max, wait_max, .. } = *self.sizes();
        // After this time everyone who waits now has a slot or has left.
        let busy = Denied::Busy { retry_after: wait_max };
        let Some(_place) = self.queue(waiting_max) else { return Err(busy) };
        let until = deadline.min(Instant::now() + wait_max);
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
    fn of(settings: &DepartmentSettings) -> Self {
        Self {
            concurrency_max: settings.concurrency_max,
            waiting_max: settings.waiting_max,
            wait_max: Duration::from_millis(settings.wait_ms_max),
            surplus: 0,
        }
    }
}

impl Slot {
    fn taken(bulkhead: &Arc<Bulkhead>, permit: OwnedSemaphorePermit) -> Self {
        bulkhead.taken.fetch_add(1, Ordering::Relaxed);
        Self { bulkhead: Arc::clone(bulkhead), permit: Some(permit) }
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

#[cfg(test)]
mod tests;
