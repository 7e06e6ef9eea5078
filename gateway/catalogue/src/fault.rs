//! No answer because something broke.

use std::fmt;

/// Who is to blame for a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The adapter broke its contract or a limit.
    Adapter,
    /// The department did not answer, or not as it should.
    Department,
    /// The gateway itself.
    Gateway,
}

impl Blame {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Adapter => "adapter",
            Self::Department => "department",
            Self::Gateway => "gateway",
        }
    }
}

/// What broke. Closed; each has a stable code and a row in `spec/errors.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// No connection to the department: refused, no route, name not found, TLS failed.
    DepartmentUnreachable,
    /// The department did not answer within its deadline.
    DepartmentTimeout,
    /// The connection broke before the reply was whole.
    DepartmentReset,
    /// The department answered with a redirect; redirects are never followed.
    DepartmentRedirected,
    /// The department answered with an error of its own.
    DepartmentError,
    /// The department refused the gateway's credential.
    DepartmentDenied,
    /// The department answered with a status the adapter has no meaning for.
    DepartmentStatus,
    /// The reply is larger than the limit.
    ReplyTooLarge,
    /// The reply is not well formed or its charset is unknown or wrong.
    ReplyMalformed,
    /// The reply is well formed but not the document the adapter knows.
    ReplyUnexpected,
    /// The adapter trapped.
    AdapterTrapped,
    /// The adapter used up its fuel in one step.
    AdapterFuel,
    /// The adapter wanted more memory than its limit.
    AdapterMemory,
    /// The adapter wanted more steps than its limit.
    AdapterSteps,
    /// A request or the state of the adapter is larger than its limit.
    AdapterOutputTooLarge,
    /// The adapter wanted a request its department's allow-list does not hold.
    AdapterRequestDenied,
    /// The adapter says that it does not answer this query.
    AdapterUnsupported,
    /// The finding contradicts what was answered about the same person before.
    AdapterContradiction,
    /// The gateway failed: a bug, or a resource of its own ran out.
    GatewayInternal,
}

impl FaultCode {
    /// Every code, in path order.
    pub const ALL: [Self; 19] = [
        Self::DepartmentUnreachable,
        Self::DepartmentTimeout,
        Self::DepartmentReset,
        Self::DepartmentRedirected,
        Self::DepartmentError,
        Self::DepartmentDenied,
        Self::DepartmentStatus,
        Self::ReplyTooLarge,
        Self::ReplyMalformed,
        Self::ReplyUnexpected,
        Self::AdapterTrapped,
        Self::AdapterFuel,
        Self::AdapterMemory,
        Self::AdapterSteps,
        Self::AdapterOutputTooLarge,
        Self::AdapterRequestDenied,
        Self::AdapterUnsupported,
        Self::AdapterContradiction,
        Self::GatewayInternal,
    ];

    /// The stable code on the wire and in the query log.
    pub fn code(self) -> &'static str {
        match self {
            Self::DepartmentUnreachable => "department-unreachable",
            Self::DepartmentTimeout => "department-timeout",
            Self::DepartmentReset => "department-reset",
            Self::DepartmentRedirected => "department-redirected",
            Self::DepartmentError => "department-error",
            Self::DepartmentDenied => "department-denied",
            Self::DepartmentStatus => "department-status-unexpected",
            Self::ReplyTooLarge => "department-reply-too-large",
            Self::ReplyMalformed => "department-reply-malformed",
            Self::ReplyUnexpected => "department-reply-unexpected",
            Self::AdapterTrapped => "adapter-trapped",
            Self::AdapterFuel => "adapter-fuel-exhausted",
            Self::AdapterMemory => "adapter-memory-exhausted",
            Self::AdapterSteps => "adapter-steps-exhausted",
            Self::AdapterOutputTooLarge => "adapter-output-too-large",
            Self::AdapterRequestDenied => "adapter-request-denied",
            Self::AdapterUnsupported => "adapter-unsupported-query",
            Self::AdapterContradiction => "adapter-contradiction",
            Self::GatewayInternal => "gateway-internal",
        }
    }

    /// Who is to blame.
    pub fn blame(self) -> Blame {
        match self {
            Self::DepartmentUnreachable
            | Self::DepartmentTimeout
            | Self::DepartmentReset
            | Self::DepartmentRedirected
            | Self::DepartmentError
            | Self::DepartmentDenied
            | Self::DepartmentStatus
            | Self::ReplyTooLarge
            | Self::ReplyMalformed
            | Self::ReplyUnexpected => Blame::Department,
            Self::AdapterTrapped
            | Self::AdapterFuel
            | Self::AdapterMemory
            | Self::AdapterSteps
            | Self::AdapterOutputTooLarge
            | Self::AdapterRequestDenied
            | Self::AdapterUnsupported
            | Self::AdapterContradiction => Blame::Adapter,
            Self::GatewayInternal => Blame::Gateway,
        }
    }

    /// True if asking again later, with a new `query_id`, can help without anybody mending
    /// anything.
    pub fn is_transient(self) -> bool {
        match self {
            Self::DepartmentUnreachable
            | Self::DepartmentTimeout
            | Self::DepartmentReset
            | Self::DepartmentError => true,
            Self::DepartmentRedirected
            | Self::DepartmentDenied
            | Self::DepartmentStatus
            | Self::ReplyTooLarge
            | Self::ReplyMalformed
            | Self::ReplyUnexpected
            | Self::AdapterTrapped
            | Self::AdapterFuel
            | Self::AdapterMemory
            | Self::AdapterSteps
            | Self::AdapterOutputTooLarge
            | Self::AdapterRequestDenied
            | Self::AdapterUnsupported
            | Self::AdapterContradiction
            | Self::GatewayInternal => false,
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// A fault: never a verdict. Carries no text, so that nothing of a record can travel in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What broke.
    pub code: FaultCode,
    /// True if the department was certainly not reached, or the request was marked safe, so that a
    /// repeat does no harm there.
    pub retry_is_safe: bool,
}

impl Fault {
    /// A fault after which nothing may be repeated without thought.
    pub fn new(code: FaultCode) -> Self {
        Self { code, retry_is_safe: false }
    }

    /// A fault before the department could have acted.
    pub fn before_effect(code: FaultCode) -> Self {
        Self { code, retry_is_safe: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once_and_names_its_blame() {
        let texts = std::collections::BTreeSet::from(FaultCode::ALL.map(FaultCode::code));
        assert_eq!(texts.len(), FaultCode::ALL.len());
        for code in FaultCode::ALL {
            let (first, _) = code.code().split_once('-').unwrap();
            assert_eq!(first, code.blame().as_str(), "{code}");
        }
        assert_eq!(FaultCode::GatewayInternal as usize + 1, FaultCode::ALL.len(), "none missing");
    }

    #[test]
    fn only_a_department_recovers_by_itself() {
        let transient = FaultCode::ALL.into_iter().filter(|code| code.is_transient());
        assert!(transient.clone().count() > 0);
        assert!(transient.into_iter().all(|code| code.blame() == Blame::Department));
    }

    #[test]
    fn a_repeat_is_safe_only_before_an_effect() {
        assert!(!Fault::new(FaultCode::DepartmentReset).retry_is_safe);
        assert!(Fault::before_effect(FaultCode::DepartmentUnreachable).retry_is_safe);
    }
}
