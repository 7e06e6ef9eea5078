//! Each rule of an intact log, broken once. The broken logs are written by the store itself, so
//! that every checksum is right and only the rule is wrong.

use jumpgate_catalogue::Verdict;

use super::*;
use crate::disk::Disk;
use crate::entry::Pseudonym;
use crate::frame::{BatchHeader, Marks, RECORD_HEADER_BYTES, write_batch, write_record_header};
use crate::testing::{NEW_YEAR_MS, Question, TestLog, answer};

/// Replaces the log's first segment by one of these records, in one batch.
fn write_segment(log: &TestLog, records: &[Vec<u8>], handle_rows: u64) {
    let loaded = crate::reader::Cursor::open(Disk::default(), &log.dir).unwrap().0;
    let header = BatchHeader {
        log_id: loaded.log_id,
        first_index: 0,
        durable_entries: 0,
        marks: Marks { handle_rows, closed_below: 0, asks_written: false },
        payload_bytes: 0,
        entry_count: 0,
    };
    let mut frame = Vec::new();
    write_batch(header, records.iter().map(|record| &record[..]), &mut frame);
    let path = log.segment(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[64..].fill(0);
    bytes[64..64 + frame.len()].copy_from_slice(&frame);
    std::fs::write(path, bytes).unwrap();
}

fn record(entry: &Entry<'_>, sealed: &[u8]) -> Vec<u8> {
    let mut record = vec![0; RECORD_HEADER_BYTES];
    entry.encode(&mut record).unwrap();
    let entry_bytes = record.len() - RECORD_HEADER_BYTES;
    record.extend_from_slice(sealed);
    write_record_header(&mut record, entry_bytes);
    record
}

/// An ask or a closing entry of a question of this number.
fn entry(kind: Kind, number: u8, ask: Option<u64>) -> Entry<'static> {
    let is_ask = kind == Kind::Ask;
    let digest = is_ask.then_some(jumpgate_catalogue::Digest([1; 32]));
    Entry {
        query_id: Some(QueryId([number; 16])),
        caller: Some("one-window".into()),
        department: Some("civil-registry".into()),
        predicate: Some("civil-registry/age-at-least@1".into()),
        purpose: Some("employment".into()),
        adapter: digest,
        catalogue: digest,
        policy: digest,
        engine: digest,
        pseudonym: Some(Pseudonym { value: [number; 16], epoch: 224 }),
        fields: (kind != Kind::Abandoned).then_some([number; 32]),
        ask,
        ..Entry::new(kind, NEW_YEAR_MS)
    }
}

fn ask(number: u8) -> Vec<u8> {
    record(&entry(Kind::Ask, number, None), b"sealed")
}

fn abandoned(number: u8, ask: u64) -> Vec<u8> {
    record(&entry(Kind::Abandoned, number, Some(ask)), b"")
}

fn check(records: &[Vec<u8>], expected: &[&str]) {
    let log = TestLog::made();
    write_segment(&log, records, 0);
    let said: Vec<_> = match verify(&log.dir, None) {
        Ok(_) => Vec::new(),
        Err(flaws) => flaws.iter().map(Flaw::to_string).collect(),
    };
    assert_eq!(said, expected);
}

#[test]
fn every_question_is_closed_once_by_a_later_entry_of_the_same_question() {
    let stop = record(&Entry::new(Kind::Stop, NEW_YEAR_MS), b"");
    check(&[ask(1), ask(2), abandoned(2, 1), abandoned(1, 0), stop.clone()], &[]);
    check(
        &[ask(1), abandoned(1, 0), abandoned(1, 0)],
        &["entry 2: it closes 0, which is no open ask"],
    );
    check(&[abandoned(1, 1), ask(1)], &["entry 0: it closes 1, which is no open ask"]);
    check(&[ask(1), abandoned(2, 0)], &["entry 1: it closes the ask 0 of another question"]);
    check(&[ask(1), stop], &["entry 1: stop follows the open ask 0"]);
}

#[test]
fn sealed_fields_are_there_exactly_where_the_entry_commits_to_them() {
    let without = "entry 0: the entry and the sealed fields do not go together";
    check(&[record(&entry(Kind::Ask, 1, None), b"")], &[without]);
    check(&[record(&Entry::new(Kind::Stop, 0), b"sealed")], &[without]);
}

#[test]
fn an_entry_that_does_not_decode_is_named_with_its_place() {
    let log = TestLog::made();
    let mut bad = record(&Entry::new(Kind::Stop, NEW_YEAR_MS), b"");
    let last = bad.len() - 1;
    bad[last] = 2;
    write_segment(&log, &[ask(1), bad, abandoned(1, 0)], 0);
    let flaws = verify(&log.dir, None).unwrap_err();
    assert_eq!(flaws.len(), 1);
    let flaw = &flaws[0];
    let at = 64 + 64 + ask(1).len() as u64;
    assert_eq!((flaw.index, flaw.offset), (Some(1), Some(at)));
    assert!(flaw.to_string().contains("hash algorithm 2"), "{flaw}");
}

#[test]
fn a_question_open_at_the_end_is_reported_and_no_flaw() {
    let log = TestLog::made();
    write_segment(&log, &[ask(1), ask(2), abandoned(1, 0)], 0);
    let report = verify(&log.dir, None).unwrap();
    assert_eq!((report.open_asks, report.stopped), (vec![1], false));
}

#[test]
fn a_clock_that_went_back_is_a_warning() {
    let log = TestLog::made();
    let at = |time_ms| record(&Entry::new(Kind::Stop, time_ms), b"");
    write_segment(&log, &[at(5000), at(4000), at(3999), at(6000)], 0);
    let report = verify(&log.dir, None).unwrap();
    let said: Vec<_> = report.warnings.iter().map(Flaw::to_string).collect();
    assert_eq!(said, ["entry 2: the clock went back by 1001 ms"]);
}

#[tokio::test]
async fn with_keys_fields_that_do_not_open_are_flaws() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let ticket = querylog.ask(Question::new(1).header()).await.unwrap();
    querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    querylog.close().await.unwrap();
    let report = verify(&log.dir, Some(&log.keys)).unwrap();
    assert_eq!((report.fields_opened, report.fields_erased, report.entries), (2, 0, 4));
    assert_eq!(report.kinds[&Kind::Answer], 1);
    assert_eq!(verify(&log.dir, None).unwrap().fields_opened, 0);

    // Sealed for another leaf: every checksum is right.
    let records = log.records();
    let mut rewritten: Vec<_> = records.iter().map(|r| record(&r.entry, &r.sealed)).collect();
    rewritten[2] = record(&records[2].entry, &records[1].sealed);
    write_segment(&log, &rewritten, 1);
    assert!(verify(&log.dir, None).is_ok());
    let flaws = verify(&log.dir, Some(&log.keys)).unwrap_err();
    let said: Vec<_> = flaws.iter().map(Flaw::to_string).collect();
    assert_eq!(said, ["entry 2: the sealed fields do not open"]);

    // A subject whose row the table does not have any more counts as erased, not as a flaw.
    write_segment(
        &log,
        &records.iter().map(|r| record(&r.entry, &r.sealed)).collect::<Vec<_>>(),
        0,
    );
    assert_eq!(verify(&log.dir, Some(&log.keys)).unwrap().fields_erased, 2);
}

#[tokio::test]
async fn a_damaged_row_is_a_flaw_with_and_without_keys() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    drop(querylog.ask(Question::new(1).header()).await.unwrap());
    querylog.close().await.unwrap();
    let path = log.dir.join(HANDLES_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let offset = handles::row_offset(0);
    bytes[offset as usize + 50] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    for keys in [None, Some(&log.keys)] {
        let flaws = verify(&log.dir, keys).unwrap_err();
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        assert_eq!((flaws[0].file.as_ref(), flaws[0].offset), (Some(&path), Some(offset)));
        assert_eq!(flaws[0].what, "a row's checksum is wrong");
    }
}

#[tokio::test]
async fn a_row_that_only_its_key_finds_wrong_is_a_flaw() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    drop(querylog.ask(Question::new(1).header()).await.unwrap());
    querylog.close().await.unwrap();
    let path = log.dir.join(HANDLES_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let row = &mut bytes[handles::row_offset(0) as usize..][..handles::ROW_BYTES];
    row[50] ^= 1;
    let crc = crc32c::crc32c(&row[..handles::ROW_BYTES - 4]);
    row[handles::ROW_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    assert!(verify(&log.dir, None).is_ok());
    let flaws = verify(&log.dir, Some(&log.keys)).unwrap_err();
    assert_eq!(flaws.len(), 1);
    assert_eq!(flaws[0].what, "a row does not open");
}

#[test]
fn a_folder_without_a_log_is_a_flaw() {
    let log = TestLog::new();
    let flaws = verify(&log.dir, None).unwrap_err();
    assert!(flaws[0].to_string().contains("holds no log"), "{flaws:?}");
}
