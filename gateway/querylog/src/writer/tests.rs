//! The path of a query: what is on record, when, and what happens when it cannot be.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use jumpgate_catalogue::{CallerId, Fault, FaultCode, Reason, RefusalCode, Verdict};
use tokio::task::{JoinHandle, JoinSet};

use crate::testing::{NEW_YEAR_MS, Question, TestLog, answer, records};
use crate::*;

fn kinds(records: &[Record]) -> Vec<Kind> {
    records.iter().map(|record| record.entry.kind).collect()
}

/// Lets other threads go on until a condition holds.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}

/// Submits an act and returns once the writer is held in its sync.
async fn hold_in_sync(
    log: &TestLog,
    querylog: &QueryLog,
) -> JoinHandle<Result<Recorded, LogUnavailable>> {
    until(|| log.prepared()).await;
    log.faults.hold_syncs();
    let querylog = querylog.clone();
    let act = tokio::spawn(async move { querylog.act(Act::Config, &Details::new()).await });
    until(|| log.faults.holds_a_sync()).await;
    act
}

#[tokio::test]
async fn a_question_and_its_answer_are_on_record_and_open_with_the_keys() {
    let log = TestLog::made();
    let (querylog, opened) = log.open();
    assert_eq!((opened.entries, opened.asks_abandoned, opened.interrupted), (1, 0, false));
    let question = Question::new(1);
    let ticket = querylog.ask(question.header()).await.unwrap();
    assert_eq!(ticket.index(), 1);
    let recorded = querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    assert_eq!(recorded.index(), 2);
    assert!(recorded.time_ms() >= NEW_YEAR_MS);
    let stopped = querylog.close().await.unwrap();
    assert_eq!(stopped.index(), 3);

    let records = log.records();
    assert_eq!(kinds(&records), [Kind::Start, Kind::Ask, Kind::Answer, Kind::Stop]);
    let (ask, closing) = (&records[1], &records[2]);
    assert_eq!(closing.leaf_hash, *recorded.leaf_hash());
    assert_eq!(closing.entry.ask, Some(1));
    assert_eq!(ask.entry.query_id, Some(question.query_id));
    assert_eq!(ask.entry.adapter, Some(question.digests.adapter));
    assert_eq!(ask.entry.pseudonym.unwrap().epoch, 224);
    assert_eq!(ask.entry.pseudonym, closing.entry.pseudonym);

    let sealer = Sealer::open(&log.dir, &log.keys).unwrap();
    let fields = sealer.open_fields(ask).unwrap();
    assert_eq!(fields.text(FieldId::Case), Some("CASE-NUMBER-000001"));
    assert_eq!(fields.text(FieldId::Operator), Some("OPERATOR-NAME"));
    assert_eq!(fields.date(FieldId::AsOf), Some(question.as_of));
    assert_eq!(fields.value(FieldId::Parameters).unwrap()[..7], *b"\xa1\x65years");
    assert_eq!(fields.verdict(), None);
    let fields = sealer.open_fields(closing).unwrap();
    assert_eq!(fields.verdict(), Some(Verdict::Yes));
    assert_eq!(fields.reason(), None);
    assert_eq!(fields.digest(FieldId::ReplyCommitment), Some([7; 32]));
    assert_eq!(fields.digest(FieldId::RequestToken), Some([9; 32]));
    let report = verify(&log.dir, Some(&log.keys)).unwrap();
    assert_eq!((report.entries, report.fields_opened, report.stopped), (4, 2, true));
}

#[tokio::test]
async fn refusals_and_acts_have_one_entry_each() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let question = Question::new(1);
    let header = RefusedHeader { question: question.header(), code: RefusalCode::NotGranted };
    assert_eq!(querylog.refuse(header).await.unwrap().index(), 1);
    let details = Details::new().with("department", "civil-registry").with("switched", "off");
    querylog.act(Act::Config, &details).await.unwrap();
    let ticket = querylog.ask(question.header()).await.unwrap();
    let fault = Fault::before_effect(FaultCode::DepartmentUnreachable);
    let closing = Closing::Failed { fault, reply_commitment: Some([8; 32]) };
    querylog.conclude(ticket, closing).await.unwrap();
    querylog.close().await.unwrap();

    let records = log.records();
    let config = Kind::Act(Act::Config);
    let expected = [Kind::Start, Kind::Refused, config, Kind::Ask, Kind::Failed, Kind::Stop];
    assert_eq!(kinds(&records), expected);
    assert_eq!(records[1].entry.code.as_deref(), Some("not-granted"));
    assert_eq!(records[2].entry.details.as_ref().unwrap().find("switched"), Some("off"));
    assert_eq!(records[4].entry.code.as_deref(), Some("department-unreachable"));
    let sealer = Sealer::open(&log.dir, &log.keys).unwrap();
    let failed = sealer.open_fields(&records[4]).unwrap();
    assert_eq!(failed.retry_is_safe(), Some(true));
    assert_eq!(failed.digest(FieldId::ReplyCommitment), Some([8; 32]));
    // The same subject at the same department has the same pseudonym, refused or not.
    assert_eq!(records[1].entry.pseudonym, records[3].entry.pseudonym);
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_syncs_and_every_question_is_closed_once() {
    const TASKS: u64 = 64;
    const EACH: u64 = 8;
    // What fits into a batch of 32 KiB.
    const TASKS_IN_BATCH: u64 = 32;
    let log = TestLog::made();
    let (querylog, _) = log.open();
    // While a first sync is held the tasks queue, so that the batch after it must be shared.
    let first = hold_in_sync(&log, &querylog).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let querylog = querylog.clone();
        tasks.spawn(async move {
            for number in 0..EACH {
                let question = Question::new(task * EACH + number);
                let ticket = querylog.ask(question.header()).await.unwrap();
                let ask = ticket.index();
                let recorded = querylog.conclude(ticket, answer(Verdict::No)).await.unwrap();
                assert!(recorded.index() > ask);
            }
        });
    }
    until(|| querylog.health().queue_entries as u64 == TASKS).await;
    assert_eq!(querylog.health().durable_entries, 1);
    log.faults.release_syncs();
    first.await.unwrap().unwrap();
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    let metrics = querylog.metrics();
    assert_eq!(metrics.entries, 2 * TASKS * EACH + 1);
    assert!(metrics.batch_entries_max >= TASKS_IN_BATCH, "{metrics:?}");
    assert!(metrics.batches < metrics.entries / 2, "{metrics:?}");
    assert_eq!(querylog.health().handles as u64, TASKS * EACH);
    querylog.close().await.unwrap();
    let report = verify(&log.dir, Some(&log.keys)).unwrap();
    assert_eq!(report.kinds[&Kind::Ask], TASKS * EACH);
    assert_eq!(report.kinds[&Kind::Answer], TASKS * EACH);
    assert!(report.segments > 3, "the test is to cross segments: {}", report.segments);
}

#[tokio::test]
async fn syncs_keep_their_distance() {
    const ACTS: u32 = 5;
    let mut log = TestLog::made();
    log.options.sync_distance = Duration::from_millis(20);
    let (querylog, _) = log.open();
    let began = Instant::now();
    for _ in 0..ACTS {
        querylog.act(Act::Config, &Details::new()).await.unwrap();
    }
    assert!(began.elapsed() >= log.options.sync_distance * (ACTS - 1), "{:?}", began.elapsed());
    assert_eq!(querylog.metrics().batches, u64::from(ACTS));
}

#[tokio::test]
async fn a_dropped_ticket_closes_its_question_as_failed() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let question = Question::new(1);
    let ticket = querylog.ask(question.header()).await.unwrap();
    let query = tokio::spawn(async move {
        let _held = ticket;
        panic!("a bug in the query's task");
    });
    assert!(query.await.unwrap_err().is_panic());
    querylog.close().await.unwrap();
    let records = log.records();
    assert_eq!(kinds(&records), [Kind::Start, Kind::Ask, Kind::Failed, Kind::Stop]);
    assert_eq!(records[2].entry.code.as_deref(), Some("gateway-internal"));
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn an_ask_cancelled_after_it_was_submitted_is_closed_as_failed() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let question = Question::new(1);
    {
        let mut ask = Box::pin(querylog.ask(question.header()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(ask.as_mut().poll(&mut context), Poll::Pending | Poll::Ready(Ok(_))));
    }
    querylog.close().await.unwrap();
    assert_eq!(kinds(&log.records()), [Kind::Start, Kind::Ask, Kind::Failed, Kind::Stop]);
}

#[tokio::test]
async fn a_conclude_cancelled_after_its_first_poll_is_on_record() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let question = Question::new(1);
    let ticket = querylog.ask(question.header()).await.unwrap();
    {
        let mut conclude = Box::pin(querylog.conclude(ticket, answer(Verdict::Yes)));
        let mut context = Context::from_waker(Waker::noop());
        let _ = conclude.as_mut().poll(&mut context);
    }
    querylog.close().await.unwrap();
    assert_eq!(kinds(&log.records()), [Kind::Start, Kind::Ask, Kind::Answer, Kind::Stop]);
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let (first, second) = (Question::new(1), Question::new(2));
    let ticket = querylog.ask(first.header()).await.unwrap();
    let open = querylog.ask(second.header()).await.unwrap();
    log.faults.fail_sync_after(0);
    let why = querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap_err();
    let text = why.to_string();
    assert!(text.contains("cannot sync") && text.contains(".seg") && text.contains("told to fail"));
    // The disk works again, and nothing is tried again.
    assert_eq!(querylog.ask(Question::new(3).header()).await.map(drop), Err(why.clone()));
    assert_eq!(querylog.conclude(open, answer(Verdict::No)).await, Err(why.clone()));
    assert_eq!(querylog.act(Act::Config, &Details::new()).await, Err(why.clone()));
    querylog.coalesce(None, RefusalCode::Unauthenticated);
    let health = querylog.health();
    assert!(health.poisoned.unwrap().contains("told to fail"));
    assert_eq!(health.durable_entries, 3);
    assert!(querylog.leaf(3).unwrap().is_none(), "the entry is not known to be durable");
    assert_eq!(querylog.clone().close().await, Err(why));
    drop(querylog);

    // The entry may or may not have reached the disk. Here it has, and the next start finds it.
    let (querylog, opened) = log.open();
    assert_eq!((opened.asks_abandoned, opened.outcomes.len()), (1, 1));
    assert!(opened.interrupted);
    querylog.close().await.unwrap();
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn a_failed_write_is_final_whichever_it_is() {
    // For a first subject the table grows by a piece, the row is written, and then the frame.
    for writes in 0..3 {
        let log = TestLog::made();
        let (querylog, _) = log.open();
        until(|| log.prepared()).await;
        querylog.act(Act::Config, &Details::new()).await.unwrap();
        // The tree's writes are not the ones that are meant.
        until(|| querylog.health().published_entries == querylog.health().entries).await;
        log.faults.fail_write_after(writes);
        assert!(querylog.ask(Question::new(1).header()).await.is_err(), "{writes} writes");
        assert!(querylog.ask(Question::new(2).header()).await.is_err());
        drop(querylog);
        let (querylog, opened) = log.open();
        assert_eq!((opened.asks_abandoned, opened.handles), (0, 0), "{writes} writes");
        querylog.close().await.unwrap();
        verify(&log.dir, Some(&log.keys)).unwrap();
    }
}

#[tokio::test]
async fn whoever_waits_when_the_log_stops_is_told() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let first = hold_in_sync(&log, &querylog).await;
    log.faults.fail_sync_after(0);
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let querylog = querylog.clone();
        tasks.spawn(async move { querylog.ask(Question::new(number).header()).await.map(drop) });
    }
    until(|| querylog.health().queue_entries == 20).await;
    log.faults.release_syncs();
    assert!(matches!(first.await.unwrap(), Err(LogUnavailable::Poisoned { .. })));
    while let Some(joined) = tasks.join_next().await {
        assert!(matches!(joined.unwrap(), Err(LogUnavailable::Poisoned { .. })));
    }
}

#[tokio::test]
async fn an_ask_that_is_only_written_returns_before_its_sync() {
    let mut log = TestLog::made();
    log.options.ask = AskMode::Written;
    let (querylog, _) = log.open();
    // The subject is known, so that no row has to be synced first.
    let question = Question::new(1);
    drop(querylog.ask(question.header()).await.unwrap());
    until(|| querylog.health().durable_entries == 3).await;
    log.faults.hold_syncs();
    let ticket = querylog.ask(question.header()).await.unwrap();
    let health = querylog.health();
    assert_eq!((health.entries, health.durable_entries), (4, 3));
    // Neither is the closing entry released before its own sync.
    let mut conclude = Box::pin(querylog.conclude(ticket, answer(Verdict::Yes)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(conclude.as_mut().poll(&mut context).is_pending());
    log.faults.release_syncs();
    assert_eq!(conclude.await.unwrap().index(), 4);
}

#[tokio::test]
async fn a_full_queue_makes_asks_wait_and_never_a_closing_entry() {
    let mut log = TestLog::made();
    log.options.queue_entries_max = 4;
    let (querylog, _) = log.open();
    let (one, two, three) = (Question::new(1), Question::new(2), Question::new(3));
    let first = querylog.ask(one.header()).await.unwrap();
    until(|| querylog.health().queue_places_free == 3).await;
    let second = querylog.ask(two.header()).await.unwrap();
    until(|| querylog.health().queue_places_free == 2).await;
    let third = querylog.ask(three.header()).await.unwrap();
    until(|| querylog.health().queue_places_free == 1).await;
    // One place is left and an ask takes two.
    let four = Question::new(4);
    let mut waits = Box::pin(querylog.ask(four.header()));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut context).is_pending());
    querylog.conclude(first, answer(Verdict::Yes)).await.unwrap();
    let fourth = waits.await.unwrap();
    for ticket in [second, third, fourth] {
        querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    }
    querylog.close().await.unwrap();
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn coalesced_refusals_are_written_within_their_window_and_before_stop() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let caller: CallerId = "one-window".parse().unwrap();
    for _ in 0..5 {
        querylog.coalesce(Some(&caller), RefusalCode::CallerQuota);
    }
    // Nothing else is submitted: the writer wakes by itself.
    until(|| querylog.health().durable_entries > 1).await;
    querylog.coalesce(None, RefusalCode::Unauthenticated);
    querylog.close().await.unwrap();
    let records = log.records();
    assert_eq!(records.last().unwrap().entry.kind, Kind::Stop);
    let coalesced: Vec<_> =
        records.iter().filter(|record| record.entry.kind == Kind::Coalesced).collect();
    let of = |code: &str| {
        let of_code = coalesced.iter().filter(|record| record.entry.code.as_deref() == Some(code));
        of_code.map(|record| record.entry.count.unwrap()).sum::<u64>()
    };
    assert_eq!((of("caller-quota-exhausted"), of("unauthenticated")), (5, 1));
    assert_eq!(coalesced[0].entry.caller.as_deref(), Some("one-window"));
    assert_eq!(coalesced.last().unwrap().entry.caller, None);
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn an_act_too_large_for_a_leaf_is_refused_and_nothing_else() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let details = Details::new().with("note", "x".repeat(5000));
    let why = querylog.act(Act::Declare, &details).await.unwrap_err();
    assert!(why.to_string().contains("entry_bytes_max is 4096"), "{why}");
    let case = "x".repeat(5000);
    let question = Question::new(1);
    let header = AskHeader { case: Some(&case), ..question.header() };
    let why = querylog.ask(header).await.map(drop).unwrap_err();
    assert!(why.to_string().contains("sealed_bytes_max is 4096"), "{why}");
    drop(querylog.ask(question.header()).await.unwrap());
    querylog.close().await.unwrap();
    assert_eq!(log.records().len(), 4);
}

#[tokio::test]
async fn a_full_handle_table_refuses_new_subjects_only() {
    let mut log = TestLog::made();
    log.options.handles_max = 1;
    let (querylog, _) = log.open();
    let question = Question::new(1);
    drop(querylog.ask(question.header()).await.unwrap());
    let why = querylog.ask(Question::new(2).header()).await.map(drop).unwrap_err();
    assert_eq!(why, LogUnavailable::HandlesFull { max: 1 });
    drop(querylog.ask(question.header()).await.unwrap());
    querylog.close().await.unwrap();
}

#[tokio::test]
async fn after_close_every_clone_is_closed() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let clone = querylog.clone();
    querylog.close().await.unwrap();
    let ask = clone.ask(Question::new(1).header()).await.map(drop);
    assert_eq!(ask, Err(LogUnavailable::Closed));
    assert_eq!(clone.close().await, Err(LogUnavailable::Closed));
}

#[tokio::test]
async fn all_files_together_without_keys_show_no_person_and_no_verdict() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let reasons = [Some(Reason::NoRecord), None, Some(Reason::RecordSuspended)];
    let verdicts = [Verdict::Undetermined, Verdict::Yes, Verdict::Undetermined, Verdict::No];
    let mut handles = Vec::new();
    for (number, verdict) in (0..).zip(verdicts) {
        let question = Question::new(number);
        let ticket = querylog.ask(question.header()).await.unwrap();
        let Closing::Answer { as_of, next_as_of, reply_commitment, .. } = answer(verdict) else {
            unreachable!("`answer` makes answers")
        };
        let reason = reasons.get(number as usize).copied().flatten();
        let release = None;
        let closing =
            Closing::Answer { verdict, reason, as_of, next_as_of, reply_commitment, release };
        querylog.conclude(ticket, closing).await.unwrap();
    }
    querylog.close().await.unwrap();
    let sealer = Sealer::open(&log.dir, &log.keys).unwrap();
    let records = log.records();
    for record in records.iter().filter(|record| record.entry.kind == Kind::Ask) {
        let fields = sealer.open_fields(record).unwrap();
        handles.push(fields.value(FieldId::SubjectHandle).unwrap().to_vec());
    }

    let mut files = Vec::new();
    for name in ["handles", "origin", "lock"] {
        files.extend(std::fs::read(log.dir.join(name)).unwrap());
    }
    for item in std::fs::read_dir(log.dir.join("segments")).unwrap() {
        files.extend(std::fs::read(item.unwrap().path()).unwrap());
    }
    let shows = |bytes: &[u8]| files.windows(bytes.len()).any(|window| window == bytes);
    assert!(shows(b"civil-registry/age-at-least@1"), "the search itself works");
    let secrets: [&[u8]; 8] = [
        b"SUBJECT-",
        b"CASE-NUMBER",
        b"OPERATOR",
        b"undetermined",
        b"no-record",
        b"2026-01-01",
        b"years",
        &[7; 32],
    ];
    for secret in secrets {
        assert!(!shows(secret), "{}", String::from_utf8_lossy(secret));
    }
    assert_eq!(handles.len(), 4);
    for handle in handles {
        assert!(!shows(&handle), "a handle stands in clear");
    }
    // Nor does the length of a record tell its verdict.
    let of_answers = records.iter().filter(|record| record.entry.kind == Kind::Answer);
    let mut lengths: Vec<_> =
        of_answers.map(|record| (record.entry_bytes.len(), record.sealed.len())).collect();
    lengths.dedup();
    assert_eq!(lengths.len(), 1);
    // And no two salts are alike: equal answers have different commitments.
    let mut commitments: Vec<_> = records.iter().filter_map(|record| record.entry.fields).collect();
    let count = commitments.len();
    commitments.sort_unstable();
    commitments.dedup();
    assert_eq!(commitments.len(), count);
}

#[tokio::test]
async fn the_same_subject_keeps_his_pseudonym_over_a_restart_and_not_over_a_quarter() {
    let log = TestLog::made();
    let question = Question::new(1);
    for now_ms in [NEW_YEAR_MS, NEW_YEAR_MS + 1000, NEW_YEAR_MS + 100 * 86_400_000] {
        log.clock.store(now_ms, std::sync::atomic::Ordering::Relaxed);
        let (querylog, _) = log.open();
        drop(querylog.ask(question.header()).await.unwrap());
        querylog.close().await.unwrap();
    }
    let asks = records(&log.dir).into_iter().filter(|record| record.entry.kind == Kind::Ask);
    let pseudonyms: Vec<_> = asks.map(|record| record.entry.pseudonym.unwrap()).collect();
    assert_eq!(pseudonyms[0], pseudonyms[1]);
    assert_eq!((pseudonyms[0].epoch, pseudonyms[2].epoch), (224, 225));
    assert_ne!(pseudonyms[0].value, pseudonyms[2].value);
}
