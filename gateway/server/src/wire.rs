//! The HTTP interface's JSON forms. `spec/openapi.yaml` describes them; only this module derives
//! `Serialize` for callers.

use std::fmt;
use std::str::FromStr;

use jumpgate_catalogue::{ParameterValue, QueryId, Question, Refusal, RefusalCode};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Most questions in one batch: a counter's form asks a handful of departments.
pub const BATCH_QUESTIONS_MAX: usize = 16;
/// Most parameters of a question; a predicate has at most three.
const PARAMETERS_MAX: usize = 16;

/// A question as a caller sends it. Prints nothing: it holds the subject.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    query_id: Option<String>,
    predicate: String,
    #[serde(default)]
    parameters: Parameters,
    subject: SubjectRequest,
    purpose: String,
    case: Option<String>,
    operator: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectRequest {
    kind: String,
    value: String,
}

/// Several questions in one call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    questions: Vec<serde_json::Value>,
}

/// A question and the id its caller chose, if it chose one.
pub struct Asked {
    /// The id, if the caller sent one.
    pub query_id: Option<QueryId>,
    /// What is asked, not yet checked against the catalogue.
    pub question: Question,
}

/// Reads one question.
///
/// # Errors
/// The body is not the JSON of a question; the text names the place, never a value.
pub fn question(body: &[u8]) -> Result<Asked, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let request: QueryRequest =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| malformed(&error))?;
    reader.end().map_err(|error| malformed_at(&error))?;
    request.asked()
}

/// Reads the questions of a batch, each on its own.
///
/// # Errors
/// The body is not a batch, or holds none or too many questions.
pub fn batch(body: &[u8]) -> Result<Vec<Result<Asked, Refusal>>, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let request: BatchRequest =
        serde_path_to_error::deserialize(&mut reader).map_err(|error| malformed(&error))?;
    reader.end().map_err(|error| malformed_at(&error))?;
    if !(1..=BATCH_QUESTIONS_MAX).contains(&request.questions.len()) {
        let mend = format!("send 1 to {BATCH_QUESTIONS_MAX} questions");
        return Err(Refusal::new(RefusalCode::BatchSize, mend).at("/questions"));
    }
    let questions = request.questions.into_iter().map(|value| {
        let request: QueryRequest =
            serde_path_to_error::deserialize(value).map_err(|error| malformed(&error))?;
        request.asked()
    });
    Ok(questions.collect())
}

impl QueryRequest {
    fn asked(self) -> Result<Asked, Refusal> {
        let query_id = match self.query_id.as_deref().map(QueryId::from_str) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(invalid)) => {
                let mend = invalid.to_string();
                return Err(Refusal::new(RefusalCode::MalformedRequest, mend).at("/query_id"));
            }
        };
        let question = Question {
            predicate: self.predicate,
            parameters: self.parameters.0,
            subject_kind: self.subject.kind,
            subject: self.subject.value,
            purpose: self.purpose,
            case: self.case,
            operator: self.operator,
        };
        Ok(Asked { query_id, question })
    }
}

fn malformed(error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let refusal = malformed_at(error.inner());
    // A path is the caller's own keys; one that is not made of this interface's names is left out,
    // because a key in the wrong place can be an identifier.
    let path = error.path().to_string();
    let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
    let is_ours = pointer.split('/').skip(1).all(|part| {
        FIELDS.contains(&part) || (part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit()))
    });
    if is_ours { refusal.at(pointer) } else { refusal }
}

/// serde_json's own text can repeat a value of the body, so only its class and place are told.
fn malformed_at(error: &serde_json::Error) -> Refusal {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the body ends too early",
        serde_json::error::Category::Data => {
            "a field is missing, unknown, given twice or of the wrong type"
        }
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => {
            "the body is not JSON"
        }
    };
    let mend = format!("{what} (line {}, column {})", error.line(), error.column());
    Refusal::new(RefusalCode::MalformedRequest, mend)
}

const FIELDS: [&str; 10] = [
    "query_id",
    "predicate",
    "parameters",
    "subject",
    "kind",
    "value",
    "purpose",
    "case",
    "operator",
    "questions",
];

/// The parameters in their order, a repeated name kept so that the catalogue can refuse it.
#[derive(Default)]
struct Parameters(Vec<(String, ParameterValue)>);

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of integers and strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
        let mut parameters = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if parameters.len() == PARAMETERS_MAX {
                return Err(serde::de::Error::custom("too many parameters"));
            }
            parameters.push((name, value.0));
        }
        Ok(Parameters(parameters))
    }
}

struct Value(ParameterValue);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Integer(i64),
            Text(String),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Integer(integer) => ParameterValue::Integer(integer),
            Either::Text(text) => ParameterValue::Text(text),
        }))
    }
}

/// What a caller gets for a question that was answered.
#[derive(Debug, Serialize)]
pub struct AnswerBody<'a> {
    /// The question's id.
    pub query_id: String,
    /// The predicate asked.
    pub predicate: &'a str,
    /// `yes`, `no` or `undetermined`.
    pub verdict: &'static str,
    /// Civil date the verdict is about.
    pub as_of: String,
    /// Civil date from which asking again can give another verdict; grid predicates only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_as_of: Option<String>,
    /// Where the answer stands in the query log.
    pub receipt: ReceiptBody<'a>,
}

/// Where an entry stands in the query log.
#[derive(Debug, Serialize)]
pub struct ReceiptBody<'a> {
    /// Its leaf index.
    pub index: u64,
    /// Its RFC 6962 leaf hash, hexadecimal.
    pub leaf_hash: String,
    /// The log's signed word that the entry is durable at this index; `spec/query-log.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promise: Option<&'a str>,
    /// The proof that the log's tree holds it, a C2SP tlog-proof; for callers who wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<&'a str>,
}

/// An RFC 9457 problem.
#[derive(Debug, Serialize)]
pub struct ProblemBody<'a> {
    /// `urn:jumpgate:problem:` and the code.
    pub r#type: String,
    /// The code in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What to mend.
    pub detail: String,
    /// Stable code to branch on.
    pub code: &'static str,
    /// JSON pointer to the field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The question's id, if there was a question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_id: Option<String>,
    /// Who is to blame for a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blame: Option<&'static str>,
    /// For a fault: true if asking again later, with a new `query_id`, can help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transient: Option<bool>,
    /// For a fault: true if a repeat certainly does no harm at the department.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_is_safe: Option<bool>,
    /// Seconds to wait, as in the `Retry-After` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// What people at a counter can be shown, where somebody wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageBody<'a>>,
    /// Where the refusal or fault stands in the query log, unless it was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptBody<'a>>,
}

/// A message for people, in two languages.
#[derive(Debug, Serialize)]
pub struct MessageBody<'a> {
    /// In English.
    pub en: &'a str,
    /// In Chinese.
    pub zh: &'a str,
}

/// The answers to a batch, in the order of its questions.
#[derive(Serialize)]
pub struct BatchBody {
    /// One for each question.
    pub answers: Vec<BatchItemBody>,
}

/// One question's outcome: the status and body it would have had alone.
#[derive(Serialize)]
pub struct BatchItemBody {
    /// HTTP status.
    pub status: u16,
    /// An answer or a problem.
    pub body: Box<serde_json::value::RawValue>,
}
