//! Every entry is found by its index, with few reads, and none that is not durable.

use jumpgate_catalogue::Verdict;

use super::*;
use crate::testing::{Question, TestLog, answer};

#[tokio::test]
async fn every_entry_is_found_in_any_order() {
    let mut log = TestLog::made();
    // Segments with several landmarks.
    log.options.segment_bytes = 1 << 20;
    let (querylog, _) = log.open();
    for number in 0..1500 {
        let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
        querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    }
    let records = log.records();
    assert_eq!(records.len(), 3001);
    let steps = [1, 7, 3000];
    for (start, step) in [(0, steps[0]), (2999, steps[1]), (1, steps[2])] {
        for turn in 0..3001 {
            let index = (start + turn * step) % 3001;
            let leaf = querylog.leaf(index as u64).unwrap().unwrap();
            let record = &records[index];
            assert_eq!(leaf.index, record.index);
            assert_eq!(leaf.leaf_hash, record.leaf_hash);
            assert_eq!(leaf.kind, record.entry.kind);
            assert_eq!(leaf.caller.as_deref(), record.entry.caller.as_deref());
            assert_eq!((leaf.query_id, leaf.ask), (record.entry.query_id, record.entry.ask));
        }
    }
    assert_eq!(querylog.leaf(3001).unwrap(), None);
    assert_eq!(querylog.leaf(u64::MAX).unwrap(), None);
    querylog.close().await.unwrap();
}

#[test]
fn a_landmark_is_the_nearest_before_the_index() {
    let mut state = State { firsts: vec![0, 100], landmarks: BTreeMap::new() };
    let mark = |index, offset| Landmark { index, offset };
    assert_eq!(state.nearest(99), (0, mark(0, 64)));
    assert_eq!(state.nearest(100), (100, mark(100, 64)));
    state.remember(100, &[mark(120, 300), mark(140, 600)]);
    state.remember(100, &[mark(120, 300), mark(160, 900)]);
    assert_eq!(state.landmarks[&100].len(), 3);
    assert_eq!(state.nearest(119), (100, mark(100, 64)));
    assert_eq!(state.nearest(120), (100, mark(120, 300)));
    assert_eq!(state.nearest(1000), (100, mark(160, 900)));
}

#[test]
fn landmarks_are_bounded() {
    let mut state = State { firsts: vec![0], landmarks: BTreeMap::new() };
    for first in 0..1000 {
        state.remember(first, &[Landmark { index: first, offset: 64 }]);
    }
    assert_eq!(state.landmarks.len(), SEGMENTS_REMEMBERED_MAX);
    assert!(state.landmarks.contains_key(&999));
}

#[tokio::test]
async fn damage_under_a_running_log_is_named() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    drop(querylog.ask(Question::new(1).header()).await.unwrap());
    let path = log.segment(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let fault = querylog.leaf(0).unwrap_err();
    assert!(matches!(&fault, LeafFault::Damaged { offset: 64, .. }), "{fault}");
}
