//! Estonian personal codes, EVS 585:2007.

use super::{SubjectFault, digits, is_birth_date};

pub(super) fn check(text: &str) -> Result<(), SubjectFault> {
    const FORM: SubjectFault = SubjectFault::Form { rule: "11 digits, the first one 1 to 8" };
    let code: [u32; 11] = digits(text.as_bytes()).ok_or(FORM)?;
    if !(1..=8).contains(&code[0]) {
        return Err(FORM);
    }
    // Two values of the first digit, one for each sex, to a century from the nineteenth on.
    let century = 1800 + (code[0] - 1) / 2 * 100;
    let pair = |at: usize| code[at] * 10 + code[at + 1];
    if !is_birth_date(century + pair(1), pair(3), pair(5)) {
        return Err(SubjectFault::BirthDate);
    }
    if check_digit(&code) != code[10] {
        return Err(SubjectFault::Check);
    }
    Ok(())
}

/// Modulo 11 with the first weights; where that gives ten, with the second; where that gives ten
/// again, zero.
fn check_digit(code: &[u32; 11]) -> u32 {
    const STAGES: [[u32; 10]; 2] = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 1], [3, 4, 5, 6, 7, 8, 9, 1, 2, 3]];
    let remainder = |weights: [u32; 10]| {
        code.iter().zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 11
    };
    STAGES.into_iter().map(remainder).find(|digit| *digit < 10).unwrap_or(0)
}
