//! What exact answers have told of each person's dates, and what may still be told.
//!
//! Owns the auditor of exact answers. Of each person and attribute it keeps the one interval of
//! days in which everything that was released leaves the date, whoever it was released to. A
//! question is asked only if both of its answers would leave enough days and people; cuts that are
//! on their way count as released both ways. It knows what was asked and answered and never a
//! record, so that whoever knows the answers knows what it decides. `spec/disclosure.md` is its
//! contract.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::civil::{Date, date};
use jumpgate_catalogue::{
    Attribute, CallerId, Catalogue, Clock, ExactCut, PredicateId, Release, Side, Verdict, Way,
};

use crate::ledger::{Day, Ledger, SHARD_COUNTS_MAX, SHARDS, SubjectNumber};
use crate::numbered::{Number, Numbered, locked};
use crate::settings::AdmissionPlan;

mod shard;
mod simulate;
mod snapshot;

pub use shard::Interval;
use shard::{Key, Known, Made, Open, Shard, YEAR_DAYS};

pub use simulate::{Extent, Left, Simulated};

/// What was released of everybody. It stays over reloads.
pub(crate) struct Released {
    names: Mutex<Names>,
    /// True if the releases of all answers are in it.
    is_whole: AtomicBool,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Names {
    attributes: Numbered,
    predicates: Numbered,
    callers: Numbered,
}

/// What exact answers have told of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosed {
    /// By attribute, what is known.
    pub intervals: Vec<(Arc<str>, Interval)>,
    /// The cuts of the last 365 days.
    pub cuts: Vec<CutMade>,
}

/// A cut by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CutMade {
    /// The civil day of its question.
    pub day: Date,
    /// Whose it is.
    pub caller: Arc<str>,
    /// What was asked.
    pub predicate: Arc<str>,
    /// True if it was made past the auditor, by two operators.
    pub is_break_glass: bool,
}

/// An exact predicate, with the numbers that it and its attribute have here.
pub(crate) struct ExactPredicate {
    number: Number,
    attribute: Number,
    attribute_id: Arc<str>,
    rules: Attribute,
}

/// What the department is asked.
#[derive(Debug, Clone, Copy)]
struct Ask {
    /// Where it cuts.
    day: i32,
    as_of: Date,
    /// The latest date of which an answer is known, where the department is asked about a later one
    /// than today.
    otherwise: Option<Date>,
}

/// A question of an exact predicate.
#[derive(Clone, Copy)]
pub(crate) struct Cutting<'a> {
    pub predicate: &'a ExactPredicate,
    pub cut: ExactCut,
    /// The civil day of the question.
    pub today: Date,
    pub subject: SubjectNumber,
    pub caller: Number,
    pub grant: ExactGrant,
}

/// What a department's rule grants of exact answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExactGrant {
    /// Cuts of a caller about one person in 365 days.
    pub cuts_per_year: u32,
    /// True if they pass the auditor, and take two operators each.
    pub is_break_glass: bool,
}

/// What becomes of a question that may be asked.
#[derive(Debug)]
pub enum Audited {
    /// The department is asked, and the answer is no cut: its clock is not exact.
    Uncut,
    /// The department is asked, and the answer settles a cut.
    Cut(CutReservation),
    /// The department is not asked: the answer follows from what was released.
    Implied(Implied),
}

/// An answer that follows from what was released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Implied {
    /// The answer.
    pub verdict: Verdict,
    /// The latest day of which it is known.
    pub as_of: Date,
    /// What it tells.
    pub release: Release,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotReleased {
    /// An answer would leave too little, and none is known.
    TooLittleLeft,
    /// The caller has made all cuts that it is granted, and no answer is known.
    CutsSpent { granted: u32 },
    /// More is kept about more people than there is room for.
    Full,
}

/// A cut whose answer is awaited. Dropped before it is settled, it was never made.
#[must_use = "a dropped reservation is given back"]
pub struct CutReservation {
    ledger: Arc<Ledger>,
    key: Key,
    open: Open,
    cut: ExactCut,
    today: Date,
    ask: Ask,
    attribute: Arc<str>,
    /// True if it is the last that the caller is granted about this person for a year.
    is_last_granted: bool,
    is_held: bool,
}

/// What an answer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutSettled {
    /// What is told to the caller.
    pub verdict: Verdict,
    /// As of when.
    pub as_of: Date,
    /// What that tells.
    pub release: Release,
}

/// The answer contradicts what was released. It must not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer contradicts earlier ones about the same person")]
pub struct Contradiction;

/// Each exact predicate of a catalogue, with the attribute that it cuts.
pub(crate) fn exact_predicates(
    catalogue: &Catalogue,
) -> impl Iterator<Item = (PredicateId, Attribute)> {
    let exact = catalogue.predicates().filter(|it| it.clock == Clock::Exact);
    exact.filter_map(|it| Some((it.id.clone(), catalogue.attribute(&it.attribute)?.clone())))
}

impl Released {
    /// The exact predicates with the numbers that they have here.
    pub fn exact(
        &self,
        predicates: impl IntoIterator<Item = (PredicateId, Attribute)>,
    ) -> HashMap<PredicateId, ExactPredicate> {
        let mut names = locked(&self.names);
        let numbered = |(id, rules): (PredicateId, Attribute)| {
            let predicate = ExactPredicate {
                number: names.predicates.number(id.as_str()),
                attribute: names.attributes.number(&rules.id),
                attribute_id: rules.id.as_str().into(),
                rules,
            };
            (id, predicate)
        };
        predicates.into_iter().map(numbered).collect()
    }

    /// The releases of all answers were taken over.
    pub fn set_whole(&self) {
        self.is_whole.store(true, Ordering::Release);
    }

    /// Forgets who made cuts up to a day.
    pub fn forget_made(&self, today: Day) {
        let last = today.saturating_sub(YEAR_DAYS);
        self.shards.iter().for_each(|shard| locked(shard).forget_made(last));
    }

    /// The number of a caller.
    pub fn caller(&self, id: &CallerId) -> Number {
        locked(&self.names).callers.number(id.as_str())
    }

    /// What is known of a person, by attribute.
    pub fn intervals_of(&self, subject: SubjectNumber) -> Vec<(Arc<str>, Interval)> {
        let names = locked(&self.names);
        let known = (0..).zip(names.attributes.names()).filter_map(|(attribute, name)| {
            let key = Key { subject: subject.row(), attribute };
            Some((Arc::clone(name), self.shard(key).known.get(&key)?.told()?))
        });
        known.collect()
    }

    /// Who made which cuts about a person, by name, and on which day.
    pub fn cuts(&self, subject: SubjectNumber) -> Vec<CutMade> {
        let names = locked(&self.names);
        let mut cuts = Vec::new();
        for (attribute, _) in (0..).zip(names.attributes.names()) {
            let key = Key { subject: subject.row(), attribute };
            let shard = self.shard(key);
            let first = shard.known.get(&key).and_then(|known| known.made);
            for Made { caller, predicate, day, is_break_glass } in
                first.into_iter().chain(shard.more.get(&key).into_iter().flatten().copied())
            {
                let named = names.callers.name(caller).zip(names.predicates.name(predicate));
                cuts.extend(named.map(|(caller, predicate)| CutMade {
                    day: date_of(day),
                    caller: Arc::clone(caller),
                    predicate: Arc::clone(predicate),
                    is_break_glass,
                }));
            }
        }
        cuts.sort_unstable();
        cuts
    }

    /// Takes over what was told: of a release that is on record, and who made the cut if it was
    /// one.
    pub fn record(
        &self,
        subject: SubjectNumber,
        release: &Release,
        (caller, predicate): (&str, &str),
    ) {
        let Some(side) = release.side else { return };
        let day = day_number(release.asked_on);
        let (key, made) = {
            let mut names = locked(&self.names);
            let attribute = names.attributes.number(&release.attribute);
            let (caller, predicate) =
                (names.callers.number(caller), names.predicates.number(predicate));
            let is_break_glass = release.way == Way::BreakGlass;
            let made = Made { caller, predicate, day, is_break_glass };
            (Key { subject: subject.row(), attribute }, made)
        };
        let mut shard = self.shard(key);
        let known = shard.known.entry(key).or_insert(Known::NOTHING);
        if release.way != Way::BreakGlass {
            // What is on record was told, also where it contradicts something.
            let told = known.interval.told(release.day, side, release.asked_on);
            known.interval = told.unwrap_or(known.interval);
        }
        if release.way != Way::Implied {
            shard.add(key, made);
        }
    }

    /// Adds what is known of a person from before his number: of an erased one.
    pub fn remember(&self, subject: SubjectNumber, attribute: &str, interval: Interval) {
        let attribute = locked(&self.names).attributes.number(attribute);
        let key = Key { subject: subject.row(), attribute };
        let mut shard = self.shard(key);
        if shard.frozen.contains(&key.subject) {
            return;
        }
        let known = shard.known.entry(key).or_insert(Known::NOTHING);
        known.interval = known.interval.and(interval).unwrap_or(known.interval);
    }

    /// What is known of each attribute of a person who is about to be erased; from here on no
    /// question cuts there. None while an answer about him is awaited.
    pub fn freeze(&self, subject: SubjectNumber) -> Option<Vec<(Arc<str>, Interval)>> {
        let names = locked(&self.names);
        let row = subject.row();
        let mut shard = locked(&self.shards[row as usize % SHARDS]);
        if shard.open.keys().any(|key| key.subject == row) {
            return None;
        }
        shard.frozen.insert(row);
        let known = (0..).zip(names.attributes.names()).filter_map(|(attribute, name)| {
            let known = shard.known.get(&Key { subject: row, attribute })?;
            Some((Arc::clone(name), known.told()?))
        });
        Some(known.collect())
    }

    /// Ends what [`Self::freeze`] began. An erased person's number stays frozen: nobody gets it
    /// again, but a question may have taken it before.
    pub fn thaw(&self, subject: SubjectNumber, is_erased: bool) {
        let row = subject.row();
        let mut shard = locked(&self.shards[row as usize % SHARDS]);
        if is_erased {
            shard.forget_subjects(|subject| subject != row);
        } else {
            shard.frozen.remove(&row);
        }
    }

    /// Forgets the persons for whom `is_there` is false.
    pub fn forget_erased(&self, is_there: impl Fn(u32) -> bool) {
        self.shards.iter().for_each(|shard| locked(shard).forget_subjects(&is_there));
    }

    /// Forgets what is known of a person's attribute: the department has another record now, of
    /// which nothing was released. Who made how many cuts stays counted.
    pub fn forget(&self, subject: SubjectNumber, attribute: &str) {
        let attribute = locked(&self.names).attributes.number(attribute);
        let key = Key { subject: subject.row(), attribute };
        let mut shard = self.shard(key);
        if let Some(known) = shard.known.get_mut(&key) {
            known.interval = Interval::NOTHING;
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        locked(&self.shards[key.subject as usize % SHARDS])
    }
}

impl Default for Released {
    fn default() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { names: Mutex::default(), is_whole: AtomicBool::new(false), shards }
    }
}

impl Ledger {
    /// An exact predicate of a plan, if what was released is not known: it was not taken over when
    /// the ledger was made, because nothing was asked exactly then.
    pub fn unfollowed<'a>(&self, plan: &'a AdmissionPlan) -> Option<&'a PredicateId> {
        let is_whole = self.released.is_whole.load(Ordering::Acquire);
        plan.exact.first().map(|(id, _)| id).filter(|_| !is_whole)
    }

    /// What is known of a person, by attribute, and who made which cuts on which day.
    pub fn disclosed(&self, subject: SubjectNumber) -> Disclosed {
        Disclosed {
            intervals: self.released.intervals_of(subject),
            cuts: self.released.cuts(subject),
        }
    }

    /// Adds what is kept of a person who was erased and is asked about again.
    pub fn remember(&self, subject: SubjectNumber, attribute: &str, interval: Interval) {
        self.released.remember(subject, attribute, interval);
    }

    /// Forgets what is known of a person's attribute: the department has another record now, of
    /// which nothing was released. Who made how many cuts stays counted.
    pub fn rectify(&self, subject: SubjectNumber, attribute: &str) {
        self.released.forget(subject, attribute);
    }

    /// What is known of each attribute of a person about whom somebody acts; until [`Self::thaw`]
    /// nothing is told of him. None while an answer about him is awaited.
    pub fn freeze(&self, subject: SubjectNumber) -> Option<Vec<(Arc<str>, Interval)>> {
        self.released.freeze(subject)
    }

    /// Ends what [`Self::freeze`] began; of an erased person nothing is told under this number any
    /// more.
    pub fn thaw(&self, subject: SubjectNumber, is_erased: bool) {
        self.released.thaw(subject, is_erased);
    }

    /// Decides what becomes of an exact question, by what was released and is on its way.
    pub(crate) fn audit(self: &Arc<Self>, cutting: &Cutting<'_>) -> Result<Audited, NotReleased> {
        let Cutting { predicate, cut, today, caller, grant, .. } = *cutting;
        let is_break_glass = grant.is_break_glass;
        let key = Key { subject: cutting.subject.row(), attribute: predicate.attribute };
        let day = day_number(today);
        let by = Made { caller, predicate: predicate.number, day, is_break_glass };
        let mut shard = self.released.shard(key);
        shard.clear(by.day);
        if shard.frozen.contains(&key.subject) {
            return Err(NotReleased::TooLittleLeft);
        }
        let known = shard.known.get(&key).copied();
        let interval = known.map_or(Interval::NOTHING, |known| known.interval);
        let made = shard.made(key, by);
        let is_spent = made >= grant.cuts_per_year;
        let next = if is_break_glass {
            cutting.past(is_spent)?
        } else {
            cutting.within(&shard, key, interval, is_spent)?
        };
        let ask = match next {
            Next::Ask(ask) => ask,
            Next::Tell(implied) => return Ok(Audited::Implied(implied)),
        };
        if known.is_none() && shard.known.len() + shard.open.len() >= SHARD_COUNTS_MAX {
            return Err(NotReleased::Full);
        }
        let open = Open { day: ask.day, by };
        shard.open.entry(key).or_default().push(open);
        drop(shard);
        Ok(Audited::Cut(CutReservation {
            ledger: Arc::clone(self),
            key,
            open,
            cut,
            today,
            ask,
            attribute: Arc::clone(&predicate.attribute_id),
            is_last_granted: made + 1 >= grant.cuts_per_year,
            is_held: true,
        }))
    }
}

impl CutReservation {
    /// True if it is the last cut that the caller is granted about this person for a year. Known
    /// before the answer, so that it tells nothing of it.
    pub fn is_last_granted(&self) -> bool {
        self.is_last_granted
    }

    /// True if it passes the auditor.
    pub fn is_break_glass(&self) -> bool {
        self.open.by.is_break_glass
    }

    /// The date that the department is to be asked about: that of the question, or a later one.
    pub fn as_of(&self) -> Date {
        self.ask.as_of
    }

    /// The department has answered as of [`Self::as_of`]: from here on it counts as released.
    ///
    /// # Errors
    /// It contradicts what was released; nothing is changed, and the answer must not be given.
    pub fn settle(mut self, verdict: Verdict) -> Result<CutSettled, Contradiction> {
        let side = self.cut.side(verdict);
        let release = Release {
            attribute: Arc::clone(&self.attribute),
            day: self.open.day,
            side,
            way: if self.is_break_glass() { Way::BreakGlass } else { Way::Cut },
            asked_on: self.today,
        };
        let Some(side) = side else {
            return Ok(CutSettled { verdict, as_of: self.today, release });
        };
        let mut shard = self.ledger.released.shard(self.key);
        let known = shard.known.get(&self.key).copied().unwrap_or(Known::NOTHING);
        let told = known.interval.told(self.open.day, side, self.today).ok_or(Contradiction)?;
        // What others are told must not tell them what this caller alone was told.
        let interval = if self.is_break_glass() { known.interval } else { told };
        shard.known.insert(self.key, Known { interval, ..known });
        shard.add(self.key, self.open.by);
        shard.close(self.key, self.open);
        drop(shard);
        self.is_held = false;
        let (verdict, as_of) = match (self.ask.otherwise, side) {
            (None, _) => (verdict, self.today),
            (Some(_), Side::From) => (self.cut.verdict(Side::From), self.today),
            (Some(earlier), Side::Before) => (self.cut.verdict(Side::From), earlier),
        };
        Ok(CutSettled { verdict, as_of, release })
    }
}

impl Drop for CutReservation {
    fn drop(&mut self) {
        if self.is_held {
            self.ledger.released.shard(self.key).close(self.key, self.open);
        }
    }
}

impl std::fmt::Debug for CutReservation {
    /// Where it cuts is of a person.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CutReservation").finish_non_exhaustive()
    }
}

/// What becomes of an exact question.
enum Next {
    /// The department is asked.
    Ask(Ask),
    /// It follows from what was released.
    Tell(Implied),
}

impl Cutting<'_> {
    /// Past the auditor: the department is asked what the question says.
    fn past(&self, is_spent: bool) -> Result<Next, NotReleased> {
        if is_spent {
            return Err(self.spent());
        }
        let day = clamped(self.cut.day(self.today));
        Ok(Next::Ask(Ask { day, as_of: self.today, otherwise: None }))
    }

    /// Within the interval and what the caller is granted.
    fn within(
        &self,
        shard: &Shard,
        key: Key,
        interval: Interval,
        is_spent: bool,
    ) -> Result<Next, NotReleased> {
        let Self { predicate, cut, today, .. } = *self;
        let day = clamped(cut.day(today));
        if day <= interval.from {
            return Ok(Next::Tell(self.implied(Side::From, today, day)));
        }
        if day >= interval.until {
            return Ok(Next::Tell(self.implied(Side::Before, today, day)));
        }
        let has_room =
            |day| !is_spent && shard.has_room(key, interval, day, today, &predicate.rules);
        if has_room(day) {
            return Ok(Next::Ask(Ask { day, as_of: today, otherwise: None }));
        }
        // Cuts never go back in time: what is known is that the date lies after an earlier one.
        let is_known = interval.from != Interval::NOTHING.from;
        let latest = is_known.then(|| cut.latest(interval.from.into(), today)).flatten();
        let Some(earlier) = latest else {
            return Err(if is_spent { self.spent() } else { NotReleased::TooLittleLeft });
        };
        // Where an answer as of today would leave too little, one as of some weeks ahead may not:
        // if the date lies after that, it does so today, and on every day until then.
        Ok(match self.ahead(interval).filter(|(day, _)| has_room(*day)) {
            Some((day, as_of)) => Next::Ask(Ask { day, as_of, otherwise: Some(earlier) }),
            None => Next::Tell(self.implied(Side::From, earlier, clamped(cut.day(earlier)))),
        })
    }

    fn spent(&self) -> NotReleased {
        NotReleased::CutsSpent { granted: self.grant.cuts_per_year }
    }

    /// The answer as of a date, known because its cut at `day` has the date on that side.
    fn implied(&self, side: Side, as_of: Date, day: i32) -> Implied {
        let release = Release {
            attribute: Arc::clone(&self.predicate.attribute_id),
            day,
            side: Some(side),
            way: Way::Implied,
            asked_on: self.today,
        };
        Implied { verdict: self.cut.verdict(side), as_of, release }
    }

    /// The first cut that leaves enough days after the interval's beginning, and its date; none
    /// where the beginning is not known.
    fn ahead(&self, interval: Interval) -> Option<(i32, Date)> {
        let Self { cut, today, .. } = *self;
        let days_min = i64::from(self.predicate.rules.interval_days_min?);
        let target = i64::from(interval.from) + days_min;
        let horizon = today.saturating_add(jiff::Span::new().days(days_min + LEAP_DAYS));
        let date = cut.latest(target - 1, horizon)?.tomorrow().ok()?;
        let day = clamped(cut.day(date));
        (date > today && date <= horizon && day < interval.until).then_some((day, date))
    }
}

/// The calendar's days fit.
fn clamped(day: i64) -> i32 {
    i32::try_from(day).unwrap_or(if day < 0 { i32::MIN + 1 } else { i32::MAX - 1 })
}

/// The number of a civil day of this age.
pub(crate) fn day_number(date: Date) -> Day {
    Day::try_from((date - FIRST).get_days().max(0)).unwrap_or(Day::MAX)
}

fn date_of(day: Day) -> Date {
    FIRST.saturating_add(jiff::Span::new().days(day))
}

const FIRST: Date = date(1970, 1, 1);
/// Days by which calendar months and years lead from one date to another at most.
const LEAP_DAYS: i64 = 4;

#[cfg(test)]
mod tests;
