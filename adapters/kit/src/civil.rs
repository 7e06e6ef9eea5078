//! Civil dates and months of the proleptic Gregorian calendar, and ages in them.
//!
//! Owns what "complete" means for a year and a month. It knows no time zone and no current date:
//! the question brings its own.

use std::fmt;
use std::str::FromStr;

use crate::Reason;

/// A date that the calendar has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The date, if the calendar has it; years are 1 to 9999.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let is_valid = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day);
        is_valid.then_some(Self { year, month, day })
    }

    /// The year.
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month the date lies in.
    pub fn month(self) -> Month {
        Month { ordinal: u32::from(self.year) * 12 + u32::from(self.month) - 1 }
    }

    /// The day of the month, 1 to 31.
    pub fn day(self) -> u8 {
        self.day
    }
}

impl FromStr for Date {
    type Err = Reason;

    /// `YYYY-MM-DD` (ISO 8601 extended, also XML Schema's `date` without a time zone) or `YYYYMMDD`
    /// (basic). Anything else is an unusable field, also a date that the calendar lacks.
    fn from_str(text: &str) -> Result<Self, Reason> {
        let fields = match *text.as_bytes() {
            [_, _, _, _, b'-', _, _, b'-', _, _] => (text.get(..4), text.get(5..7), text.get(8..)),
            [_, _, _, _, _, _, _, _] => (text.get(..4), text.get(4..6), text.get(6..)),
            _ => return Err(Reason::UnusableField),
        };
        let date = || {
            let (year, month, day) = fields;
            Date::new(digits(year?)?, digits(month?)? as u8, digits(day?)? as u8)
        };
        date().ok_or(Reason::UnusableField)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    ordinal: u32,
}

impl Month {
    /// Months since January of the year 0: neighbouring months have neighbouring numbers.
    pub fn ordinal(self) -> u32 {
        self.ordinal
    }
}

impl FromStr for Month {
    type Err = Reason;

    /// `YYYY-MM` (XML Schema's `gYearMonth` without a time zone) or `YYYYMM`. Anything else is an
    /// unusable field.
    fn from_str(text: &str) -> Result<Self, Reason> {
        let fields = match *text.as_bytes() {
            [_, _, _, _, b'-', _, _] => (text.get(..4), text.get(5..)),
            [_, _, _, _, _, _] => (text.get(..4), text.get(4..)),
            _ => return Err(Reason::UnusableField),
        };
        let date = || Date::new(digits(fields.0?)?, digits(fields.1?)? as u8, 1);
        date().map(Date::month).ok_or(Reason::UnusableField)
    }
}

/// Complete years of age; none before birth.
///
/// A year is complete from the beginning of the birthday (as in England's Family Law Reform Act
/// 1969, section 9). Whoever is born on 29 February completes a year on 1 March where the year has
/// no 29 February: on 28 February the anniversary has not come, so by no reading of the law is the
/// answer given too early. Hong Kong's Cap. 410 says the same in words; New Zealand's rule differs
/// by that one day. Where the law counts from the day after the birthday, as the criminal law of
/// China does, an adapter asks for the age on the day before.
pub fn whole_years(birth: Date, as_of: Date) -> Option<u32> {
    months_between(birth, as_of).map(|months| months / 12)
}

/// Complete months from one date to another; none if `to` is earlier.
///
/// A month is complete on the same day of a later month, or on the first day of the month after
/// where that day is missing: the rule of [`whole_years`].
pub fn months_between(from: Date, to: Date) -> Option<u32> {
    if to < from {
        return None;
    }
    let months = to.month().ordinal - from.month().ordinal;
    Some(if to.day < from.day { months - 1 } else { months })
}

fn days_in_month(year: u16, month: u8) -> u8 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u8::from(is_leap),
        _ => 31,
    }
}

/// A number of at most four digits and nothing else.
fn digits(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn reads_dates_of_the_calendar_only() {
        let usable = ["2026-11-01", "20261101", "2024-02-29", "2000-02-29", "0001-01-01"];
        for text in usable {
            let plain: String = text.chars().filter(|it| *it != '-').collect();
            assert_eq!(date(text).to_string().replace('-', ""), plain);
        }
        let unusable = [
            "",
            "1990-02-31",
            "2023-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-04-31",
            "2026-01-00",
            "0000-01-01",
            "2026-1-1",
            "2026/01/01",
            "2026-01-01Z",
            "+026-01-01",
            "20260101 ",
            "1990年1月",
            "99991",
            "2026-01-0\u{661}",
        ];
        for text in unusable {
            assert_eq!(text.parse::<Date>(), Err(Reason::UnusableField), "{text}");
        }
    }

    #[test]
    fn reads_months() {
        let ordinal = |text: &str| text.parse::<Month>().map(Month::ordinal);
        assert_eq!(ordinal("2024-03"), ordinal("202403"));
        assert_eq!(ordinal("2025-01").unwrap() - ordinal("2024-12").unwrap(), 1);
        for text in ["", "2024-13", "2024-00", "2024-3", "24-03", "2024-03-01", "2024/03"] {
            assert_eq!(ordinal(text), Err(Reason::UnusableField), "{text}");
        }
    }

    #[test]
    fn a_year_is_complete_on_the_birthday() {
        let cases = [
            ("2008-11-01", "2026-10-31", Some(17)),
            ("2008-11-01", "2026-11-01", Some(18)),
            ("2008-11-02", "2026-11-01", Some(17)),
            ("2008-02-29", "2026-02-28", Some(17)),
            ("2008-02-29", "2026-03-01", Some(18)),
            ("2008-02-29", "2028-02-28", Some(19)),
            ("2008-02-29", "2028-02-29", Some(20)),
            ("2026-11-01", "2026-11-01", Some(0)),
            ("2026-11-02", "2026-11-01", None),
            ("2027-01-01", "2026-12-31", None),
        ];
        for (birth, as_of, years) in cases {
            assert_eq!(whole_years(date(birth), date(as_of)), years, "{birth} as of {as_of}");
        }
    }

    #[test]
    fn a_month_is_complete_on_the_same_day() {
        let cases = [
            ("2026-01-31", "2026-02-28", Some(0)),
            ("2026-01-31", "2026-03-01", Some(1)),
            ("2025-12-15", "2026-01-14", Some(0)),
            ("2025-12-15", "2026-01-15", Some(1)),
            ("2020-11-01", "2026-11-01", Some(72)),
            ("2026-11-02", "2026-11-01", None),
        ];
        for (from, to, months) in cases {
            assert_eq!(months_between(date(from), date(to)), months, "{from} to {to}");
        }
    }
}
