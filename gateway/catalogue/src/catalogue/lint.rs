//! What all answers about an attribute leave together: never fewer people than its entry says.
//!
//! Owns the check of a catalogue's grids. It takes every threshold of every predicate that cuts the
//! attribute or one that follows from it, in all departments, as of every cell's first day for five
//! years: whoever asks all of it of everybody divides the values there. Between two neighbouring
//! cuts there must be enough people by the published histogram. It looks at no record, and refuses
//! the catalogue and not the citizen.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;

use super::attribute::{
    Attribute, Buckets, Cut, CutUnit, FinestCells, Histogram, date_of, days_since_1970,
};
use super::predicate::{Cell, Clock, Predicate};

/// Two cuts with too few people between them, and what would be right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Collision {
    /// The predicate that is to be changed.
    pub predicate: Arc<Predicate>,
    pub rule: String,
    pub mend: String,
}

/// One threshold of one predicate.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Source<'a> {
    predicate: &'a Arc<Predicate>,
    unit: CutUnit,
    threshold: i64,
    cell: Cell,
    /// Years that the predicate's own attribute comes later.
    later_years: i64,
}

/// A cell between two cuts.
struct Between<'a> {
    from: i64,
    until: i64,
    people: f64,
    left: Source<'a>,
    right: Source<'a>,
}

/// Every collision of the predicates that cut the attribute, or one that follows from it: the worst
/// of each pair of thresholds.
pub(super) fn collisions(
    attribute: &Attribute,
    all: &BTreeMap<String, Attribute>,
    predicates: &[Arc<Predicate>],
) -> Vec<Collision> {
    let sources = all_sources(attribute, all, predicates);
    let mut worst: BTreeMap<(usize, usize), Between<'_>> = BTreeMap::new();
    for small in small_cells(attribute, &sources) {
        let place = |source: Source<'_>| sources.iter().position(|it| *it == source).unwrap_or(0);
        let (left, right) = (place(small.left), place(small.right));
        let pair = (left.min(right), left.max(right));
        match worst.get(&pair) {
            Some(known) if known.people <= small.people => {}
            Some(_) | None => drop(worst.insert(pair, small)),
        }
    }
    worst.into_values().map(|small| tell(attribute, &sources, &small)).collect()
}

/// The narrowest cell that all questions about the attribute leave, and the fewest people in one;
/// none if nothing cuts it.
pub(super) fn finest(
    attribute: &Attribute,
    all: &BTreeMap<String, Attribute>,
    predicates: &[Arc<Predicate>],
) -> Option<FinestCells> {
    let cells = cells(attribute, &all_sources(attribute, all, predicates));
    let narrowest = cells.iter().map(|cell| cell.until - cell.from).min()?;
    let people = cells.iter().map(|cell| cell.people).fold(f64::INFINITY, f64::min);
    Some(FinestCells { narrowest, people_min: people as u64 })
}

fn all_sources<'a>(
    attribute: &Attribute,
    all: &BTreeMap<String, Attribute>,
    predicates: &'a [Arc<Predicate>],
) -> Vec<Source<'a>> {
    let later_years = |predicate: &Predicate| later_years(attribute, all, &predicate.attribute);
    let on_it = predicates.iter().filter_map(|it| Some((it, later_years(it)?)));
    on_it.flat_map(|(predicate, later_years)| sources(predicate, later_years)).collect()
}

/// How many years `other` comes after the attribute; none if it does not follow from it.
fn later_years(
    attribute: &Attribute,
    all: &BTreeMap<String, Attribute>,
    other: &str,
) -> Option<i64> {
    let (mut at, mut years) = (other, 0);
    // A chain is no longer than there are attributes, also where it goes in a circle.
    for _ in 0..=all.len() {
        if at == attribute.id {
            return Some(years);
        }
        let follows = all.get(at)?.follows.as_ref()?;
        years += follows.years;
        at = &follows.attribute;
    }
    None
}

fn sources(predicate: &Arc<Predicate>, later_years: i64) -> impl Iterator<Item = Source<'_>> {
    let Predicate { cut, cell, clock, .. } = &**predicate;
    let on_grid = cut.as_ref().zip(*cell).filter(|_| *clock == Clock::Grid);
    let thresholds = on_grid.map(move |(Cut { unit, thresholds }, cell)| {
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

/// The cells between neighbouring cuts that hold too few people.
fn small_cells<'a>(attribute: &Attribute, sources: &[Source<'a>]) -> Vec<Between<'a>> {
    let mut cells = cells(attribute, sources);
    cells.retain(|cell| cell.people < attribute.cell_people_min as f64);
    cells
}

/// The cells between neighbouring cuts. Where the histogram ends there is nobody, and a cut there
/// divides nothing.
fn cells<'a>(attribute: &Attribute, sources: &[Source<'a>]) -> Vec<Between<'a>> {
    let buckets = attribute.buckets();
    let mut cuts: BTreeMap<i64, Source<'a>> = BTreeMap::new();
    for source in sources {
        for value in values(source) {
            cuts.entry(value).or_insert(*source);
        }
    }
    let begin = buckets.from.first().map_or(buckets.until, |(from, _)| *from);
    let inside = cuts.range(begin.saturating_add(1)..buckets.until);
    let ends: Vec<(i64, Source<'a>)> = inside.map(|(value, source)| (*value, *source)).collect();
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return Vec::new() };
    let outer = [(begin, first.0, first.1, first.1), (last.0, buckets.until, last.1, last.1)];
    let inner = ends.windows(2).map(|pair| (pair[0].0, pair[1].0, pair[0].1, pair[1].1));
    let cells = outer.into_iter().chain(inner);
    let counted = cells.map(|(from, until, left, right)| {
        let people = buckets.between(from, until);
        Between { from, until, people, left, right }
    });
    counted.collect()
}

/// Where a threshold divides the values, as of each cell's first day.
fn values(source: &Source<'_>) -> impl Iterator<Item = i64> {
    let Source { unit, threshold, cell, later_years, .. } = *source;
    let mut as_of = Some(cell.first_day(BEGIN));
    let days = std::iter::from_fn(move || {
        let day = as_of.filter(|day| *day < END)?;
        as_of = cell.first_day_of_next(day);
        Some(day)
    });
    days.map(move |as_of| {
        let value = unit.value(threshold, as_of, BEGIN);
        if later_years == 0 { value } else { earlier(value, later_years) }
    })
}

/// The day so many years before another one, both since 1970.
fn earlier(day: i64, years: i64) -> i64 {
    days_since_1970(date_of(day).saturating_sub(jiff::Span::new().years(years)))
}

fn tell(attribute: &Attribute, sources: &[Source<'_>], small: &Between<'_>) -> Collision {
    // The one that stands later is the one that was added.
    let place = |source: &Source<'_>| sources.iter().position(|it| it == source);
    let (changed, other) = if place(&small.left) > place(&small.right) {
        (small.left, small.right)
    } else {
        (small.right, small.left)
    };
    let id = &attribute.id;
    let people = small.people.floor();
    let (from, until) = (attribute.shown(small.from), attribute.shown(small.until));
    let cause = if changed == other {
        format!("{} {} divide {id}", changed.threshold, changed.unit.in_words())
    } else {
        let (unit, of_other) = (changed.unit.in_words(), other.unit.in_words());
        let (own, others) = (changed.threshold, other.threshold);
        format!("{own} {unit} and {others} {of_other} of {} divide {id}", other.predicate.id)
    };
    let min = attribute.cell_people_min;
    let rule = format!(
        "{cause} so that about {people} people are left from {from} to before {until}, and \
         cell_people_min is {min}"
    );
    let mend = nearest(attribute, sources, &changed)
        .map(|threshold| format!("the nearest threshold that passes is {threshold}"))
        .or_else(|| coarser(attribute, sources, &changed))
        .unwrap_or_else(|| format!("remove {} from its set", changed.threshold));
    Collision { predicate: Arc::clone(changed.predicate), rule, mend }
}

/// The threshold nearest to this one with which no cell that it makes is too small.
fn nearest(attribute: &Attribute, sources: &[Source<'_>], changed: &Source<'_>) -> Option<i64> {
    let passes = |threshold: i64| {
        let tried = Source { threshold, ..*changed };
        let taken = sources.contains(&tried);
        !taken && divides(attribute, &tried) && fits(attribute, sources, changed, tried)
    };
    let steps =
        (1..=STEPS_MAX).flat_map(|step| [changed.threshold - step, changed.threshold + step]);
    steps.filter(|threshold| *threshold > 0).find(|threshold| passes(*threshold))
}

/// True if anybody is on both sides of one of its cuts.
fn divides(attribute: &Attribute, source: &Source<'_>) -> bool {
    let Buckets { from, until } = attribute.buckets();
    let begin = from.first().map_or(*until, |(from, _)| *from);
    values(source).any(|value| begin < value && value < *until)
}

/// A coarser cell with which the predicate's thresholds pass, as a sentence.
fn coarser(attribute: &Attribute, sources: &[Source<'_>], changed: &Source<'_>) -> Option<String> {
    let is_finer = |cell: &&Cell| **cell > changed.cell;
    let cells = Cell::ALL;
    let cell = cells.iter().filter(is_finer).find(|cell| {
        let tried = sources.iter().map(|source| Source { cell: **cell, ..*source });
        small_cells(attribute, &tried.collect::<Vec<_>>()).is_empty()
    })?;
    Some(format!("every predicate of {} passes with cell = \"{}\"", attribute.id, cell.as_str()))
}

fn fits(
    attribute: &Attribute,
    sources: &[Source<'_>],
    changed: &Source<'_>,
    tried: Source<'_>,
) -> bool {
    let others = sources.iter().filter(|source| *source != changed).copied();
    let all: Vec<Source<'_>> = others.chain([tried]).collect();
    let small = small_cells(attribute, &all);
    small.iter().all(|small| small.left != tried && small.right != tried)
}

impl Attribute {
    fn buckets(&self) -> &Buckets {
        match &self.people {
            Histogram::Dates(buckets) | Histogram::Counts(buckets) => buckets,
        }
    }

    fn shown(&self, value: i64) -> String {
        match &self.people {
            Histogram::Dates(_) => date_of(value).to_string(),
            Histogram::Counts(_) => value.to_string(),
        }
    }
}

/// Five years of asking, in which 29 February comes at least once. When they begin changes little:
/// what is counted is how close the cuts come to each other.
const BEGIN: Date = jiff::civil::date(2026, 1, 1);
const END: Date = jiff::civil::date(2031, 1, 1);
/// Further away a threshold is another question.
const STEPS_MAX: i64 = 60;

#[cfg(test)]
mod tests;
