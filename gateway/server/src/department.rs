//! One department: its adapter, its endpoints, and the bounded loop between them.
//!
//! A record lives only inside one step and the replies that feed it. Nothing here caches, prints or
//! returns one.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;
use jiff::civil::Date;
use jumpgate_catalogue::{DepartmentId, Fault, FaultCode, Finding, ParameterValue, Query};
use jumpgate_runtime::contract::{self, FetchItem, Reply, Request};
use jumpgate_runtime::{Adapter, AdapterFault, Evaluation, Step};
use ring::digest::{Context, SHA256};
use tokio::sync::Semaphore;

use crate::endpoint::Endpoint;
use crate::record::Asked;

/// A department that can be asked.
pub struct Department {
    id: DepartmentId,
    adapter: Adapter,
    endpoints: HashMap<String, Endpoint>,
    reveal_subject: bool,
    /// Slots of the blocking pool for steps with much to read.
    blocking: Arc<Semaphore>,
}

/// What asking the department came to. Never an early return: the closing entry needs it.
pub struct Outcome {
    /// The finding, or who broke what.
    pub(crate) found: Result<Finding, Fault>,
    /// SHA-256 over exactly what the adapter received, in order; none if nothing arrived.
    pub(crate) received: Option<[u8; 32]>,
}

/// Fuel up to which a step runs on an asynchronous worker: about 1 ms.
const INLINE_FUEL_MAX: u64 = 10_000_000;
/// Steps that read megabytes at the same moment; each holds a thread for up to 20 ms.
pub const BLOCKING_STEPS_MAX: usize = 4;

impl Department {
    /// Puts a department together. `blocking` is shared by all departments and bounds, with the
    /// worker threads, the instance slots in use.
    pub fn new(
        id: DepartmentId,
        adapter: Adapter,
        endpoints: HashMap<String, Endpoint>,
        reveal_subject: bool,
        blocking: Arc<Semaphore>,
    ) -> Self {
        Self { id, adapter, endpoints, reveal_subject, blocking }
    }

    /// The department's id.
    pub fn id(&self) -> &DepartmentId {
        &self.id
    }

    /// The adapter in force.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The endpoints, by the adapter's logical names.
    pub fn endpoints(&self) -> impl Iterator<Item = (&str, &Endpoint)> {
        self.endpoints.iter().map(|(name, endpoint)| (name.as_str(), endpoint))
    }

    /// Asks: runs the adapter's steps and makes the requests it describes, until there is a finding
    /// or a fault. Every wait in it ends at the query's deadline.
    pub async fn ask(&self, asked: &Asked) -> Outcome {
        let mut received = Received::default();
        let found = self.converse(asked, &mut received).await;
        Outcome { found, received: received.digest() }
    }

    async fn converse(&self, asked: &Asked, received: &mut Received) -> Result<Finding, Fault> {
        let given = given(asked.query(), asked.as_of(), self.reveal_subject);
        let mut evaluation = self.adapter.evaluate(given);
        if self.tells_nothing_personal(asked) {
            evaluation = evaluation.keeping_first();
        }
        let mut replies = Vec::new();
        let mut repeat_is_safe = true;
        loop {
            let step;
            (evaluation, step) = self
                .step(evaluation, replies, asked)
                .await
                .map_err(|code| Fault { code, retry_is_safe: repeat_is_safe })?;
            let requests = match step {
                Step::Finding(finding) => return Ok(finding),
                Step::Fetch(requests) => requests,
            };
            // Several requests are on their way when one of them fails.
            let others_are_safe = requests.len() == 1 || requests.iter().all(|r| r.safe_to_retry);
            repeat_is_safe &= others_are_safe;
            replies = self.fetch(&requests, asked).await.map_err(|fault| Fault {
                retry_is_safe: fault.retry_is_safe && repeat_is_safe,
                ..fault
            })?;
            repeat_is_safe &= requests.iter().all(|request| request.safe_to_retry);
            replies.iter().for_each(|reply| received.add(reply));
        }
    }

    /// True if the adapter is told nothing that is about one person: not who he is, no name to
    /// compare, and no date that the auditor took from what is known of him.
    fn tells_nothing_personal(&self, asked: &Asked) -> bool {
        let query = asked.query();
        !self.reveal_subject
            && query.predicate().has_closed_parameters()
            && asked.as_of() == query.as_of()
    }

    /// One step, on this thread if it is short, else on the bounded blocking pool.
    async fn step(
        &self,
        mut evaluation: Evaluation,
        replies: Vec<Reply>,
        asked: &Asked,
    ) -> Result<(Evaluation, Step), FaultCode> {
        let (evaluation, step) = if evaluation.fuel_max(&replies) <= INLINE_FUEL_MAX {
            let step = evaluation.step(&replies);
            (evaluation, step)
        } else {
            let waiting = self.blocking.clone().acquire_owned();
            let slot = tokio::time::timeout_at(asked.deadline(), waiting).await;
            let Ok(Ok(slot)) = slot else { return Err(FaultCode::GatewayInternal) };
            let run = tokio::task::spawn_blocking(move || {
                let _slot = slot;
                let step = evaluation.step(&replies);
                (evaluation, step)
            });
            run.await.map_err(|_| FaultCode::GatewayInternal)?
        };
        let step = step.map_err(|fault| self.report(&fault))?;
        Ok((evaluation, step))
    }

    async fn fetch(&self, requests: &[FetchItem], asked: &Asked) -> Result<Vec<Reply>, Fault> {
        match requests {
            [one] => Ok(vec![self.fetch_one(one, asked).await?]),
            several => try_join_all(several.iter().map(|item| self.fetch_one(item, asked))).await,
        }
    }

    async fn fetch_one(&self, item: &FetchItem, asked: &Asked) -> Result<Reply, Fault> {
        let denied = Fault::before_effect(FaultCode::AdapterRequestDenied);
        let endpoint = self.endpoints.get(&item.endpoint).ok_or(denied)?;
        let Request::Http(request) = &item.request else { return Err(denied) };
        let subject = asked.query().subject().expose();
        let may_retry = || asked.breaker_agrees();
        endpoint
            .fetch(request, item.safe_to_retry, subject, asked.deadline(), &may_retry)
            .await
            .map(Reply::Http)
    }

    /// Tells the operator what broke. A function's name is from the component's own name section,
    /// fixed when it was loaded.
    fn report(&self, fault: &AdapterFault) -> FaultCode {
        tracing::warn!(
            department = %self.id,
            adapter = %self.adapter.digest(),
            code = fault.code.code(),
            function = fault.function.as_deref(),
            "an adapter step ended without a finding",
        );
        fault.code
    }
}

/// What the adapter is told of a query, to be answered as of a date.
pub(crate) fn given(query: &Query, as_of: Date, reveal_subject: bool) -> contract::Query {
    let predicate = &query.predicate().id;
    contract::Query {
        predicate: predicate.unversioned().to_owned(),
        version: predicate.version(),
        parameters: query
            .parameters()
            .iter()
            .map(|(name, value)| contract::Parameter {
                name: name.as_ref().to_owned(),
                value: match value {
                    ParameterValue::Integer(integer) => contract::ParameterValue::Integer(*integer),
                    ParameterValue::Text(text) => contract::ParameterValue::Text(text.clone()),
                },
            })
            .collect(),
        subject_kind: query.subject().kind().id.as_str().to_owned(),
        // The catalogue's dates lie between years 0 and 9999.
        as_of: contract::Date {
            year: as_of.year().unsigned_abs(),
            month: as_of.month().unsigned_abs(),
            day: as_of.day().unsigned_abs(),
        },
        subject: reveal_subject.then(|| query.subject().expose().to_owned()),
    }
}

/// Running digest of what an adapter received (`spec/query-log.md`, reply commitment).
#[derive(Default)]
struct Received(Option<Context>);

impl Received {
    fn add(&mut self, reply: &Reply) {
        let context = self.0.get_or_insert_with(|| Context::new(&SHA256));
        if let Reply::Http(http) = reply {
            context.update(&http.status.to_be_bytes());
            for part in [http.content_type.as_bytes(), &http.body] {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
    }

    fn digest(self) -> Option<[u8; 32]> {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0?.finish().as_ref());
        Some(digest)
    }
}
