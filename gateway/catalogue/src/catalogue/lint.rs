//! What all answers about an attribute leave together: never fewer people than its entry says.
//!
//! Owns the check of a catalogue's grids. It takes every threshold of every predicate that cuts the
//! attribute or one that follows from it, in all departments, as of every cell's first day, for so
//! long that the thresholds sweep over each other's places: whoever asks all of it of everybody
//! divides the values there. Between two neighbouring cuts there must be enough people by the
//! published histogram. It looks at no record, and refuses the catalogue and not the citizen.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;

use super::attribute::{
    Attribute, Buckets, Cut, CutUnit, FinestCells, Histogram, date_of, days_since_1970,
};
use super::predicate::{Cell, Clock, Predicate};

mod codes;
mod joint;

use codes::Codes;
pub(super) use joint::{fewest_together, together};

/// Two cuts with too few people between them, and what would be right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Collision {
    /// The predicate that is to be changed.
    pub predicate: Arc<Predicate>,
    pub rule: String,
    pub mend: String,
}

/// One threshold of one predicate.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    predicate: &'a Arc<Predicate>,
    unit: CutUnit,
    threshold: i64,
    cell: Cell,
    /// Years that the predicate's own attribute comes later.
    later_years: i64,
}

/// The sources of one attribute, and what they are held against.
struct Axis<'a> {
    attribute: &'a Attribute,
    /// The histogram, with its last bucket going on to the end of the asking: people are born and
    /// move then too.
    people: Buckets,
    begin: Date,
    end: Date,
    sources: Vec<Source<'a>>,
}

/// A cell between two cuts, and whose they are.
struct Between {
    from: i64,
    until: i64,
    people: f64,
    left: usize,
    right: usize,
}

/// The collisions of the predicates that cut the attribute, or one that follows from it: the worst
/// of each pair of thresholds, at most [`TOLD_MAX`]. More thresholds than can be looked at are a
/// collision too.
pub(super) fn collisions(
    attribute: &Attribute,
    all: &BTreeMap<String, Attribute>,
    predicates: &[Arc<Predicate>],
) -> Vec<Collision> {
    if let Histogram::Codes(people) = &attribute.people {
        return Codes::new(attribute, people, predicates).collisions();
    }
    let axis = Axis::new(attribute, all, predicates);
    if let Some(last) = axis.sources.get(SOURCES_MAX) {
        return vec![too_many(attribute, last.predicate)];
    }
    let mut worst: BTreeMap<(usize, usize), Between> = BTreeMap::new();
    for small in axis.cells().into_iter().filter(|cell| axis.is_small(cell.people)) {
        let pair = (small.left.min(small.right), small.left.max(small.right));
        match worst.get(&pair) {
            Some(known) if known.people <= small.people => {}
            Some(_) | None => drop(worst.insert(pair, small)),
        }
    }
    worst.into_values().take(TOLD_MAX).map(|small| axis.tell(&small)).collect()
}

fn too_many(attribute: &Attribute, predicate: &Arc<Predicate>) -> Collision {
    Collision {
        predicate: Arc::clone(predicate),
        rule: format!("{} has more than {SOURCES_MAX} thresholds or codes in all", attribute.id),
        mend: "remove some".to_owned(),
    }
}

/// The narrowest cell that all questions about the attribute leave, and the fewest people in one;
/// none if nothing cuts it.
pub(super) fn finest(
    attribute: &Attribute,
    all: &BTreeMap<String, Attribute>,
    predicates: &[Arc<Predicate>],
) -> Option<FinestCells> {
    if let Histogram::Codes(people) = &attribute.people {
        let codes = Codes::new(attribute, people, predicates);
        let cells = codes.cells(None).into_iter().filter(|cell| cell.people > 0);
        let sizes = cells.map(|cell| (cell.codes.len() as i64, cell.people));
        let sizes: Vec<(i64, u64)> = sizes.filter(|_| !codes.sources.is_empty()).collect();
        return Some(FinestCells {
            narrowest: sizes.iter().map(|(codes, _)| *codes).min()?,
            people_min: sizes.iter().map(|(_, people)| *people).min()?,
        });
    }
    let cells = Axis::new(attribute, all, predicates).cells();
    let narrowest = cells.iter().map(|cell| cell.until - cell.from).min()?;
    let people = cells.iter().map(|cell| cell.people).fold(f64::INFINITY, f64::min);
    Some(FinestCells { narrowest, people_min: people as u64 })
}

/// How many years `other` comes after the attribute; none if it does not follow from it.
pub(super) fn later_years(
    attribute: &Attribute,
    all: &BTreeMap<String, Attribute>,
    other: &str,
) -> Option<i64> {
    let (mut at, mut years) = (other, 0_i64);
    // A chain is no longer than there are attributes, also where it goes in a circle.
    for _ in 0..=all.len() {
        if at == attribute.id {
            return Some(years);
        }
        let follows = all.get(at)?.follows.as_ref()?;
        years = years.saturating_add(follows.years).min(YEARS_MAX);
        at = &follows.attribute;
    }
    None
}

fn sources(predicate: &Arc<Predicate>, later_years: i64) -> impl Iterator<Item = Source<'_>> {
    let Predicate { cut, cell, clock, .. } = &**predicate;
    let on_grid = cut.as_ref().zip(*cell).filter(|_| *clock == Clock::Grid);
    let thresholds = on_grid.map(move |(Cut { unit, thresholds, .. }, cell)| {
        thresholds.iter().map(move |threshold| Source {
            predicate,
            unit: *unit,
            threshold: *threshold,
            cell,
            later_years,
        })
    });
    thresholds.into_iter().flatten()
}

impl<'a> Axis<'a> {
    fn new(
        attribute: &'a Attribute,
        all: &BTreeMap<String, Attribute>,
        predicates: &'a [Arc<Predicate>],
    ) -> Self {
        let later_years = |predicate: &Predicate| later_years(attribute, all, &predicate.attribute);
        let on_it = predicates.iter().filter_map(|it| Some((it, later_years(it)?)));
        let sources: Vec<Source<'_>> =
            on_it.flat_map(|(predicate, later_years)| sources(predicate, later_years)).collect();
        let years = sources.iter().map(|it| it.unit.in_years(it.threshold) + it.later_years);
        let (least, most) =
            years.fold((i64::MAX, 0), |(least, most), it| (least.min(it), most.max(it)));
        let spread = most.saturating_sub(least).clamp(0, YEARS_MAX);
        let (begin, buckets) = match &attribute.people {
            Histogram::Dates(buckets) => (date_of(buckets.until), buckets.clone()),
            Histogram::Counts(buckets) => (BEGIN, buckets.clone()),
            // Of codes nothing lies on an axis.
            Histogram::Codes(_) => (BEGIN, Buckets { from: Vec::new(), until: 0 }),
        };
        let end = begin.saturating_add((ASKING_YEARS + spread).years());
        let people = match attribute.people {
            // Those who come after the last question are not few, and nothing divides them.
            Histogram::Dates(_) => buckets.going_on_until(days_since_1970(end) + CELL_DAYS_MAX),
            Histogram::Counts(_) | Histogram::Codes(_) => buckets,
        };
        Self { attribute, people, begin, end, sources }
    }

    fn is_small(&self, people: f64) -> bool {
        // Where nobody is by the histogram, nobody is divided.
        people > 0.0 && people < self.attribute.cell_people_min as f64
    }

    /// The cells between neighbouring cuts. Where the axis ends there is nobody, and a cut there
    /// divides nothing.
    fn cells(&self) -> Vec<Between> {
        let begin = self.people.from.first().map_or(self.people.until, |(from, _)| *from);
        let until = self.people.until;
        let mut cuts: BTreeMap<i64, usize> = BTreeMap::new();
        for (at, source) in self.sources.iter().enumerate() {
            for value in self.values(source) {
                cuts.entry(value).or_insert(at);
            }
        }
        if begin.saturating_add(1) >= until {
            return Vec::new();
        }
        let inside: Vec<(i64, usize)> =
            cuts.range(begin + 1..until).map(|(value, at)| (*value, *at)).collect();
        let (Some(first), Some(last)) = (inside.first(), inside.last()) else { return Vec::new() };
        let outer = [(begin, first.0, first.1, first.1), (last.0, until, last.1, last.1)];
        let inner = inside.windows(2).map(|pair| (pair[0].0, pair[1].0, pair[0].1, pair[1].1));
        let cells = outer.into_iter().chain(inner);
        let counted = cells.map(|(from, until, left, right)| {
            let people = self.people.between(from, until);
            Between { from, until, people, left, right }
        });
        counted.collect()
    }

    /// Where a threshold divides the values, as of each cell's first day.
    fn values(&self, source: &Source<'_>) -> impl Iterator<Item = i64> + use<> {
        let Source { unit, threshold, cell, later_years, .. } = *source;
        let (begin, end) = (self.begin, self.end);
        let mut as_of = Some(cell.first_day(begin));
        let days = std::iter::from_fn(move || {
            let day = as_of.filter(|day| *day < end)?;
            as_of = cell.first_day_of_next(day);
            Some(day)
        });
        days.map(move |as_of| {
            let value = unit.value(threshold, as_of, begin);
            if later_years == 0 { value } else { earlier(value, later_years) }
        })
    }

    fn tell(&self, small: &Between) -> Collision {
        // The one that stands later is the one that was added.
        let (changed, other) = (small.left.max(small.right), small.left.min(small.right));
        let (changed_at, changed, other) = (changed, self.sources[changed], self.sources[other]);
        let id = &self.attribute.id;
        let people = small.people.floor();
        let (from, until) = (self.shown(small.from), self.shown(small.until));
        let (unit, of_other) = (changed.unit.in_words(), other.unit.in_words());
        let (own, others) = (changed.threshold, other.threshold);
        let cause = if small.left == small.right {
            format!("{own} {unit} divide {id}")
        } else {
            format!("{own} {unit} and {others} {of_other} of {} divide {id}", other.predicate.id)
        };
        let min = self.attribute.cell_people_min;
        let rule = format!(
            "{cause} so that about {people} people are left from {from} to before {until}, and \
             cell_people_min is {min}"
        );
        let mend = self
            .nearest(changed_at)
            .map(|it| format!("the nearest threshold that passes beside the others is {it}"))
            .or_else(|| self.coarser(&changed))
            .unwrap_or_else(|| format!("remove {own} from its set"));
        Collision { predicate: Arc::clone(changed.predicate), rule, mend }
    }

    /// The threshold nearest to this one that makes no small cell beside the others as they are.
    fn nearest(&self, changed: usize) -> Option<i64> {
        let others = self.sources.iter().enumerate().filter(|(at, _)| *at != changed);
        let mut cuts: Vec<i64> = others.flat_map(|(_, source)| self.values(source)).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let source = self.sources[changed];
        let steps = (1..=STEPS_MAX)
            .flat_map(|step| [source.threshold - step, source.threshold + step])
            .filter(|threshold| *threshold > 0);
        let mut tried = steps.map(|threshold| Source { threshold, ..source });
        let is_taken = |tried: &Source<'_>| {
            self.sources.iter().any(|it| (it.unit, it.threshold) == (tried.unit, tried.threshold))
        };
        tried.find(|it| !is_taken(it) && self.fits(it, &cuts)).map(|it| it.threshold)
    }

    /// True if each cell beside a cut of this source has enough people, and anybody is divided.
    fn fits(&self, tried: &Source<'_>, others: &[i64]) -> bool {
        let begin = self.people.from.first().map_or(self.people.until, |(from, _)| *from);
        let until = self.people.until;
        let mut own: Vec<i64> =
            self.values(tried).filter(|it| begin < *it && *it < until).collect();
        own.sort_unstable();
        own.dedup();
        let neighbours = |value: i64| {
            let below = |cuts: &[i64]| {
                let at = cuts.partition_point(|it| *it < value);
                at.checked_sub(1).and_then(|at| cuts.get(at)).copied()
            };
            let above = |cuts: &[i64]| {
                let at = cuts.partition_point(|it| *it <= value);
                cuts.get(at).copied()
            };
            let left = below(others).into_iter().chain(below(&own)).fold(begin, i64::max);
            let right = above(others).into_iter().chain(above(&own)).fold(until, i64::min);
            (left, right)
        };
        let is_roomy = |value: &i64| {
            let (left, right) = neighbours(*value);
            let beside = [self.people.between(left, *value), self.people.between(*value, right)];
            !beside.into_iter().any(|people| self.is_small(people))
        };
        !own.is_empty() && own.iter().all(is_roomy)
    }

    /// A coarser cell with which all thresholds pass, as a sentence.
    fn coarser(&self, changed: &Source<'_>) -> Option<String> {
        let cells = Cell::ALL;
        let cell = cells.iter().filter(|cell| **cell > changed.cell).find(|cell| {
            let sources = self.sources.iter().map(|source| Source { cell: **cell, ..*source });
            let (people, sources) = (self.people.clone(), sources.collect());
            let tried = Axis { people, sources, ..*self };
            !tried.cells().iter().any(|it| tried.is_small(it.people))
        })?;
        let id = &self.attribute.id;
        Some(format!("every predicate of {id} passes with cell = \"{}\"", cell.as_str()))
    }

    fn shown(&self, value: i64) -> String {
        match &self.attribute.people {
            Histogram::Dates(_) => date_of(value).to_string(),
            Histogram::Counts(_) | Histogram::Codes(_) => value.to_string(),
        }
    }
}

/// The day so many years before another one, both since 1970.
fn earlier(day: i64, years: i64) -> i64 {
    days_since_1970(date_of(day).saturating_sub(years.years()))
}

/// For counts, which have no date of their own.
const BEGIN: Date = jiff::civil::date(2026, 1, 1);
/// How long somebody asks, beside the time in which one threshold reaches the place of another.
const ASKING_YEARS: i64 = 5;
/// A month.
const CELL_DAYS_MAX: i64 = 31;
/// Longer than anything follows from anything.
const YEARS_MAX: i64 = 1_000;
/// More thresholds of one attribute than anybody reviews.
const SOURCES_MAX: usize = 256;
/// Whoever mends these finds the others.
const TOLD_MAX: usize = 4;
/// Further away a threshold is another question.
const STEPS_MAX: i64 = 60;

#[cfg(test)]
mod tests;
