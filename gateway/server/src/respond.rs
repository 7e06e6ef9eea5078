//! From what is logged to what is said. The only place that knows HTTP statuses.
//!
//! It accepts a [`Logged`], so that no response carries a verdict whose entry is not durable, and
//! its tables are exhaustive, so that a new code does not compile before it has a status.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use jumpgate_admission::{QuotaReading, rate_limit_headers};
use jumpgate_catalogue::{Fault, FaultCode, QueryId, Refusal, RefusalCode};
use serde_json::value::RawValue;

use crate::record::{Evidence, Kept, LogUnavailable, Logged, Spoken};
use crate::wire::{AnswerBody, BatchBody, BatchItemBody, MessageBody, ProblemBody, ReceiptBody};

/// A response without its connection.
pub type Reply = Response<Vec<u8>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The response to one question.
pub fn query(logged: Result<Logged, LogUnavailable>, quota: Option<&QuotaReading>) -> Reply {
    let said = said(&logged);
    let mut reply = reply(said.status, said.content_type(), said.body);
    set_retry_after(&mut reply, said.retry_after_s);
    set_rate_limit(&mut reply, quota, logged.as_ref().map_or(&[], |logged| logged.quotas()));
    reply
}

/// The response to several questions, in their order.
pub fn batch(answers: Vec<Result<Logged, LogUnavailable>>, quota: Option<&QuotaReading>) -> Reply {
    let items = answers.iter().map(|logged| {
        let said = said(logged);
        // The body was made by serde_json one line above, so it is JSON.
        let text = String::from_utf8(said.body).unwrap_or_default();
        let body = RawValue::from_string(text).unwrap_or_default();
        BatchItemBody { status: said.status.as_u16(), body }
    });
    let body = json(&BatchBody { answers: items.collect() });
    let mut reply = reply(StatusCode::OK, JSON, body);
    set_rate_limit(&mut reply, quota, &[]);
    reply
}

/// The response to a request that is refused before there is a question.
pub fn refusal(refusal: &Refusal, quota: Option<&QuotaReading>) -> Reply {
    let said = problem_of_refusal(refusal, None, None);
    let mut reply = reply(said.status, PROBLEM, said.body);
    set_retry_after(&mut reply, said.retry_after_s);
    set_rate_limit(&mut reply, quota, &[]);
    reply
}

/// A document that holds nothing of a query: the catalogue, a receipt, health.
pub fn document(status: StatusCode, body: &impl serde::Serialize) -> Reply {
    reply(status, JSON, json(body))
}

struct Said {
    status: StatusCode,
    body: Vec<u8>,
    retry_after_s: Option<u64>,
}

impl Said {
    fn content_type(&self) -> HeaderValue {
        if self.status == StatusCode::OK { JSON } else { PROBLEM }
    }
}

fn said(logged: &Result<Logged, LogUnavailable>) -> Said {
    match logged {
        Err(unavailable) => problem_of_log(*unavailable),
        Ok(logged) => spoken(logged.spoken(), logged.evidence()),
    }
}

fn spoken(spoken: &Spoken, evidence: &Evidence) -> Said {
    match spoken {
        Spoken::Outcome(kept) => match kept.outcome {
            Ok(verdict) => {
                let body = json(&AnswerBody {
                    query_id: kept.query_id.to_string(),
                    predicate: kept.predicate.as_str(),
                    verdict: verdict.as_str(),
                    as_of: kept.as_of.to_string(),
                    next_as_of: kept.next_as_of.map(|date| date.to_string()),
                    receipt: receipt(kept.index, &kept.leaf_hash, evidence),
                });
                Said { status: StatusCode::OK, body, retry_after_s: None }
            }
            Err(fault) => problem_of_fault(fault, kept, evidence),
        },
        Spoken::Refused { refusal, query_id, entry } => {
            let of = |(index, leaf_hash)| receipt(index, &leaf_hash, evidence);
            let receipt = entry.map(of);
            problem_of_refusal(refusal, *query_id, receipt)
        }
    }
}

fn receipt<'a>(index: u64, leaf_hash: &[u8; 32], evidence: &'a Evidence) -> ReceiptBody<'a> {
    let (promise, proof) = (evidence.promise.as_deref(), evidence.proof.as_deref());
    ReceiptBody { index, leaf_hash: hex::encode(leaf_hash), promise, proof }
}

fn problem_of_refusal(
    refusal: &Refusal,
    query_id: Option<QueryId>,
    receipt: Option<ReceiptBody<'_>>,
) -> Said {
    let (status, title) = refusal_row(refusal.code);
    // Rounded up: a caller that comes back at the named second must find the door open.
    let retry_after_s = refusal.retry_after.map(|wait| wait.as_millis().div_ceil(1000) as u64);
    let code = refusal.code.code();
    let body = json(&ProblemBody {
        r#type: problem_type(code),
        title,
        status: status.as_u16(),
        detail: refusal.mend.clone(),
        code,
        field: refusal.field.clone(),
        query_id: query_id.map(|id| id.to_string()),
        blame: None,
        transient: None,
        retry_is_safe: None,
        retry_after_s,
        message: refusal.notice.as_ref().map(|it| MessageBody { en: &it.en, zh: &it.zh }),
        receipt,
    });
    Said { status, body, retry_after_s }
}

fn problem_of_fault(fault: Fault, kept: &Kept, evidence: &Evidence) -> Said {
    let (status, title, detail) = fault_row(fault.code);
    let code = fault.code.code();
    let body = json(&ProblemBody {
        r#type: problem_type(code),
        title,
        status: status.as_u16(),
        detail: detail.to_owned(),
        code,
        field: None,
        query_id: Some(kept.query_id.to_string()),
        blame: Some(fault.code.blame().as_str()),
        transient: Some(fault.code.is_transient()),
        retry_is_safe: Some(fault.retry_is_safe),
        retry_after_s: None,
        message: None,
        receipt: Some(receipt(kept.index, &kept.leaf_hash, evidence)),
    });
    Said { status, body, retry_after_s: None }
}

fn problem_of_log(unavailable: LogUnavailable) -> Said {
    let (status, code, title, detail) = log_row(unavailable);
    let body = json(&ProblemBody {
        r#type: problem_type(code),
        title,
        status: status.as_u16(),
        detail: detail.to_owned(),
        code,
        field: None,
        query_id: None,
        blame: Some("gateway"),
        transient: None,
        retry_is_safe: None,
        retry_after_s: None,
        message: None,
        receipt: None,
    });
    Said { status, body, retry_after_s: None }
}

fn problem_type(code: &str) -> String {
    format!("urn:jumpgate:problem:{code}")
}

/// Status and title of a refusal; mirrored in `spec/errors.md`.
pub fn refusal_row(code: RefusalCode) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match code {
        RefusalCode::Unauthenticated => (S::FORBIDDEN, "No caller"),
        RefusalCode::OperatorUnproven => (S::FORBIDDEN, "Operator not proven"),
        RefusalCode::OperatorKeysUnavailable => {
            (S::SERVICE_UNAVAILABLE, "Operators' keys unavailable")
        }
        RefusalCode::NotFound => (S::NOT_FOUND, "No such resource"),
        RefusalCode::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "Method not allowed"),
        RefusalCode::UnsupportedMediaType => (S::UNSUPPORTED_MEDIA_TYPE, "Not JSON"),
        RefusalCode::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "Body too large"),
        RefusalCode::BodyTimeout => (S::REQUEST_TIMEOUT, "Body too slow"),
        RefusalCode::MalformedRequest => (S::BAD_REQUEST, "Malformed request"),
        RefusalCode::BatchSize => (S::BAD_REQUEST, "Batch too large or empty"),
        RefusalCode::UnknownPredicate => (S::BAD_REQUEST, "Unknown predicate"),
        RefusalCode::InvalidParameter => (S::BAD_REQUEST, "Invalid parameter"),
        RefusalCode::SubjectKindNotAllowed => (S::BAD_REQUEST, "Subject kind not allowed"),
        RefusalCode::InvalidSubject => (S::BAD_REQUEST, "Invalid subject identifier"),
        RefusalCode::PurposeNotAllowed => (S::BAD_REQUEST, "Purpose not allowed"),
        RefusalCode::InvalidCase => (S::BAD_REQUEST, "Invalid case or operator"),
        RefusalCode::GatewayBusy => (S::SERVICE_UNAVAILABLE, "Gateway busy"),
        RefusalCode::CallerQuota => (S::TOO_MANY_REQUESTS, "Caller's quota used up"),
        RefusalCode::InFlight => (S::TOO_MANY_REQUESTS, "Too many queries in flight"),
        RefusalCode::QueryInFlight => (S::CONFLICT, "Query in flight"),
        RefusalCode::QueryIdReused => (S::UNPROCESSABLE_ENTITY, "Query id reused"),
        RefusalCode::NotGranted => (S::FORBIDDEN, "Not granted"),
        RefusalCode::DepartmentQuota => (S::TOO_MANY_REQUESTS, "Quota at department used up"),
        RefusalCode::SubjectQuota => (S::TOO_MANY_REQUESTS, "Quota about subject used up"),
        RefusalCode::AttemptsExhausted => (S::TOO_MANY_REQUESTS, "Attempts used up"),
        RefusalCode::DisclosureRefused => (S::FORBIDDEN, "Would tell too much"),
        RefusalCode::DepartmentKilled => (S::SERVICE_UNAVAILABLE, "Department switched off"),
        RefusalCode::DepartmentMaintenance => {
            (S::SERVICE_UNAVAILABLE, "Department under maintenance")
        }
        RefusalCode::BreakerOpen => (S::SERVICE_UNAVAILABLE, "Department resting"),
        RefusalCode::BulkheadFull => (S::SERVICE_UNAVAILABLE, "Department busy"),
        RefusalCode::Draining => (S::SERVICE_UNAVAILABLE, "Shutting down"),
        RefusalCode::NoReceipt => (S::NOT_FOUND, "No such receipt"),
    }
}

/// Status, title and detail of a fault; mirrored in `spec/errors.md`.
pub fn fault_row(code: FaultCode) -> (StatusCode, &'static str, &'static str) {
    use StatusCode as S;
    const UNDECIDED: &str = "nothing was decided; this is not a \"no\"";
    const ASK_LATER: &str = "nothing was decided; ask again later with a new query_id";
    match code {
        FaultCode::DepartmentUnreachable => (S::BAD_GATEWAY, "Department unreachable", ASK_LATER),
        FaultCode::DepartmentTimeout => (S::GATEWAY_TIMEOUT, "Department too slow", ASK_LATER),
        FaultCode::DepartmentReset => (S::BAD_GATEWAY, "Department broke off", ASK_LATER),
        FaultCode::DepartmentRedirected => (S::BAD_GATEWAY, "Department redirected", UNDECIDED),
        FaultCode::DepartmentError => (S::BAD_GATEWAY, "Department failed", ASK_LATER),
        FaultCode::DepartmentDenied => (S::BAD_GATEWAY, "Department denied access", UNDECIDED),
        FaultCode::DepartmentStatus => (S::BAD_GATEWAY, "Unexpected status", UNDECIDED),
        FaultCode::ReplyTooLarge => (S::BAD_GATEWAY, "Reply too large", UNDECIDED),
        FaultCode::ReplyMalformed => (S::BAD_GATEWAY, "Reply malformed", UNDECIDED),
        FaultCode::ReplyUnexpected => (S::BAD_GATEWAY, "Reply unexpected", UNDECIDED),
        FaultCode::AdapterTrapped => (S::BAD_GATEWAY, "Adapter trapped", UNDECIDED),
        FaultCode::AdapterFuel => (S::BAD_GATEWAY, "Adapter ran too long", UNDECIDED),
        FaultCode::AdapterMemory => (S::BAD_GATEWAY, "Adapter used too much memory", UNDECIDED),
        FaultCode::AdapterSteps => (S::BAD_GATEWAY, "Adapter took too many steps", UNDECIDED),
        FaultCode::AdapterOutputTooLarge => {
            (S::BAD_GATEWAY, "Adapter's output too large", UNDECIDED)
        }
        FaultCode::AdapterRequestDenied => (S::BAD_GATEWAY, "Adapter's request denied", UNDECIDED),
        FaultCode::AdapterUnsupported => (S::BAD_GATEWAY, "Adapter cannot answer", UNDECIDED),
        FaultCode::AdapterContradiction => {
            (S::BAD_GATEWAY, "Adapter contradicts itself", UNDECIDED)
        }
        FaultCode::GatewayInternal => (S::INTERNAL_SERVER_ERROR, "Gateway failed", UNDECIDED),
    }
}

/// Status, code, title and detail where the query log cannot be written; mirrored in
/// `spec/errors.md`.
pub fn log_row(
    unavailable: LogUnavailable,
) -> (StatusCode, &'static str, &'static str, &'static str) {
    match unavailable {
        LogUnavailable::Log => (
            StatusCode::SERVICE_UNAVAILABLE,
            "log-unavailable",
            "Query log unavailable",
            "the query log cannot be written, so nothing is answered",
        ),
        LogUnavailable::Panicked => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "gateway-panicked",
            "Gateway failed",
            "the gateway failed on this query; if it was on record, it is closed as failed",
        ),
    }
}

fn reply(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    // Verdicts and refusals are personal data to whoever asked: no cache may keep them.
    reply.headers_mut().insert(http::header::CACHE_CONTROL, NO_STORE);
    reply
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

fn set_retry_after(reply: &mut Reply, seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

fn set_rate_limit(reply: &mut Reply, caller: Option<&QuotaReading>, others: &[QuotaReading]) {
    let readings: Vec<&QuotaReading> = caller.into_iter().chain(others).collect();
    let Some(headers) = rate_limit_headers(&readings) else { return };
    let fields = [(RATE_LIMIT, headers.limit), (RATE_LIMIT_POLICY, headers.policy)];
    for (name, text) in fields {
        if let Ok(value) = HeaderValue::try_from(text) {
            reply.headers_mut().insert(name, value);
        }
    }
}

/// The bodies are plain structs of text and numbers, which always serialise.
fn json(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}
