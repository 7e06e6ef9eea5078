//! Adapter for the social insurance office's REST system: persons, their contributions page by
//! page, and employers.
//!
//! Owns what the office's fields mean; `months` owns the counting. It is never told the
//! identifier it asks about.

mod months;
mod office;

use jumpgate_adapter::{
    Adapter, Failure, FailureCode, Finding, Manifest, Month, Path, Query, Reason, Replies, Reply,
    Request, Step, Stop,
};
use months::Months;
use office::{
    ContributionPage, Employer, EmployerReply, ErrorReply, Person, PersonReply, needed, text,
};
use serde::{Deserialize, Serialize};

/// Contributions asked for in one page; the office's largest page.
const PAGE_ITEMS: u32 = 60;
/// Pages asked for side by side: the contract allows four requests a step.
const PAGES_AT_ONCE: u32 = 4;
/// The first page comes with the first step, four with each of six more, and the eighth step only
/// reads: 1,500 contributions, 62 years of them at two employers.
const PAGES_MAX: u32 = 1 + 6 * PAGES_AT_ONCE;

/// The social insurance office's adapter.
#[derive(Debug)]
pub struct SocialInsurance;

jumpgate_adapter::export!(SocialInsurance);

/// What is known of a person's contributions after some of their pages.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    paid: Months,
    /// Pages read so far.
    read: u32,
    /// As the first page gave them: pages, and contributions on all of them.
    pages: u32,
    total: u32,
}

impl Adapter for SocialInsurance {
    type State = Progress;

    const MANIFEST: Manifest = Manifest {
        name: "social-insurance",
        version: env!("CARGO_PKG_VERSION"),
        predicates: &[
            "social-insurance/continuous-months-at-least@1",
            "social-insurance/contribution-months-at-least@1",
            "social-insurance/employer-is@1",
            "social-insurance/employer-without-arrears@1",
            "social-insurance/insured@1",
            "social-insurance/receives-pension@1",
        ],
        endpoints: &["insurance"],
        steps_max: 8,
    };

    fn begin(query: &Query) -> Result<Step<Progress>, Stop> {
        let request = match query.predicate() {
            "social-insurance/continuous-months-at-least@1"
            | "social-insurance/contribution-months-at-least@1" => contributions(query, 1)?,
            "social-insurance/employer-is@1"
            | "social-insurance/insured@1"
            | "social-insurance/receives-pension@1" => get(person_path(query)),
            "social-insurance/employer-without-arrears@1" => {
                get(Path::new("/v2/employers/").subject())
            }
            _ => return Err(Failure::unsupported_query().into()),
        };
        Ok(Step::fetch(request, Progress::default()))
    }

    fn resume(query: &Query, known: Progress, replies: &Replies) -> Result<Step<Progress>, Stop> {
        match query.predicate() {
            "social-insurance/continuous-months-at-least@1"
            | "social-insurance/contribution-months-at-least@1" => {
                resume_contributions(query, known, replies.all())
            }
            "social-insurance/employer-without-arrears@1" => {
                match found::<EmployerReply>(replies.only()?, "EMPLOYER_NOT_FOUND")? {
                    Some(reply) => Ok(is_without_arrears(&reply.employer)?.into()),
                    None => Ok(Finding::Absent.into()),
                }
            }
            _ => match found::<PersonReply>(replies.only()?, "PERSON_NOT_FOUND")? {
                Some(reply) => Ok(holds(query, &reply.person)?.into()),
                None => Ok(Finding::Absent.into()),
            },
        }
    }
}

/// The predicates that one person's record answers.
fn holds(query: &Query, person: &Person) -> Result<bool, Stop> {
    match query.predicate() {
        "social-insurance/employer-is@1" => match needed(&person.employer)? {
            Some(employer) => {
                Ok(text(&employer.uscc)?.eq_ignore_ascii_case(query.text("employer")?))
            }
            None => Ok(false),
        },
        "social-insurance/insured@1" => is_insured(person, query.text("scheme")?),
        "social-insurance/receives-pension@1" => receives_pension(person, query.as_of().month()),
        _ => Err(Failure::unsupported_query().into()),
    }
}

/// A scheme that the record does not list is one the person never joined.
fn is_insured(person: &Person, asked: &str) -> Result<bool, Stop> {
    let schemes = needed(&person.schemes)?;
    let mut found = schemes.iter().filter(|it| it.scheme.as_deref() == Some(asked));
    let Some(scheme) = found.next() else { return Ok(false) };
    if found.next().is_some() {
        return Err(Reason::ConflictingFields.into());
    }
    match text(&scheme.state)? {
        // A closed record has no running insurance.
        "insured" if text(&person.status)? == "closed" => Err(Reason::ConflictingFields.into()),
        "insured" => Ok(true),
        "paused" | "ended" => Ok(false),
        _ => Err(Reason::UnusableField.into()),
    }
}

/// A suspended pension is not received now.
fn receives_pension(person: &Person, now: Month) -> Result<bool, Stop> {
    let pension = needed(&person.pension)?;
    match text(&pension.state)? {
        "none" | "suspended" => Ok(false),
        "receiving" => match pension.since.as_deref() {
            Some(since) if since.parse::<Month>()? > now => Err(Reason::ConflictingFields.into()),
            Some(_) | None => Ok(true),
        },
        _ => Err(Reason::UnusableField.into()),
    }
}

/// An employer without arrears has two zeros; null means that nothing was assessed.
fn is_without_arrears(employer: &Employer) -> Result<bool, Stop> {
    let arrears = needed(&employer.arrears)?;
    match (needed(&arrears.months)?, needed(&arrears.amount_fen)?) {
        (0, 0) => Ok(true),
        (1.., 1..) => Ok(false),
        _ => Err(Reason::ConflictingFields.into()),
    }
}

/// Reads the pages that came and asks for the next, or counts.
fn resume_contributions(
    query: &Query,
    mut known: Progress,
    replies: &[Reply],
) -> Result<Step<Progress>, Stop> {
    for reply in replies {
        match found(reply, "PERSON_NOT_FOUND")? {
            Some(page) => read_page(query, &mut known, &page, reply)?,
            None if known.read == 0 => return Ok(Finding::Absent.into()),
            // The person was there a page ago.
            None => return Err(reply.failure(FailureCode::UnexpectedReply).into()),
        }
    }
    if known.read == 0 {
        return Err(Failure::unsupported_query().into());
    }
    if known.read < known.pages {
        let last = known.pages.min(known.read + PAGES_AT_ONCE);
        let requests: Result<_, _> =
            (known.read + 1..=last).map(|page| contributions(query, page)).collect();
        return Ok(Step::Fetch(requests?, known));
    }
    let months = match query.predicate() {
        "social-insurance/continuous-months-at-least@1" => {
            known.paid.run_before(query.as_of().month())
        }
        _ => known.paid.count_before(query.as_of().month()),
    };
    Ok((i64::from(months) >= query.integer("months")?).into())
}

/// Takes one page into account. Each page must be the one asked for and agree with the first on how
/// much there is, else a month could be lost between two of them.
fn read_page(
    query: &Query,
    known: &mut Progress,
    page: &ContributionPage,
    reply: &Reply,
) -> Result<(), Stop> {
    let unexpected = || Stop::from(reply.failure(FailureCode::UnexpectedReply));
    if known.read == 0 {
        (known.pages, known.total) = (page.pages, page.total);
        if page.pages > PAGES_MAX {
            return Err(reply.failure(FailureCode::ReplyTooLarge).into());
        }
    }
    known.read += 1;
    let before = (known.read - 1).saturating_mul(PAGE_ITEMS);
    let expected_items = known.total.saturating_sub(before).min(PAGE_ITEMS);
    let is_whole = page.page == known.read
        && (page.pages, page.total) == (known.pages, known.total)
        && page.pages.max(1) == page.total.div_ceil(PAGE_ITEMS).max(1)
        && page.size == PAGE_ITEMS
        && page.items.len() == expected_items as usize
        && page.scheme == query.text("scheme")?;
    if !is_whole {
        return Err(unexpected());
    }
    for item in &page.items {
        match text(&item.state)? {
            "paid" => known.paid.insert(text(&item.month)?.parse()?)?,
            "arrears" | "refunded" => {}
            _ => return Err(Reason::UnusableField.into()),
        }
    }
    Ok(())
}

/// The record of a reply; none if the office says by `code` that it has none. A 404 without that
/// code is a wrong address, not an answer. A record whose status is `suspended` is as good as any:
/// nobody pays for the person at present.
fn found<T: for<'de> Deserialize<'de>>(reply: &Reply, code: &str) -> Result<Option<T>, Stop> {
    let says = |code| reply.json::<ErrorReply>().is_ok_and(|error| error.code == code);
    match reply.status() {
        404 if says(code) => Ok(None),
        409 if says("SEVERAL_PERSONS") => Err(Reason::SeveralRecords.into()),
        _ => Ok(Some(reply.ok()?.json()?)),
    }
}

fn person_path(query: &Query) -> Path {
    Path::new("/v2/persons/").value(query.subject_kind()).then("/").subject()
}

fn contributions(query: &Query, page: u32) -> Result<Request, Failure> {
    let path = person_path(query).then("/contributions?scheme=").value(query.text("scheme")?);
    Ok(get(path.then(&format!("&page={page}&size={PAGE_ITEMS}"))))
}

fn get(path: Path) -> Request {
    Request::get("insurance", path).accept("application/json")
}

#[cfg(test)]
mod tests;
