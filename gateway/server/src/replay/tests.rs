use std::str::FromStr;

use jiff::civil::date;
use jumpgate_catalogue::{CallerId, PredicateId, QueryId, RefusalCode, Verdict};

use super::{Claim, Claimed, KEPT, Replays};
use crate::record::Kept;

const TOKEN: [u8; 32] = [1; 32];
const OTHER_TOKEN: [u8; 32] = [2; 32];
const NOW_MS: u64 = 1_800_000_000_000;

fn caller(name: &str) -> CallerId {
    CallerId::from_str(name).unwrap()
}

fn kept(id: QueryId, index: u64) -> Kept {
    Kept {
        query_id: id,
        predicate: PredicateId::from_str("civil-registry/alive@1").unwrap(),
        outcome: Ok(Verdict::Yes),
        as_of: date(2026, 5, 1),
        next_as_of: None,
        index,
        leaf_hash: [0; 32],
        time_ms: NOW_MS,
    }
}

fn fresh(replays: &std::sync::Arc<Replays>, name: &str, id: QueryId, now_ms: u64) -> Claimed {
    match replays.claim(&caller(name), id, TOKEN, now_ms) {
        Ok(Claim::Fresh(claimed)) => claimed,
        Ok(Claim::Done(_)) => panic!("the id was answered already"),
        Err(refusal) => panic!("refused: {}", refusal.code),
    }
}

fn refused(replays: &std::sync::Arc<Replays>, id: QueryId, token: [u8; 32]) -> RefusalCode {
    match replays.claim(&caller("one-window"), id, token, NOW_MS) {
        Err(refusal) => refusal.code,
        Ok(_) => panic!("the claim was granted"),
    }
}

#[test]
fn a_repeat_gets_the_first_outcome() {
    let replays = Replays::new(10);
    let id = QueryId([7; 16]);
    fresh(&replays, "one-window", id, NOW_MS).keep(Some(&kept(id, 42)));
    match replays.claim(&caller("one-window"), id, TOKEN, NOW_MS) {
        Ok(Claim::Done(again)) => assert_eq!(again.index, 42),
        _ => panic!("the outcome was not kept"),
    }
}

#[test]
fn an_id_in_flight_or_reused_is_refused() {
    let replays = Replays::new(10);
    let id = QueryId([7; 16]);
    let claimed = fresh(&replays, "one-window", id, NOW_MS);
    assert_eq!(refused(&replays, id, TOKEN), RefusalCode::QueryInFlight);
    assert_eq!(refused(&replays, id, OTHER_TOKEN), RefusalCode::QueryIdReused);
    claimed.keep(Some(&kept(id, 1)));
    assert_eq!(refused(&replays, id, OTHER_TOKEN), RefusalCode::QueryIdReused);
}

#[test]
fn a_claim_without_outcome_frees_the_id() {
    let replays = Replays::new(10);
    let id = QueryId([7; 16]);
    drop(fresh(&replays, "one-window", id, NOW_MS));
    fresh(&replays, "one-window", id, NOW_MS).keep(None);
    drop(fresh(&replays, "one-window", id, NOW_MS));
}

#[test]
fn callers_do_not_share_ids() {
    let replays = Replays::new(10);
    let id = QueryId([7; 16]);
    let _first = fresh(&replays, "one-window", id, NOW_MS);
    let _second = fresh(&replays, "other-window", id, NOW_MS);
}

#[test]
fn outcomes_are_forgotten_after_a_day() {
    let replays = Replays::new(10);
    let id = QueryId([7; 16]);
    fresh(&replays, "one-window", id, NOW_MS).keep(Some(&kept(id, 1)));
    let kept_ms = u64::try_from(KEPT.as_millis()).unwrap();
    let just_before = replays.claim(&caller("one-window"), id, TOKEN, NOW_MS + kept_ms - 1);
    assert!(matches!(just_before, Ok(Claim::Done(_))));
    drop(fresh(&replays, "one-window", id, NOW_MS + kept_ms));
}

#[test]
fn the_oldest_outcome_goes_when_the_memory_is_full() {
    let replays = Replays::new(2);
    for number in 1..=3_u8 {
        let id = QueryId([number; 16]);
        fresh(&replays, "one-window", id, NOW_MS).keep(Some(&kept(id, u64::from(number))));
    }
    assert_eq!(replays.len(), 2);
    drop(fresh(&replays, "one-window", QueryId([1; 16]), NOW_MS));
    let last = replays.claim(&caller("one-window"), QueryId([3; 16]), TOKEN, NOW_MS);
    assert!(matches!(last, Ok(Claim::Done(_))));
}
