//! Recorded cases as tests: a directory with a `case.toml`, what the department replied, and what
//! the adapter must find.
//!
//! Owns the run of a case on the author's machine, where it stands in for the gateway: it inserts
//! the subject, compares each request with the recorded one and hands out the recorded replies. It
//! is not part of a component. A plugin's whole test asserts that [`mistakes`] finds none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::bindings::exports::jumpgate::adapter::adapter as wit;
use crate::bindings::exports::jumpgate::adapter::adapter::Guest;
use crate::{
    Adapter, Date, Escaping, Exported, Failure, FailureCode, Finding, Position, Reason, escape,
};

/// The contract's limits that an adapter could break.
const REQUESTS_MAX: usize = 4;
const STATE_BYTES_MAX: usize = 4096;
/// Headers that an adapter may set.
const HEADERS: [&str; 4] = ["accept", "accept-language", "content-type", "soapaction"];

/// Runs each case of the directory `cases` and says what is wrong: with a case, with the adapter's
/// answer to it, or with the set of cases, which needs a yes, a no and an undetermined for each
/// predicate of the manifest. Directories whose name begins with `_` hold shared replies.
pub fn mistakes<A: Adapter>(cases: impl AsRef<Path>) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut covered = BTreeSet::new();
    let directories = match case_directories(cases.as_ref()) {
        Ok(directories) => directories,
        Err(mistake) => return vec![mistake],
    };
    for directory in directories {
        let run = Case::read(&directory).and_then(|case| {
            let kind = case.expect.finding.split(':').next().unwrap_or_default();
            covered.insert((case.predicate.clone(), kind.to_owned()));
            case.run::<A>(&directory)
        });
        if let Err(mistake) = run {
            mistakes.push(format!("{}: {mistake}", directory.display()));
        }
    }
    for predicate in A::MANIFEST.predicates {
        for kind in ["yes", "no", "undetermined"] {
            if !covered.contains(&((*predicate).to_owned(), kind.to_owned())) {
                mistakes.push(format!("{predicate} has no case that finds {kind}"));
            }
        }
    }
    mistakes
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    predicate: String,
    subject: Subject,
    as_of: String,
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
    #[serde(default, rename = "exchange")]
    exchanges: Vec<Exchange>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    kind: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Integer(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    /// The step whose request it is, from 1.
    step: u32,
    request: RecordedRequest,
    reply: RecordedReply,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedRequest {
    endpoint: String,
    method: String,
    path: String,
    /// Those given are compared.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedReply {
    status: u16,
    content_type: String,
    body_file: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    finding: String,
}

impl Case {
    fn read(directory: &Path) -> Result<Self, String> {
        let text = String::from_utf8(read(directory, "case.toml")?)
            .map_err(|error| format!("case.toml: {error}"))?;
        toml::from_str(&text).map_err(|error| format!("case.toml: {error}"))
    }

    fn run<A: Adapter>(&self, directory: &Path) -> Result<(), String> {
        let query = self.query()?;
        let mut outcome = Exported::<A>::begin(query.clone());
        let mut used = 0;
        let mut replied = Vec::new();
        for step in 1..=A::MANIFEST.steps_max {
            let Ok(wit::Step::Fetch(fetch)) = outcome else { break };
            if step == A::MANIFEST.steps_max {
                return Err(format!("step {step}, the last of the manifest, still fetches"));
            }
            if fetch.state.len() > STATE_BYTES_MAX {
                return Err(format!("step {step}: the state has {} bytes", fetch.state.len()));
            }
            replied = self.exchanges.iter().filter(|exchange| exchange.step == step).collect();
            if fetch.requests.len() != replied.len() || !(1..=REQUESTS_MAX).contains(&replied.len())
            {
                let (made, known) = (fetch.requests.len(), replied.len());
                return Err(format!("step {step} makes {made} requests, the case has {known}"));
            }
            let mut replies = Vec::new();
            for (item, exchange) in fetch.requests.iter().zip(&replied) {
                exchange
                    .request
                    .check::<A>(item, &self.subject.value, directory)
                    .map_err(|mistake| format!("step {step}: {mistake}"))?;
                replies.push(exchange.reply.read(directory)?);
            }
            used += replied.len();
            outcome = Exported::<A>::resume(query.clone(), fetch.state, replies);
        }
        let found = outcome_text(&outcome);
        if found != self.expect.finding {
            let place = outcome.err().map(|it| place(&it, &replied, directory)).unwrap_or_default();
            return Err(format!("finds {found}{place}, should find {}", self.expect.finding));
        }
        if used != self.exchanges.len() {
            return Err(format!("uses {used} of {} exchanges", self.exchanges.len()));
        }
        Ok(())
    }

    fn query(&self) -> Result<wit::Query, String> {
        let as_of: Date = self.as_of.parse().map_err(|_| "as_of is no date")?;
        let (name, version) = self.predicate.split_once('@').ok_or("predicate has no version")?;
        let parameters = self.parameters.iter().map(|(name, value)| wit::Parameter {
            name: name.clone(),
            value: match value {
                Value::Integer(value) => wit::ParameterValue::Integer(*value),
                Value::Text(value) => wit::ParameterValue::Text(value.clone()),
            },
        });
        Ok(wit::Query {
            predicate: name.into(),
            version: version.parse().map_err(|_| "predicate has no version")?,
            parameters: parameters.collect(),
            subject_kind: self.subject.kind.clone(),
            as_of: wit::Date {
                year: as_of.year(),
                month: (as_of.month().ordinal() % 12) as u8 + 1,
                day: as_of.day(),
            },
            subject: None,
        })
    }
}

impl RecordedRequest {
    /// Compares the request that the adapter makes with the recorded one.
    fn check<A: Adapter>(
        &self,
        item: &wit::FetchItem,
        subject: &str,
        directory: &Path,
    ) -> Result<(), String> {
        let wit::Request::Http(http) = &item.request else {
            return Err("makes an SQL request".into());
        };
        let method = match http.method {
            wit::Method::Get => "GET",
            wit::Method::Post => "POST",
        };
        if !A::MANIFEST.endpoints.contains(&&*item.endpoint) {
            return Err(format!("endpoint {} is not in the manifest", item.endpoint));
        }
        same("endpoint", item.endpoint.as_bytes(), self.endpoint.as_bytes())?;
        same("method", method.as_bytes(), self.method.as_bytes())?;
        same("path", &assemble(&http.path, subject), self.path.as_bytes())?;
        let headers = http.headers.iter().map(|it| (&*it.name, assemble(&it.value, subject)));
        let headers: BTreeMap<_, _> = headers.collect();
        if let Some(name) = headers.keys().find(|name| !HEADERS.contains(*name)) {
            return Err(format!("header {name} is not an adapter's to set"));
        }
        for (name, value) in &self.headers {
            let made = headers.get(&**name).map(Vec::as_slice).unwrap_or_default();
            same(name, made, value.as_bytes())?;
        }
        match &self.body_file {
            Some(file) => same("body", &assemble(&http.body, subject), &read(directory, file)?),
            None => Ok(()),
        }
    }
}

impl RecordedReply {
    fn read(&self, directory: &Path) -> Result<wit::Reply, String> {
        Ok(wit::Reply::Http(wit::HttpReply {
            status: self.status,
            content_type: self.content_type.clone(),
            body: read(directory, &self.body_file)?,
        }))
    }
}

fn same(what: &str, made: &[u8], recorded: &[u8]) -> Result<(), String> {
    if made == recorded {
        return Ok(());
    }
    let (made, recorded) = (String::from_utf8_lossy(made), String::from_utf8_lossy(recorded));
    Err(format!("{what} is\n  {made}\nand should be\n  {recorded}"))
}

/// Inserts the subject as the gateway does.
fn assemble(chunks: &[wit::Chunk], subject: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks {
        match chunk {
            wit::Chunk::Literal(bytes) => out.extend(bytes),
            wit::Chunk::Subject(Escaping::Plain) => out.extend(subject.bytes()),
            wit::Chunk::Subject(Escaping::XmlText) => escape::xml_text(subject, &mut out),
            wit::Chunk::Subject(Escaping::JsonString) => escape::json_string(subject, &mut out),
            wit::Chunk::Subject(Escaping::UrlComponent) => escape::url_component(subject, &mut out),
            wit::Chunk::Subject(Escaping::Form) => escape::form(subject, &mut out),
        }
    }
    out
}

/// The outcome as `case.toml` writes it.
fn outcome_text(outcome: &Result<wit::Step, Failure>) -> String {
    match outcome {
        Ok(wit::Step::Fetch(_)) => "no finding".into(),
        Ok(wit::Step::Finding(Finding::Yes)) => "yes".into(),
        Ok(wit::Step::Finding(Finding::No)) => "no".into(),
        Ok(wit::Step::Finding(Finding::Absent)) => "absent".into(),
        Ok(wit::Step::Finding(Finding::Undetermined(reason))) => {
            let reason = match reason {
                Reason::MissingField => "missing-field",
                Reason::UnusableField => "unusable-field",
                Reason::SeveralRecords => "several-records",
                Reason::ConflictingFields => "conflicting-fields",
                Reason::RecordSuspended => "record-suspended",
            };
            format!("undetermined:{reason}")
        }
        Err(failure) => {
            let code = match failure.code {
                FailureCode::DepartmentError => "department-error",
                FailureCode::DepartmentDenied => "department-denied",
                FailureCode::UnexpectedStatus => "unexpected-status",
                FailureCode::MalformedReply => "malformed-reply",
                FailureCode::UnexpectedReply => "unexpected-reply",
                FailureCode::ReplyTooLarge => "reply-too-large",
                FailureCode::UnsupportedQuery => "unsupported-query",
            };
            format!("failure:{code}")
        }
    }
}

/// Which line of which reply a failure is about.
fn place(failure: &Failure, replied: &[&Exchange], directory: &Path) -> String {
    let Some(exchange) = replied.get(failure.reply as usize) else { return String::new() };
    let file = &exchange.reply.body_file;
    match &failure.position {
        Position::None => format!(" at {file}"),
        Position::Path(path) => format!(" at {file} {path}"),
        Position::Offset(offset) => {
            let body = read(directory, file).unwrap_or_default();
            let before = &body[..body.len().min(*offset as usize)];
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            format!(" at {file} line {line} (byte {offset})")
        }
    }
}

fn case_directories(cases: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(cases).map_err(|error| format!("{}: {error}", cases.display()))?;
    let mut directories: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir() && !is_shared(path))
        .collect();
    directories.sort();
    Ok(directories)
}

fn is_shared(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'))
}

fn read(directory: &Path, file: &str) -> Result<Vec<u8>, String> {
    fs::read(directory.join(file)).map_err(|error| format!("{file}: {error}"))
}

#[cfg(test)]
mod tests;
