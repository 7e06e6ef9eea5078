//! The trait an adapter implements, and the glue between it and the contract's functions.
//!
//! Owns the question as an author sees it and the adapter's state as bytes. It decides nothing
//! about a record.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::exports::jumpgate::adapter::adapter as wit;
use crate::{Date, Failure, FailureCode, Finding, Position, Reason, Replies, Request};

/// An adapter: a pure function of a question and a department's replies.
pub trait Adapter {
    /// What must be remembered from one step to the next, at most 4096 bytes as JSON. The gateway
    /// keeps it and cannot read it. `()` for an adapter of one request.
    type State: Serialize + DeserializeOwned;

    /// What the adapter is.
    const MANIFEST: Manifest;

    /// The first step of a question.
    ///
    /// # Errors
    /// [`Stop`] where the question can be neither asked nor answered.
    fn begin(query: &Query) -> Result<Step<Self::State>, Stop>;

    /// The next step: the replies stand in the order of the requests.
    ///
    /// # Errors
    /// [`Stop`] where the record does not settle the question or the replies cannot be read.
    fn resume(
        query: &Query,
        state: Self::State,
        replies: &Replies,
    ) -> Result<Step<Self::State>, Stop>;
}

/// What an adapter is; the gateway reads it once, when it loads the component.
#[derive(Debug, Clone, Copy)]
pub struct Manifest {
    /// The plugin's name, `[a-z0-9-]{1,64}`.
    pub name: &'static str,
    /// The plugin's own version, semantic versioning, at most 32 bytes.
    pub version: &'static str,
    /// The predicates it answers, `department/name@version`; at most 64.
    pub predicates: &'static [&'static str],
    /// Logical names of the endpoints it fetches from; at most 8.
    pub endpoints: &'static [&'static str],
    /// The largest number of steps one question takes, `begin` included; at most 16.
    pub steps_max: u32,
}

/// What an adapter wants next.
#[derive(Debug)]
pub enum Step<S> {
    /// Make these requests side by side, 1 to 4, and come back with the replies and the state.
    Fetch(Vec<Request>, S),
    /// The question is settled.
    Finding(Finding),
}

impl<S> Step<S> {
    /// Makes one request.
    pub fn fetch(request: Request, state: S) -> Self {
        Self::Fetch(vec![request], state)
    }
}

impl<S> From<Finding> for Step<S> {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

impl<S> From<bool> for Step<S> {
    /// `yes` or `no`.
    fn from(holds: bool) -> Self {
        Self::Finding(if holds { Finding::Yes } else { Finding::No })
    }
}

/// Why a step came to neither `yes` nor `no`.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// The record does not settle the question: a finding, and nobody's fault.
    Undetermined(Reason),
    /// The replies cannot be read, or the question is not the adapter's.
    Failure(Failure),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Undetermined(reason)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Failure {
    /// The question, or the state handed back, is not this adapter's.
    pub fn unsupported_query() -> Self {
        Self { code: FailureCode::UnsupportedQuery, reply: 0, position: Position::None }
    }
}

/// The question as the adapter is told it: never who asks, and not who is asked about.
#[derive(Debug)]
pub struct Query {
    predicate: String,
    parameters: Vec<wit::Parameter>,
    subject_kind: String,
    as_of: Date,
    subject: Option<String>,
}

impl Query {
    /// `department/name@version`, written as in the manifest.
    pub fn predicate(&self) -> &str {
        &self.predicate
    }

    /// A parameter that is an integer.
    ///
    /// # Errors
    /// `unsupported-query` if there is none of this name and type.
    pub fn integer(&self, name: &str) -> Result<i64, Failure> {
        match self.parameter(name) {
            Some(wit::ParameterValue::Integer(value)) => Ok(*value),
            Some(wit::ParameterValue::Text(_)) | None => Err(Failure::unsupported_query()),
        }
    }

    /// A parameter that is a text or a code.
    ///
    /// # Errors
    /// `unsupported-query` if there is none of this name and type.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        match self.parameter(name) {
            Some(wit::ParameterValue::Text(value)) => Ok(value),
            Some(wit::ParameterValue::Integer(_)) | None => Err(Failure::unsupported_query()),
        }
    }

    /// The kind of the subject identifier, `passport` for one.
    pub fn subject_kind(&self) -> &str {
        &self.subject_kind
    }

    /// The civil date the answer is about.
    pub fn as_of(&self) -> Date {
        self.as_of
    }

    /// The identifier itself; none unless the plugin declares `reveal_subject` and the department's
    /// configuration allows it.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    fn parameter(&self, name: &str) -> Option<&wit::ParameterValue> {
        let found = self.parameters.iter().find(|parameter| parameter.name == name);
        found.map(|parameter| &parameter.value)
    }
}

impl TryFrom<wit::Query> for Query {
    type Error = Failure;

    fn try_from(query: wit::Query) -> Result<Self, Failure> {
        let wit::Date { year, month, day } = query.as_of;
        Ok(Self {
            predicate: format!("{}@{}", query.predicate, query.version),
            parameters: query.parameters,
            subject_kind: query.subject_kind,
            as_of: Date::new(year, month, day).ok_or_else(Failure::unsupported_query)?,
            subject: query.subject,
        })
    }
}

/// The component made of adapter `A`; [`crate::export!`] names it.
#[derive(Debug)]
pub struct Exported<A>(PhantomData<A>);

impl<A: Adapter> wit::Guest for Exported<A> {
    fn describe() -> wit::Manifest {
        let owned = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        wit::Manifest {
            name: A::MANIFEST.name.into(),
            version: A::MANIFEST.version.into(),
            predicates: owned(A::MANIFEST.predicates),
            endpoints: owned(A::MANIFEST.endpoints),
            steps_max: A::MANIFEST.steps_max,
        }
    }

    fn begin(query: wit::Query) -> Result<wit::Step, Failure> {
        let query = Query::try_from(query)?;
        lower(A::begin(&query))
    }

    fn resume(
        query: wit::Query,
        state: Vec<u8>,
        replies: Vec<wit::Reply>,
    ) -> Result<wit::Step, Failure> {
        let query = Query::try_from(query)?;
        let state = serde_json::from_slice(&state).map_err(|_| Failure::unsupported_query())?;
        lower(A::resume(&query, state, &Replies::new(replies)?))
    }
}

/// An author's step as the contract's.
fn lower<S: Serialize>(step: Result<Step<S>, Stop>) -> Result<wit::Step, Failure> {
    match step {
        Ok(Step::Finding(finding)) => Ok(wit::Step::Finding(finding)),
        Ok(Step::Fetch(requests, state)) => Ok(wit::Step::Fetch(wit::Fetch {
            requests: requests.into_iter().map(Request::into_item).collect(),
            state: serde_json::to_vec(&state).map_err(|_| Failure::unsupported_query())?,
        })),
        Err(Stop::Undetermined(reason)) => Ok(wit::Step::Finding(Finding::Undetermined(reason))),
        Err(Stop::Failure(failure)) => Err(failure),
    }
}

#[cfg(test)]
mod tests;
