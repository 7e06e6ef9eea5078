//! When to stop calling a department, and when to try again.
//!
//! Owns the state machine closed → open → half-open of one department. It is told outcomes and
//! gives out tickets; it never calls a department itself and never waits. A ticket is of the state
//! it was given in: what happens to it later never counts for a later state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use jumpgate_catalogue::FaultCode;

use crate::settings::BreakerSettings;

/// How a department did with one query, as its breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It answered.
    Ok,
    /// It did not, and would probably not have answered another query either.
    DepartmentFailed,
    /// It was not asked, or what happened says nothing of its health.
    Neutral,
}

impl Settled {
    /// What an outcome says of the department's health. Faults that may be of one record alone, a
    /// malformed reply for one, are neutral: one person's broken record must not stop all others.
    pub fn of(fault: Option<FaultCode>) -> Self {
        let Some(code) = fault else { return Self::Ok };
        match code {
            FaultCode::DepartmentUnreachable
            | FaultCode::DepartmentTimeout
            | FaultCode::DepartmentReset
            | FaultCode::DepartmentRedirected
            | FaultCode::DepartmentError
            | FaultCode::DepartmentDenied => Self::DepartmentFailed,
            FaultCode::DepartmentStatus
            | FaultCode::ReplyTooLarge
            | FaultCode::ReplyMalformed
            | FaultCode::ReplyUnexpected
            | FaultCode::AdapterTrapped
            | FaultCode::AdapterFuel
            | FaultCode::AdapterMemory
            | FaultCode::AdapterSteps
            | FaultCode::AdapterOutputTooLarge
            | FaultCode::AdapterRequestDenied
            | FaultCode::AdapterUnsupported
            | FaultCode::AdapterContradiction
            | FaultCode::GatewayInternal => Self::Neutral,
        }
    }
}

/// A breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Queries pass.
    Closed,
    /// The department rests; nothing passes.
    Open,
    /// The rest is over; one query at a time passes, as a probe.
    HalfOpen,
}

impl BreakerState {
    /// The word in metrics and status pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TripReason {
    /// `failures_max` queries failed one after the other.
    Consecutive,
    /// Half of the last 20 settled queries failed.
    Rate,
    /// A probe failed.
    Probe,
}

impl TripReason {
    /// The word in metrics and status pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive => "consecutive-failures",
            Self::Rate => "failure-rate",
            Self::Probe => "probe-failed",
        }
    }
}

/// A breaker as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerReading {
    /// Its state. Open lasts, also after its rest is over, until the next query comes as a probe.
    pub state: BreakerState,
    /// How often it opened since the start.
    pub trips: u64,
    /// Why it opened last.
    pub last_trip: Option<TripReason>,
}

/// A change of state that others must know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The department begins to rest.
    Tripped,
    /// The department is back.
    Closed,
}

/// One department's breaker.
pub(crate) struct Breaker<C: Clock> {
    clock: C,
    on_change: Box<dyn Fn(Change) + Send + Sync>,
    inner: Mutex<Inner<C::Instant>>,
}

struct Inner<I> {
    settings: BreakerSettings,
    phase: Phase<I>,
    /// Counts changes of state, so that a ticket of an earlier state is known.
    epoch: u64,
    /// The rest the next trip gives; doubles while probes fail.
    rest: Duration,
    trips: u64,
    last_trip: Option<TripReason>,
}

enum Phase<I> {
    Closed { failures_in_row: u32, window: Window },
    Open { until: I },
    HalfOpen { probe_is_out: bool, probes_ok: u32 },
}

/// Leave to call, of one state of the breaker. Its drop tells the breaker `settled`, so that a
/// probe that is given up makes room for the next.
pub(crate) struct Ticket<C: Clock> {
    breaker: Arc<Breaker<C>>,
    epoch: u64,
    pub(crate) settled: Settled,
}

impl<C: Clock> Drop for Ticket<C> {
    fn drop(&mut self) {
        self.breaker.record(self.epoch, self.settled);
    }
}

impl<C: Clock> Ticket<C> {
    /// True while the breaker is in the state that gave the ticket.
    pub(crate) fn is_current(&self) -> bool {
        self.breaker.lock().epoch == self.epoch
    }
}

impl<C: Clock> Breaker<C> {
    /// A closed breaker. `on_change` is told after each change.
    pub(crate) fn new(
        settings: BreakerSettings,
        clock: C,
        on_change: impl Fn(Change) + Send + Sync + 'static,
    ) -> Self {
        let inner = Inner {
            settings,
            phase: Phase::closed(),
            epoch: 0,
            rest: settings.rest(),
            trips: 0,
            last_trip: None,
        };
        Self { clock, on_change: Box::new(on_change), inner: Mutex::new(inner) }
    }

    /// Takes over other settings. A rest that has begun ends as it was told.
    pub(crate) fn configure(&self, settings: BreakerSettings) {
        let mut inner = self.lock();
        inner.settings = settings;
        // What failed probes have made of the rest stays, within the new bounds.
        inner.rest = inner.rest.clamp(settings.rest(), settings.rest_max());
    }

    /// Leave to call now, or how long the department still rests.
    pub(crate) fn pass(self: &Arc<Self>) -> Result<Ticket<C>, Duration> {
        let now = self.clock.now();
        let mut inner = self.lock();
        match &mut inner.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until } if now < *until => return Err(until.duration_since(now).into()),
            Phase::Open { .. } => {
                inner.change(Phase::HalfOpen { probe_is_out: true, probes_ok: 0 });
            }
            // When the probe ends is not known; a failed one would give at least this rest.
            Phase::HalfOpen { probe_is_out: true, .. } => return Err(inner.settings.rest()),
            Phase::HalfOpen { probe_is_out, .. } => *probe_is_out = true,
        }
        let epoch = inner.epoch;
        drop(inner);
        Ok(Ticket { breaker: Arc::clone(self), epoch, settled: Settled::Neutral })
    }

    pub(crate) fn reading(&self) -> BreakerReading {
        let inner = self.lock();
        let state = match inner.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        };
        BreakerReading { state, trips: inner.trips, last_trip: inner.last_trip }
    }

    fn record(&self, epoch: u64, settled: Settled) {
        let mut inner = self.lock();
        if epoch != inner.epoch {
            return;
        }
        match settled {
            Settled::Ok => inner.answered(),
            Settled::DepartmentFailed => inner.failed(self.clock.now()),
            Settled::Neutral => inner.gave_up(),
        }
        let change = match (inner.epoch == epoch, &inner.phase) {
            (false, Phase::Open { .. }) => Some(Change::Tripped),
            (false, Phase::Closed { .. }) => Some(Change::Closed),
            (true, _) | (false, Phase::HalfOpen { .. }) => None,
        };
        // Before the lock is free, so that nobody passes in between; what is told asks nothing.
        change.into_iter().for_each(&self.on_change);
    }

    /// A panic elsewhere cannot leave these numbers half written, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Inner<C::Instant>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Reference> Inner<I> {
    fn answered(&mut self) {
        let settings = self.settings;
        match &mut self.phase {
            Phase::Closed { failures_in_row, window } => {
                *failures_in_row = 0;
                window.push(false);
            }
            // An open breaker gives out no ticket, so none is of its epoch; so below.
            Phase::Open { .. } => {}
            Phase::HalfOpen { probe_is_out, probes_ok } => {
                *probe_is_out = false;
                *probes_ok += 1;
                if *probes_ok >= settings.probes_to_close {
                    self.rest = settings.rest();
                    self.change(Phase::closed());
                }
            }
        }
    }

    fn failed(&mut self, now: I) {
        let settings = self.settings;
        let reason = match &mut self.phase {
            Phase::Closed { failures_in_row, window } => {
                *failures_in_row += 1;
                window.push(true);
                if *failures_in_row >= settings.failures_max {
                    TripReason::Consecutive
                } else if window.is_bad() {
                    TripReason::Rate
                } else {
                    return;
                }
            }
            Phase::Open { .. } => return,
            Phase::HalfOpen { .. } => {
                self.rest = (self.rest * 2).min(settings.rest_max());
                TripReason::Probe
            }
        };
        self.trips += 1;
        self.last_trip = Some(reason);
        self.change(Phase::Open { until: now + self.rest.into() });
    }

    fn gave_up(&mut self) {
        match &mut self.phase {
            Phase::Closed { .. } | Phase::Open { .. } => {}
            Phase::HalfOpen { probe_is_out, .. } => *probe_is_out = false,
        }
    }

    fn change(&mut self, phase: Phase<I>) {
        self.phase = phase;
        self.epoch += 1;
    }
}

impl<I> Phase<I> {
    fn closed() -> Self {
        Self::Closed { failures_in_row: 0, window: Window::default() }
    }
}

/// The last outcomes, newest in the lowest bit; a set bit is a failure.
#[derive(Default)]
struct Window {
    failures: u32,
    outcomes: u32,
}

impl Window {
    fn push(&mut self, failed: bool) {
        self.failures = ((self.failures << 1) | u32::from(failed)) & ((1 << WINDOW_OUTCOMES) - 1);
        self.outcomes = (self.outcomes + 1).min(WINDOW_OUTCOMES);
    }

    /// True if the window is full and too much of it failed.
    fn is_bad(&self) -> bool {
        self.outcomes == WINDOW_OUTCOMES
            && self.failures.count_ones() * 100 >= WINDOW_OUTCOMES * FAILURES_PERCENT
    }
}

/// Outcomes the failure rate is taken over: enough that two slow answers do not decide, few enough
/// that a department at one query a second is judged within half a minute. At most 31.
const WINDOW_OUTCOMES: u32 = 20;

/// Share of failures at which calling costs callers more than the answers are worth.
const FAILURES_PERCENT: u32 = 50;

#[cfg(test)]
mod tests;
