use super::*;
use crate::testing::{Stored, leaf};
use crate::{SignerKey, inclusion_proof};

const ORIGIN: &str = "gateway.example/log";

fn proof(index: u64, extra: Option<Vec<u8>>) -> (TlogProof, VerifierKey) {
    let stored = Stored::of(300);
    let key = SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 300, root: stored.edge.root() };
    let hashes = inclusion_proof(index, 300, |tile| stored.read(tile)).unwrap();
    let checkpoint = checkpoint.sign(&[&key]).unwrap();
    (TlogProof { extra, index, hashes, checkpoint }, key.verifier().clone())
}

#[test]
fn a_proof_is_read_as_it_is_written() {
    for extra in [None, Some(Vec::new()), Some(b"more".to_vec())] {
        let (proof, key) = proof(299, extra);
        let text = proof.to_string();
        let read: TlogProof = text.parse().unwrap();
        assert_eq!(read, proof);
        assert_eq!(read.verify(leaf(299), ORIGIN, &[key]).unwrap().size, 300);
    }
}

#[test]
fn a_proof_proves_its_own_entry_in_its_own_log() {
    let (proof, key) = proof(5, None);
    let keys = [key];
    assert!(proof.verify(leaf(5), ORIGIN, &keys).is_ok());
    let not = |fault: Result<Checkpoint, TlogProofFault>| fault.unwrap_err();
    assert!(matches!(not(proof.verify(leaf(6), ORIGIN, &keys)), TlogProofFault::NotProven(_)));
    let other = not(proof.verify(leaf(5), "other", &keys));
    assert_eq!(other, CheckpointFault::Origin.into());
    let unsigned = not(proof.verify(leaf(5), ORIGIN, &[]));
    assert_eq!(unsigned, CheckpointFault::from(NoteFault::Unsigned).into());
    let moved = TlogProof { index: 6, ..proof };
    assert!(matches!(not(moved.verify(leaf(5), ORIGIN, &keys)), TlogProofFault::NotProven(_)));
}

#[test]
fn what_is_no_proof_names_its_line() {
    let text = proof(5, Some(b"x".to_vec())).0.to_string();
    let line_of = |wrong: String| match wrong.parse::<TlogProof>().unwrap_err() {
        TlogProofFault::Malformed { line } => line,
        other => panic!("{other}"),
    };
    assert_eq!(line_of(text.replacen("@v1", "@v2", 1)), 1);
    assert_eq!(line_of(text.replacen("extra eA==", "extra eA", 1)), 2);
    assert_eq!(line_of(text.replacen("extra", "Extra", 1)), 2);
    assert_eq!(line_of(text.replacen("index 5", "index 05", 1)), 3);
    assert_eq!(line_of(text.replacen("index 5\n", "index 5\nAAAA\n", 1)), 4);
    let hash = format!("{}\n", Hash::of_nothing());
    let long = text.replacen("index 5\n", &format!("index 5\n{}", hash.repeat(56)), 1);
    assert_eq!(line_of(long), 68);
    assert_eq!(line_of(text.replace("\n\n", "\n")), 1);
    let torn = &text[..text.len() - 3];
    assert!(matches!(torn.parse::<TlogProof>(), Err(TlogProofFault::Note(_))));
}
