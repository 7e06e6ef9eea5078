//! The counts made again from the entries of the query log, and kept in between.
//!
//! Owns what each entry counts and releases, and the snapshot's form. A snapshot is the counts as
//! they follow from the entries before one index; the entries from there on bring it up to date. It
//! is made from entries and not from the live ledger, which is ahead of the log by what is being
//! asked.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jumpgate_catalogue::{Catalogue, Release, Verdict};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use smallvec::SmallVec;

use super::days::{Day, Days};
use super::{
    ALL, Asking, Families, Family, FamilyName, Key, Ledger, PERIOD_DAYS, Reservation,
    SubjectNumber, signed,
};
use crate::disclosure::exact_predicates;
use crate::numbered::{Number, Renumbered, locked};

/// Counts on their way from entries to a [`Ledger`].
pub struct Rebuild {
    ledger: Arc<Ledger>,
    families: Families,
    /// The time from which on all entries are counted.
    since_ms: u64,
    /// The family under which each predicate was counted that an entry has named; none if it had
    /// none.
    met: BTreeMap<String, Option<String>>,
    /// Questions without their closing entry, by the index of their `ask`.
    open: HashMap<u64, Reservation>,
    /// True if what exact answers have told is taken over.
    follows: bool,
    /// The day of the last entry.
    today: Day,
}

/// Why a snapshot is of no use. The entries say the same, more slowly.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// Made for another time zone.
    #[error("it was made for another civil time zone")]
    OtherZone,
    /// A predicate that was asked counts for another family now.
    #[error("{0} has another family now")]
    OtherFamily(String),
    /// What exact answers have told is not in it.
    #[error("it was made while nothing was asked exactly")]
    NotFollowed,
    /// It begins later than what must be counted.
    #[error("it was made while the clock was ahead")]
    TooLate,
    /// Not what this version writes.
    #[error("it is not what this version writes")]
    Malformed(#[from] decode::Error),
}

impl Rebuild {
    /// No counts: all entries from `since_ms` (Unix milliseconds) on are to come.
    pub fn new(zone: TimeZone, catalogue: &Catalogue, since_ms: u64) -> Self {
        let ledger = Arc::new(Ledger::new(zone));
        let families = ledger.families(FamilyName::all(catalogue));
        let (met, open) = (BTreeMap::new(), HashMap::new());
        let follows = exact_predicates(catalogue).next().is_some();
        Self { ledger, families, since_ms, met, open, follows, today: 0 }
    }

    /// True if what exact answers have told is taken over: then of all entries.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// An exact question of that caller was answered.
    pub fn released(
        &mut self,
        subject: SubjectNumber,
        release: &Release,
        (caller, predicate): (&str, &str),
    ) {
        self.ledger.released.record(subject, release, (caller, predicate));
    }

    /// A question was asked by the entry at `index`, made at `at_ms` in Unix milliseconds.
    pub fn asked(
        &mut self,
        index: u64,
        at_ms: u64,
        (caller, department, predicate): (&str, &str, &str),
        subject: SubjectNumber,
    ) {
        self.today = self.ledger.calendar.day_of(signed(at_ms));
        let (caller, department) = {
            let mut names = locked(&self.ledger.names);
            (names.callers.number(caller), names.departments.number(department))
        };
        let mut totals = locked(&self.ledger.totals);
        for key in [(caller, None), (caller, Some(department))] {
            totals.entry(key).or_default().add(self.today);
        }
        drop(totals);
        self.ledger.count_together(subject, self.today);
        // What has no family can be asked no more, and limits nothing.
        let Some(family) = self.family(predicate) else { return };
        let asking = Asking { caller, department, subject, family };
        self.ledger.shard(subject).counts.entry(asking.key()).or_default().add(self.today);
        self.open.insert(index, Reservation::counted(&self.ledger, asking, self.today));
    }

    fn family(&mut self, predicate: &str) -> Option<Family> {
        let family = self.families.of_past(predicate);
        if !self.met.contains_key(predicate) {
            let name = family.map(|it| self.ledger.family_name(it));
            self.met.insert(predicate.to_owned(), name);
        }
        family
    }

    /// A person's record was corrected: nothing is known of that attribute any more.
    pub fn rectified(&mut self, subject: SubjectNumber, attribute: &str) {
        self.ledger.released.forget(subject, attribute);
    }

    /// Forgets what was told about persons for whom `is_there` is false: they are erased.
    pub fn forget_erased(&mut self, is_there: impl Fn(SubjectNumber) -> bool) {
        self.ledger.released.forget_erased(|row| is_there(SubjectNumber(row.into())));
    }

    /// A question was refused with an entry of its own, made at `at_ms` in Unix milliseconds.
    pub fn refused(&mut self, at_ms: u64, caller: &str) {
        self.today = self.ledger.calendar.day_of(signed(at_ms));
        let caller = locked(&self.ledger.names).callers.number(caller);
        locked(&self.ledger.totals).entry((caller, None)).or_default().add(self.today);
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
        self.forget_before(0);
        self.ledger.released.forget_made(self.today);
        if self.follows {
            self.ledger.released.set_whole();
        }
        Arc::clone(&self.ledger)
    }

    /// Counts about subjects that it holds.
    pub fn subject_counts(&self) -> u64 {
        self.ledger.subject_counts()
    }

    /// The counts as they can be kept, added to `bytes`. What no span reaches on the day of the
    /// last entry is left out, and the snapshot says from when on it is whole: that day may be one
    /// of a clock that was ahead.
    pub fn snapshot(&self, bytes: &mut Vec<u8>) {
        let first = self.today.saturating_sub(KEPT_DAYS);
        self.forget_before(first);
        self.ledger.released.forget_made(self.today);
        let begin_ms = u64::try_from(self.ledger.calendar.begin_ms(first)).unwrap_or(0);
        // Writing to memory cannot fail, and nothing below cannot be encoded.
        let _ = self.write(self.since_ms.max(begin_ms), &mut Encoder::new(bytes));
    }

    /// Forgets what was asked before that day, and of all callers together what is not of the last.
    fn forget_before(&self, first: Day) {
        for days in locked(&self.ledger.totals).values_mut() {
            days.forget_before(first);
        }
        for shard in &self.ledger.subjects {
            locked(shard).counts.retain(|key, days| {
                days.forget_before(if key.caller == ALL { self.today } else { first });
                !days.is_empty()
            });
        }
    }

    fn write(
        &self,
        since_ms: u64,
        to: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), encode::Error<Infallible>> {
        let ledger = &self.ledger;
        to.array(PARTS)?.u32(FORM)?.str(ledger.calendar.zone())?.u64(since_ms)?;
        to.encode(&self.met)?.bool(self.follows)?;
        let names = locked(&ledger.names);
        to.encode(&names.callers)?.encode(&names.departments)?.encode(&names.families)?;
        drop(names);
        let totals = locked(&ledger.totals);
        to.array(totals.len() as u64)?;
        for ((caller, department), days) in &*totals {
            to.encode((caller, department, days))?;
        }
        drop(totals);
        to.array(ledger.subject_counts())?;
        for shard in &ledger.subjects {
            for (Key { subject, caller, family }, days) in &locked(shard).counts {
                to.encode((subject, caller, family, days))?;
            }
        }
        to.array(self.open.len() as u64)?;
        for (index, Reservation { asking, day, .. }) in &self.open {
            let Asking { caller, department, subject, family } = asking;
            let about = (subject.0, family.number, family.is_match);
            to.encode((index, caller, department, about, day))?;
        }
        ledger.released.write(to)
    }

    /// The counts that [`Self::snapshot`] gave, if they were made from all entries since
    /// `since_ms` and count for the same families.
    ///
    /// # Errors
    /// It is of no use: begin with [`Self::new`] and all entries.
    pub fn restore(
        snapshot: &[u8],
        zone: TimeZone,
        catalogue: &Catalogue,
        since_ms: u64,
    ) -> Result<Self, SnapshotFault> {
        let from = &mut Decoder::new(snapshot);
        if from.array()? != Some(PARTS) || from.u32()? != FORM {
            return Err(decode::Error::message("another form").into());
        }
        let mut rebuild = Self::new(zone, catalogue, 0);
        if from.str()? != rebuild.ledger.calendar.zone() {
            return Err(SnapshotFault::OtherZone);
        }
        rebuild.since_ms = from.u64()?;
        if rebuild.since_ms > since_ms {
            return Err(SnapshotFault::TooLate);
        }
        let met: BTreeMap<String, Option<String>> = from.decode()?;
        for (predicate, family) in met {
            rebuild.family(&predicate);
            if rebuild.met.get(&predicate) != Some(&family) {
                return Err(SnapshotFault::OtherFamily(predicate));
            }
        }
        let follows = from.bool()?;
        if rebuild.follows && !follows {
            return Err(SnapshotFault::NotFollowed);
        }
        rebuild.follows = follows;
        rebuild.read(from)?;
        Ok(rebuild)
    }

    /// Reads the parts that have numbers. The names' numbers here need not be those of the ledger,
    /// which has begun with the catalogue's families.
    fn read(&mut self, from: &mut Decoder<'_>) -> Result<(), decode::Error> {
        let ledger = Arc::clone(&self.ledger);
        let mut names = locked(&ledger.names);
        let callers = Numbers(Renumbered::read(from, &mut names.callers)?);
        let departments = Numbers(Renumbered::read(from, &mut names.departments)?);
        let families = Numbers(Renumbered::read(from, &mut names.families)?);
        drop(names);
        let mut totals = locked(&ledger.totals);
        for _ in 0..length(from)? {
            let (caller, department, days): (Number, Option<Number>, Days) = from.decode()?;
            let department = department.map(|it| departments.of(it)).transpose()?;
            totals.insert((callers.of(caller)?, department), days);
        }
        drop(totals);
        for _ in 0..length(from)? {
            let (subject, caller, family, days): (u32, Number, Number, Days) = from.decode()?;
            let (caller, family) = (callers.of(caller)?, families.of(family)?);
            let mut shard = ledger.shard(SubjectNumber(subject.into()));
            shard.counts.insert(Key { subject, caller, family }, days);
        }
        for _ in 0..length(from)? {
            type About = (u64, Number, bool);
            let (index, caller, department, about, day): (u64, Number, Number, About, Day) =
                from.decode()?;
            let (subject, family, is_match) = about;
            let asking = Asking {
                caller: callers.of(caller)?,
                department: departments.of(department)?,
                subject: SubjectNumber(subject),
                family: Family { number: families.of(family)?, is_match },
            };
            self.open.insert(index, Reservation::counted(&ledger, asking, day));
        }
        ledger.released.read(from)
    }
}

/// The ledger's numbers for those of a snapshot, none of which may be without a name.
struct Numbers(Renumbered);

impl Numbers {
    fn of(&self, number: Number) -> Result<Number, decode::Error> {
        self.0.of(number).ok_or_else(|| decode::Error::message("a number without a name"))
    }
}

fn length(from: &mut Decoder<'_>) -> Result<u64, decode::Error> {
    from.array()?.ok_or_else(|| decode::Error::message("an array without a length"))
}

/// Of a snapshot: its form, the zone, the time, what it has met and follows, three lists of names,
/// three of counts, and what was released.
const PARTS: u64 = 12;
/// One for the day that began before the longest span, and some for clocks.
const KEPT_DAYS: Day = PERIOD_DAYS + 3;
const FORM: u32 = 3;

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
        let mut counts = SmallVec::new();
        for _ in 0..length(decoder)? / 2 {
            counts.push((decoder.u16()?, decoder.u32()?));
        }
        Self::of_counts(counts).ok_or_else(|| decode::Error::message("days out of order"))
    }
}
