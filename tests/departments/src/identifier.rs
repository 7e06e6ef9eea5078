//! Makes identifiers whose check characters are right. Knows no person.

use jiff::civil::Date;

use crate::person::Sex;

/// The kinds of identifier both departments know a person by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Passport,
    Handle,
    ResidentIdentity,
    Isikukood,
}

impl Kind {
    pub const ALL: [Self; 4] =
        [Self::Passport, Self::Handle, Self::ResidentIdentity, Self::Isikukood];

    /// The word in requests and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passport => "passport",
            Self::Handle => "handle",
            Self::ResidentIdentity => "resident-identity",
            Self::Isikukood => "isikukood",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An opaque handle: `ow-` and 26 digits of Crockford's base 32 in lower case, most significant
/// first, so that the first digit is 0 to 7.
pub(crate) fn handle(value: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digits = (0..26).rev().map(|place| DIGITS[(value >> (place * 5)) as usize & 31] as char);
    "ow-".chars().chain(digits).collect()
}

/// A Chinese resident identity number (GB 11643-1999): division, birth date, sequence (odd for
/// men) and the check character of ISO 7064 MOD 11-2.
pub(crate) fn resident_identity(division: &str, birth: Date, sequence: u16) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let body = format!("{division}{}{:03}", birth.strftime("%Y%m%d"), sequence % 1000);
    let check = b"10X98765432"[(weighted_sum(&body, &WEIGHTS) % 11) as usize];
    format!("{body}{}", check as char)
}

/// An Estonian personal code (EVS 585): century and sex, birth date, serial, check digit.
pub(crate) fn isikukood(sex: Sex, birth: Date, serial: u16) -> String {
    let century = match birth.year() {
        ..1900 => 1,
        1900..2000 => 3,
        2000..2100 => 5,
        2100.. => 7,
    };
    let first = match sex {
        Sex::Male => century,
        Sex::Female => century + 1,
    };
    let body = format!("{first}{}{:03}", birth.strftime("%y%m%d"), serial % 1000);
    let check = match weighted_sum(&body, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11 {
        10 => weighted_sum(&body, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10,
        digit => digit,
    };
    format!("{body}{check}")
}

/// A unified social credit code (GB 32100-2015) of an enterprise: registration office 9, kind 1,
/// division, organisation code with its own check character (GB 11714), check character.
pub(crate) fn uscc(division: &str, organisation: &str) -> String {
    const DIGITS: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let sum = (0u32..).zip(organisation.chars()).fold(0, |sum, (place, digit)| {
        sum + digit.to_digit(36).unwrap_or(0) * [3, 7, 9, 10, 5, 8, 4, 2][place as usize % 8]
    });
    let body = format!("91{division}{organisation}{}", b"0X987654321"[(sum % 11) as usize] as char);
    let mut weight = 1;
    let mut sum = 0;
    for byte in body.bytes() {
        let value = DIGITS.iter().position(|digit| *digit == byte).unwrap_or(0);
        sum += value * weight;
        weight = weight * 3 % 31;
    }
    format!("{body}{}", DIGITS[(31 - sum % 31) % 31] as char)
}

fn weighted_sum(digits: &str, weights: &[u32]) -> u32 {
    let values = digits.chars().map(|digit| digit.to_digit(10).unwrap_or(0));
    values.zip(weights).map(|(digit, weight)| digit * weight).sum()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// Each number is a published example of its standard or registry.
    #[test]
    fn check_characters_agree_with_published_examples() {
        assert_eq!(resident_identity("110105", date(1949, 12, 31), 2), "11010519491231002X");
        assert_eq!(isikukood(Sex::Male, date(1976, 5, 3), 29), "37605030299");
        assert_eq!(isikukood(Sex::Female, date(1990, 3, 2), 1)[..7], *"4900302");
        assert_eq!(uscc("350100", "M000100Y"), "91350100M000100Y43");
    }

    #[test]
    fn handles_are_the_whole_128_bits() {
        assert_eq!(handle(0), format!("ow-{}", "0".repeat(26)));
        assert_eq!(handle(u128::MAX), format!("ow-7{}", "z".repeat(25)));
        assert_eq!(handle(33), format!("ow-{}11", "0".repeat(24)));
    }
}
