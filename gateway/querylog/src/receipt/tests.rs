//! A receipt proves its entry and opens what the caller was told, and nothing beside.

use std::os::unix::fs::FileExt;

use jumpgate_catalogue::{RefusalCode, Verdict};

use super::*;
use crate::testing::{Question, TestLog, answer};
use crate::*;

async fn published(querylog: &QueryLog, index: u64) {
    while querylog.health().published_entries <= index {
        tokio::task::yield_now().await;
    }
}

fn receipt_of(querylog: &QueryLog, index: u64) -> String {
    match querylog.receipt(index).unwrap() {
        Receipt::Proven(text) => text,
        other => panic!("{other:?}"),
    }
}

fn key(log: &TestLog) -> VerifierKey {
    let origin = std::fs::read_to_string(log.dir.join("origin")).unwrap();
    let line = origin.lines().find_map(|line| line.strip_prefix("verifier_key "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_receipt_proves_the_answer_offline_and_opens_no_more() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let question = Question::new(1);
    let ticket = querylog.ask(question.header()).await.unwrap();
    let ask = ticket.index();
    let recorded = querylog.conclude(ticket, answer(Verdict::No)).await.unwrap();
    let refused = RefusedHeader { question: question.header(), code: RefusalCode::NotGranted };
    let refused = querylog.refuse(refused).await.unwrap();
    published(&querylog, refused.index()).await;

    let key = key(&log);
    let text = receipt_of(&querylog, recorded.index());
    let proven = Proven::of_receipt(&text, &key).unwrap();
    assert_eq!((proven.index, proven.entry.ask), (recorded.index(), Some(ask)));
    assert_eq!(proven.entry.query_id, Some(question.query_id));
    assert_eq!((proven.verdict, proven.as_of), (Some(Verdict::No), Some(question.as_of)));
    assert_eq!(proven.checkpoint.origin, "gateway.example.gov/log");
    // Neither who asked in person nor about whom.
    let extra = text.parse::<TlogProof>().unwrap().extra.unwrap();
    for secret in ["OPERATOR-NAME", "CASE-NUMBER-000001"] {
        assert!(!extra.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
    }
    let asked = receipt_of(&querylog, ask);
    let asked = Proven::of_receipt(&asked, &key).unwrap();
    assert_eq!((asked.verdict, asked.as_of), (None, Some(question.as_of)));
    let refused = receipt_of(&querylog, refused.index());
    let refused = Proven::of_receipt(&refused, &key).unwrap();
    assert_eq!(refused.entry.code.as_deref(), Some("not-granted"));
    assert_eq!(querylog.receipt(99).unwrap(), Receipt::NotYet);
    // `start` seals nothing.
    let start = receipt_of(&querylog, 0);
    assert_eq!(Proven::of_receipt(&start, &key).unwrap().entry.kind, Kind::Start);
    querylog.close().await.unwrap();
}

#[tokio::test]
async fn a_receipt_that_was_changed_proves_nothing() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let ticket = querylog.ask(Question::new(1).header()).await.unwrap();
    let recorded = querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    published(&querylog, recorded.index()).await;
    let key = key(&log);
    let text = receipt_of(&querylog, recorded.index());
    let proof: TlogProof = text.parse().unwrap();
    let extra = proof.extra.clone().unwrap();
    // Every byte that is opened, and every bit of it: another verdict is one of them.
    for at in 0..extra.len() {
        for bit in 0..8 {
            let mut changed = extra.clone();
            changed[at] ^= 1 << bit;
            let changed = TlogProof { extra: Some(changed), ..proof.clone() };
            assert!(Proven::of_receipt(&changed.to_string(), &key).is_err(), "{at}.{bit}");
        }
    }
    let longer = [&extra[..], &[0]].concat();
    for extra in [None, Some(Vec::new()), Some(longer)] {
        let changed = TlogProof { extra, ..proof.clone() }.to_string();
        let fault = Proven::of_receipt(&changed, &key).unwrap_err();
        assert!(matches!(fault, ReceiptFault::Extra), "{fault}");
    }
    let other = TestLog::made();
    let fault = Proven::of_receipt(&text, &self::key(&other)).unwrap_err();
    assert!(matches!(fault, ReceiptFault::Proof(_)), "{fault}");
    querylog.close().await.unwrap();
}

/// One that stands in what is sealed could else point at a row that is not there, and pass for a
/// subject who was erased.
#[tokio::test]
async fn a_changed_byte_is_no_erasure() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let ticket = querylog.ask(Question::new(1).header()).await.unwrap();
    let recorded = querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    published(&querylog, recorded.index()).await;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(log.segment(0)).unwrap();
    let whole = std::fs::read(log.segment(0)).unwrap();
    let end = crate::frame::used_bytes(&whole);
    let mut damaged = 0;
    for at in (end - 800)..end {
        file.write_all_at(&[whole[at] ^ 1], at as u64).unwrap();
        match querylog.receipt(recorded.index()) {
            Err(LeafFault::Damaged { .. }) => damaged += 1,
            // It is another batch's.
            Ok(Receipt::Proven(_)) => {}
            other => panic!("byte {at}: {other:?}"),
        }
        file.write_all_at(&whole[at..=at], at as u64).unwrap();
    }
    assert!(damaged > 500, "{damaged} bytes belong to the answer");
    assert!(matches!(querylog.receipt(recorded.index()), Ok(Receipt::Proven(_))));
    querylog.close().await.unwrap();
}
