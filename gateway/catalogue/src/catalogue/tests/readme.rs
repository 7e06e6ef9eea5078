//! The tables of `spec/catalogue/README.md` and `spec/disclosure.md`, derived from the entries.

use std::fmt::Write as _;

use super::{shipped, shipped_dir};
use crate::catalogue::{FinestCells, Histogram, ParameterKind, ParameterSpec, Predicate};

const BEGIN: &str = "<!-- generated: predicates -->\n";
const END: &str = "<!-- /generated -->";

#[test]
fn the_table_is_what_the_entries_say() {
    compare("README.md", BEGIN, &predicates_table());
}

#[test]
fn the_page_on_disclosure_says_what_the_linter_has_found() {
    let mut table =
        "| attribute | narrowest cell | fewest people in a cell |\n|---|---|---|\n".to_owned();
    for attribute in shipped().attributes() {
        let FinestCells { narrowest, people_min } = shipped().finest_cells(attribute).unwrap();
        let unit = match attribute.people {
            Histogram::Dates(_) => "days",
            Histogram::Counts(_) => "month of contributions",
            Histogram::Codes(_) => "code",
        };
        writeln!(table, "| {} | {narrowest} {unit} | {people_min} |", attribute.id).unwrap();
        assert!(people_min >= attribute.cell_people_min);
    }
    for join in shipped().joins() {
        let people = shipped().fewest_together(join).unwrap();
        writeln!(table, "| {} | | {people} |", join.attributes.join(" with ")).unwrap();
        assert!(people >= join.cell_people_min);
    }
    compare("../disclosure.md", "<!-- generated: cells -->\n", &table);
}

/// Compares a generated part of a page, or writes it.
fn compare(page: &str, begin: &str, wanted: &str) {
    let path = shipped_dir().join(page);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(begin).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    if std::env::var_os("JUMPGATE_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, format!("{before}{begin}{wanted}{END}{after}")).unwrap();
    } else {
        assert_eq!(table, wanted, "JUMPGATE_BLESS=1 writes it anew");
    }
}

fn predicates_table() -> String {
    let mut table = "| predicate | | attribute | as of | parameters | subject | purposes | absent \
                     | no secret for |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for predicate in shipped().predicates() {
        let Predicate { id, title_en, title_zh, attribute, absent, .. } = &**predicate;
        let parameters = join(&predicate.parameters, "<br>", parameter_cell);
        let subjects = join(&predicate.subject_kinds, ", ", ToString::to_string);
        let purposes = join(&predicate.purposes, ", ", ToString::to_string);
        let no_secret_for = join(&predicate.no_secret_for, ", ", ToString::to_string);
        let clock = clock_cell(predicate);
        writeln!(
            table,
            "| `{id}` | {title_en}<br>{title_zh} | {attribute} | {clock} | {parameters} \
             | {subjects} | {purposes} | `{absent}` | {no_secret_for} |"
        )
        .unwrap();
    }
    table
}

fn clock_cell(predicate: &Predicate) -> String {
    let clock = predicate.clock.as_str();
    let cell = predicate.cell.map(|cell| format!(", {}", cell.as_str())).unwrap_or_default();
    let matching = if predicate.is_match { ", match" } else { "" };
    format!("{clock}{cell}{matching}")
}

fn parameter_cell(spec: &ParameterSpec) -> String {
    let values = match &spec.kind {
        ParameterKind::Integers(set) => join(set, " ", ToString::to_string),
        ParameterKind::Codes(set) => join(set, " ", ToString::to_string),
        ParameterKind::Text { chars_max } => format!("text, at most {chars_max} characters"),
        ParameterKind::Identifier(rule) => format!("identifier, {rule}"),
    };
    format!("`{}`: {values}", spec.name)
}

fn join<T>(values: &[T], separator: &str, text: fn(&T) -> String) -> String {
    values.iter().map(text).collect::<Vec<_>>().join(separator)
}
