//! How many questions were asked on which civil days.
//!
//! Owns the count of one thing over the last 90 days and the two sums that allotments are compared
//! with. It reads no clock: a day is a number.

use smallvec::SmallVec;

use crate::settings::Allotment;

/// A civil day, counted from 1 January 1970.
pub(crate) type Day = u16;

/// The longer of the two spans that allotments are given for, today included.
pub(crate) const PERIOD_DAYS: Day = 90;

/// Questions by civil day, ascending; none without a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Days(SmallVec<[(Day, u32); 2]>);

/// Of which of its two spans an allotment is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    Day,
    Period,
}

/// What is left of an allotment in one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub span: Span,
    pub allotted: u32,
    pub remaining: u32,
    /// If something is left, the day on which all of it is there again, else the first day on which
    /// there is something.
    pub from: Day,
}

impl Days {
    /// Questions on that day.
    pub fn on(&self, day: Day) -> u32 {
        self.0.iter().find(|(at, _)| *at == day).map_or(0, |(_, count)| *count)
    }

    /// Questions in the 90 days that end with `today`, and of later days: a clock that was ahead
    /// has counted them, and they were asked.
    pub fn until(&self, today: Day) -> u32 {
        let counts = self.0.iter().filter(|(day, _)| *day >= first_until(today));
        counts.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Counts a question.
    pub fn add(&mut self, day: Day) {
        match self.0.binary_search_by_key(&day, |(at, _)| *at) {
            Ok(place) => self.0[place].1 = self.0[place].1.saturating_add(1),
            Err(place) => self.0.insert(place, (day, 1)),
        }
    }

    /// Counts a question on another day, or no more.
    pub fn shift(&mut self, from: Day, to: Option<Day>) {
        self.take_back(from);
        if let Some(to) = to {
            self.add(to);
        }
    }

    /// Takes back what [`Self::add`] counted.
    fn take_back(&mut self, day: Day) {
        if let Ok(place) = self.0.binary_search_by_key(&day, |(at, _)| *at) {
            self.0[place].1 = self.0[place].1.saturating_sub(1);
            if self.0[place].1 == 0 {
                self.0.remove(place);
            }
        }
    }

    /// Forgets the days before `first`.
    pub fn forget_before(&mut self, first: Day) {
        self.0.retain(|(day, _)| *day >= first);
    }

    /// The counts by day, ascending.
    pub fn counts(&self) -> &[(Day, u32)] {
        &self.0
    }

    /// What [`Self::counts`] gave; none if it did not.
    pub fn of_counts(counts: SmallVec<[(Day, u32); 2]>) -> Option<Self> {
        let is_sound = counts.iter().all(|(_, count)| *count > 0)
            && counts.is_sorted_by(|one, next| one.0 < next.0);
        is_sound.then_some(Self(counts))
    }

    /// True if nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left of `allotment` today, in each span.
    pub fn left(&self, allotment: &Allotment, today: Day) -> [Left; 2] {
        let spans = [
            (Span::Day, allotment.per_day, self.on(today)),
            (Span::Period, allotment.per_90_days, self.until(today)),
        ];
        spans.map(|(span, allotted, used)| {
            let remaining = allotted.saturating_sub(used);
            let from = match span {
                Span::Day => today.saturating_add(1),
                Span::Period => self.free_from(if remaining > 0 { 1 } else { allotted }, today),
            };
            Left { span, allotted, remaining, from }
        })
    }

    /// The first day at whose beginning fewer than `fewer_than` questions are within 90 days, if
    /// none comes before.
    fn free_from(&self, fewer_than: u32, today: Day) -> Day {
        let mut within = self.until(today);
        for (day, count) in self.0.iter().filter(|(day, _)| *day >= first_until(today)) {
            if within < fewer_than {
                break;
            }
            within = within.saturating_sub(*count);
            if within < fewer_than {
                return day.saturating_add(PERIOD_DAYS);
            }
        }
        today
    }
}

/// The first of the 90 days that end with `today`.
pub(crate) fn first_until(today: Day) -> Day {
    today.saturating_sub(PERIOD_DAYS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(counts: &[(Day, u32)]) -> Days {
        let mut days = Days::default();
        for (day, count) in counts {
            (0..*count).for_each(|_| days.add(*day));
        }
        days
    }

    #[test]
    fn the_two_spans_are_counted_apart_and_each_says_when_it_is_free() {
        let allotment = Allotment { per_day: 3, per_90_days: 5 };
        let used = days(&[(1000, 2), (1010, 2)]);
        let [day, period] = used.left(&allotment, 1010);
        assert_eq!((day.remaining, day.from), (1, 1011));
        assert_eq!((period.remaining, period.from), (1, 1100), "whole when the last day has left");
        let used = days(&[(1000, 2), (1010, 2), (1011, 1)]);
        let [day, period] = used.left(&allotment, 1089);
        assert_eq!((day.remaining, period.remaining), (3, 0));
        assert_eq!(period.from, 1090, "the first day leaves");
        assert_eq!(used.left(&allotment, 1090)[1].remaining, 2);
        assert_eq!(used.left(&allotment, 1101)[1].remaining, 5);
    }

    #[test]
    fn what_is_taken_back_was_never_there_and_old_days_are_forgotten() {
        let mut used = days(&[(1000, 1), (1089, 2)]);
        assert_eq!(used.until(1089), 3);
        used.take_back(1089);
        used.take_back(999);
        assert_eq!(used.until(1089), 2);
        used.add(1090);
        used.forget_before(first_until(1090));
        assert_eq!(used, days(&[(1089, 1), (1090, 1)]));
        used.take_back(1089);
        used.take_back(1090);
        assert!(used.is_empty());
        let early = days(&[(5, 1), (3, 1)]);
        assert_eq!((early.until(5), early.until(4)), (2, 2), "no day is before the first");
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_while_does_not_end_the_counting() {
        let allotment = Allotment { per_day: 2, per_90_days: 4 };
        let mut used = days(&[(1365, 1)]);
        for (day, remaining) in [(1001, 2), (1002, 1)] {
            used.add(day);
            let [of_day, period] = used.left(&allotment, day);
            assert_eq!((of_day.remaining, period.remaining), (1, remaining));
        }
    }

    #[test]
    fn a_lowered_allotment_is_free_when_enough_days_have_left() {
        let used = days(&[(1000, 4), (1001, 4), (1002, 4)]);
        let allotment = Allotment { per_day: 1, per_90_days: 5 };
        assert_eq!(used.left(&allotment, 1003)[1].from, 1091, "four are left then");
    }
}
