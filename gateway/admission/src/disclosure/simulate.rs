//! What somebody could learn who asks everything that a catalogue allows about an attribute, every
//! day for years: reckoned from published figures, without a record.
//!
//! Owns the people, who are spread over the values as the histogram says, one in the middle of each
//! of as many equal parts. On a grid it counts dates; for exact answers it asks the auditor itself.

use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jumpgate_catalogue::{Attribute, Buckets, Catalogue, Cell, Clock, ExactCut, Histogram, Side};

use super::{Audited, Cutting, ExactGrant, ExactPredicate, FIRST, Interval, exact_predicates};
use crate::ledger::{Ledger, SubjectNumber};

/// What is left of an attribute's secrecy, month by month.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// The attribute.
    pub attribute: String,
    /// `grid` or `exact`.
    pub clock: Clock,
    /// Thresholds of all predicates together.
    pub thresholds: usize,
    /// People who were asked about.
    pub people: usize,
    /// At the end of each month, from the first question on.
    pub months: Vec<Left>,
    /// At the end, people of whom at most seven days are left.
    pub pinned: usize,
    /// Questions that were asked: every threshold of everybody on every day.
    pub asked: u64,
    /// Of these, how many were answered with an earlier `as_of` than the day's; of an exact clock.
    pub earlier: u64,
    /// And how many were refused.
    pub refused: u64,
}

/// What is left at the end of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The month's last day on which was asked.
    pub day: Date,
    /// Fewest days that are left of anybody.
    pub least: i64,
    /// Days that are left of the person in the middle.
    pub median: i64,
}

/// How much is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// The first day on which is asked.
    pub from: Date,
    /// Years for which is asked.
    pub years: i64,
    /// People who are asked about.
    pub people: usize,
}

impl Simulated {
    /// Simulates each attribute of dates that predicates ask about; counts have no days.
    pub fn all(catalogue: &Catalogue, extent: &Extent) -> Vec<Self> {
        let of_dates = catalogue.attributes().filter_map(|it| match &it.people {
            Histogram::Dates(people) => Some((it, people)),
            Histogram::Counts(_) | Histogram::Codes(_) => None,
        });
        of_dates.filter_map(|(it, people)| Self::of(catalogue, it, people, extent)).collect()
    }

    fn of(
        catalogue: &Catalogue,
        attribute: &Attribute,
        people: &Buckets,
        extent: &Extent,
    ) -> Option<Self> {
        let cuts = cuts(catalogue, attribute);
        let clock = cuts.first()?.1;
        let mut simulated = Self {
            attribute: attribute.id.clone(),
            clock,
            thresholds: cuts.len(),
            people: extent.people,
            months: Vec::new(),
            pinned: 0,
            asked: 0,
            earlier: 0,
            refused: 0,
        };
        let auditor = Auditor::new(catalogue, attribute);
        let mut known = vec![Interval::NOTHING; extent.people];
        let values: Vec<i64> = (0..extent.people).map(|at| value(people, at, extent)).collect();
        let end = extent.from.saturating_add(extent.years.years());
        let mut today = extent.from;
        while today < end {
            for (number, (value, known)) in (0..).zip(values.iter().zip(&mut known)) {
                for (cut, _, cell) in &cuts {
                    simulated.asked += 1;
                    let Some(auditor) = auditor.as_ref().filter(|_| clock == Clock::Exact) else {
                        let day = cut.day(cell.map_or(today, |cell| cell.first_day(today)));
                        known.narrow(day, *value);
                        continue;
                    };
                    match auditor.ask(number, *cut, today, *value) {
                        Some((day, as_of)) => {
                            known.narrow(day, *value);
                            simulated.earlier += u64::from(as_of < today);
                        }
                        None => simulated.refused += 1,
                    }
                }
            }
            let tomorrow = today.saturating_add(1.day());
            if tomorrow.month() != today.month() || tomorrow >= end {
                simulated.months.push(left(&known, people, today));
            }
            today = tomorrow;
        }
        let last = extent.from.saturating_add(extent.years.years());
        let days = known.iter().map(|it| days_left(*it, people, last));
        simulated.pinned = days.filter(|days| *days <= PINNED_DAYS).count();
        Some(simulated)
    }
}

/// Every threshold of every predicate that cuts the attribute.
fn cuts(catalogue: &Catalogue, attribute: &Attribute) -> Vec<(ExactCut, Clock, Option<Cell>)> {
    let on_it = catalogue.predicates().filter(|it| it.attribute == attribute.id);
    let cuts = on_it.filter_map(|it| Some((it.cut.as_ref()?, it.clock, it.cell)));
    let each = cuts.flat_map(|(cut, clock, cell)| {
        cut.thresholds.iter().map(move |threshold| {
            (ExactCut { unit: cut.unit, threshold: *threshold, yes: cut.yes }, clock, cell)
        })
    });
    each.collect()
}

/// The value of the person in the middle of the `at`th part, with those who come later than the
/// histogram's end left out.
fn value(people: &Buckets, at: usize, extent: &Extent) -> i64 {
    let (begin, until) = (people.from.first().map_or(0, |(from, _)| *from), people.until);
    let wanted = people.between(begin, until) * (at as f64 + 0.5) / extent.people as f64;
    let (mut from, mut to) = (begin, until);
    while from + 1 < to {
        let middle = from.midpoint(to);
        if people.between(begin, middle) <= wanted { from = middle } else { to = middle }
    }
    from
}

fn days_left(known: Interval, people: &Buckets, today: Date) -> i64 {
    let begin = people.from.first().map_or(0, |(from, _)| *from);
    let tomorrow = i64::from((today - FIRST).get_days()) + 1;
    i64::from(known.until).min(tomorrow) - i64::from(known.from).max(begin)
}

fn left(known: &[Interval], people: &Buckets, today: Date) -> Left {
    let mut days: Vec<i64> = known.iter().map(|it| days_left(*it, people, today)).collect();
    days.sort_unstable();
    let (least, median) = (days.first().copied(), days.get(days.len() / 2).copied());
    Left { day: today, least: least.unwrap_or(0), median: median.unwrap_or(0) }
}

impl Interval {
    /// Takes over on which side of a cut a value lies.
    fn narrow(&mut self, day: i64, value: i64) {
        let side = if value < day { Side::Before } else { Side::From };
        *self = self.narrowed(super::clamped(day), side).unwrap_or(*self);
    }
}

/// The auditor of an attribute that is asked about exactly, for a caller with a cut a day.
struct Auditor {
    ledger: Arc<Ledger>,
    predicate: ExactPredicate,
}

impl Auditor {
    fn new(catalogue: &Catalogue, attribute: &Attribute) -> Option<Self> {
        let exact = exact_predicates(catalogue).find(|(_, rules)| rules.id == attribute.id)?;
        let ledger = Arc::new(Ledger::new(TimeZone::UTC));
        let predicate = ledger.released.exact([exact]).into_values().next()?;
        Some(Self { ledger, predicate })
    }

    /// The cut that is told, and the date that the answer is about; none if it is refused.
    fn ask(&self, number: u64, cut: ExactCut, today: Date, value: i64) -> Option<(i64, Date)> {
        let cutting = Cutting {
            predicate: &self.predicate,
            cut,
            today,
            subject: SubjectNumber(number),
            caller: 0,
            grant: ExactGrant { cuts_per_year: u32::MAX, is_break_glass: false },
        };
        match self.ledger.audit(&cutting).ok()? {
            Audited::Uncut => None,
            Audited::Implied(implied) => Some((i64::from(implied.release.day), implied.as_of)),
            Audited::Cut(reservation) => {
                let is_before = value < cut.day(reservation.as_of());
                let side = if is_before { Side::Before } else { Side::From };
                let settled = reservation.settle(cut.verdict(side)).ok()?;
                Some((i64::from(settled.release.day), settled.as_of))
            }
        }
    }
}

const PINNED_DAYS: i64 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::catalogue;

    #[test]
    fn a_grid_of_months_leaves_a_month_and_exact_answers_thirty_days() {
        let extent = Extent { from: jiff::civil::date(2026, 11, 23), years: 5, people: 60 };
        let of_grid = Simulated::all(&catalogue(), &extent);
        let birth = of_grid.iter().find(|it| it.attribute == "birth-date").unwrap();
        assert_eq!((birth.clock, birth.thresholds, birth.months.len()), (Clock::Grid, 6, 61));
        let last = birth.months.last().unwrap();
        assert!((28..=31).contains(&last.least), "{last:?}");
        assert!(birth.months.is_sorted_by(|one, next| one.least >= next.least));
        assert_eq!((birth.pinned, birth.earlier, birth.refused), (0, 0, 0));
        assert_eq!(birth.asked, 60 * 6 * 1826);
        assert!(of_grid.iter().all(|it| it.attribute != "contribution-months"));

        let read = |file: &str| {
            let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/catalogue");
            (file.to_owned(), exactly(&std::fs::read_to_string(dir.join(file)).unwrap()))
        };
        let files = ["kinds.toml", "civil-registry.toml"].map(read);
        let exact = Catalogue::parse(&files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let of_exact = Simulated::all(&exact, &extent);
        let birth = of_exact.iter().find(|it| it.attribute == "birth-date").unwrap();
        assert_eq!(birth.clock, Clock::Exact);
        assert_eq!(birth.months.last().unwrap().least, 30);
        assert_eq!((birth.pinned, birth.refused), (0, 0));
        let share = birth.earlier as f64 / birth.asked as f64;
        assert!(birth.earlier > 0 && share < 0.01, "{share}");
    }

    /// The birth date asked about to the day, by a number for life. Then it leaves too few of one
    /// sex together to be joined with it.
    fn exactly(text: &str) -> String {
        let text = text.split("# Who asks all of both").next().unwrap();
        let Some((birth, rest)) = text.split_once("cell = \"month\"\n") else {
            return text.to_owned();
        };
        let width = "interval_days_min = 30\ncell_people_min";
        let birth =
            birth.replacen("cell_people_min", width, 1).replacen("\"grid\"", "\"exact\"", 1);
        let (cut, rest) = rest.split_once("subject_kinds").unwrap();
        let rest = rest.split_once('\n').unwrap().1;
        format!("{birth}{cut}subject_kinds = [\"resident-identity\"]\n{rest}")
    }
}
