//! One department's protection: its switch, its maintenance windows, its breaker and its bulkhead,
//! in this order.
//!
//! Owns their order and the counts of what they decided. It never reads whom or what a query asks.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::Clock;
use jiff::Zoned;
use jumpgate_catalogue::{DepartmentId, Notice};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::breaker::{Breaker, BreakerReading, Change, Settled, Ticket};
use crate::bulkhead::{Bulkhead, Slot};
use crate::denied::Denied;
use crate::ledger::Scope;
use crate::maintenance::{self, WindowSettings};
use crate::settings::DepartmentSettings;

/// How a department stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepartmentReading {
    /// The department.
    pub department: DepartmentId,
    /// True while it is switched off.
    pub killed: bool,
    /// How long its maintenance lasts from now on; none outside of its windows.
    pub maintenance: Option<Duration>,
    /// What people are shown while it is switched off or under maintenance.
    pub notice: Option<Notice>,
    /// Its breaker.
    pub breaker: BreakerReading,
    /// Queries that hold a slot.
    pub in_flight: u32,
    /// Queries that wait for a slot.
    pub waiting: u32,
    /// Its slots when it is well.
    pub concurrency_max: u32,
    /// Its slots now: fewer after a rest.
    pub limit: u32,
    /// How long its answers take, on the average of the last ones.
    pub typical: Option<Duration>,
    /// What happened since the start.
    pub counts: DepartmentCounts,
}

/// Queries for one department since the start, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DepartmentCounts {
    /// Refused: no rule permits it, or one forbids it.
    pub not_granted: u64,
    /// Refused: the caller's quota or allotment here was used up.
    pub quota: u64,
    /// Refused: the caller's allotment about the subject was used up.
    pub subject: u64,
    /// Refused: switched off.
    pub killed: u64,
    /// Refused: maintenance.
    pub maintenance: u64,
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
    notice: Mutex<Option<Notice>>,
    windows: ArcSwap<Vec<WindowSettings>>,
    breaker: Arc<Breaker<C>>,
    bulkhead: Arc<Bulkhead>,
    /// Wakes those that wait for a slot when the department is switched off or begins to rest.
    alarm: Arc<Notify>,
    counts: Mutex<DepartmentCounts>,
}

impl<C: Clock> Department<C> {
    pub(crate) fn new(id: DepartmentId, settings: &DepartmentSettings, clock: C) -> Self {
        let bulkhead = Arc::new(Bulkhead::new(settings));
        let alarm = Arc::new(Notify::new());
        let on_change = {
            let (bulkhead, alarm) = (Arc::clone(&bulkhead), Arc::clone(&alarm));
            move |change| match change {
                Change::Tripped => alarm.notify_waiters(),
                Change::Closed => bulkhead.begin_gently(),
            }
        };
        Self {
            id,
            killed: AtomicBool::new(false),
            notice: Mutex::default(),
            windows: ArcSwap::from_pointee(settings.maintenance.clone()),
            breaker: Arc::new(Breaker::new(settings.breaker, clock, on_change)),
            bulkhead,
            alarm,
            counts: Mutex::default(),
        }
    }

    /// Takes over other settings, with everybody who is in or waits.
    pub(crate) fn configure(&self, settings: &DepartmentSettings) {
        self.breaker.configure(settings.breaker);
        self.bulkhead.resize(settings);
        self.windows.store(Arc::new(settings.maintenance.clone()));
    }

    /// Passes switch, maintenance and breaker, waits for a slot, and passes them again: what they
    /// said before the wait may be untrue after it. Who waits when the department is switched off
    /// or begins to rest is refused then, and not when his turn comes.
    pub(crate) async fn enter(
        &self,
        deadline: Instant,
        now: &(dyn Fn() -> Zoned + Send + Sync),
    ) -> Result<(Ticket<C>, Slot), Denied> {
        self.check_open(now)?;
        let ticket = self.pass()?;
        match self.bulkhead.free_slot() {
            Some(slot) => Ok((ticket, slot)),
            // On the heap, so that a query that need not wait carries nothing of it.
            None => Box::pin(self.wait(ticket, deadline, now)).await,
        }
    }

    async fn wait(
        &self,
        mut ticket: Ticket<C>,
        deadline: Instant,
        now: &(dyn Fn() -> Zoned + Send + Sync),
    ) -> Result<(Ticket<C>, Slot), Denied> {
        let mut waiting = pin!(self.bulkhead.acquire(deadline));
        let slot = loop {
            let mut alarm = pin!(self.alarm.notified());
            // From here on no alarm is missed, and one that came before shows in what follows.
            alarm.as_mut().enable();
            self.check_switch()?;
            if !ticket.is_current() {
                ticket = self.pass()?;
            }
            tokio::select! {
                biased;
                slot = &mut waiting => break slot?,
                () = alarm => {}
            }
        };
        self.check_open(now)?;
        if !ticket.is_current() {
            ticket = self.pass()?;
        }
        Ok((ticket, slot))
    }

    /// Sets the switch, and what people are shown while it is off; returns what it was.
    pub(crate) fn switch(&self, killed: bool, notice: Option<Notice>) -> bool {
        let mut shown = self.notice.lock().unwrap_or_else(PoisonError::into_inner);
        // Switched off once more without a message, it keeps the one that it has.
        if notice.is_some() || !killed {
            *shown = notice;
        }
        drop(shown);
        let was = self.killed.swap(killed, Ordering::SeqCst);
        self.alarm.notify_waiters();
        was
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    pub(crate) fn id(&self) -> &DepartmentId {
        &self.id
    }

    pub(crate) fn reading(&self, now: &Zoned) -> DepartmentReading {
        DepartmentReading {
            department: self.id.clone(),
            killed: self.is_killed(),
            maintenance: maintenance::rest_of(&self.windows.load(), now),
            notice: self.notice(now),
            breaker: self.breaker.reading(),
            in_flight: self.bulkhead.in_flight(),
            waiting: self.bulkhead.waiting(),
            concurrency_max: self.bulkhead.concurrency_max(),
            limit: self.bulkhead.limit(),
            typical: self.bulkhead.typical(),
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
            Some(Denied::Spent(spent)) if spent.of == Scope::Department => &mut counts.quota,
            Some(Denied::Spent(_) | Denied::TooManySubjects { .. } | Denied::NotReleased(_)) => {
                &mut counts.subject
            }
            Some(Denied::Killed { .. }) => &mut counts.killed,
            Some(Denied::Maintenance { .. }) => &mut counts.maintenance,
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

    fn check_open(&self, now: &(dyn Fn() -> Zoned + Send + Sync)) -> Result<(), Denied> {
        self.check_switch()?;
        let windows = self.windows.load();
        if windows.is_empty() {
            return Ok(());
        }
        let now = now();
        let Some(retry_after) = maintenance::rest_of(&windows, &now) else { return Ok(()) };
        let notice = maintenance::notice_of(&windows, &now);
        Err(Denied::Maintenance { retry_after, notice })
    }

    /// What people are shown now.
    fn notice(&self, now: &Zoned) -> Option<Notice> {
        if self.is_killed() {
            return self.notice.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        maintenance::notice_of(&self.windows.load(), now)
    }

    fn check_switch(&self) -> Result<(), Denied> {
        if !self.is_killed() {
            return Ok(());
        }
        let notice = self.notice.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(Denied::Killed { notice })
    }

    fn pass(&self) -> Result<Ticket<C>, Denied> {
        self.breaker.pass().map_err(|retry_after| Denied::Resting { retry_after })
    }

    /// A panic elsewhere cannot leave a count half written, so a poisoned lock is still good.
    fn counts(&self) -> MutexGuard<'_, DepartmentCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
