//! A disk that fills up, and a clock that steps back: no question is taken, those that are open
//! are closed, and it goes on by itself once the cause is gone.

use std::sync::atomic::Ordering::Relaxed;

use jumpgate_catalogue::Verdict;

use super::*;
use crate::queue::locked;
use crate::testing::{NEW_YEAR_MS, Question, TestLog, answer};
use crate::{OpenFault, QueryLog, verify};

async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        tokio::task::yield_now().await;
    }
}

async fn ask(querylog: &QueryLog, number: u64) -> Result<(), LogUnavailable> {
    let ticket = querylog.ask(Question::new(number).header()).await?;
    querylog.conclude(ticket, answer(Verdict::Yes)).await.map(|_| ())
}

#[tokio::test]
async fn no_question_is_taken_without_headroom_and_open_ones_are_closed() {
    let mut log = TestLog::made();
    log.options.publish_interval = std::time::Duration::from_millis(1);
    let ballast = log.dir.join(BALLAST_FILE);
    let min = log.options.headroom_bytes_min;
    let free = |bytes| *locked(&log.faults.free_bytes) = Some(bytes);
    free(u64::MAX);
    let (querylog, _) = log.open();
    until(|| querylog.health().has_ballast).await;
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), log.options.ballast_bytes);
    let open = querylog.ask(Question::new(0).header()).await.unwrap();

    free(min - 1);
    until(|| querylog.health().waiting_for.is_some()).await;
    let why = ask(&querylog, 1).await.unwrap_err();
    assert_eq!(why, LogUnavailable::NoHeadroom { free: min - 1, min });
    assert!(ballast.exists(), "the ballast is for worse times");
    querylog.conclude(open, answer(Verdict::Yes)).await.unwrap();

    free(min / 2 - 1);
    until(|| !querylog.health().has_ballast).await;
    assert!(!ballast.exists());
    // What the ballast gave is not room for questions.
    free(min);
    until(|| querylog.health().free_bytes == min).await;
    assert!(matches!(ask(&querylog, 2).await, Err(LogUnavailable::NoHeadroom { .. })));

    free(min + log.options.ballast_bytes);
    until(|| querylog.health().waiting_for.is_none()).await;
    assert!(ballast.exists());
    ask(&querylog, 3).await.unwrap();
    querylog.close().await.unwrap();
    let report = verify(&log.dir, Some(&log.keys)).unwrap();
    assert_eq!(report.kinds[&crate::Kind::Ask], 2);
}

#[tokio::test]
async fn a_start_on_a_full_disk_gives_up_the_ballast() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    until(|| querylog.health().has_ballast).await;
    querylog.close().await.unwrap();
    *locked(&log.faults.free_bytes) = Some(0);
    let (querylog, _) = log.open();
    assert!(!log.dir.join(BALLAST_FILE).exists());
    assert!(matches!(ask(&querylog, 1).await, Err(LogUnavailable::NoHeadroom { .. })));
    querylog.close().await.unwrap();
}

#[tokio::test]
async fn no_question_is_taken_while_the_clock_is_behind() {
    let log = TestLog::made();
    log.clock.store(NEW_YEAR_MS + 100_000, Relaxed);
    let (querylog, _) = log.open();
    ask(&querylog, 1).await.unwrap();
    let open = querylog.ask(Question::new(2).header()).await.unwrap();
    // A small step is a clock that is kept right.
    log.clock.store(NEW_YEAR_MS + 99_500, Relaxed);
    ask(&querylog, 3).await.unwrap();
    log.clock.store(NEW_YEAR_MS + 50_000, Relaxed);
    let why = ask(&querylog, 4).await.unwrap_err();
    assert!(matches!(why, LogUnavailable::ClockBack { back_ms: 49_900..=50_100 }), "{why}");
    assert_eq!(querylog.health().poisoned, None);
    // What is open is closed, and its time is not before that of the entries before it.
    querylog.conclude(open, answer(Verdict::Yes)).await.unwrap();
    log.clock.store(NEW_YEAR_MS + 100_100, Relaxed);
    ask(&querylog, 5).await.unwrap();
    querylog.close().await.unwrap();
    assert_eq!(verify(&log.dir, Some(&log.keys)).unwrap().warnings, []);
}

#[tokio::test]
async fn a_start_with_a_clock_that_is_behind_needs_a_word() {
    let log = TestLog::made();
    log.clock.store(NEW_YEAR_MS + 100_000, Relaxed);
    let (querylog, _) = log.open();
    querylog.close().await.unwrap();
    log.clock.store(NEW_YEAR_MS + 50_000, Relaxed);
    let fault = log.try_open().map(|_| ()).unwrap_err();
    let OpenFault::ClockBack { segment, back_ms } = &fault else { panic!("{fault}") };
    assert_eq!(*segment, log.segment(0));
    assert!((49_900..=50_100).contains(back_ms));
    assert!(fault.to_string().contains("--accept-clock"));

    let start = crate::StartDetails { accept_clock: true, ..crate::testing::start_details() };
    let (disk, options) = (log.disk.clone(), log.options.clone());
    let opened = QueryLog::open_on(disk, &log.dir, &log.keys, options, start, log.now_ms());
    let (querylog, _) = opened.unwrap();
    ask(&querylog, 1).await.unwrap();
    querylog.close().await.unwrap();
    let records = log.records();
    let details = records[2].entry.details.as_ref().unwrap();
    let back_ms: u64 = details.find("clock_back_ms").unwrap().parse().unwrap();
    assert!((49_900..=50_100).contains(&back_ms));
    // The word holds for later starts as well; and a clock that goes back once more is found.
    let (querylog, _) = log.open();
    querylog.close().await.unwrap();
    log.clock.store(NEW_YEAR_MS + 30_000, Relaxed);
    assert!(matches!(log.try_open().map(|_| ()), Err(OpenFault::ClockBack { .. })));
}
