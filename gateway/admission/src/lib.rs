//! Decides whether a query may be asked now.
//!
//! Owns the policy, the quotas, each department's kill switch, breaker and bulkhead, and the marks
//! of queries in flight. It refuses with a code and a time to come back; it delays in one place
//! only, the bulkhead, and there for a bounded time. What it gives out is a [`Permit`], which gives
//! everything back when it is dropped. It never speaks to a department, never reads a record, never
//! writes an entry and knows nothing of HTTP but the text of two header values. Quotas and breakers
//! read the time from a [`Clock`], rules from a [`CivilNow`]; waiting is tokio's. `spec/policy.md`
//! is its contract.

mod admission;
mod breaker;
mod bulkhead;
mod denied;
mod department;
mod disclosure;
mod grants;
mod in_flight;
mod ledger;
mod maintenance;
mod numbered;
mod policy;
mod quota;
#[cfg(test)]
mod sample;
mod settings;

pub use admission::{
    Admission, CallerAllowance, CallerRefused, Charged, CivilNow, Permit, Rejected,
    UnknownDepartment,
};
pub use breaker::{BreakerReading, BreakerState, Settled, TripReason};
pub use department::{DepartmentCounts, DepartmentReading};
pub use disclosure::{
    Audited, Contradiction, CutMade, CutReservation, CutSettled, Disclosed, Extent, Implied,
    Interval, Left, Simulated,
};
pub use governor::clock::{Clock, DefaultClock, FakeRelativeClock};
pub use in_flight::{InFlight, InFlightGuard};
pub use ledger::{Charge, Ledger, Rebuild, Reservation, SnapshotFault, SubjectNumber};
pub use maintenance::{NoticeSettings, WindowSettings};
pub use policy::{
    Decision, Desk, Explained, Policy, PolicyQuestion, ROLES_MAX, RuleId, SignatureFault,
    SignedRules, Weighed, department_key,
};
pub use quota::{QuotaReading, RateLimitHeaders, rate_limit_headers};
pub use settings::{
    AdmissionMistake, AdmissionPlan, AdmissionSettings, Allotment, BreakerSettings, CallerFacts,
    CallerQuotaSettings, Channel, DepartmentSettings, GrantSettings, PolicyFile, PolicySettings,
    QuotaLimits, QuotaSettings, RoleName, SignedPolicyFile,
};
