//! The order in which a query is checked, and the permit it ends in.
//!
//! Owns the sequence caller quota → policy → quota at the department → kill switch → maintenance →
//! breaker → bulkhead, and nothing of what each of them decides. It must never let a later check
//! run before an earlier one: what a caller may not ask must not cost a department anything, not
//! even a probe.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};
use jiff::Zoned;
use jumpgate_catalogue::{CallerId, DepartmentId, Notice, Query, Refusal};
use tokio::time::Instant;

use crate::breaker::{Settled, Ticket};
use crate::bulkhead::Slot;
use crate::denied::{self, Denied};
use crate::department::{Department, DepartmentReading};
use crate::in_flight::InFlight;
use crate::policy::{Decision, Policy, PolicyQuestion, RuleId};
use crate::quota::{Limiter, QuotaReading};
use crate::settings::{AdmissionPlan, CallerRates, DepartmentSettings, RateSettings, RoleName};

/// Decides whether a query may be asked now. One for the whole gateway; shared by reference.
pub struct Admission<C: Clock = DefaultClock> {
    policy: Policy,
    clock: C,
    civil_now: CivilNow,
    callers: HashMap<CallerId, CallerQuotas<C>>,
    departments: BTreeMap<DepartmentId, Arc<Department<C>>>,
    in_flight: InFlight,
}

/// The clock that rules see, in the civil time zone.
pub type CivilNow = Arc<dyn Fn() -> Zoned + Send + Sync>;

/// Every limiter is made at start, so that no caller can make this grow.
struct CallerQuotas<C: Clock> {
    own: Arc<Limiter<C>>,
    departments: HashMap<DepartmentId, Arc<Limiter<C>>>,
}

/// The caller's own quota allows the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerAllowance {
    /// The caller's quota after this question, for the response's headers.
    pub reading: QuotaReading,
}

/// The caller's own quota does not allow the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerRefused {
    /// Why, and when to come back.
    pub refusal: Refusal,
    /// The caller's quota, for the response's headers. None for a caller nobody configured.
    pub reading: Option<QuotaReading>,
}

impl From<CallerRefused> for Refusal {
    fn from(refused: CallerRefused) -> Self {
        refused.refusal
    }
}

/// A question that may not be asked now, with what is known of it by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Why, and when to come back.
    pub refusal: Refusal,
    /// The rule that forbids it, or that permits it where something else refuses it.
    pub rule: Option<RuleId>,
    /// The caller's quota at the department, if it was looked at, for the response's headers.
    pub quota: Option<QuotaReading>,
}

/// No predicate of the catalogue belongs to this department.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the catalogue has no department {0}")]
pub struct UnknownDepartment(pub DepartmentId);

/// May ask the department now. Holds a slot of its bulkhead and a ticket of its breaker; dropping
/// it gives both back. Made by [`Admission::admit`] only.
#[must_use = "a dropped permit gives its slot back"]
pub struct Permit<C: Clock = DefaultClock> {
    department: Arc<Department<C>>,
    rule: RuleId,
    quota: QuotaReading,
    // Dropped in this order: the breaker hears the outcome before the slot wakes the next query.
    ticket: Ticket<C>,
    slot: Slot,
}

impl<C: Clock + Clone> Admission<C> {
    /// Admission by `plan`, with full quotas, closed breakers and every department switched on.
    pub fn new(plan: AdmissionPlan, clock: C, civil_now: CivilNow) -> Self {
        Self::make(plan, clock, civil_now, None)
    }

    /// Admission by another plan in the place of this one. Departments keep their switch, the state
    /// of their breaker and everybody who is in or waits, callers keep what they have in flight and
    /// every quota whose rate stays; a quota with another rate begins full. Departments that stay
    /// take over their settings at once, also for queries of this admission.
    #[must_use]
    pub fn succeed(&self, plan: AdmissionPlan) -> Self {
        Self::make(plan, self.clock.clone(), Arc::clone(&self.civil_now), Some(self))
    }

    fn make(plan: AdmissionPlan, clock: C, civil_now: CivilNow, past: Option<&Self>) -> Self {
        let AdmissionPlan { policy, quotas, departments, in_flight_max } = plan;
        let department = |(id, settings): (&DepartmentId, &DepartmentSettings)| {
            let kept = past.and_then(|past| past.departments.get(id)).map(|kept| {
                kept.configure(settings);
                Arc::clone(kept)
            });
            let made = || Arc::new(Department::new(id.clone(), settings, clock.clone()));
            (id.clone(), kept.unwrap_or_else(made))
        };
        let quotas_of = |(id, rates): (CallerId, CallerRates)| {
            let past = past.and_then(|past| past.callers.get(&id));
            (id, CallerQuotas::new(rates, past, &clock))
        };
        Self {
            policy,
            in_flight: InFlight::new(quotas.keys(), in_flight_max, past.map(|it| &it.in_flight)),
            departments: departments.iter().map(department).collect(),
            callers: quotas.into_iter().map(quotas_of).collect(),
            clock,
            civil_now,
        }
    }

    /// Takes one question from the caller's own quota: the first check, made before a body is read.
    ///
    /// # Errors
    /// `CallerQuota` with the time to come back; `Unauthenticated` for a caller nobody configured.
    pub fn check_caller(&self, caller: &CallerId) -> Result<CallerAllowance, CallerRefused> {
        self.check_caller_batch(caller, NonZeroU32::MIN)
    }

    /// Takes several questions from the caller's own quota, or none of them: a batch whose first
    /// question [`check_caller`](Self::check_caller) has paid for pays for the others here.
    ///
    /// # Errors
    /// As `check_caller`; without a time to come back if the quota never holds so many at once.
    pub fn check_caller_batch(
        &self,
        caller: &CallerId,
        questions: NonZeroU32,
    ) -> Result<CallerAllowance, CallerRefused> {
        let Some(quotas) = self.callers.get(caller) else {
            return Err(CallerRefused { refusal: denied::unknown_caller(), reading: None });
        };
        let reading = quotas.own.take(questions).map_err(|spent| CallerRefused {
            refusal: denied::caller_quota(&spent),
            reading: Some(spent.reading),
        })?;
        Ok(CallerAllowance { reading })
    }

    /// Every check after the caller's own quota; `operator` has the roles that a signed token gives
    /// the operator, or is none without one. Waits at the department's bulkhead only, for at
    /// most its `wait_ms_max` and never past `deadline`. Dropping the future gives everything back.
    ///
    /// # Errors
    /// `NotGranted`, `DepartmentQuota`, `DepartmentKilled`,
    /// `DepartmentMaintenance`, `BreakerOpen` or `BulkheadFull`.
    pub async fn admit(
        &self,
        caller: &CallerId,
        operator: Option<&[RoleName]>,
        query: &Query,
        deadline: Instant,
    ) -> Result<Permit<C>, Box<Rejected>> {
        let Some(department) = self.departments.get(&query.predicate().department) else {
            // A query of another catalogue than the plan was checked against.
            return Err(Rejected::new(Denied::NotGranted, None, None));
        };
        let admitted = self.permit(department, (caller, operator), query, deadline).await;
        let denied = admitted.as_ref().err().map(|(denied, ..)| denied);
        department.count_admission(denied);
        admitted.map_err(|(denied, rule, quota)| Rejected::new(denied, rule, quota))
    }

    async fn permit(
        &self,
        department: &Arc<Department<C>>,
        (caller, operator): (&CallerId, Option<&[RoleName]>),
        query: &Query,
        deadline: Instant,
    ) -> Result<Permit<C>, (Denied, Option<RuleId>, Option<QuotaReading>)> {
        let question = PolicyQuestion {
            caller,
            predicate: &query.predicate().id,
            purpose: query.purpose(),
            subject_kind: &query.subject().kind().id,
            has_case: query.case().is_some(),
            operator,
        };
        let rule = match self.policy.decide(&question, || (self.civil_now)()) {
            Decision::Permitted(rule) => rule,
            Decision::Forbidden(rule) => return Err((Denied::Forbidden, Some(rule), None)),
            Decision::NotGranted => return Err((Denied::NotGranted, None, None)),
        };
        // A permitted caller is configured, and a configured one has a quota at each department.
        let quotas = self.callers.get(caller).and_then(|it| it.departments.get(department.id()));
        let Some(quotas) = quotas else { return Err((Denied::NotGranted, None, None)) };
        let quota = match quotas.take(NonZeroU32::MIN) {
            Ok(quota) => quota,
            Err(spent) => {
                let reading = spent.reading.clone();
                return Err((Denied::Quota(spent), Some(rule), Some(reading)));
            }
        };
        match department.enter(deadline, &*self.civil_now).await {
            Ok((ticket, slot)) => {
                let department = Arc::clone(department);
                Ok(Permit { department, rule, quota, ticket, slot })
            }
            Err(denied) => Err((denied, Some(rule), Some(quota))),
        }
    }

    /// Switches a department off: queries not yet admitted are refused, those that wait at once,
    /// and admitted ones make no retry. `notice` is what people are shown. True if it was on.
    ///
    /// # Errors
    /// The catalogue has no such department.
    pub fn kill(
        &self,
        department: &DepartmentId,
        notice: Option<Notice>,
    ) -> Result<bool, UnknownDepartment> {
        Ok(!self.department(department)?.switch(true, notice))
    }

    /// Switches a department on again; its breaker keeps its state. True if it was off.
    ///
    /// # Errors
    /// The catalogue has no such department.
    pub fn revive(&self, department: &DepartmentId) -> Result<bool, UnknownDepartment> {
        Ok(self.department(department)?.switch(false, None))
    }

    /// How every department stands now, in the order of their ids.
    pub fn departments(&self) -> Vec<DepartmentReading> {
        let now = (self.civil_now)();
        self.departments.values().map(|department| department.reading(&now)).collect()
    }

    /// The marks of queries in flight.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Who may ask what.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn department(&self, id: &DepartmentId) -> Result<&Department<C>, UnknownDepartment> {
        self.departments.get(id).map(Arc::as_ref).ok_or_else(|| UnknownDepartment(id.clone()))
    }
}

impl<C: Clock + Clone> CallerQuotas<C> {
    fn new(rates: CallerRates, past: Option<&Self>, clock: &C) -> Self {
        let limiter = |policy: &str, rate: RateSettings, past: Option<&Arc<Limiter<C>>>| {
            let kept = past.filter(|past| past.rate() == rate).map(Arc::clone);
            kept.unwrap_or_else(|| Arc::new(Limiter::new(policy, rate, clock)))
        };
        let of_department = |(id, rate): (DepartmentId, RateSettings)| {
            let past = past.and_then(|past| past.departments.get(&id));
            let limiter = limiter(&format!("caller/{id}"), rate, past);
            (id, limiter)
        };
        Self {
            own: limiter("caller", rates.own, past.map(|past| &past.own)),
            departments: rates.departments.into_iter().map(of_department).collect(),
        }
    }
}

impl Rejected {
    fn new(denied: Denied, rule: Option<RuleId>, quota: Option<QuotaReading>) -> Box<Self> {
        Box::new(Self { refusal: denied.into(), rule, quota })
    }
}

impl<C: Clock> Permit<C> {
    /// The department that may be asked.
    pub fn department(&self) -> &DepartmentId {
        self.department.id()
    }

    /// The rule that permits the question.
    pub fn rule(&self) -> &RuleId {
        &self.rule
    }

    /// The caller's quota at this department after this query, for the response's headers.
    pub fn quota(&self) -> &QuotaReading {
        &self.quota
    }

    /// True while a retry may still be made: the department is switched on and its breaker has not
    /// changed state since the query passed it.
    pub fn breaker_agrees(&self) -> bool {
        !self.department.is_killed() && self.ticket.is_current()
    }

    /// Tells the breaker how the department did, and gives everything back. A permit dropped
    /// without it counts as [`Settled::Neutral`].
    pub fn settle(mut self, settled: Settled) {
        self.ticket.settled = settled;
    }
}

impl<C: Clock> Drop for Permit<C> {
    fn drop(&mut self) {
        match self.ticket.settled {
            Settled::Ok => self.slot.answered(),
            Settled::DepartmentFailed => self.slot.failed(),
            Settled::Neutral => {}
        }
        self.department.count_outcome(self.ticket.settled);
    }
}

#[cfg(test)]
mod tests;
