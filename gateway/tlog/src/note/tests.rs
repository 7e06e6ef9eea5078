use super::*;

/// The example of the specification.
const EXAMPLE_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const EXAMPLE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn key(name: &str, seed: u8) -> SignerKey {
    SignerKey::from_seed(name, &[seed; 32]).unwrap()
}

#[test]
fn the_example_of_the_specification_verifies() {
    let note: Note = EXAMPLE.parse().unwrap();
    let key: VerifierKey = EXAMPLE_KEY.parse().unwrap();
    assert_eq!(key.name(), "example.com/foo");
    assert_eq!(note.verify(&[key]), Ok("This is an example message.\n"));
    assert_eq!(note.to_string(), EXAMPLE);
}

#[test]
fn a_key_is_its_whole_text() {
    let known = key("log.example", 1).verifier().clone();
    assert_eq!(known.to_string().parse(), Ok(known.clone()));
    let other_id = known.to_string().replacen(&hex::encode(known.id), "00000000", 1);
    assert_eq!(other_id.parse::<VerifierKey>(), Err(InvalidKey::Id));
    for text in ["", "a", "a+b", "a+530d903a+", "a+530d903a+AQ==", "a+530d903a+!"] {
        assert_eq!(text.parse::<VerifierKey>(), Err(InvalidKey::Format), "{text}");
    }
    for name in ["", "a b", "a\u{a0}b", "a+b", "a\nb", "a\u{7f}"] {
        assert_eq!(SignerKey::from_seed(name, &[0; 32]).unwrap_err(), InvalidKey::Name, "{name}");
    }
}

#[test]
fn a_signing_key_is_its_whole_secret_text() {
    let text = SignerKey::secret_text("office", &[7; 32]).unwrap();
    let known = SignerKey::from_secret_text(&text).unwrap();
    assert_eq!(known.verifier(), key("office", 7).verifier());
    assert!(text.starts_with("PRIVATE+KEY+office+"));
    let other_name = text.replacen("office", "other", 1);
    assert_eq!(SignerKey::from_secret_text(&other_name).unwrap_err(), InvalidKey::Id);
    let verifier = known.verifier().to_string();
    for text in ["", "PRIVATE+KEY+", "PRIVATE+KEY+a+b+!", &verifier, &text[..text.len() - 4]] {
        let refused = SignerKey::from_secret_text(text).unwrap_err();
        assert_eq!(refused, InvalidKey::SecretFormat, "{text}");
    }
}

#[test]
fn one_known_signature_suffices_and_a_wrong_one_spoils_all() {
    let (one, two, three) = (key("one", 1), key("two", 2), key("three", 3));
    let verifier = |key: &SignerKey| key.verifier().clone();
    let note = Note::sign("text\n".to_owned(), &[&one, &two]).unwrap();
    assert_eq!(note.verify(&[verifier(&two)]), Ok("text\n"));
    assert_eq!(note.verify(&[verifier(&three), verifier(&one)]), Ok("text\n"));
    assert_eq!(note.verify(&[verifier(&three)]), Err(NoteFault::Unsigned));
    assert_eq!(note.verify(&[]), Err(NoteFault::Unsigned));
    // The same name with another key is another key.
    assert_eq!(note.verify(&[verifier(&key("one", 4))]), Err(NoteFault::Unsigned));
    let changed: Note = note.to_string().replacen("text", "test", 1).parse().unwrap();
    assert_eq!(changed.verify(&[verifier(&one)]), Err(NoteFault::WrongSignature));
    let mut half = note.clone();
    half.signatures[1].bytes[0] ^= 1;
    assert_eq!(half.verify(&[verifier(&one), verifier(&two)]), Err(NoteFault::WrongSignature));
    assert_eq!(half.verify(&[verifier(&one)]), Ok("text\n"));
}

#[test]
fn what_is_no_note_is_refused() {
    let line = "\u{2014} a AAAAAAA=\n";
    let well = format!("a\n\nb\n\n{line}{line}");
    assert_eq!(well.parse::<Note>().unwrap().text(), "a\n\nb\n");
    let malformed =
        ["", "a\n", "a\n\n", "\n\n", "a\n\n\u{2014} a AAAAAAA=", "a\tb\n\n\u{2014} a AAAAAAA=\n"];
    for text in malformed {
        let fault = text.parse::<Note>().unwrap_err();
        assert!(matches!(fault, NoteFault::Malformed), "{text:?}: {fault}");
    }
    for wrong in [
        "- a AAAAAAA=",
        "\u{2014} a",
        "\u{2014} a AAAAAA==",
        "\u{2014} a+b AAAAAAA=",
        "\u{2014}  AAAAAAA=",
        "\u{2014} a AAAAAAA= ",
        "\u{2014} a !",
        "",
    ] {
        let fault = format!("a\n\n{line}{wrong}\n").parse::<Note>();
        assert!(fault.is_err(), "{wrong:?}");
    }
    let many = |count| format!("a\n\n{}", line.repeat(count)).parse::<Note>();
    assert!(many(SIGNATURES_MAX).is_ok());
    assert_eq!(many(SIGNATURES_MAX + 1), Err(NoteFault::TooManySignatures));
    let long = format!("{}\n\n{line}", "a".repeat(NOTE_BYTES_MAX));
    assert_eq!(long.parse::<Note>(), Err(NoteFault::TooLong));
    assert_eq!(Note::sign("a".to_owned(), &[]), Err(NoteFault::Malformed));
}
