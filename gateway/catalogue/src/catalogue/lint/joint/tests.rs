//! Attributes that are looked at together.

use crate::catalogue::lint::tests::{about, attribute, parse};

/// 600,000 people of a hundred years, a tenth of them in a small division; who is asked by month
/// is one of 466 at least.
fn mistakes(joins: &str, ages: &str, divisions: &str) -> Vec<String> {
    let years = r#"
        until_date = "2026-01-01"
        people = [{ from_date = "1926-01-01", people = 600000 }]"#;
    let codes = r#"
        people = [{ code = "310104", people = 500000 }, { code = "33", people = 40000 },
            { code = "11", people = 60000 }, { code = "44", people = 0 }]"#;
    let on_grid = "clock = \"grid\"\ncut = { years_before = \"of\" }";
    let of_now = "clock = \"current\"\ncut = { code = \"of\" }";
    let content = [
        attribute("birth-date", years),
        attribute("division", codes),
        joins.to_owned(),
        about("birth-date", "age", on_grid, "integer", ages),
        about("division", "in", of_now, "code", divisions),
    ];
    parse(&content.concat()).err().unwrap_or_default()
}

fn join(attributes: &str, min: u64) -> String {
    format!("[[join]]\nid = \"together\"\nattributes = [{attributes}]\ncell_people_min = {min}\n")
}

const BOTH: &str = "\"birth-date\", \"division\"";

#[test]
fn enough_of_each_may_be_too_few_of_both() {
    assert_eq!(mistakes("", "18", "\"33\", \"11\""), [""; 0]);
    // 460 people are born in a February, and a fifteenth of all are in 33.
    assert_eq!(mistakes(&join(BOTH, 30), "18", "\"33\", \"11\""), [""; 0]);
    let found = mistakes(&join(BOTH, 35), "18", "\"33\", \"11\"");
    assert_eq!(
        found,
        ["civil.toml: civil-registry/in@1: cut: the join together leaves about 30 people (459 of \
          birth-date, 40000 of division), and its cell_people_min is 35; it passes without 33 of \
          civil-registry/in@1"]
    );
    assert_eq!(mistakes(&join(BOTH, 35), "18", "\"11\""), [""; 0], "what is proposed passes");
    let none = mistakes(&join(BOTH, 500), "18, 60", "\"33\"");
    assert!(none[0].ends_with("; ask about fewer values of each"), "{none:#?}");
}

#[test]
fn what_nobody_asks_about_divides_nobody() {
    let found = mistakes(&join(BOTH, 459), "18", "\"44\"");
    assert_eq!(found, [""; 0]);
    assert_eq!(mistakes(&join(BOTH, 460), "18", "\"44\"").len(), 1);
}

#[test]
fn the_order_of_attributes_does_not_matter() {
    // 600,000 people have a birth date, and 2,000,000 a division.
    let of = |attributes: &str, min| {
        let join = join(attributes, min);
        mistakes(&join.replace("500000", "1900000"), "18", "\"33\"").len()
    };
    for min in [29, 30, 31, 40] {
        assert_eq!(of(BOTH, min), of("\"division\", \"birth-date\"", min), "{min}");
    }
}

#[test]
fn a_join_names_attributes_that_there_are() {
    for (joins, said) in [
        (join("\"birth-date\", \"height\"", 20), "together: attributes: no [[attribute]] entry is"),
        (join("\"birth-date\"", 20), "together: attributes: must be a list of 2 to"),
        (join("\"division\", \"division\"", 20), "none twice"),
        (join(BOTH, 1), "cell_people_min: must be an integer from 2"),
        (join(BOTH, 2).replace("\"together\"", "\"division\""), "one attribute or one join"),
    ] {
        let found = mistakes(&joins, "18", "\"33\"").join("\n");
        assert!(found.contains(said), "{found}");
    }
}
