//! Why admission says no, and how it is put into words.
//!
//! Owns the reasons and every mend sentence of this crate, so that the texts stand in one place.

use std::time::Duration;

use jumpgate_catalogue::{Notice, Refusal, RefusalCode};

use crate::quota::QuotaSpent;

/// Why a query of a known caller may not be asked now, in the order of the checks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No rule permits it.
    NotGranted,
    /// A rule forbids it.
    Forbidden,
    /// The caller's quota at the department is used up.
    Quota(QuotaSpent),
    /// The department is switched off.
    Killed { notice: Option<Notice> },
    /// The department is in a maintenance window.
    Maintenance { retry_after: Duration, notice: Option<Notice> },
    /// The department's breaker is open.
    Resting { retry_after: Duration },
    /// The department's bulkhead had no slot in time.
    Busy { retry_after: Duration },
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotGranted => Self::new(
                RefusalCode::NotGranted,
                "ask the gateway's operator for a grant of this predicate for this purpose",
            ),
            Denied::Forbidden => Self::new(
                RefusalCode::NotGranted,
                "a rule of the gateway or of the department forbids it; ask the gateway's operator \
                 under which circumstances it is permitted",
            ),
            Denied::Quota(spent) => quota(RefusalCode::DepartmentQuota, "this department", &spent),
            Denied::Killed { notice } => Self::new(
                RefusalCode::DepartmentKilled,
                "wait until the department is switched on again",
            )
            .noticed(notice),
            Denied::Maintenance { retry_after, notice } => Self::new(
                RefusalCode::DepartmentMaintenance,
                "the department is being maintained; ask again when Retry-After has passed",
            )
            .after(retry_after)
            .noticed(notice),
            Denied::Resting { retry_after } => Self::new(
                RefusalCode::BreakerOpen,
                "the department failed repeatedly and rests; ask again later",
            )
            .after(retry_after),
            Denied::Busy { retry_after } => Self::new(
                RefusalCode::BulkheadFull,
                "the department has as many queries as it takes; ask again later",
            )
            .after(retry_after),
        }
    }
}

/// Nobody configured the caller.
pub(crate) fn unknown_caller() -> Refusal {
    let mend = "connect with the certificate of a configured caller";
    Refusal::new(RefusalCode::Unauthenticated, mend)
}

/// The caller's own quota is used up.
pub(crate) fn caller_quota(spent: &QuotaSpent) -> Refusal {
    quota(RefusalCode::CallerQuota, "all departments together", spent)
}

/// The caller has its maximum of queries in flight.
pub(crate) fn in_flight(caller_max: u32) -> Refusal {
    let mend = format!("wait for an answer: at most {caller_max} queries at a time");
    Refusal::new(RefusalCode::InFlight, mend)
}

fn quota(code: RefusalCode, of: &str, spent: &QuotaSpent) -> Refusal {
    let (per_second, burst) = (spent.reading.per_second, spent.reading.burst);
    let mend = format!("ask {of} at most {per_second} questions a second, {burst} at once");
    let refusal = Refusal::new(code, mend);
    match spent.retry_after {
        Some(wait) => refusal.after(wait),
        None => refusal,
    }
}
