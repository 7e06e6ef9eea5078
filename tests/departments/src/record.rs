//! The civil registry's record of a person: about sixty elements in the order of the WSDL. Rendered
//! as XML for the SOAP server and as JSON for the dump; never knows an envelope.

use jiff::ToSpan as _;
use jiff::civil::Date;
use quick_xml::escape::escape;
use serde_json::{Map, Value};

use crate::person::{Person, RecordedBirth, UNUSABLE_BIRTH_DATE};
use crate::random::Random;

/// An element of a record.
pub(crate) struct Element {
    name: &'static str,
    /// The `type` attribute.
    kind: Option<&'static str>,
    content: Content,
}

enum Content {
    Text(String),
    Nil,
    Children(Vec<Element>),
}

impl Element {
    /// Appends the element as XML with the prefix `p`.
    pub fn write_xml(&self, xml: &mut String) {
        xml.push_str("<p:");
        xml.push_str(self.name);
        if let Some(kind) = self.kind {
            xml.push_str(" type=\"");
            xml.push_str(kind);
            xml.push('"');
        }
        match &self.content {
            Content::Nil => {
                xml.push_str(" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"");
                xml.push_str(" xsi:nil=\"true\"/>");
                return;
            }
            Content::Text(text) if text.is_empty() => {
                xml.push_str("/>");
                return;
            }
            Content::Text(text) => {
                xml.push('>');
                xml.push_str(&escape(text.as_str()));
            }
            Content::Children(children) => {
                xml.push('>');
                children.iter().for_each(|child| child.write_xml(xml));
            }
        }
        xml.push_str("</p:");
        xml.push_str(self.name);
        xml.push('>');
    }

    /// The element's content: text, null, an object, or for what can repeat a list. An element with
    /// a type attribute is an object of `type` and `text`.
    pub fn to_json(&self) -> Value {
        match (&self.content, self.kind) {
            (Content::Nil, _) => Value::Null,
            (Content::Text(text), None) => Value::from(text.as_str()),
            (Content::Text(text), Some(kind)) => serde_json::json!({ "type": kind, "text": text }),
            (Content::Children(children), _) => {
                let mut object = Map::new();
                for child in children {
                    let value = child.to_json();
                    if REPEATED.contains(&child.name) {
                        let list = object.entry(child.name).or_insert_with(|| Value::Array(vec![]));
                        if let Value::Array(list) = list {
                            list.push(value);
                        }
                    } else {
                        object.insert(child.name.into(), value);
                    }
                }
                Value::Object(object)
            }
        }
    }

    #[cfg(test)]
    pub fn outline(&self) -> Vec<String> {
        match &self.content {
            Content::Text(_) | Content::Nil => vec![self.name.into()],
            Content::Children(children) => {
                let inner = children.iter().flat_map(Self::outline);
                inner.map(|below| format!("{}/{below}", self.name)).collect()
            }
        }
    }
}

/// The `Person` element of a person's record as of a day.
pub(crate) fn record(person: &Person, today: Date) -> Element {
    let mut noise = Random::stream(person.noise, RECORD_LANE, 0);
    let identity = identity(person);
    let vital = vital(person, &mut noise);
    let standing = standing(person, &mut noise);
    let documents = documents(person, today, &mut noise);
    let office = office(person, today, &mut noise);
    let parts = [identity, vital, standing, documents, office];
    children("Person", parts.into_iter().flatten().collect())
}

fn identity(person: &Person) -> Vec<Element> {
    let status = if person.is_suspended { "SUSPENDED" } else { "ACTIVE" };
    let mut name = vec![
        text("FamilyName", &person.name.family),
        text("GivenName", &person.name.given),
        text("FullName", &person.name.full),
        text("RomanizedName", &person.name.romanized),
    ];
    name.extend(person.name.former.as_ref().map(|former| text("FormerName", former)));
    vec![
        text("RecordId", format!("CR{:08}", 40_000_000 + person.ordinal)),
        text("RecordStatus", status),
        children("Name", name),
        text("Sex", person.sex.code()),
    ]
}

fn vital(person: &Person, noise: &mut Random) -> Vec<Element> {
    let birth = match person.recorded_birth {
        RecordedBirth::Entered => text("BirthDate", person.birth_date.to_string()),
        RecordedBirth::Empty => text("BirthDate", ""),
        RecordedBirth::Nil => Element { name: "BirthDate", kind: None, content: Content::Nil },
        RecordedBirth::Unusable => text("BirthDate", UNUSABLE_BIRTH_DATE),
    };
    let birthplace = person.identifiers.resident_identity.get(..6).unwrap_or_default();
    let life = if person.death_date.is_some() { "DECEASED" } else { "ALIVE" };
    let mut vital = vec![birth, text("BirthPlace", birthplace), text("LifeStatus", life)];
    vital.extend(person.death_date.map(|death| text("DeathDate", death.to_string())));
    vital.push(text("MaritalStatus", person.marital.code()));
    let identifier = |(kind, identifier): (crate::identifier::Kind, &str)| Element {
        name: "Identifier",
        kind: Some(kind.as_str()),
        content: Content::Text(identifier.into()),
    };
    vital.push(children("Identifiers", person.identifiers.each().map(identifier).collect()));
    vital.extend([
        text("BloodType", noise.word(&["A", "B", "O", "AB"])),
        text("Height", noise.between(152, 188).to_string()),
    ]);
    vital
}

fn standing(person: &Person, noise: &mut Random) -> Vec<Element> {
    let place = person.residence.place;
    let members = person.household.members.iter().map(|member| {
        let fields = vec![
            text("Role", member.role.code()),
            text("BirthDate", member.birth_date.to_string()),
            text("FullName", &member.full_name),
        ];
        children("Member", fields)
    });
    let ethnic = if noise.chance(92) { "01" } else { noise.word(&["03", "06", "08", "11"]) };
    vec![
        text("Nationality", "CHN"),
        text("Ethnic", ethnic),
        text("NativePlace", crate::places::place(noise).division),
        text("Education", noise.word(&["10", "20", "20", "30", "40", "60", "70"])),
        text("Occupation", noise.word(&["20100", "20900", "30100", "40400", "60200"])),
        text("Political", noise.word(&["01", "03", "13", "13", "13"])),
        text("Military", "0"),
        children(
            "Residence",
            vec![
                text("DivisionCode", place.division),
                text("DivisionName", place.name),
                text("Address", &person.residence.address),
                text("RegisteredSince", person.residence.since.to_string()),
            ],
        ),
        children(
            "Household",
            vec![
                text("Number", &person.household.number),
                text("Type", noise.word(&["10", "10", "20"])),
                text("Role", person.household.role.code()),
                children("Members", members.collect()),
            ],
        ),
        text("Postcode", place.postcode),
        // A Chinese mobile number begins with 13 to 19; nobody has one with 10.
        text("Phone", format!("100{:08}", person.ordinal)),
        text("Email", format!("p{}@example.invalid", person.ordinal)),
    ]
}

fn documents(person: &Person, today: Date, noise: &mut Random) -> Vec<Element> {
    let mut past = |days: i64| {
        let day = today.saturating_sub(noise.between(30, days).days());
        day.max(person.birth_date)
    };
    let card_from = past(3_000);
    let passport_from = past(3_000);
    let photo_on = past(3_000);
    let later = |day: Date, years: i32| day.saturating_add(years.years()).to_string();
    vec![
        text("CardFrom", card_from.to_string()),
        text("CardTo", later(card_from, 20)),
        text("CardOffice", person.residence.place.division),
        text("PassportFrom", passport_from.to_string()),
        text("PassportTo", later(passport_from, 10)),
        text("PhotoRef", format!("PH{:016x}", noise.next())),
        text("PhotoDate", photo_on.to_string()),
        text("SignRef", format!("SG{:08x}", noise.next() as u32)),
    ]
}

fn office(person: &Person, today: Date, noise: &mut Random) -> Vec<Element> {
    let moment = |day: Date, seconds: i64| {
        let time = day.at(8, 30, 0, 0).saturating_add(seconds.seconds());
        time.strftime("%Y-%m-%dT%H:%M:%S+08:00").to_string()
    };
    let updated = today.saturating_sub(noise.between(1, 28).days());
    let reason = noise.word(&["BIRTH", "MOVE", "RENEWAL", "REVIEW"]);
    vec![
        text("Office", format!("{}派出所", person.residence.place.name)),
        text("OfficeCode", format!("{}{:03}", person.residence.place.division, noise.below(400))),
        text("Officer", format!("{:06}", noise.below(1_000_000))),
        text("Volume", noise.between(1, 900).to_string()),
        text("Page", noise.between(1, 300).to_string()),
        text("Reason", reason),
        text("Created", moment(person.residence.since, noise.between(0, 30_000))),
        text("Updated", moment(updated, noise.between(0, 30_000))),
        text("Version", noise.between(1, 40).to_string()),
    ]
}

fn text(name: &'static str, text: impl Into<String>) -> Element {
    Element { name, kind: None, content: Content::Text(text.into()) }
}

fn children(name: &'static str, children: Vec<Element>) -> Element {
    Element { name, kind: None, content: Content::Children(children) }
}

const REPEATED: [&str; 2] = ["Identifier", "Member"];
const RECORD_LANE: u64 = 2;

#[cfg(test)]
mod tests;
