//! The tree of a log: what is signed, what is there, and what a start makes of what it finds.

use std::fs;

use crate::testing::TestLog;
use crate::tree::{STATE_FILE, TREE_DIR};
use crate::*;

/// A closed log of `entries` entries, `start` and `stop` among them.
async fn log_of(log: &TestLog, entries: u64) -> Report {
    let (querylog, opened) = log.open();
    let acts = entries - opened.entries - 1;
    let acting = (0..acts).map(|_| {
        let querylog = querylog.clone();
        tokio::spawn(async move { querylog.act(Act::Config, &Details::new()).await })
    });
    for act in acting.collect::<Vec<_>>() {
        act.await.unwrap().unwrap();
    }
    querylog.close().await.unwrap();
    verify(&log.dir, Some(&log.keys)).unwrap()
}

fn flaws(log: &TestLog) -> Vec<String> {
    let flaws = verify(&log.dir, None).err().unwrap_or_default();
    flaws.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn every_entry_is_in_the_published_tree_when_the_log_is_closed() {
    let log = TestLog::made();
    for entries in [2, 255, 260, 512, 700] {
        let report = log_of(&log, entries).await;
        assert_eq!((report.entries, report.published), (entries, entries));
    }
    let tree = log.dir.join(TREE_DIR);
    let names = |path: &str| {
        let mut names: Vec<_> = fs::read_dir(tree.join(path))
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    };
    // Partial tiles go when the full one is there.
    assert_eq!(names("tile/0"), ["000", "001", "002.p"]);
    assert_eq!(names("tile/entries"), ["000", "001", "002.p"]);
    assert!(names("tile/0/002.p").contains(&"188".to_owned()));
    assert_eq!(names(""), ["checkpoint", "state", "tile"]);
    let checkpoint = fs::read_to_string(tree.join("checkpoint")).unwrap();
    assert!(checkpoint.starts_with("gateway.example.gov/log\n700\n"), "{checkpoint}");
}

#[tokio::test]
async fn one_changed_byte_in_the_tree_is_found() {
    let log = TestLog::made();
    log_of(&log, 600).await;
    let tree = log.dir.join(TREE_DIR);
    let files = [
        "checkpoint",
        "state",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/002.p/88",
    ];
    for file in files {
        let path = tree.join(file);
        let whole = fs::read(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 2] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            let flaws = flaws(&log);
            assert!(flaws.len() == 1 && flaws[0].contains(file), "{file} at {at}: {flaws:?}");
        }
        fs::remove_file(&path).unwrap();
        assert!(flaws(&log)[0].contains(file), "{file}");
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(flaws(&log), [""; 0]);
}

#[tokio::test]
async fn lost_and_wrong_tiles_are_made_anew_at_a_start() {
    let log = TestLog::made();
    log_of(&log, 600).await;
    let tile = log.dir.join(TREE_DIR).join("tile");
    let was = fs::read(tile.join("0/001")).unwrap();
    fs::write(tile.join("0/001"), vec![7; was.len()]).unwrap();
    log_of(&log, 602).await;
    fs::write(tile.join("0/000"), b"short").unwrap();
    log_of(&log, 604).await;
    fs::remove_dir_all(&tile).unwrap();
    assert_eq!(log_of(&log, 606).await.published, 606);
    assert_eq!(fs::read(tile.join("0/001")).unwrap(), was);
}

#[tokio::test]
async fn a_fault_at_any_write_or_sync_of_the_tree_stops_the_log_and_is_mended_by_a_start() {
    let log = TestLog::made();
    log_of(&log, 510).await;
    for count in 0..12 {
        for is_sync in [false, true] {
            let fail_after = |count| match is_sync {
                true => log.tree_faults.fail_sync_after(count),
                false => log.tree_faults.fail_write_after(count),
            };
            fail_after(count);
            if let Ok((querylog, _)) = log.try_open() {
                let _ = querylog.act(Act::Config, &Details::new()).await;
                // Every start has faults until the last write or sync was one.
                let _ = querylog.close().await;
            }
            fail_after(u32::MAX);
            let (querylog, _) = log.open();
            querylog.close().await.unwrap();
            let report = verify(&log.dir, Some(&log.keys)).unwrap();
            assert_eq!(report.published, report.entries, "{count} {is_sync}");
        }
    }
}

#[tokio::test]
async fn a_start_makes_good_what_stands_between_state_and_checkpoint() {
    let log = TestLog::made();
    log_of(&log, 510).await;
    let tree = log.dir.join(TREE_DIR);
    let checkpoint = fs::read(tree.join("checkpoint")).unwrap();
    log_of(&log, 520).await;
    // Published and not synced: the checkpoint, a partial tile's bytes, another one's name.
    fs::write(tree.join("checkpoint"), &checkpoint).unwrap();
    fs::write(tree.join("tile/0/002.p/8"), b"").unwrap();
    fs::remove_file(tree.join("tile/entries/002.p/8")).unwrap();
    fs::remove_file(tree.join("tile/0/001")).unwrap();
    fs::remove_dir_all(tree.join("tile/1")).unwrap();
    assert_eq!(log_of(&log, 522).await.published, 522);
    let now = fs::read(tree.join("tile/0/002.p/10")).unwrap();
    assert_eq!(fs::read(tree.join("tile/0/002.p/8")).unwrap(), now[..8 * 32]);
    let now = fs::read(tree.join("tile/entries/002.p/10")).unwrap();
    let was = fs::read(tree.join("tile/entries/002.p/8")).unwrap();
    assert!(now.starts_with(&was) && jumpgate_tlog::entries_of_bundle(&was).count() == 8);
}

#[tokio::test]
async fn an_old_state_or_checkpoint_put_back_is_found() {
    let log = TestLog::made();
    log_of(&log, 300).await;
    let tree = log.dir.join(TREE_DIR);
    let old = ["state", "checkpoint"].map(|file| fs::read(tree.join(file)).unwrap());
    // Over a run of its own, so that the old checkpoint is older than the last growth.
    log_of(&log, 350).await;
    log_of(&log, 400).await;
    let new = ["state", "checkpoint"].map(|file| fs::read(tree.join(file)).unwrap());

    fs::write(tree.join("state"), &old[0]).unwrap();
    let fault = log.try_open().unwrap_err();
    assert!(matches!(fault, OpenFault::Tree(TreeFault::StateBehind { .. })), "{fault}");
    assert!(flaws(&log)[0].contains("it is of 400 entries, and the state of 300"));
    fs::write(tree.join("state"), &new[0]).unwrap();

    fs::write(tree.join("checkpoint"), &old[1]).unwrap();
    fs::write(tree.join("tile/entries/000"), b"other entries").unwrap();
    let found = flaws(&log);
    assert!(found[0].contains("older than") && found[1].contains("tile/entries/000"), "{found:?}");
}

#[tokio::test]
async fn what_was_signed_must_be_there_unchanged() {
    let log = TestLog::made();
    log_of(&log, 300).await;
    let state = log.dir.join(TREE_DIR).join(STATE_FILE);
    let whole = fs::read(&state).unwrap();

    fs::remove_file(&state).unwrap();
    let fault = log.try_open().unwrap_err();
    assert!(matches!(fault, OpenFault::Tree(TreeFault::StateMissing { .. })), "{fault}");
    fs::write(&state, &whole[..whole.len() - 9]).unwrap();
    let fault = log.try_open().unwrap_err();
    assert!(matches!(fault, OpenFault::Tree(TreeFault::StateDamaged { .. })), "{fault}");

    // The state of another log with more entries, and with other ones.
    let other = log.with_its_keys();
    log_of(&other, 400).await;
    fs::copy(other.dir.join(TREE_DIR).join(STATE_FILE), &state).unwrap();
    let fault = log.try_open().unwrap_err().to_string();
    assert!(fault.contains("signed for 400 entries and the segments hold 300"), "{fault}");
    log_of(&other, 402).await;
    let text = verify(&log.dir, None).unwrap_err()[0].to_string();
    assert!(text.contains("signed for 400 entries, and the log holds 300"), "{text}");

    let third = log.with_its_keys();
    log_of(&third, 290).await;
    let checkpoint = log.dir.join(TREE_DIR).join("checkpoint");
    let published = fs::read(&checkpoint).unwrap();
    fs::copy(third.dir.join(TREE_DIR).join(STATE_FILE), &state).unwrap();
    fs::copy(third.dir.join(TREE_DIR).join("checkpoint"), &checkpoint).unwrap();
    // What follows the last batch may be evidence: a start that refuses leaves it as it is.
    let segment = log.segment(0);
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.len() - 100;
    bytes[last..].fill(0xee);
    fs::write(&segment, &bytes).unwrap();
    let fault = log.try_open().unwrap_err();
    assert!(matches!(fault, OpenFault::Tree(TreeFault::EntriesChanged { .. })), "{fault}");
    let found = flaws(&log);
    assert!(found.iter().any(|flaw| flaw.contains("do not have the root")), "{found:?}");

    assert!(fs::read(&segment).unwrap() == bytes, "a refused start has changed the segment");
    fs::write(&state, &whole).unwrap();
    fs::write(&checkpoint, &published).unwrap();
    log_of(&log, 302).await;
}

#[tokio::test]
async fn a_state_that_somebody_changes_stops_the_log() {
    let log = TestLog::made();
    let (querylog, _) = log.open();
    let state = log.dir.join(TREE_DIR).join(STATE_FILE);
    let ours = fs::read(&state).unwrap();
    querylog.act(Act::Config, &Details::new()).await.unwrap();
    while querylog.health().published_entries < 2 {
        tokio::task::yield_now().await;
    }
    assert_ne!(fs::read(&state).unwrap(), ours);
    fs::write(&state, &ours).unwrap();
    // The next growth finds it; until then entries are still accepted.
    while querylog.health().poisoned.is_none() {
        let _ = querylog.act(Act::Config, &Details::new()).await;
    }
    let why = querylog.health().poisoned.unwrap();
    assert!(why.contains("state was removed or changed while the log was open"), "{why}");
    let refused = querylog.act(Act::Config, &Details::new()).await.unwrap_err();
    assert!(matches!(refused, LogUnavailable::Poisoned { .. }));
}
