//! What can be answered.

use std::fmt;

/// The only thing that crosses to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The record says so.
    Yes,
    /// The record says otherwise.
    No,
    /// The record does not settle the question. Not an error, and never a broken system.
    Undetermined,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Yes, Self::No, Self::Undetermined];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undetermined => "undetermined",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What an adapter found. `Absent` becomes a verdict by the predicate's catalogue entry; a reason
/// stays sealed in the query log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The record says so.
    Yes,
    /// The record says otherwise.
    No,
    /// The department holds no record of the subject.
    Absent,
    /// The record does not settle the question.
    Undetermined(Reason),
}

/// Why a record does not settle a question. Sealed: shown to reviewers, never to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field the predicate needs is empty.
    MissingField,
    /// A field holds a value outside its definition.
    UnusableField,
    /// Several persons match the identifier.
    SeveralRecords,
    /// The record contradicts itself.
    ConflictingFields,
    /// The record is locked or under correction.
    RecordSuspended,
    /// There is no record, and the catalogue maps that to `undetermined`.
    NoRecord,
}

impl Reason {
    /// Every reason, in the order of the adapter contract.
    pub const ALL: [Self; 6] = [
        Self::MissingField,
        Self::UnusableField,
        Self::SeveralRecords,
        Self::ConflictingFields,
        Self::RecordSuspended,
        Self::NoRecord,
    ];

    /// The stable code kept in the sealed field.
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingField => "missing-field",
            Self::UnusableField => "unusable-field",
            Self::SeveralRecords => "several-records",
            Self::ConflictingFields => "conflicting-fields",
            Self::RecordSuspended => "record-suspended",
            Self::NoRecord => "no-record",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_stable() {
        assert_eq!(Verdict::ALL.map(Verdict::as_str), ["yes", "no", "undetermined"]);
        let reasons = [
            "missing-field",
            "unusable-field",
            "several-records",
            "conflicting-fields",
            "record-suspended",
            "no-record",
        ];
        assert_eq!(Reason::ALL.map(Reason::code), reasons);
    }
}
