//! One department's protection: its switch, its breaker and its bulkhead, in this order.
//!
//! Owns their order and the counts of what they decided. It never reads whom or what a query asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use governor::clock::Clock;
use jumpgate_catalogue::DepartmentId;
use tokio::time::Instant;

use crate::breaker::{Breaker, BreakerReading, Settled, Ticket};
use crate::bulkhead::{Bulkhead, Slot};
use crate::denied::Denied;
use crate::settings::DepartmentSettings;

/// How a department stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepartmentReading {
    /// The department.
    pub department: DepartmentId,
    /// True while it is switched off.
    pub killed: bool,
    /// Its breaker.
    pub breaker: BreakerReading,
    /// Queries that hold a slot.
    pub in_flight: u32,
    /// Queries that wait for a slot.
    pub waiting: u32,
    /// Its slots.
    pub concurrency_max: u32,
    /// What happened since the start.
    pub counts: DepartmentCounts,
}

/// Queries for one department since the start, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DepartmentCounts {
    /// Refused: no rule permits it, or one forbids it.
    pub not_granted: u64,
    /// Refused: the caller's quota here was used up.
    pub quota: u64,
    /// Refused: switched off.
    pub killed: u64,
    /// Refused: breaker open.
    pub resting: u64,
    /// Refused: no slot in time.
    pub busy: u64,
    /// Given a permit.
    pub admitted: u64,
    /// Permits settled [`Settled::Ok`].
    pub ok: u64,
    /// Permits settled [`Settled::DepartmentFailed`].
    pub failed: u64,
    /// Permits settled [`Settled::Neutral`], or dropped.
    pub neutral: u64,
}

pub(crate) struct Department<C: Clock> {
    id: DepartmentId,
    killed: AtomicBool,
    breaker: Arc<Breaker<C>>,
    bulkhead: Arc<Bulkhead>,
    counts: Mutex<DepartmentCounts>,
}

impl<C: Clock> Department<C> {
    pub(crate) fn new(id: DepartmentId, settings: &DepartmentSettings, clock: C) -> Self {
        Self {
            id,
            killed: AtomicBool::new(false),
            breaker: Arc::new(Breaker::new(settings.breaker, clock)),
            bulkhead: Arc::new(Bulkhead::new(settings)),
            counts: Mutex::default(),
        }
    }

    /// Takes over other settings, with everybody who is in or waits.
    pub(crate) fn configure(&self, settings: &DepartmentSettings) {
        self.breaker.configure(settings.breaker);
        self.bulkhead.resize(settings);
    }

    /// Passes switch and breaker, waits for a slot, and passes both again: what they said before
    /// the wait may be untrue after it.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<(Ticket<C>, Slot), Denied> {
        self.check_switch()?;
        let mut ticket = self.pass()?;
        let slot = self.bulkhead.acquire(deadline).await?;
        self.check_switch()?;
        if !ticket.is_current() {
            ticket = self.pass()?;
        }
        Ok((ticket, slot))
    }

    /// Sets the switch; returns what it was.
    pub(crate) fn switch(&self, killed: bool) -> bool {
        self.killed.swap(killed, Ordering::SeqCst)
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    pub(crate) fn id(&self) -> &DepartmentId {
        &self.id
    }

    pub(crate) fn reading(&self) -> DepartmentReading {
        DepartmentReading {
            department: self.id.clone(),
            killed: self.is_killed(),
            breaker: self.breaker.reading(),
            in_flight: self.bulkhead.in_flight(),
            waiting: self.bulkhead.waiting(),
            concurrency_max: self.bulkhead.concurrency_max(),
            counts: *self.counts(),
        }
    }

    /// Counts how an admission ended: with a reason, or with a permit.
    pub(crate) fn count_admission(&self, denied: Option<&Denied>) {
        let mut counts = self.counts();
        let count = match denied {
            None => &mut counts.admitted,
            Some(Denied::NotGranted | Denied::Forbidden) => &mut counts.not_granted,
            Some(Denied::Quota(_)) => &mut counts.quota,
            Some(Denied::Killed) => &mut counts.killed,
            Some(Denied::Resting { .. }) => &mut counts.resting,
            Some(Denied::Busy { .. }) => &mut counts.busy,
        };
        *count += 1;
    }

    pub(crate) fn count_outcome(&self, settled: Settled) {
        let mut counts = self.counts();
        match settled {
            Settled::Ok => counts.ok += 1,
            Settled::DepartmentFailed => counts.failed += 1,
            Settled::Neutral => counts.neutral += 1,
        }
    }

    fn check_switch(&self) -> Result<(), Denied> {
        if self.is_killed() { Err(Denied::Killed) } else { Ok(()) }
    }

    fn pass(&self) -> Result<Ticket<C>, Denied> {
        self.breaker.pass().map_err(|retry_after| Denied::Resting { retry_after })
    }

    /// A panic elsewhere cannot leave a count half written, so a poisoned lock is still good.
    fn counts(&self) -> MutexGuard<'_, DepartmentCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
