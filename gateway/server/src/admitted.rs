//! A question on its way to its department: posed, and let through or refused.

use jumpgate_admission::{
    Admission, CallerRefused, Charge, Charged, InFlightGuard, Permit, QuotaReading, Rejected,
    RuleId, SubjectNumber,
};
use jumpgate_catalogue::{Query, Refusal};
use tokio::time::Instant;

use crate::caller::Caller;
use crate::gateway::{Gateway, Token};
use crate::record::LogUnavailable;

/// A question that gets an entry, whatever becomes of it: it is well formed, counted for its
/// caller, and the query log knows its subject. Made by `Posed::by` only.
pub struct Posed {
    pub(crate) caller: Caller,
    pub(crate) query: Query,
    pub(crate) token: Token,
    pub(crate) subject: SubjectNumber,
    /// Given back if it gets no entry.
    pub(crate) charge: Charge,
    /// What is nearly used up of the caller's allotment.
    pub(crate) quotas: Vec<QuotaReading>,
    /// When it was posed: what its answer's time is counted from.
    pub(crate) since: Instant,
}

/// A query that admission let through. Made by [`Admitted::by`] only; holds what is given back with
/// the closing entry.
pub struct Admitted {
    pub(crate) posed: Posed,
    pub(crate) permit: Permit,
    pub(crate) deadline: Instant,
    pub(crate) in_flight: InFlightGuard,
}

/// A query that was refused, with what its entry needs.
pub struct Refused {
    pub(crate) posed: Posed,
    pub(crate) refusal: Refusal,
    /// The rule of the policy that decided, if the question got so far.
    pub(crate) rule: Option<RuleId>,
    /// The caller's quotas at the department, if the question got so far.
    pub(crate) quotas: Vec<QuotaReading>,
}

impl Posed {
    /// Counts a well-formed question for its caller. A repeat of one that is answered comes not so
    /// far.
    ///
    /// # Errors
    /// The query log takes no question now; or the caller's allotment is used up.
    pub(crate) fn by(
        gateway: &Gateway,
        caller: &Caller,
        query: Query,
        token: Token,
    ) -> Result<Result<Self, CallerRefused>, LogUnavailable> {
        let since = Instant::now();
        let Charged { charge, quotas } = match gateway.admission.charge(caller.id()) {
            Ok(charged) => charged,
            Err(refused) => return Ok(Err(refused)),
        };
        let subject = gateway.record.subject(&query)?;
        if let Some((attribute, interval)) = gateway.record.kept(&query) {
            gateway.admission.ledger().remember(subject, &attribute, interval);
        }
        Ok(Ok(Self { caller: caller.clone(), query, token, subject, charge, quotas, since }))
    }
}

impl Refused {
    /// A question that was refused before its policy was asked.
    pub(crate) fn early(posed: Posed, refusal: Refusal) -> Self {
        Self { posed, refusal, rule: None, quotas: Vec::new() }
    }
}

impl Admitted {
    /// Asks admission. Waits at the department's bulkhead only, and never past `deadline`.
    ///
    /// # Errors
    /// The query together with the refusal.
    pub async fn by(
        admission: &Admission,
        posed: Posed,
        deadline: Instant,
    ) -> Result<Self, Box<Refused>> {
        let Posed { caller, query, subject, .. } = &posed;
        let in_flight = match admission.in_flight().enter(caller.id()) {
            Ok(guard) => guard,
            Err(refusal) => return Err(Box::new(Refused::early(posed, refusal))),
        };
        match admission.admit(caller.id(), caller.desk(), (query, *subject), deadline).await {
            Ok(permit) => Ok(Self { posed, permit, deadline, in_flight }),
            Err(rejected) => {
                let Rejected { refusal, rule, quotas } = *rejected;
                Err(Box::new(Refused { posed, refusal, rule, quotas }))
            }
        }
    }
}
