//! The counts made again from the entries of the query log, and kept in between.
//!
//! Owns what each entry counts, and the snapshot's form. A snapshot is the counts as they follow
//! from the entries before one index; the entries from there on bring it up to date. It is made
//! from entries and not from the live ledger, which is ahead of the log by what is being asked.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jumpgate_catalogue::{Catalogue, PredicateId, Verdict};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use smallvec::SmallVec;

use super::days::{Day, Days};
use super::{
    Asking, Families, Family, FamilyName, Key, Ledger, Names, Number, Numbered, Reservation,
    SubjectNumber, locked, signed,
};

/// Counts on their way from entries to a [`Ledger`].
pub struct Rebuild {
    ledger: Arc<Ledger>,
    families: Families,
    /// What else the counts depend on: the time zone and each predicate's family.
    basis: String,
    /// Questions without their closing entry, by the index of their `ask`.
    open: HashMap<u64, Reservation>,
}

/// Why a snapshot is of no use. The entries say the same, more slowly.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// Made for another time zone or other families.
    #[error("it was made for another civil time zone or another catalogue")]
    OtherBasis,
    /// Not what this version writes.
    #[error("it is not what this version writes")]
    Malformed(#[from] decode::Error),
}

impl Rebuild {
    /// No counts: all entries of the last 90 days are to come.
    pub fn new(zone: TimeZone, catalogue: &Catalogue) -> Self {
        let ledger = Arc::new(Ledger::new(zone));
        let families = ledger.families(FamilyName::all(catalogue));
        let basis = basis_of(&ledger, catalogue);
        Self { ledger, families, basis, open: HashMap::new() }
    }

    /// A question was asked by the entry at `index`.
    pub fn asked(
        &mut self,
        index: u64,
        at_ms: u64,
        (caller, department, predicate): (&str, &str, &str),
        subject: SubjectNumber,
    ) {
        let day = self.ledger.calendar.day_of(signed(at_ms));
        let (caller, department) = {
            let mut names = locked(&self.ledger.names);
            (names.callers.number(caller), names.departments.number(department))
        };
        let mut totals = locked(&self.ledger.totals);
        for key in [(caller, None), (caller, Some(department))] {
            totals.entry(key).or_default().add(day);
        }
        drop(totals);
        // What is no predicate any more is not asked any more, and limits nothing.
        let family = predicate.parse::<PredicateId>().ok().and_then(|id| self.families.of(&id));
        let Some(family) = family else { return };
        let asking = Asking { caller, department, subject, family };
        let (key, all) = asking.keys();
        let mut shard = self.ledger.shard(subject);
        shard.clear(day);
        shard.counts.entry(key).or_default().add(day);
        let together = shard.counts.entry(all).or_default();
        together.forget_before(day);
        together.add(day);
        drop(shard);
        self.open.insert(index, Reservation::counted(&self.ledger, asking, day));
    }

    /// A question was refused with an entry of its own.
    pub fn refused(&mut self, at_ms: u64, caller: &str) {
        let day = self.ledger.calendar.day_of(signed(at_ms));
        let caller = locked(&self.ledger.names).callers.number(caller);
        locked(&self.ledger.totals).entry((caller, None)).or_default().add(day);
    }

    /// The question of the `ask` at that index was answered. `verdict` is asked for only where it
    /// matters; without one the question stays counted.
    pub fn answered(&mut self, ask: u64, verdict: impl FnOnce() -> Option<Verdict>) {
        let Some(reservation) = self.open.remove(&ask) else { return };
        let is_match = reservation.asking.family.is_match;
        let verdict = if is_match { verdict() } else { None };
        reservation.answered(verdict.unwrap_or(Verdict::Undetermined));
    }

    /// The question of the `ask` at that index was closed without an answer.
    pub fn failed(&mut self, ask: u64) {
        self.open.remove(&ask);
    }

    /// The counts, once every question has its closing entry.
    pub fn into_ledger(self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// The counts as they can be kept.
    pub fn snapshot(&self) -> Vec<u8> {
        let ledger = &self.ledger;
        let (callers, departments, families) = {
            let names = locked(&ledger.names);
            let texts = |numbered: &Numbered| {
                numbered.names.iter().map(|name| name.to_string()).collect::<Vec<_>>()
            };
            (texts(&names.callers), texts(&names.departments), texts(&names.families))
        };
        let totals = locked(&ledger.totals);
        let totals = totals.iter().map(|((caller, department), days)| Total {
            caller: *caller,
            department: *department,
            days: days.clone(),
        });
        let mut subjects = Vec::with_capacity(ledger.subject_counts() as usize);
        for shard in &ledger.subjects {
            let shard = locked(shard);
            subjects.extend(shard.counts.iter().map(|(key, days)| {
                let Key { subject, caller, family } = *key;
                AboutSubject { subject, caller, family, days: days.clone() }
            }));
        }
        let open = self.open.iter().map(|(index, reservation)| Open {
            index: *index,
            caller: reservation.asking.caller,
            department: reservation.asking.department,
            subject: reservation.asking.subject.0,
            family: reservation.asking.family.number,
            is_match: reservation.asking.family.is_match,
            day: reservation.day,
        });
        let snapshot = Snapshot {
            basis: self.basis.clone(),
            callers,
            departments,
            families,
            totals: totals.collect(),
            subjects,
            open: open.collect(),
        };
        // Writing to memory cannot fail, and the types above have nothing that cannot be encoded.
        minicbor::to_vec(snapshot).unwrap_or_default()
    }

    /// The counts that [`Self::snapshot`] gave, for the same time zone and families.
    ///
    /// # Errors
    /// It is of no use: begin with [`Self::new`] and all entries.
    pub fn restore(
        snapshot: &[u8],
        zone: TimeZone,
        catalogue: &Catalogue,
    ) -> Result<Self, SnapshotFault> {
        let Snapshot { basis, callers, departments, families, totals, subjects, open } =
            minicbor::decode(snapshot)?;
        let ledger = Arc::new(Ledger::new(zone));
        if basis != basis_of(&ledger, catalogue) {
            return Err(SnapshotFault::OtherBasis);
        }
        {
            let mut names = locked(&ledger.names);
            let Names { callers: to_callers, departments: to_departments, families: to_families } =
                &mut *names;
            let all =
                [(to_callers, callers), (to_departments, departments), (to_families, families)];
            for (numbered, texts) in all {
                for text in texts {
                    numbered.number(&text);
                }
            }
        }
        let totals = totals.into_iter().map(|it| ((it.caller, it.department), it.days));
        *locked(&ledger.totals) = totals.collect();
        for AboutSubject { subject, caller, family, days } in subjects {
            let mut shard = ledger.shard(SubjectNumber(subject.into()));
            shard.counts.insert(Key { subject, caller, family }, days);
        }
        let open = open.into_iter().map(|it| {
            let family = Family { number: it.family, is_match: it.is_match };
            let asking = Asking {
                caller: it.caller,
                department: it.department,
                subject: SubjectNumber(it.subject),
                family,
            };
            (it.index, Reservation::counted(&ledger, asking, it.day))
        });
        let open = open.collect();
        let families = ledger.families(FamilyName::all(catalogue));
        Ok(Self { ledger, families, basis, open })
    }
}

/// The time zone and the family of each predicate, in the order of their ids.
fn basis_of(ledger: &Ledger, catalogue: &Catalogue) -> String {
    let families = FamilyName::all(catalogue);
    let mut families: Vec<String> =
        families.map(|(id, family)| format!("{id} {}", family.name)).collect();
    families.sort_unstable();
    format!("1 {}\n{}", ledger.calendar.zone(), families.join("\n"))
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Snapshot {
    #[n(0)]
    basis: String,
    #[n(1)]
    callers: Vec<String>,
    #[n(2)]
    departments: Vec<String>,
    #[n(3)]
    families: Vec<String>,
    #[n(4)]
    totals: Vec<Total>,
    #[n(5)]
    subjects: Vec<AboutSubject>,
    #[n(6)]
    open: Vec<Open>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Total {
    #[n(0)]
    caller: Number,
    #[n(1)]
    department: Option<Number>,
    #[n(2)]
    days: Days,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct AboutSubject {
    #[n(0)]
    subject: u32,
    #[n(1)]
    caller: Number,
    #[n(2)]
    family: Number,
    #[n(3)]
    days: Days,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Open {
    #[n(0)]
    index: u64,
    #[n(1)]
    caller: Number,
    #[n(2)]
    department: Number,
    #[n(3)]
    subject: u64,
    #[n(4)]
    family: Number,
    #[n(5)]
    is_match: bool,
    #[n(6)]
    day: Day,
}

impl<C> Encode<C> for Days {
    fn encode<W: encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.array(2 * self.counts().len() as u64)?;
        for (day, count) in self.counts() {
            encoder.u16(*day)?.u32(*count)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Days {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let unsound = || decode::Error::message("days out of order");
        let items = decoder.array()?.ok_or_else(unsound)?;
        let mut counts = SmallVec::new();
        for _ in 0..items / 2 {
            counts.push((decoder.u16()?, decoder.u32()?));
        }
        Self::of_counts(counts).ok_or_else(unsound)
    }
}
