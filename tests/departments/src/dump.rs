//! The population as JSON, for a server on another stack and for whoever wants to know the truth.

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use crate::person::Person;
use crate::record::record;

/// A list of people: ordinal, special name, identifiers by kind, true birth date, months paid, and
/// `record`, the civil registry's `Person` element as an object. README.md has the format.
pub fn dump(people: &[Person], today: Date) -> Value {
    people.iter().map(|person| one(person, today)).collect()
}

fn one(person: &Person, today: Date) -> Value {
    let identifiers: Map<String, Value> = person
        .identifiers
        .each()
        .map(|(kind, identifier)| (kind.as_str().into(), identifier.into()))
        .collect();
    json!({
        "ordinal": person.ordinal,
        "special": person.special.map(|special| special.as_str()),
        "identifiers": identifiers,
        "full_name": person.name.full,
        "birth_date": person.birth_date.to_string(),
        "contribution_months_paid": person.insurance.as_ref().map(|known| known.months_paid()),
        "record": record(person, today).to_json(),
    })
}
