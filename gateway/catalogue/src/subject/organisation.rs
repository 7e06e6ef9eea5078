//! Unified social credit codes, GB 32100-2015 with its first amendment.

use super::SubjectFault;
use super::province::is_province;

/// Completes a code: 17 characters in, all 18 out. The organisation code in places 9 to 17 must
/// already carry its own check character. `None` if any part but the last character breaks the
/// rule. Simulated departments and tests use it.
pub fn unified_social_credit(body: &str) -> Option<String> {
    let values = values_of(body.as_bytes().try_into().ok()?)?;
    let code = format!("{body}{}", char::from(check_character(&values)));
    check(&code).is_ok().then_some(code)
}

pub(super) fn check(text: &str) -> Result<(), SubjectFault> {
    const FORM: SubjectFault = SubjectFault::Form {
        rule: "18 of 0-9 and A-Z without I, O, S, V, Z, the third to eighth being digits",
    };
    let bytes: &[u8; 18] = text.as_bytes().try_into().map_err(|_| FORM)?;
    let (body, last) = bytes.split_first_chunk::<17>().ok_or(FORM)?;
    let values = values_of(body).ok_or(FORM)?;
    if value_of(last[0]).is_none() || !body[2..8].iter().all(u8::is_ascii_digit) {
        return Err(FORM);
    }
    if !has_category(body[0], body[1]) {
        return Err(SubjectFault::Category);
    }
    let division = &text[2..8];
    if !is_province(division) && division != NATIONAL {
        return Err(SubjectFault::Division);
    }
    if organisation_check_character(&values) != body[16] {
        return Err(SubjectFault::OrganisationCheck);
    }
    if check_character(&values) != last[0] {
        return Err(SubjectFault::Check);
    }
    Ok(())
}

/// The division of organisations that a national authority registered.
const NATIONAL: &str = "100000";

/// The 31 symbols in the order of their values: digits and letters but I, O, S, V and Z.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

fn value_of(symbol: u8) -> Option<u32> {
    (0..).zip(ALPHABET).find(|(_, known)| **known == symbol).map(|(value, _)| value)
}

fn values_of(body: &[u8; 17]) -> Option<Symbols> {
    let mut symbols = Symbols { bytes: *body, values: [0; 17] };
    for (value, symbol) in symbols.values.iter_mut().zip(body) {
        *value = value_of(*symbol)?;
    }
    Some(symbols)
}

struct Symbols {
    bytes: [u8; 17],
    values: [u32; 17],
}

/// Weights are the powers of three modulo 31, which is prime: any one changed symbol shows.
fn check_character(symbols: &Symbols) -> u8 {
    let weighted = symbols.values.iter().zip(powers_of_three_modulo_31());
    let sum: u32 = weighted.map(|(value, weight)| value * weight).sum();
    ALPHABET[((31 - sum % 31) % 31) as usize]
}

fn powers_of_three_modulo_31() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(1), |weight| Some(weight * 3 % 31))
}

/// GB 11714-1997 over places 9 to 16, where letters count on from 10 without a gap.
fn organisation_check_character(symbols: &Symbols) -> u8 {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let value = |symbol: u8| match symbol {
        b'0'..=b'9' => u32::from(symbol - b'0'),
        letter => u32::from(letter - b'A') + 10,
    };
    let weighted = symbols.bytes[8..16].iter().zip(WEIGHTS);
    let sum: u32 = weighted.map(|(symbol, weight)| value(*symbol) * weight).sum();
    b"0123456789X"[((11 - sum % 11) % 11) as usize]
}

/// Registration authorities and the categories of each: staffing (1), foreign affairs (2),
/// justice (3), culture (4), civil affairs (5), tourism (6), religion (7), trade unions (8),
/// market regulation (9), the military (A), agriculture (N), others (Y).
fn has_category(authority: u8, category: u8) -> bool {
    let categories: &[u8] = match authority {
        b'1' | b'5' | b'N' => b"1239",
        b'2' | b'4' | b'8' | b'A' => b"19",
        b'3' => b"123459",
        b'6' | b'7' => b"129",
        b'9' => b"123",
        b'Y' => b"1",
        _ => b"",
    };
    categories.contains(&category)
}
