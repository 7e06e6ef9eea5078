//! Every way a log may be found: killed, torn, damaged, twice open, never made.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use jumpgate_catalogue::{FaultCode, Verdict};

use super::*;
use crate::testing::{NEW_YEAR_MS, Question, TestLog, answer, records};
use crate::{AskHeader, AskMode, FieldId, QueryLog, Sealer, verify};

/// A log in which two questions were answered and two left open, as the killed process left it.
async fn killed() -> (TestLog, QueryLog) {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    for number in 0..2 {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    }
    for number in 2..4 {
        // Leaked, so that the question stays open as in a process that is gone.
        std::mem::forget(querylog.ask(Question::new(number).header()).await.unwrap());
    }
    (log, querylog)
}

fn flip(path: &PathBuf, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

/// Where each frame of the first segment begins, and where the last one ends.
fn frames(path: &PathBuf) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    let header = crate::frame::SegmentHeader::decode(&bytes).unwrap();
    let mut walk = Walk::new(&header, 0);
    let mut frames = Vec::new();
    while let Some(batch) = walk.step(&bytes).unwrap() {
        frames.push(batch.offset);
    }
    frames.push(walk.offset);
    frames
}

#[tokio::test]
async fn questions_left_open_are_abandoned_once_before_start() {
    let (log, querylog) = killed().await;
    let (_folder, dir) = log.copy();
    drop(querylog);

    let (again, opened) = log.try_open_dir(&dir).unwrap();
    assert_eq!((opened.asks_abandoned, opened.entries, opened.handles), (2, 10, 4));
    assert!(opened.interrupted);
    assert_eq!(opened.torn_bytes, 0);
    let (_folder, dir_again) = {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("log");
        crate::testing::copy_dir(&dir, &copy);
        (folder, copy)
    };
    drop(again);
    // The second recovery finds nothing left to abandon.
    let (once_more, opened) = log.try_open_dir(&dir_again).unwrap();
    assert_eq!((opened.asks_abandoned, opened.entries), (0, 11));
    once_more.close().await.unwrap();

    let records = records(&dir_again);
    let tail: Vec<_> = records[7..].iter().map(|record| record.entry.kind).collect();
    assert_eq!(tail, [Kind::Abandoned, Kind::Abandoned, Kind::Start, Kind::Start, Kind::Stop]);
    assert_eq!(records[7].entry.ask, Some(5));
    assert_eq!(records[7].entry.query_id, Some(Question::new(2).query_id));
    assert_eq!(records[7].entry.pseudonym, records[5].entry.pseudonym);
    let details = records[9].entry.details.clone().unwrap();
    assert_eq!(details.find("asks_abandoned"), Some("2"));
    assert_eq!(details.find("previous"), Some("interrupted"));
    assert_eq!(details.find("ask"), Some("durable"));
    assert_eq!(details.find("asks_lost"), None);
    assert_eq!(details.find("version"), Some("0.1.0"));
    verify(&dir_again, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn a_recovery_killed_between_its_batches_is_finished_by_the_next() {
    let (log, querylog) = killed().await;
    drop(querylog);
    let mut log = log;
    // Each abandoned entry in a batch of its own; the second sync of a batch fails.
    log.options.batch_entries_max = 1;
    // Syncs: mended segment, prepared segment on its own thread, then one a batch.
    for syncs in 0..6 {
        let (_folder, dir) = log.copy();
        log.faults.fail_sync_after(syncs);
        let first = log.try_open_dir(&dir);
        drop(first);
        log.faults.fail_sync_after(u32::MAX);
        let (querylog, _) = log.try_open_dir(&dir).unwrap();
        querylog.close().await.unwrap();
        let report = verify(&dir, Some(&log.keys)).unwrap();
        assert_eq!(report.kinds[&Kind::Abandoned], 2, "after {syncs} syncs");
        assert!(report.open_asks.is_empty());
    }
}

#[tokio::test]
async fn an_orderly_log_has_nothing_to_recover() {
    let log = TestLog::made();
    let (querylog, opened) = log.open();
    assert!(!opened.interrupted);
    querylog.close().await.unwrap();
    let (querylog, opened) = log.open();
    assert_eq!((opened.asks_abandoned, opened.interrupted, opened.torn_bytes), (0, false, 0));
    querylog.close().await.unwrap();
    let previous: Vec<_> = log
        .records()
        .iter()
        .filter_map(|record| record.entry.details.as_ref()?.find("previous").map(str::to_owned))
        .collect();
    assert_eq!(previous, ["none", "stopped"]);
}

#[tokio::test]
async fn a_torn_last_batch_of_any_length_is_dropped_and_zeroed() {
    let (log, querylog) = killed().await;
    drop(querylog);
    let places = frames(&log.segment(0));
    let [.., start, end] = places[..] else { panic!("the log has frames") };
    let whole = fs::read(log.segment(0)).unwrap();
    for length in start..end {
        // The last bytes of a frame are zeros anyway.
        let is_torn = whole[length..end].iter().any(|byte| *byte != 0);
        if !is_torn || (length % 16 != 0 && length > start + 8 && length < end - 8) {
            continue;
        }
        let (_folder, dir) = log.copy();
        let path = segments::path_of(&dir, 0);
        let mut torn = whole.clone();
        torn[length..].fill(0);
        fs::write(&path, torn).unwrap();
        // What is torn was never synced, so that it never came into the tree either.
        log.forget_tree(&dir);
        let (querylog, opened) = log.try_open_dir(&dir).unwrap();
        // Of two open questions the second one's ask is gone, and so is its handle's row.
        assert_eq!((opened.asks_abandoned, opened.handles), (1, 3), "{length}");
        assert_eq!(opened.torn_bytes > 0, length > start, "{length}");
        querylog.close().await.unwrap();
        let report = verify(&dir, Some(&log.keys)).unwrap();
        assert_eq!((report.torn_bytes, report.kinds[&Kind::Ask]), (0, 3), "{length}");
    }
}

#[tokio::test]
async fn garbage_after_the_last_batch_is_zeroed_whatever_it_is() {
    let (log, querylog) = killed().await;
    drop(querylog);
    let path = log.segment(0);
    let end = *frames(&path).last().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[end + 512..end + 5000].fill(0xee);
    fs::write(&path, bytes).unwrap();
    assert_eq!(verify(&log.dir, Some(&log.keys)).unwrap().torn_bytes, 5000);
    let (querylog, opened) = log.open();
    assert_eq!((opened.torn_bytes, opened.asks_abandoned), (5000, 2));
    querylog.close().await.unwrap();
    assert_eq!(verify(&log.dir, Some(&log.keys)).unwrap().torn_bytes, 0);
}

#[tokio::test]
async fn damage_below_the_mark_is_refused_with_file_and_offset_and_changes_nothing() {
    let (log, querylog) = killed().await;
    drop(querylog);
    let path = log.segment(0);
    let places = frames(&path);
    for frame in &places[..places.len() - 2] {
        let (_folder, dir) = log.copy();
        let path = segments::path_of(&dir, 0);
        flip(&path, frame + 100);
        let before = fs::read(&path).unwrap();
        let fault = log.try_open_dir(&dir).unwrap_err();
        let OpenFault::Corrupt { file, offset, .. } = &fault else { panic!("{fault}") };
        assert_eq!((file, *offset), (&path, *frame as u64));
        let text = fault.to_string();
        assert!(text.contains("restore this file from a mirror"), "{text}");
        assert_eq!(fs::read(&path).unwrap(), before);
        let flaws = verify(&dir, Some(&log.keys)).unwrap_err();
        assert!(flaws.iter().any(|flaw| flaw.offset == Some(*frame as u64)), "{flaws:?}");
    }
}

#[tokio::test]
async fn a_missing_or_foreign_segment_is_refused() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    for number in 0..450 {
        drop(querylog.ask(Question::new(number).header()).await.unwrap());
    }
    querylog.close().await.unwrap();
    let firsts = segments::list(&log.disk, &log.dir).unwrap_or_default();
    assert!(firsts.len() >= 4, "{firsts:?}");
    for lost in &firsts[..firsts.len() - 1] {
        let (_folder, dir) = log.copy();
        fs::remove_file(segments::path_of(&dir, *lost)).unwrap();
        // A start reads back to the last `start`; here that is the whole log.
        assert!(matches!(log.try_open_dir(&dir), Err(OpenFault::Corrupt { .. })), "{lost}");
        assert!(verify(&dir, None).is_err());
    }
    let other = TestLog::made();
    fs::copy(other.segment(0), log.segment(0)).unwrap();
    let fault = log.try_open().unwrap_err().to_string();
    assert!(fault.contains("belongs to another log"), "{fault}");
}

#[tokio::test]
async fn a_shortened_segment_or_handle_table_is_refused() {
    let (log, querylog) = killed().await;
    drop(querylog);
    let segment = fs::read(log.segment(0)).unwrap();
    fs::write(log.segment(0), &segment[..segment.len() - 1]).unwrap();
    let fault = log.try_open().unwrap_err().to_string();
    assert!(fault.contains("has 131071 bytes and was made with 131072"), "{fault}");
    fs::write(log.segment(0), segment).unwrap();

    let path = log.dir.join("handles");
    let handles = fs::read(&path).unwrap();
    fs::write(&path, &handles[..handles::row_offset(3) as usize + 50]).unwrap();
    let fault = log.try_open().unwrap_err().to_string();
    assert!(fault.contains("handles is damaged") && fault.contains("rows are missing"), "{fault}");
    fs::write(&path, &handles).unwrap();
    flip(&path, handles::row_offset(2) as usize + 40);
    let fault = log.try_open().unwrap_err();
    let OpenFault::Corrupt { offset, .. } = fault else { panic!("{fault}") };
    assert_eq!(offset, handles::row_offset(2));
}

#[tokio::test]
async fn handle_rows_that_no_batch_counts_are_zeroed() {
    let (log, querylog) = killed().await;
    drop(querylog);
    let path = log.dir.join("handles");
    let mut bytes = fs::read(&path).unwrap();
    let end = handles::row_offset(4) as usize;
    let row = bytes[end - handles::ROW_BYTES..end].to_vec();
    bytes[end..end + handles::ROW_BYTES].copy_from_slice(&row);
    fs::write(&path, bytes).unwrap();
    let (querylog, opened) = log.open();
    assert_eq!(opened.handles, 4);
    assert!(fs::read(&path).unwrap()[end..].iter().all(|byte| *byte == 0));
    // The next subject gets the row that was torn.
    drop(querylog.ask(Question::new(9).header()).await.unwrap());
    querylog.close().await.unwrap();
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn a_prepared_segment_left_behind_is_made_anew() {
    let log = TestLog::made();
    fs::write(log.dir.join("segments/next.tmp"), b"half prepared").unwrap();
    let (querylog, _) = log.open();
    for number in 0..200 {
        drop(querylog.ask(Question::new(number).header()).await.unwrap());
    }
    querylog.close().await.unwrap();
    assert!(verify(&log.dir, None).unwrap().segments > 1);
}

/// Where an entry stands, whatever was promised of it.
fn place(recorded: &Recorded) -> (u64, crate::LeafHash, u64) {
    (recorded.index(), *recorded.leaf_hash(), recorded.time_ms())
}

#[tokio::test]
async fn the_outcomes_of_a_day_come_back_newest_first() {
    let mut log = TestLog::made();
    let (querylog, _) = log.open();
    let ask = async |number| querylog.ask(Question::new(number).header()).await.unwrap();
    let old = ask(1).await;
    querylog.conclude(old, answer(Verdict::Yes)).await.unwrap();
    log.clock.store(NEW_YEAR_MS + 25 * 3_600_000, Ordering::Relaxed);
    // Enough to put the outcomes into several segments.
    for number in 10..110 {
        let ticket = ask(number).await;
        querylog.conclude(ticket, answer(Verdict::No)).await.unwrap();
    }
    let ticket = ask(2).await;
    let fault = Fault::before_effect(FaultCode::DepartmentTimeout);
    let failed = crate::Closing::Failed { fault, reply_commitment: None };
    let recorded = querylog.conclude(ticket, failed).await.unwrap();
    std::mem::forget(ask(3).await);
    drop(querylog);

    let (querylog, opened) = log.open();
    assert_eq!(opened.outcomes.len(), 101);
    let newest = &opened.outcomes[0];
    assert_eq!(newest.query_id, Question::new(2).query_id);
    assert_eq!(newest.closing, PastClosing::Failed { fault });
    assert_eq!(place(&newest.recorded), place(&recorded));
    assert_eq!(newest.request_token, [9; 32]);
    assert_eq!(newest.predicate.as_str(), "civil-registry/age-at-least@1");
    let PastClosing::Answer { verdict, as_of, next_as_of } = opened.outcomes[1].closing else {
        panic!("an answer")
    };
    assert_eq!((verdict, as_of), (Verdict::No, Question::new(0).as_of));
    assert!(next_as_of.is_some());
    let indices: Vec<_> = opened.outcomes.iter().map(|past| past.recorded.index()).collect();
    assert!(indices.is_sorted_by(|a, b| a > b));
    drop(querylog);

    log.options.idempotency_entries_max = 7;
    let (_querylog, opened) = log.open();
    assert_eq!(opened.outcomes.len(), 7);
    assert_eq!(place(&opened.outcomes[0].recorded), place(&recorded));
}

#[tokio::test]
async fn asks_that_were_only_written_are_said_to_be_possibly_lost() {
    let mut log = TestLog::made();
    log.options.ask = AskMode::Written;
    let (querylog, _) = log.open();
    drop(querylog);
    let (querylog, _) = log.open();
    querylog.close().await.unwrap();
    log.open().0.close().await.unwrap();
    let starts: Vec<_> = log
        .records()
        .iter()
        .filter(|record| record.entry.kind == Kind::Start)
        .map(|record| record.entry.details.as_ref().unwrap().find("asks_lost").is_some())
        .collect();
    assert_eq!(starts, [false, true, false]);
}

#[test]
fn a_log_is_made_once_and_opened_by_one() {
    let log = TestLog::new();
    let fault = log.try_open().unwrap_err().to_string();
    assert!(fault.contains("run `jumpgate log init`"), "{fault}");
    assert!(!log.dir.exists(), "opening makes nothing");
    log.init();
    let again = QueryLog::init(&log.dir, "a", &log.keys, &log.options, 0).unwrap_err();
    assert!(matches!(again, crate::InitFault::NotEmpty { .. }), "{again}");

    let (querylog, _) = log.open();
    let fault = log.try_open().unwrap_err();
    assert!(matches!(&fault, OpenFault::Locked { path } if path.ends_with("lock")), "{fault}");
    drop(querylog);
    drop(log.open());
}

#[test]
fn keys_of_another_log_are_refused_by_purpose() {
    let log = TestLog::made();
    let other = TestLog::new();
    for purpose in ["seal", "lookup", "pseudonym", "idempotency"] {
        let name = format!("{purpose}.key");
        let own = fs::read(log.keys_dir.join(&name)).unwrap();
        fs::copy(other.keys_dir.join(&name), log.keys_dir.join(&name)).unwrap();
        let keys = Keys::open(&log.keys_dir).unwrap();
        let start = crate::testing::start_details();
        let opened = QueryLog::open(&log.dir, &keys, log.options.clone(), start, log.now_ms());
        let fault = opened.map(drop).unwrap_err().to_string();
        assert!(fault.contains(&format!("the {purpose} key is not")), "{fault}");
        fs::write(log.keys_dir.join(&name), own).unwrap();
    }
}

#[test]
fn settings_outside_their_limits_are_named() {
    let mut log = TestLog::made();
    log.options.segment_bytes = 1000;
    let fault = log.try_open().unwrap_err().to_string();
    assert!(fault.starts_with("segment_bytes = 1000 is outside 32"), "{fault}");
}

/// A log of several segments in which the first question is still open, and its end.
async fn long(log: &mut TestLog, is_open: bool) -> (tempfile::TempDir, PathBuf) {
    log.options.idempotency_entries_max = 0;
    let (querylog, _) = log.open();
    let first = querylog.ask(Question::new(0).header()).await.unwrap();
    if is_open {
        std::mem::forget(first);
    } else {
        querylog.conclude(first, answer(Verdict::Yes)).await.unwrap();
    }
    let mut number = 1;
    while fs::read_dir(log.dir.join("segments")).unwrap().count() < 4 {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
        number += 1;
    }
    if !is_open {
        // The tree holds all of it then, so that a start needs none of it for the tree.
        querylog.close().await.unwrap();
    }
    log.copy()
}

#[tokio::test]
async fn a_question_past_the_auditor_that_is_left_open_is_abandoned_like_any_other() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let question = Question::new(1);
    let header = AskHeader { second_operator: Some("JUDGE-NAME"), ..question.header() };
    let open = querylog.ask(header).await.unwrap();
    let (_folder, dir) = log.copy();
    let (opened_again, opened) = log.try_open_dir(&dir).unwrap();
    assert_eq!(opened.asks_abandoned, 1);
    opened_again.close().await.unwrap();
    let kinds: Vec<Kind> = records(&dir).iter().map(|it| it.entry.kind).collect();
    assert_eq!(kinds, [Kind::Start, Kind::BreakGlass, Kind::Abandoned, Kind::Start, Kind::Stop]);
    let report = verify(&dir, Some(&log.keys)).unwrap();
    assert!(report.open_asks.is_empty());
    let asked = &records(&dir)[1];
    let fields = Sealer::open(&dir, &log.keys).unwrap().open_fields(asked).unwrap();
    assert_eq!(fields.text(FieldId::SecondOperator), Some("JUDGE-NAME"));
    querylog.conclude(open, answer(Verdict::Yes)).await.unwrap();
}

#[tokio::test]
async fn a_question_left_open_long_ago_is_found_and_a_start_reads_no_further_back() {
    let mut log = TestLog::made();
    let (_folder, dir) = long(&mut log, true).await;
    let (querylog, opened) = log.try_open_dir(&dir).unwrap();
    assert_eq!(opened.asks_abandoned, 1);
    querylog.close().await.unwrap();
    let abandoned = records(&dir).into_iter().find(|it| it.entry.kind == Kind::Abandoned).unwrap();
    assert_eq!(abandoned.entry.ask, Some(1));
    verify(&dir, Some(&log.keys)).unwrap();

    let mut log = TestLog::made();
    let (_folder, dir) = long(&mut log, false).await;
    // Damage that only a reader of the first segment can see; `verify` is one.
    flip(&crate::segments::path_of(&dir, 0), 200);
    let (querylog, opened) = log.try_open_dir(&dir).unwrap();
    assert_eq!(opened.asks_abandoned, 0);
    querylog.close().await.unwrap();
    assert!(verify(&dir, None).is_err());
}
