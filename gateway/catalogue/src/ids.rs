//! Identifiers, each parsed once. Holding one proves that its text is well formed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An identifier's text breaks its rule. The text itself is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidId {
    /// The kind of identifier.
    pub what: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

const SLUG_RULE: &str = "1 to 64 of a-z, 0-9 and '-', beginning with a letter";
/// Long enough for any published catalogue name, short enough for an entry header.
const SLUG_BYTES_MAX: usize = 64;

fn is_slug(text: &str) -> bool {
    text.len() <= SLUG_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

macro_rules! slug_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_slug(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { what: $what, rule: SLUG_RULE })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

slug_id!(
    /// Who asks: a system, not a person, named in the gateway's configuration.
    CallerId,
    "a caller id"
);
slug_id!(
    /// Who holds the record.
    DepartmentId,
    "a department id"
);
slug_id!(
    /// Why a question is asked, from the catalogue's closed list.
    Purpose,
    "a purpose"
);
slug_id!(
    /// On what ground of the law a purpose rests, from the catalogue's closed list.
    LegalBasis,
    "a legal basis"
);
slug_id!(
    /// A kind of subject identifier, `passport` for one.
    SubjectKindId,
    "a subject kind"
);

/// A question type: `department/name@version`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PredicateId {
    text: Arc<str>,
    slash: u8,
    at: u8,
    version: u32,
}

impl PredicateId {
    /// The whole text, `department/name@version`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The department part.
    pub fn department(&self) -> &str {
        &self.text[..usize::from(self.slash)]
    }

    /// The name part.
    pub fn name(&self) -> &str {
        &self.text[usize::from(self.slash) + 1..usize::from(self.at)]
    }

    /// `department/name`, the form an adapter is told.
    pub fn unversioned(&self) -> &str {
        &self.text[..usize::from(self.at)]
    }

    /// The version, 1 or more.
    pub fn version(&self) -> u32 {
        self.version
    }
}

impl FromStr for PredicateId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const INVALID: InvalidId = InvalidId {
            what: "a predicate id",
            rule: "department/name@version, such as civil-registry/age-at-least@1",
        };
        let (path, version_text) = text.split_once('@').ok_or(INVALID)?;
        let (department, name) = path.split_once('/').ok_or(INVALID)?;
        let canonical = !version_text.starts_with(['0', '+']);
        let version: u32 = version_text.parse().map_err(|_| INVALID)?;
        if !is_slug(department) || !is_slug(name) || !canonical {
            return Err(INVALID);
        }
        // Both fit: a department and a name have at most 64 bytes each.
        let (slash, at) = (department.len() as u8, path.len() as u8);
        Ok(Self { text: text.into(), slash, at, version })
    }
}

impl fmt::Display for PredicateId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// A question's own 128-bit id, chosen by the caller or drawn by the gateway; the idempotency key.
/// Its text form is 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueryId(pub [u8; 16]);

impl FromStr for QueryId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const INVALID: InvalidId =
            InvalidId { what: "a query_id", rule: "32 lower-case hexadecimal digits" };
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(INVALID);
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| INVALID)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// A SHA-256 digest (FIPS 180-4) of a component, a catalogue, a policy or a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        Self(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests;
