//! How many queries a department sees at once.
//!
//! Owns a department's slots and the queue before them. It is the only place of admission that
//! waits, for a bounded time in a bounded queue, first come first served. It never refuses a query
//! while a slot is free and nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::denied::Denied;
use crate::settings::DepartmentSettings;

/// The slots of one department.
pub(crate) struct Bulkhead {
    concurrency_max: u32,
    waiting_max: u32,
    wait_max: Duration,
    slots: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// One slot, given back by its drop.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Bulkhead {
    pub(crate) fn new(settings: &DepartmentSettings) -> Self {
        Self {
            concurrency_max: settings.concurrency_max,
            waiting_max: settings.waiting_max,
            wait_max: Duration::from_millis(settings.wait_ms_max),
            slots: Arc::new(Semaphore::new(settings.concurrency_max as usize)),
            waiting: AtomicU32::new(0),
        }
    }

    /// A slot; waits for one until `deadline` or the longest wait, whichever comes first. The only
    /// refusal is `Busy`.
    pub(crate) async fn acquire(&self, deadline: Instant) -> Result<Slot, Denied> {
        // The semaphore hands a freed slot to the longest waiter, so a free one is nobody's.
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Slot { _permit: permit });
        }
        // After this time everyone who waits now has a slot or has left.
        let busy = Denied::Busy { retry_after: self.wait_max };
        let Some(_place) = self.queue() else { return Err(busy) };
        let until = deadline.min(Instant::now() + self.wait_max);
        match timeout_at(until, Arc::clone(&self.slots).acquire_owned()).await {
            // The semaphore is never closed.
            Err(_) | Ok(Err(_)) => Err(busy),
            Ok(Ok(permit)) => Ok(Slot { _permit: permit }),
        }
    }

    /// Slots taken now.
    pub(crate) fn in_flight(&self) -> u32 {
        // At most `concurrency_max` are free, so the number fits.
        self.concurrency_max - self.slots.available_permits() as u32
    }

    /// Queries that wait for a slot now.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn concurrency_max(&self) -> u32 {
        self.concurrency_max
    }

    fn queue(&self) -> Option<Place<'_>> {
        let longer = |waiting| (waiting < self.waiting_max).then_some(waiting + 1);
        (self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, longer).ok())
            .map(|_| Place { bulkhead: self })
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
