//! Everything a query meets, as it is in force at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use jumpgate_admission::Admission;
use jumpgate_catalogue::{
    Catalogue, DepartmentId, Digest, Fault, FaultCode, ParameterValue, Query, QueryId, Question,
    Refusal, RefusalCode,
};
use jumpgate_querylog::Digests;
use jumpgate_runtime::Adapter;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use crate::caller::{Caller, Operators};
use crate::candidate::{Candidate, EndpointFiles};
use crate::config::{DepartmentSettings, Settings};
use crate::department::{Department, Outcome};
use crate::drain::Drain;
use crate::operator::{self, Issuers, Operator, Tokens};
use crate::record::{Asked, Record};
use crate::replay::{Claim, Claimed, Replays};
use crate::telemetry::Telemetry;
use crate::trust::Trust;
use crate::wire;

/// Everything a query meets. A reload makes another one; a query stays with the one it began with.
#[derive(Clone)]
pub struct Gateway {
    /// What may be asked.
    pub catalogue: Arc<Catalogue>,
    /// Who may ask, how often.
    pub admission: Arc<Admission>,
    /// Who may connect.
    pub trust: Arc<Trust>,
    /// The query log.
    pub record: Record,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// Queries that must end before the process does.
    pub drain: Drain,
    pub(crate) settings: Arc<Settings>,
    /// SHA-256 of the configuration's file.
    pub(crate) config_digest: Digest,
    pub(crate) departments: Arc<HashMap<DepartmentId, Department>>,
    pub(crate) endpoint_files: Arc<EndpointFiles>,
    pub(crate) issuers: Arc<Issuers>,
    /// Counts reloads.
    pub(crate) edition: u64,
    pub(crate) digests: Digests,
    pub(crate) replays: Arc<Replays>,
    pub(crate) civil_time_zone: jiff::tz::TimeZone,
    pub(crate) now: Now,
    pub(crate) random: SystemRandom,
}

/// The clock by which dates, certificates and entries are judged.
pub type Now = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

impl Gateway {
    /// What decides from now on: `candidate`, whose departments' adapters, endpoints, callers and
    /// rules take the place of this one's. The query log, what is in the middle of being asked and
    /// what was answered go on.
    pub(crate) fn succeed(&self, candidate: Candidate) -> Self {
        let admission = Arc::new(self.admission.succeed(candidate.plan));
        let digests = Digests {
            catalogue: candidate.catalogue.digest(),
            policy: admission.policy().digest(),
            ..self.digests
        };
        let adapters = adapter_digests(&candidate.departments);
        Self {
            record: Record::new(
                self.record.log().clone(),
                digests,
                adapters,
                self.telemetry.clone(),
            ),
            catalogue: Arc::new(candidate.catalogue),
            admission,
            trust: Arc::new(candidate.trust),
            settings: Arc::new(candidate.settings),
            config_digest: candidate.digest,
            departments: Arc::new(candidate.departments),
            endpoint_files: Arc::new(candidate.endpoint_files),
            issuers: Arc::new(candidate.issuers),
            edition: self.edition + 1,
            digests,
            ..self.clone()
        }
    }

    /// The same with other trust.
    pub(crate) fn with_trust(&self, trust: Trust) -> Self {
        Self { trust: Arc::new(trust), ..self.clone() }
    }

    /// The time now.
    pub fn now(&self) -> jiff::Timestamp {
        (self.now)()
    }

    /// The caller with the people at its desk, where it must send their tokens. `certificate` is
    /// the fingerprint of what its connection showed.
    ///
    /// # Errors
    /// `OperatorUnproven` and `OperatorKeysUnavailable`.
    pub(crate) async fn with_operators(
        &self,
        caller: Caller,
        tokens: Tokens<'_>,
        certificate: Option<Digest>,
    ) -> Result<Caller, Refusal> {
        let Operators::Required(name) = caller.operators() else {
            return match tokens.second {
                None => Ok(caller),
                Some(_) => Err(operator::nobody_signs()),
            };
        };
        let first = tokens.first.ok_or_else(operator::missing)?;
        // A caller's issuer is configured: the check of the configuration says so.
        let issuer = self.issuers.get(name).ok_or_else(operator::missing)?;
        let (certificate, now) = (certificate.as_ref(), self.now());
        let first = issuer.check(first, certificate, now).await?;
        let operators = match tokens.second {
            None => Operators::Proven(Arc::new(first)),
            Some(second) => {
                let second = issuer.check(second, certificate, now).await;
                let second = second.map_err(operator::in_second)?;
                Operators::Two(Arc::new(operator::two(first, second)?))
            }
        };
        Ok(caller.with_operators(operators))
    }

    /// Checks a question against the catalogue and digests it for its `query_id`.
    pub(crate) fn resolve(
        &self,
        caller: &Caller,
        mut asked: wire::Asked,
    ) -> Result<(Query, Token), Refusal> {
        if let Some(operator) = caller.operator() {
            operator.vouches_for(asked.query_id)?;
            if asked.question.operator.is_some() {
                let mend = "leave it out: the token names the operator";
                return Err(Refusal::new(RefusalCode::MalformedRequest, mend).at("/operator"));
            }
            asked.question.operator = Some(operator.name().to_owned());
        }
        if let Some(second) = caller.second_operator() {
            second.vouches_for(asked.query_id)?;
        }
        let second = caller.second_operator().map(Operator::name);
        let canonical = canonical(&asked.question, second);
        let token = self.record.log().request_token(caller.id(), &canonical);
        let today = self.now().to_zoned(self.civil_time_zone.clone()).date();
        let id = asked.query_id.unwrap_or_else(|| self.draw_id());
        let query = self.catalogue.resolve(asked.question, id, today)?;
        Ok((query, Token { token, chosen: asked.query_id.is_some() }))
    }

    /// Claims the question's id. An id that the gateway drew is unknown to everybody else.
    pub(crate) fn claim(
        &self,
        caller: &Caller,
        query: &Query,
        token: Token,
    ) -> Result<Claim, Refusal> {
        if !token.chosen {
            return Ok(Claim::Fresh(Claimed::unshared()));
        }
        let now_ms = unix_ms(self.now());
        self.replays.claim(caller.id(), query.id(), token.token, now_ms)
    }

    pub(crate) fn deadline(&self, query: &Query) -> Instant {
        let department = query.predicate().department.as_str();
        let settings = self.settings.departments.get(department);
        let deadline = settings.map(DepartmentSettings::deadline).unwrap_or_default();
        Instant::now() + deadline
    }

    /// Asks the department of a question that is on record. What its time could tell is held back
    /// here, before the closing entry, whose time is told too.
    pub(crate) async fn ask_department(&self, asked: &mut Asked) -> Outcome {
        let id = &asked.query().predicate().department;
        let implied = asked.implied();
        let outcome = match (implied, self.departments.get(id)) {
            (Some(finding), _) => Outcome { found: Ok(finding), received: None },
            (None, Some(department)) => department.ask(asked).await,
            // Admission lets no query through to a department without configuration.
            (None, None) => Outcome {
                found: Err(Fault::before_effect(FaultCode::GatewayInternal)),
                received: None,
            },
        };
        let took = asked.settle(&outcome);
        let predicate = asked.query().predicate();
        if implied.is_none() {
            self.telemetry.department_took(&predicate.department, took);
        }
        if predicate.leaves_on_quantum() {
            let settings = self.settings.departments.get(predicate.department.as_str());
            let quantum = settings.map(DepartmentSettings::response_quantum).unwrap_or_default();
            sleep_until(asked.next_multiple(quantum)).await;
        }
        outcome
    }

    /// The configured departments.
    pub fn departments(&self) -> impl Iterator<Item = &Department> {
        self.departments.values()
    }

    /// The adapter in force of a department.
    pub(crate) fn adapter(&self, department: &DepartmentId) -> Option<&Adapter> {
        self.departments.get(department).map(Department::adapter)
    }

    fn draw_id(&self) -> QueryId {
        let mut id = [0; 16];
        // A drawn id only has to be unlikely to repeat; without randomness the log, which needs
        // salts, refuses the question a moment later.
        let _ = self.random.fill(&mut id);
        QueryId(id)
    }
}

/// A question's keyed digest, and whether its id was the caller's choice.
#[derive(Clone, Copy)]
pub(crate) struct Token {
    pub(crate) token: [u8; 32],
    chosen: bool,
}

/// Unix time in milliseconds; 0 before 1970.
pub(crate) fn unix_ms(now: jiff::Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or(0)
}

/// The adapter of each department, by its digest.
pub(crate) fn adapter_digests(
    departments: &HashMap<DepartmentId, Department>,
) -> impl Iterator<Item = (DepartmentId, Digest)> {
    departments.iter().map(|(id, department)| (id.clone(), department.adapter().digest()))
}

/// The question in one unambiguous form: each part with its length before it, parameters by name.
fn canonical(question: &Question, second_operator: Option<&str>) -> Zeroizing<Vec<u8>> {
    let mut parameters: Vec<_> = question.parameters.iter().collect();
    parameters.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut bytes = Zeroizing::new(Vec::with_capacity(256));
    let mut part = |text: &[u8]| {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text);
    };
    part(question.predicate.as_bytes());
    for (name, value) in parameters {
        part(name.as_bytes());
        match value {
            ParameterValue::Integer(integer) => part(&integer.to_be_bytes()),
            ParameterValue::Text(text) => part(text.as_bytes()),
        }
    }
    part(question.subject_kind.as_bytes());
    part(question.subject.as_bytes());
    part(question.purpose.as_bytes());
    part(question.case.as_deref().unwrap_or_default().as_bytes());
    part(question.operator.as_deref().unwrap_or_default().as_bytes());
    if let Some(second) = second_operator {
        part(second.as_bytes());
    }
    bytes
}
