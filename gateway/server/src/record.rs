//! What is on record: the values that prove an entry is durable.
//!
//! [`Asked`] and [`Logged`] are made here only. Nothing else writes query entries, and nothing here
//! lets a verdict out before the query log has said that its entry is durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jumpgate_admission::{
    Audited, InFlightGuard, Interval, Permit, QuotaReading, Reservation, Settled, SubjectNumber,
};
use jumpgate_catalogue::{
    CallerId, DepartmentId, Digest, Fault, Finding, PredicateId, Query, QueryId, Refusal, Subject,
    Verdict,
};
use jumpgate_querylog::{
    AskHeader, AskTicket, Closing, Digests, LeafFault, PastClosing, PastOutcome, QueryLog,
    Recorded, RefusedHeader, SubjectRef,
};
use tokio::time::Instant;

use crate::admitted::{Admitted, Posed, Refused};
use crate::caller::Caller;
use crate::department::Outcome;
use crate::operator::Operator;
use crate::release::{Alarm, Released, Told};
use crate::telemetry::Telemetry;

/// The query log, with the digests that bind each entry to what decided it.
#[derive(Clone)]
pub struct Record {
    log: QueryLog,
    bindings: Arc<Bindings>,
    telemetry: Arc<Telemetry>,
}

/// The digests of what decides, by department.
struct Bindings {
    departments: HashMap<DepartmentId, Digests>,
    /// A refused question of a department without an adapter is bound to no adapter.
    unbound: Digests,
}

/// A question that is on record: the department may be touched. Dropped without `conclude`, it is
/// recorded as failed by the gateway.
pub struct Asked {
    caller: CallerId,
    query: Query,
    /// What the auditor said; a cut stays on its way until it is concluded.
    audited: Audited,
    /// None once the department has answered.
    permit: Option<Permit>,
    /// None before that. What it leaves counted may show only with the answer.
    counted: Option<Reservation>,
    posed: Instant,
    deadline: Instant,
    in_flight: InFlightGuard,
    quotas: Vec<QuotaReading>,
    ticket: AskTicket,
    since: Instant,
}

/// Something that may be said, because it is on record: in an entry that is durable, or, for the
/// refusals that promise 3 excepts, in a count.
pub struct Logged {
    spoken: Spoken,
    quotas: Vec<QuotaReading>,
    /// The promise and the proof of the entry that is spoken of, if it has one of its own.
    evidence: Evidence,
}

/// What a caller can hold against the log.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The log's signed word that the entry is durable at its index.
    pub promise: Option<String>,
    /// The proof that the published tree holds it; for callers who wait for it.
    pub proof: Option<String>,
}

/// What a [`Logged`] says.
pub enum Spoken {
    /// A verdict or a fault.
    Outcome(Kept),
    /// A refusal.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The question's id, if there was a question.
        query_id: Option<QueryId>,
        /// Leaf index and hash, unless it was counted.
        entry: Option<(u64, [u8; 32])>,
    },
}

/// An outcome as it is kept for repeats.
#[derive(Debug, Clone)]
pub struct Kept {
    pub(crate) query_id: QueryId,
    pub(crate) predicate: PredicateId,
    pub(crate) outcome: Result<Verdict, Fault>,
    pub(crate) as_of: Date,
    pub(crate) next_as_of: Option<Date>,
    pub(crate) index: u64,
    pub(crate) leaf_hash: [u8; 32],
    pub(crate) time_ms: u64,
}

/// Nothing may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogUnavailable {
    /// The query log cannot be written.
    Log,
    /// The query's task panicked; its closing entry says so.
    Panicked,
}

impl Record {
    /// Binds a log to what decides its answers; `unbound` holds the digests that are the same for
    /// every department.
    pub fn new(
        log: QueryLog,
        unbound: Digests,
        adapters: impl Iterator<Item = (DepartmentId, Digest)>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let departments = adapters.map(|(id, adapter)| (id, Digests { adapter, ..unbound }));
        let bindings = Bindings { departments: departments.collect(), unbound };
        Self { log, bindings: Arc::new(bindings), telemetry }
    }

    /// The log itself, for reading and for acts.
    pub fn log(&self) -> &QueryLog {
        &self.log
    }

    /// The number under which the log knows a query's subject.
    ///
    /// # Errors
    /// The log takes no question now.
    pub fn subject(&self, query: &Query) -> Result<SubjectNumber, LogUnavailable> {
        let number = self.log.subject_number(&subject_ref(query));
        number.map(SubjectNumber).map_err(unavailable)
    }

    /// What is kept of a subject who was erased, of the attribute that an exact question asks
    /// about.
    pub fn kept(&self, query: &Query) -> Option<(String, Interval)> {
        query.exact_cut()?;
        let kept = self.log.kept_interval(&subject_ref(query), &query.predicate().attribute)?;
        Some((kept.attribute, Interval { from: kept.from, until: kept.until }))
    }

    /// Puts an admitted question on record, durable before it returns. From here on it counts.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn ask(&self, admitted: Admitted) -> Result<Asked, LogUnavailable> {
        let since = Instant::now();
        let Admitted { posed, mut permit, deadline, in_flight } = admitted;
        let header = self.header(&posed, Some(permit.rule()));
        let ticket = self.log.ask(header).await.map_err(unavailable)?;
        let Posed { caller, query, charge, mut quotas, since: posed, .. } = posed;
        charge.keep(ticket.time_ms());
        quotas.extend_from_slice(permit.quotas());
        if permit.asked(ticket.time_ms()) {
            self.telemetry.subject_alarms.inc();
            let entry = ticket.index();
            tracing::warn!(
                entry,
                "questions of all callers about one subject have reached \
                 quotas.subject_alarm_per_day; the entry has the subject's pseudonym"
            );
        }
        let audited = permit.take_audited();
        if let Some(alarm) = Alarm::of_asked(&audited) {
            self.telemetry.disclosure_alarm(alarm.warn(caller.id(), &query, ticket.index()));
        }
        Ok(Asked {
            caller: caller.id().clone(),
            query,
            audited,
            permit: Some(permit),
            counted: None,
            posed,
            deadline,
            in_flight,
            quotas,
            ticket,
            since,
        })
    }

    /// Puts the outcome on record, durable before it returns.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn conclude(&self, asked: Asked, outcome: Outcome) -> Result<Logged, LogUnavailable> {
        let Asked { caller, query, audited, counted, in_flight, quotas, ticket, .. } = asked;
        let predicate = query.predicate();
        let released = Released::settle(&query, audited, outcome.found);
        let closing = match &released.said {
            Ok(Told { verdict, reason, as_of, next_as_of, release }) => Closing::Answer {
                verdict: *verdict,
                reason: *reason,
                as_of: *as_of,
                next_as_of: *next_as_of,
                reply_commitment: outcome.received.unwrap_or(Digest::of(&[]).0),
                release: release.clone(),
            },
            Err(fault) => Closing::Failed { fault: *fault, reply_commitment: outcome.received },
        };
        let recorded = self.log.conclude(ticket, closing).await.map_err(unavailable)?;
        if let Some(alarm) = released.warn(&caller, &query, recorded.index()) {
            self.telemetry.disclosure_alarm(alarm);
        }
        let said = released.said.as_ref().map(|told| told.verdict).map_err(|fault| *fault);
        if let (Some(counted), Ok(verdict)) = (counted, said) {
            counted.answered(verdict);
        }
        self.telemetry.concluded(&predicate.department, said);
        drop(in_flight);
        let kept = Kept::new(&query, &released.said, &recorded);
        let evidence = Evidence::of(&recorded);
        Ok(Logged { spoken: Spoken::Outcome(kept), quotas, evidence })
    }

    /// Puts a refused question on record with its own entry, durable before it returns.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn refuse(&self, refused: Refused) -> Result<Logged, LogUnavailable> {
        let Refused { posed, refusal, rule, quotas: at_department } = refused;
        if refusal.code.is_coalesced() {
            return Ok(self.count(Some(&posed.caller), refusal));
        }
        self.telemetry.refused(refusal.code);
        let question = self.header(&posed, rule.as_deref());
        let header = RefusedHeader { question, code: refusal.code };
        let recorded = self.log.refuse(header).await.map_err(unavailable)?;
        let Posed { query, charge, mut quotas, .. } = posed;
        charge.keep(recorded.time_ms());
        quotas.extend(at_department);
        let entry = Some((recorded.index(), *recorded.leaf_hash()));
        let spoken = Spoken::Refused { refusal, query_id: Some(query.id()), entry };
        Ok(Logged { spoken, quotas, evidence: Evidence::of(&recorded) })
    }

    /// The outcome of an earlier query with the same id and question, promised anew.
    ///
    /// # Errors
    /// The log has stopped: what it held of the outcome may be lost.
    pub fn again(&self, kept: &Kept) -> Result<Logged, LogUnavailable> {
        let promise = self.log.promise(kept.index, &kept.leaf_hash).map_err(unavailable)?;
        let evidence = Evidence { promise: Some(promise), proof: None };
        Ok(Logged { spoken: Spoken::Outcome(kept.clone()), quotas: Vec::new(), evidence })
    }

    /// Adds the proof, as soon as the tree holds the entry. Where that takes longer than the second
    /// in which it is promised, what is on record is said without it.
    ///
    /// # Errors
    /// The log has stopped meanwhile.
    pub async fn prove(&self, mut logged: Logged) -> Result<Logged, LogUnavailable> {
        if let Some(index) = logged.index() {
            let proof = self.log.receipt_when_published(index, PROOF_PATIENCE).await;
            // The entry is on record all the same: only its proof cannot be made now.
            logged.evidence.proof = proof.unwrap_or_else(|fault| {
                unreadable(&fault);
                None
            });
            self.still_writes()?;
        }
        Ok(logged)
    }

    /// Fails once the log has stopped.
    ///
    /// # Errors
    /// It has.
    pub fn still_writes(&self) -> Result<(), LogUnavailable> {
        self.log.still_writes().map_err(unavailable)
    }

    /// Counts a refusal that gets no entry of its own.
    pub fn count(&self, caller: Option<&Caller>, refusal: Refusal) -> Logged {
        self.telemetry.refused(refusal.code);
        self.log.coalesce(caller.map(Caller::id), refusal.code);
        let spoken = Spoken::Refused { refusal, query_id: None, entry: None };
        Logged { spoken, quotas: Vec::new(), evidence: Evidence::default() }
    }

    fn header<'a>(&'a self, posed: &'a Posed, rule: Option<&'a str>) -> AskHeader<'a> {
        let Posed { caller, query, token, .. } = posed;
        let predicate = query.predicate();
        AskHeader {
            query_id: query.id(),
            caller: caller.id(),
            department: &predicate.department,
            predicate: &predicate.id,
            parameters: query.parameters(),
            purpose: query.purpose(),
            digests: self.bindings.of(&predicate.department),
            subject: subject_ref(query),
            case: query.case(),
            operator: query.operator(),
            operator_issuer: caller.operator().map(Operator::issuer),
            second_operator: caller.second_operator().map(Operator::name),
            request_token: token.token,
            rule,
            as_of: query.as_of(),
        }
    }
}

impl Bindings {
    fn of(&self, department: &DepartmentId) -> &Digests {
        self.departments.get(department).unwrap_or(&self.unbound)
    }
}

impl Evidence {
    fn of(recorded: &Recorded) -> Self {
        Self { promise: recorded.promise(), proof: None }
    }
}

impl Asked {
    /// The question.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The date that the department is asked about: the question's, unless the auditor wants a
    /// later one.
    pub(crate) fn as_of(&self) -> Date {
        match &self.audited {
            Audited::Cut(cut) => cut.as_of(),
            Audited::Uncut | Audited::Implied(_) => self.query.as_of(),
        }
    }

    /// The answer, where it follows from what was released, so that the department is not asked.
    pub(crate) fn implied(&self) -> Option<Finding> {
        let Audited::Implied(implied) = &self.audited else { return None };
        match implied.verdict {
            Verdict::Yes => Some(Finding::Yes),
            Verdict::No => Some(Finding::No),
            Verdict::Undetermined => None,
        }
    }

    /// When the question must be closed.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// True while the department's breaker allows a retry.
    pub fn breaker_agrees(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::breaker_agrees)
    }

    /// Gives back what admission lent of the department, and says how long it took: it is free from
    /// here on, only the caller still waits.
    pub(crate) fn settle(&mut self, outcome: &Outcome) -> Duration {
        if let Some(permit) = self.permit.take() {
            let fault = outcome.found.err().map(|fault| fault.code);
            let was_asked = self.implied().is_none();
            let settled = if was_asked { Settled::of(fault) } else { Settled::Neutral };
            self.counted = permit.settle(settled);
        }
        self.since.elapsed()
    }

    /// When the next multiple of `quantum` after the question is over. It is counted from the
    /// question and not by the clock, by which an answer that takes a millisecond longer would
    /// cross an edge oftener, and so leave a millisecond later on the average.
    pub(crate) fn next_multiple(&self, quantum: Duration) -> Instant {
        let quanta = self.posed.elapsed().as_nanos().div_ceil(quantum.as_nanos().max(1)).max(1);
        self.posed + quantum.saturating_mul(u32::try_from(quanta).unwrap_or(u32::MAX))
    }
}

impl Logged {
    /// Leaf index of the entry that is spoken of, if it has one of its own.
    fn index(&self) -> Option<u64> {
        match &self.spoken {
            Spoken::Outcome(kept) => Some(kept.index),
            Spoken::Refused { entry, .. } => entry.map(|(index, _)| index),
        }
    }

    /// What a caller can hold against the log.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// What may be said.
    pub fn spoken(&self) -> &Spoken {
        &self.spoken
    }

    /// The caller's quotas after this query: at the department, and allotments that are nearly used
    /// up.
    pub fn quotas(&self) -> &[QuotaReading] {
        &self.quotas
    }

    /// The same, with the reading of the quota that refused it.
    #[must_use]
    pub fn with(mut self, quota: Option<QuotaReading>) -> Self {
        self.quotas.extend(quota);
        self
    }

    /// The outcome, if this is one.
    pub fn kept(&self) -> Option<&Kept> {
        match &self.spoken {
            Spoken::Outcome(kept) => Some(kept),
            Spoken::Refused { .. } => None,
        }
    }
}

impl Kept {
    fn new(query: &Query, said: &Result<Told, Fault>, recorded: &Recorded) -> Self {
        let (outcome, as_of, next_as_of) = match said {
            Ok(told) => (Ok(told.verdict), told.as_of, told.next_as_of),
            Err(fault) => (Err(*fault), query.as_of(), query.next_as_of()),
        };
        Self {
            query_id: query.id(),
            predicate: query.predicate().id.clone(),
            outcome,
            as_of,
            next_as_of,
            index: recorded.index(),
            leaf_hash: *recorded.leaf_hash(),
            time_ms: recorded.time_ms(),
        }
    }

    /// What the log remembers of an outcome from before a restart.
    pub fn restored(past: &PastOutcome) -> Self {
        let (outcome, as_of, next_as_of) = match past.closing {
            PastClosing::Answer { verdict, as_of, next_as_of } => (Ok(verdict), as_of, next_as_of),
            PastClosing::Failed { fault } => (Err(fault), Date::ZERO, None),
        };
        Self {
            query_id: past.query_id,
            predicate: past.predicate.clone(),
            outcome,
            as_of,
            next_as_of,
            index: past.recorded.index(),
            leaf_hash: *past.recorded.leaf_hash(),
            time_ms: past.recorded.time_ms(),
        }
    }

    /// When the outcome was recorded, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

fn subject_ref(query: &Query) -> SubjectRef<'_> {
    subject_of(query.subject())
}

/// A subject as the log is told of him.
pub(crate) fn subject_of(subject: &Subject) -> SubjectRef<'_> {
    SubjectRef { kind: &subject.kind().id, identifier: subject.expose() }
}

/// The tree takes an entry in within a second.
const PROOF_PATIENCE: Duration = Duration::from_secs(1);

fn unavailable(error: jumpgate_querylog::LogUnavailable) -> LogUnavailable {
    static LINES: Lines = Lines::new();
    if let Some(questions) = LINES.is_time() {
        tracing::error!(%error, questions, "the query log cannot be written; nothing is answered");
    }
    LogUnavailable::Log
}

/// A file of the log that should be there cannot be read.
pub(crate) fn unreadable(fault: &LeafFault) -> LogUnavailable {
    static LINES: Lines = Lines::new();
    if let Some(times) = LINES.is_time() {
        tracing::error!(%fault, times, "the query log cannot be read");
    }
    LogUnavailable::Log
}

/// A line for the operator at most once a second: a flood of questions is no flood of lines.
struct Lines(Mutex<(Option<Instant>, u64)>);

impl Lines {
    const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// How many there were since the last line, where it is time for another.
    fn is_time(&self) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, times) = &mut *told;
        *times += 1;
        if last.is_some_and(|last| last.elapsed() < LINES_APART) {
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(times))
    }
}

const LINES_APART: Duration = Duration::from_secs(1);
