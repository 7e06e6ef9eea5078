//! One predicate: what is asked, of whom, about whom, why, and as of when.

use std::fmt;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;

use super::attribute::{CodeCut, Cut, ExactCut};
use crate::ids::{DepartmentId, PredicateId, Purpose, SubjectKindId};
use crate::query::{ParameterValue, one_of};
use crate::subject::IdentifierRule;
use crate::verdict::{Finding, Reason, Verdict};

/// A question type, as its catalogue entry declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    /// `department/name@version`.
    pub id: PredicateId,
    /// Who holds the record.
    pub department: DepartmentId,
    /// English title.
    pub title_en: String,
    /// Chinese title.
    pub title_zh: String,
    /// What `yes` means, in one or two English sentences.
    pub description_en: String,
    /// The attribute of the record that the question cuts; predicates that share it are audited
    /// together.
    pub attribute: String,
    /// As of when it is answered.
    pub clock: Clock,
    /// The calendar cell; `Some` exactly on a grid.
    pub cell: Option<Cell>,
    /// How an answer divides the attribute's dates or counts.
    pub cut: Option<Cut>,
    /// How an answer divides the attribute's codes, where figures of them are known.
    pub code_cut: Option<CodeCut>,
    /// True if it compares a claim about the subject (核验). Only then may a parameter be free.
    pub is_match: bool,
    /// What it takes, in the order an adapter is given it.
    pub parameters: Vec<ParameterSpec>,
    /// The kinds of subject identifier it takes.
    pub subject_kinds: Vec<SubjectKindId>,
    /// The purposes it may be asked for.
    pub purposes: Vec<Purpose>,
    /// The verdict where the department holds no record of the subject.
    pub absent: Verdict,
    /// What the time an answer takes can tell.
    pub timing: Timing,
    /// Those of its subject kinds that carry the attribute in their own digits: asked with one of
    /// them, the answer keeps no secret from whoever holds the identifier. Derived, not written.
    pub no_secret_for: Vec<SubjectKindId>,
}

impl Predicate {
    /// True if the catalogue lists every value of every parameter: a question then holds nothing
    /// about a person but the subject.
    pub fn has_closed_parameters(&self) -> bool {
        self.parameters.iter().all(|parameter| parameter.kind.is_closed())
    }

    /// The verdict for a finding, and the reason to seal if the verdict is `undetermined`.
    pub fn verdict(&self, finding: Finding) -> (Verdict, Option<Reason>) {
        match finding {
            Finding::Yes => (Verdict::Yes, None),
            Finding::No => (Verdict::No, None),
            Finding::Absent => match self.absent {
                Verdict::Yes | Verdict::No => (self.absent, None),
                Verdict::Undetermined => (Verdict::Undetermined, Some(Reason::NoRecord)),
            },
            Finding::Undetermined(reason) => (Verdict::Undetermined, Some(reason)),
        }
    }

    /// The date that a question asked `today` is answered about.
    pub fn as_of(&self, today: Date) -> Date {
        self.cell.map_or(today, |cell| cell.first_day(today))
    }

    /// The first date on which a question asked `today` can get another answer; on a grid only.
    pub fn next_as_of(&self, today: Date) -> Option<Date> {
        self.cell.and_then(|cell| cell.first_day_of_next(today))
    }

    /// True if the time that an answer takes could tell what the verdict does not: that there is no
    /// record where `absent` is told as `yes` or `no`, how long the record is, or that the answer
    /// was implied by others. Such an answer leaves at a multiple of the department's quantum.
    pub fn leaves_on_quantum(&self) -> bool {
        let hides_absence = self.absent != Verdict::Undetermined;
        hides_absence || self.timing == Timing::SeveralReplies || self.clock == Clock::Exact
    }

    /// Where a question of an exact predicate cuts; none on another clock.
    pub(crate) fn exact_cut(&self, parameters: &[(Arc<str>, ParameterValue)]) -> Option<ExactCut> {
        let cut = self.cut.as_ref().filter(|_| self.clock == Clock::Exact)?;
        let threshold = match &cut.parameter {
            None => *cut.thresholds.first()?,
            Some(name) => parameters.iter().find_map(|(of, value)| match value {
                ParameterValue::Integer(threshold) if of == name => Some(*threshold),
                ParameterValue::Integer(_) | ParameterValue::Text(_) => None,
            })?,
        };
        Some(ExactCut { unit: cut.unit, threshold, yes: cut.yes })
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&ParameterSpec> {
        self.parameters.iter().find(|spec| &*spec.name == name)
    }
}

/// As of when a predicate is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Clock {
    /// As of the first day of the calendar cell, the same for everybody in it.
    Grid,
    /// As of the day of the question; every answer is audited.
    Exact,
    /// As of the day of the question; a state that holds now and can be revoked.
    Current,
}

impl Clock {
    /// Every clock.
    pub const ALL: [Self; 3] = [Self::Grid, Self::Exact, Self::Current];

    /// The word in catalogue files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Exact => "exact",
            Self::Current => "current",
        }
    }
}

/// A cell of the civil calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// A civil day.
    Day,
    /// A week of ISO 8601, from Monday.
    Week,
    /// A calendar month.
    Month,
}

impl Cell {
    /// Every cell, from the finest.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// The word in catalogue files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The first day of the cell that a date is in.
    pub fn first_day(self, date: Date) -> Date {
        match self {
            Self::Day => date,
            Self::Week => date.saturating_sub(date.weekday().to_monday_zero_offset().days()),
            Self::Month => date.first_of_month(),
        }
    }

    /// `None` only in the last cell of the year 9999, where the calendar of the contract ends.
    pub(super) fn first_day_of_next(self, date: Date) -> Option<Date> {
        let span = match self {
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
        };
        self.first_day(date).checked_add(span).ok()
    }
}

/// What the time between question and answer can tell beside the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timing {
    /// One reply settles it, whatever the record holds.
    OneReply,
    /// The number of replies depends on the length of the record.
    SeveralReplies,
}

impl Timing {
    /// Every class.
    pub const ALL: [Self; 2] = [Self::OneReply, Self::SeveralReplies];

    /// The word in catalogue files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneReply => "one-reply",
            Self::SeveralReplies => "several-replies",
        }
    }
}

/// A parameter of a predicate. Every parameter is required.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Its name on the wire.
    pub name: Arc<str>,
    /// English title.
    pub title_en: String,
    /// Chinese title.
    pub title_zh: String,
    /// The values it takes.
    pub kind: ParameterKind,
}

/// The values a parameter takes. Its `Display` is the sentence a caller reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterKind {
    /// A closed set of integers, in the entry's order.
    Integers(Vec<i64>),
    /// A closed set of codes, in the entry's order.
    Codes(Vec<String>),
    /// Free text; on match predicates only.
    Text {
        /// The largest number of Unicode scalar values.
        chars_max: usize,
    },
    /// An identifier that fits a rule; on match predicates only.
    Identifier(IdentifierRule),
}

impl ParameterKind {
    /// True if the catalogue lists every value: then none is a person's own.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Integers(_) | Self::Codes(_) => true,
            Self::Text { .. } | Self::Identifier(_) => false,
        }
    }

    /// True if the values are no closed set.
    pub fn is_free(&self) -> bool {
        match self {
            Self::Integers(_) | Self::Codes(_) => false,
            Self::Text { .. } | Self::Identifier(_) => true,
        }
    }
}

impl fmt::Display for ParameterKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integers(set) => write!(formatter, "an integer, {}", one_of(set)),
            Self::Codes(set) => write!(formatter, "a text, {}", one_of(set)),
            Self::Text { chars_max } => {
                write!(formatter, "a text of 1 to {chars_max} printable characters")
            }
            Self::Identifier(rule) => write!(formatter, "a text that fits the rule {rule}"),
        }
    }
}
