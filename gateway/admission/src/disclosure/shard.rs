//! What is kept of each person: an interval, who made cuts, and the cuts on their way.
//!
//! Owns the arithmetic of intervals and of room in them. It knows nothing of names, policies or the
//! log.

use std::collections::{HashMap, HashSet};

use jiff::civil::Date;
use jumpgate_catalogue::{Attribute, Histogram, Side};
use smallvec::SmallVec;

use super::FIRST;
use crate::ledger::Day;
use crate::numbered::Number;

/// A part of all persons.
#[derive(Default)]
pub(super) struct Shard {
    pub known: Map<Known>,
    /// Of those of whom more than one cut was made within a year, the others.
    pub more: Map<SmallVec<[Made; 2]>>,
    /// Subjects who are erased, or about whom somebody acts.
    pub frozen: HashSet<u32>,
    /// Cuts whose answer is awaited.
    pub open: Map<SmallVec<[Open; 2]>>,
    /// The day on which it was last cleared of cuts that are a year old.
    pub cleared: Day,
}

/// By person and attribute. Their numbers are the log's and the gateway's own and no caller chooses
/// one, so that a quick hash will do; it is always the same one, so that a snapshot in the order of
/// one map fills another from its beginning to its end.
type Map<V> = HashMap<Key, V, foldhash::fast::FixedState>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub subject: u32,
    pub attribute: Number,
}

/// Kept small: there is one for each person and attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub interval: Interval,
    pub made: Option<Made>,
}

/// The days since 1 January 1970, from one to before another, among which the date is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The first day; the least number where nothing is known.
    pub from: i32,
    /// The day after the last one; the largest number where nothing is known.
    pub until: i32,
}

/// A cut that was made, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Made {
    pub caller: Number,
    pub predicate: Number,
    pub day: Day,
    /// True if it was made past the auditor: it is counted apart, and tells nobody else anything.
    pub is_break_glass: bool,
}

/// A cut that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub day: i32,
    pub by: Made,
}

impl Shard {
    /// True if the cut leaves enough on both of its sides, whatever the answers are that are
    /// awaited. The same cut asked twice tells no more than once.
    pub fn has_room(
        &self,
        key: Key,
        interval: Interval,
        day: i32,
        today: Date,
        rules: &Attribute,
    ) -> bool {
        let open = self.open.get(&key).map_or(&[][..], |open| open);
        let days = || open.iter().filter(|it| !it.by.is_break_glass).map(|it| it.day);
        if days().any(|it| it == day) {
            return true;
        }
        let from = days().filter(|it| *it < day).fold(interval.from, i32::max);
        let until = interval.until.min(day_after(today));
        let until = days().filter(|it| *it > day).fold(until, i32::min);
        let days_min = rules.interval_days_min.map_or(i64::MAX, Into::into);
        let Histogram::Dates(people) = &rules.people else { return false };
        let is_enough = |from: i32, until: i32| {
            let (from, until) = (i64::from(from), i64::from(until));
            until - from >= days_min
                && people.between_going_on(from, until) >= rules.cell_people_min as f64
        };
        is_enough(from, day) && is_enough(day, until)
    }

    /// Cuts of the same caller and way within 365 days, those on their way included.
    pub fn made(&self, key: Key, by: Made) -> u32 {
        let since = by.day.saturating_sub(YEAR_DAYS);
        let is_alike = |it: &Made| {
            (it.caller, it.is_break_glass) == (by.caller, by.is_break_glass) && it.day > since
        };
        let first = self.known.get(&key).and_then(|known| known.made);
        let more = self.more.get(&key).into_iter().flatten().copied();
        let open = self.open.get(&key).into_iter().flatten().map(|open| open.by);
        let alike = first.into_iter().chain(more).chain(open).filter(is_alike);
        u32::try_from(alike.count()).unwrap_or(u32::MAX)
    }

    pub fn forget_subjects(&mut self, is_there: impl Fn(u32) -> bool) {
        self.known.retain(|key, _| is_there(key.subject));
        self.more.retain(|key, _| is_there(key.subject));
    }

    pub fn add(&mut self, key: Key, made: Made) {
        let Some(known) = self.known.get_mut(&key) else { return };
        match known.made {
            None => known.made = Some(made),
            Some(_) => self.more.entry(key).or_default().push(made),
        }
    }

    pub fn close(&mut self, key: Key, open: Open) {
        let Some(all) = self.open.get_mut(&key) else { return };
        if let Some(at) = all.iter().position(|it| *it == open) {
            all.remove(at);
        }
        if all.is_empty() {
            self.open.remove(&key);
        }
    }

    /// Forgets, once a day, who made cuts a year ago.
    pub fn clear(&mut self, today: Day) {
        if self.cleared == today {
            return;
        }
        self.cleared = today;
        self.forget_made(today.saturating_sub(YEAR_DAYS));
    }

    /// Forgets who made cuts up to a day.
    pub fn forget_made(&mut self, last: Day) {
        for known in self.known.values_mut() {
            known.made = known.made.filter(|made| made.day > last);
        }
        let known = &mut self.known;
        self.more.retain(|key, more| {
            more.retain(|made| made.day > last);
            if let Some(known) = known.get_mut(key).filter(|known| known.made.is_none()) {
                known.made = more.pop();
            }
            !more.is_empty()
        });
        // Nothing is kept of whom nothing was released and nobody's cuts count any more.
        self.known.retain(|_, known| known.made.is_some() || known.told().is_some());
    }
}

impl Known {
    pub const NOTHING: Self = Self { interval: Interval::NOTHING, made: None };

    /// What was released, if anything was.
    pub fn told(&self) -> Option<Interval> {
        Some(self.interval).filter(|interval| *interval != Interval::NOTHING)
    }
}

impl Interval {
    /// What is known before anything is released.
    pub const NOTHING: Self = Self { from: i32::MIN, until: i32::MAX };

    /// What is left if the date lies on that side of a cut; none if nothing is.
    pub(super) fn narrowed(self, day: i32, side: Side) -> Option<Self> {
        self.and(match side {
            Side::Before => Self { until: day, ..Self::NOTHING },
            Side::From => Self { from: day, ..Self::NOTHING },
        })
    }

    /// What is left after an answer on that day; none if nothing is. No date lies after the day on
    /// which it was asked about.
    pub(super) fn told(self, day: i32, side: Side, asked_on: Date) -> Option<Self> {
        self.narrowed(day, side)?.narrowed(day_after(asked_on), Side::Before)
    }

    /// What is left of both; none if nothing is.
    pub fn and(self, other: Self) -> Option<Self> {
        let (from, until) = (self.from.max(other.from), self.until.min(other.until));
        (from < until).then_some(Self { from, until })
    }

    /// How many days it has.
    pub fn days(self) -> i64 {
        i64::from(self.until) - i64::from(self.from)
    }
}

pub(super) fn day_after(date: Date) -> i32 {
    (date - FIRST).get_days() + 1
}

/// What a yearly number of cuts is counted in, the day of the question included.
pub(super) const YEAR_DAYS: Day = 365;
