//! From what a caller sent to a question that is known to be well formed.
//!
//! Owns [`Query`] and its only maker, [`Catalogue::resolve`]. It must never put a value of the
//! caller into a refusal, and never print a subject, a case or an operator.

use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use zeroize::Zeroizing;

use crate::catalogue::{Catalogue, ExactCut, ParameterKind, ParameterSpec, Predicate};
use crate::ids::{PredicateId, Purpose, QueryId};
use crate::refusal::{Refusal, RefusalCode};
use crate::subject::Subject;

/// What a caller sent, not yet checked. Prints nothing, because any of its texts can hold what a
/// caller meant as the subject.
pub struct Question {
    /// `department/name@version`.
    pub predicate: String,
    /// Names and values, in the caller's order.
    pub parameters: Vec<(String, ParameterValue)>,
    /// A subject kind's id.
    pub subject_kind: String,
    /// The subject identifier. Wiped from memory once resolved, whatever the outcome.
    pub subject: String,
    /// A purpose's id.
    pub purpose: String,
    /// The caller's own case number.
    pub case: Option<String>,
    /// The person at the caller's desk, as the caller names him.
    pub operator: Option<String>,
}

/// The value of a parameter. Does not print: on a match predicate it is a claim about the subject.
#[derive(Clone, PartialEq, Eq)]
pub enum ParameterValue {
    /// A whole number.
    Integer(i64),
    /// Free text or a code.
    Text(String),
}

/// A question that the catalogue knows: predicate, parameters, subject identifier and purpose are
/// well formed and fit each other. Says nothing yet about whether the caller may ask it.
pub struct Query {
    id: QueryId,
    predicate: Arc<Predicate>,
    parameters: Vec<(Arc<str>, ParameterValue)>,
    subject: Subject,
    purpose: Purpose,
    case: Option<String>,
    operator: Option<String>,
    as_of: Date,
    next_as_of: Option<Date>,
}

impl Query {
    /// The question's own id.
    pub fn id(&self) -> QueryId {
        self.id
    }

    /// What is asked.
    pub fn predicate(&self) -> &Arc<Predicate> {
        &self.predicate
    }

    /// Every parameter of the predicate, in the order of its catalogue entry.
    pub fn parameters(&self) -> &[(Arc<str>, ParameterValue)] {
        &self.parameters
    }

    /// Where the answer cuts the predicate's attribute; none unless its clock is exact.
    pub fn exact_cut(&self) -> Option<ExactCut> {
        self.predicate.exact_cut(&self.parameters)
    }

    /// About whom.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Why.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The caller's own case number.
    pub fn case(&self) -> Option<&str> {
        self.case.as_deref()
    }

    /// The person at the caller's desk.
    pub fn operator(&self) -> Option<&str> {
        self.operator.as_deref()
    }

    /// The civil date the answer is about.
    pub fn as_of(&self) -> Date {
        self.as_of
    }

    /// The first date on which the same question can get another answer; on a grid only.
    pub fn next_as_of(&self) -> Option<Date> {
        self.next_as_of
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Query")
            .field("id", &format_args!("{}", self.id))
            .field("predicate", &format_args!("{}", self.predicate.id))
            .field("purpose", &format_args!("{}", self.purpose))
            .field("as_of", &self.as_of)
            .finish_non_exhaustive()
    }
}

impl Catalogue {
    /// Checks a question against the catalogue, in the order of the refusal codes; the first
    /// mistake is the refusal. `today` is the civil date in the civil time zone; the date the
    /// answer is about follows from it by the predicate's clock.
    pub fn resolve(&self, question: Question, id: QueryId, today: Date) -> Result<Query, Refusal> {
        let Question { predicate, parameters, subject_kind, subject, purpose, case, operator } =
            question;
        // Held here first, so that a refused question is wiped as well.
        let subject = Zeroizing::new(subject);
        let predicate = self.find_predicate(&predicate)?;
        let parameters = resolve_parameters(predicate, parameters)?;
        let subject = self.resolve_subject(predicate, &subject_kind, subject)?;
        let purpose = find_purpose(predicate, &purpose)?;
        check_note("/case", case.as_deref())?;
        check_note("/operator", operator.as_deref())?;
        let (as_of, next_as_of) = (predicate.as_of(today), predicate.next_as_of(today));
        let predicate = Arc::clone(predicate);
        Ok(Query { id, predicate, parameters, subject, purpose, case, operator, as_of, next_as_of })
    }

    fn find_predicate(&self, text: &str) -> Result<&Arc<Predicate>, Refusal> {
        self.predicate_by_text(text).ok_or_else(|| {
            let mend = match text.parse::<PredicateId>() {
                Ok(id) => self.mend_unknown(&id),
                Err(invalid) => invalid.to_string(),
            };
            Refusal::new(RefusalCode::UnknownPredicate, mend).at("/predicate")
        })
    }

    fn mend_unknown(&self, id: &PredicateId) -> String {
        let of_department =
            self.predicates().filter(|known| known.id.department() == id.department());
        let ids: Vec<&str> = of_department.map(|known| known.id.as_str()).collect();
        if ids.is_empty() {
            let mut departments: Vec<&str> =
                self.predicates().map(|known| known.id.department()).collect();
            departments.dedup();
            return format!("a predicate of one of the departments {}", departments.join(", "));
        }
        one_of(ids)
    }

    /// Somebody by an identifier, outside a question.
    ///
    /// # Errors
    /// What is to be mended: no such kind, or the value does not fit it.
    pub fn subject(&self, kind: &str, value: Zeroizing<String>) -> Result<Subject, String> {
        let known = self.subject_kinds().find(|it| it.id.as_str() == kind);
        let Some(kind) = known.and_then(|it| self.subject_kind(&it.id)) else {
            return Err(format!("kind: {}", one_of(self.subject_kinds().map(|it| &it.id))));
        };
        Subject::new(Arc::clone(kind), value).map_err(|fault| format!("value: {fault}"))
    }

    fn resolve_subject(
        &self,
        predicate: &Predicate,
        kind: &str,
        value: Zeroizing<String>,
    ) -> Result<Subject, Refusal> {
        let allowed = predicate.subject_kinds.iter().find(|id| id.as_str() == kind);
        let Some(kind) = allowed.and_then(|id| self.subject_kind(id)) else {
            let mend = one_of(predicate.subject_kinds.iter().map(|id| id.as_str()));
            return Err(Refusal::new(RefusalCode::SubjectKindNotAllowed, mend).at("/subject/kind"));
        };
        Subject::new(Arc::clone(kind), value).map_err(|fault| {
            Refusal::new(RefusalCode::InvalidSubject, fault.to_string()).at("/subject/value")
        })
    }
}

fn find_purpose(predicate: &Predicate, text: &str) -> Result<Purpose, Refusal> {
    let found = predicate.purposes.iter().find(|purpose| purpose.as_str() == text);
    found.cloned().ok_or_else(|| {
        let mend = one_of(predicate.purposes.iter().map(|purpose| purpose.as_str()));
        Refusal::new(RefusalCode::PurposeNotAllowed, mend).at("/purpose")
    })
}

/// Moves every given value to its place in the entry's order. A name the entry does not know is
/// not repeated in the refusal: it is the caller's own text.
fn resolve_parameters(
    predicate: &Predicate,
    given: Vec<(String, ParameterValue)>,
) -> Result<Vec<(Arc<str>, ParameterValue)>, Refusal> {
    let specs = &predicate.parameters;
    let mut places: Vec<Option<ParameterValue>> = specs.iter().map(|_| None).collect();
    for (name, value) in given {
        let Some(index) = specs.iter().position(|spec| *spec.name == *name) else {
            return Err(refuse_unknown_parameter(specs));
        };
        if places[index].is_some() {
            return Err(refuse_parameter(&specs[index], "given once"));
        }
        check_value(&specs[index], &value)?;
        places[index] = Some(value);
    }
    let pairs = specs.iter().zip(places);
    pairs
        .map(|(spec, place)| match place {
            Some(value) => Ok((Arc::clone(&spec.name), value)),
            None => Err(refuse_parameter(spec, format!("required: {}", spec.kind))),
        })
        .collect()
}

fn check_value(spec: &ParameterSpec, value: &ParameterValue) -> Result<(), Refusal> {
    let fits = match (&spec.kind, value) {
        (ParameterKind::Integers(set), ParameterValue::Integer(value)) => set.contains(value),
        (ParameterKind::Codes(set), ParameterValue::Text(value)) => set.contains(value),
        (ParameterKind::Text { chars_max }, ParameterValue::Text(value)) => {
            is_readable(value) && value.chars().count() <= *chars_max
        }
        (ParameterKind::Identifier(rule), ParameterValue::Text(value)) => {
            return rule
                .check(value)
                .map_err(|fault| refuse_parameter(spec, format!("{}: {fault}", spec.kind)));
        }
        (ParameterKind::Integers(_), ParameterValue::Text(_))
        | (
            ParameterKind::Codes(_) | ParameterKind::Text { .. } | ParameterKind::Identifier(_),
            ParameterValue::Integer(_),
        ) => false,
    };
    if fits { Ok(()) } else { Err(refuse_parameter(spec, spec.kind.to_string())) }
}

fn refuse_parameter(spec: &ParameterSpec, mend: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::InvalidParameter, mend).at(format!("/parameters/{}", spec.name))
}

fn refuse_unknown_parameter(specs: &[ParameterSpec]) -> Refusal {
    let names: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
    let mend = if names.is_empty() {
        "this predicate takes no parameters".to_owned()
    } else {
        format!("this predicate takes only {}", names.join(", "))
    };
    Refusal::new(RefusalCode::InvalidParameter, mend).at("/parameters")
}

/// A case number or an operator name fits a sealed field of an entry, whose size is bounded.
const NOTE_BYTES_MAX: usize = 64;

/// True for a text that can be a case number or an operator's name: 1 to 64 bytes that a reviewer
/// sees as they are.
pub fn is_note(text: &str) -> bool {
    text.len() <= NOTE_BYTES_MAX && is_readable(text)
}

fn check_note(field: &str, text: Option<&str>) -> Result<(), Refusal> {
    if text.is_none_or(is_note) {
        return Ok(());
    }
    let mend = format!(
        "1 to {NOTE_BYTES_MAX} bytes of printable UTF-8 without control characters, or left out"
    );
    Err(Refusal::new(RefusalCode::InvalidCase, mend).at(field))
}

/// False for what a reviewer would not see, or would see in another order than it was sent:
/// blank text, control characters (Unicode Cc), line and paragraph separators, zero-width and
/// bidirectional formatting, tags, byte order marks and the other specials.
fn is_readable(text: &str) -> bool {
    let is_hidden = |character: char| {
        character.is_control()
            || matches!(
                character,
                '\u{ad}'
                    | '\u{61c}'
                    | '\u{180e}'
                    | '\u{200b}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{feff}'
                    | '\u{fff0}'..='\u{ffff}'
                    | '\u{e0000}'..='\u{e007f}'
            )
    };
    !text.trim().is_empty() && !text.contains(is_hidden)
}

pub(crate) fn one_of<T: fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("one of {}", words.join(", "))
}

#[cfg(test)]
mod tests;
