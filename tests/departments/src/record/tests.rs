use std::collections::BTreeMap;

use jiff::civil::date;
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::*;
use crate::population::population;

/// Name of a complex type to its elements: name, type, and whether it can be missing.
type Types = BTreeMap<String, Vec<(String, String, bool)>>;

fn wsdl_types() -> Types {
    let mut reader = Reader::from_str(include_str!("../../wsdl/person-query.wsdl"));
    let mut types = Types::new();
    let mut current = String::new();
    loop {
        match reader.read_event().expect("the WSDL is well formed") {
            Event::Start(start) | Event::Empty(start) => {
                let value = |name: &str| {
                    let attribute = start.try_get_attribute(name).expect("well formed")?;
                    Some(attribute.value.into_owned())
                };
                match start.local_name().into_inner() {
                    "complexType" => current = value("name").unwrap_or_default(),
                    "element" if !current.is_empty() => {
                        let kind = value("type").expect("an element of a type has a type");
                        let is_optional = value("minOccurs").as_deref() == Some("0");
                        let name = value("name").expect("an element has a name");
                        types.entry(current.clone()).or_default().push((name, kind, is_optional));
                    }
                    _ => {}
                }
            }
            Event::Eof => return types,
            _ => {}
        }
    }
}

fn flatten(types: &Types, kind: &str, path: &str, is_optional: bool) -> Vec<(String, bool)> {
    let Some(elements) = kind.strip_prefix("p:").and_then(|name| types.get(name)) else {
        return vec![(path.into(), is_optional)];
    };
    let each = elements.iter();
    each.flat_map(|(name, kind, is_own_optional)| {
        flatten(types, kind, &format!("{path}/{name}"), is_optional || *is_own_optional)
    })
    .collect()
}

#[test]
fn records_have_the_elements_of_the_wsdl_in_its_order() {
    let expected = flatten(&wsdl_types(), "p:Person", "Person", false);
    assert!(expected.len() > 50, "{} leaves", expected.len());
    let today = date(2026, 5, 12);
    for person in population(7, 400, today) {
        let mut actual = Vec::new();
        for path in record(&person, today).outline() {
            if !actual.contains(&path) {
                actual.push(path);
            }
        }
        let present = expected.iter().filter(|(path, is_optional)| {
            let is_present = actual.contains(path);
            assert!(is_present || *is_optional, "{path} is missing");
            is_present
        });
        assert_eq!(actual, present.map(|(path, _)| path.clone()).collect::<Vec<_>>());
    }
}

#[test]
fn text_is_escaped() {
    let mut xml = String::new();
    text("Name", "<&>").write_xml(&mut xml);
    assert_eq!(xml, "<p:Name>&lt;&amp;&gt;</p:Name>");
}

#[test]
fn json_keeps_lists_lists_and_nil_null() {
    let today = date(2026, 5, 12);
    let people = population(7, 400, today);
    let nil = people.iter().find(|person| person.recorded_birth == RecordedBirth::Nil);
    let json = record(nil.expect("a special person"), today).to_json();
    assert!(json["BirthDate"].is_null());
    assert_eq!(json["Identifiers"]["Identifier"][0]["type"], "passport");
    assert_eq!(json["Identifiers"]["Identifier"][0]["text"], "E00000005");
    let alone = people.iter().find(|person| person.household.members.len() == 1);
    let json = record(alone.expect("somebody with one relative"), today).to_json();
    assert_eq!(json["Household"]["Members"]["Member"].as_array().map(Vec::len), Some(1));
}
