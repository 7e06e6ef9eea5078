//! From a header to a record: entry, leaf hash and sealed fields in one buffer.
//!
//! Owns what each kind of entry says. Runs on the task that submits, never on the writer thread.

use std::borrow::Cow;

use jiff::civil::Date;
use jumpgate_catalogue::{CallerId, DepartmentId, PredicateId, Purpose, QueryId};

use crate::cipher::{Cipher, NONCE_BYTES, SEAL_HEADER_BYTES, TAG_BYTES};
use crate::entry::{Details, Entry, LeafHash, Pseudonym, epoch_of, leaf_hash};
use crate::fields::{
    self, FieldId, PADDING_BYTES, SALT_BYTES, SEALED_BYTES_MAX, date_text, parameters_cbor,
    reason_number, release_bytes, verdict_number,
};
use crate::frame::RECORD_HEADER_BYTES;
use crate::handles::SubjectRow;
use crate::kind::{Act, Kind};
use crate::log::StartDetails;
use crate::options::AskMode;
use crate::origin::Origin;
use crate::shared::LogUnavailable;
use crate::ticket::{AskHeader, Closing, RefusedHeader};

/// A record ready to be written: lengths, entry, sealed fields.
pub(crate) struct Composed {
    pub record: Vec<u8>,
    pub leaf_hash: LeafHash,
    pub time_ms: u64,
    pub effect: Effect,
}

/// What an entry does to open questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Opens,
    /// Closes the `ask` at this leaf index.
    Closes(u64),
    Neither,
}

/// What a closing entry repeats of its `ask`, so that it can be read alone.
pub(crate) struct Asked {
    pub query_id: QueryId,
    pub time_ms: u64,
    caller: CallerId,
    department: DepartmentId,
    predicate: PredicateId,
    purpose: Purpose,
    pseudonym: Pseudonym,
    subject: SubjectRow,
    request_token: [u8; 32],
    as_of: Date,
}

/// What `start` says about recovery.
pub(crate) struct StartFacts {
    pub asks_abandoned: u64,
    pub torn_bytes: u64,
    pub ask: AskMode,
    /// How the log ended before: none, stopped or interrupted.
    pub previous: &'static str,
    /// True if asks that were only written may be lost.
    pub asks_lost_possible: bool,
    /// How far the clock was behind the last entry, if somebody let the log go on so.
    pub clock_back_ms: Option<u64>,
}

pub(crate) struct Composer<'a> {
    pub cipher: &'a Cipher,
    pub time_ms: u64,
}

type FieldValue<'a> = (FieldId, &'a [u8]);

impl Composer<'_> {
    pub fn ask(
        &self,
        ask: &AskHeader<'_>,
        subject: SubjectRow,
    ) -> Result<(Composed, Asked), LogUnavailable> {
        let pseudonym = self.pseudonym(ask.department, &subject);
        let kind = if ask.second_operator.is_some() { Kind::BreakGlass } else { Kind::Ask };
        let entry = self.question_entry(kind, ask, pseudonym);
        let asked = Asked {
            query_id: ask.query_id,
            time_ms: self.time_ms,
            caller: ask.caller.clone(),
            department: ask.department.clone(),
            predicate: ask.predicate.clone(),
            purpose: ask.purpose.clone(),
            pseudonym,
            subject,
            request_token: ask.request_token,
            as_of: ask.as_of,
        };
        Ok((self.question(entry, ask, &subject)?, asked))
    }

    pub fn refused(
        &self,
        refused: &RefusedHeader<'_>,
        subject: SubjectRow,
    ) -> Result<Composed, LogUnavailable> {
        let pseudonym = self.pseudonym(refused.question.department, &subject);
        let mut entry = self.question_entry(Kind::Refused, &refused.question, pseudonym);
        entry.code = Some(refused.code.code().into());
        self.question(entry, &refused.question, &subject)
    }

    pub fn closing(
        &self,
        asked: &Asked,
        ask_index: u64,
        closing: &Closing,
    ) -> Result<Composed, LogUnavailable> {
        match closing {
            Closing::Answer { verdict, reason, as_of, next_as_of, reply_commitment, release } => {
                let entry = asked.closing_entry(Kind::Answer, ask_index, self.time_ms);
                let as_of = date_text(*as_of);
                let next_as_of = next_as_of.map(date_text);
                let verdict = [verdict_number(*verdict)];
                let reason = [reason_number(*reason)];
                let release = release.as_ref().map(release_bytes);
                let mut values: Vec<FieldValue<'_>> = Vec::with_capacity(7);
                values.push((FieldId::Verdict, &verdict));
                values.push((FieldId::AsOf, &as_of));
                values.extend(next_as_of.as_ref().map(|date| (FieldId::NextAsOf, &date[..])));
                values.push((FieldId::Reason, &reason));
                values.push((FieldId::ReplyCommitment, reply_commitment));
                values.push((FieldId::RequestToken, &asked.request_token));
                values.extend(release.as_ref().map(|bytes| (FieldId::Release, &bytes[..])));
                self.record(entry, &values, &asked.subject)
            }
            Closing::Failed { fault, reply_commitment } => {
                let mut entry = asked.closing_entry(Kind::Failed, ask_index, self.time_ms);
                entry.code = Some(fault.code.code().into());
                let as_of = date_text(asked.as_of);
                let retry_is_safe = [u8::from(fault.retry_is_safe)];
                let mut values: Vec<FieldValue<'_>> = Vec::with_capacity(4);
                values.push((FieldId::AsOf, &as_of));
                values.extend(
                    reply_commitment.as_ref().map(|digest| (FieldId::ReplyCommitment, &digest[..])),
                );
                values.push((FieldId::RequestToken, &asked.request_token));
                values.push((FieldId::RetryIsSafe, &retry_is_safe));
                self.record(entry, &values, &asked.subject)
            }
        }
    }

    /// Closes a question that the gateway's end left open. `ask` is the decoded `ask` entry.
    pub fn abandoned(&self, ask: Entry<'_>, ask_index: u64) -> Result<Composed, LogUnavailable> {
        let entry = Entry {
            kind: Kind::Abandoned,
            time_ms: self.time_ms,
            ask: Some(ask_index),
            adapter: None,
            catalogue: None,
            policy: None,
            engine: None,
            fields: None,
            rule: None,
            ..ask
        };
        self.record(entry, &[], &SubjectRow::NOBODY)
    }

    pub fn coalesced(
        &self,
        caller: Option<&str>,
        code: &'static str,
        count: u64,
    ) -> Result<Composed, LogUnavailable> {
        let mut entry = Entry::new(Kind::Coalesced, self.time_ms);
        entry.caller = caller.map(Cow::from);
        entry.code = Some(code.into());
        entry.count = Some(count);
        self.record(entry, &[], &SubjectRow::NOBODY)
    }

    pub fn act(
        &self,
        act: Act,
        details: &Details<'_>,
        by: Option<&str>,
    ) -> Result<Composed, LogUnavailable> {
        let mut entry = Entry::new(Kind::Act(act), self.time_ms);
        entry.details = Some(details.clone());
        let by: Vec<FieldValue<'_>> =
            by.iter().map(|name| (FieldId::Operator, name.as_bytes())).collect();
        self.record(entry, &by, &SubjectRow::NOBODY)
    }

    pub fn act_about(
        &self,
        act: Act,
        details: &Details<'_>,
        by: &str,
        subject: &SubjectRow,
    ) -> Result<Composed, LogUnavailable> {
        let mut entry = Entry::new(Kind::Act(act), self.time_ms);
        entry.details = Some(details.clone());
        let values: [FieldValue<'_>; 2] =
            [(FieldId::Operator, by.as_bytes()), (FieldId::SubjectHandle, &subject.handle)];
        self.record(entry, &values, subject)
    }

    pub fn start(
        &self,
        start: &StartDetails,
        facts: &StartFacts,
        origin: &Origin,
    ) -> Result<Composed, LogUnavailable> {
        let mut entry = Entry::new(Kind::Start, self.time_ms);
        entry.catalogue = Some(start.catalogue);
        entry.policy = Some(start.policy);
        entry.engine = Some(start.engine);
        let mut details = Details::new()
            .with("version", start.version.as_str())
            .with("config", start.config.to_string())
            .with("ask", facts.ask.as_str())
            .with("previous", facts.previous)
            .with("verifier_key", origin.verifier.to_string())
            .with("promise_key", origin.promise.to_string())
            .with("asks_abandoned", facts.asks_abandoned.to_string())
            .with("torn_bytes", facts.torn_bytes.to_string());
        if facts.asks_lost_possible {
            details = details.with("asks_lost", "possible");
        }
        if let Some(back_ms) = facts.clock_back_ms {
            details = details.with("clock_back_ms", back_ms.to_string());
        }
        entry.details = Some(details);
        self.record(entry, &[], &SubjectRow::NOBODY)
    }

    pub fn stop(&self) -> Result<Composed, LogUnavailable> {
        self.record(Entry::new(Kind::Stop, self.time_ms), &[], &SubjectRow::NOBODY)
    }

    fn pseudonym(&self, department: &DepartmentId, subject: &SubjectRow) -> Pseudonym {
        self.cipher.pseudonym(department.as_str(), epoch_of(self.time_ms), &subject.handle)
    }

    fn question_entry<'a>(
        &self,
        kind: Kind,
        ask: &AskHeader<'a>,
        pseudonym: Pseudonym,
    ) -> Entry<'a> {
        Entry {
            query_id: Some(ask.query_id),
            caller: Some(ask.caller.as_str().into()),
            department: Some(ask.department.as_str().into()),
            predicate: Some(ask.predicate.as_str().into()),
            purpose: Some(ask.purpose.as_str().into()),
            adapter: Some(ask.digests.adapter),
            catalogue: Some(ask.digests.catalogue),
            policy: Some(ask.digests.policy),
            engine: Some(ask.digests.engine),
            pseudonym: Some(pseudonym),
            rule: ask.rule.map(Into::into),
            ..Entry::new(kind, self.time_ms)
        }
    }

    fn question(
        &self,
        entry: Entry<'_>,
        ask: &AskHeader<'_>,
        subject: &SubjectRow,
    ) -> Result<Composed, LogUnavailable> {
        let as_of = date_text(ask.as_of);
        let parameters =
            if ask.parameters.is_empty() { None } else { Some(parameters_cbor(ask.parameters)) };
        let mut values: Vec<FieldValue<'_>> = Vec::with_capacity(8);
        values.push((FieldId::AsOf, &as_of));
        values.extend(ask.operator.map(|text| (FieldId::Operator, text.as_bytes())));
        values.extend(ask.case.map(|text| (FieldId::Case, text.as_bytes())));
        values.push((FieldId::SubjectHandle, &subject.handle));
        values.push((FieldId::RequestToken, &ask.request_token));
        values.extend(parameters.as_ref().map(|cbor| (FieldId::Parameters, &cbor[..])));
        let issuer = ask.operator_issuer.map(|text| (FieldId::OperatorIssuer, text.as_bytes()));
        values.extend(issuer);
        let second = ask.second_operator.map(|text| (FieldId::SecondOperator, text.as_bytes()));
        values.extend(second);
        self.record(entry, &values, subject)
    }

    /// Commits to the fields, encodes the entry, hashes it and seals the fields, all in one buffer.
    /// `values` come in the order of their ids. The order of the steps is forced: the entry holds
    /// the commitment, and the sealing is bound to the entry's leaf hash.
    fn record(
        &self,
        mut entry: Entry<'_>,
        values: &[FieldValue<'_>],
        subject: &SubjectRow,
    ) -> Result<Composed, LogUnavailable> {
        let mut drawn = [0; SALT_BYTES * FieldId::ALL.len() + NONCE_BYTES];
        let drawn = &mut drawn[..SALT_BYTES * values.len() + NONCE_BYTES];
        if !values.is_empty() {
            self.cipher.fill_random(drawn).map_err(|_| LogUnavailable::NoRandomness)?;
        }
        let (salts, nonce) = drawn.split_at(SALT_BYTES * values.len());
        let (salts, _) = salts.as_chunks::<SALT_BYTES>();
        if !values.is_empty() {
            let commitments = values
                .iter()
                .zip(salts)
                .map(|((id, value), salt)| fields::commitment(*id, salt, value));
            entry.fields = Some(fields::commitment_of_all(commitments));
        }

        let mut record = Vec::with_capacity(RECORD_BYTES_TYPICAL);
        record.resize(RECORD_HEADER_BYTES, 0);
        entry.encode(&mut record)?;
        let leaf_hash = leaf_hash(&record[RECORD_HEADER_BYTES..]);
        let entry_end = record.len();

        if !values.is_empty() {
            let text_at = entry_end + SEAL_HEADER_BYTES;
            record.resize(text_at, 0);
            let triples = values.iter().zip(salts).map(|((id, value), salt)| (*id, salt, *value));
            fields::encode(triples, &mut record);
            let text_bytes = (record.len() - text_at).next_multiple_of(PADDING_BYTES);
            let bytes = SEAL_HEADER_BYTES + text_bytes + TAG_BYTES;
            if bytes > SEALED_BYTES_MAX {
                return Err(LogUnavailable::FieldsTooLarge { bytes, max: SEALED_BYTES_MAX });
            }
            record.resize(text_at + text_bytes, 0);
            let mut unique = [0; NONCE_BYTES];
            unique.copy_from_slice(nonce);
            self.cipher.seal(&mut record, text_at, unique, subject, &leaf_hash);
        }
        crate::frame::write_record_header(&mut record, entry_end - RECORD_HEADER_BYTES);
        let effect = match (entry.kind, entry.ask) {
            (kind, _) if kind.opens() => Effect::Opens,
            (_, Some(ask)) => Effect::Closes(ask),
            (_, None) => Effect::Neither,
        };
        Ok(Composed { record, leaf_hash, time_ms: self.time_ms, effect })
    }
}

impl Asked {
    fn closing_entry(&self, kind: Kind, ask_index: u64, time_ms: u64) -> Entry<'_> {
        Entry {
            query_id: Some(self.query_id),
            caller: Some(self.caller.as_str().into()),
            department: Some(self.department.as_str().into()),
            predicate: Some(self.predicate.as_str().into()),
            purpose: Some(self.purpose.as_str().into()),
            ask: Some(ask_index),
            pseudonym: Some(self.pseudonym),
            ..Entry::new(kind, time_ms)
        }
    }
}

/// An `ask` with its sealed fields has about 750 bytes.
const RECORD_BYTES_TYPICAL: usize = 1024;
