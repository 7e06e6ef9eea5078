//! The real binary under load, while somebody takes its log away or fills its disk: answers stop,
//! nothing that was said is lost, and it goes on once what was done is undone.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::crash::{build_binary, connect, serve};
use crate::harness::questions::{WIDOW, age};
use crate::harness::{Client, Ground, Setup, eventually};

const CALLERS: usize = 8;
/// Enough that the log is in the middle of something.
const ANSWERS_MIN: usize = 100;

/// Index and leaf hash of an answer.
type Answered = (u64, String);

/// Asks until the gateway does not answer any more, and why it does not.
async fn ask_on(mut client: Client, answers: Arc<AtomicUsize>) -> (Vec<Answered>, String) {
    let mut received = Vec::new();
    loop {
        let reply = client.ask(&age(18, WIDOW)).await;
        if reply.status != 200 {
            return (received, reply.says().to_owned());
        }
        received.push((reply.index(), reply.leaf_hash().to_owned()));
        answers.fetch_add(1, Ordering::SeqCst);
    }
}

/// Lets callers ask, does something to the log, and returns what they received until answers
/// stopped, which they must for want of the log.
async fn under_load(ground: &Ground, address: SocketAddr, act: impl FnOnce()) -> Vec<Answered> {
    let answers = Arc::new(AtomicUsize::new(0));
    let mut asking = Vec::new();
    for _ in 0..CALLERS {
        let client = connect(ground, address).await.unwrap();
        asking.push(tokio::spawn(ask_on(client, answers.clone())));
    }
    let enough = async || (answers.load(Ordering::SeqCst) >= ANSWERS_MIN).then_some(());
    eventually("enough answers under load", enough).await;
    act();
    let mut received = Vec::new();
    for task in asking {
        let (answered, why) = task.await.unwrap();
        assert_eq!(why, "log-unavailable");
        received.extend(answered);
    }
    received
}

/// Starts a gateway on the log and looks for everything that was said.
async fn holds(ground: Ground, received: &[Answered]) {
    let harness = ground.start().await.unwrap();
    assert!(harness.verify().unwrap().open_asks.is_empty());
    let records = harness.records();
    for (index, leaf_hash) in received {
        let record = &records[usize::try_from(*index).unwrap()];
        assert_eq!(hex::encode(record.leaf_hash), *leaf_hash, "entry {index}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_removed_under_load_stops_answers_and_is_put_back() {
    build_binary().await;
    let ground = Setup::new().ground().await;
    let segment = ground.folder.path().join("log/segments/00000000000000000000.seg");
    let (mut process, address) = serve(&ground).await;
    let mut client = connect(&ground, address).await.unwrap();
    let mut question = age(18, WIDOW);
    question["query_id"] = "8b1f0f2e6a0d4a53b1a2f4d5c6e7f80a".into();
    assert_eq!(client.ask(&question).await.says(), "yes");
    let received = under_load(&ground, address, || fs::remove_file(&segment).unwrap()).await;
    // What may be lost is neither said nor promised again.
    assert_eq!(client.ask(&question).await.says(), "log-unavailable");
    // Nor is it said that there is no such entry.
    let (index, _) = received[0];
    let reply = client.get(&format!("/v1/receipts/{index}")).await;
    assert_eq!((reply.status, reply.says()), (503, "log-unavailable"), "{}", reply.json);
    process.kill().await.unwrap();
    let Err(fault) = ground.try_start().await else { panic!("it starts without its segment") };
    let (saved, fault) = (segment.with_extension("seg.saved"), format!("{fault:?}"));
    assert!(fault.contains(saved.to_str().unwrap()), "{fault}");
    fs::rename(saved, segment).unwrap();
    holds(ground, &received).await;
}

/// A file system of its own, gone with it.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(on: &'a Path) -> Result<Self, String> {
        let mut mount = Command::new("mount");
        let made = mount.args(["-t", "tmpfs", "-o", "size=48m", "none"]).arg(on).output();
        let made = made.map_err(|error| format!("there is no mount: {error}"))?;
        let why = String::from_utf8_lossy(&made.stderr);
        if made.status.success() { Ok(Self(on)) } else { Err(format!("no tmpfs: {why}")) }
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_load_stops_answers_until_there_is_room() {
    build_binary().await;
    let ground = Setup::new().ground().await;
    let log = ground.folder.path().join("log");
    let made = ground.folder.path().join("made");
    fs::rename(&log, &made).unwrap();
    fs::create_dir(&log).unwrap();
    let small = log.clone();
    let _small = match Small::mount(&small) {
        Ok(small) => small,
        Err(why) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
            eprintln!("SKIPPED: {why}");
            return;
        }
    };
    let copied = Command::new("cp").arg("-a").arg(made.join(".")).arg(&log).status().unwrap();
    assert!(copied.success());
    let (mut process, address) = serve(&ground).await;
    let filler = log.join("filler");
    let fill = || {
        // Until nothing more fits.
        let piece = vec![1; 1 << 16];
        let mut file = fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &piece).is_ok() {}
    };
    let received = under_load(&ground, address, fill).await;
    fs::remove_file(&filler).unwrap();
    // It waits for room, or was too late and has stopped, and a start goes on.
    let mut client = connect(&ground, address).await.unwrap();
    let waits = async || {
        let ready = client.get("/readyz").await;
        let state = ready.json["query_log"].as_str().unwrap_or_default().to_owned();
        (state != "waiting").then_some(state)
    };
    if eventually("there is room, or the log has stopped", waits).await == "writing" {
        assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    }
    process.kill().await.unwrap();
    holds(ground, &received).await;
}
