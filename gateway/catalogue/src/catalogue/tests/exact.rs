//! What can be asked about exactly, and where such a question cuts.

use jiff::ToSpan;
use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::{CIVIL, KINDS, parse};
use crate::catalogue::attribute::{date_of, days_since_1970};
use crate::catalogue::{CutUnit, ExactCut, Side};
use crate::verdict::Verdict;

/// The fixtures with an exact age and an identifier for life.
fn exact() -> String {
    CIVIL
        .replace("clock = \"grid\"", "clock = \"exact\"")
        .replacen("[\"passport\", \"resident-identity\"]", "[\"resident-identity\"]", 1)
        .replace("cell_people_min = 20", "cell_people_min = 20\ninterval_days_min = 30")
}

fn mistakes(civil: &str) -> Vec<String> {
    let reveals = "reveals = [\"birth-date\", \"birth-division\", \"sex\"]";
    let kinds = KINDS.replace(reveals, &format!("{reveals}\nlasting = true"));
    let parsed = parse(&[("civil.toml", civil), ("kinds.toml", &kinds)]);
    parsed.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// What is changed of the fixture, and what is told of it.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "interval_days_min = 30",
        "",
        "civil.toml: birth-date: interval_days_min: exact answers leave a number of days at \
             least of where a value lies; add it, 30 for one",
    ),
    (
        "[\"resident-identity\"]",
        "[\"passport\"]",
        "age: subject_kinds: who has another identifier would be another person to the \
             auditor; leave one kind, of which a person has one for life",
    ),
    (
        "[\"resident-identity\"]",
        "[\"resident-identity\", \"passport\"]",
        "age: subject_kinds: who has another identifier would be another person to the \
             auditor; leave one kind, of which a person has one for life",
    ),
    (
        "absent = \"undetermined\"",
        "absent = \"no\"",
        "age: absent: an exact answer is about a date that there is; make it undetermined",
    ),
    (
        "\n[[predicate]]\nid = \"civil-registry/name",
        CODE,
        "age: parameter: scheme tells more than where the date lies; remove it, or make the \
             clock a grid",
    ),
    (
        "clock = \"exact\"",
        "clock = \"grid\"",
        "civil.toml: birth-date: interval_days_min: no exact predicate asks about it; remove \
             it, or make the clock exact",
    ),
    (
        "{ years_before = \"years\" }",
        "{ years_before = \"years\", yes = \"after\" }",
        "age: cut: yes: must be one of before, from; change it",
    ),
    (
        "years_before",
        "days_before",
        "age: cut: 16 days can be fewer than the 30 days of interval_days_min, and would \
             never be answered; remove it, or make interval_days_min smaller",
    ),
    (
        "interval_days_min = 30",
        "interval_days_min = 1",
        "civil.toml: birth-date: interval_days_min: must be an integer from 2 to 3650; \
             change it",
    ),
    (
        "interval_days_min = 30",
        FOLLOWS,
        "civil.toml: birth-date: follows: its exact answers would cut other too, which \
             nothing audits; make the clock a grid",
    ),
];

const CODE: &str = "\n[[predicate.parameter]]\nname = \"scheme\"\ntitle_en = \"Scheme\"\n\
                title_zh = \"险种\"\ntype = \"code\"\none_of = [\"a\", \"b\"]\n\n[[predicate]]\n\
                id = \"civil-registry/name";
const FOLLOWS: &str = "interval_days_min = 30\nfollows = { attribute = \"other\", years = 60 }";
const OTHER: &str = "[[attribute]]\nid = \"other\"\ntitle_en = \"Other\"\ntitle_zh = \"另\"\n\
                 cell_people_min = 20\nuntil_date = \"2026-01-01\"\n\
                 people = [{ from_date = \"1926-01-01\", people = 600000 }]\n\n[[predicate]]";

#[test]
fn a_date_is_asked_about_exactly_by_an_identifier_for_life_and_nothing_beside_it() {
    let age = "civil.toml: civil-registry/age-at-least@1";
    assert_eq!(mistakes(&exact()), [""; 0]);
    for (from, to, expected) in MISTAKES {
        let mut civil = exact();
        assert!(civil.contains(from), "{from}");
        civil = civil.replacen(from, to, 1);
        if to.contains("follows") {
            civil = civil.replacen("[[predicate]]", OTHER, 1);
        }
        let expected = expected.replacen("age:", &format!("{age}:"), 1);
        let found = mistakes(&civil);
        assert!(found.contains(&expected), "{to}: {found:#?}");
    }
}

#[test]
fn counts_are_not_asked_about_exactly() {
    let civil = exact()
        .replace("years_before", "at_least_months")
        .replace("until_date = \"2026-01-01\"", "until_count = 600")
        .replace("from_date = \"1926-01-01\"", "from_count = 0");
    let expected = "civil.toml: birth-date: people: an exact predicate asks about a date that \
                    never changes; give dates, or make the clock a grid";
    assert_eq!(mistakes(&civil), [expected]);
}

#[test]
fn predicates_of_one_attribute_know_a_person_by_the_same_identifier() {
    let second = exact().split_once("[[predicate]]").unwrap().1.replace("age-at", "old-at");
    let civil = format!(
        "{}[[predicate]]{}",
        exact(),
        second.split_once("[[predicate]]\nid = \"civil-registry/name").unwrap().0
    );
    assert_eq!(mistakes(&civil), [""; 0]);
    let civil = civil.replace("old-at-least@1\"", "old-at-least@1\" #");
    let (head, tail) = civil.rsplit_once("[\"resident-identity\"]").unwrap();
    let found = mistakes(&format!("{head}[\"passport\"]{tail}"));
    assert_eq!(found.len(), 1, "{found:#?}");
}

/// The answer by the definition: whether the date lies at least so far before.
fn is_so_long_ago(cut: &ExactCut, value: Date, as_of: Date) -> bool {
    let span = jiff::Span::new();
    let span = match cut.unit {
        CutUnit::YearsBefore => span.years(cut.threshold),
        CutUnit::MonthsBefore => span.months(cut.threshold),
        CutUnit::DaysBefore | CutUnit::AtLeastMonths => span.days(cut.threshold),
    };
    value <= as_of.saturating_sub(span)
}

proptest! {
    #[test]
    fn a_cut_divides_where_the_answer_changes(
        unit in prop::sample::select(&[
            CutUnit::YearsBefore, CutUnit::MonthsBefore, CutUnit::DaysBefore,
        ][..]),
        threshold in 1_i64..80,
        yes in prop::sample::select(&Side::ALL[..]),
        as_of in 0_i64..36_524,
        known in -1_000_i64..36_524,
    ) {
        let (as_of, cut) = (date_of(as_of), ExactCut { unit, threshold, yes });
        let day = cut.day(as_of);
        for value in [day - 2, day - 1, day, day + 1] {
            let side = if value < day { Side::Before } else { Side::From };
            prop_assert_eq!(is_so_long_ago(&cut, date_of(value), as_of), side == Side::Before);
            prop_assert_eq!(cut.side(cut.verdict(side)), Some(side));
        }
        prop_assert!(cut.day(as_of.tomorrow().unwrap()) >= day);
        prop_assert_eq!(cut.side(Verdict::Undetermined), None);
        // The latest date by which something is known, found by trying every date.
        let latest = cut.latest(known, as_of).unwrap();
        prop_assert!(latest <= as_of && cut.day(latest) <= known);
        prop_assert!(latest == as_of || cut.day(latest.tomorrow().unwrap()) > known);
    }
}

#[test]
fn the_leap_day_is_a_birthday_on_the_first_of_march() {
    let cut = ExactCut { unit: CutUnit::YearsBefore, threshold: 18, yes: Side::Before };
    let born = days_since_1970(date(2008, 2, 29));
    assert!(born >= cut.day(date(2026, 2, 28)));
    assert!(born < cut.day(date(2026, 3, 1)));
    assert_eq!(cut.latest(born, date(2030, 1, 1)), Some(date(2026, 2, 28)));
    let long_ago = date(1900, 1, 1).saturating_sub(1.day());
    assert_eq!(cut.latest(days_since_1970(long_ago), date(2030, 1, 1)), Some(date(1917, 12, 30)));
}
