use std::fs;

use jumpgate_catalogue::Verdict;

use super::*;
use crate::testing::{Question, TestLog, answer};

/// A closed log of some hundred entries, so that its tree has full tiles.
async fn filled() -> TestLog {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    for number in 0..200 {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    }
    querylog.close().await.unwrap();
    log
}

fn run(log: &TestLog, mend: bool) -> Fsck {
    fsck_on(&log.disk, &log.dir, Some(&log.keys), mend).unwrap()
}

fn last_segment(log: &TestLog) -> std::path::PathBuf {
    let names = log.disk.list(&log.dir.join("segments")).unwrap();
    let last = names.iter().rfind(|name| name.ends_with(".seg")).unwrap();
    log.dir.join("segments").join(last)
}

/// Where the last whole batch ends.
fn end(segment: &std::path::Path) -> usize {
    crate::frame::used_bytes(&fs::read(segment).unwrap()).next_multiple_of(8)
}

#[tokio::test]
async fn a_whole_log_is_whole_and_stays_as_it_is() {
    let log = filled().await;
    let segment = last_segment(&log);
    let before = fs::read(&segment).unwrap();
    for mend in [false, true] {
        assert!(matches!(run(&log, mend), Fsck::Whole(report) if report.entries == 402));
    }
    assert!(fs::read(&segment).unwrap() == before);
}

#[tokio::test]
async fn a_torn_tail_is_told_and_removed() {
    let log = filled().await;
    let segment = last_segment(&log);
    let whole = fs::read(&segment).unwrap();
    let mut torn = whole.clone();
    let place = end(&segment);
    torn[place..place + 100].fill(0x55);
    fs::write(&segment, &torn).unwrap();
    let found = run(&log, false);
    assert!(
        matches!(&found, Fsck::Mendable { torn_bytes: 100, derived } if derived.is_empty()),
        "{found:?}"
    );
    assert!(fs::read(&segment).unwrap() == torn, "a check changes nothing");
    assert!(matches!(run(&log, true), Fsck::Mended(report) if report.entries == 402));
    assert!(fs::read(&segment).unwrap() == whole);
    assert!(matches!(run(&log, false), Fsck::Whole(_)));
}

#[tokio::test]
async fn corruption_is_told_by_file_and_place_and_never_touched() {
    let log = filled().await;
    let segment = log.segment(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[5000] ^= 4;
    fs::write(&segment, &bytes).unwrap();
    for mend in [false, true] {
        let found = run(&log, mend);
        let Fsck::Corrupt(flaws) = &found else { panic!("{found:?}") };
        let places: Vec<_> = flaws.iter().filter(|flaw| flaw.offset.is_some()).collect();
        assert!(places.iter().any(|flaw| flaw.file.as_deref() == Some(&*segment)), "{flaws:?}");
    }
    assert!(fs::read(&segment).unwrap() == bytes);
}

#[tokio::test]
async fn lost_and_wrong_tiles_are_made_anew() {
    let log = filled().await;
    let tile = log.dir.join("tree/tile/0/000");
    let bundle = log.dir.join("tree/tile/entries/000");
    let whole = (fs::read(&tile).unwrap(), fs::read(&bundle).unwrap());
    fs::remove_file(&tile).unwrap();
    fs::write(&bundle, b"other").unwrap();
    let found = run(&log, false);
    assert!(
        matches!(&found, Fsck::Mendable { torn_bytes: 0, derived } if derived.len() == 2),
        "{found:?}"
    );
    assert!(matches!(run(&log, true), Fsck::Mended(_)));
    assert!((fs::read(&tile).unwrap(), fs::read(&bundle).unwrap()) == whole);
    // Where nothing says what is published, what was signed is looked at all the same.
    fs::remove_file(log.dir.join("tree/checkpoint")).unwrap();
    fs::write(&tile, b"other").unwrap();
    let found = run(&log, false);
    assert!(
        matches!(&found, Fsck::Mendable { torn_bytes: 0, derived } if derived.len() == 2),
        "{found:?}"
    );
    assert!(matches!(run(&log, true), Fsck::Mended(_)));
    assert!(fs::read(&tile).unwrap() == whole.0);
}

#[tokio::test]
async fn a_log_that_is_written_is_not_touched() {
    let log = TestLog::made();
    let (_querylog, _) = log.open();
    let fault = fsck_on(&log.disk, &log.dir, None, false).unwrap_err();
    assert!(matches!(fault, FsckFault::Open(OpenFault::Locked { .. })));
    let none = tempfile::tempdir().unwrap();
    let fault = fsck_on(&log.disk, none.path(), None, false).unwrap_err();
    assert!(matches!(fault, FsckFault::Open(OpenFault::NotInitialised { .. })));
}

#[tokio::test]
async fn tiles_are_not_removed_while_entries_are_missing() {
    let log = filled().await;
    let bundle = log.dir.join("tree/tile/entries/000");
    let whole = fs::read(&bundle).unwrap();
    // The checkpoint is gone, and so is the end of the log.
    fs::remove_file(log.dir.join("tree/checkpoint")).unwrap();
    let segment = last_segment(&log);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[64..].fill(0);
    fs::write(&segment, &bytes).unwrap();
    let found = run(&log, true);
    let Fsck::Corrupt(flaws) = &found else { panic!("{found:?}") };
    assert!(flaws.iter().any(|flaw| flaw.what.contains("and the log holds")), "{flaws:?}");
    assert_eq!(fs::read(&bundle).unwrap(), whole);
}
