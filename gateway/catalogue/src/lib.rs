//! The nouns of the gateway and the catalogue of predicates.
//!
//! Owns what every other crate names: who asks, what may be asked, about whom and why, what can be
//! answered, and the closed codes of a refusal or a fault. It parses once and hands out values that
//! are known to be well formed. It never performs network IO, never reads a clock and knows nothing
//! of HTTP.

mod catalogue;
mod fault;
mod ids;
mod query;
mod refusal;
pub mod subject;
mod verdict;

pub use catalogue::{
    Attribute, Buckets, Catalogue, CatalogueMistake, Cell, Clock, CodeCut, Cut, CutUnit, ExactCut,
    FinestCells, Follows, Histogram, Join, ParameterKind, ParameterSpec, Predicate, Release, Side,
    Timing, Way,
};
pub use fault::{Blame, Fault, FaultCode};
pub use ids::{
    CallerId, DepartmentId, Digest, InvalidId, LegalBasis, PredicateId, Purpose, QueryId,
    SubjectKindId,
};
pub use query::{ParameterValue, Query, Question, is_note};
pub use refusal::{NOTICE_CHARS_MAX, Notice, Refusal, RefusalCode};
pub use subject::{IdentifierRule, Reveals, Subject, SubjectFault, SubjectKind};
pub use verdict::{Finding, Reason, Verdict};
