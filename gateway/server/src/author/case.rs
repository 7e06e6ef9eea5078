//! A recorded case: a question, the exchanges it takes, the finding it must end in.
//! `adapters/kit/README.md` describes the folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use jumpgate_catalogue::{FaultCode, Finding, PredicateId};
use jumpgate_runtime::{Adapter, AdapterFault, Given, Position, Step, Usage, contract};
use serde::Deserialize;

use crate::endpoint;

/// A case as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    predicate: String,
    subject: CaseSubject,
    as_of: jiff::civil::Date,
    #[serde(default)]
    parameters: toml::Table,
    #[serde(default)]
    exchange: Vec<Exchange>,
    expect: Expect,
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseSubject {
    kind: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    step: u32,
    request: ExpectedRequest,
    reply: RecordedReply,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedRequest {
    endpoint: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: toml::Table,
    body_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedReply {
    status: u16,
    #[serde(default)]
    content_type: String,
    body_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    finding: String,
}

/// A case cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseFault {
    /// A file is missing.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// The file is not a case.
    #[error("{0}: {1}")]
    Parse(PathBuf, String),
}

/// What a case came to.
#[derive(Debug)]
pub struct CaseReport {
    /// The finding or failure it ended in, as `case.toml` writes it.
    pub found: String,
    /// What it should have ended in.
    pub expected: String,
    /// The first request that was not as recorded.
    pub deviation: Option<String>,
    /// Where the adapter gave up, as `file:line:column` or a path.
    pub place: Option<String>,
    /// The function it trapped in.
    pub function: Option<String>,
    /// What each step used.
    pub steps: Vec<Usage>,
}

impl CaseReport {
    /// True if it ended as expected and asked for nothing else than recorded.
    pub fn passed(&self) -> bool {
        self.found == self.expected && self.deviation.is_none()
    }

    /// Time in the sandbox, all steps.
    pub fn elapsed(&self) -> Duration {
        self.steps.iter().map(|usage| usage.elapsed).sum()
    }
}

impl Case {
    /// Reads `folder/case.toml`.
    ///
    /// # Errors
    /// The file is missing or is not a case.
    pub fn read(folder: &Path) -> Result<Self, CaseFault> {
        let path = folder.join("case.toml");
        let text = fs::read_to_string(&path).map_err(|error| CaseFault::Io(path.clone(), error))?;
        let mut case: Self =
            toml::from_str(&text).map_err(|error| CaseFault::Parse(path, error.to_string()))?;
        case.folder = folder.to_owned();
        Ok(case)
    }

    /// The predicate it asks.
    pub fn predicate(&self) -> &str {
        &self.predicate
    }

    /// What it must end in.
    pub fn expected(&self) -> &str {
        &self.expect.finding
    }

    fn given(&self) -> Result<Given, CaseFault> {
        let fault = |what: &str| CaseFault::Parse(self.folder.clone(), what.to_owned());
        let id = PredicateId::from_str(&self.predicate).map_err(|e| fault(&e.to_string()))?;
        let mut parameters = Vec::new();
        for (name, value) in &self.parameters {
            let value = match value {
                toml::Value::Integer(integer) => contract::ParameterValue::Integer(*integer),
                toml::Value::String(text) => contract::ParameterValue::Text(text.clone()),
                _ => return Err(fault("a parameter is an integer or a string")),
            };
            parameters.push(contract::Parameter { name: name.clone(), value });
        }
        Ok(Given {
            predicate: id.unversioned().to_owned(),
            version: id.version(),
            parameters,
            subject_kind: self.subject.kind.clone(),
            as_of: contract::Date {
                year: self.as_of.year().unsigned_abs(),
                month: self.as_of.month().unsigned_abs(),
                day: self.as_of.day().unsigned_abs(),
            },
            subject: None,
        })
    }
}

/// The case folders of a plugin, by name.
///
/// # Errors
/// The `cases` folder cannot be read.
pub fn cases_of(plugin: &Path) -> Result<Vec<PathBuf>, CaseFault> {
    let folder = plugin.join("cases");
    let entries = fs::read_dir(&folder).map_err(|error| CaseFault::Io(folder, error))?;
    let mut cases: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("case.toml").is_file())
        .collect();
    cases.sort();
    Ok(cases)
}

/// Runs a case through a component, exactly as the server would, with recorded replies.
///
/// # Errors
/// The case's files cannot be read. What the adapter does wrong is in the report.
pub fn run(adapter: &Adapter, case: &Case) -> Result<CaseReport, CaseFault> {
    let mut evaluation = adapter.evaluate(case.given()?);
    let mut report = CaseReport {
        found: String::new(),
        expected: case.expect.finding.clone(),
        deviation: None,
        place: None,
        function: None,
        steps: Vec::new(),
    };
    let mut replies = Vec::new();
    let mut exchanges: Vec<&Exchange> = Vec::new();
    loop {
        let step = evaluation.step(&replies);
        report.steps.extend(evaluation.usage());
        match step {
            Ok(Step::Finding(finding)) => {
                report.found = finding_text(finding);
                return Ok(report);
            }
            Ok(Step::Fetch(requests)) => {
                let number = evaluation.steps();
                exchanges = case.exchange.iter().filter(|e| e.step == number).collect();
                report.deviation = deviation(case, number, &requests, &exchanges)?;
                if report.deviation.is_some() {
                    "unrecorded request".clone_into(&mut report.found);
                    return Ok(report);
                }
                replies = exchanges.iter().map(|e| reply(case, e)).collect::<Result<_, _>>()?;
            }
            Err(fault) => {
                report.found = format!("failure:{}", failure_text(&fault));
                report.place = fault.position.as_ref().and_then(|at| place(at, case, &exchanges));
                report.function = fault.function;
                return Ok(report);
            }
        }
    }
}

fn reply(case: &Case, exchange: &Exchange) -> Result<contract::Reply, CaseFault> {
    let body = match &exchange.reply.body_file {
        None => Vec::new(),
        Some(file) => read(&case.folder.join(file))?,
    };
    Ok(contract::Reply::Http(contract::HttpReply {
        status: exchange.reply.status,
        content_type: exchange.reply.content_type.clone(),
        body,
    }))
}

fn read(path: &Path) -> Result<Vec<u8>, CaseFault> {
    fs::read(path).map_err(|error| CaseFault::Io(path.to_owned(), error))
}

/// The first way in which the requests of a step are not those recorded.
fn deviation(
    case: &Case,
    step: u32,
    requests: &[contract::FetchItem],
    exchanges: &[&Exchange],
) -> Result<Option<String>, CaseFault> {
    if requests.len() != exchanges.len() {
        let (wanted, recorded) = (requests.len(), exchanges.len());
        let text = format!("step {step} makes {wanted} requests, {recorded} are recorded");
        return Ok(Some(text));
    }
    for (position, (item, exchange)) in requests.iter().zip(exchanges).enumerate() {
        if let Some(what) = difference(case, item, &exchange.request)? {
            return Ok(Some(format!("step {step}, request {}: {what}", position + 1)));
        }
    }
    Ok(None)
}

fn difference(
    case: &Case,
    item: &contract::FetchItem,
    expected: &ExpectedRequest,
) -> Result<Option<String>, CaseFault> {
    let contract::Request::Http(request) = &item.request else {
        return Ok(Some("an SQL request, which cases do not record yet".to_owned()));
    };
    let plain = match endpoint::assemble_plain(request, &case.subject.value) {
        Ok(plain) => plain,
        Err(denied) => return Ok(Some(denied)),
    };
    let mut pairs = vec![
        ("endpoint".to_owned(), item.endpoint.clone(), expected.endpoint.clone()),
        ("method".to_owned(), plain.method.to_owned(), expected.method.clone()),
        ("path".to_owned(), plain.path, expected.path.clone()),
    ];
    for (name, value) in &expected.headers {
        let made = plain.headers.iter().find(|(header, _)| header == name);
        let made = made.map(|(_, value)| value.clone()).unwrap_or_default();
        pairs.push((name.clone(), made, value.as_str().unwrap_or_default().to_owned()));
    }
    if let Some(file) = &expected.body_file {
        let recorded = String::from_utf8_lossy(&read(&case.folder.join(file))?).into_owned();
        let made = String::from_utf8_lossy(&plain.body).into_owned();
        pairs.push(("body".to_owned(), made, recorded));
    }
    let wrong = pairs.into_iter().find(|(_, made, recorded)| made != recorded);
    Ok(wrong.map(|(what, made, recorded)| {
        format!("{what} differs\n      made:     {made}\n      recorded: {recorded}")
    }))
}

fn place(position: &Position, case: &Case, exchanges: &[&Exchange]) -> Option<String> {
    let exchange = exchanges.get(usize::try_from(position.reply).ok()?)?;
    let file = exchange.reply.body_file.as_ref()?;
    if let Some(path) = &position.path {
        return Some(format!("{}: {path}", file.display()));
    }
    let offset = usize::try_from(position.offset?).ok()?;
    let body = fs::read(case.folder.join(file)).ok()?;
    let before = body.get(..offset)?;
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Some(format!("{}:{line}:{column}", file.display()))
}

fn finding_text(finding: Finding) -> String {
    match finding {
        Finding::Yes => "yes".to_owned(),
        Finding::No => "no".to_owned(),
        Finding::Absent => "absent".to_owned(),
        Finding::Undetermined(reason) => format!("undetermined:{}", reason.code()),
    }
}

/// The contract's own word for what the adapter said, else the gateway's code.
fn failure_text(fault: &AdapterFault) -> &'static str {
    match fault.code {
        FaultCode::DepartmentError => "department-error",
        FaultCode::DepartmentDenied => "department-denied",
        FaultCode::DepartmentStatus => "unexpected-status",
        FaultCode::ReplyMalformed => "malformed-reply",
        FaultCode::ReplyUnexpected => "unexpected-reply",
        FaultCode::ReplyTooLarge => "reply-too-large",
        FaultCode::AdapterUnsupported => "unsupported-query",
        FaultCode::DepartmentUnreachable
        | FaultCode::DepartmentTimeout
        | FaultCode::DepartmentReset
        | FaultCode::DepartmentRedirected
        | FaultCode::AdapterTrapped
        | FaultCode::AdapterFuel
        | FaultCode::AdapterMemory
        | FaultCode::AdapterSteps
        | FaultCode::AdapterOutputTooLarge
        | FaultCode::AdapterRequestDenied
        | FaultCode::AdapterContradiction
        | FaultCode::GatewayInternal => fault.code.code(),
    }
}
