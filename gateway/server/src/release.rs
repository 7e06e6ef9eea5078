//! What an outcome releases: from what a department said to what may be told.
//!
//! Owns the last look of the auditor, made before the closing entry. An answer that contradicts an
//! earlier one about the same person becomes a fault here, and is told to nobody.

use jiff::civil::Date;
use jumpgate_admission::Audited;
use jumpgate_catalogue::{CallerId, Fault, FaultCode, Finding, Query, Reason, Release, Verdict};

/// An outcome that was held against what was released before.
pub(crate) struct Released {
    pub(crate) said: Result<Told, Fault>,
    alarm: Option<Alarm>,
}

/// An answer as it may be told.
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<Reason>,
    pub(crate) as_of: Date,
    pub(crate) next_as_of: Option<Date>,
    pub(crate) release: Option<Release>,
}

/// What a person at the gateway should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// The adapter or the department contradicts itself.
    Contradiction,
    /// The caller has asked for the last cut about the person that it is granted for a year.
    CutsSpent,
    /// Two operators ask past the auditor.
    BreakGlass,
}

impl Released {
    /// Settles the cut of a question, if it is one.
    pub(crate) fn settle(query: &Query, audited: Audited, found: Result<Finding, Fault>) -> Self {
        let predicate = query.predicate();
        let (mut as_of, mut release) = (query.as_of(), None);
        let mut alarm = match &audited {
            Audited::Cut(cut) if cut.is_last_granted() => Some(Alarm::CutsSpent),
            Audited::Cut(_) | Audited::Uncut | Audited::Implied(_) => None,
        };
        let said = found.and_then(|finding| {
            let (mut verdict, reason) = predicate.verdict(finding);
            match audited {
                Audited::Uncut => {}
                Audited::Implied(implied) => {
                    as_of = implied.as_of;
                    release = Some(implied.release);
                }
                Audited::Cut(cut) => match cut.settle(verdict) {
                    Ok(settled) => {
                        (verdict, as_of) = (settled.verdict, settled.as_of);
                        release = Some(settled.release);
                    }
                    Err(_) => {
                        alarm = Some(Alarm::Contradiction);
                        return Err(Fault::new(FaultCode::AdapterContradiction));
                    }
                },
            }
            Ok((verdict, reason))
        });
        let said = said.map(|(verdict, reason)| Told {
            verdict,
            reason,
            as_of,
            next_as_of: query.next_as_of(),
            release,
        });
        Self { said, alarm }
    }

    /// Tells the operator what there is to tell, with the entry in which it happened. Returns it
    /// for the metrics.
    pub(crate) fn warn(&self, caller: &CallerId, query: &Query, entry: u64) -> Option<Alarm> {
        self.alarm.map(|alarm| alarm.warn(caller, query, entry))
    }
}

impl Alarm {
    /// Of a question that is on record, before the department hears of it.
    pub(crate) fn of_asked(audited: &Audited) -> Option<Self> {
        match audited {
            Audited::Cut(cut) if cut.is_break_glass() => Some(Self::BreakGlass),
            Audited::Cut(_) | Audited::Uncut | Audited::Implied(_) => None,
        }
    }

    /// Tells the operator what there is to tell, with the entry in which it happened. Returns it
    /// for the metrics.
    pub(crate) fn warn(self, caller: &CallerId, query: &Query, entry: u64) -> Self {
        let predicate = &query.predicate().id;
        match self {
            Alarm::Contradiction => tracing::error!(
                %predicate,
                entry,
                "the finding contradicts answers given about the same person; it was not told: \
                 look whether the department's record was corrected or the adapter is wrong"
            ),
            Alarm::CutsSpent => tracing::warn!(
                %caller,
                %predicate,
                entry,
                "the caller has asked for the last cut about the person that it is granted for a \
                 year; the entry has his pseudonym"
            ),
            Alarm::BreakGlass => tracing::warn!(
                %caller,
                %predicate,
                entry,
                "two operators of the caller ask past the auditor of exact answers; the entry has \
                 their names sealed"
            ),
        }
        self
    }

    /// The word in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Contradiction => "contradiction",
            Self::CutsSpent => "cuts-spent",
            Self::BreakGlass => "break-glass",
        }
    }
}
