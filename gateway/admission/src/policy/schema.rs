//! What rules can speak of, as a Cedar schema.
//!
//! Every id is an entity of an enumerated type, so that a rule about a caller, predicate or purpose
//! that does not exist is a mistake and not a rule that silently never applies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use jumpgate_catalogue::{CallerId, Catalogue, DepartmentId, Predicate};

use crate::settings::{CallerFacts, Channel};

/// The schema of this catalogue and these callers, in Cedar's own syntax.
pub(super) fn schema(catalogue: &Catalogue, callers: &BTreeMap<CallerId, CallerFacts>) -> String {
    let departments: BTreeSet<&DepartmentId> =
        catalogue.predicates().map(|predicate| &predicate.department).collect();
    let actions = catalogue.predicates().map(|predicate| &predicate.id);
    let mut text = String::new();
    text += &entity(CALLER, callers.keys());
    text += &entity(DEPARTMENT, departments);
    text += &entity(PURPOSE, catalogue.purposes().map(|(purpose, _)| purpose));
    text += &entity(LEGAL_BASIS, catalogue.legal_bases().map(|(basis, _)| basis));
    text += &entity(SUBJECT_KIND, catalogue.subject_kinds().map(|kind| &kind.id));
    text += &entity(CHANNEL, Channel::ALL.map(Channel::as_str));
    let roles = callers.values().filter_map(|facts| facts.operator_roles.as_deref()).flatten();
    text += &entity(OPERATOR_ROLE, roles.collect::<BTreeSet<_>>());
    text += CONTEXT;
    text += &format!(
        "\naction {} appliesTo {{\n    principal: [{CALLER}],\n    resource: [{DEPARTMENT}],\n    \
         context: Asked,\n}};\n",
        quoted(actions)
    );
    text
}

fn entity<T: Display>(name: &str, ids: impl IntoIterator<Item = T>) -> String {
    let ids = quoted(ids);
    // Cedar has no enumeration of nothing; of an open type none exists either.
    if ids.is_empty() {
        format!("entity {name};\n")
    } else {
        format!("entity {name} enum [{ids}];\n")
    }
}

fn quoted<T: Display>(ids: impl IntoIterator<Item = T>) -> String {
    // Ids hold no quote: their parsers let lower-case letters, digits and a few marks through.
    let ids: Vec<String> = ids.into_iter().map(|id| format!("\"{id}\"")).collect();
    ids.join(", ")
}

/// A reference to a thing of the schema, as a rule writes it.
pub(crate) fn reference(entity: &str, id: impl Display) -> String {
    format!("{entity}::\"{id}\"")
}

/// The action that asking a predicate is.
pub(crate) fn action(predicate: &Predicate) -> String {
    reference(ACTION, &predicate.id)
}

pub(crate) const ACTION: &str = "Action";
pub(crate) const CALLER: &str = "Caller";
pub(crate) const DEPARTMENT: &str = "Department";
pub(crate) const PURPOSE: &str = "Purpose";
pub(super) const LEGAL_BASIS: &str = "LegalBasis";
pub(super) const SUBJECT_KIND: &str = "SubjectKind";
pub(super) const CHANNEL: &str = "Channel";
pub(super) const OPERATOR_ROLE: &str = "OperatorRole";

/// The circumstances of a question. None of them is of the subject: a decision is no hint at one.
const CONTEXT: &str = "
type Asked = {
    purpose: Purpose,
    legal_basis: LegalBasis,
    subject_kind: SubjectKind,
    has_case: Bool,
    channel: Channel,
    operator: { signed: Bool, roles: Set<OperatorRole> },
    time: { at: datetime, hour: Long, weekday: Long },
};
";
