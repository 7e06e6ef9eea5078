//! An attribute of records: how people are spread over its values, and how answers divide it.

use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;

use crate::verdict::Verdict;

/// An attribute that questions cut, with what is published of how many people have which value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The word in predicates' entries.
    pub id: String,
    /// English title.
    pub title_en: String,
    /// Chinese title.
    pub title_zh: String,
    /// Fewest people that answers may leave together in one cell of values.
    pub cell_people_min: u64,
    /// Fewest days that exact answers may leave of where somebody's value lies; `Some` exactly
    /// where the attribute is asked about exactly.
    pub interval_days_min: Option<u32>,
    /// How many people have which value.
    pub people: Histogram,
    /// Another attribute that this one follows from: a cut of this one cuts that one too.
    pub follows: Option<Follows>,
}

/// A date that comes a number of years after another one, as a law says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follows {
    /// The attribute that it follows from.
    pub attribute: String,
    /// How many years it comes later.
    pub years: i64,
}

/// Attributes whose answers are looked at together: who has one rare value and another one is rarer
/// still. Their values are taken to be independent of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Its name.
    pub id: String,
    /// The attributes.
    pub attributes: Vec<String>,
    /// Fewest people that answers about all of them may leave together.
    pub cell_people_min: u64,
}

/// What all questions about an attribute leave at the finest, whoever asks them for five years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinestCells {
    /// Width of the narrowest cell, in days, in what is counted or in codes.
    pub narrowest: i64,
    /// Fewest people in a cell, by the histogram, rounded down.
    pub people_min: u64,
}

/// People by value, in buckets of which each reaches to the beginning of the next. Within a bucket
/// they are taken to be spread evenly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Histogram {
    /// The values are dates, given as days since 1 January 1970.
    Dates(Buckets),
    /// The values are counts, of months for one.
    Counts(Buckets),
    /// The values are codes, each with its people.
    Codes(Vec<(String, u64)>),
}

impl Histogram {
    /// All people in it.
    pub fn everybody(&self) -> u64 {
        match self {
            Self::Dates(buckets) | Self::Counts(buckets) => {
                buckets.from.iter().map(|(_, people)| *people).sum()
            }
            Self::Codes(codes) => codes.iter().map(|(_, people)| *people).sum(),
        }
    }
}

/// Ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    /// Where each begins, and its people.
    pub from: Vec<(i64, u64)>,
    /// Where the last one ends.
    pub until: i64,
}

impl Buckets {
    /// People with a value from `from` to before `until`.
    pub fn between(&self, from: i64, until: i64) -> f64 {
        let ends = self.from.iter().skip(1).map(|(from, _)| *from).chain([self.until]);
        let parts = self.from.iter().zip(ends).map(|((begin, people), end)| {
            let common = until.min(end).saturating_sub(from.max(*begin)).max(0);
            *people as f64 * common as f64 / (end - begin) as f64
        });
        parts.sum()
    }

    /// People with a value from `from` to before `until`, where from the end on there are as many a
    /// day as in the last bucket that has any.
    pub fn between_going_on(&self, from: i64, until: i64) -> f64 {
        let later = until.saturating_sub(from.max(self.until)).max(0);
        self.between(from, until) + self.last_a_day() * later as f64
    }

    fn last_a_day(&self) -> f64 {
        let ends = self.from.iter().skip(1).map(|(from, _)| *from).chain([self.until]);
        let peopled = self.from.iter().zip(ends).filter(|((_, people), _)| *people > 0);
        peopled.last().map_or(0.0, |((begin, people), end)| *people as f64 / (end - begin) as f64)
    }

    /// The same people, and from the end on as many a day as in the last bucket that has any.
    pub(super) fn going_on_until(&self, until: i64) -> Self {
        let more = self.last_a_day() * until.saturating_sub(self.until).max(0) as f64;
        let mut from = self.from.clone();
        from.push((self.until, more as u64));
        Self { from, until: until.max(self.until + 1) }
    }
}

/// How a predicate's answer divides the values of its attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Where, as of a date.
    pub unit: CutUnit,
    /// The integer parameter that is the threshold; none where it is always the same.
    pub parameter: Option<Arc<str>>,
    /// The thresholds, from the parameter's closed set or the one that is always the same.
    pub thresholds: Vec<i64>,
    /// Where the value lies if the answer is `yes`.
    pub yes: Side,
}

/// How a predicate's answer divides an attribute of codes: whom it is `yes` of from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCut {
    /// True if it is `yes` of whose code begins with the asked one; false if of who has that one.
    pub begins: bool,
    /// The codes that can be asked about.
    pub codes: Vec<String>,
}

/// Where a value lies, seen from a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Before the cut.
    Before,
    /// At the cut or after it.
    From,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Before, Self::From];

    /// The word in catalogue files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::From => "from",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Before => Self::From,
            Self::From => Self::Before,
        }
    }
}

/// Where an exact question cuts the values of its attribute, which are dates that never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactCut {
    /// What the threshold counts.
    pub unit: CutUnit,
    /// How many of it.
    pub threshold: i64,
    /// Where the value lies if the answer is `yes`.
    pub yes: Side,
}

impl ExactCut {
    /// The first day, since 1 January 1970, on the later side of the cut as of a date. It never
    /// goes back as the date goes on.
    pub fn day(&self, as_of: Date) -> i64 {
        self.unit.value(self.threshold, as_of, as_of)
    }

    /// The latest date up to `until` whose cut lies at `day` or before. None if the calendar has
    /// none.
    pub fn latest(&self, day: i64, until: Date) -> Option<Date> {
        let span = jiff::Span::new();
        let span = match self.unit {
            CutUnit::YearsBefore => span.years(self.threshold),
            CutUnit::MonthsBefore => span.months(self.threshold),
            CutUnit::DaysBefore => span.days(self.threshold),
            CutUnit::AtLeastMonths => return None,
        };
        // The cut of a date lies a day after the one so long before it. By at most some days wrong,
        // where months have different lengths.
        let mut date = date_of(day.saturating_sub(1)).saturating_add(span).min(until);
        while self.day(date) > day {
            date = date.yesterday().ok()?;
        }
        while date < until && self.day(date.saturating_add(1.day())) <= day {
            date = date.saturating_add(1.day());
        }
        Some(date)
    }

    /// What is answered about a value on that side.
    pub fn verdict(&self, side: Side) -> Verdict {
        if side == self.yes { Verdict::Yes } else { Verdict::No }
    }

    /// Where the value lies by an answer; none if it does not say.
    pub fn side(&self, verdict: Verdict) -> Option<Side> {
        match verdict {
            Verdict::Yes => Some(self.yes),
            Verdict::No => Some(self.yes.other()),
            Verdict::Undetermined => None,
        }
    }
}

/// What a threshold counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutUnit {
    /// Calendar years before the date that the answer is about.
    YearsBefore,
    /// Calendar months before it.
    MonthsBefore,
    /// Days before it.
    DaysBefore,
    /// The value itself, which grows by at most one a calendar month.
    AtLeastMonths,
}

impl CutUnit {
    /// Every unit.
    pub const ALL: [Self; 4] =
        [Self::YearsBefore, Self::MonthsBefore, Self::DaysBefore, Self::AtLeastMonths];

    /// The key in catalogue files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::YearsBefore => "years_before",
            Self::MonthsBefore => "months_before",
            Self::DaysBefore => "days_before",
            Self::AtLeastMonths => "at_least_months",
        }
    }

    /// The largest threshold: two hundred years.
    pub(super) fn threshold_max(self) -> i64 {
        match self {
            Self::YearsBefore => 200,
            Self::MonthsBefore | Self::AtLeastMonths => 2_400,
            Self::DaysBefore => 73_000,
        }
    }

    /// A threshold in years, rounded up.
    pub(super) fn in_years(self, threshold: i64) -> i64 {
        match self {
            Self::YearsBefore => threshold,
            Self::MonthsBefore | Self::AtLeastMonths => threshold / 12 + 1,
            Self::DaysBefore => threshold / 365 + 1,
        }
    }

    /// A threshold in days, where years and months are the shortest there are.
    pub(super) fn days_min(self, threshold: i64) -> i64 {
        match self {
            Self::YearsBefore => threshold * 365,
            Self::MonthsBefore | Self::AtLeastMonths => threshold * 28,
            Self::DaysBefore => threshold,
        }
    }

    /// What a threshold is, in a sentence.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::YearsBefore => "years",
            Self::MonthsBefore | Self::AtLeastMonths => "months",
            Self::DaysBefore => "days",
        }
    }

    /// The least value that the other answer has: the day, since 1970, after the last one for which
    /// it is `yes`; or the count at `begin` of somebody who has the threshold `as_of`.
    pub(super) fn value(self, threshold: i64, as_of: Date, begin: Date) -> i64 {
        let before = |span: jiff::Span| days_since_1970(as_of.saturating_sub(span)) + 1;
        let span = jiff::Span::new();
        match self {
            Self::YearsBefore => before(span.years(threshold)),
            Self::MonthsBefore => before(span.months(threshold)),
            Self::DaysBefore => before(span.days(threshold)),
            Self::AtLeastMonths => threshold - months_between(begin, as_of),
        }
    }
}

/// What an exact answer tells of somebody's date, to whomever it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The attribute that was cut.
    pub attribute: Arc<str>,
    /// The first day, since 1 January 1970, on the later side of the cut.
    pub day: i32,
    /// On which side the date lies; none where the answer was `undetermined`.
    pub side: Option<Side>,
    /// How the answer came about.
    pub way: Way,
    /// The civil day of the question. No date lies after it.
    pub asked_on: Date,
}

/// How an exact answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It follows from what was released; nobody was asked.
    Implied,
    /// The department was asked, and what it said counts as released to everybody.
    Cut,
    /// The department was asked past the auditor, and what it said stays with the caller.
    BreakGlass,
}

/// Days since 1 January 1970.
pub(super) fn days_since_1970(date: Date) -> i64 {
    // Quicker than by a span.
    date.duration_since(FIRST).as_hours() / 24
}

/// The date of so many days since 1 January 1970.
pub(super) fn date_of(days: i64) -> Date {
    FIRST.saturating_add(jiff::Span::new().try_days(days).unwrap_or_default())
}

fn months_between(begin: Date, end: Date) -> i64 {
    i64::from(end.year() - begin.year()) * 12 + i64::from(end.month() - begin.month())
}

const FIRST: Date = jiff::civil::date(1970, 1, 1);
