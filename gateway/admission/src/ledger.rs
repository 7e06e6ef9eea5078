//! How many questions each caller has asked, in all, of each department, and about each subject.
//!
//! Owns the counts of the last 90 civil days. Live, a question is counted before it is asked and
//! given back if it is not; rebuilt, it is counted from its entry in the query log. Both go through
//! the same values, so that a restart changes no count. It knows subjects by a number that says
//! nothing of them, never shares a count between callers, and only raises an alarm for what all
//! callers together ask about one subject.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::tz::TimeZone;
use jumpgate_catalogue::{CallerId, Catalogue, DepartmentId, PredicateId, Verdict};

use crate::disclosure::Released;
use crate::numbered::{Number, Numbered, locked};
use crate::settings::Allotment;
use calendar::Calendar;
use days::Days;

mod calendar;
mod days;
mod rebuild;

pub use rebuild::{Rebuild, SnapshotFault};

pub(crate) use days::{Day, Left, PERIOD_DAYS, Span};

/// The number under which the query log knows a subject: the row of his handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubjectNumber(pub u64);

/// The counts of the whole gateway. They stay over reloads.
pub struct Ledger {
    calendar: Calendar,
    names: Mutex<Names>,
    /// Of each caller in all, and at each department.
    totals: Mutex<HashMap<(Number, Option<Number>), Days>>,
    /// Of each caller about each subject and family, spread so that none is ever long locked.
    subjects: [Mutex<Shard>; SHARDS],
    /// What was released about each subject by exact answers, to anybody.
    pub(crate) released: Released,
}

/// What the numbers stand for.
#[derive(Default)]
struct Names {
    callers: Numbered,
    departments: Numbered,
    families: Numbered,
}

#[derive(Default)]
struct Shard {
    counts: HashMap<Key, Days>,
    /// The day on which it was last cleared of what no span reaches any more.
    cleared: Day,
}

/// What a count about a subject is of. `ALL` callers have one of the day for `ALL` families, and
/// one where an alarm was raised on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    subject: u32,
    caller: Number,
    family: Number,
}

/// Predicates whose questions about one subject are counted together: all of one attribute of a
/// department, and match predicates apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Family {
    number: Number,
    /// Only what is not answered `yes` counts: attempts.
    is_match: bool,
}

/// A family's name, and whether it is one of match predicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FamilyName {
    name: String,
    is_match: bool,
}

/// The families of a catalogue.
pub(crate) struct Families {
    of: HashMap<PredicateId, Family>,
    /// By the id without its version, for what was asked under a version that is gone.
    of_any_version: HashMap<String, Family>,
}

/// Who asks what about whom, in the ledger's numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    pub caller: Number,
    pub department: Number,
    pub subject: SubjectNumber,
    pub family: Family,
}

/// The allotments that a question at a department must fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AskingLimits {
    pub department: Allotment,
    pub subject: Allotment,
    pub attempts: Allotment,
    /// Questions of all callers about one subject that raise an alarm.
    pub alarm_per_day: u32,
}

/// An allotment that does not hold one question more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    pub of: Scope,
    pub left: Left,
    /// Milliseconds until it holds one again.
    pub free_in_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Caller,
    Department,
    Subject,
    Attempts,
}

/// Why a question about a subject is not counted, and so not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReserved {
    Spent(Spent),
    /// The ledger holds as many subjects as it may. It is cleared once a day.
    Full {
        free_in_ms: u64,
    },
}

/// A question that gets an entry, counted for its caller. Dropped before that, it is given back.
#[must_use = "a dropped charge is given back"]
pub struct Charge {
    ledger: Arc<Ledger>,
    caller: Number,
    day: Day,
    is_kept: bool,
}

/// A question of a department, counted there and for its subject before it is asked. Dropped
/// before it is on record, it was never asked; dropped before it is answered, its subject's count
/// is given back.
#[must_use = "a dropped reservation is given back"]
pub struct Reservation {
    ledger: Arc<Ledger>,
    asking: Asking,
    day: Day,
    alarm_per_day: u32,
    /// False once the question is on record: then nothing of it is given back here.
    holds_department: bool,
    /// False once the question is answered, unless the answer leaves nothing counted.
    holds_subject: bool,
}

impl Ledger {
    /// A ledger without counts, for the civil days of a time zone.
    pub fn new(zone: TimeZone) -> Self {
        Self {
            calendar: Calendar::new(zone),
            names: Mutex::default(),
            totals: Mutex::default(),
            subjects: std::array::from_fn(|_| Mutex::default()),
            released: Released::default(),
        }
    }

    /// Counts of callers about subjects that are held, for metrics.
    pub fn subject_counts(&self) -> u64 {
        self.subjects.iter().map(|shard| locked(shard).counts.len() as u64).sum()
    }

    /// The number of a configured caller.
    pub(crate) fn caller(&self, id: &CallerId) -> Number {
        locked(&self.names).callers.number(id.as_str())
    }

    /// The number of a department of the catalogue.
    pub(crate) fn department(&self, id: &DepartmentId) -> Number {
        locked(&self.names).departments.number(id.as_str())
    }

    pub(crate) fn families(
        &self,
        predicates: impl IntoIterator<Item = (PredicateId, FamilyName)>,
    ) -> Families {
        let mut names = locked(&self.names);
        let (mut of, mut of_any_version) = (HashMap::new(), HashMap::new());
        for (id, FamilyName { name, is_match }) in predicates {
            let family = Family { number: names.families.number(&name), is_match };
            of_any_version.insert(id.unversioned().to_owned(), family);
            of.insert(id, family);
        }
        Families { of, of_any_version }
    }

    fn family_name(&self, family: Family) -> String {
        let names = locked(&self.names);
        let name = names.families.name(family.number);
        name.map(ToString::to_string).unwrap_or_default()
    }

    /// Counts one question more for its caller, if `allotment` holds it.
    pub(crate) fn charge(
        self: &Arc<Self>,
        caller: Number,
        allotment: &Allotment,
        now_ms: i64,
    ) -> Result<(Charge, [Left; 2]), Spent> {
        let day = self.calendar.day_of(now_ms);
        let left = {
            let mut totals = locked(&self.totals);
            let days = totals.entry((caller, None)).or_default();
            self.take(days, allotment, Scope::Caller, day, now_ms)?
        };
        let charge = Charge { ledger: Arc::clone(self), caller, day, is_kept: false };
        Ok((charge, left))
    }

    /// Counts one question more at its department and about its subject, if the allotments hold it.
    /// What is left is of the department's allotment.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        asking: Asking,
        limits: &AskingLimits,
        now_ms: i64,
    ) -> Result<(Reservation, [Left; 2]), NotReserved> {
        let day = self.calendar.day_of(now_ms);
        let (scope, allotment) = match asking.family.is_match {
            true => (Scope::Attempts, &limits.attempts),
            false => (Scope::Subject, &limits.subject),
        };
        let department = (asking.caller, Some(asking.department));
        let left = {
            let mut totals = locked(&self.totals);
            let days = totals.entry(department).or_default();
            self.take(days, &limits.department, Scope::Department, day, now_ms)
        };
        let left = left.map_err(NotReserved::Spent)?;
        // From here on its drop gives back what the department has counted, and the lock below is
        // dropped before it.
        let mut reservation = Reservation::new(self, asking, day, limits.alarm_per_day);
        let key = asking.key();
        let mut shard = self.shard(asking.subject);
        shard.clear(day);
        if shard.counts.len() >= SHARD_COUNTS_MAX && !shard.counts.contains_key(&key) {
            return Err(NotReserved::Full { free_in_ms: self.until_ms(day + 1, now_ms) });
        }
        let days = shard.counts.entry(key).or_default();
        self.take(days, allotment, scope, day, now_ms).map_err(NotReserved::Spent)?;
        reservation.holds_subject = true;
        Ok((reservation, left))
    }

    fn take(
        &self,
        days: &mut Days,
        allotment: &Allotment,
        of: Scope,
        day: Day,
        now_ms: i64,
    ) -> Result<[Left; 2], Spent> {
        days.forget_before(days::first_until(day));
        // Where both spans are used up, the one that is free again later counts.
        let spent = days.left(allotment, day).into_iter().filter(|left| left.remaining == 0);
        if let Some(left) = spent.max_by_key(|left| left.from) {
            return Err(Spent { of, left, free_in_ms: self.until_ms(left.from, now_ms) });
        }
        days.add(day);
        Ok(days.left(allotment, day))
    }

    /// Milliseconds from `now_ms` until a day begins.
    pub(crate) fn until_ms(&self, day: Day, now_ms: i64) -> u64 {
        u64::try_from(self.calendar.begin_ms(day).saturating_sub(now_ms)).unwrap_or(0)
    }

    fn move_total(&self, key: (Number, Option<Number>), from: Day, to: Option<Day>) {
        let mut totals = locked(&self.totals);
        let days = totals.entry(key).or_default();
        days.shift(from, to);
        if days.is_empty() {
            totals.remove(&key);
        }
    }

    fn move_subject(&self, asking: &Asking, from: Day, to: Option<Day>) {
        let key = asking.key();
        let mut shard = self.shard(asking.subject);
        let days = shard.counts.entry(key).or_default();
        days.shift(from, to);
        if days.is_empty() {
            shard.counts.remove(&key);
        }
    }

    /// Counts a question for all callers together. It is never given back: it was asked. Where
    /// there is no room for another count, it raises no alarm.
    fn count_together(&self, subject: SubjectNumber, day: Day) -> u32 {
        let (mut shard, key) = (self.shard(subject), Key::together(subject, ALL));
        if shard.counts.len() >= SHARD_COUNTS_MAX && !shard.counts.contains_key(&key) {
            return 0;
        }
        let together = shard.counts.entry(key).or_default();
        together.forget_before(day);
        together.add(day);
        together.on(day)
    }

    /// True the first time that it is called for the subject on that day.
    fn is_first_alarm(&self, subject: SubjectNumber, day: Day) -> bool {
        let mut shard = self.shard(subject);
        let raised = shard.counts.entry(Key::together(subject, ALARMED)).or_default();
        let is_first = raised.on(day) == 0;
        raised.forget_before(day);
        raised.add(day);
        is_first
    }

    fn shard(&self, subject: SubjectNumber) -> MutexGuard<'_, Shard> {
        let at = subject.0 % SHARDS as u64;
        // Below `SHARDS`, so it fits.
        locked(&self.subjects[at as usize])
    }
}

impl Charge {
    /// The question has its entry, made at `at_ms` in Unix milliseconds: it stays counted, on the
    /// day of its entry.
    pub fn keep(mut self, at_ms: u64) {
        self.is_kept = true;
        let day = self.ledger.calendar.day_of(signed(at_ms));
        if day != self.day {
            self.ledger.move_total((self.caller, None), self.day, Some(day));
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.is_kept {
            self.ledger.move_total((self.caller, None), self.day, None);
        }
    }
}

impl Reservation {
    /// Of a question that its department has counted, and no subject yet.
    fn new(ledger: &Arc<Ledger>, asking: Asking, day: Day, alarm_per_day: u32) -> Self {
        let ledger = Arc::clone(ledger);
        Self { ledger, asking, day, alarm_per_day, holds_department: true, holds_subject: false }
    }

    /// Of a question that is on record, counted there and for its subject.
    fn counted(ledger: &Arc<Ledger>, asking: Asking, day: Day) -> Self {
        let mut reservation = Self::new(ledger, asking, day, u32::MAX);
        (reservation.holds_department, reservation.holds_subject) = (false, true);
        reservation
    }

    /// The question is on record since `at_ms`, Unix milliseconds: it counts, on the day of its
    /// entry. True if all callers together have now asked about the subject so often on this day
    /// that somebody should look at it, once a day.
    pub(crate) fn asked(&mut self, at_ms: u64) -> bool {
        self.holds_department = false;
        let day = self.ledger.calendar.day_of(signed(at_ms));
        if day != self.day {
            let (from, to) = (self.day, Some(day));
            self.ledger.move_total(self.asking.at_department(), from, to);
            self.ledger.move_subject(&self.asking, from, to);
            self.day = day;
        }
        let subject = self.asking.subject;
        self.ledger.count_together(subject, day) >= self.alarm_per_day
            && self.ledger.is_first_alarm(subject, day)
    }

    /// The question is answered, and stays counted for its subject; an attempt that succeeds is
    /// none.
    pub fn answered(mut self, verdict: Verdict) {
        self.holds_subject = self.asking.family.is_match && verdict == Verdict::Yes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let from = self.day;
        if self.holds_department {
            self.ledger.move_total(self.asking.at_department(), from, None);
        }
        if self.holds_subject {
            self.ledger.move_subject(&self.asking, from, None);
        }
    }
}

impl Asking {
    /// The key of the caller's own count.
    fn key(&self) -> Key {
        let (caller, family) = (self.caller, self.family.number);
        Key { subject: self.subject.row(), caller, family }
    }

    fn at_department(&self) -> (Number, Option<Number>) {
        (self.caller, Some(self.department))
    }
}

impl Key {
    /// Of all callers.
    fn together(subject: SubjectNumber, family: Number) -> Self {
        Self { subject: subject.row(), caller: ALL, family }
    }
}

impl SubjectNumber {
    /// The log's handle table has no more rows than this holds; beyond, subjects would share a
    /// count.
    pub(crate) fn row(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Families {
    pub(crate) fn of(&self, predicate: &PredicateId) -> Option<Family> {
        self.of.get(predicate).copied()
    }

    /// The family of what was asked once, perhaps under a version that is no more.
    fn of_past(&self, predicate: &str) -> Option<Family> {
        let id: PredicateId = predicate.parse().ok()?;
        self.of(&id).or_else(|| self.of_any_version.get(id.unversioned()).copied())
    }
}

impl Shard {
    /// Forgets, once a day, what no span reaches any more; of all callers together, what is not of
    /// today.
    fn clear(&mut self, today: Day) {
        if self.cleared == today {
            return;
        }
        self.cleared = today;
        self.counts.retain(|key, days| {
            if key.caller == ALL {
                days.on(today) > 0
            } else {
                days.forget_before(days::first_until(today));
                !days.is_empty()
            }
        });
    }
}

impl FamilyName {
    /// The family of each predicate.
    pub(crate) fn all(catalogue: &Catalogue) -> impl Iterator<Item = (PredicateId, Self)> {
        catalogue.predicates().map(|predicate| {
            let is_match = predicate.is_match;
            let what = if is_match { "match" } else { "answer" };
            let name = format!("{}/{}/{what}", predicate.department, predicate.attribute);
            (predicate.id.clone(), Self { name, is_match })
        })
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// The caller and the family of what all callers ask together.
const ALL: Number = Number::MAX;
/// The family of what says that an alarm was raised.
const ALARMED: Number = Number::MAX - 1;
/// So many that clearing one of ten million counts takes a few milliseconds.
pub(crate) const SHARDS: usize = 64;
/// With all shards, 16 million counts, which take about 1 GB, and as much again while a snapshot is
/// made; the log knows fewer subjects.
pub(crate) const SHARD_COUNTS_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests;
