//! Catalogues whose questions together say too much, and what is told of them.

use proptest::prelude::*;

use super::*;
use crate::catalogue::Catalogue;
use crate::catalogue::tests::KINDS;

/// A registry with these attributes, predicates and joins.
pub fn parse(content: &str) -> Result<Catalogue, Vec<String>> {
    let civil = format!("department = \"civil-registry\"\n{content}");
    let files = [("civil.toml", civil.as_str()), ("kinds.toml", KINDS)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let of_each = |mistakes: Vec<_>| mistakes.iter().map(ToString::to_string).collect();
    Catalogue::parse(&files).map_err(of_each)
}

/// An attribute of which 20 people must be left, and how many have what of it.
pub fn attribute(id: &str, people: &str) -> String {
    format!(
        r#"
        [[attribute]]
        id = "{id}"
        title_en = "Attribute"
        title_zh = "属性"
        cell_people_min = 20
        {people}
        "#
    )
}

/// A predicate about an attribute, with its clock and cut, and the values of its parameter `of`.
pub fn about(attribute: &str, name: &str, cut: &str, kind: &str, values: &str) -> String {
    format!(
        r#"
        [[predicate]]
        id = "civil-registry/{name}@1"
        title_en = "Asked"
        title_zh = "问"
        description_en = "Asked."
        attribute = "{attribute}"
        {cut}
        subject_kinds = ["passport"]
        purposes = ["hiring"]
        absent = "undetermined"
        timing = "one-reply"
        [[predicate.parameter]]
        name = "of"
        title_en = "Of"
        title_zh = "值"
        type = "{kind}"
        one_of = [{values}]
        "#
    )
}

/// What is wrong where these predicates ask a registry's dates of birth.
fn mistakes(people: &str, predicates: &str) -> Vec<String> {
    let dates = attribute("birth-date", people);
    parse(&(dates + predicates)).err().unwrap_or_default()
}

const EVENLY: &str = r#"
    until_date = "2026-01-01"
    people = [{ from_date = "1926-01-01", people = 600000 }]"#;

/// About a person a month was born before 1940.
const FEW_OLD: &str = r#"
    until_date = "2026-01-01"
    people = [
        { from_date = "1900-01-01", people = 480 },
        { from_date = "1940-01-01", people = 600000 },
    ]"#;

fn predicate(name: &str, cell: &str, cut: &str, thresholds: &str) -> String {
    let cut = format!("clock = \"grid\"\ncell = \"{cell}\"\ncut = {{ {cut} = \"of\" }}");
    about("birth-date", name, &cut, "integer", thresholds)
}

#[test]
fn years_and_months_on_a_grid_of_months_leave_whole_months() {
    let years = predicate("age", "month", "years_before", "14, 16, 18, 22, 60, 65");
    let months = predicate("months", "month", "months_before", "7, 200, 219");
    assert_eq!(mistakes(EVENLY, &(years + &months)), [""; 0]);
}

#[test]
fn a_grid_that_is_too_fine_is_refused_and_a_coarser_one_is_proposed() {
    // 16 people are born a day. 18 years before a day, and before the next one.
    let found = mistakes(EVENLY, &predicate("age", "day", "years_before", "18"));
    assert_eq!(
        found,
        ["civil.toml: civil-registry/age@1: cut: 18 years divide birth-date so that about 16 \
             people are left from 2008-01-02 to before 2008-01-03, and cell_people_min is 20; \
             every predicate of birth-date passes with cell = \"week\""]
    );
}

#[test]
fn weeks_that_do_not_lie_on_each_other_leave_days() {
    // 17 and 18 years before a Monday are no Mondays, and not the same day of the week.
    let found = mistakes(EVENLY, &predicate("age", "week", "years_before", "17, 18"));
    assert_eq!(found.len(), 1, "{found:#?}");
    let said = "civil-registry/age@1: cut: 18 years and 17 years of civil-registry/age@1 divide";
    assert!(found[0].contains(said), "{}", found[0]);
    assert!(
        found[0].ends_with("the nearest threshold that passes beside the others is 19"),
        "{}",
        found[0]
    );
    assert_eq!(mistakes(EVENLY, &predicate("age", "week", "years_before", "17, 19")), [""; 0]);
    // It is the example of the page.
    let page = include_str!("../../../../../spec/disclosure.md");
    let in_words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(in_words(page).contains(&in_words(&found[0])), "{}", found[0]);
}

#[test]
fn a_threshold_of_days_that_falls_between_the_months_is_refused_with_the_nearest_that_does_not() {
    let years = predicate("age", "month", "years_before", "18");
    let days = predicate("days", "month", "days_before", "6574");
    let found = mistakes(EVENLY, &(years + &days));
    assert_eq!(found.len(), 1, "{found:#?}");
    let said = "civil-registry/days@1: cut: 6574 days and 18 years of civil-registry/age@1 divide";
    assert!(found[0].contains(said), "{}", found[0]);
    assert!(found[0].contains("about 16 people are left"), "{}", found[0]);
}

#[test]
fn an_age_that_few_have_is_refused_with_the_nearest_that_passes() {
    let found = mistakes(FEW_OLD, &predicate("age", "month", "years_before", "65, 100"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].contains("100 years divide birth-date so that about 0 people"),
        "{}",
        found[0]
    );
    assert!(
        found[0].ends_with("the nearest threshold that passes beside the others is 86"),
        "{}",
        found[0]
    );
    let mended = predicate("age", "month", "years_before", "65, 86");
    assert_eq!(mistakes(FEW_OLD, &mended), [""; 0], "what is proposed passes");
}

#[test]
fn what_follows_from_an_attribute_cuts_it_too() {
    let pension = |follows: &str, threshold: &str| {
        let attribute = format!(
            r#"
            [[attribute]]
            id = "pension-from"
            title_en = "Pension from"
            title_zh = "退休起始日期"
            cell_people_min = 20
            until_date = "2086-01-01"
            people = [{{ from_date = "1986-01-01", people = 600000 }}]
            {follows}"#
        );
        let age = predicate("age", "week", "years_before", "18");
        let pension = predicate("pension", "week", "years_before", threshold)
            .replace("\"birth-date\"", "\"pension-from\"");
        mistakes(EVENLY, &(attribute + &age + &pension))
    };
    // Each alone leaves whole weeks.
    assert_eq!(pension("", "1"), [""; 0]);
    // 1 year after the pension, at 60, is 61 years after birth: far from 18.
    let follows = r#"follows = { attribute = "birth-date", years = 60 }"#;
    assert_eq!(pension(follows, "1"), [""; 0]);
    // A year after what comes at 16 is 17.
    let found = pension(&follows.replace("60", "16"), "1");
    assert_eq!(found.len(), 1, "{found:#?}");
    let said = "civil-registry/pension@1: cut: 1 years and 18 years of civil-registry/age@1 divide \
                birth-date";
    assert!(found[0].contains(said), "{}", found[0]);
    let circle = pension(r#"follows = { attribute = "pension-from", years = 60 }"#, "1");
    let said = "civil.toml: pension-from: follows: it follows from itself; name another one";
    assert_eq!(circle, [said]);
    let found = pension(r#"follows = { attribute = "height", years = 60 }"#, "1");
    let said = "civil.toml: pension-from: follows: no [[attribute]] entry is height; add it, or \
                name another one";
    assert_eq!(found, [said]);
}

#[test]
fn an_answer_that_looks_at_several_numbers_cuts_at_each() {
    let of = |numbers: &str| {
        let text = predicate("minor", "week", "years_before", "\"x\"");
        let text = text.replace("\"integer\"", "\"code\"");
        mistakes(
            EVENLY,
            &text.replace("years_before = \"of\"", &format!("years_before = {numbers}")),
        )
    };
    assert_eq!(of("18"), [""; 0]);
    assert_eq!(of("[0, 28]"), [""; 0]);
    let found = of("[17, 18]");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("18 years and 17 years of civil-registry/minor@1"), "{}", found[0]);
    for (numbers, said) in [
        ("0", "a threshold is from 1 to 200 years"),
        ("[0]", "a threshold is from 1 to 200 years"),
        ("[0, 201]", "a threshold is from 0 to 200 years"),
        ("[]", "must be a list of 1 to"),
        ("1.5", "must be an integer, a list of integers or a parameter's name"),
    ] {
        let found = of(numbers).join("\n");
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn a_cut_that_does_not_say_where_is_a_mistake() {
    let of = |from: &str, to: &str| {
        let text = predicate("age", "month", "years_before", "18");
        assert!(text.contains(from), "{from}");
        let found = mistakes(EVENLY, &text.replacen(from, to, 1));
        found.into_iter().next().unwrap()
    };
    let at = "civil.toml: civil-registry/age@1: ";
    for (from, to, said) in [
        (
            "cut = { years_before = \"of\" }",
            "",
            "cut: says how an answer divides the attribute; add it",
        ),
        ("years_before = \"of\"", "years = 1", "cut: -: has one of years_before, months_before"),
        ("= \"of\" }", "= \"m\" }", "cut: years_before: the predicate has no integer parameter m"),
        (
            "= \"of\" }",
            "= 0 }",
            "cut: years_before: the parameter of is a number too, and nothing says what it cuts",
        ),
        (
            "years_before",
            "at_least_months",
            "cut: at_least_months: the people of birth-date are spread",
        ),
        (
            "\"birth-date\"",
            "\"height\"",
            "attribute: an attribute that is cut has an [[attribute]]",
        ),
        ("\"grid\"\ncell = \"month\"", "\"current\"", "cut: a state is not cut"),
    ] {
        let found = of(from, to);
        assert!(found.starts_with(&format!("{at}{said}")), "{to}: {found}");
    }
}

#[test]
fn people_that_are_no_buckets_are_a_mistake() {
    let age = predicate("age", "month", "years_before", "18");
    for (people, said) in [
        ("until_date = \"2026-01-01\"", "people: must be buckets in ascending order"),
        (
            "until_date = \"1900-01-01\"\npeople = [{ from_date = \"1926-01-01\", people = 6 }]",
            "people: must be buckets in ascending order",
        ),
        (
            "until_date = \"soon\"\npeople = [{ from_date = \"1926-01-01\", people = 6 }]",
            "until_date: must be a date such as 1970-01-31",
        ),
        (
            "until_count = 7\npeople = [{ from_count = 0, people = -6 }]",
            "people 1: people: must be an integer from 0",
        ),
    ] {
        let found = mistakes(people, &age);
        let at = "civil.toml: birth-date: ";
        assert!(
            found.iter().any(|it| it.starts_with(&format!("{at}{said}")) || it.contains(said)),
            "{people}: {found:#?}"
        );
    }
}

#[test]
fn what_happens_after_the_histogram_ends_is_looked_at_too() {
    // Whoever is born while it is asked: 365 days before 1 March 2028 is not a year before it.
    let years = predicate("years", "month", "years_before", "1");
    let days = predicate("days", "month", "days_before", "365");
    let found = mistakes(EVENLY, &(years + &days));
    assert_eq!(found.len(), 1, "{found:#?}");
    let found = mistakes(EVENLY, &predicate("age", "day", "days_before", "1"));
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn thresholds_far_apart_meet_when_it_is_asked_for_long() {
    let found = mistakes(EVENLY, &predicate("age", "week", "years_before", "18, 24"));
    assert_eq!(found.len(), 1, "six years later one stands where the other stood: {found:#?}");
}

#[test]
fn what_a_caller_can_choose_is_what_is_cut() {
    let age = predicate("age", "month", "years_before", "18");
    let more = r#"
        [[predicate.parameter]]
        name = "days"
        title_en = "Days"
        title_zh = "天数"
        type = "integer"
        one_of = [1, 2]"#;
    let at = "civil.toml: civil-registry/age@1: cut: years_before: the parameter";
    let found = mistakes(EVENLY, &(age.clone() + more));
    assert!(found[0].starts_with(&format!("{at} days is a number too")), "{}", found[0]);
    let constant = age.replace("= \"of\" }", "= 18 }");
    let found = mistakes(EVENLY, &constant);
    assert!(found[0].starts_with(&format!("{at} of is a number too")), "{}", found[0]);
    // As a state the same would be told every day.
    let state = age.replace("\"grid\"\ncell = \"month\"", "\"current\"");
    let state = state.replace("cut = { years_before = \"of\" }", "");
    let found = mistakes(EVENLY, &state);
    let said = "civil.toml: civil-registry/age@1: cut: a state is not cut, and has no integer";
    assert!(found[0].starts_with(said), "{}", found[0]);
    let (head, _) = state.split_once("[[predicate.parameter]]").unwrap();
    let found = mistakes(EVENLY, head);
    let said = "civil.toml: civil-registry/age@1: clock: an attribute with an [[attribute]] entry \
                is no state; make it a grid";
    assert_eq!(found, [said]);
}

#[test]
fn a_mistyped_threshold_is_a_mistake_and_no_panic() {
    for (cut, threshold) in [
        ("years_before", "182200"),
        ("years_before", "20080101"),
        ("days_before", "9223372036854775807"),
        ("months_before", "0"),
        ("years_before", "-18"),
    ] {
        let found = mistakes(EVENLY, &predicate("age", "month", cut, threshold));
        assert!(found[0].contains(&format!("cut: {cut}: a threshold is from 1 to")), "{found:#?}");
    }
}

#[test]
fn more_thresholds_than_anybody_reviews_are_a_mistake() {
    let list =
        |from: i64| (from..from + 60).map(|it| it.to_string()).collect::<Vec<_>>().join(", ");
    let many: String = (0..5)
        .map(|at| predicate(&format!("age-{at}"), "month", "months_before", &list(60 * at + 1)))
        .collect();
    let found = mistakes(EVENLY, &many);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("birth-date has more than 256 thresholds or codes in all"),
        "{}",
        found[0]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever asks everything of somebody for years, by a catalogue that was let through, is left
    /// with as many people as its entry says. The attacker reckons by himself.
    #[test]
    fn what_passes_leaves_enough_people_to_everybody(
        years in prop::collection::btree_set(1..70_i64, 1..4),
        other in prop_oneof![
            (1..900_i64).prop_map(|months| ("months_before", months)),
            (1..30_000_i64).prop_map(|days| ("days_before", days)),
        ],
        cell in prop_oneof![4 => Just(Cell::Month), 2 => Just(Cell::Week), 1 => Just(Cell::Day)],
        born in 0..38_000_i64,
        begin in 0..1_500_i64,
    ) {
        let list: Vec<String> = years.iter().map(ToString::to_string).collect();
        let ages = predicate("age", cell.as_str(), "years_before", &list.join(", "));
        let others = predicate("other", cell.as_str(), other.0, &other.1.to_string());
        if !mistakes(EVENLY, &(ages + &others)).is_empty() {
            return Ok(());
        }
        let first = jiff::civil::date(1926, 1, 1);
        let born = first.saturating_add(born.days());
        let (mut from, mut last) = (first, jiff::civil::date(2040, 1, 1));
        let begin = jiff::civil::date(2026, 1, 1).saturating_add(begin.days());
        for day in 0..1_000 {
            let today = begin.saturating_add(day.days());
            let as_of = match cell {
                Cell::Day => today,
                Cell::Week => today.saturating_sub(today.weekday().to_monday_zero_offset().days()),
                Cell::Month => today.first_of_month(),
            };
            let ages = years.iter().map(|years| years.years());
            let span = if other.0 == "days_before" { other.1.days() } else { other.1.months() };
            for before in ages.chain([span]) {
                let edge = as_of.saturating_sub(before);
                if born <= edge {
                    last = last.min(edge);
                } else {
                    from = from.max(edge.tomorrow().unwrap());
                }
            }
        }
        let people = f64::from((last - from).get_days() + 1) * 600_000.0 / 36_525.0;
        prop_assert!(people >= 19.9, "{people} people from {from} to {last}");
    }
}
