//! The JSON that social insurance sends. Nothing else may derive `Serialize` here.

use bytes::Bytes;
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Serialize;

use crate::insurance::{Contribution, Employer, Insurance, Membership, Scheme};
use crate::person::{Person, Sex};
use crate::random::Random;

pub(super) fn person(
    person: &Person,
    insurance: &Insurance,
    employers: &[Employer],
    today: Date,
) -> Bytes {
    let mut noise = Random::stream(person.noise, INSURANCE_LANE, 0);
    let division = person.residence.place.division;
    let since = insurance.schemes.first().map(|member| member.since.to_string());
    let view = PersonView {
        social_number: format!("SI{:010}", 7_000_000_000 + person.ordinal as u64),
        card_number: format!("{division}{:08X}", noise.next() as u32),
        name: &person.name.full,
        romanized_name: &person.name.romanized,
        sex: match person.sex {
            Sex::Female => "female",
            Sex::Male => "male",
        },
        birth_date: person.birth_date.to_string(),
        status: insurance.status.as_str(),
        registered_since: since,
        schemes: insurance.schemes.iter().map(scheme).collect(),
        employer: insurance.employment.map(|employment| EmploymentView {
            uscc: &employers[employment.employer].uscc,
            name: &employers[employment.employer].name,
            since: employment.since.to_string(),
        }),
        pension: PensionView {
            state: insurance.pension.state.as_str(),
            since: insurance.pension.since.map(|since| since.to_string()),
        },
        agency_code: format!("{division}01"),
        agency_name: format!("{}社会保险事业管理中心", person.residence.place.name),
        employment_type: if insurance.employment.is_some() { "employee" } else { "none" },
        base_fen: insurance.contributions.first().map(|item| item.base_fen),
        account_balance_fen: noise.below(30_000_000),
        medical_category: noise.word(&["A", "A", "B"]),
        designated_hospital: format!("{division}{:04}", noise.below(10_000)),
        bank_code: noise.word(&["102", "103", "104", "105"]),
        bank_account_tail: format!("{:04}", noise.below(10_000)),
        mobile: format!("100{:08}", person.ordinal),
        address: &person.residence.address,
        postcode: person.residence.place.postcode,
        division_code: division,
        updated_at: today.saturating_sub(noise.between(1, 90).days()).to_string(),
        version: noise.between(1, 60),
    };
    render(&PersonReply { person: view })
}

fn scheme(member: &Membership) -> SchemeView {
    SchemeView {
        scheme: member.scheme.as_str(),
        state: member.state.as_str(),
        since: member.since.to_string(),
    }
}

pub(super) fn employer(employer: &Employer) -> Bytes {
    let arrears = employer
        .arrears
        .map(|owed| ArrearsView { months: owed.months, amount_fen: owed.amount_fen });
    let state = if employer.is_active { "active" } else { "closed" };
    let view = EmployerView { uscc: &employer.uscc, name: &employer.name, state, arrears };
    render(&EmployerReply { employer: view })
}

pub(super) fn contributions(
    scheme: Scheme,
    page: usize,
    size: usize,
    all: &[Contribution],
    employers: &[Employer],
) -> Bytes {
    let item = |item: &Contribution| ContributionView {
        month: item.month.to_string(),
        state: item.state.as_str(),
        base_fen: item.base_fen,
        employer_uscc: employers[item.employer].uscc.clone(),
    };
    render(&ContributionsReply {
        scheme: scheme.as_str(),
        page,
        pages: all.len().div_ceil(size),
        size,
        total: all.len(),
        items: all.iter().skip((page - 1) * size).take(size).map(item).collect(),
    })
}

pub(super) fn error(code: &str, message: &str) -> Bytes {
    render(&ErrorReply { code, message })
}

fn render(reply: &impl Serialize) -> Bytes {
    serde_json::to_vec(reply)
        .expect("structs with text keys and numbers always serialise to memory")
        .into()
}

#[derive(Serialize)]
struct PersonReply<'a> {
    person: PersonView<'a>,
}

#[derive(Serialize)]
struct PersonView<'a> {
    social_number: String,
    card_number: String,
    name: &'a str,
    romanized_name: &'a str,
    sex: &'static str,
    birth_date: String,
    status: &'static str,
    registered_since: Option<String>,
    schemes: Vec<SchemeView>,
    employer: Option<EmploymentView<'a>>,
    pension: PensionView,
    agency_code: String,
    agency_name: String,
    employment_type: &'static str,
    base_fen: Option<u64>,
    account_balance_fen: u64,
    medical_category: &'static str,
    designated_hospital: String,
    bank_code: &'static str,
    bank_account_tail: String,
    mobile: String,
    address: &'a str,
    postcode: &'static str,
    division_code: &'static str,
    updated_at: String,
    version: i64,
}

#[derive(Serialize)]
struct SchemeView {
    scheme: &'static str,
    state: &'static str,
    since: String,
}

#[derive(Serialize)]
struct EmploymentView<'a> {
    uscc: &'a str,
    name: &'a str,
    since: String,
}

#[derive(Serialize)]
struct PensionView {
    state: &'static str,
    since: Option<String>,
}

#[derive(Serialize)]
struct ContributionsReply {
    scheme: &'static str,
    page: usize,
    /// 0 if there is no contribution.
    pages: usize,
    size: usize,
    total: usize,
    /// Newest month first.
    items: Vec<ContributionView>,
}

#[derive(Serialize)]
struct ContributionView {
    month: String,
    state: &'static str,
    base_fen: u64,
    employer_uscc: String,
}

#[derive(Serialize)]
struct EmployerReply<'a> {
    employer: EmployerView<'a>,
}

#[derive(Serialize)]
struct EmployerView<'a> {
    uscc: &'a str,
    name: &'a str,
    state: &'static str,
    arrears: Option<ArrearsView>,
}

#[derive(Serialize)]
struct ArrearsView {
    months: u32,
    amount_fen: u64,
}

#[derive(Serialize)]
struct ErrorReply<'a> {
    code: &'a str,
    message: &'a str,
}

const INSURANCE_LANE: u64 = 4;
