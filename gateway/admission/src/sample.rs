//! What the tests of this crate share: the project's own catalogue, a plan and a query.

use std::path::Path;
use std::sync::Arc;

use jiff::Zoned;
use jumpgate_catalogue::{CallerId, Catalogue, Query, QueryId, Question};

use crate::ledger::Ledger;
use crate::settings::{AdmissionMistake, AdmissionPlan, AdmissionSettings, CallerFacts};

pub(crate) const CALLERS: [&str; 4] = ["court-registry", "one-window", "pension-office", "school"];

pub(crate) fn catalogue() -> Catalogue {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/catalogue");
    Catalogue::load(&dir).expect("the project's catalogue has no mistake")
}

pub(crate) fn settings(toml: &str) -> AdmissionSettings {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn check(toml: &str) -> Result<AdmissionPlan, Vec<AdmissionMistake>> {
    settings(toml).check(&catalogue(), &callers())
}

pub(crate) fn callers() -> [(CallerId, CallerFacts); 4] {
    CALLERS.map(|id| (caller(id), CallerFacts::default()))
}

/// Monday, 23 November 2026, ten o'clock.
pub(crate) fn now() -> Zoned {
    jiff::civil::date(2026, 11, 23).at(10, 0, 0, 0).in_tz("Asia/Shanghai").expect("a time zone")
}

/// A ledger without counts, of the same time zone.
pub(crate) fn ledger() -> Arc<Ledger> {
    Arc::new(Ledger::new(now().time_zone().clone()))
}

pub(crate) fn caller(id: &str) -> CallerId {
    id.parse().expect("a caller id")
}

/// A query about a predicate without parameters.
pub(crate) fn query(predicate: &str, purpose: &str) -> Query {
    let question = Question {
        predicate: predicate.to_owned(),
        parameters: Vec::new(),
        subject_kind: "passport".to_owned(),
        subject: "E12345678".to_owned(),
        purpose: purpose.to_owned(),
        case: None,
        operator: None,
    };
    let today = jiff::civil::date(2026, 11, 23);
    catalogue().resolve(question, QueryId([7; 16]), today).expect("a query the catalogue allows")
}
