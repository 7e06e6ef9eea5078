//! About whom a question is asked: identifier kinds, their check rules, and the identifier itself.
//!
//! A rule checks form and check characters only; whether the person or organisation exists is the
//! department's knowledge. An identifier is never printed, compared or serialised here: it is held,
//! exposed to whoever must send it on, and wiped.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::ids::SubjectKindId;

mod isikukood;
mod organisation;
mod province;
mod resident;

pub use organisation::unified_social_credit;
pub use province::{PROVINCES, Province};
pub use resident::resident_identity;

/// A subject identifier that fits its kind's rule. Wiped from memory when dropped. Deliberately
/// without `Debug`, `Display`, `Clone`, comparison and serialisation.
pub struct Subject {
    kind: Arc<SubjectKind>,
    value: Zeroizing<String>,
}

impl Subject {
    pub(crate) fn new(
        kind: Arc<SubjectKind>,
        value: Zeroizing<String>,
    ) -> Result<Self, SubjectFault> {
        kind.check(&value)?;
        Ok(Self { kind, value })
    }

    /// The kind whose rule the identifier fits.
    pub fn kind(&self) -> &Arc<SubjectKind> {
        &self.kind
    }

    /// The identifier's text, for a request to a department or a keyed token; for nothing else.
    pub fn expose(&self) -> &str {
        &self.value
    }
}

/// A kind of subject identifier, `passport` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectKind {
    /// Its id on the wire.
    pub id: SubjectKindId,
    /// English title.
    pub title_en: String,
    /// Chinese title.
    pub title_zh: String,
    /// What anyone who holds the identifier can read off it, without asking anybody.
    pub reveals: Vec<Reveals>,
    /// True if a person has one of it, for life.
    pub lasting: bool,
    /// The rule its text must fit.
    pub rule: IdentifierRule,
}

impl SubjectKind {
    /// Checks an identifier's text against the kind's rule.
    pub fn check(&self, text: &str) -> Result<(), SubjectFault> {
        self.rule.check(text)
    }
}

/// An attribute that an identifier carries in its own digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reveals {
    /// The day of birth.
    BirthDate,
    /// The division in which the holder was first registered.
    BirthDivision,
    /// The division of the authority that registered the organisation.
    RegistrationDivision,
    /// The sex.
    Sex,
}

impl Reveals {
    /// Every attribute, in alphabetical order.
    pub const ALL: [Self; 4] =
        [Self::BirthDate, Self::BirthDivision, Self::RegistrationDivision, Self::Sex];

    /// The attribute's name, as a predicate's entry writes it.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::BirthDate => "birth-date",
            Self::BirthDivision => "birth-division",
            Self::RegistrationDivision => "registration-division",
            Self::Sex => "sex",
        }
    }
}

/// How an identifier's text is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentifierRule {
    /// Resident identity number, GB 11643-1999: division, date of birth, order number and an
    /// ISO 7064 MOD 11-2 check character.
    Gb11643,
    /// Unified social credit code, GB 32100-2015: authority, category, division, organisation code
    /// with the check character of GB 11714-1997, and a MOD 31 check character.
    Gb32100,
    /// Document number of a travel document, ICAO Doc 9303 part 4: upper-case letters and digits,
    /// without a check digit outside the machine-readable zone.
    Icao9303,
    /// Estonian personal code, EVS 585:2007: sex and century, date of birth, order number and a
    /// check digit modulo 11 in two stages.
    Isikukood,
    /// Opaque handle that the one window issues: 128 random bits in Crockford's base 32.
    OneWindowHandle,
}

impl IdentifierRule {
    /// Every rule, in alphabetical order.
    pub const ALL: [Self; 5] =
        [Self::Gb11643, Self::Gb32100, Self::Icao9303, Self::Isikukood, Self::OneWindowHandle];

    /// The rule's name in catalogue files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gb11643 => "gb-11643",
            Self::Gb32100 => "gb-32100",
            Self::Icao9303 => "icao-9303",
            Self::Isikukood => "isikukood",
            Self::OneWindowHandle => "one-window-handle",
        }
    }

    /// What the rule's standard writes into every identifier. A catalogue entry must declare it;
    /// it cannot declare it away.
    pub fn reveals(self) -> &'static [Reveals] {
        match self {
            Self::Gb11643 => &[Reveals::BirthDate, Reveals::BirthDivision, Reveals::Sex],
            Self::Gb32100 => &[Reveals::RegistrationDivision],
            Self::Isikukood => &[Reveals::BirthDate, Reveals::Sex],
            Self::Icao9303 | Self::OneWindowHandle => &[],
        }
    }

    /// Checks form and check characters. Never asks whether the holder exists.
    pub fn check(self, text: &str) -> Result<(), SubjectFault> {
        match self {
            Self::Gb11643 => resident::check(text),
            Self::Gb32100 => organisation::check(text),
            Self::Icao9303 => check_document_number(text),
            Self::Isikukood => isikukood::check(text),
            Self::OneWindowHandle => check_handle(text),
        }
    }
}

impl fmt::Display for IdentifierRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Which part of a rule an identifier's text breaks. Repeats nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectFault {
    /// The length or the alphabet is not the rule's.
    #[error("must be {rule}")]
    Form {
        /// The form in words.
        rule: &'static str,
    },
    /// The registration authority or organisation category does not exist.
    #[error("must begin with a registration authority and category of GB 32100")]
    Category,
    /// The first two digits of the division are no province of GB/T 2260.
    #[error("must hold a division whose first two digits are a province of GB/T 2260")]
    Division,
    /// The date of birth is not in the calendar.
    #[error("must hold a date of birth that the calendar has, 1800 or later")]
    BirthDate,
    /// The organisation code's own check character does not fit.
    #[error("must hold an organisation code whose check character fits by GB 11714")]
    OrganisationCheck,
    /// The last character does not fit the ones before it.
    #[error("must end in the check character of the ones before it")]
    Check,
}

/// Passport and other travel document numbers fill at most the nine places that the
/// machine-readable zone gives them; six is the shortest in use among issuing states.
fn check_document_number(text: &str) -> Result<(), SubjectFault> {
    let bytes = text.as_bytes();
    let in_alphabet = bytes.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9'));
    if (6..=9).contains(&bytes.len()) && in_alphabet && bytes.iter().any(u8::is_ascii_digit) {
        return Ok(());
    }
    Err(SubjectFault::Form { rule: "6 to 9 of A-Z and 0-9, with at least one digit" })
}

/// 26 symbols of five bits hold 130: the first one stays below 8.
fn check_handle(text: &str) -> Result<(), SubjectFault> {
    const RULE: &str = "'ow-' and 26 of 0-9 and a-z without i, l, o, u, the first below 8";
    let symbols = text.strip_prefix("ow-").unwrap_or_default().as_bytes();
    let in_alphabet = symbols.iter().all(|byte| {
        matches!(byte, b'0'..=b'9' | b'a'..=b'z') && !matches!(byte, b'i' | b'l' | b'o' | b'u')
    });
    if symbols.len() == 26 && in_alphabet && symbols[0] < b'8' {
        return Ok(());
    }
    Err(SubjectFault::Form { rule: RULE })
}

/// The digits' values, or `None` if a byte is no digit.
fn digits<const N: usize>(text: &[u8]) -> Option<[u32; N]> {
    let bytes: &[u8; N] = text.try_into().ok()?;
    bytes.iter().all(u8::is_ascii_digit).then(|| bytes.map(|byte| u32::from(byte - b'0')))
}

/// True if the calendar has the date and it is not before any living registry.
fn is_birth_date(year: u32, month: u32, day: u32) -> bool {
    let parts = (i16::try_from(year), i8::try_from(month), i8::try_from(day));
    let (Ok(year), Ok(month), Ok(day)) = parts else {
        return false;
    };
    year >= BIRTH_YEAR_MIN && jiff::civil::Date::new(year, month, day).is_ok()
}

/// The first century that the Estonian code can name; no registry in use reaches further back.
const BIRTH_YEAR_MIN: i16 = 1800;

#[cfg(test)]
mod tests;
