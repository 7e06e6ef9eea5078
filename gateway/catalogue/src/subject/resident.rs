//! Resident identity numbers, GB 11643-1999.

use jiff::civil::Date;

use super::province::is_province;
use super::{BIRTH_YEAR_MIN, SubjectFault, digits, is_birth_date};

/// The number of a person first registered in `division` (six digits), born on `born`, with the
/// order number `order` (0 to 999, odd for men). Simulated departments and tests use it.
///
/// # Panics
///
/// If the division is not six digits, the year is before 1800 or the order number has four digits.
pub fn resident_identity(division: &str, born: Date, order: u16) -> String {
    assert!(digits::<6>(division.as_bytes()).is_some(), "a division has six digits");
    assert!(born.year() >= BIRTH_YEAR_MIN, "a year of birth is 1800 or later");
    assert!(order < 1000, "an order number has three digits");
    let (year, month, day) = (born.year(), born.month(), born.day());
    let body = format!("{division}{year:04}{month:02}{day:02}{order:03}");
    let body_digits = digits(body.as_bytes()).expect("seventeen digits were just written");
    format!("{body}{}", char::from(check_character(&body_digits)))
}

pub(super) fn check(text: &str) -> Result<(), SubjectFault> {
    const FORM: SubjectFault =
        SubjectFault::Form { rule: "17 digits and a check character, 0-9 or X" };
    let (body, last) = text.as_bytes().split_at_checked(17).ok_or(FORM)?;
    let [last @ (b'0'..=b'9' | b'X')] = last else {
        return Err(FORM);
    };
    let body: [u32; 17] = digits(body).ok_or(FORM)?;
    if !is_province(text) && !text.starts_with(TAIWAN_RESIDENCE_PERMIT) {
        return Err(SubjectFault::Division);
    }
    let number = |range: std::ops::Range<usize>| body[range].iter().fold(0, |n, d| n * 10 + d);
    if !is_birth_date(number(6..10), number(10..12), number(12..14)) {
        return Err(SubjectFault::BirthDate);
    }
    if check_character(&body) != *last {
        return Err(SubjectFault::Check);
    }
    Ok(())
}

/// Residence permits of persons from Taiwan carry this division in a number of the same standard
/// (measures of the State Council for residence permits, 2018), although GB/T 2260 lists 71.
const TAIWAN_RESIDENCE_PERMIT: &str = "830000";

/// ISO 7064 MOD 11-2 over the seventeen digits; a remainder of ten is written X.
fn check_character(body: &[u32; 17]) -> u8 {
    let product = body.iter().fold(0, |product, digit| (product + digit) * 2 % 11);
    b"0123456789X"[((12 - product) % 11) as usize]
}
