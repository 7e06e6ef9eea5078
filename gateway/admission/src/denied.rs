//! Why admission says no, and how it is put into words.
//!
//! Owns the reasons and every mend sentence of this crate, so that the texts stand in one place.

use std::time::Duration;

use jumpgate_catalogue::{Notice, Refusal, RefusalCode};

use crate::disclosure::NotReleased;
use crate::ledger::{Scope, Span, Spent};
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
    /// An allotment at the department or about the subject is used up.
    Spent(Spent),
    /// There are more subjects than can be counted.
    TooManySubjects { retry_after: Duration },
    /// An answer would tell too much about the person, or the caller has made all cuts that it is
    /// granted about him; and no answer is known.
    NotReleased(NotReleased),
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
            Denied::Spent(spent) => allotment(&spent),
            Denied::TooManySubjects { retry_after } => Self::new(
                RefusalCode::GatewayBusy,
                "the gateway keeps count of as many subjects as it can; tell its operator",
            )
            .after(retry_after),
            Denied::NotReleased(NotReleased::TooLittleLeft) => Self::new(
                RefusalCode::DisclosureRefused,
                "either answer would leave too little unknown about the person beside those given \
                 already, to whomever; ask on a later day, or for another threshold",
            ),
            Denied::NotReleased(NotReleased::CutsSpent { granted }) => Self::new(
                RefusalCode::DisclosureRefused,
                format!(
                    "use the answers you have: the department grants {granted} new ones about a \
                     person in 365 days"
                ),
            ),
            Denied::NotReleased(NotReleased::Full) => Self::new(
                RefusalCode::GatewayBusy,
                "the gateway keeps what was told about as many persons as it can; tell its \
                 operator",
            ),
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

/// An allotment is used up.
pub(crate) fn allotment(spent: &Spent) -> Refusal {
    let allotted = spent.left.allotted;
    let span = match spent.left.span {
        Span::Day => "on one day",
        Span::Period => "in 90 days",
    };
    let (code, mend) = match spent.of {
        Scope::Caller => (
            RefusalCode::CallerQuota,
            format!("ask all departments together at most {allotted} questions {span}"),
        ),
        Scope::Department => (
            RefusalCode::DepartmentQuota,
            format!("ask this department at most {allotted} questions {span}"),
        ),
        Scope::Subject => (
            RefusalCode::SubjectQuota,
            format!(
                "use the answers you have: at most {allotted} of such questions about one subject \
                 are answered {span}"
            ),
        ),
        Scope::Attempts => (
            RefusalCode::AttemptsExhausted,
            format!(
                "check what you were told with the person: at most {allotted} attempts about one \
                 subject may fail {span}"
            ),
        ),
    };
    Refusal::new(code, mend).after(Duration::from_millis(spent.free_in_ms))
}

/// The caller has its maximum of queries in flight.
pub(crate) fn in_flight(caller_max: u32) -> Refusal {
    let mend = format!("wait for an answer: at most {caller_max} queries at a time");
    Refusal::new(RefusalCode::InFlight, mend)
}

fn quota(code: RefusalCode, of: &str, spent: &QuotaSpent) -> Refusal {
    let (per_second, burst) = (spent.rate.per_second, spent.rate.burst);
    let mend = format!("ask {of} at most {per_second} questions a second, {burst} at once");
    let refusal = Refusal::new(code, mend);
    match spent.retry_after {
        Some(wait) => refusal.after(wait),
        None => refusal,
    }
}
