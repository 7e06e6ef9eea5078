//! The proof that a query may be asked now.

use jumpgate_admission::{Admission, InFlightGuard, Permit, QuotaReading, Rejected, RuleId};
use jumpgate_catalogue::{Query, Refusal};
use tokio::time::Instant;

use crate::caller::Caller;
use crate::operator::Operator;

/// A query that admission let through. Made by [`Admitted::by`] only; holds what is given back with
/// the closing entry.
pub struct Admitted {
    pub(crate) caller: Caller,
    pub(crate) query: Query,
    pub(crate) permit: Permit,
    pub(crate) deadline: Instant,
    pub(crate) in_flight: InFlightGuard,
}

/// A query that was refused, with what its entry needs.
pub struct Refused {
    pub(crate) caller: Caller,
    pub(crate) query: Query,
    pub(crate) refusal: Refusal,
    /// The rule of the policy that decided, if the question got so far.
    pub(crate) rule: Option<RuleId>,
    /// The caller's quota at the department, if the question got so far.
    pub(crate) department_quota: Option<QuotaReading>,
}

impl Refused {
    /// A question that was refused before its policy was asked.
    pub(crate) fn early(caller: Caller, query: Query, refusal: Refusal) -> Self {
        Self { caller, query, refusal, rule: None, department_quota: None }
    }
}

impl Admitted {
    /// Asks admission. Waits at the department's bulkhead only, and never past `deadline`.
    ///
    /// # Errors
    /// The query together with the refusal.
    pub async fn by(
        admission: &Admission,
        caller: Caller,
        query: Query,
        deadline: Instant,
    ) -> Result<Self, Box<Refused>> {
        let in_flight = match admission.in_flight().enter(caller.id()) {
            Ok(guard) => guard,
            Err(refusal) => return Err(Box::new(Refused::early(caller, query, refusal))),
        };
        let roles = caller.operator().map(Operator::roles);
        match admission.admit(caller.id(), roles, &query, deadline).await {
            Ok(permit) => Ok(Self { caller, query, permit, deadline, in_flight }),
            Err(rejected) => {
                let Rejected { refusal, rule, quota: department_quota } = *rejected;
                Err(Box::new(Refused { caller, query, refusal, rule, department_quota }))
            }
        }
    }
}
