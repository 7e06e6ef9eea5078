//! Social insurance: three REST resources in JSON. Persons and employers are rendered once, at the
//! start; a page of contributions is rendered when it is asked for.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use jiff::civil::Date;

use crate::auth::Auth;
use crate::directory::Directory;
use crate::door::{Answer, Desk};
use crate::identifier::Kind;
use crate::insurance::{self, Contribution, Employer, Insurance, Scheme};
use crate::person::Person;

mod wire;

/// The desk.
pub(crate) struct SocialInsurance {
    /// The index into `accounts`; none if several persons share the identifier.
    persons: Directory<Option<usize>>,
    /// By ordinal; none for whom social insurance does not know.
    accounts: Vec<Option<Account>>,
    employers: Vec<Employer>,
    employer_replies: HashMap<String, Bytes>,
    auth: Auth,
}

struct Account {
    insurance: Insurance,
    reply: Bytes,
}

impl SocialInsurance {
    /// Renders every person and employer.
    pub fn new(people: &[Person], today: Date, auth: Auth) -> Self {
        let employers = insurance::employers();
        let account = |person: &Person| {
            let insurance = person.insurance.clone()?;
            let reply = wire::person(person, &insurance, &employers, today);
            Some(Account { insurance, reply })
        };
        let accounts = people.iter().map(account).collect();
        let known = people.iter().filter(|person| person.insurance.is_some());
        let persons = Directory::new(known, |found| match found {
            [index] => Some(*index),
            _ => None,
        });
        let employer_replies =
            employers.iter().map(|employer| (employer.uscc.clone(), wire::employer(employer)));
        Self { persons, accounts, employer_replies: employer_replies.collect(), employers, auth }
    }

    fn person(&self, kind: &str, identifier: &str) -> Result<&Account, Refused> {
        let kind = Kind::parse(kind).ok_or(UNKNOWN_KIND)?;
        let index = self.persons.find(kind, identifier).ok_or(PERSON_NOT_FOUND)?;
        let account = index.as_ref().map(|index| self.accounts[*index].as_ref());
        account.ok_or(SEVERAL_PERSONS)?.ok_or(PERSON_NOT_FOUND)
    }

    fn contributions(&self, account: &Account, query: &str) -> Result<Bytes, Refused> {
        let page = Page::parse(query)?;
        let is_member = account.insurance.schemes.iter().any(|member| member.scheme == page.scheme);
        let contributions: &[Contribution] =
            if is_member { &account.insurance.contributions } else { &[] };
        Ok(wire::contributions(page.scheme, page.number, page.size, contributions, &self.employers))
    }

    fn reply(&self, request: &Request<Bytes>, segments: &[String]) -> Result<Bytes, Refused> {
        if !self.auth.permits(request.headers()) {
            return Err(UNAUTHORIZED);
        }
        if *request.method() != Method::GET {
            return Err(METHOD_NOT_ALLOWED);
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["v2", "persons", kind, identifier] => {
                self.person(kind, identifier).map(|account| account.reply.clone())
            }
            ["v2", "persons", kind, identifier, "contributions"] => {
                let account = self.person(kind, identifier)?;
                self.contributions(account, request.uri().query().unwrap_or_default())
            }
            ["v2", "employers", uscc] => {
                self.employer_replies.get(*uscc).cloned().ok_or(EMPLOYER_NOT_FOUND)
            }
            _ => Err(NO_SUCH_RESOURCE),
        }
    }
}

impl Desk for SocialInsurance {
    fn answer(&self, request: &Request<Bytes>) -> Answer {
        let path = request.uri().path();
        let segments: Vec<String> = path.split('/').skip(1).map(percent_decoded).collect();
        let identifier = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["v2", "persons", _, identifier, ..] | ["v2", "employers", identifier] => {
                Some((*identifier).to_owned())
            }
            _ => None,
        };
        let is_operation = identifier.is_some();
        let response = match self.reply(request, &segments) {
            Ok(body) => json(StatusCode::OK, body),
            Err(refused) => refused.respond(&self.auth),
        };
        Answer { response, identifier, is_operation }
    }
}

/// A page that is asked for.
struct Page {
    scheme: Scheme,
    /// From 1.
    number: usize,
    size: usize,
}

impl Page {
    fn parse(query: &str) -> Result<Self, Refused> {
        let mut page = Self { scheme: Scheme::Pension, number: 1, size: PAGE_ITEMS };
        let mut is_scheme_said = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decoded(value);
            match name {
                "scheme" => {
                    let mut schemes = Scheme::ALL.into_iter();
                    let scheme = schemes.find(|scheme| scheme.as_str() == value);
                    page.scheme = scheme.ok_or(UNKNOWN_SCHEME)?;
                    is_scheme_said = true;
                }
                "page" => page.number = whole(&value, PAGES_MAX)?,
                "size" => page.size = whole(&value, PAGE_ITEMS_MAX)?,
                _ => return Err(BAD_PAGE),
            }
        }
        if is_scheme_said { Ok(page) } else { Err(UNKNOWN_SCHEME) }
    }
}

fn whole(text: &str, max: usize) -> Result<usize, Refused> {
    text.parse().ok().filter(|number| (1..=max).contains(number)).ok_or(BAD_PAGE)
}

/// RFC 3986, section 2.1; a sequence that is not one stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%');
        let decoded = digits.and_then(|digits| hex::decode(digits).ok());
        if let Some(decoded) = decoded {
            bytes.extend(decoded);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error body.
#[derive(Debug, Clone, Copy)]
struct Refused {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

impl Refused {
    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message }
    }

    fn respond(self, auth: &Auth) -> Response<Bytes> {
        let mut response = json(self.status, wire::error(self.code, self.message));
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED
            && let Some(challenge) = auth.challenge()
        {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const BAD_PAGE: Refused = Refused::new(
    StatusCode::BAD_REQUEST,
    "BAD_PAGE",
    "page is 1 to 1000, size 1 to 100, and nothing else is taken",
);
const EMPLOYER_NOT_FOUND: Refused =
    Refused::new(StatusCode::NOT_FOUND, "EMPLOYER_NOT_FOUND", "no employer has this code");
const METHOD_NOT_ALLOWED: Refused =
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "only GET is served");
const NO_SUCH_RESOURCE: Refused =
    Refused::new(StatusCode::NOT_FOUND, "NO_SUCH_RESOURCE", "no resource has this path");
const PERSON_NOT_FOUND: Refused =
    Refused::new(StatusCode::NOT_FOUND, "PERSON_NOT_FOUND", "no person has this identifier");
const SEVERAL_PERSONS: Refused =
    Refused::new(StatusCode::CONFLICT, "SEVERAL_PERSONS", "several persons have this identifier");
const UNAUTHORIZED: Refused =
    Refused::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "the credential is missing or wrong");
const UNKNOWN_KIND: Refused =
    Refused::new(StatusCode::BAD_REQUEST, "UNKNOWN_KIND", "no identifier is of this kind");
const UNKNOWN_SCHEME: Refused =
    Refused::new(StatusCode::BAD_REQUEST, "UNKNOWN_SCHEME", "scheme must name one of the five");

/// Five years.
const PAGE_ITEMS: usize = 60;
/// A page of about 9 kB.
const PAGE_ITEMS_MAX: usize = 100;
/// More than a life has months, one to a page.
const PAGES_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
