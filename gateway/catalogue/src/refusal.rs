//! No answer by our choice.

use std::fmt;
use std::time::Duration;

/// Why a question was not asked. Closed; each has a stable code, a row in `spec/errors.md` and an
/// HTTP status in the server's `respond` module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalCode {
    /// The peer showed no certificate that names a caller.
    Unauthenticated,
    /// The operator's token is missing or not good for this caller.
    OperatorUnproven,
    /// The keys that operators' tokens are signed with cannot be had.
    OperatorKeysUnavailable,
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body is not the JSON the operation takes.
    MalformedRequest,
    /// More questions in one batch than the limit, or none.
    BatchSize,
    /// The catalogue has no such predicate.
    UnknownPredicate,
    /// A parameter is missing, unknown or outside its set.
    InvalidParameter,
    /// The predicate does not take this kind of subject identifier.
    SubjectKindNotAllowed,
    /// The subject identifier breaks its kind's rule.
    InvalidSubject,
    /// The predicate does not allow this purpose.
    PurposeNotAllowed,
    /// The case number or operator is too long or holds control characters.
    InvalidCase,
    /// The gateway works on as many requests as it may.
    GatewayBusy,
    /// The gateway is shutting down.
    Draining,
    /// The caller's own quota or allotment is used up.
    CallerQuota,
    /// The caller has its maximum of queries in flight.
    InFlight,
    /// The same `query_id` is being answered now.
    QueryInFlight,
    /// The same `query_id` was used for another question.
    QueryIdReused,
    /// No rule of the policy permits the question, or one forbids it.
    NotGranted,
    /// The caller's quota or allotment at this department is used up.
    DepartmentQuota,
    /// The caller has asked about this subject as often as it may.
    SubjectQuota,
    /// The caller has tried to match something with this subject as often as it may.
    AttemptsExhausted,
    /// The answer would leave too little unknown about the person.
    DisclosureRefused,
    /// The department is switched off.
    DepartmentKilled,
    /// The department is in a maintenance window.
    DepartmentMaintenance,
    /// The department failed repeatedly and is given a rest.
    BreakerOpen,
    /// The department is busy and the queue is full or too slow.
    BulkheadFull,
    /// The receipt does not exist or was issued to another caller.
    NoReceipt,
}

impl RefusalCode {
    /// Every code, in the order a request meets them.
    pub const ALL: [Self; 32] = [
        Self::Unauthenticated,
        Self::OperatorUnproven,
        Self::OperatorKeysUnavailable,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::MalformedRequest,
        Self::BatchSize,
        Self::UnknownPredicate,
        Self::InvalidParameter,
        Self::SubjectKindNotAllowed,
        Self::InvalidSubject,
        Self::PurposeNotAllowed,
        Self::InvalidCase,
        Self::GatewayBusy,
        Self::Draining,
        Self::CallerQuota,
        Self::InFlight,
        Self::QueryInFlight,
        Self::QueryIdReused,
        Self::NotGranted,
        Self::DepartmentQuota,
        Self::SubjectQuota,
        Self::AttemptsExhausted,
        Self::DisclosureRefused,
        Self::DepartmentKilled,
        Self::DepartmentMaintenance,
        Self::BreakerOpen,
        Self::BulkheadFull,
        Self::NoReceipt,
    ];

    /// The stable code on the wire and in the query log.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::OperatorUnproven => "operator-unproven",
            Self::OperatorKeysUnavailable => "operator-keys-unavailable",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::BodyTooLarge => "body-too-large",
            Self::BodyTimeout => "body-timeout",
            Self::MalformedRequest => "malformed-request",
            Self::BatchSize => "batch-size",
            Self::UnknownPredicate => "unknown-predicate",
            Self::InvalidParameter => "invalid-parameter",
            Self::SubjectKindNotAllowed => "subject-kind-not-allowed",
            Self::InvalidSubject => "invalid-subject",
            Self::PurposeNotAllowed => "purpose-not-allowed",
            Self::InvalidCase => "invalid-case",
            Self::GatewayBusy => "gateway-busy",
            Self::CallerQuota => "caller-quota-exhausted",
            Self::InFlight => "in-flight-exhausted",
            Self::QueryInFlight => "query-in-flight",
            Self::QueryIdReused => "query-id-reused",
            Self::NotGranted => "not-granted",
            Self::DepartmentQuota => "department-quota-exhausted",
            Self::SubjectQuota => "subject-quota-exhausted",
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::DisclosureRefused => "disclosure-refused",
            Self::DepartmentKilled => "department-switched-off",
            Self::DepartmentMaintenance => "department-maintenance",
            Self::BreakerOpen => "department-resting",
            Self::BulkheadFull => "department-busy",
            Self::Draining => "draining",
            Self::NoReceipt => "no-receipt",
        }
    }

    /// True where the log counts refusals in windows instead of writing an entry each: promise 3's
    /// one stated exception (caller quota, unauthenticated, malformed, and whatever
    /// is turned away before there is a question).
    pub fn is_coalesced(self) -> bool {
        self <= Self::CallerQuota
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// A refusal: the code, the field at fault, the rule or limit it meets, and when to come back.
/// Carries nothing of the subject or the caller's own values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// JSON pointer (RFC 6901) to the field at fault, if one is.
    pub field: Option<String>,
    /// What would be accepted, in a sentence without the caller's values.
    pub mend: String,
    /// Earliest time a repeat can succeed, if waiting helps.
    pub retry_after: Option<Duration>,
    /// What the one-window system can show to people, if somebody wrote it.
    pub notice: Option<Box<Notice>>,
}

/// A message for people at a counter, about a department that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// In English.
    pub en: String,
    /// In Chinese.
    pub zh: String,
}

/// Longest text of a notice: a line or two on a screen.
pub const NOTICE_CHARS_MAX: usize = 200;

impl Notice {
    /// A notice that can be shown: both texts there, not longer than a line or two, in printable
    /// characters.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Result<Self, String> {
        let notice = Self { en: en.into(), zh: zh.into() };
        for (language, text) in [("en", &notice.en), ("zh", &notice.zh)] {
            let is_shown = text.chars().all(|it| !it.is_control());
            if !(1..=NOTICE_CHARS_MAX).contains(&text.chars().count()) || !is_shown {
                return Err(format!(
                    "{language}: must have 1 to {NOTICE_CHARS_MAX} characters, none of them a \
                     control character"
                ));
            }
        }
        Ok(notice)
    }
}

impl Refusal {
    /// A refusal that concerns no single field.
    pub fn new(code: RefusalCode, mend: impl Into<String>) -> Self {
        Self { code, field: None, mend: mend.into(), retry_after: None, notice: None }
    }

    /// Names the field at fault by its JSON pointer.
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Adds what people can be shown.
    pub fn noticed(mut self, notice: Option<Notice>) -> Self {
        self.notice = notice.map(Box::new);
        self
    }

    /// Says when a repeat can succeed.
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once_in_path_order() {
        assert!(RefusalCode::ALL.is_sorted_by(|one, next| one < next));
        let texts = std::collections::BTreeSet::from(RefusalCode::ALL.map(RefusalCode::code));
        assert_eq!(texts.len(), RefusalCode::ALL.len());
        assert!(texts.iter().all(|text| {
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && text.len() <= 64
        }));
        assert_eq!(RefusalCode::NoReceipt as usize + 1, RefusalCode::ALL.len(), "none is missing");
    }

    #[test]
    fn refusals_up_to_the_caller_quota_are_counted_in_windows() {
        let coalesced = RefusalCode::ALL.iter().filter(|code| code.is_coalesced()).count();
        assert_eq!(RefusalCode::ALL[coalesced - 1], RefusalCode::CallerQuota);
        assert!(!RefusalCode::InFlight.is_coalesced());
    }

    #[test]
    fn a_refusal_names_field_and_wait_only_where_it_has_them() {
        let plain = Refusal::new(RefusalCode::Draining, "ask again");
        assert_eq!((&plain.field, plain.retry_after), (&None, None));
        let full = plain.at("/purpose").after(Duration::from_secs(2));
        assert_eq!(full.field.as_deref(), Some("/purpose"));
        assert_eq!(full.retry_after, Some(Duration::from_secs(2)));
    }
}
