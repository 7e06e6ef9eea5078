//! From tables to how people are spread over an attribute, and how answers divide them.

use jiff::civil::Date;
use toml::Table;

use super::attribute::{
    Attribute, Buckets, CodeCut, Cut, CutUnit, Follows, Histogram, Side, days_since_1970,
};
use super::entries::PEOPLE_MAX;
use super::predicate::{ParameterKind, ParameterSpec};
use super::reader::Reader;
use crate::query::one_of;

/// A bucket for each of more years than anybody lives, or a code for each division of a province.
const BUCKETS_MAX: usize = 256;
/// Longer than a life.
const YEARS_MAX: i64 = 200;

/// How a predicate divides an attribute of dates or counts.
pub(super) fn read_cut(
    reader: &mut Reader<'_>,
    attribute: &Attribute,
    parameters: Option<&[ParameterSpec]>,
) -> Option<Cut> {
    let Some(unit) = CutUnit::ALL.into_iter().find(|unit| reader.has(unit.as_str())) else {
        let rule = one_of(CutUnit::ALL.map(CutUnit::as_str));
        reader.mistake("-", format!("has {rule}"), "add it");
        return None;
    };
    let key = unit.as_str();
    let is_of_dates = unit != CutUnit::AtLeastMonths;
    if is_of_dates != matches!(attribute.people, Histogram::Dates(_)) {
        let rule = format!("the people of {} are spread over other values", attribute.id);
        reader.mistake(key, rule, "cut by what its [[attribute]] entry has");
    }
    let integers = parameters?.iter().filter_map(|spec| match &spec.kind {
        ParameterKind::Integers(set) => Some((&*spec.name, set)),
        ParameterKind::Codes(_) | ParameterKind::Text { .. } | ParameterKind::Identifier(_) => None,
    });
    let integers: Vec<(&str, &Vec<i64>)> = integers.collect();
    let yes = match reader.has("yes") {
        true if is_of_dates => reader.word("yes", &Side::ALL, Side::as_str)?,
        false if is_of_dates => Side::Before,
        true | false => Side::From,
    };
    let (named, thresholds) = match reader.integers_or_text(key)? {
        Ok(thresholds) => (None, thresholds),
        Err(name) => match integers.iter().find(|(of, _)| *of == name) {
            Some((_, set)) => (Some(name), (*set).clone()),
            None => {
                let rule = format!("the predicate has no integer parameter {name}");
                reader.mistake(key, rule, "name the parameter that is the threshold");
                return None;
            }
        },
    };
    if let Some((other, _)) = integers.iter().find(|(of, _)| named.as_deref() != Some(*of)) {
        let rule = format!("the parameter {other} is a number too, and nothing says what it cuts");
        reader.mistake(key, rule, "make it a code, or a predicate of its own");
        return None;
    }
    let max = unit.threshold_max();
    // Now is a threshold only beside another one.
    let min = if named.is_none() && thresholds.len() > 1 { 0 } else { 1 };
    if thresholds.iter().any(|threshold| !(min..=max).contains(threshold)) {
        let rule = format!("a threshold is from {min} to {max} {}", unit.in_words());
        reader.mistake(key, rule, "change it");
        return None;
    }
    Some(Cut { unit, parameter: named.map(Into::into), thresholds, yes })
}

/// How a predicate divides an attribute of codes.
pub(super) fn read_code_cut(
    reader: &mut Reader<'_>,
    parameters: Option<&[ParameterSpec]>,
) -> Option<CodeCut> {
    let begins = reader.has("code_begins");
    let key = if begins { "code_begins" } else { "code" };
    let name = reader.text(key)?;
    let codes = parameters?.iter().find_map(|spec| match &spec.kind {
        ParameterKind::Codes(codes) if *spec.name == *name => Some(codes.clone()),
        ParameterKind::Codes(_)
        | ParameterKind::Integers(_)
        | ParameterKind::Text { .. }
        | ParameterKind::Identifier(_) => None,
    });
    let Some(codes) = codes else {
        let rule = format!("the predicate has no code parameter {name}");
        reader.mistake(key, rule, "name the parameter whose codes are asked about");
        return None;
    };
    if let Some(other) = parameters?.iter().find(|spec| *spec.name != *name) {
        let rule = format!("the parameter {} divides people too, and nothing says how", other.name);
        reader.mistake(key, rule, "make it a predicate of its own");
        return None;
    }
    Some(CodeCut { begins, codes })
}

/// `None` after a mistake; `Some(None)` where it follows from nothing.
pub(super) fn read_follows(reader: &mut Reader<'_>) -> Option<Option<Follows>> {
    let Some(table) = reader.table("follows") else { return Some(None) };
    let mut child = reader.child("follows", "", table);
    let attribute = child.text("attribute");
    let years = child.integer("years", 0, YEARS_MAX);
    child.finish();
    Some(Some(Follows { attribute: attribute?, years: years? }))
}

/// The people of an attribute: of each code, or buckets of dates or of counts, and where the last
/// one ends.
pub(super) fn read_histogram(reader: &mut Reader<'_>) -> Option<Histogram> {
    let tables = reader.tables("people", BUCKETS_MAX);
    if tables.first().is_some_and(|table| table.contains_key("code")) {
        return read_codes(reader, tables);
    }
    let is_of_dates = tables.first().is_none_or(|table| table.contains_key("from_date"));
    let (from_key, until_key) =
        if is_of_dates { ("from_date", "until_date") } else { ("from_count", "until_count") };
    let mut from = Vec::new();
    for (number, table) in (1..).zip(tables) {
        let mut child = reader.child(&format!("people {number}"), "", table);
        let begin = read_value(&mut child, from_key);
        let people = child.integer("people", 0, PEOPLE_MAX);
        child.finish();
        from.push((begin?, u64::try_from(people?).ok()?));
    }
    let until = read_value(reader, until_key)?;
    let is_ascending = from.is_sorted_by(|one, next| one.0 < next.0);
    if from.is_empty() || !is_ascending || from.last().is_some_and(|last| last.0 >= until) {
        let rule = "must be buckets in ascending order, the last one ending after it begins";
        reader.mistake("people", rule, "put them in order");
        return None;
    }
    let buckets = Buckets { from, until };
    Some(if is_of_dates { Histogram::Dates(buckets) } else { Histogram::Counts(buckets) })
}

fn read_codes(reader: &mut Reader<'_>, tables: Vec<Table>) -> Option<Histogram> {
    let mut codes: Vec<(String, u64)> = Vec::new();
    for (number, table) in (1..).zip(tables) {
        let mut child = reader.child(&format!("people {number}"), "", table);
        let (code, people) = (child.text("code"), child.integer("people", 0, PEOPLE_MAX));
        child.finish();
        codes.push((code?, u64::try_from(people?).ok()?));
    }
    let is_twice = |at: usize| codes[..at].iter().any(|(code, _)| *code == codes[at].0);
    if let Some(at) = (0..codes.len()).find(|at| is_twice(*at)) {
        let rule = format!("has the code {} twice", codes[at].0);
        reader.mistake("people", rule, "add them together");
        return None;
    }
    Some(Histogram::Codes(codes))
}

/// A date as days since 1970, or a count.
fn read_value(reader: &mut Reader<'_>, key: &str) -> Option<i64> {
    if key.ends_with("_count") {
        return reader.integer(key, 0, PEOPLE_MAX);
    }
    let text = reader.text(key)?;
    match text.parse::<Date>() {
        Ok(date) => Some(days_since_1970(date)),
        Err(_) => {
            reader.mistake(key, "must be a date such as 1970-01-31", "change it");
            None
        }
    }
}
