//! The well-known people at the front of each population: who they are, and their passports,
//! which no seed changes. Never draws anything at random.

use jiff::ToSpan as _;
use jiff::civil::{Date, date};

use crate::insurance::{self, Month};
use crate::person::{Household, Marital, Member, Person, RecordedBirth, Role};

/// A person that a demonstration or a test asks for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Turned 18 on the second day of this month; on the first, if today is the first.
    JustTurned18,
    /// Turns 18 tomorrow; the day after if tomorrow is 29 February, when nobody can.
    Turns18Tomorrow,
    /// Born on 29 February of the last leap year at least 18 years ago.
    BornOnLeapDay,
    /// `BirthDate` is an empty element.
    BirthDateMissing,
    /// `BirthDate` is `xsi:nil`.
    BirthDateNil,
    /// `BirthDate` is 31 February 1990.
    BirthDateUnusable,
    /// Died two years ago at 80.
    Deceased,
    /// Two records have this passport and this handle.
    SeveralRecords,
    /// The record is locked.
    RecordSuspended,
    /// Registered at the present residence 20 days ago.
    MovedRecently,
    /// Widowed, 41, head of a household with children of 7 and 13.
    WidowedHead,
    /// Social insurance does not know this person.
    UnknownToSocialInsurance,
    /// 32 months paid in the last 40: 12, none for 5, 12, in arrears for 3, 8.
    ContributionGaps,
    /// 66, receives a pension.
    Pensioner,
    /// 150 months paid without a gap, each tenth at two employers: 165 items.
    LongContributions,
}

impl Special {
    /// Everybody, in the order of the population.
    pub const ALL: [Self; 15] = [
        Self::JustTurned18,
        Self::Turns18Tomorrow,
        Self::BornOnLeapDay,
        Self::BirthDateMissing,
        Self::BirthDateNil,
        Self::BirthDateUnusable,
        Self::Deceased,
        Self::SeveralRecords,
        Self::RecordSuspended,
        Self::MovedRecently,
        Self::WidowedHead,
        Self::UnknownToSocialInsurance,
        Self::ContributionGaps,
        Self::Pensioner,
        Self::LongContributions,
    ];

    /// The passport number, the same for every seed.
    pub fn passport(self) -> &'static str {
        match self {
            Self::JustTurned18 => "E00000001",
            Self::Turns18Tomorrow => "E00000002",
            Self::BornOnLeapDay => "E00000003",
            Self::BirthDateMissing => "E00000004",
            Self::BirthDateNil => "E00000005",
            Self::BirthDateUnusable => "E00000006",
            Self::Deceased => "E00000007",
            Self::SeveralRecords => "E00000008",
            Self::RecordSuspended => "E00000009",
            Self::MovedRecently => "E00000010",
            Self::WidowedHead => "E00000011",
            Self::UnknownToSocialInsurance => "E00000012",
            Self::ContributionGaps => "E00000013",
            Self::Pensioner => "E00000014",
            Self::LongContributions => "E00000015",
        }
    }

    /// The name in a dump.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JustTurned18 => "just-turned-18",
            Self::Turns18Tomorrow => "turns-18-tomorrow",
            Self::BornOnLeapDay => "born-on-leap-day",
            Self::BirthDateMissing => "birth-date-missing",
            Self::BirthDateNil => "birth-date-nil",
            Self::BirthDateUnusable => "birth-date-unusable",
            Self::Deceased => "deceased",
            Self::SeveralRecords => "several-records",
            Self::RecordSuspended => "record-suspended",
            Self::MovedRecently => "moved-recently",
            Self::WidowedHead => "widowed-head",
            Self::UnknownToSocialInsurance => "unknown-to-social-insurance",
            Self::ContributionGaps => "contribution-gaps",
            Self::Pensioner => "pensioner",
            Self::LongContributions => "long-contributions",
        }
    }

    /// How many records there are.
    pub(crate) fn records(self) -> usize {
        if self == Self::SeveralRecords { 2 } else { 1 }
    }

    /// The birth date. Whoever has no reason for another one is 41 and nearer to 42.
    pub(crate) fn birth_date(self, today: Date) -> Date {
        let years_ago = |years: i32| today.saturating_sub(years.years());
        match self {
            Self::JustTurned18 => {
                let second = today.first_of_month().saturating_add(1.day());
                second.min(today).saturating_sub(18.years())
            }
            Self::Turns18Tomorrow => {
                let tomorrow = today.saturating_add(1.day());
                let birthday = tomorrow.saturating_sub(18.years());
                if birthday.day() == tomorrow.day() {
                    birthday
                } else {
                    birthday.saturating_add(1.day())
                }
            }
            Self::BornOnLeapDay => {
                let adult = years_ago(18);
                // Twelve years hold a leap year, whatever the century.
                let leap_days = (adult.year() - 12..=adult.year())
                    .rev()
                    .filter_map(|year| Date::new(year, 2, 29).ok());
                leap_days.into_iter().find(|day| *day <= adult).unwrap_or(date(1996, 2, 29))
            }
            Self::BirthDateUnusable => date(1990, 2, 28),
            Self::Deceased => years_ago(82),
            Self::Pensioner => years_ago(66).saturating_sub(40.days()),
            Self::BirthDateMissing
            | Self::BirthDateNil
            | Self::SeveralRecords
            | Self::RecordSuspended
            | Self::MovedRecently
            | Self::WidowedHead
            | Self::UnknownToSocialInsurance
            | Self::ContributionGaps
            | Self::LongContributions => years_ago(41).saturating_sub(200.days()),
        }
    }

    /// The marital status, where it matters.
    pub(crate) fn marital(self) -> Option<Marital> {
        (self == Self::WidowedHead).then_some(Marital::Widowed)
    }

    /// Makes the person what they are known for.
    pub(crate) fn mark(self, person: &mut Person, today: Date) {
        match self {
            Self::BirthDateMissing => person.recorded_birth = RecordedBirth::Empty,
            Self::BirthDateNil => person.recorded_birth = RecordedBirth::Nil,
            Self::BirthDateUnusable => person.recorded_birth = RecordedBirth::Unusable,
            Self::Deceased => {
                let death = today.saturating_sub(2.years());
                person.death_date = Some(death);
                person.insurance = person.insurance.take().map(|known| known.closed(death));
            }
            Self::RecordSuspended => person.is_suspended = true,
            Self::MovedRecently => person.residence.since = today.saturating_sub(20.days()),
            Self::WidowedHead => person.household = with_children(person, today),
            Self::UnknownToSocialInsurance => person.insurance = None,
            Self::ContributionGaps => {
                person.insurance = Some(insurance::with_gaps(Month::of(today)));
            }
            Self::LongContributions => {
                person.insurance = Some(insurance::without_gaps(Month::of(today)));
            }
            Self::JustTurned18
            | Self::Turns18Tomorrow
            | Self::BornOnLeapDay
            | Self::SeveralRecords
            | Self::Pensioner => {}
        }
    }
}

fn with_children(person: &Person, today: Date) -> Household {
    let child = |years: i32, given: &str| Member {
        role: Role::Child,
        birth_date: today.saturating_sub(years.years()).saturating_sub(90.days()),
        full_name: format!("{}{given}", person.name.family),
    };
    Household {
        number: person.household.number.clone(),
        role: Role::Head,
        members: vec![child(13, "子轩"), child(7, "雨涵")],
    }
}
