//! Derivations against an independent computation, and sealing against tampering.

use super::*;
use crate::fields::{self, FieldId, PADDING_BYTES, SEALED_BYTES_MAX};
use zeroize::Zeroizing;

fn keys() -> Keys {
    let key = |byte| Zeroizing::new([byte; 32]);
    let (seal, lookup, pseudonym) = (key(1), key(2), key(3));
    Keys {
        seal,
        lookup,
        pseudonym,
        idempotency: key(4),
        log: key(5),
        former_log: None,
        receipt: key(6),
        disclosure: key(7),
    }
}

const SUBJECT: SubjectRow = SubjectRow { handle: [0xaa; 16], row: 7 };
const LEAF: LeafHash = [0xbb; 32];

fn sealed(subject: &SubjectRow) -> Vec<u8> {
    let mut record = vec![0; SEAL_HEADER_BYTES];
    fields::encode([(FieldId::Case, &[5; 16], &b"case"[..])].into_iter(), &mut record);
    record.resize(SEAL_HEADER_BYTES + PADDING_BYTES, 0);
    Cipher::new(&keys()).seal(&mut record, SEAL_HEADER_BYTES, [6; 12], subject, &LEAF);
    record
}

/// Computed with Python's `hmac`, `hashlib` and `cryptography`; see `spec/query-log.md`, worked
/// example.
#[test]
fn derivations_are_those_of_the_specification() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/entries/sealed.json");
    let text = std::fs::read_to_string(path).unwrap();
    let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
    let value = |name: &str| vector[name].as_str().unwrap().to_owned();
    let cipher = Cipher::new(&keys());
    assert_eq!(hex::encode(cipher.token("passport", "K1234567")), value("token"));
    assert_eq!(
        hex::encode(cipher.pseudonym("civil-registry", 224, &SUBJECT.handle).value),
        value("pseudonym")
    );
    assert_eq!(
        hex::encode(cipher.request_token("one-window", b"{\"a\":1}")),
        value("request_token")
    );
    let checks = keys().check_values();
    for (purpose, check) in checks {
        assert_eq!(hex::encode(check), vector["key_checks"][purpose], "{purpose}");
    }
    assert_eq!(hex::encode(sealed(&SUBJECT)), value("sealed"));
    assert_eq!(hex::encode(sealed(&SubjectRow::NOBODY)), value("sealed_nobody"));

    let row = Row {
        token: cipher.token("passport", "K1234567"),
        nonce: [8; 12],
        sealed: hex::decode(value("row_sealed")).unwrap().try_into().unwrap(),
    };
    assert_eq!(cipher.open_row(&row).unwrap(), SUBJECT.handle);
}

#[test]
fn the_published_records_open() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/entries");
    let cipher = Cipher::new(&keys());
    for name in ["ask", "answer", "refused", "failed"] {
        let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
        let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
        let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
        let entry = bytes(&vector["entry"]);
        let leaf = crate::entry::leaf_hash(&entry);
        let find = |row| (row == 0).then_some(SUBJECT.handle);
        let (fields, _) = cipher.open(&bytes(&vector["sealed"]), &leaf, find).unwrap();
        let decoded = crate::Entry::decode(&entry).unwrap();
        assert_eq!(Some(fields.commitment()), decoded.fields, "{name}");
        assert_eq!(
            decoded.pseudonym,
            Some(cipher.pseudonym("civil-registry", 224, &SUBJECT.handle)),
            "{name}"
        );
        let expected = vector["fields"].as_array().unwrap();
        assert_eq!(fields.iter().count(), expected.len());
        for (field, expected) in fields.iter().zip(expected) {
            assert_eq!(u64::from(field.id.number()), expected["id"], "{name}");
            assert_eq!(field.salt.to_vec(), bytes(&expected["salt"]), "{name}");
            assert_eq!(field.value.to_vec(), bytes(&expected["value"]), "{name}");
            assert_eq!(field.commitment().to_vec(), bytes(&expected["commitment"]), "{name}");
        }
    }
}

#[test]
fn sealed_fields_open_with_handle_leaf_and_keys_and_with_nothing_else() {
    let cipher = Cipher::new(&keys());
    let sealed = sealed(&SUBJECT);
    let found = |row| (row == SUBJECT.row).then_some(SUBJECT.handle);
    let (fields, subject) = cipher.open(&sealed, &LEAF, found).unwrap();
    assert_eq!(fields.text(FieldId::Case), Some("case"));
    assert_eq!(subject.row, SUBJECT.row);

    let fault = |leaf: &LeafHash, find: &dyn Fn(u64) -> Option<Handle>| {
        cipher.open(&sealed, leaf, find).map(|_| ()).unwrap_err()
    };
    assert_eq!(fault(&[0; 32], &found), FieldsFault::Sealed);
    assert_eq!(fault(&LEAF, &|_| Some([0; 16])), FieldsFault::Sealed);
    assert_eq!(fault(&LEAF, &|_| None), FieldsFault::Erased);
    let mut other = keys();
    other.seal = Zeroizing::new([9; 32]);
    assert!(Cipher::new(&other).open(&sealed, &LEAF, found).is_err());
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert!(cipher.open(&changed, &LEAF, found).is_err(), "byte {place}");
    }
    for length in 0..sealed.len() {
        assert!(cipher.open(&sealed[..length], &LEAF, found).is_err(), "{length} bytes");
    }
    const { assert!(SEALED_BYTES_MAX > SEAL_HEADER_BYTES + TAG_BYTES) };
}

#[test]
fn the_locator_differs_for_each_record_of_a_subject() {
    let cipher = Cipher::new(&keys());
    assert_ne!(cipher.locator(&[1; 12], 7), cipher.locator(&[2; 12], 7));
}

#[test]
fn pseudonyms_of_departments_and_epochs_have_nothing_in_common() {
    let cipher = Cipher::new(&keys());
    let here = cipher.pseudonym("civil-registry", 224, &SUBJECT.handle);
    assert_ne!(here.value, cipher.pseudonym("social-insurance", 224, &SUBJECT.handle).value);
    assert_ne!(here.value, cipher.pseudonym("civil-registry", 225, &SUBJECT.handle).value);
    assert_eq!(here, cipher.pseudonym("civil-registry", 224, &SUBJECT.handle));
}

#[test]
fn a_request_token_binds_the_caller_and_the_body() {
    let cipher = Cipher::new(&keys());
    let token = cipher.request_token("one-window", b"body");
    assert_ne!(token, cipher.request_token("one-windowb", b"ody"));
    assert_ne!(token, cipher.request_token("one-window", b"bodY"));
}

#[test]
fn a_row_opens_only_under_its_own_token() {
    let cipher = Cipher::new(&keys());
    let token = cipher.token("passport", "K1");
    assert_ne!(token, cipher.token("passportk", "1"));
    let mut drawn = cipher.draw_handle(&token).unwrap();
    assert_eq!(cipher.open_row(&drawn.row).unwrap(), drawn.handle);
    drawn.row.token = cipher.token("passport", "K2");
    assert!(cipher.open_row(&drawn.row).is_err());
}
