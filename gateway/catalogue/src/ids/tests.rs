//! Identifier texts at the edges of their rules.

use proptest::prelude::*;

use super::*;

#[test]
fn slugs() {
    let longest = "a".repeat(SLUG_BYTES_MAX);
    for good in ["a", "a-", "a0", "civil-registry", &longest] {
        assert_eq!(good.parse::<CallerId>().unwrap().as_str(), good);
    }
    let too_long = "a".repeat(SLUG_BYTES_MAX + 1);
    for bad in ["", "0a", "-a", "A", "a_b", "a b", "a/b", "é", "a\n", &too_long] {
        let invalid = bad.parse::<DepartmentId>().unwrap_err();
        assert_eq!(invalid.what, "a department id", "{bad:?}");
    }
}

#[test]
fn predicate_ids() {
    let id: PredicateId = "civil-registry/age-at-least@12".parse().unwrap();
    assert_eq!(id.as_str(), "civil-registry/age-at-least@12");
    assert_eq!(id.to_string(), id.as_str());
    assert_eq!((id.department(), id.name()), ("civil-registry", "age-at-least"));
    assert_eq!((id.unversioned(), id.version()), ("civil-registry/age-at-least", 12));
    let longest = format!("{0}/{0}@4294967295", "a".repeat(SLUG_BYTES_MAX));
    assert_eq!(longest.parse::<PredicateId>().unwrap().name().len(), SLUG_BYTES_MAX);
    for bad in [
        "",
        "@1",
        "a@1",
        "a/b",
        "a/b@",
        "a/b@0",
        "a/b@01",
        "a/b@+1",
        "a/b@-1",
        "a/b@1 ",
        "a/b@1@2",
        "a/b/c@1",
        "/b@1",
        "a/@1",
        "A/b@1",
        "a/b@4294967296",
    ] {
        assert!(bad.parse::<PredicateId>().is_err(), "{bad:?}");
    }
}

#[test]
fn query_ids() {
    let text = "00112233445566778899aabbccddeeff";
    let id: QueryId = text.parse().unwrap();
    assert_eq!((id.0[1], id.to_string().as_str()), (0x11, text));
    for bad in ["", &text[1..], &format!("{text}00"), &text.to_uppercase(), &text.replace('0', "g")]
    {
        assert!(bad.parse::<QueryId>().is_err(), "{bad:?}");
    }
}

/// The first example of FIPS 180-4.
#[test]
fn digests() {
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Digest::of(b"abc").to_string(), expected);
}

proptest! {
    #[test]
    fn no_text_breaks_a_parser_and_what_parses_prints_itself(text in "[a-c/@01-]{0,12}|\\PC{0,9}") {
        if let Ok(id) = text.parse::<PredicateId>() {
            prop_assert_eq!(id.to_string(), text.as_str());
            let rebuilt = format!("{}/{}@{}", id.department(), id.name(), id.version());
            prop_assert_eq!(rebuilt, text);
        }
    }

    #[test]
    fn query_ids_survive_their_text(bytes: [u8; 16]) {
        prop_assert_eq!(QueryId(bytes).to_string().parse(), Ok(QueryId(bytes)));
    }
}
