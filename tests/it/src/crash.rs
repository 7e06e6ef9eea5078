//! The real binary under load, killed: what was said is on record, what was asked is closed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jumpgate_departments::Fault;
use jumpgate_querylog::Kind;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::harness::questions::{WIDOW, age, insured};
use crate::harness::{
    Broken, Client, Ground, PATIENCE, Protocol, Setup, client, eventually, parts,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_has_on_record_whatever_it_said() {
    build_binary().await;
    let mut ground = Setup::new().ground().await;
    let mut received = Vec::new();
    for round in 1..=2 {
        received.extend(load_and_kill(&ground).await);
        let harness = ground.start().await.unwrap();
        let report = harness.verify().unwrap();
        assert_eq!(report.open_asks, [0; 0], "the start closes what was left open");
        let records = harness.records();
        for (index, leaf_hash) in &received {
            let record = &records[usize::try_from(*index).unwrap()];
            assert_eq!(record.index, *index);
            assert_eq!(hex::encode(record.leaf_hash), *leaf_hash, "round {round}");
            assert_eq!(record.entry.kind, Kind::Answer);
        }
        let starts = harness.records_of(Kind::Start).len();
        assert_eq!(starts, 2 * round, "one of the killed process and one of this, each round");
        // And it goes on as if nothing had happened.
        let reply = harness.client("one-window").await.ask(&age(18, WIDOW)).await;
        assert_eq!(reply.says(), "yes", "{}", reply.json);
        (ground, _) = harness.stop().await;
    }
    assert!(received.len() >= 2 * ANSWERS_MIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_a_department_that_hangs() {
    build_binary().await;
    let ground = Setup::new().with("[listener]\ndrain_s_max = 1").ground().await;
    ground.departments.civil_registry.faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let (mut process, address) = serve(&ground).await;
    let mut client = connect(&ground, address).await.unwrap();
    let asking = tokio::spawn(async move {
        let json = [("content-type", "application/json")];
        let body = age(18, WIDOW).to_string();
        client.send(::http::Method::POST, "/v1/queries", &json, body).await.is_err()
    });
    let hangs = async || {
        let requests = ground.departments.civil_registry.requests();
        (requests.in_flight == 1).then_some(())
    };
    eventually("the question is at the department", hangs).await;
    let id = process.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let ended = timeout(PATIENCE, process.wait()).await.expect("it does not end").unwrap();
    assert!(!ended.success(), "a question was cut off: {ended}");
    assert!(asking.await.unwrap(), "no answer was given");
    // Nothing is left open, and the next start does not find a log that was closed in order.
    let harness = ground.start().await.unwrap();
    assert_eq!(harness.records_of(Kind::Failed).len(), 1);
    assert_eq!(harness.records_of(Kind::Abandoned).len(), 0);
    assert_eq!(harness.records_of(Kind::Stop).len(), 0);
    harness.finish().await;
}

/// Idle connections leave holes, and a huge page is there as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_takes_no_huge_pages() {
    build_binary().await;
    let ground = Setup::new().ground().await;
    let (process, _) = serve(&ground).await;
    let id = process.id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let huge = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(huge.map(str::trim), Some("0"), "the kernel tells since Linux 5.0");
}

/// Enough that each task has asked many times, and that the log is in the middle of something.
const ANSWERS_MIN: usize = 300;
const CALLERS: usize = 16;

/// Starts the binary, asks until enough answers have come, and kills it: SIGKILL, no farewell.
/// Returns index and leaf hash of every answer that a caller received.
async fn load_and_kill(ground: &Ground) -> Vec<(u64, String)> {
    let (mut process, address) = serve(ground).await;
    let answers = Arc::new(AtomicUsize::new(0));
    let mut asking = Vec::new();
    for number in 0..CALLERS {
        let client = connect(ground, address).await.unwrap();
        asking.push(tokio::spawn(ask_until_broken(client, number, answers.clone())));
    }
    let enough = async || (answers.load(Ordering::SeqCst) >= ANSWERS_MIN).then_some(());
    eventually("enough answers under load", enough).await;
    process.kill().await.unwrap();
    let mut received = Vec::new();
    for task in asking {
        received.extend(task.await.unwrap());
    }
    received
}

async fn ask_until_broken(
    mut client: Client,
    number: usize,
    answers: Arc<AtomicUsize>,
) -> Vec<(u64, String)> {
    let question = if number.is_multiple_of(2) { age(18, WIDOW) } else { insured(WIDOW) };
    let json = [("content-type", "application/json")];
    let mut received = Vec::new();
    loop {
        let body = question.to_string();
        let sent = client.send(::http::Method::POST, "/v1/queries", &json, body).await;
        let Ok(reply) = sent else { return received };
        assert_eq!((reply.status, reply.says()), (200, "yes"), "{}", reply.json);
        received.push((reply.index(), reply.leaf_hash().to_owned()));
        answers.fetch_add(1, Ordering::SeqCst);
    }
}

/// A connection of `one-window`.
pub async fn connect(ground: &Ground, address: SocketAddr) -> Result<Client, Broken> {
    let anchor = ground.authority.certificate();
    let shown = ground.identity("one-window");
    let stream = client::tls(address, anchor, Some(&shown), Protocol::Http1).await?;
    Client::over(stream, Protocol::Http1).await
}

/// The binary, once it says where callers connect.
pub async fn serve(ground: &Ground) -> (Child, SocketAddr) {
    let mut process = Command::new(binary())
        .arg("serve")
        .arg(ground.config())
        .env("RUST_LOG", "error")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let address = announced(&mut process).await.expect("the gateway did not start");
    (process, address)
}

/// Where callers connect, as the gateway says it; none if it ends before it serves.
pub async fn announced(process: &mut Child) -> Option<SocketAddr> {
    let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    let first = lines.next_line().await.unwrap()?;
    // Its last line of the start; nothing it prints later may meet a closed pipe.
    lines.next_line().await.unwrap()?;
    let (_, address) = first.split_once("https://").expect("its first line is where to connect");
    Some(address.parse().unwrap())
}

/// The gateway's binary, once [`build_binary`] has returned.
pub fn binary() -> PathBuf {
    parts::profile_folder().join("jumpgate")
}

/// Runs the gateway's binary in a folder, to its end.
pub fn jumpgate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(binary());
    command.current_dir(folder).args(arguments).output().unwrap()
}

/// All that it has printed.
pub fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// Builds it beside this test, by the command that builds all tests: `cargo build` would select
/// other features of dependencies that tests share with it, and compile them a second time.
pub async fn build_binary() {
    let profile = parts::profile_folder();
    let mut cargo = Command::from(jumpgate::author::cargo());
    cargo.args(["test", "--no-run", "--quiet", "--target-dir"]);
    cargo.arg(profile.parent().unwrap()).current_dir(parts::root());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().await.unwrap();
    assert!(status.success(), "cargo could not build jumpgate: {status}");
}
