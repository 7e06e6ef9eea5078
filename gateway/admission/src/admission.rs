//! The order in which a query is checked, and the permit it ends in.
//!
//! Owns the sequence caller quota → policy → quota at the department → allotments there and about
//! the subject → disclosure → kill switch → maintenance → breaker → bulkhead, and nothing of what
//! each of them decides. It must never let a later check run before an earlier one: what a caller
//! may not ask must not cost a department anything, not even a probe.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use jiff::Zoned;
use jumpgate_catalogue::{CallerId, DepartmentId, Notice, PredicateId, Query, Refusal};
use tokio::time::Instant;

use crate::breaker::{Settled, Ticket};
use crate::bulkhead::Slot;
use crate::denied::{self, Denied};
use crate::department::{Department, DepartmentReading};
use crate::disclosure::{Audited, Cutting, ExactPredicate, NotReleased};
use crate::in_flight::InFlight;
use crate::ledger::{
    Asking, AskingLimits, Charge, Families, Ledger, NotReserved, Reservation, Scope, SubjectNumber,
};
use crate::numbered::Number;
use crate::policy::{Decision, Desk, Policy, PolicyQuestion, RuleId};
use crate::quota::{AllotmentNames, Limiter, QuotaReading};
use crate::settings::{AdmissionPlan, Allotment, CallerLimits, DepartmentSettings, Quota};

/// Decides whether a query may be asked now. One for the whole gateway; shared by reference.
pub struct Admission<C: Clock = DefaultClock> {
    policy: Policy,
    clock: C,
    civil_now: CivilNow,
    ledger: Arc<Ledger>,
    families: Families,
    exact: HashMap<PredicateId, ExactPredicate>,
    callers: HashMap<CallerId, CallerQuotas<C>>,
    departments: BTreeMap<DepartmentId, Arc<Department<C>>>,
    in_flight: InFlight,
}

/// The clock that rules see, in the civil time zone.
pub type CivilNow = Arc<dyn Fn() -> Zoned + Send + Sync>;

/// Every limiter is made at start, so that no caller can make this grow.
struct CallerQuotas<C: Clock> {
    number: Number,
    /// The same caller's for the auditor.
    cutter: Number,
    own: Arc<Limiter<C>>,
    allotment: Allotment,
    names: AllotmentNames,
    departments: HashMap<DepartmentId, QuotasAt<C>>,
}

/// A caller's quotas at one department.
struct QuotasAt<C: Clock> {
    number: Number,
    limiter: Arc<Limiter<C>>,
    limits: AskingLimits,
    names: AllotmentNames,
}

/// A question that is counted for its caller.
pub struct Charged {
    /// Gives it back if the question gets no entry.
    pub charge: Charge,
    /// What is nearly used up of the caller's allotment, for the response's headers.
    pub quotas: Vec<QuotaReading>,
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
    /// The caller's quotas at the department, if they were looked at, for the response's headers.
    pub quotas: Vec<QuotaReading>,
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
    quotas: Vec<QuotaReading>,
    /// None once it is settled.
    reservation: Option<Reservation>,
    /// What the auditor said; uncut once it is taken.
    audited: Audited,
    // Dropped in this order: the breaker hears the outcome before the slot wakes the next query.
    ticket: Ticket<C>,
    slot: Slot,
}

impl<C: Clock + Clone> Admission<C> {
    /// Admission by `plan`, with full quotas, closed breakers and every department switched on.
    /// What was asked before is in `ledger`, whose civil days should be those of `civil_now`.
    pub fn new(plan: AdmissionPlan, clock: C, civil_now: CivilNow, ledger: Arc<Ledger>) -> Self {
        Self::make(plan, clock, civil_now, ledger, None)
    }

    /// Admission by another plan in the place of this one. Departments keep their switch, the state
    /// of their breaker and everybody who is in or waits, callers keep what they have in flight and
    /// have asked, and every quota whose rate stays; one with another rate begins full. Departments
    /// that stay take over their settings at once, also for queries of this admission.
    #[must_use]
    pub fn succeed(&self, plan: AdmissionPlan) -> Self {
        let (clock, civil_now) = (self.clock.clone(), Arc::clone(&self.civil_now));
        Self::make(plan, clock, civil_now, Arc::clone(&self.ledger), Some(self))
    }

    fn make(
        plan: AdmissionPlan,
        clock: C,
        civil_now: CivilNow,
        ledger: Arc<Ledger>,
        past: Option<&Self>,
    ) -> Self {
        let AdmissionPlan { policy, quotas, predicates, exact, departments, in_flight_max, .. } =
            plan;
        let alarm = plan.subject_alarm_per_day;
        let department = |(id, settings): (&DepartmentId, &DepartmentSettings)| {
            let kept = past.and_then(|past| past.departments.get(id)).map(|kept| {
                kept.configure(settings);
                Arc::clone(kept)
            });
            let made = || Arc::new(Department::new(id.clone(), settings, clock.clone()));
            (id.clone(), kept.unwrap_or_else(made))
        };
        let quotas_of = |(id, limits): (CallerId, CallerLimits)| {
            let past = past.and_then(|past| past.callers.get(&id));
            let quotas = CallerQuotas::new(&id, &limits, alarm, past, &ledger, &clock);
            (id, quotas)
        };
        Self {
            policy,
            in_flight: InFlight::new(quotas.keys(), in_flight_max, past.map(|it| &it.in_flight)),
            departments: departments.iter().map(department).collect(),
            callers: quotas.into_iter().map(quotas_of).collect(),
            families: ledger.families(predicates),
            exact: ledger.released.exact(exact),
            ledger,
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

    /// Counts one question for its caller: one that is well formed and so gets an entry, whatever
    /// becomes of it.
    ///
    /// # Errors
    /// `CallerQuota` with the time to come back; `Unauthenticated` for a caller nobody configured.
    pub fn charge(&self, caller: &CallerId) -> Result<Charged, CallerRefused> {
        let Some(quotas) = self.callers.get(caller) else {
            return Err(CallerRefused { refusal: denied::unknown_caller(), reading: None });
        };
        let now_ms = self.now_ms();
        match self.ledger.charge(quotas.number, &quotas.allotment, now_ms) {
            Ok((charge, left)) => {
                let quotas =
                    quotas.names.nearly_spent(&left, |day| self.ledger.until_ms(day, now_ms));
                Ok(Charged { charge, quotas })
            }
            Err(spent) => Err(CallerRefused {
                reading: Some(quotas.names.spent(&spent)),
                refusal: denied::allotment(&spent),
            }),
        }
    }

    fn now_ms(&self) -> i64 {
        (self.civil_now)().timestamp().as_millisecond()
    }

    /// Every check after the caller's own quota; `desk` is what is known of the people at the
    /// caller's, and `subject` is the query's. Waits at the
    /// department's bulkhead only, for at most its `wait_ms_max` and never past `deadline`.
    /// Dropping the future gives everything back.
    ///
    /// # Errors
    /// `NotGranted`, `DepartmentQuota`, `SubjectQuota`, `AttemptsExhausted`, `DisclosureRefused`,
    /// `DepartmentKilled`, `DepartmentMaintenance`, `BreakerOpen`, `BulkheadFull`, or `GatewayBusy`
    /// where there are more subjects than can be counted.
    pub async fn admit(
        &self,
        caller: &CallerId,
        desk: Desk<'_>,
        (query, subject): (&Query, SubjectNumber),
        deadline: Instant,
    ) -> Result<Permit<C>, Box<Rejected>> {
        let Some(department) = self.departments.get(&query.predicate().department) else {
            // A query of another catalogue than the plan was checked against.
            return Err(Rejected::new(Denied::NotGranted, None, Vec::new()));
        };
        let admitted = self.permit(department, (caller, desk), (query, subject), deadline).await;
        let denied = admitted.as_ref().err().map(|(denied, ..)| denied);
        department.count_admission(denied);
        admitted.map_err(|(denied, rule, quotas)| Rejected::new(denied, rule, quotas))
    }

    async fn permit(
        &self,
        department: &Arc<Department<C>>,
        (caller, desk): (&CallerId, Desk<'_>),
        (query, subject): (&Query, SubjectNumber),
        deadline: Instant,
    ) -> Result<Permit<C>, (Denied, Option<RuleId>, Vec<QuotaReading>)> {
        let question = PolicyQuestion {
            caller,
            predicate: &query.predicate().id,
            purpose: query.purpose(),
            subject_kind: &query.subject().kind().id,
            has_case: query.case().is_some(),
            desk,
        };
        let rule = match self.policy.decide(&question, || (self.civil_now)()) {
            Decision::Permitted(rule) => rule,
            Decision::Forbidden(rule) => {
                return Err((Denied::Forbidden, Some(rule), Vec::new()));
            }
            Decision::NotGranted => return Err((Denied::NotGranted, None, Vec::new())),
        };
        let (reserved, quotas) = self.reserve(caller, department.id(), query, subject);
        let reservation = match reserved {
            Ok(reservation) => reservation,
            Err(denied) => return Err((denied, Some(rule), quotas)),
        };
        let audited = match self.audit(caller, &rule, query, subject) {
            Ok(audited) => audited,
            Err(why) => return Err((Denied::NotReleased(why), Some(rule), quotas)),
        };
        match department.enter(deadline, &*self.civil_now).await {
            Ok((ticket, slot)) => {
                let (department, reservation) = (Arc::clone(department), Some(reservation));
                Ok(Permit { department, rule, quotas, reservation, audited, ticket, slot })
            }
            Err(denied) => Err((denied, Some(rule), quotas)),
        }
    }

    /// Decides what becomes of an exact question that the rule permits.
    fn audit(
        &self,
        caller: &CallerId,
        rule: &RuleId,
        query: &Query,
        subject: SubjectNumber,
    ) -> Result<Audited, NotReleased> {
        let Some(cut) = query.exact_cut() else { return Ok(Audited::Uncut) };
        // Only rules that grant some permit an exact question, and only to a configured caller.
        let granted = self.policy.exact_grant(rule).zip(self.callers.get(caller));
        let exact = self.exact.get(&query.predicate().id);
        let Some(((grant, quotas), predicate)) = granted.zip(exact) else {
            return Err(NotReleased::CutsSpent { granted: 0 });
        };
        let (caller, today) = (quotas.cutter, query.as_of());
        let cutting = Cutting { predicate, cut, today, subject, caller, grant };
        self.ledger.audit(&cutting)
    }

    /// Takes one question from every quota and allotment behind the policy; with the readings of
    /// those that are the caller's alone.
    fn reserve(
        &self,
        caller: &CallerId,
        department: &DepartmentId,
        query: &Query,
        subject: SubjectNumber,
    ) -> (Result<Reservation, Denied>, Vec<QuotaReading>) {
        // A permitted caller is configured, and a configured one has quotas at each department of
        // the catalogue, which has the predicate.
        let Some(quotas) = self.callers.get(caller) else {
            return (Err(Denied::NotGranted), Vec::new());
        };
        let family = self.families.of(&query.predicate().id);
        let (Some(at), Some(family)) = (quotas.departments.get(department), family) else {
            return (Err(Denied::NotGranted), Vec::new());
        };
        let mut readings = match at.limiter.take(NonZeroU32::MIN) {
            Ok(reading) => vec![reading],
            Err(spent) => {
                let reading = spent.reading.clone();
                return (Err(Denied::Quota(spent)), vec![reading]);
            }
        };
        let now_ms = self.now_ms();
        let (caller, department) = (quotas.number, at.number);
        let asking = Asking { caller, department, subject, family };
        match self.ledger.reserve(asking, &at.limits, now_ms) {
            Ok((reservation, left)) => {
                let until_ms = |day| self.ledger.until_ms(day, now_ms);
                readings.extend(at.names.nearly_spent(&left, until_ms));
                (Ok(reservation), readings)
            }
            Err(NotReserved::Full { free_in_ms }) => {
                let retry_after = Duration::from_millis(free_in_ms);
                (Err(Denied::TooManySubjects { retry_after }), readings)
            }
            Err(NotReserved::Spent(spent)) => {
                if spent.of == Scope::Department {
                    readings.push(at.names.spent(&spent));
                }
                (Err(Denied::Spent(spent)), readings)
            }
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

    /// What was asked so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
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
    fn new(
        id: &CallerId,
        limits: &CallerLimits,
        alarm_per_day: u32,
        past: Option<&Self>,
        ledger: &Ledger,
        clock: &C,
    ) -> Self {
        let limiter = |policy: &str, quota: &Quota, past: Option<&Arc<Limiter<C>>>| {
            let kept = past.filter(|past| past.rate() == quota.rate).map(Arc::clone);
            kept.unwrap_or_else(|| Arc::new(Limiter::new(policy, quota.rate, clock)))
        };
        let at_department = |(id, quota): (&DepartmentId, &Quota)| {
            let past = past.and_then(|past| past.departments.get(id));
            let policy = format!("caller/{id}");
            let quotas = QuotasAt {
                number: ledger.department(id),
                limiter: limiter(&policy, quota, past.map(|past| &past.limiter)),
                limits: AskingLimits {
                    department: quota.allotment,
                    subject: limits.subject,
                    attempts: limits.attempts,
                    alarm_per_day,
                },
                names: AllotmentNames::of(&policy),
            };
            (id.clone(), quotas)
        };
        Self {
            number: ledger.caller(id),
            cutter: ledger.released.caller(id),
            own: limiter("caller", &limits.own, past.map(|past| &past.own)),
            allotment: limits.own.allotment,
            names: AllotmentNames::of("caller"),
            departments: limits.departments.iter().map(at_department).collect(),
        }
    }
}

impl Rejected {
    fn new(denied: Denied, rule: Option<RuleId>, quotas: Vec<QuotaReading>) -> Box<Self> {
        Box::new(Self { refusal: denied.into(), rule, quotas })
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

    /// The caller's quotas at this department after this query, for the response's headers.
    pub fn quotas(&self) -> &[QuotaReading] {
        &self.quotas
    }

    /// The question is on record since `at_ms`, in Unix milliseconds: from here on it counts. True
    /// if all callers together have now asked about the subject so often on this day that somebody
    /// should look at it; once a day.
    pub fn asked(&mut self, at_ms: u64) -> bool {
        self.reservation.as_mut().is_some_and(|it| it.asked(at_ms))
    }

    /// What the auditor said to the question: once, then that it cuts nothing.
    pub fn take_audited(&mut self) -> Audited {
        std::mem::replace(&mut self.audited, Audited::Uncut)
    }

    /// True while a retry may still be made: the department is switched on and its breaker has not
    /// changed state since the query passed it.
    pub fn breaker_agrees(&self) -> bool {
        !self.department.is_killed() && self.ticket.is_current()
    }

    /// Tells the breaker how the department did, and gives everything back but what is counted: who
    /// gets it says what the answer was once that may show. A permit dropped without it counts as
    /// [`Settled::Neutral`] and not answered.
    pub fn settle(mut self, settled: Settled) -> Option<Reservation> {
        self.ticket.settled = settled;
        self.reservation.take()
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
