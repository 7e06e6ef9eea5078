//! The kinds of entries and their numbers, which are never given away twice.

use std::fmt;
use std::str::FromStr;

/// What an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A question, on record before the department is touched.
    Ask,
    /// A question closed with a verdict.
    Answer,
    /// A question that was not asked.
    Refused,
    /// A question closed with a fault.
    Failed,
    /// A question that the gateway's end left open; written by the next start.
    Abandoned,
    /// Refusals of one code and caller, counted over a window.
    Coalesced,
    /// The log was opened for writing.
    Start,
    /// The log was closed in order; every question before it is closed.
    Stop,
    /// An administrative act.
    Act(Act),
    /// A question that two operators ask past the auditor of exact answers; otherwise an `ask`.
    BreakGlass,
}

/// An administrative act. All are reserved now so that no later release changes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Act {
    /// Another policy decides.
    Policy,
    /// Another catalogue is in force.
    Catalogue,
    /// An adapter was installed or removed.
    Adapter,
    /// A key was made, rotated or destroyed.
    Key,
    /// The configuration changed, or a department was switched off or on.
    Config,
    /// Somebody searched the log.
    Search,
    /// Entries were exported.
    Export,
    /// A subject's sealed fields were made unreadable.
    Erase,
    /// Logs of two parties were compared.
    Reconcile,
    /// The last index of every pseudonym was committed to.
    Heads,
    /// An organisation declared a fact, a legal basis for one.
    Declare,
    /// Evidence of another party's misbehaviour was kept.
    Evidence,
    /// An entry's content was released to somebody.
    Release,
    /// Entries were put under a retention hold, or freed from it.
    Hold,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 23] = [
        Self::Ask,
        Self::Answer,
        Self::Refused,
        Self::Failed,
        Self::Abandoned,
        Self::Coalesced,
        Self::Act(Act::Policy),
        Self::Act(Act::Catalogue),
        Self::Act(Act::Adapter),
        Self::Act(Act::Key),
        Self::Start,
        Self::Stop,
        Self::Act(Act::Config),
        Self::Act(Act::Search),
        Self::Act(Act::Export),
        Self::Act(Act::Erase),
        Self::Act(Act::Reconcile),
        Self::Act(Act::Heads),
        Self::Act(Act::Declare),
        Self::Act(Act::Evidence),
        Self::Act(Act::Release),
        Self::Act(Act::Hold),
        Self::BreakGlass,
    ];

    /// The number in the entry, 1 to 23.
    pub fn number(self) -> u8 {
        match self {
            Self::Ask => 1,
            Self::Answer => 2,
            Self::Refused => 3,
            Self::Failed => 4,
            Self::Abandoned => 5,
            Self::Coalesced => 6,
            Self::Act(Act::Policy) => 7,
            Self::Act(Act::Catalogue) => 8,
            Self::Act(Act::Adapter) => 9,
            Self::Act(Act::Key) => 10,
            Self::Start => 11,
            Self::Stop => 12,
            Self::Act(Act::Config) => 13,
            Self::Act(Act::Search) => 14,
            Self::Act(Act::Export) => 15,
            Self::Act(Act::Erase) => 16,
            Self::Act(Act::Reconcile) => 17,
            Self::Act(Act::Heads) => 18,
            Self::Act(Act::Declare) => 19,
            Self::Act(Act::Evidence) => 20,
            Self::Act(Act::Release) => 21,
            Self::Act(Act::Hold) => 22,
            Self::BreakGlass => 23,
        }
    }

    /// The kind of a number.
    pub fn of_number(number: u64) -> Option<Self> {
        let position = usize::try_from(number.checked_sub(1)?).ok()?;
        Self::ALL.get(position).copied()
    }

    /// The word in pages and in the tools' output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Answer => "answer",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::Coalesced => "coalesced",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Act(Act::Policy) => "policy",
            Self::Act(Act::Catalogue) => "catalogue",
            Self::Act(Act::Adapter) => "adapter",
            Self::Act(Act::Key) => "key",
            Self::Act(Act::Config) => "config",
            Self::Act(Act::Search) => "search",
            Self::Act(Act::Export) => "export",
            Self::Act(Act::Erase) => "erase",
            Self::Act(Act::Reconcile) => "reconcile",
            Self::Act(Act::Heads) => "heads",
            Self::Act(Act::Declare) => "declare",
            Self::Act(Act::Evidence) => "evidence",
            Self::Act(Act::Release) => "release",
            Self::Act(Act::Hold) => "hold",
            Self::BreakGlass => "break-glass",
        }
    }

    /// True if an entry of this kind is a question that is asked, which another one closes.
    pub fn opens(self) -> bool {
        matches!(self, Self::Ask | Self::BreakGlass)
    }

    /// True if an entry of this kind closes a question.
    pub fn closes(self) -> bool {
        match self {
            Self::Answer | Self::Failed | Self::Abandoned => true,
            Self::Ask
            | Self::BreakGlass
            | Self::Refused
            | Self::Coalesced
            | Self::Start
            | Self::Stop
            | Self::Act(_) => false,
        }
    }
}

/// A word is no kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entries are of kind {}", Kind::ALL.map(Kind::as_str).join(", "))]
pub struct UnknownKind;

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or(UnknownKind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions_and_read_back() {
        for (position, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.number()), position + 1, "{kind}");
            assert_eq!(Kind::of_number(u64::from(kind.number())), Some(kind));
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!(Kind::of_number(0), None);
        assert_eq!(Kind::of_number(24), None);
    }
}
