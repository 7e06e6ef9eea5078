//! What is on record: the values that prove an entry is durable.
//!
//! [`Asked`] and [`Logged`] are made here only. Nothing else writes query entries, and nothing here
//! lets a verdict out before the query log has said that its entry is durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jumpgate_admission::{QuotaReading, Settled};
use jumpgate_catalogue::{
    DepartmentId, Digest, Fault, PredicateId, Query, QueryId, Refusal, Verdict,
};
use jumpgate_querylog::{
    AskHeader, AskTicket, Closing, Digests, PastClosing, PastOutcome, QueryLog, Recorded,
    RefusedHeader, SubjectRef,
};
use tokio::time::Instant;

use crate::admitted::{Admitted, Refused};
use crate::caller::Caller;
use crate::department::Outcome;
use crate::operator::Operator;
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
    admitted: Admitted,
    ticket: AskTicket,
    since: Instant,
}

/// Something that may be said, because it is on record: in an entry that is durable, or, for the
/// refusals that promise 3 excepts, in a count.
pub struct Logged {
    spoken: Spoken,
    department_quota: Option<QuotaReading>,
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

    /// Puts an admitted question on record, durable before it returns.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn ask(&self, admitted: Admitted, token: [u8; 32]) -> Result<Asked, LogUnavailable> {
        let since = Instant::now();
        let rule = Some(&**admitted.permit.rule());
        let header = self.header(&admitted.caller, &admitted.query, token, rule);
        let ticket = self.log.ask(header).await.map_err(unavailable)?;
        Ok(Asked { admitted, ticket, since })
    }

    /// Puts the outcome on record, durable before it returns, and gives back what admission lent.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn conclude(&self, asked: Asked, outcome: Outcome) -> Result<Logged, LogUnavailable> {
        let Asked { admitted, ticket, since } = asked;
        let Admitted { query, permit, in_flight, .. } = admitted;
        let predicate = query.predicate();
        self.telemetry.department_took(&predicate.department, since.elapsed());
        let department_quota = Some(permit.quota().clone());
        // The department is free from here on; only the caller still waits for the sync.
        permit.settle(Settled::of(outcome.found.err().map(|fault| fault.code)));
        let (said, closing) = match outcome.found {
            Ok(finding) => {
                let (verdict, reason) = predicate.verdict(finding);
                let reply_commitment = outcome.received.unwrap_or(Digest::of(&[]).0);
                let (as_of, next_as_of) = (query.as_of(), query.next_as_of());
                let closing =
                    Closing::Answer { verdict, reason, as_of, next_as_of, reply_commitment };
                (Ok(verdict), closing)
            }
            Err(fault) => {
                (Err(fault), Closing::Failed { fault, reply_commitment: outcome.received })
            }
        };
        let recorded = self.log.conclude(ticket, closing).await.map_err(unavailable)?;
        self.telemetry.concluded(&predicate.department, said);
        drop(in_flight);
        let kept = Kept::new(&query, said, &recorded);
        let evidence = Evidence::of(&recorded);
        Ok(Logged { spoken: Spoken::Outcome(kept), department_quota, evidence })
    }

    /// Puts a refused question on record with its own entry, durable before it returns.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn refuse(
        &self,
        refused: Refused,
        token: [u8; 32],
    ) -> Result<Logged, LogUnavailable> {
        let Refused { caller, query, refusal, rule, department_quota } = refused;
        self.telemetry.refused(refusal.code);
        let question = self.header(&caller, &query, token, rule.as_deref());
        let header = RefusedHeader { question, code: refusal.code };
        let recorded = self.log.refuse(header).await.map_err(unavailable)?;
        let entry = Some((recorded.index(), *recorded.leaf_hash()));
        let spoken = Spoken::Refused { refusal, query_id: Some(query.id()), entry };
        Ok(Logged { spoken, department_quota, evidence: Evidence::of(&recorded) })
    }

    /// The outcome of an earlier query with the same id and question, promised anew.
    ///
    /// # Errors
    /// The log has stopped: what it held of the outcome may be lost.
    pub fn again(&self, kept: &Kept) -> Result<Logged, LogUnavailable> {
        let promise = self.log.promise(kept.index, &kept.leaf_hash).map_err(unavailable)?;
        let evidence = Evidence { promise: Some(promise), proof: None };
        Ok(Logged { spoken: Spoken::Outcome(kept.clone()), department_quota: None, evidence })
    }

    /// Adds the proof, as soon as the tree holds the entry. Where that takes longer than the second
    /// in which it is promised, what is on record is said without it.
    ///
    /// # Errors
    /// The log has stopped meanwhile.
    pub async fn prove(&self, mut logged: Logged) -> Result<Logged, LogUnavailable> {
        if let Some(index) = logged.index() {
            let proof = self.log.receipt_when_published(index, PROOF_PATIENCE).await;
            logged.evidence.proof = proof;
            self.log.still_writes().map_err(unavailable)?;
        }
        Ok(logged)
    }

    /// Counts a refusal that gets no entry of its own.
    pub fn count(&self, caller: Option<&Caller>, refusal: Refusal) -> Logged {
        self.telemetry.refused(refusal.code);
        self.log.coalesce(caller.map(Caller::id), refusal.code);
        let spoken = Spoken::Refused { refusal, query_id: None, entry: None };
        Logged { spoken, department_quota: None, evidence: Evidence::default() }
    }

    fn header<'a>(
        &'a self,
        caller: &'a Caller,
        query: &'a Query,
        token: [u8; 32],
        rule: Option<&'a str>,
    ) -> AskHeader<'a> {
        let predicate = query.predicate();
        let subject = query.subject();
        AskHeader {
            query_id: query.id(),
            caller: caller.id(),
            department: &predicate.department,
            predicate: &predicate.id,
            parameters: query.parameters(),
            purpose: query.purpose(),
            digests: self.bindings.of(&predicate.department),
            subject: SubjectRef { kind: &subject.kind().id, identifier: subject.expose() },
            case: query.case(),
            operator: query.operator(),
            operator_issuer: caller.operator().map(Operator::issuer),
            request_token: token,
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
        &self.admitted.query
    }

    /// When the question must be closed.
    pub fn deadline(&self) -> Instant {
        self.admitted.deadline
    }

    /// True while the department's breaker allows a retry.
    pub fn breaker_agrees(&self) -> bool {
        self.admitted.permit.breaker_agrees()
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

    /// The caller's quota at the department after this query.
    pub fn department_quota(&self) -> Option<&QuotaReading> {
        self.department_quota.as_ref()
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
    fn new(query: &Query, outcome: Result<Verdict, Fault>, recorded: &Recorded) -> Self {
        Self {
            query_id: query.id(),
            predicate: query.predicate().id.clone(),
            outcome,
            as_of: query.as_of(),
            next_as_of: query.next_as_of(),
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

/// The tree takes an entry in within a second.
const PROOF_PATIENCE: Duration = Duration::from_secs(1);

fn unavailable(error: jumpgate_querylog::LogUnavailable) -> LogUnavailable {
    tracing::error!(%error, "the query log cannot be written; nothing is answered");
    LogUnavailable::Log
}
