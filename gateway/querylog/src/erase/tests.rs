//! An erased subject is unreadable for good, what is kept of him is found again, and an erasure
//! that was cut off is repeated whole.

use jumpgate_catalogue::Verdict;

use super::*;
use crate::fields::FieldsFault;
use crate::kind::Kind;
use crate::reader::Sealer;
use crate::receipt::Receipt;
use crate::testing::{Question, TestLog, answer, records};
use crate::verify::verify;

fn kept(from: i32, until: i32) -> KeptInterval {
    KeptInterval { attribute: "birth-date".to_owned(), from, until }
}

async fn ask(querylog: &QueryLog, number: u64) -> u64 {
    let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
    querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap().index()
}

#[tokio::test]
async fn an_erased_subject_is_unreadable_and_what_is_kept_is_found_by_whoever_names_him() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let mut answered = Vec::new();
    for number in 0..3 {
        answered.push(ask(&querylog, number).await);
    }
    let (question, other) = (Question::new(1), Question::new(2));
    let (subject, other) = (question.header().subject, other.header().subject);
    let number = querylog.known_subject(&subject).unwrap();
    assert!(querylog.has_subject(number));
    assert_eq!(querylog.kept_interval(&subject, "birth-date"), None);
    querylog.erase(&subject, &[kept(-4, 20)], "a, b").await.unwrap().unwrap();
    let gone = |querylog: &QueryLog| {
        assert_eq!(querylog.known_subject(&subject), None);
        assert!(!querylog.has_subject(number));
        assert_eq!(querylog.kept_interval(&subject, "birth-date"), Some(kept(-4, 20)));
        assert_eq!(querylog.kept_interval(&subject, "residence"), None);
        assert_eq!(querylog.kept_interval(&other, "birth-date"), None);
    };
    gone(&querylog);
    while querylog.health().published_entries < querylog.health().entries {
        tokio::task::yield_now().await;
    }
    assert_eq!(querylog.receipt(answered[1]).unwrap(), Receipt::Erased);
    assert!(matches!(querylog.receipt(answered[2]).unwrap(), Receipt::Proven(_)));
    assert!(querylog.erase(&subject, &[], "a, b").await.unwrap().is_none(), "he is not there");
    querylog.close().await.unwrap();
    let report = verify(&log.dir, Some(&log.keys)).unwrap();
    assert_eq!(report.fields_erased, 2);
    let sealer = Sealer::open(&log.dir, &log.keys).unwrap();
    let all = records(&log.dir);
    let erased = all.iter().find(|it| it.entry.kind == Kind::Act(Act::Erase)).unwrap();
    assert_eq!(erased.entry.pseudonym, None);
    let opened = |kind| all.iter().filter(move |it| it.entry.kind == kind);
    let opened: Vec<_> = opened(Kind::Answer).map(|it| sealer.open_fields(it)).collect();
    assert!(matches!(opened[1], Err(FieldsFault::Erased)), "{:?}", opened[1]);
    assert!(opened[0].is_ok() && opened[2].is_ok());

    // Met again he is another one, and can be erased again; what was kept last counts.
    let (querylog, _) = log.open();
    gone(&querylog);
    ask(&querylog, 1).await;
    assert_ne!(querylog.known_subject(&subject), Some(number));
    querylog.erase(&subject, &[kept(3, 20)], "a, b").await.unwrap().unwrap();
    querylog.close().await.unwrap();
    let (querylog, _) = log.open();
    assert_eq!(querylog.kept_interval(&subject, "birth-date"), Some(kept(3, 20)));
    // A corrected record is one of which nothing was told.
    querylog.rectified(&subject, "civil-registry", "birth-date", "a, b").await.unwrap();
    querylog.close().await.unwrap();
    let (querylog, _) = log.open();
    let nothing = kept(i32::MIN, i32::MAX);
    assert_eq!(querylog.kept_interval(&subject, "birth-date"), Some(nothing));
    querylog.close().await.unwrap();
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn an_erasure_whose_entry_cannot_be_written_erases_nothing() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    ask(&querylog, 1).await;
    let question = Question::new(1);
    let subject = question.header().subject;
    log.faults.fail_sync_after(0);
    let fault = querylog.erase(&subject, &[kept(0, 9)], "a, b").await.unwrap_err();
    assert!(matches!(fault, NotErased::Unavailable(_)), "{fault}");
    drop(querylog);
    let (querylog, _) = log.open();
    assert!(querylog.known_subject(&subject).is_some());
    querylog.erase(&subject, &[kept(0, 9)], "a, b").await.unwrap().unwrap();
    assert_eq!(querylog.kept_interval(&subject, "birth-date"), Some(kept(0, 9)));
    querylog.close().await.unwrap();
}

#[tokio::test]
async fn an_erasure_that_a_power_cut_left_half_done_is_finished_by_the_next_start() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    ask(&querylog, 1).await;
    querylog.close().await.unwrap();
    let path = log.dir.join(HANDLES_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = handles::row_offset(0) as usize;
    // The head of the row, and nothing else.
    bytes[at..at + 4].copy_from_slice(&[2, 0, 0, 0]);
    std::fs::write(&path, bytes).unwrap();
    let question = Question::new(1);
    let (querylog, _) = log.open();
    assert_eq!(querylog.known_subject(&question.header().subject), None);
    querylog.close().await.unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes[at + 4..at + handles::ROW_BYTES - 4].iter().all(|byte| *byte == 0));
    assert_eq!(verify(&log.dir, Some(&log.keys)).unwrap().fields_erased, 2);
}

#[tokio::test]
async fn a_row_that_cannot_be_emptied_stops_the_log() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    ask(&querylog, 1).await;
    let question = Question::new(1);
    // The sync of the entry's batch works, that of the row does not.
    log.faults.fail_sync_after(1);
    let fault = querylog.erase(&question.header().subject, &[], "a, b").await.unwrap_err();
    assert!(matches!(fault, NotErased::Disk(_)), "{fault}");
    assert!(querylog.ask(Question::new(2).header()).await.is_err());
    drop(querylog);
    let (querylog, _) = log.open();
    ask(&querylog, 1).await;
    querylog.close().await.unwrap();
    verify(&log.dir, Some(&log.keys)).unwrap();
}

#[tokio::test]
async fn a_tombstone_that_was_changed_keeps_the_log_from_opening() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    ask(&querylog, 1).await;
    let question = Question::new(1);
    querylog.erase(&question.header().subject, &[kept(0, 9)], "a, b").await.unwrap();
    querylog.close().await.unwrap();
    let path = log.dir.join(HANDLES_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let row = &mut bytes[handles::row_offset(1) as usize..][..handles::ROW_BYTES];
    assert_eq!(row[0], 3);
    row[60] ^= 1;
    let crc = crc32c::crc32c(&row[..handles::ROW_BYTES - 4]);
    row[handles::ROW_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let fault = log.try_open().map(drop).unwrap_err().to_string();
    assert!(fault.contains("a tombstone does not open"), "{fault}");
}
