//! What is read again is what was written, and a snapshot is taken only for what it is of.

use jumpgate_catalogue::{RefusalCode, Verdict};

use super::*;
use crate::entry::LeafHash;
use crate::kind::Kind;
use crate::testing::{Question, TestLog, answer};
use crate::ticket::RefusedHeader;

const VERDICTS: [Verdict; 3] = [Verdict::Yes, Verdict::No, Verdict::Undetermined];

/// Asks and answers `count` questions and refuses one.
async fn ask(querylog: &QueryLog, count: u64) {
    for number in 0..count {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        let verdict = VERDICTS[number as usize % 3];
        querylog.conclude(ticket, answer(verdict)).await.unwrap();
    }
    let question = Question::new(0);
    let refused = RefusedHeader { question: question.header(), code: RefusalCode::NotGranted };
    querylog.refuse(refused).await.unwrap();
}

/// Kind, subject and verdict of the entries in a range.
fn read(
    querylog: &QueryLog,
    from: u64,
    until: u64,
) -> Vec<(u64, Kind, Option<u64>, Option<Verdict>)> {
    let mut read = Vec::new();
    querylog
        .replay(from, until, |past| {
            let verdict = past.verdict();
            read.push((past.index, past.entry.kind, past.subject_number(), verdict));
        })
        .unwrap();
    read
}

#[tokio::test]
async fn entries_are_read_again_with_subject_and_verdict_over_segments_and_a_restart() {
    let mut log = TestLog::made();
    log.options.segment_bytes = 1 << 20;
    let (querylog, _) = log.open();
    ask(&querylog, 700).await;
    let subject = |number: u64| {
        let question = Question::new(number);
        querylog.subject_number(&question.header().subject).unwrap()
    };
    let numbers: Vec<u64> = (0..3).map(subject).collect();
    let all = read(&querylog, 0, u64::MAX);
    assert_eq!(all.len() as u64, querylog.durable_entries());
    assert_eq!(all.len(), 1402, "with the start");
    assert_eq!(all[0], (0, Kind::Start, None, None));
    for number in 0..3 {
        let (ask, closing) = (1 + 2 * number, 2 + 2 * number);
        let subject = Some(numbers[number]);
        assert_eq!(all[ask], (ask as u64, Kind::Ask, subject, None));
        assert_eq!(all[closing], (closing as u64, Kind::Answer, subject, Some(VERDICTS[number])));
    }
    assert_eq!(all[1401], (1401, Kind::Refused, Some(numbers[0]), None));
    assert!(querylog.health().segments > 1);
    for (from, until) in [(5, 6), (0, 1), (699, 1402), (1401, 1402), (1402, 9999), (7, 7)] {
        let part = read(&querylog, from, until);
        let end = until.min(1402) as usize;
        assert_eq!(part, all[(from as usize).min(end)..end], "{from} to {until}");
    }
    querylog.close().await.unwrap();
    let (querylog, _) = log.open();
    assert_eq!(read(&querylog, 0, 1402), all);
    let known = querylog.subject_number(&Question::new(2).header().subject).unwrap();
    assert_eq!(known, numbers[2], "for the life of the log");
}

#[tokio::test]
async fn entries_since_a_time_are_all_found_and_few_before_it() {
    let mut log = TestLog::made();
    log.options.segment_bytes = 1 << 20;
    let (querylog, _) = log.open();
    ask(&querylog, 2000).await;
    let firsts = querylog.shared().finder.firsts();
    assert!(firsts.len() > 2, "{firsts:?}");
    let mut times = Vec::new();
    querylog.replay(0, u64::MAX, |past| times.push(past.entry.time_ms)).unwrap();
    for since_ms in [0, times[1], times[2500], times[4000], times[4000] + 1, u64::MAX] {
        let first = times.iter().position(|at| *at >= since_ms).unwrap_or(times.len()) as u64;
        let found = querylog.index_since(since_ms).unwrap();
        assert!(found <= first, "{found} is after {first}");
        let between = firsts.iter().filter(|at| (found + 1..first).contains(*at)).count();
        assert_eq!(between, 0, "not more than a segment before");
    }
}

#[tokio::test]
async fn a_snapshot_comes_back_and_one_of_anything_else_does_not() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    assert_eq!(querylog.kept_snapshot().unwrap(), None);
    assert!(matches!(querylog.keep_snapshot(0, |_| {}), Err(SnapshotUnkept::Empty)));
    ask(&querylog, 5).await;
    let content = b"SUBJECT 7 was asked about".to_vec();
    querylog.keep_snapshot(6, |bytes| bytes.extend_from_slice(&content)).unwrap();
    assert_eq!(querylog.kept_snapshot().unwrap(), Some((6, content.clone())));
    let path = log.dir.join(snapshot::SNAPSHOT_FILE);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(7).any(|part| part == b"SUBJECT"), "it is encrypted");
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert_eq!(querylog.kept_snapshot().unwrap(), None, "byte {place}");
        std::fs::write(&path, &bytes[..place]).unwrap();
        assert_eq!(querylog.kept_snapshot().unwrap(), None, "{place} bytes");
    }
    let shared = querylog.shared();
    let of = |covered, leaf_hash: LeafHash| {
        let write = |bytes: &mut Vec<u8>| bytes.extend_from_slice(&content);
        let log_id = shared.finder.log_id();
        let sealed = snapshot::seal(log_id, covered, &leaf_hash, write, &shared.cipher);
        std::fs::write(&path, sealed.unwrap()).unwrap();
        querylog.kept_snapshot().unwrap()
    };
    let fifth = querylog.leaf(5).unwrap().unwrap().leaf_hash;
    assert!(of(6, fifth).is_some());
    assert_eq!(of(7, fifth), None, "of another entry");
    assert_eq!(of(0, fifth), None);
    assert_eq!(of(9999, fifth), None, "beyond the end");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(querylog.kept_snapshot().unwrap(), None, "what cannot be read is passed over");
}

#[tokio::test]
async fn damage_is_told_and_not_passed_over() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    ask(&querylog, 5).await;
    let segment = log.segment(0);
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = crate::frame::used_bytes(&bytes) / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let fault = querylog.replay(0, u64::MAX, |_| {}).unwrap_err();
    assert!(matches!(fault, ReadFault::Damaged { .. }), "{fault}");
}
