//! One person as they are: the truth that both departments' records are rendered from. Never says
//! how a record looks.

use jiff::civil::Date;

use crate::identifier::Kind;
use crate::insurance::Insurance;
use crate::places::Place;
use crate::special::Special;

/// One person, or one of two records that share an identifier ([`Special::SeveralRecords`]).
#[derive(Debug, Clone)]
pub struct Person {
    /// Place in the population, from 0.
    pub ordinal: usize,
    /// Set for the well-known people at the front.
    pub special: Option<Special>,
    /// What the person is asked for by.
    pub identifiers: Identifiers,
    /// The person's name.
    pub name: Name,
    /// Sex.
    pub sex: Sex,
    /// The true birth date; the record may lack it.
    pub birth_date: Date,
    /// What the civil registry has in its place.
    pub recorded_birth: RecordedBirth,
    /// Day of death.
    pub death_date: Option<Date>,
    /// True if the civil registry has the record locked.
    pub is_suspended: bool,
    /// Marital status.
    pub marital: Marital,
    /// Where the person is registered.
    pub residence: Residence,
    /// The household.
    pub household: Household,
    /// What social insurance knows; none for a person it does not know.
    pub insurance: Option<Insurance>,
    /// Seeds the fields that nothing depends on, a telephone number for one.
    pub(crate) noise: u64,
}

/// The identifiers of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifiers {
    /// `E` and eight digits.
    pub passport: String,
    /// An opaque one-window handle, `ow-` and 26 digits of base 32.
    pub handle: String,
    /// A Chinese resident identity number (GB 11643); agrees with birth date and sex.
    pub resident_identity: String,
    /// An Estonian personal code, for about one person in fifty.
    pub isikukood: Option<String>,
}

impl Identifiers {
    /// Each with its kind.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Kind, &str)> {
        Kind::ALL.into_iter().filter_map(|kind| match kind {
            Kind::Passport => Some((kind, self.passport.as_str())),
            Kind::Handle => Some((kind, self.handle.as_str())),
            Kind::ResidentIdentity => Some((kind, self.resident_identity.as_str())),
            Kind::Isikukood => Some((kind, self.isikukood.as_deref()?)),
        })
    }
}

/// A name in characters and in Latin letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Family name.
    pub family: String,
    /// Given name.
    pub given: String,
    /// Family name and given name.
    pub full: String,
    /// As a passport has it.
    pub romanized: String,
    /// An earlier full name.
    pub former: Option<String>,
}

/// Sex as registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// Female.
    Female,
    /// Male.
    Male,
}

impl Sex {
    /// The code of GB/T 2261.1.
    pub fn code(self) -> &'static str {
        match self {
            Self::Female => "2",
            Self::Male => "1",
        }
    }

    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Female => Self::Male,
            Self::Male => Self::Female,
        }
    }
}

/// What stands in the record's `BirthDate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedBirth {
    /// The true date.
    Entered,
    /// An empty element.
    Empty,
    /// An element with `xsi:nil`.
    Nil,
    /// [`UNUSABLE_BIRTH_DATE`].
    Unusable,
}

/// A date that no calendar has.
pub const UNUSABLE_BIRTH_DATE: &str = "1990-02-31";

/// Marital status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marital {
    /// Never married.
    Single,
    /// Married, not said for which time.
    Married,
    /// Married for the first time.
    FirstMarriage,
    /// Married again to somebody else.
    Remarried,
    /// Married again to the former spouse.
    Reunited,
    /// Widowed.
    Widowed,
    /// Divorced.
    Divorced,
}

impl Marital {
    /// The code of GB/T 2261.2.
    pub fn code(self) -> &'static str {
        match self {
            Self::Single => "10",
            Self::Married => "20",
            Self::FirstMarriage => "21",
            Self::Remarried => "22",
            Self::Reunited => "23",
            Self::Widowed => "30",
            Self::Divorced => "40",
        }
    }

    /// True for each kind of being married.
    pub fn is_married(self) -> bool {
        match self {
            Self::Married | Self::FirstMarriage | Self::Remarried | Self::Reunited => true,
            Self::Single | Self::Widowed | Self::Divorced => false,
        }
    }
}

/// Where a person is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residence {
    /// The division.
    pub place: &'static Place,
    /// The whole address.
    pub address: String,
    /// First day of the registration.
    pub since: Date,
}

/// A household as the person's record shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Household {
    /// Its number.
    pub number: String,
    /// The person's own role.
    pub role: Role,
    /// The others.
    pub members: Vec<Member>,
}

/// Another member of the household.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Role towards the head.
    pub role: Role,
    /// Birth date.
    pub birth_date: Date,
    /// Family name and given name.
    pub full_name: String,
}

/// Role towards the head of the household.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The head.
    Head,
    /// The head's spouse.
    Spouse,
    /// The head's child.
    Child,
    /// The head's parent.
    Parent,
    /// Anybody else.
    Other,
}

impl Role {
    /// The word in the record.
    pub fn code(self) -> &'static str {
        match self {
            Self::Head => "HEAD",
            Self::Spouse => "SPOUSE",
            Self::Child => "CHILD",
            Self::Parent => "PARENT",
            Self::Other => "OTHER",
        }
    }
}
