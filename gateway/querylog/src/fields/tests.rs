//! Fields read back, commit to everything they hold, and are as long for each verdict.

use std::sync::Arc;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

fn plaintext(fields: &[(FieldId, [u8; SALT_BYTES], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(fields.iter().map(|(id, salt, value)| (*id, salt, &value[..])), &mut bytes);
    bytes.resize(bytes.len().next_multiple_of(PADDING_BYTES), 0);
    bytes
}

fn any_fields() -> impl Strategy<Value = Vec<(FieldId, [u8; SALT_BYTES], Vec<u8>)>> {
    let one = (any::<bool>(), any::<[u8; SALT_BYTES]>(), prop::collection::vec(any::<u8>(), 0..90));
    prop::collection::vec(one, FieldId::ALL.len()).prop_map(|drawn| {
        let fields = FieldId::ALL.into_iter().zip(drawn).filter(|(_, (is_there, _, _))| *is_there);
        fields.map(|(id, (_, salt, value))| (id, salt, value)).collect()
    })
}

proptest! {
    #[test]
    fn fields_read_back(fields in any_fields()) {
        let read = Fields::decode(&plaintext(&fields)).unwrap();
        let again: Vec<_> =
            read.iter().map(|field| (field.id, field.salt, field.value.to_vec())).collect();
        prop_assert_eq!(again, fields);
    }

    #[test]
    fn a_changed_plaintext_is_refused_or_another(
        fields in any_fields(),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let bytes = plaintext(&fields);
        let before = Fields::decode(&bytes).unwrap();
        let mut changed = bytes.clone();
        changed[place.index(bytes.len())] ^= flip;
        if let Ok(after) = Fields::decode(&changed) {
            prop_assert!(after.commitment() != before.commitment());
        }
    }

    #[test]
    fn the_decoder_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Fields::decode(&bytes);
    }
}

#[test]
fn numbers_read_back_and_no_code_is_given_twice() {
    for (position, id) in FieldId::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(id.number()), position + 1);
        assert_eq!(FieldId::of_number(id.number()), Some(id));
    }
    assert_eq!(FieldId::of_number(0), None);
    assert_eq!(FieldId::of_number(18), None);
    let mut numbers: Vec<u8> =
        [None].into_iter().chain(Reason::ALL.map(Some)).map(reason_number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_commitment_to_all_does_not_depend_on_the_order() {
    let (one, two) = ([1; 32], [2; 32]);
    let both = commitment_of_all([one, two].into_iter());
    assert_eq!(commitment_of_all([two, one].into_iter()), both);
    assert_ne!(commitment_of_all([one].into_iter()), both);
}

#[test]
fn dates_and_parameters_have_one_text() {
    assert_eq!(&date_text(date(2026, 2, 9)), b"2026-02-09");
    assert_eq!(&date_text(date(987, 12, 31)), b"0987-12-31");
    let parameters = [
        (Arc::from("years"), ParameterValue::Integer(18)),
        (Arc::from("at"), ParameterValue::Text("x".to_owned())),
        (Arc::from("delta"), ParameterValue::Integer(-1)),
    ];
    let cbor = parameters_cbor(&parameters);
    assert_eq!(hex::encode(&*cbor), "a3626174617865 64656c746120657965617273 12".replace(' ', ""));
}

#[test]
fn an_opened_field_does_not_print_its_value() {
    let fields =
        Fields::decode(&plaintext(&[(FieldId::Case, [0; 16], b"SECRET".to_vec())])).unwrap();
    let printed = format!("{fields:?}");
    assert!(printed.contains("Case") && !printed.contains("SECRET"), "{printed}");
    assert!(!printed.contains("83, 69"), "{printed}");
}
