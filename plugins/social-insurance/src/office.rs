//! The office's JSON, as far as a predicate needs it. Fields the adapter does not name are skipped
//! while they are read and never held.
//!
//! A record's own fields may be missing or null: only a predicate that needs one minds. What frames
//! them must be there, or the reply is not the office's.

use jumpgate_adapter::Reason;
use serde::{Deserialize, Deserializer};

/// A field that the predicate needs.
pub(crate) fn needed<T>(field: &Option<T>) -> Result<&T, Reason> {
    field.as_ref().ok_or(Reason::MissingField)
}

/// A text that the predicate needs; an empty one is missing.
pub(crate) fn text(field: &Option<String>) -> Result<&str, Reason> {
    field.as_deref().filter(|text| !text.is_empty()).ok_or(Reason::MissingField)
}

#[derive(Debug, Deserialize)]
pub(crate) struct PersonReply {
    pub(crate) person: Person,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Person {
    /// `active`, `suspended` or `closed`.
    pub(crate) status: Option<String>,
    pub(crate) schemes: Option<Vec<Scheme>>,
    /// Some(None) is the office's null: no employer. None is a record without the field.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) employer: Option<Option<CurrentEmployer>>,
    pub(crate) pension: Option<Pension>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Scheme {
    pub(crate) scheme: Option<String>,
    /// `insured`, `paused` or `ended`.
    pub(crate) state: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CurrentEmployer {
    /// Unified social credit code (GB 32100-2015).
    pub(crate) uscc: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Pension {
    /// `none`, `receiving` or `suspended`.
    pub(crate) state: Option<String>,
    /// `YYYY-MM`.
    pub(crate) since: Option<String>,
}

/// One page of contributions.
#[derive(Debug, Deserialize)]
pub(crate) struct ContributionPage {
    pub(crate) scheme: String,
    /// From 1.
    pub(crate) page: u32,
    pub(crate) pages: u32,
    pub(crate) size: u32,
    /// Contributions on all pages.
    pub(crate) total: u32,
    pub(crate) items: Vec<Contribution>,
}

/// A month can appear once for each employer.
#[derive(Debug, Deserialize)]
pub(crate) struct Contribution {
    /// `YYYY-MM`.
    pub(crate) month: Option<String>,
    /// `paid`, `arrears` or `refunded`.
    pub(crate) state: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EmployerReply {
    pub(crate) employer: Employer,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Employer {
    pub(crate) arrears: Option<Arrears>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Arrears {
    pub(crate) months: Option<u32>,
    /// Hundredths of a yuan.
    pub(crate) amount_fen: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ErrorReply {
    pub(crate) code: String,
}

/// Tells a null from a field that is not there.
fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
