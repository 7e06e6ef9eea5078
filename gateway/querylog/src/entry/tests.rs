//! The encoding is one-to-one, and the published vectors are what this code writes.

use proptest::prelude::*;

use super::*;
use crate::kind::Act;

/// Builds an entry of a kind with every key that the kind may have, from some random values.
fn entry_of(kind: Kind, seed: u8, text: &str, number: u64) -> Entry<'static> {
    let (_, allowed) = shape_of(kind);
    let has = |key: u8| allowed & 1 << key != 0;
    let words = |key: u8| has(key).then(|| Cow::Owned(format!("{text}{key}")));
    let digest = |key: u8| has(key).then_some(Digest([seed ^ key; 32]));
    Entry {
        kind,
        time_ms: number,
        query_id: has(key::QUERY_ID).then_some(QueryId([seed; 16])),
        caller: words(key::CALLER),
        department: words(key::DEPARTMENT),
        predicate: words(key::PREDICATE),
        purpose: words(key::PURPOSE),
        adapter: digest(key::ADAPTER),
        catalogue: digest(key::CATALOGUE),
        policy: digest(key::POLICY),
        engine: digest(key::ENGINE),
        ask: has(key::ASK).then_some(number / 2),
        pseudonym: has(key::PSEUDONYM)
            .then_some(Pseudonym { value: [seed; 16], epoch: number as u32 }),
        fields: has(key::FIELDS).then_some([seed; 32]),
        code: words(key::CODE),
        count: has(key::COUNT).then_some(number),
        details: has(key::DETAILS).then(|| {
            Details::new().with(format!("z{text}"), "1").with("a", text.to_owned()).with("b", "")
        }),
        rule: words(key::RULE),
    }
}

fn encoded(entry: &Entry<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.encode(&mut bytes).unwrap();
    bytes
}

fn any_entry() -> impl Strategy<Value = Entry<'static>> {
    (0..Kind::ALL.len(), any::<u8>(), "[a-z/@0-9é-]{0,40}", any::<u64>())
        .prop_map(|(kind, seed, text, number)| entry_of(Kind::ALL[kind], seed, &text, number))
}

proptest! {
    #[test]
    fn every_entry_reads_back(entry in any_entry()) {
        let bytes = encoded(&entry);
        prop_assert_eq!(Entry::decode(&bytes).unwrap(), entry);
    }

    #[test]
    fn what_decodes_is_the_only_encoding(
        entry in any_entry(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&entry);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(changed) = Entry::decode(&bytes) {
            prop_assert_eq!(encoded(&changed), bytes.clone());
        }
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(Entry::decode(&bytes).is_err());
    }

    #[test]
    fn the_decoder_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(encoded(&entry), bytes);
        }
    }
}

#[test]
fn another_encoding_of_the_same_entry_is_refused() {
    let stop = encoded(&Entry::new(Kind::Stop, 1));
    assert_eq!(hex::encode(&stop), "a40001010c02011201");
    assert!(Entry::decode(&stop).is_ok());
    let cases = [
        ("a longer head for a number", "a4000101180c02011201"),
        ("a longer head for a key", "a4180001010c02011201"),
        ("a longer head for the map", "b8040001010c02011201"),
        ("an indefinite map", "bf0001010c02011201ff"),
        ("keys in another order", "a4010c000102011201"),
        ("a key twice", "a50001010c020112011201"),
        ("bytes after the end", "a40001010c0201120100"),
        ("a tag", "a4c000010c02011201"),
        ("a negative number", "a400200c02011201"),
    ];
    for (what, text) in cases {
        let bytes = hex::decode(text.replace(' ', "")).unwrap();
        assert!(Entry::decode(&bytes).is_err(), "{what}");
    }
}

#[test]
fn what_this_version_does_not_know_is_named() {
    let check = |text: &str, what: &'static str, value: u64| {
        let bytes = hex::decode(text).unwrap();
        assert_eq!(Entry::decode(&bytes), Err(EntryFault::Unknown { what, value }));
    };
    check("a40002010c02011201", "version", 2);
    check("a400010118ff02011201", "kind", 255);
    check("a40001010c02011202", "hash algorithm", 2);
    check("a50001010c020112011501", "key", 21);
}

#[test]
fn an_entry_has_the_keys_of_its_kind_and_no_others() {
    let mut ask = entry_of(Kind::Ask, 1, "x", 9);
    ask.caller = None;
    let shape = EntryFault::Shape { kind: Kind::Ask, key: key::CALLER };
    assert_eq!(ask.encode(&mut Vec::new()), Err(shape));
    let mut stop = Entry::new(Kind::Stop, 0);
    stop.ask = Some(3);
    let shape = EntryFault::Shape { kind: Kind::Stop, key: key::ASK };
    assert_eq!(stop.encode(&mut Vec::new()), Err(shape));
    // No act may look as if it closed a question.
    let mut act = entry_of(Kind::Act(Act::Erase), 1, "x", 9);
    act.ask = Some(3);
    assert!(act.encode(&mut Vec::new()).is_err());
}

#[test]
fn the_largest_entry_fits_and_the_next_does_not() {
    let sized = |bytes: usize| {
        let mut entry = Entry::new(Kind::Act(Act::Config), 0);
        entry.details = Some(Details::new().with("note", "x".repeat(bytes)));
        entry
    };
    let overhead = encoded(&sized(3000)).len() - 3000;
    let largest = ENTRY_BYTES_MAX - overhead;
    assert_eq!(encoded(&sized(largest)).len(), ENTRY_BYTES_MAX);
    let fault = sized(largest + 1).encode(&mut Vec::new()).unwrap_err();
    assert_eq!(fault, EntryFault::TooLarge { bytes: 4097, max: 4096 });
    assert_eq!(fault.to_string(), "the entry has 4097 bytes; entry_bytes_max is 4096");
}

#[test]
fn details_sort_by_length_first_and_replace() {
    let details = Details::new().with("bb", "1").with("c", "2").with("aa", "3").with("c", "4");
    let pairs: Vec<_> = details.iter().collect();
    assert_eq!(pairs, [("c", "4"), ("aa", "3"), ("bb", "1")]);
    assert_eq!(details.find("aa"), Some("3"));
    assert_eq!(details.find("a"), None);
}

#[test]
fn an_epoch_is_a_quarter_in_utc() {
    let check = |text: &str, epoch: u32| {
        let time: Timestamp = text.parse().unwrap();
        assert_eq!(epoch_of(time.as_millisecond() as u64), epoch, "{text}");
    };
    check("1970-01-01T00:00:00Z", 0);
    check("1970-03-31T23:59:59.999Z", 0);
    check("1970-04-01T00:00:00Z", 1);
    check("2025-12-31T23:59:59.999Z", 223);
    check("2026-01-01T00:00:00Z", 224);
    check("2026-12-31T00:00:00Z", 227);
}

#[test]
fn the_leaf_hash_is_that_of_rfc_6962() {
    // The root of a tree of one empty entry, from the reference test data of RFC 6962 code.
    let root = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    assert_eq!(hex::encode(leaf_hash(b"")), root);
}

#[test]
fn the_published_vectors_are_what_this_code_writes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/entries");
    let mut seen = Vec::new();
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
        let Some(header) = vector.get("header") else { continue };
        let bytes = hex::decode(vector["entry"].as_str().unwrap()).unwrap();
        assert_eq!(hex::encode(vectors::cbor(header)), hex::encode(&bytes), "{path:?}");
        let entry = Entry::decode(&bytes).unwrap();
        assert_eq!(encoded(&entry), bytes, "{path:?}");
        assert_eq!(hex::encode(leaf_hash(&bytes)), vector["leaf_hash"], "{path:?}");
        assert_eq!(entry.kind.as_str(), vector["kind"], "{path:?}");
        seen.push(entry.kind);
    }
    for kind in Kind::ALL {
        assert!(seen.contains(&kind), "no vector of kind {kind}");
    }
}

#[test]
fn the_vectors_of_what_must_be_refused_are_refused() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/entries/refused-entries.json");
    let vectors: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let refused = vectors["refused"].as_array().unwrap();
    assert!(refused.len() >= 10);
    for case in refused {
        let bytes = hex::decode(case["entry"].as_str().unwrap()).unwrap();
        assert!(Entry::decode(&bytes).is_err(), "{}", case["why"]);
    }
}

/// A second encoder, written from RFC 8949 and not from the code it checks.
mod vectors {
    use serde_json::Value;

    /// A map of decimal keys; byte strings are written as `h'…'`.
    pub fn cbor(header: &Value) -> Vec<u8> {
        let pairs = header.as_object().unwrap();
        let mut encoded: Vec<(Vec<u8>, Vec<u8>)> =
            pairs.iter().map(|(key, value)| (head(0, key.parse().unwrap()), item(value))).collect();
        map(&mut encoded)
    }

    fn item(value: &Value) -> Vec<u8> {
        match value {
            Value::Number(number) => head(0, number.as_u64().unwrap()),
            Value::String(text) => match text.strip_prefix("h'").and_then(|t| t.strip_suffix('\''))
            {
                Some(digits) => string(2, &hex::decode(digits).unwrap()),
                None => string(3, text.as_bytes()),
            },
            Value::Object(pairs) => {
                let mut encoded: Vec<_> = pairs
                    .iter()
                    .map(|(key, value)| (string(3, key.as_bytes()), item(value)))
                    .collect();
                map(&mut encoded)
            }
            other => panic!("{other} has no place in an entry"),
        }
    }

    fn map(pairs: &mut [(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        pairs.sort();
        let body = pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).flatten();
        head(5, pairs.len() as u64).into_iter().chain(body).collect()
    }

    fn string(major: u8, bytes: &[u8]) -> Vec<u8> {
        head(major, bytes.len() as u64).into_iter().chain(bytes.iter().copied()).collect()
    }

    fn head(major: u8, number: u64) -> Vec<u8> {
        let major = major << 5;
        let big = number.to_be_bytes();
        match number {
            0..=23 => vec![major | number as u8],
            24..=0xff => vec![major | 24, number as u8],
            0x100..=0xffff => [&[major | 25], &big[6..]].concat(),
            0x1_0000..=0xffff_ffff => [&[major | 26], &big[4..]].concat(),
            _ => [&[major | 27], &big[..]].concat(),
        }
    }
}
