//! What the path of a query hands to the log and gets back.
//!
//! Owns the headers, the ticket of an open question and the proof of a durable entry. A ticket
//! closes its question exactly once: by `conclude`, or by itself when it is dropped.

use std::sync::Arc;

use jiff::civil::Date;
use jumpgate_catalogue::{
    CallerId, DepartmentId, Digest, Fault, FaultCode, ParameterValue, PredicateId, Purpose,
    QueryId, Reason, RefusalCode, Release, SubjectKindId, Verdict,
};

use crate::compose::Asked;
use crate::entry::LeafHash;
use crate::promise::SignedBatch;
use crate::queue::{Slot, Submission, Waiter};
use crate::shared::{LogUnavailable, Shared};

/// What an `ask` entry says. Values that name a person go into sealed fields, the others into the
/// entry in clear.
#[derive(Clone, Copy)]
pub struct AskHeader<'a> {
    /// The question's own id.
    pub query_id: QueryId,
    /// Who asks.
    pub caller: &'a CallerId,
    /// Who holds the record.
    pub department: &'a DepartmentId,
    /// What is asked.
    pub predicate: &'a PredicateId,
    /// The predicate's parameters; sealed, since on a match predicate they are claims about the
    /// subject.
    pub parameters: &'a [(Arc<str>, ParameterValue)],
    /// Why it is asked.
    pub purpose: &'a Purpose,
    /// What will decide the answer.
    pub digests: &'a Digests,
    /// About whom; becomes a pseudonym and a handle, the identifier itself is never written.
    pub subject: SubjectRef<'a>,
    /// The caller's own case number; sealed.
    pub case: Option<&'a str>,
    /// The person at the caller's desk; sealed.
    pub operator: Option<&'a str>,
    /// Who signed for the operator; sealed. None where the caller names him by itself.
    pub operator_issuer: Option<&'a str>,
    /// The other person, of the same issuer, with whom the operator asks past the auditor; sealed.
    /// With one, the question is asked with an entry of kind `break-glass`.
    pub second_operator: Option<&'a str>,
    /// Keyed digest of the request's body, from [`crate::QueryLog::request_token`]; sealed.
    pub request_token: [u8; 32],
    /// The rule of the policy that decided; in clear. None where none was about the question.
    pub rule: Option<&'a str>,
    /// The civil date the answer is about; sealed.
    pub as_of: Date,
}

/// Digests of everything that decides an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// The adapter component.
    pub adapter: Digest,
    /// The catalogue.
    pub catalogue: Digest,
    /// The policy.
    pub policy: Digest,
    /// The engine's configuration.
    pub engine: Digest,
}

/// A subject identifier, borrowed for the time of one call. Deliberately without `Debug`.
#[derive(Clone, Copy)]
pub struct SubjectRef<'a> {
    /// The identifier's kind.
    pub kind: &'a SubjectKindId,
    /// The identifier's text.
    pub identifier: &'a str,
}

/// What a `refused` entry says.
#[derive(Clone, Copy)]
pub struct RefusedHeader<'a> {
    /// The question that is not asked.
    pub question: AskHeader<'a>,
    /// Why not.
    pub code: RefusalCode,
}

/// How a question ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// With a verdict: an `answer` entry.
    Answer {
        /// What crosses to the caller; sealed.
        verdict: Verdict,
        /// Why a record did not settle the question; sealed, never for the caller.
        reason: Option<Reason>,
        /// The civil date the answer is about; sealed.
        as_of: Date,
        /// First date on which the same question can get another answer; sealed.
        next_as_of: Option<Date>,
        /// SHA-256 over exactly what the adapter received; sealed.
        reply_commitment: [u8; 32],
        /// What an exact answer tells; none of another clock's; sealed.
        release: Option<Release>,
    },
    /// With a fault: a `failed` entry. The fault's code stands in clear.
    Failed {
        /// What broke, and whether a repeat is safe.
        fault: Fault,
        /// SHA-256 over what the adapter received before it failed, if it was run; sealed.
        reply_commitment: Option<[u8; 32]>,
    },
}

/// An entry that is durable. Only the log makes it; holding one is the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    index: u64,
    leaf_hash: LeafHash,
    time_ms: u64,
    batch: Option<Arc<SignedBatch>>,
}

impl Recorded {
    pub(crate) fn new(
        index: u64,
        leaf_hash: LeafHash,
        time_ms: u64,
        batch: Option<Arc<SignedBatch>>,
    ) -> Self {
        Self { index, leaf_hash, time_ms, batch }
    }

    /// The promise that goes with the answer, to be checked by [`crate::Promise::of_text`]; none of
    /// an entry from before the log was opened, see [`crate::QueryLog::promise`].
    pub fn promise(&self) -> Option<String> {
        Some(self.batch.as_ref()?.promise(self.index))
    }

    /// The leaf index: the entry's position in the log, from 0, without gaps.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// RFC 6962 §2.1 leaf hash: SHA-256 of a zero byte and the entry.
    pub fn leaf_hash(&self) -> &LeafHash {
        &self.leaf_hash
    }

    /// The time in the entry, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

/// An open question: its `ask` is on record and its closing entry has a place in the queue, so that
/// closing never waits. Dropped without [`crate::QueryLog::conclude`], for one by a panic, it
/// submits `failed` with [`FaultCode::GatewayInternal`] itself.
#[must_use = "a question that is not concluded is recorded as failed"]
pub struct AskTicket {
    asked: Box<Asked>,
    index: u64,
    slot: Option<Slot>,
    shared: Arc<Shared>,
}

impl AskTicket {
    pub(crate) fn new(asked: Box<Asked>, index: u64, slot: Slot, shared: Arc<Shared>) -> Self {
        Self { asked, index, slot: Some(slot), shared }
    }

    /// The leaf index of the `ask` entry. Durable unless the log runs with
    /// [`crate::AskMode::Written`].
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The time in the `ask` entry, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.asked.time_ms
    }

    /// The question's own id.
    pub fn query_id(&self) -> QueryId {
        self.asked.query_id
    }

    /// Submits the closing entry. Does nothing the second time, which only `drop` attempts.
    pub(crate) fn close(
        &mut self,
        closing: &Closing,
        waiter: Waiter,
    ) -> Result<(), LogUnavailable> {
        let Some(slot) = self.slot.take() else { return Ok(()) };
        let composed = self.shared.compose_closing(&self.asked, self.index, closing)?;
        self.shared.queue.push(Submission::new(composed, waiter, Some(slot)))
    }
}

impl Drop for AskTicket {
    fn drop(&mut self) {
        let fault = Fault::new(FaultCode::GatewayInternal);
        let closing = Closing::Failed { fault, reply_commitment: None };
        // An error means that the log has stopped; the next start writes `abandoned`.
        let _ = self.close(&closing, Waiter::Nobody);
    }
}
