//! Reading beside a writer, from anywhere, and only what is whole.

use jumpgate_catalogue::Verdict;

use super::*;
use crate::testing::{Question, TestLog, answer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_beside_a_writer_sees_whole_entries_in_order() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let writer = querylog.clone();
    let writing = tokio::spawn(async move {
        for number in 0..300 {
            let ticket = writer.ask(Question::new(number).header()).await.unwrap();
            writer.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let before = querylog.health().durable_entries;
        let mut count = 0;
        for (index, record) in (0..).zip(Reader::open(&log.dir).unwrap()) {
            assert_eq!(record.unwrap().index, index);
            count += 1;
        }
        assert!(count >= before, "{count} entries read, {before} were durable");
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    querylog.close().await.unwrap();
    assert_eq!(log.records().len(), 602);
}

#[tokio::test]
async fn a_reader_may_begin_anywhere() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    for number in 0..150 {
        drop(querylog.ask(Question::new(number).header()).await.unwrap());
    }
    querylog.close().await.unwrap();
    let all = log.records();
    assert_eq!(all.len(), 302);
    for from in [0, 1, 149, 299, 301, 302, 9999] {
        let read: Vec<_> =
            Reader::open_at(&log.dir, from).unwrap().map(|record| record.unwrap()).collect();
        let expected: Vec<_> = all.iter().filter(|record| record.index >= from).cloned().collect();
        assert_eq!(read, expected, "from {from}");
    }
}

#[tokio::test]
async fn a_reader_ends_after_its_first_fault() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    for number in 0..3 {
        drop(querylog.ask(Question::new(number).header()).await.unwrap());
    }
    querylog.close().await.unwrap();
    let path = log.segment(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[64 + 80] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let read: Vec<_> = Reader::open(&log.dir).unwrap().collect();
    assert_eq!(read.len(), 1);
    assert!(matches!(&read[0], Err(ReadFault::Damaged { offset: 64, .. })), "{read:?}");
}

#[test]
fn a_folder_without_a_log_is_named() {
    let log = TestLog::new();
    let fault = Reader::open(&log.dir).err().unwrap();
    assert!(matches!(&fault, ReadFault::NotInitialised { path } if *path == log.dir), "{fault}");
}

#[tokio::test]
async fn fields_of_one_entry_do_not_open_as_those_of_another() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    for number in 0..2 {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    }
    querylog.close().await.unwrap();
    let records = log.records();
    let sealer = Sealer::open(&log.dir, &log.keys).unwrap();
    let mut swapped = records[2].clone();
    swapped.sealed = records[4].sealed.clone();
    assert_eq!(sealer.open_fields(&swapped).unwrap_err(), FieldsFault::Sealed);
    let mut bare = records[2].clone();
    bare.sealed.clear();
    assert_eq!(sealer.open_fields(&bare).unwrap_err(), FieldsFault::Missing);
    assert_eq!(sealer.open_fields(&records[0]).unwrap_err(), FieldsFault::Missing);
    let mut other = records[2].clone();
    other.entry.fields = Some([0; 32]);
    assert_eq!(sealer.open_fields(&other).unwrap_err(), FieldsFault::Commitment);
    let mut other = records[2].clone();
    other.entry.pseudonym = records[4].entry.pseudonym.map(|mut pseudonym| {
        pseudonym.value[0] ^= 1;
        pseudonym
    });
    assert_eq!(sealer.open_fields(&other).unwrap_err(), FieldsFault::Pseudonym);
}
