use std::fs;

use jumpgate_catalogue::Verdict;

use super::*;
use crate::testing::{Question, TestLog, answer};
use crate::ticket::Recorded;
use crate::{Promise, Proven, QueryLog, verify};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Starts the log with the keys that are in their folder now, and answers a question.
async fn answered(log: &mut TestLog, number: u64) -> (Recorded, String) {
    log.keys = Keys::open(&log.keys_dir).unwrap();
    let (querylog, _) = log.open();
    let ticket = querylog.ask(Question::new(number).header()).await.unwrap();
    let recorded = querylog.conclude(ticket, answer(Verdict::Yes)).await.unwrap();
    let receipt =
        querylog.receipt_when_published(recorded.index(), PATIENCE).await.unwrap().unwrap();
    querylog.close().await.unwrap();
    verify(&log.dir, Some(&log.keys)).unwrap();
    (recorded, receipt)
}

fn rotated(log: &TestLog, purpose: Rotatable) -> (VerifierKey, VerifierKey) {
    let before = QueryLog::verifier_keys(&log.dir).unwrap();
    let after = rotate_on(&log.disk, &log.dir, &log.keys_dir, purpose).unwrap();
    assert_eq!(before.0 != after.0, purpose == Rotatable::Log);
    assert_eq!(before.1 != after.1, purpose == Rotatable::Receipt);
    after
}

#[tokio::test]
async fn a_new_log_key_signs_beside_the_former_one_until_that_is_removed() {
    let mut log = TestLog::made();
    let (old, _) = QueryLog::verifier_keys(&log.dir).unwrap();
    let (_, first) = answered(&mut log, 1).await;
    let (new, _) = rotated(&log, Rotatable::Log);
    let (_, second) = answered(&mut log, 2).await;
    for key in [&old, &new] {
        assert!(Proven::of_receipt(&second, key).is_ok(), "both sign");
    }
    assert!(Proven::of_receipt(&first, &old).is_ok(), "what was signed stays valid");
    assert!(Proven::of_receipt(&first, &new).is_err());
    fs::remove_file(log.keys_dir.join("log.key.former")).unwrap();
    let (_, third) = answered(&mut log, 3).await;
    assert!(Proven::of_receipt(&third, &new).is_ok());
    assert!(Proven::of_receipt(&third, &old).is_err());
    // The log itself says from which start on which keys were in force.
    let keys: Vec<String> = log
        .records()
        .iter()
        .filter_map(|it| it.entry.details.as_ref()?.find("verifier_key").map(str::to_owned))
        .collect();
    assert_eq!(keys, [old.to_string(), new.to_string(), new.to_string()]);
}

#[tokio::test]
async fn a_new_receipt_key_signs_promises_from_the_next_start_on() {
    let mut log = TestLog::made();
    let (_, old) = QueryLog::verifier_keys(&log.dir).unwrap();
    let (first, _) = answered(&mut log, 1).await;
    let (_, new) = rotated(&log, Rotatable::Receipt);
    let (second, _) = answered(&mut log, 2).await;
    let holds =
        |recorded: &Recorded, key| Promise::of_text(&recorded.promise().unwrap(), key).is_ok();
    assert!(holds(&first, &old) && !holds(&first, &new));
    assert!(holds(&second, &new) && !holds(&second, &old));
    // The former keys open the log no more.
    let keys = Keys::open(&log.keys_dir).unwrap();
    rotated(&log, Rotatable::Idempotency);
    log.keys = keys;
    let fault = log.try_open().map(|_| ()).unwrap_err();
    assert!(fault.to_string().contains("the idempotency key is not the one"), "{fault}");
    answered(&mut log, 3).await;
}

#[tokio::test]
async fn a_rotation_cut_off_anywhere_is_finished_by_the_same_command() {
    for purpose in Rotatable::ALL {
        // Each write of a file of the log fails once; the key files are beside it.
        for writes in 0.. {
            let mut log = TestLog::made();
            answered(&mut log, 1).await;
            let faults = if writes % 2 == 0 { &log.faults } else { &log.tree_faults };
            faults.fail_write_after(writes / 2);
            let cut = rotate_on(&log.disk, &log.dir, &log.keys_dir, purpose);
            log.faults.fail_write_after(u32::MAX);
            log.tree_faults.fail_write_after(u32::MAX);
            if cut.is_err() {
                rotate_on(&log.disk, &log.dir, &log.keys_dir, purpose).unwrap();
            }
            let left = fs::read_dir(&log.keys_dir).unwrap().filter(|item| {
                item.as_ref().unwrap().path().extension().is_some_and(|it| it == "next")
            });
            assert_eq!(left.count(), 0);
            answered(&mut log, 2).await;
            if writes > 6 {
                break;
            }
        }
        // Between the log's files and the key's own: the next key waits for its place.
        let mut log = TestLog::made();
        answered(&mut log, 1).await;
        let file = log.keys_dir.join(format!("{purpose}.key"));
        let before = fs::read(&file).unwrap();
        rotated(&log, purpose);
        fs::rename(&file, log.keys_dir.join(format!("{purpose}.key.next"))).unwrap();
        fs::write(&file, before).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        rotate_on(&log.disk, &log.dir, &log.keys_dir, purpose).unwrap();
        answered(&mut log, 2).await;
    }
}

#[test]
fn only_keys_whose_work_can_be_done_anew_are_rotated() {
    for purpose in ["seal", "lookup", "pseudonym", "disclosure", "", "LOG"] {
        assert_eq!(purpose.parse::<Rotatable>(), Err(NotRotatable));
    }
    let log = TestLog::made();
    let (_querylog, _) = log.open();
    let fault = rotate_on(&log.disk, &log.dir, &log.keys_dir, Rotatable::Log).unwrap_err();
    assert!(matches!(fault, RotateFault::Open(OpenFault::Locked { .. })), "{fault}");
}

#[tokio::test]
async fn a_log_that_a_start_would_refuse_is_not_signed_anew() {
    let mut log = TestLog::made();
    answered(&mut log, 1).await;
    let state = log.dir.join("tree/state");
    let old = fs::read(&state).unwrap();
    answered(&mut log, 2).await;
    let new = fs::read(&state).unwrap();
    // An old state: a later checkpoint was published, and is evidence.
    fs::write(&state, &old).unwrap();
    let checkpoint = fs::read(log.dir.join("tree/checkpoint")).unwrap();
    let fault = rotate_on(&log.disk, &log.dir, &log.keys_dir, Rotatable::Log).unwrap_err();
    assert!(fault.to_string().contains("it is an old one"), "{fault}");
    assert_eq!(fs::read(log.dir.join("tree/checkpoint")).unwrap(), checkpoint);
    fs::write(&state, &new).unwrap();
    // What was saved waits to be moved back.
    let saved = log.dir.join("tree/state.saved");
    fs::write(&saved, &new).unwrap();
    let fault = rotate_on(&log.disk, &log.dir, &log.keys_dir, Rotatable::Log).unwrap_err();
    assert!(matches!(fault, RotateFault::Open(OpenFault::Saved { .. })), "{fault}");
    fs::remove_file(saved).unwrap();
    rotated(&log, Rotatable::Log);
    answered(&mut log, 3).await;
    // The former key still signs: a second rotation would end that without a word.
    let fault = rotate_on(&log.disk, &log.dir, &log.keys_dir, Rotatable::Log).unwrap_err();
    assert!(matches!(fault, RotateFault::Key(KeyFault::FormerKept { .. })), "{fault}");
    fs::remove_file(log.keys_dir.join("log.key.former")).unwrap();
    rotated(&log, Rotatable::Log);
    answered(&mut log, 4).await;
}
