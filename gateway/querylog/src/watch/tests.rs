//! A log whose files somebody takes away while it is open: answers stop, the message says which
//! file and what to do, and after that is done nothing is lost.

use std::fs;

use super::*;
use crate::entry::Details;
use crate::kind::Act;
use crate::testing::{Question, TestLog, answer};
use crate::ticket::Recorded;
use crate::{InitFault, LogUnavailable, OpenFault, QueryLog, verify};

/// An open log in which questions were answered, and what was told.
async fn answered(log: &TestLog) -> (QueryLog, Vec<Recorded>) {
    let (querylog, _) = log.open();
    let mut told = Vec::new();
    for number in 0..20 {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        let concluded = querylog.conclude(ticket, answer(jumpgate_catalogue::Verdict::Yes)).await;
        told.push(concluded.unwrap());
    }
    (querylog, told)
}

/// The next question is not answered; why not.
async fn refused(querylog: &QueryLog) -> String {
    let asked = querylog.ask(Question::new(99).header()).await.map(|ticket| ticket.index());
    let Err(LogUnavailable::Poisoned { reason }) = asked else { panic!("{asked:?}") };
    assert!(reason.contains("start again") || reason.contains("move it back"), "{reason}");
    assert_eq!(querylog.health().poisoned.as_deref(), Some(&*reason));
    reason.to_string()
}

/// Lets entries come until the log has stopped by itself; why.
async fn stopped(querylog: &QueryLog) -> String {
    loop {
        if let Some(why) = querylog.health().poisoned {
            return why.to_string();
        }
        // The writer has no business with what is lost: it may still accept them.
        let _ = querylog.act(Act::Config, &Details::new()).await;
    }
}

fn holds(log: &TestLog, told: &[Recorded]) {
    let (querylog, _) = log.open();
    drop(querylog);
    let records = log.records();
    for recorded in told {
        assert_eq!(records[recorded.index() as usize].leaf_hash, *recorded.leaf_hash());
    }
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn a_removed_file_is_saved_and_can_be_put_back() {
    for name in ["segments/00000000000000000000.seg", "handles"] {
        let log = TestLog::made();
        let (querylog, told) = answered(&log).await;
        let path = log.dir.join(name);
        fs::remove_file(&path).unwrap();
        let why = refused(&querylog).await;
        assert!(why.starts_with(path.to_str().unwrap()), "{why}");
        let saved = with_ending(&path);
        assert!(
            why.contains("removed or renamed") && why.contains(saved.to_str().unwrap()),
            "{why}"
        );
        drop(querylog);
        let fault = log.try_open().map(|_| ()).unwrap_err();
        assert!(matches!(&fault, OpenFault::Saved { path } if *path == saved), "{fault}");
        fs::rename(saved, path).unwrap();
        holds(&log, &told);
    }
}

#[tokio::test]
async fn a_replaced_file_is_saved_and_can_be_put_back() {
    for name in ["segments/00000000000000000000.seg", "handles"] {
        let log = TestLog::made();
        let (querylog, told) = answered(&log).await;
        let (path, other) = (log.dir.join(name), log.dir.join("other"));
        fs::copy(&path, &other).unwrap();
        fs::rename(&other, &path).unwrap();
        let why = refused(&querylog).await;
        assert!(why.contains("was replaced by another file") && why.contains(".saved"), "{why}");
        drop(querylog);
        assert!(matches!(log.try_open().map(|_| ()), Err(OpenFault::Saved { .. })));
        fs::rename(with_ending(&path), path).unwrap();
        holds(&log, &told);
    }
}

#[tokio::test]
async fn a_renamed_file_is_found_at_once_and_can_be_put_back() {
    for name in ["segments/00000000000000000000.seg", "handles", "lock", "origin"] {
        let log = TestLog::made();
        let (querylog, told) = answered(&log).await;
        let (path, elsewhere) = (log.dir.join(name), log.dir.join("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        let why = refused(&querylog).await;
        assert!(why.starts_with(path.to_str().unwrap()) && !why.contains(".saved"), "{why}");
        drop(querylog);
        fs::rename(elsewhere, path).unwrap();
        holds(&log, &told);
    }
}

#[tokio::test]
async fn a_shortened_file_is_found_at_once_and_a_start_says_why_not() {
    for (name, bytes) in [("segments/00000000000000000000.seg", 100_000), ("handles", 500)] {
        let log = TestLog::made();
        let (querylog, _) = answered(&log).await;
        let path = log.dir.join(name);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes).unwrap();
        let why = refused(&querylog).await;
        assert!(why.contains(&format!("was cut to {bytes} bytes")), "{why}");
        drop(querylog);
        let fault = log.try_open().map(|_| ()).unwrap_err();
        assert!(matches!(&fault, OpenFault::Corrupt { file, .. } if *file == path), "{fault}");
    }
}

#[tokio::test]
async fn a_removed_folder_is_found_and_its_open_files_are_saved_beside_it() {
    let log = TestLog::made();
    let (querylog, told) = answered(&log).await;
    let (_folder, copy) = log.copy();
    // The publisher may be at work in it.
    while fs::remove_dir_all(&log.dir).is_err() {}
    let why = refused(&querylog).await;
    let beside = with_ending(&log.dir);
    assert!(why.contains("removed or renamed"), "{why}");
    let segment = log.segment(0);
    let segment_saved = beside.join(segment.file_name().unwrap());
    while !beside.join("handles").exists() || !segment_saved.exists() {
        tokio::task::yield_now().await;
    }
    drop(querylog);
    let _ = fs::remove_dir_all(&log.dir);
    let fault = log.try_open().map(drop).unwrap_err();
    assert!(matches!(&fault, OpenFault::Saved { path } if *path == beside), "{fault}");
    // Nor is another log begun in its place, as if there had been none.
    let fault = QueryLog::init(&log.dir, "a", &log.keys, &log.options, 0).unwrap_err();
    assert!(matches!(&fault, InitFault::Saved { path } if *path == beside), "{fault}");
    assert!(!log.dir.exists());
    // The backup is older than what was told last; with what was saved it is whole.
    fs::rename(&copy, &log.dir).unwrap();
    assert!(matches!(log.try_open().map(|_| ()), Err(OpenFault::Saved { .. })));
    fs::rename(segment_saved, segment).unwrap();
    fs::rename(beside.join("handles"), log.dir.join("handles")).unwrap();
    // The state may be there too; the backup's is as good, for it only grew.
    fs::remove_dir_all(beside).unwrap();
    holds(&log, &told);
}

#[tokio::test]
async fn what_is_lost_is_noticed_without_a_question() {
    let log = TestLog::made();
    let (querylog, _) = answered(&log).await;
    fs::rename(log.dir.join("lock"), log.dir.join("elsewhere")).unwrap();
    while querylog.health().poisoned.is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_removed_older_segment_is_noticed() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let mut number = 0;
    while querylog.health().segments < 3 {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        querylog.conclude(ticket, answer(jumpgate_catalogue::Verdict::No)).await.unwrap();
        number += 1;
    }
    let gone = log.segment(0);
    fs::rename(&gone, log.dir.join("elsewhere")).unwrap();
    let why = stopped(&querylog).await;
    assert!(why.starts_with(gone.to_str().unwrap()) && why.contains("removed or renamed"), "{why}");
    // Nothing is promised any more, and what goes next is still saved.
    assert!(querylog.promise(0, &[0; 32]).is_err());
    fs::remove_file(log.dir.join("handles")).unwrap();
    while !log.dir.join("handles.saved").exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_removed_state_is_saved_and_can_be_put_back() {
    let log = TestLog::made();
    let (querylog, told) = answered(&log).await;
    let state = log.dir.join("tree/state");
    fs::remove_file(&state).unwrap();
    stopped(&querylog).await;
    let why = refused(&querylog).await;
    assert!(why.contains("tree/state was removed or changed"), "{why}");
    drop(querylog);
    assert!(matches!(log.try_open().map(|_| ()), Err(OpenFault::Saved { .. })));
    fs::rename(with_ending(&state), state).unwrap();
    holds(&log, &told);
}

#[tokio::test]
async fn a_state_whose_folder_is_gone_is_saved_beside_the_log() {
    let log = TestLog::made();
    let (querylog, told) = answered(&log).await;
    let tree = log.dir.join("tree");
    fs::rename(&tree, log.dir.join("elsewhere")).unwrap();
    stopped(&querylog).await;
    let saved = with_ending(&log.dir).join("state");
    let why = refused(&querylog).await;
    assert!(why.contains(saved.to_str().unwrap()), "{why}");
    drop(querylog);
    assert!(log.try_open().is_err());
    let _ = fs::remove_dir_all(&tree);
    fs::rename(log.dir.join("elsewhere"), &tree).unwrap();
    fs::rename(&saved, tree.join("state")).unwrap();
    fs::remove_dir(with_ending(&log.dir)).unwrap();
    holds(&log, &told);
}
