use jumpgate_catalogue::Verdict;

use super::*;
use crate::entry::Details;
use crate::kind::Act;
use crate::origin::Origin;
use crate::testing::{Question, TestLog, answer};

const NAME: &str = "gateway.example.gov/log";

fn batch(count: u8) -> (Vec<Hash>, SignedBatch, VerifierKey) {
    let signer = SignerKey::from_seed(&promise_name(NAME), &[7; 32]).unwrap();
    let leaves: Vec<Hash> = (0..count).map(|number| Hash::of_leaf(&[number])).collect();
    let signed = SignedBatch::sign(NAME, 100, leaves.clone(), 12_345, &signer);
    (leaves, signed, signer.verifier().clone())
}

#[test]
fn each_entry_of_a_batch_of_any_size_has_its_promise() {
    for count in 1..=40 {
        let (leaves, signed, key) = batch(count);
        for (leaf, index) in leaves.iter().zip(100..) {
            let promise = Promise::of_text(&signed.promise(index), &key).unwrap();
            let origin = NAME.to_owned();
            assert_eq!(promise, Promise { origin, index, leaf_hash: leaf.0, time_ms: 12_345 });
        }
    }
}

/// The tree over a batch is that of RFC 6962, made here as the RFC writes it.
#[test]
fn the_root_is_that_of_rfc_6962() {
    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                Hash::of_node(root(&leaves[..split]), root(&leaves[split..]))
            }
        }
    }
    for count in 1..=40 {
        let (leaves, signed, _) = batch(count);
        let text = format!("100 {count}\n{}\n", root(&leaves));
        assert!(signed.note.contains(&text), "{count}");
    }
}

#[test]
fn any_changed_character_is_found() {
    let (_, signed, key) = batch(11);
    let text = signed.promise(105);
    let other = Promise::of_text(&text, &key).unwrap();
    for place in 0..text.len() {
        for with in [b'0', b'A', b'\n'] {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = with;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            if changed != text {
                let read = Promise::of_text(&changed, &key);
                // A character that base64 reads alike would be another text of the same promise.
                assert!(read.ok().is_none_or(|read| read == other), "{place}: {changed}");
            }
        }
    }
}

#[test]
fn a_promise_of_another_key_log_or_place_is_none() {
    let (leaves, signed, key) = batch(4);
    let text = signed.promise(102);
    let stranger = SignerKey::from_seed(&promise_name(NAME), &[8; 32]).unwrap();
    let read = |text: &str, key: &VerifierKey| Promise::of_text(text, key).unwrap_err();
    assert_eq!(read(&text, stranger.verifier()), PromiseFault::Signature);
    let elsewhere = SignerKey::from_seed("other.example/log/promise", &[7; 32]).unwrap();
    assert_eq!(read(&text, elsewhere.verifier()), PromiseFault::Signature);
    for index in ["index 101", "index 104", "index 99", "index 18446744073709551615"] {
        assert_eq!(read(&text.replace("index 102", index), &key), PromiseFault::Leaf);
    }
    let other = text.replace(&leaves[2].to_string(), &Hash::of_leaf(b"other").to_string());
    assert_eq!(read(&other, &key), PromiseFault::Leaf);
    assert_eq!(read("", &key), PromiseFault::Form("no empty line"));
    // A checkpoint of the log is no promise, whoever signed it.
    let checkpoint = format!("{NAME}\n12\n{}\n", leaves[0]);
    let note = Note::sign(checkpoint, &[&SignerKey::from_seed(key.name(), &[7; 32]).unwrap()]);
    let forged = format!("{FIRST_LINE}\nindex 1\nleaf {}\n\n{}", leaves[0], note.unwrap());
    assert_eq!(read(&forged, &key), PromiseFault::Form("the signed text is another"));
}

#[tokio::test]
async fn every_recorded_entry_is_promised_and_the_promise_is_kept() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let key = Origin::read(&log.disk, &log.dir).unwrap().unwrap().promise;
    let mut told = vec![querylog.act(Act::Config, &Details::new()).await.unwrap()];
    for number in 0..5 {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        told.push(querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap());
    }
    for recorded in &told {
        let (index, leaf_hash) = (recorded.index(), *recorded.leaf_hash());
        let again = querylog.promise(index, &leaf_hash).unwrap();
        for text in [recorded.promise().unwrap(), again] {
            let promise = Promise::of_text(&text, &key).unwrap();
            assert_eq!((promise.index, promise.leaf_hash), (index, leaf_hash));
        }
        let patience = std::time::Duration::from_secs(60);
        let receipt = querylog.receipt_when_published(index, patience).await.unwrap().unwrap();
        let (verifier, _) = crate::QueryLog::verifier_keys(&log.dir).unwrap();
        assert_eq!(crate::Proven::of_receipt(&receipt, &verifier).unwrap().index, index);
    }
}
