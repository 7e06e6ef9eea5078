//! Adapter for the civil registry's SOAP system: one request a question, one person a reply.
//!
//! Owns what the registry's fields mean. It is never told the identifier it asks about.

use jumpgate_adapter::{
    Adapter, Date, Document, Element, Failure, FailureCode, Finding, Manifest, MaritalStatus,
    Query, Reason, Replies, Sex, Soap11, Step, Stop, in_division, months_between, names_match,
    whole_years,
};

const NAMESPACE: &str = "urn:civil-registry:person:2";
const ACTION: &str = "urn:civil-registry:person:2/QueryPerson";

/// Below this age a person is a minor (Civil Code of China, article 17).
const MAJORITY_YEARS: u32 = 18;

/// The civil registry's adapter.
#[derive(Debug)]
pub struct CivilRegistry;

jumpgate_adapter::export!(CivilRegistry);

impl Adapter for CivilRegistry {
    type State = ();

    const MANIFEST: Manifest = Manifest {
        name: "civil-registry",
        version: env!("CARGO_PKG_VERSION"),
        predicates: &[
            "civil-registry/age-at-least@1",
            "civil-registry/alive@1",
            "civil-registry/household-head@1",
            "civil-registry/marital-status-is@1",
            "civil-registry/name-matches@1",
            "civil-registry/parent-of-minor@1",
            "civil-registry/resident-for-months@1",
            "civil-registry/resident-in@1",
            "civil-registry/sex-is@1",
        ],
        endpoints: &["registry"],
        steps_max: 2,
    };

    fn begin(query: &Query) -> Result<Step<()>, Stop> {
        if !Self::MANIFEST.predicates.contains(&query.predicate()) {
            return Err(Failure::unsupported_query().into());
        }
        let kind = [("type", query.subject_kind())];
        let request = Soap11::new(NAMESPACE, ACTION)
            .post("registry", "/PersonQuery", "QueryPerson", |person| {
                person
                    .element_with("Identifier", &kind, |identifier| identifier.subject())
                    .element("View", |view| view.text("full"))
            })
            .safe_to_retry();
        Ok(Step::fetch(request, ()))
    }

    fn resume(query: &Query, (): (), replies: &Replies) -> Result<Step<()>, Stop> {
        let document = replies.only()?.ok()?.xml()?;
        match find_person(&document)? {
            Some(person) => Ok(holds(query, person)?.into()),
            None => Ok(Finding::Absent.into()),
        }
    }
}

/// The one person of the reply, if the registry knows one and may speak of it.
fn find_person<'d>(document: &'d Document<'_>) -> Result<Option<Element<'d>>, Stop> {
    let response = document.soap_body(NAMESPACE, "QueryPersonResponse")?;
    let code = response.required("Result/Code")?;
    let mut persons = response.children_named("Person");
    match (code.text(), persons.next(), persons.next()) {
        ("NOT_FOUND", None, _) => Ok(None),
        ("MULTIPLE", ..) | ("OK", Some(_), Some(_)) => Err(Reason::SeveralRecords.into()),
        ("OK", Some(person), None) => match person.field("RecordStatus")? {
            "ACTIVE" => Ok(Some(person)),
            "SUSPENDED" => Err(Reason::RecordSuspended.into()),
            _ => Err(Reason::UnusableField.into()),
        },
        _ => Err(code.failure(FailureCode::UnexpectedReply).into()),
    }
}

/// Whether the predicate holds for the person.
fn holds(query: &Query, person: Element<'_>) -> Result<bool, Stop> {
    let as_of = query.as_of();
    match query.predicate() {
        "civil-registry/age-at-least@1" => {
            let years = age_years(person, as_of)?.map(i64::from);
            Ok(years >= Some(query.integer("years")?))
        }
        "civil-registry/alive@1" => is_alive(person, as_of),
        "civil-registry/household-head@1" => Ok(household_role(person)? == Role::Head),
        "civil-registry/marital-status-is@1" => {
            let status = MaritalStatus::from_code(person.field("MaritalStatus")?)?;
            Ok(status.as_str() == query.text("status")?)
        }
        "civil-registry/name-matches@1" => has_name(person, query.text("name")?),
        "civil-registry/parent-of-minor@1" => is_parent_of_minor(person, as_of),
        "civil-registry/resident-for-months@1" => {
            let since = not_later(person.date("Residence/RegisteredSince")?, as_of)?;
            let months = months_between(since, as_of).map(i64::from);
            Ok(months >= Some(query.integer("months")?))
        }
        "civil-registry/resident-in@1" => {
            let code = person.field("Residence/DivisionCode")?;
            Ok(in_division(code, query.text("division")?)?)
        }
        "civil-registry/sex-is@1" => {
            let sex = Sex::from_code(person.field("Sex")?)?;
            Ok(sex.as_str() == query.text("sex")?)
        }
        _ => Err(Failure::unsupported_query().into()),
    }
}

/// Complete years since the birth, also of the dead: nothing but the date of birth is looked at.
/// Were they not to grow older, the answer would tell when they died.
fn age_years(person: Element<'_>, as_of: Date) -> Result<Option<u32>, Stop> {
    Ok(whole_years(not_later(person.date("BirthDate")?, as_of)?, as_of))
}

fn is_alive(person: Element<'_>, as_of: Date) -> Result<bool, Stop> {
    match death(person)? {
        Some(death) if death > as_of => Err(Reason::UnusableField.into()),
        death => Ok(death.is_none()),
    }
}

/// The date of death of a person who has died. Status and date must agree: one without the other
/// is a correction under way.
fn death(person: Element<'_>) -> Result<Option<Date>, Stop> {
    match (person.field("LifeStatus")?, person.optional_date("DeathDate")?) {
        ("ALIVE", None) => Ok(None),
        ("DECEASED", Some(death)) => Ok(Some(death)),
        ("ALIVE", Some(_)) | ("DECEASED", None) => Err(Reason::ConflictingFields.into()),
        _ => Err(Reason::UnusableField.into()),
    }
}

/// The full name or its romanized form; a former name is another name.
fn has_name(person: Element<'_>, asked: &str) -> Result<bool, Stop> {
    if let Some(name) = person.optional_field("Name/RomanizedName")?
        && names_match(name, asked)
    {
        return Ok(true);
    }
    Ok(names_match(person.field("Name/FullName")?, asked))
}

/// A member's relation to the head of the household; the registry records no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Head,
    Spouse,
    Child,
    Parent,
    Other,
}

impl Role {
    /// Whether a member of role `other` is the child of a member of this role; none where the
    /// relation to the head does not say.
    fn is_parent_of(self, other: Role) -> Option<bool> {
        match (self, other) {
            (Self::Head | Self::Spouse, Self::Child) | (Self::Parent, Self::Head) => Some(true),
            (Self::Head | Self::Spouse | Self::Parent, _) => Some(false),
            (Self::Child | Self::Other, Self::Other) => None,
            (Self::Child, _) => Some(false),
            (Self::Other, _) => None,
        }
    }
}

fn household_role(person: Element<'_>) -> Result<Role, Stop> {
    role(person.field("Household/Role")?)
}

fn role(code: &str) -> Result<Role, Stop> {
    match code {
        "HEAD" => Ok(Role::Head),
        "SPOUSE" => Ok(Role::Spouse),
        "CHILD" => Ok(Role::Child),
        "PARENT" => Ok(Role::Parent),
        "OTHER" => Ok(Role::Other),
        _ => Err(Reason::UnusableField.into()),
    }
}

/// Whether a member of the household is the person's child and a minor. One that certainly is
/// settles the question; one that might be leaves it open.
fn is_parent_of_minor(person: Element<'_>, as_of: Date) -> Result<bool, Stop> {
    let own = household_role(person)?;
    let mut open = None;
    let household = person.required("Household")?;
    for member in household.find("Members").into_iter().flat_map(|it| it.children_named("Member")) {
        let is_child = own.is_parent_of(role(member.field("Role")?)?);
        if is_child == Some(false) {
            continue;
        }
        match (is_minor(member, as_of), is_child) {
            (Ok(true), Some(true)) => return Ok(true),
            (Ok(true), _) => open = Some(Reason::MissingField.into()),
            (Ok(false), _) => {}
            (Err(stop), _) => open = Some(stop),
        }
    }
    open.map_or(Ok(false), Err)
}

/// Born, and not yet of age. A child born after the question's date does not count.
fn is_minor(member: Element<'_>, as_of: Date) -> Result<bool, Stop> {
    let birth = not_later(member.date("BirthDate")?, as_of)?;
    Ok(whole_years(birth, as_of).is_some_and(|years| years < MAJORITY_YEARS))
}

/// A date of the record that cannot lie in the future. The question's date can be the first day of
/// the month in which it is asked, so the whole of that month is allowed.
fn not_later(date: Date, as_of: Date) -> Result<Date, Stop> {
    if date.month() > as_of.month() { Err(Reason::UnusableField.into()) } else { Ok(date) }
}

#[cfg(test)]
mod tests;
