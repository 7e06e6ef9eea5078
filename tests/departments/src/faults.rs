//! Faults on demand: their names, and which request meets which. Never touches a socket.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use distort::{Cut, Delivery, distort};

mod distort;

/// The two departments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Department {
    /// The civil registry.
    CivilRegistry,
    /// Social insurance.
    SocialInsurance,
}

impl Department {
    /// Both.
    pub const ALL: [Self; 2] = [Self::CivilRegistry, Self::SocialInsurance];

    /// The name in control requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CivilRegistry => "civil-registry",
            Self::SocialInsurance => "social-insurance",
        }
    }
}

/// What can go wrong. The text form is the name, after which a colon and a parameter can stand:
/// `status:302`. README.md has the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `slow:MS` – waits before the head; 1,000 ms unless told.
    Slow {
        /// How long.
        pause: Duration,
    },
    /// `trickle:MS` – sends 64 bytes of the body at a time; 50 ms apart unless told.
    Trickle {
        /// Between two pieces.
        pause: Duration,
    },
    /// `hang` – answers once the faults are cleared.
    Hang,
    /// `reset` – resets the connection instead of answering.
    Reset,
    /// `reset-mid-body` – resets it after half the body.
    ResetMidBody,
    /// `close` – closes the connection instead of answering.
    Close,
    /// `close-mid-body` – closes it after half the body.
    CloseMidBody,
    /// `status:CODE` – that status with a text; 500 unless told. A 3xx has a location.
    Status {
        /// 200 to 599.
        code: u16,
    },
    /// `huge-chunked:MIB` – pads the reply with white space, chunked; 64 MiB unless told.
    HugeChunked {
        /// 1 to 4096.
        mib: u32,
    },
    /// `huge-length:MIB` – the same with a content length.
    HugeLength {
        /// 1 to 4096.
        mib: u32,
    },
    /// `wrong-charset` – says UTF-8 and sends GB 18030.
    WrongCharset,
    /// `gb18030` – says GB 18030 and sends it. Civil registry.
    Gb18030,
    /// `truncated` – a whole HTTP reply with the first half of the document.
    Truncated,
    /// `mismatched-tags` – an end tag with another name. Civil registry.
    MismatchedTags,
    /// `entity-bomb` – a DTD whose entities expand to 3 GB. Civil registry.
    EntityBomb,
    /// `external-entity` – a DTD with an entity to fetch from this server. Civil registry.
    ExternalEntity,
    /// `soap-fault` – a SOAP fault of the server's own. Civil registry.
    SoapFault,
    /// `wrong-root` – the reply without an envelope. Civil registry.
    WrongRoot,
    /// `wrong-content-type` – the reply as text/html.
    WrongContentType,
    /// `empty-body` – the head of the reply and nothing else.
    EmptyBody,
    /// `missing-field:NAME` – without the first element, or without each JSON member, of that name.
    /// Unless told `BirthDate`; `status`, `items` and `state` in JSON.
    MissingField {
        /// The name.
        name: Option<String>,
    },
    /// `malformed-json` – a comma where none belongs. Social insurance.
    MalformedJson,
    /// `wrong-types` – numbers as text, texts as numbers, lists as objects. Social insurance.
    WrongTypes,
    /// `endless-pages` – each page of contributions is full and says that one more follows. Social
    /// insurance.
    EndlessPages,
}

/// The name of each fault.
pub const FAULT_NAMES: [&str; 24] = [
    "slow",
    "trickle",
    "hang",
    "reset",
    "reset-mid-body",
    "close",
    "close-mid-body",
    "status",
    "huge-chunked",
    "huge-length",
    "wrong-charset",
    "gb18030",
    "truncated",
    "mismatched-tags",
    "entity-bomb",
    "external-entity",
    "soap-fault",
    "wrong-root",
    "wrong-content-type",
    "empty-body",
    "missing-field",
    "malformed-json",
    "wrong-types",
    "endless-pages",
];

/// A text that names no fault, or a parameter that the fault does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFault {
    /// No fault has this name.
    #[error("no fault has this name")]
    Unknown,
    /// The parameter is not what the fault takes.
    #[error("the parameter must be {0}")]
    Parameter(&'static str),
}

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let (name, parameter) = match text.split_once(':') {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        let number = |unless_told: u32, range: std::ops::RangeInclusive<u32>, rule| {
            let number = parameter.map_or(Ok(unless_told), str::parse);
            number.ok().filter(|number| range.contains(number)).ok_or(InvalidFault::Parameter(rule))
        };
        let pause = |unless_told| {
            let milliseconds = number(unless_told, 0..=PAUSE_MS_MAX, "0 to 600000 ms")?;
            Ok(Duration::from_millis(milliseconds.into()))
        };
        let mib = || number(64, 1..=4096, "1 to 4096 MiB");
        let fault = match name {
            "slow" => return Ok(Self::Slow { pause: pause(1_000)? }),
            "trickle" => return Ok(Self::Trickle { pause: pause(50)? }),
            "status" => {
                let code = number(500, 200..=599, "200 to 599")? as u16;
                return Ok(Self::Status { code });
            }
            "huge-chunked" => return Ok(Self::HugeChunked { mib: mib()? }),
            "huge-length" => return Ok(Self::HugeLength { mib: mib()? }),
            "missing-field" => return Ok(Self::MissingField { name: parameter.map(Into::into) }),
            "hang" => Self::Hang,
            "reset" => Self::Reset,
            "reset-mid-body" => Self::ResetMidBody,
            "close" => Self::Close,
            "close-mid-body" => Self::CloseMidBody,
            "wrong-charset" => Self::WrongCharset,
            "gb18030" => Self::Gb18030,
            "truncated" => Self::Truncated,
            "mismatched-tags" => Self::MismatchedTags,
            "entity-bomb" => Self::EntityBomb,
            "external-entity" => Self::ExternalEntity,
            "soap-fault" => Self::SoapFault,
            "wrong-root" => Self::WrongRoot,
            "wrong-content-type" => Self::WrongContentType,
            "empty-body" => Self::EmptyBody,
            "malformed-json" => Self::MalformedJson,
            "wrong-types" => Self::WrongTypes,
            "endless-pages" => Self::EndlessPages,
            _ => return Err(InvalidFault::Unknown),
        };
        match parameter {
            None => Ok(fault),
            Some(_) => Err(InvalidFault::Parameter("left out")),
        }
    }
}

impl Fault {
    /// The one department that can have it; none if both can.
    fn only_at(&self) -> Option<Department> {
        match self {
            Self::Slow { .. }
            | Self::Trickle { .. }
            | Self::Hang
            | Self::Reset
            | Self::ResetMidBody
            | Self::Close
            | Self::CloseMidBody
            | Self::Status { .. }
            | Self::HugeChunked { .. }
            | Self::HugeLength { .. }
            | Self::WrongCharset
            | Self::Truncated
            | Self::WrongContentType
            | Self::EmptyBody
            | Self::MissingField { .. } => None,
            Self::Gb18030
            | Self::MismatchedTags
            | Self::EntityBomb
            | Self::ExternalEntity
            | Self::SoapFault
            | Self::WrongRoot => Some(Department::CivilRegistry),
            Self::MalformedJson | Self::WrongTypes | Self::EndlessPages => {
                Some(Department::SocialInsurance)
            }
        }
    }
}

/// A fault and the requests it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRule {
    /// The fault.
    pub fault: Fault,
    /// How many requests meet it; none for all until the faults are cleared.
    pub requests: Option<u32>,
    /// Only requests for this identifier.
    pub identifier: Option<String>,
}

impl FaultRule {
    /// The same for so many requests.
    pub fn times(mut self, requests: u32) -> Self {
        self.requests = Some(requests);
        self
    }

    /// The same for one identifier alone.
    pub fn only_for(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = Some(identifier.into());
        self
    }
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self { fault, requests: None, identifier: None }
    }
}

/// A rule that a department does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedRule {
    /// The other department alone can have this fault.
    #[error("this department cannot have this fault")]
    NotHere,
    /// The rule would meet no request.
    #[error("the number of requests must be at least 1")]
    NoRequests,
    /// There are [`RULES_MAX`] rules already.
    #[error("there are 64 rules already")]
    TooMany,
}

/// The faults of one department. The newest rule that fits a request wins.
#[derive(Debug)]
pub struct Faults {
    department: Department,
    rules: Mutex<Vec<FaultRule>>,
    clearings: watch::Sender<()>,
}

impl Faults {
    pub(crate) fn new(department: Department) -> Self {
        Self { department, rules: Mutex::default(), clearings: watch::Sender::new(()) }
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// [`RefusedRule`] says why the department does not take it.
    pub fn set(&self, rule: impl Into<FaultRule>) -> Result<(), RefusedRule> {
        let rule = rule.into();
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if rule.fault.only_at().is_some_and(|only| only != self.department) {
            Err(RefusedRule::NotHere)
        } else if rule.requests == Some(0) {
            Err(RefusedRule::NoRequests)
        } else if rules.len() >= RULES_MAX {
            Err(RefusedRule::TooMany)
        } else {
            rules.push(rule);
            Ok(())
        }
    }

    /// Forgets all rules and lets the requests that hang be answered.
    pub fn clear(&self) {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.clear();
        self.clearings.send_replace(());
    }

    /// The fault a request meets.
    pub(crate) fn strike(&self, identifier: Option<&str>) -> Option<Strike> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let index = rules.iter().rposition(|rule| {
            rule.identifier.as_deref().is_none_or(|only| Some(only) == identifier)
        })?;
        let rule = &mut rules[index];
        let fault = rule.fault.clone();
        if let Some(left) = &mut rule.requests {
            *left -= 1;
            if *left == 0 {
                rules.remove(index);
            }
        }
        // Subscribed under the lock, so that no clearing after this moment is missed.
        Some(Strike { fault, cleared: self.clearings.subscribe() })
    }
}

/// A fault that meets a request.
pub(crate) struct Strike {
    pub fault: Fault,
    /// Changes when the faults are cleared.
    pub cleared: watch::Receiver<()>,
}

/// More than any test sets at once; a rule is looked for in each of them.
pub const RULES_MAX: usize = 64;
/// Longer than any deadline of a gateway.
const PAUSE_MS_MAX: u32 = 600_000;

#[cfg(test)]
mod tests;
