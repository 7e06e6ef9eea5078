//! The keys an operator writes, and the plan they become.
//!
//! Owns their names, units, defaults and ranges. A plan exists only if every key was right; until
//! then all mistakes are named together. It reads no file: the server parses, this checks.
//!
//! The settings are trusted, must not be lost and are written by the operator only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jumpgate_catalogue::{Attribute, CallerId, Catalogue, DepartmentId, PredicateId};
use serde::Deserialize;

use crate::disclosure::exact_predicates;
use crate::grants::{self, departments};
use crate::ledger::FamilyName;
use crate::maintenance::WindowSettings;
use crate::policy::Policy;

/// Everything admission is told. No key is required: without rules nothing may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdmissionSettings {
    /// Who may ask what for which purpose; the first that covers a query decides.
    pub grants: Vec<GrantSettings>,
    /// The rules beside them.
    #[serde(skip)]
    pub policy: PolicySettings,
    /// How often.
    pub quotas: QuotaSettings,
    /// Each department's protection, by department id; a department left out has the defaults.
    pub departments: BTreeMap<String, DepartmentSettings>,
    /// Queries one caller may have in flight, 1 to 100 000.
    pub in_flight_max: u32,
}

/// The texts of rules, read from their files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySettings {
    /// The gateway's own, in the order in which they decide.
    pub files: Vec<PolicyFile>,
    /// The departments' own, by department id.
    pub departments: BTreeMap<String, SignedPolicyFile>,
}

/// A text of Cedar rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// The file's name, for mistakes and for the policy's digest.
    pub name: String,
    /// The rules.
    pub text: String,
}

/// A department's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPolicyFile {
    /// The rules.
    pub file: PolicyFile,
    /// The signature file's text.
    pub signature: String,
    /// The verifier key of the department.
    pub key: String,
}

/// How questions reach a caller. Configured for each caller and never the caller's own word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// A clerk asks at a counter.
    #[default]
    Counter,
    /// The citizen's own request on a website or in an application.
    Online,
    /// A terminal without a clerk.
    Terminal,
    /// A system asks by itself, without a person waiting.
    System,
}

/// What rules see of a caller, by configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerFacts {
    /// How people reach it.
    pub channel: Channel,
    /// The roles that a signed token can give its operators; none if it sends no such tokens.
    pub operator_roles: Option<Arc<[RoleName]>>,
}

/// A role of operators, as tokens, configuration and rules name it.
pub type RoleName = Arc<str>;

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 4] = [Self::Counter, Self::Online, Self::Terminal, Self::System];

    /// The word in configuration and rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Online => "online",
            Self::Terminal => "terminal",
            Self::System => "system",
        }
    }
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantSettings {
    /// The name it has in the matrix and in mistakes; `grant-<position from 1>` if left out.
    pub id: Option<String>,
    /// The caller it is for.
    pub caller: String,
    /// Predicate ids, or `department/*` for all predicates of a department.
    pub predicates: Vec<String>,
    /// Purposes, or `["*"]` for every purpose each predicate allows.
    pub purposes: Vec<String>,
}

/// How often callers may ask.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaSettings {
    /// Of each caller, over all departments.
    pub caller: QuotaLimits,
    /// Of each caller at each department.
    pub department: QuotaLimits,
    /// Of each caller about each subject and family of predicates.
    pub subject: Allotment,
    /// As `subject`, of match predicates, where only what is not answered `yes` counts.
    pub attempts: Allotment,
    /// An alarm is raised when all callers together have asked about one subject so often on one
    /// day, 1 to 100 000.
    pub subject_alarm_per_day: u32,
    /// Callers with quotas of their own, by caller id.
    pub callers: BTreeMap<String, CallerQuotaSettings>,
}

/// One caller's own quotas. What is left out is as for every caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallerQuotaSettings {
    /// Over all departments.
    pub caller: Option<QuotaLimits>,
    /// At single departments, by department id.
    pub departments: BTreeMap<String, QuotaLimits>,
    /// About each subject and family.
    pub subject: Option<Allotment>,
    /// Of match predicates.
    pub attempts: Option<Allotment>,
}

/// A rate, a burst and an allotment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaLimits {
    /// Questions a second in the long run, 1 to 1 000 000.
    pub per_second: NonZeroU32,
    /// Questions at once, 1 to 1 000 000.
    pub burst: NonZeroU32,
    /// Questions on one civil day, 1 to 1 000 000 000. Left out, as for every caller.
    pub per_day: Option<u32>,
    /// Questions in 90 civil days, today included, `per_day` to 4 000 000 000. Likewise.
    pub per_90_days: Option<u32>,
}

/// A quota with what it has from the level above filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) rate: RateSettings,
    pub(crate) allotment: Allotment,
}

/// A rate and a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateSettings {
    pub(crate) per_second: NonZeroU32,
    pub(crate) burst: NonZeroU32,
}

/// So many questions, counted by civil day and rebuilt from the query log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allotment {
    /// On one civil day, 1 or more.
    pub per_day: u32,
    /// In 90 civil days, today included, `per_day` or more.
    pub per_90_days: u32,
}

impl QuotaLimits {
    /// With `above` where it says nothing of its own.
    fn under(&self, above: Allotment) -> Quota {
        Quota {
            rate: RateSettings { per_second: self.per_second, burst: self.burst },
            allotment: Allotment {
                per_day: self.per_day.unwrap_or(above.per_day),
                per_90_days: self.per_90_days.unwrap_or(above.per_90_days),
            },
        }
    }
}

/// One department's protection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DepartmentSettings {
    /// Queries it sees at once, 1 to 1024.
    pub concurrency_max: u32,
    /// Queries that may wait for a slot, 0 to 4096.
    pub waiting_max: u32,
    /// Longest wait for a slot, 0 to 10 000 ms.
    pub wait_ms_max: u64,
    /// When it is given a rest.
    pub breaker: BreakerSettings,
    /// When it must not be asked; at most 32 windows.
    pub maintenance: Vec<WindowSettings>,
}

/// When a department is given a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Failures one after the other that open it, 1 to 1000.
    pub failures_max: u32,
    /// First rest, 1 ms to `rest_ms_max`; each failed probe doubles it.
    pub rest_ms: u64,
    /// Longest rest, up to 600 000 ms.
    pub rest_ms_max: u64,
    /// Probes one after the other that must succeed to close it, 1 to 20.
    pub probes_to_close: u32,
}

/// A key that cannot be used, with what could stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {fault}; {mend}")]
pub struct AdmissionMistake {
    /// The key's path, positions counted from 0: `grants[0].purposes[1]`.
    pub key: String,
    /// What is wrong.
    pub fault: String,
    /// What would be right.
    pub mend: String,
}

/// Settings that were checked against a catalogue and the configured callers.
#[derive(Debug)]
pub struct AdmissionPlan {
    pub(crate) policy: Policy,
    pub(crate) quotas: BTreeMap<CallerId, CallerLimits>,
    pub(crate) subject_alarm_per_day: u32,
    pub(crate) predicates: Vec<(PredicateId, FamilyName)>,
    pub(crate) exact: Vec<(PredicateId, Attribute)>,
    pub(crate) departments: BTreeMap<DepartmentId, DepartmentSettings>,
    pub(crate) in_flight_max: u32,
}

/// What one caller may ask, all defaults filled in.
#[derive(Debug, Clone)]
pub(crate) struct CallerLimits {
    pub(crate) own: Quota,
    pub(crate) departments: BTreeMap<DepartmentId, Quota>,
    pub(crate) subject: Allotment,
    pub(crate) attempts: Allotment,
}

impl AdmissionPlan {
    /// Who may ask what.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl AdmissionSettings {
    /// The plan for these predicates and callers.
    ///
    /// # Errors
    /// All mistakes, in the order of the keys.
    pub fn check(
        mut self,
        catalogue: &Catalogue,
        callers: &[(CallerId, CallerFacts)],
    ) -> Result<AdmissionPlan, Vec<AdmissionMistake>> {
        let facts: BTreeMap<CallerId, CallerFacts> = callers.iter().cloned().collect();
        let callers: BTreeSet<CallerId> = facts.keys().cloned().collect();
        let departments = departments(catalogue);
        let mut mistakes = Mistakes::default();
        let grants = grants::rules(&self.grants, catalogue, &callers, &mut mistakes);
        let policy = Policy::compile(&self.policy, grants, catalogue, &facts, &mut mistakes);
        self.quotas.check(&callers, &departments, &mut mistakes);
        for (id, department) in &self.departments {
            let key = format!("departments.{id}");
            mistakes.known(&key, "department", id, &departments);
            department.check(&format!("{key}.protection"), &mut mistakes);
        }
        mistakes.within("in_flight_max", self.in_flight_max.into(), 1..=IN_FLIGHT_MAX_MAX);
        mistakes.none()?;
        let quotas = &self.quotas;
        Ok(AdmissionPlan {
            policy,
            quotas: (callers.into_iter())
                .map(|caller| {
                    let rates = quotas.of(&caller, &departments);
                    (caller, rates)
                })
                .collect(),
            departments: (departments.into_iter())
                .map(|id| {
                    let settings = self.departments.remove(id.as_str()).unwrap_or_default();
                    (id, settings)
                })
                .collect(),
            subject_alarm_per_day: quotas.subject_alarm_per_day,
            predicates: FamilyName::all(catalogue).collect(),
            exact: exact_predicates(catalogue).collect(),
            in_flight_max: self.in_flight_max,
        })
    }
}

impl QuotaSettings {
    fn of(&self, caller: &CallerId, departments: &BTreeSet<DepartmentId>) -> CallerLimits {
        let own = self.callers.get(caller.as_str());
        let at = |id: &DepartmentId| own?.departments.get(id.as_str()).copied();
        CallerLimits {
            own: own.and_then(|own| own.caller).unwrap_or(self.caller).under(self.callers_own()),
            departments: (departments.iter())
                .map(|id| (id.clone(), at(id).unwrap_or(self.department).under(self.at_each())))
                .collect(),
            subject: own.and_then(|own| own.subject).unwrap_or(self.subject),
            attempts: own.and_then(|own| own.attempts).unwrap_or(self.attempts),
        }
    }

    /// What a caller has in all, if its own quota does not say.
    fn callers_own(&self) -> Allotment {
        self.caller.under(ALLOTMENT).allotment
    }

    /// What a caller has at a department, if its quota there does not say.
    fn at_each(&self) -> Allotment {
        self.department.under(ALLOTMENT).allotment
    }

    fn check(
        &self,
        callers: &BTreeSet<CallerId>,
        departments: &BTreeSet<DepartmentId>,
        mistakes: &mut Mistakes,
    ) {
        self.caller.check("quotas.caller", ALLOTMENT, mistakes);
        self.department.check("quotas.department", ALLOTMENT, mistakes);
        self.subject.check("quotas.subject", SUBJECT_MAX, mistakes);
        self.attempts.check("quotas.attempts", SUBJECT_MAX, mistakes);
        let alarm = self.subject_alarm_per_day.into();
        mistakes.within("quotas.subject_alarm_per_day", alarm, 1..=SUBJECT_MAX);
        for (caller, quotas) in &self.callers {
            let key = format!("quotas.callers.{caller}");
            mistakes.known(&key, "caller", caller, callers);
            if let Some(rate) = quotas.caller {
                rate.check(&format!("{key}.caller"), self.callers_own(), mistakes);
            }
            for (department, rate) in &quotas.departments {
                let key = format!("{key}.departments.{department}");
                mistakes.known(&key, "department", department, departments);
                rate.check(&key, self.at_each(), mistakes);
            }
            for (name, allotment) in [("subject", quotas.subject), ("attempts", quotas.attempts)] {
                if let Some(allotment) = allotment {
                    allotment.check(&format!("{key}.{name}"), SUBJECT_MAX, mistakes);
                }
            }
        }
    }
}

impl QuotaLimits {
    fn check(self, key: &str, above: Allotment, mistakes: &mut Mistakes) {
        let figures = [("per_second", self.per_second), ("burst", self.burst)];
        for (name, figure) in figures {
            mistakes.within(&format!("{key}.{name}"), figure.get().into(), 1..=RATE_MAX);
        }
        self.under(above).allotment.check(key, PER_DAY_MAX, mistakes);
    }
}

impl Allotment {
    fn check(self, key: &str, per_day_max: u64, mistakes: &mut Mistakes) {
        let (per_day, per_90_days) = (self.per_day.into(), self.per_90_days.into());
        mistakes.within(&format!("{key}.per_day"), per_day, 1..=per_day_max);
        let range = per_day.max(1)..=PER_90_DAYS_MAX;
        mistakes.within(&format!("{key}.per_90_days"), per_90_days, range);
    }
}

impl DepartmentSettings {
    fn check(&self, key: &str, mistakes: &mut Mistakes) {
        let breaker = &self.breaker;
        let figures: [(&str, u64, RangeInclusive<u64>); 7] = [
            ("concurrency_max", self.concurrency_max.into(), 1..=CONCURRENCY_MAX_MAX),
            ("waiting_max", self.waiting_max.into(), 0..=WAITING_MAX_MAX),
            ("wait_ms_max", self.wait_ms_max, 0..=WAIT_MS_MAX_MAX),
            ("breaker.failures_max", breaker.failures_max.into(), 1..=FAILURES_MAX_MAX),
            ("breaker.rest_ms", breaker.rest_ms, 1..=breaker.rest_ms_max.max(1)),
            ("breaker.rest_ms_max", breaker.rest_ms_max, 1..=REST_MS_MAX_MAX),
            ("breaker.probes_to_close", breaker.probes_to_close.into(), 1..=PROBES_TO_CLOSE_MAX),
        ];
        for (name, figure, range) in figures {
            mistakes.within(&format!("{key}.{name}"), figure, range);
        }
        mistakes.within(
            &format!("{key}.maintenance"),
            self.maintenance.len() as u64,
            0..=WINDOWS_MAX,
        );
        for (position, window) in self.maintenance.iter().enumerate() {
            if let Err((fault, mend)) = window.check() {
                mistakes.add(&format!("{key}.maintenance[{position}]"), fault, mend);
            }
        }
    }
}

impl BreakerSettings {
    pub(crate) fn rest(&self) -> Duration {
        Duration::from_millis(self.rest_ms)
    }

    pub(crate) fn rest_max(&self) -> Duration {
        Duration::from_millis(self.rest_ms_max)
    }
}

/// Mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    found: Vec<AdmissionMistake>,
}

impl Mistakes {
    pub(crate) fn add(&mut self, key: &str, fault: impl Into<String>, mend: impl Into<String>) {
        let (fault, mend) = (fault.into(), mend.into());
        self.found.push(AdmissionMistake { key: key.to_owned(), fault, mend });
    }

    /// The one of `known` that `text` names; without one, adds a mistake.
    pub(crate) fn known<'a, T: Display>(
        &mut self,
        key: &str,
        what: &str,
        text: &str,
        known: &'a BTreeSet<T>,
    ) -> Option<&'a T> {
        let found = known.iter().find(|id| id.to_string() == text);
        if found.is_none() {
            self.add(key, format!("no {what} is named {text:?}"), one_of(known));
        }
        found
    }

    /// How many there are, to see whether a step found any.
    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn none(self) -> Result<(), Vec<AdmissionMistake>> {
        if self.found.is_empty() { Ok(()) } else { Err(self.found) }
    }

    fn within(&mut self, key: &str, figure: u64, range: RangeInclusive<u64>) {
        if !range.contains(&figure) {
            let mend = format!("write {} to {}", range.start(), range.end());
            self.add(key, format!("{figure} is out of range"), mend);
        }
    }
}

/// "write one of a, b, c", or that there is nothing to choose from.
pub(crate) fn one_of<T: Display>(choices: &BTreeSet<T>) -> String {
    if choices.is_empty() {
        return "remove it: there is none to choose from".to_owned();
    }
    let choices: Vec<String> = choices.iter().map(T::to_string).collect();
    format!("write one of {}", choices.join(", "))
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            grants: Vec::new(),
            policy: PolicySettings::default(),
            quotas: QuotaSettings::default(),
            departments: BTreeMap::new(),
            in_flight_max: IN_FLIGHT_MAX,
        }
    }
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self {
            caller: CALLER_QUOTA,
            department: DEPARTMENT_QUOTA,
            subject: SUBJECT_ALLOTMENT,
            attempts: ATTEMPTS_ALLOTMENT,
            subject_alarm_per_day: SUBJECT_ALARM_PER_DAY,
            callers: BTreeMap::new(),
        }
    }
}

impl Default for DepartmentSettings {
    fn default() -> Self {
        Self {
            concurrency_max: CONCURRENCY_MAX,
            waiting_max: WAITING_MAX,
            wait_ms_max: WAIT_MS_MAX,
            breaker: BreakerSettings::default(),
            maintenance: Vec::new(),
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures_max: FAILURES_MAX,
            rest_ms: REST_MS,
            rest_ms_max: REST_MS_MAX,
            probes_to_close: PROBES_TO_CLOSE,
        }
    }
}

const fn quota(per_second: u32, burst: u32) -> QuotaLimits {
    const fn positive(figure: u32) -> NonZeroU32 {
        NonZeroU32::new(figure).expect("the default rates below are not zero")
    }
    QuotaLimits {
        per_second: positive(per_second),
        burst: positive(burst),
        per_day: None,
        per_90_days: None,
    }
}

/// With the allotment of every caller written out.
const fn full(quota: QuotaLimits) -> QuotaLimits {
    let (per_day, per_90_days) = (Some(ALLOTMENT.per_day), Some(ALLOTMENT.per_90_days));
    QuotaLimits { per_day, per_90_days, ..quota }
}

/// A counter of a hundred clerks asks a few questions a second; this leaves it room for a morning
/// rush, and a caller that runs wild stays a small part of what one node answers.
const CALLER_QUOTA: QuotaLimits = full(quota(100, 200));
/// Half of a caller's whole quota, so that one department's questions leave room for the others'.
const DEPARTMENT_QUOTA: QuotaLimits = full(quota(50, 100));
/// A counter of a hundred clerks asks some thousand questions a day. An entry with its sealed
/// fields has about 550 bytes, two an answer: a caller that runs wild all day writes a gigabyte,
/// and may do so on thirty days of ninety.
const ALLOTMENT: Allotment = Allotment { per_day: 1_000_000, per_90_days: 30_000_000 };
/// A person's matter needs a question once or twice, and again when a form was wrong; whoever asks
/// every hour watches him.
const SUBJECT_ALLOTMENT: Allotment = Allotment { per_day: 20, per_90_days: 200 };
/// A clerk mistypes a name twice; who tries more names than these guesses.
const ATTEMPTS_ALLOTMENT: Allotment = Allotment { per_day: 5, per_90_days: 20 };
/// More than a person's matters at all counters of a district give on one day.
const SUBJECT_ALARM_PER_DAY: u32 = 100;
/// More than a caller's burst, so that the quota and not this mark is what an honest caller meets.
const IN_FLIGHT_MAX: u32 = 256;
/// What a departmental application server with a pool of 20 to 50 connections can spare.
const CONCURRENCY_MAX: u32 = 16;
/// Two rounds of the slots: with replies of 100 ms the last in the queue waits 200 ms.
const WAITING_MAX: u32 = 32;
/// A clerk does not notice half a second; a longer wait is better spent asking again later.
const WAIT_MS_MAX: u64 = 500;
/// One failure is an accident, five in a row are a state.
const FAILURES_MAX: u32 = 5;
/// A restarted application server is back within seconds, so the first rest is short.
const REST_MS: u64 = 1_000;
/// A probe that hangs to a deadline of five seconds, this rest, and the return slot by slot are
/// less than ten seconds together; a probe every three seconds is no load.
const REST_MS_MAX: u64 = 3_000;
/// One success may be a lucky one.
const PROBES_TO_CLOSE: u32 = 2;

/// Far above one node; keeps the limiter's arithmetic, in nanoseconds, exact.
const RATE_MAX: u64 = 1_000_000;
/// More than one node answers on a day.
const PER_DAY_MAX: u64 = 1_000_000_000;
/// The largest count.
const PER_90_DAYS_MAX: u64 = 4_000_000_000;
/// Beyond this a limit about one subject is as good as none.
const SUBJECT_MAX: u64 = 100_000;
/// A query in flight holds at most a few hundred kilobytes; more callers' worth is a mistake.
const IN_FLIGHT_MAX_MAX: u64 = 100_000;
/// More connections than any departmental system keeps open for one peer.
const CONCURRENCY_MAX_MAX: u64 = 1_024;
/// Four rounds of the most slots.
const WAITING_MAX_MAX: u64 = 4_096;
/// Longer than a caller waits for a response.
const WAIT_MS_MAX_MAX: u64 = 10_000;
/// Beyond this a breaker is as good as none.
const FAILURES_MAX_MAX: u64 = 1_000;
/// Ten minutes; whoever wants longer means the kill switch.
const REST_MS_MAX_MAX: u64 = 600_000;
/// One for each weekday and some for the year's holidays.
const WINDOWS_MAX: u64 = 32;
/// More probes than this, one at a time, keep a healthy department away from its callers.
const PROBES_TO_CLOSE_MAX: u64 = 20;

#[cfg(test)]
mod tests;
