//! Attributes that are looked at together.

use crate::catalogue::Catalogue;
use crate::catalogue::tests::KINDS;

/// 600,000 people of a hundred years, a tenth of them in a small division; who is asked by month
/// is one of 466 at least.
fn mistakes(joins: &str, ages: &str, divisions: &str) -> Vec<String> {
    let predicate = |name: &str, of: &str, clock: &str, kind: &str, set: &str| {
        format!(
            r#"
            [[predicate]]
            id = "civil-registry/{name}@1"
            title_en = "Asked"
            title_zh = "问"
            description_en = "Asked."
            attribute = "{of}"
            {clock}
            subject_kinds = ["passport"]
            purposes = ["hiring"]
            absent = "undetermined"
            timing = "one-reply"
            [[predicate.parameter]]
            name = "of"
            title_en = "Of"
            title_zh = "值"
            type = "{kind}"
            one_of = [{set}]"#
        )
    };
    let on_grid = "clock = \"grid\"\ncut = { years_before = \"of\" }";
    let of_now = "clock = \"current\"\ncut = { code = \"of\" }";
    let civil = format!(
        r#"
        department = "civil-registry"
        [[attribute]]
        id = "birth-date"
        title_en = "Date of birth"
        title_zh = "出生日期"
        cell_people_min = 20
        until_date = "2026-01-01"
        people = [{{ from_date = "1926-01-01", people = 600000 }}]
        [[attribute]]
        id = "division"
        title_en = "Division"
        title_zh = "行政区划"
        cell_people_min = 20
        people = [{{ code = "310104", people = 500000 }}, {{ code = "33", people = 40000 }},
            {{ code = "11", people = 60000 }}, {{ code = "44", people = 0 }}]
        {joins}{}{}"#,
        predicate("age", "birth-date", on_grid, "integer", ages),
        predicate("in", "division", of_now, "code", divisions),
    );
    let files = [("civil.toml", civil.as_str()), ("kinds.toml", KINDS)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let mistakes = Catalogue::parse(&files).err().unwrap_or_default();
    mistakes.iter().map(ToString::to_string).collect()
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
