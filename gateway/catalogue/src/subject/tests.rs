//! Each rule with what it takes and what it refuses, against published examples.

use jiff::civil::date;
use proptest::prelude::*;

use super::IdentifierRule::{Gb11643, Gb32100, Icao9303, Isikukood, OneWindowHandle};
use super::*;

fn check(rule: IdentifierRule, text: &str, expected: Result<(), SubjectFault>) {
    match (rule.check(text), expected) {
        (Err(SubjectFault::Form { .. }), Err(SubjectFault::Form { .. })) => (),
        (found, expected) => assert_eq!(found, expected, "{rule}: {text:?}"),
    }
}

const FORM: Result<(), SubjectFault> = Err(SubjectFault::Form { rule: "" });

/// Every text that differs from `text` in one symbol of `alphabet`.
fn corruptions<'a>(text: &'a str, alphabet: &'a str) -> impl Iterator<Item = String> + 'a {
    text.char_indices().flat_map(move |(index, symbol)| {
        alphabet.chars().filter(move |other| *other != symbol).map(move |other| {
            let mut changed = text.to_owned();
            changed.replace_range(index..=index, other.encode_utf8(&mut [0; 4]));
            changed
        })
    })
}

#[test]
fn passport_numbers() {
    for good in ["E12345678", "123456", "C01X00T47", "AB12CD", "0AAAAAAAA"] {
        check(Icao9303, good, Ok(()));
    }
    for bad in
        ["", "12345", "1234567890", "ABCDEFGH", "e12345678", "E1234567 ", "E1234567É", "E<123456"]
    {
        check(Icao9303, bad, FORM);
    }
}

#[test]
fn one_window_handles() {
    for good in [
        "ow-00000000000000000000000000",
        "ow-7zzzzzzzzzzzzzzzzzzzzzzzzz",
        "ow-0123456789abcdefghjkmnpqrs",
        "ow-01jtvwxyz00000000000000000",
    ] {
        check(OneWindowHandle, good, Ok(()));
    }
    for bad in [
        "",
        "ow-",
        "00000000000000000000000000",
        "ow-0000000000000000000000000",
        "ow-000000000000000000000000000",
        "ow-80000000000000000000000000",
        "ow-0i000000000000000000000000",
        "ow-0l000000000000000000000000",
        "ow-0o000000000000000000000000",
        "ow-0u000000000000000000000000",
        "ow-0A000000000000000000000000",
        "OW-00000000000000000000000000",
        "ow-0000000000000000000000000é",
    ] {
        check(OneWindowHandle, bad, FORM);
    }
}

/// The two examples of GB 11643-1999.
const RESIDENTS: [&str; 2] = ["11010519491231002X", "440524188001010014"];

#[test]
fn resident_identity_numbers() {
    for good in RESIDENTS {
        check(Gb11643, good, Ok(()));
    }
    check(Gb11643, &resident_identity("830000", date(1990, 1, 1), 1), Ok(()));
    check(Gb11643, &resident_identity("310115", date(2000, 2, 29), 12), Ok(()));
    let bad = [
        ("", FORM),
        ("11010519491231002x", FORM),
        ("11010519491231002", FORM),
        ("11010519491231002X0", FORM),
        ("1101051949123100 2X", FORM),
        ("X1010519491231002X", FORM),
        ("11010519491231002é", FORM),
        ("110105491231002", FORM),
        ("100105194912310026", Err(SubjectFault::Division)),
        ("830001199001010012", Err(SubjectFault::Division)),
        ("110105194902290021", Err(SubjectFault::BirthDate)),
        ("110105190002290021", Err(SubjectFault::BirthDate)),
        ("110105194913010021", Err(SubjectFault::BirthDate)),
        ("110105194900010021", Err(SubjectFault::BirthDate)),
        ("110105179912310021", Err(SubjectFault::BirthDate)),
        ("110105194912310020", Err(SubjectFault::Check)),
    ];
    for (text, expected) in bad {
        check(Gb11643, text, expected);
    }
}

#[test]
fn every_corrupted_resident_identity_number_is_refused() {
    for good in RESIDENTS {
        for bad in corruptions(good, "0123456789X") {
            assert!(Gb11643.check(&bad).is_err(), "{bad}");
        }
    }
}

#[test]
fn every_province_begins_a_resident_identity_number() {
    let in_range = |text: &str| (10..100).contains(&text.parse().unwrap_or(0));
    assert!(PROVINCES.iter().all(|province| in_range(province.prefix)));
    assert!(PROVINCES.is_sorted_by(|one, next| one.prefix < next.prefix));
    let accepted: Vec<String> = (10..100)
        .map(|prefix| prefix.to_string())
        .filter(|prefix| {
            let number = resident_identity(&format!("{prefix}0101"), date(1980, 5, 6), 7);
            Gb11643.check(&number).is_ok()
        })
        .collect();
    assert_eq!(accepted, PROVINCES.map(|province| province.prefix));
}

/// The example of GB 32100-2015; its organisation code is M000100Y-4.
const ORGANISATION: &str = "91350100M000100Y43";

#[test]
fn unified_social_credit_codes() {
    check(Gb32100, ORGANISATION, Ok(()));
    check(Gb32100, &unified_social_credit("12100000M000100Y4").unwrap(), Ok(()));
    let bad = [
        ("", FORM),
        ("91350100M000100Y4", FORM),
        ("91350100M000100Y433", FORM),
        ("91350100m000100y43", FORM),
        ("91350100M000100O43", FORM),
        ("91350100M000100Y4Z", FORM),
        ("9135A100M000100Y43", FORM),
        ("91350100M000100Yé3", FORM),
        ("01350100M000100Y43", Err(SubjectFault::Category)),
        ("94350100M000100Y43", Err(SubjectFault::Category)),
        ("Y2350100M000100Y43", Err(SubjectFault::Category)),
        ("91990100M000100Y43", Err(SubjectFault::Division)),
        ("91100001M000100Y43", Err(SubjectFault::Division)),
        ("91350100M000100Y53", Err(SubjectFault::OrganisationCheck)),
        ("91350100M000100Y44", Err(SubjectFault::Check)),
        ("91350200M000100Y43", Err(SubjectFault::Check)),
    ];
    for (text, expected) in bad {
        check(Gb32100, text, expected);
    }
}

#[test]
fn every_corrupted_unified_social_credit_code_is_refused() {
    for bad in corruptions(ORGANISATION, "0123456789ABCDEFGHJKLMNPQRTUWXY") {
        assert!(Gb32100.check(&bad).is_err(), "{bad}");
    }
}

#[test]
fn an_incomplete_code_is_completed_only_where_it_can_be_right() {
    assert_eq!(unified_social_credit("91350100M000100Y4").as_deref(), Some(ORGANISATION));
    for bad in ["", ORGANISATION, "91350100M000100Y5", "00350100M000100Y4", "91350100M000100Zé"] {
        assert_eq!(unified_social_credit(bad), None, "{bad}");
    }
}

/// The first is checked by the first stage, the second by the second, the third by neither.
const ISIKUKOODID: [&str; 3] = ["37605030299", "49202290073", "49202290560"];

#[test]
fn estonian_personal_codes() {
    for good in ISIKUKOODID {
        check(Isikukood, good, Ok(()));
    }
    let bad = [
        ("", FORM),
        ("3760503029", FORM),
        ("376050302990", FORM),
        ("07605030299", FORM),
        ("97605030299", FORM),
        ("3760503029X", FORM),
        ("37613030299", Err(SubjectFault::BirthDate)),
        ("37602300299", Err(SubjectFault::BirthDate)),
        ("10002290299", Err(SubjectFault::BirthDate)),
        ("37605030298", Err(SubjectFault::Check)),
    ];
    for (text, expected) in bad {
        check(Isikukood, text, expected);
    }
}

/// The standard's two stages do not show every changed digit; that is its weakness, not ours.
#[test]
fn a_corrupted_estonian_code_passes_only_where_the_standard_lets_it() {
    let passed = ISIKUKOODID.map(|good| {
        corruptions(good, "0123456789").filter(|bad| Isikukood.check(bad).is_ok()).count()
    });
    assert_eq!(passed, [1, 7, 5], "of 99 corruptions each");
}

proptest! {
    #[test]
    fn no_text_breaks_a_rule_and_no_fault_repeats_it(text in "\\PC{0,24}") {
        for rule in IdentifierRule::ALL {
            if let Err(fault) = rule.check(&text) {
                prop_assert!(text.len() < 4 || !fault.to_string().contains(&text));
            }
        }
    }

    #[test]
    fn completed_resident_identity_numbers_are_right(
        year in 1800i16..2200, month in 1i8..=12, day in 1i8..=28, order in 0u16..1000,
    ) {
        let number = resident_identity("310104", date(year, month, day), order);
        prop_assert_eq!(Gb11643.check(&number), Ok(()));
        let born = format!("{year:04}{month:02}{day:02}");
        prop_assert_eq!(&number[6..14], born.as_str());
    }

    #[test]
    fn completed_social_credit_codes_hold_no_undetected_change(
        serial in "[0-9A-HJ-NPQRTUWXY]{8}", place in 0usize..18, other in 0usize..31,
    ) {
        let alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY";
        let check_characters = "0123456789X".chars();
        let codes: Vec<String> = check_characters
            .filter_map(|last| unified_social_credit(&format!("91310115{serial}{last}")))
            .collect();
        prop_assert_eq!(codes.len(), 1, "one check character of GB 11714 fits");
        let mut changed = codes[0].clone();
        changed.replace_range(place..=place, &alphabet[other..=other]);
        prop_assert_eq!(Gb32100.check(&changed).is_ok(), changed == codes[0]);
    }
}
