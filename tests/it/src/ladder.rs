//! The release binary under strace: each of the first writes and syncs of its log fails, or is the
//! last thing it comes to. What was said stays on record, what was asked is closed, and nothing is
//! said after the fault.
//!
//! strace counts for each thread and each system call by itself: its nth call is the nth of the
//! thread that comes to its nth first. At low numbers that is the thread that starts; then, asked
//! steadily, the log's writer, of whose calls the start's stand before the first few; and asked as
//! the tree goes along, the tree. Each call among the process's first 200 is among its thread's
//! first 200. What the log comes to once is met by its file: [`NAMED`].

mod trace;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jumpgate_querylog::{Kind, QueryLog, Record};
use jumpgate_tlog::{Checkpoint, Edge, Hash, Note};
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::crash::{announced, binary, build_binary, connect};
use crate::evidence::copy_files;
use crate::harness::questions::{WIDOW, age};
use crate::harness::{Client, Ground, PATIENCE, Setup, eventually};
use trace::{Hit, Trace};

/// One run of the binary: one fault at one call.
#[derive(Clone, Copy)]
struct Rung {
    /// The calls that strace counts.
    calls: &'static str,
    /// The only file or folder on which it counts them; all of them if it is empty.
    only: &'static str,
    number: u32,
    /// What strace puts in the place of the call.
    injection: &'static str,
    pace: Pace,
}

/// How the callers ask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Pace {
    /// Two of them, each as soon as it was answered.
    Steady,
    /// One, who waits until the published tree holds the answer.
    WithTree,
}

const EIO: &str = "error=EIO";
const ENOSPC: &str = "error=ENOSPC";
const KILL: &str = "signal=SIGKILL";
const WRITE: &str = "pwrite64";

/// How callers ask, which calls are met by what, up to which number; the step of the sample.
type Ladder = (Pace, &'static str, &'static [&'static str], u32, u32);

/// The tree takes entries in five times a second, with two syncs each time: its first 60 calls are
/// more than fall among the process's first 200 while callers ask steadily.
const LADDERS: [Ladder; 4] = [
    (Pace::Steady, "fdatasync,fsync", &[EIO, KILL], 200, 32),
    (Pace::Steady, WRITE, &[EIO, ENOSPC, KILL], 200, 32),
    (Pace::WithTree, "fsync", &[EIO, KILL], 60, 16),
    (Pace::WithTree, WRITE, &[EIO, ENOSPC, KILL], 60, 16),
];

/// Calls on one file: the first row of a subject, the end of a segment and the beginning of the
/// next, and the tree's, of which the first was at the start.
const NAMED: [(&str, &str, u32); 10] = [
    (WRITE, "log/handles", 1),
    ("fdatasync", "log/handles", 1),
    ("fsync", "log/segments", 1),
    (WRITE, "log/segments/next.tmp", 1),
    ("fsync", "log/segments/next.tmp", 1),
    ("fdatasync", "log/segments/next.tmp", 1),
    (WRITE, "log/tree/state.tmp", 2),
    ("fsync", "log/tree/state.tmp", 2),
    ("fsync", "log/tree", 2),
    (WRITE, "log/tree/checkpoint.tmp", 2),
];

/// Far more than any rung needs.
const ANSWERS_MAX: usize = 2000;
/// Gateways side by side: they wait for the disk and the tree more than they compute.
const LANES: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_lost_wherever_a_write_or_a_sync_of_the_log_fails() {
    if let Err(why) = trace::strace_works() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
        eprintln!("SKIPPED: {why}");
        return;
    }
    build_binary().await;
    let is_full = std::env::var("JUMPGATE_LADDER").as_deref() == Ok("full");
    let rungs = Arc::new(Mutex::new(rungs(is_full)));
    let (count, begun) = (rungs.lock().unwrap().len(), Instant::now());
    let lane = || {
        let (runtime, rungs) = (Handle::current(), rungs.clone());
        spawn_blocking(move || runtime.block_on(climb(&rungs)))
    };
    let lanes: Vec<_> = (0..LANES).map(|_| lane()).collect();
    let mut hits = BTreeMap::new();
    for lane in lanes {
        for hit in lane.await.unwrap() {
            *hits.entry(hit).or_insert(0) += 1;
        }
    }
    eprintln!("{count} rungs in {:.0?}", begun.elapsed());
    for ((pace, hit), times) in &hits {
        eprintln!("{pace:?}: {hit}: {times}");
    }
    // The ladders stand where they should.
    let met = |pace, call: &str, file: &str| {
        let is_it = |hit: &Hit| hit.call == call && hit.file.starts_with(file);
        assert!(hits.keys().any(|(of, hit)| *of == pace && is_it(hit)), "{pace:?} {call} {file}");
    };
    met(Pace::Steady, WRITE, "segments/N");
    met(Pace::Steady, "fdatasync", "segments/N");
    met(Pace::WithTree, WRITE, "tree/tile/N");
    met(Pace::WithTree, "fsync", "tree");
}

/// A sample: the first few, where the log starts, the last, and some between. All of them, with
/// `JUMPGATE_LADDER=full`, take a quarter of an hour.
fn rungs(is_full: bool) -> VecDeque<Rung> {
    let mut rungs = VecDeque::new();
    for (calls, only, number) in NAMED {
        let rung = |injection| Rung { calls, only, number, injection, pace: Pace::Steady };
        rungs.extend([EIO, KILL].map(rung));
    }
    for (pace, calls, injections, max, step) in LADDERS {
        for (offset, injection) in (1..).zip(injections) {
            let is_taken = |number: u32| {
                let is_first = number <= 4 && pace == Pace::Steady;
                is_full || is_first || number == max || number % step == 4 * offset
            };
            let numbers = (1..=max).filter(|number| is_taken(*number));
            rungs.extend(numbers.map(|number| Rung { calls, only: "", number, injection, pace }));
        }
    }
    rungs
}

/// Takes rung after rung, on a ground of its own.
async fn climb(rungs: &Mutex<VecDeque<Rung>>) -> Vec<(Pace, Hit)> {
    let (mut ground, pristine) = prepared().await;
    let mut hits = Vec::new();
    loop {
        let next = rungs.lock().unwrap().pop_front();
        let Some(rung) = next else { return hits };
        eprintln!("{rung}");
        let log = ground.folder.path().join("log");
        fs::remove_dir_all(&log).unwrap();
        copy_files(pristine.path(), &log);
        let said = break_once(&ground, rung, &mut hits).await;
        ground = restart_and_check(ground, &said).await;
    }
}

/// A ground whose log is about to fill its segment and a tile, and a copy of that log.
async fn prepared() -> (Ground, tempfile::TempDir) {
    let harness = Setup::new().start().await;
    let mut client = harness.client("one-window").await;
    let segment = harness.log_dir().join("segments/00000000000000000000.seg");
    let room = || {
        let bytes = fs::read(&segment).unwrap();
        bytes.len() - bytes.iter().rposition(|byte| *byte != 0).unwrap()
    };
    while room() > ROOM_BYTES {
        let reply = client.ask_batch(vec![age(18, WIDOW); 16]).await;
        assert_eq!(reply.status, 200);
    }
    // Each switching off is an entry, and so is the one switching on.
    loop {
        harness.act("/departments/civil-registry/kill").await;
        if harness.records().len() as u64 % jumpgate_tlog::TILE_WIDTH == TILE_FILLED - 1 {
            break;
        }
    }
    harness.act("/departments/civil-registry/revive").await;
    drop(client);
    // Started again, so that the tree has what a start makes.
    let (ground, _) = harness.restart().await.stop().await;
    let pristine = tempfile::tempdir().unwrap();
    copy_files(&ground.folder.path().join("log"), pristine.path());
    (ground, pristine)
}

/// Some hundred entries, and those that fill the tile.
const ROOM_BYTES: usize = 250_000;
/// A tile has 256.
const TILE_FILLED: u64 = 216;

/// An answer that a caller received: leaf index and leaf hash.
type Said = (u64, String);

/// Starts the binary under strace, asks until it fails, and checks how it failed. Returns every
/// answer that a caller received.
async fn break_once(ground: &Ground, rung: Rung, hits: &mut Vec<(Pace, Hit)>) -> Vec<Said> {
    let folder = ground.folder.path();
    let (traced, errors) = (folder.join("trace"), folder.join("stderr"));
    let mut process = Command::new("strace")
        .args(rung.strace_arguments(folder))
        .arg("-o")
        .arg(&traced)
        .arg(binary())
        .arg("serve")
        .arg(ground.config())
        .env("RUST_LOG", "error")
        .stdout(Stdio::piped())
        .stderr(File::create(&errors).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let id = process.id().expect("it runs");
    let mut said = Vec::new();
    let address = announced(&mut process).await;
    if let Some(address) = address {
        said = ask_until_broken(ground, address, rung).await;
        if rung.injection != KILL {
            refuses_everything(ground, address).await;
            let term = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
            assert!(term.unwrap().success());
        }
    }
    let ended = timeout(PATIENCE, process.wait()).await.expect("it does not end").unwrap();
    let whole = async || Trace::read(&traced, id);
    let trace = eventually("strace has written everything", whole).await;
    check_end(rung, ended, &trace, &fs::read_to_string(&errors).unwrap());
    hits.extend(trace.hits(&folder.join("log")).into_iter().map(|hit| (rung.pace, hit)));
    said
}

async fn ask_until_broken(ground: &Ground, address: SocketAddr, rung: Rung) -> Vec<Said> {
    let caller = async |number| match connect(ground, address).await {
        Ok(client) => ask(client, number, rung).await,
        // The process is dead already.
        Err(_) => Vec::new(),
    };
    match rung.pace {
        Pace::Steady => {
            let (one, other) = tokio::join!(caller(0), caller(1));
            [one, other].concat()
        }
        Pace::WithTree => caller(0).await,
    }
}

/// One caller, until the connection breaks or the log is unavailable.
async fn ask(mut client: Client, caller: usize, rung: Rung) -> Vec<Said> {
    let json = [("content-type", "application/json")];
    let mut said = Vec::new();
    for number in 0..ANSWERS_MAX {
        // Every third is about somebody whom the log has not met.
        let stranger = 20 + (number + caller * ANSWERS_MAX / 2) / 3;
        let passport = if number % 3 == 0 { format!("E{stranger:08}") } else { WIDOW.to_owned() };
        let body = age(18, &passport).to_string();
        let sent = client.send(http::Method::POST, "/v1/queries", &json, body).await;
        let Ok(reply) = sent else { return said };
        if reply.status != 200 {
            assert_eq!((reply.status, reply.says()), (503, "log-unavailable"), "{}", reply.json);
            return said;
        }
        said.push((reply.index(), reply.leaf_hash().to_owned()));
        if rung.pace == Pace::WithTree && !is_proven(&mut client, reply.index()).await {
            return said;
        }
    }
    panic!("{rung}: nothing has happened after {ANSWERS_MAX} answers");
}

/// Waits until the published tree holds the entry; false once that will not be.
async fn is_proven(client: &mut Client, index: u64) -> bool {
    let path = format!("/v1/receipts/{index}");
    let look = async || {
        let receipt = client.send(http::Method::GET, &path, &[], "").await.ok();
        let ready = client.send(http::Method::GET, "/readyz", &[], "").await.ok();
        match (receipt, ready) {
            (Some(receipt), _) if receipt.json.get("proof").is_some() => Some(true),
            (Some(_), Some(ready)) if ready.status == 200 => None,
            _ => Some(false),
        }
    };
    eventually("the tree holds the answer or has failed", look).await
}

/// After the fault nobody is answered.
async fn refuses_everything(ground: &Ground, address: SocketAddr) {
    let mut client = connect(ground, address).await.unwrap();
    for years in [18, 65] {
        let reply = client.ask(&age(years, WIDOW)).await;
        assert_eq!((reply.status, reply.says()), (503, "log-unavailable"), "{}", reply.json);
    }
}

/// The process ended because of what strace did, where it should, and says so.
fn check_end(rung: Rung, ended: ExitStatus, trace: &Trace, errors: &str) {
    let faults = if rung.injection == KILL {
        assert_eq!(ended.signal(), Some(9), "{rung}: {ended}: {errors}");
        trace.last_calls()
    } else {
        assert_eq!(ended.code(), Some(1), "{rung}: {ended}: {errors}");
        let injected = trace.injected();
        let (told, untold): (Vec<_>, Vec<_>) =
            injected.iter().partition(|call| tells(errors, call));
        // What fails of the segment that is prepared ahead is told once that is needed.
        let is_ahead = |call: &&trace::Call| call.path.ends_with("log/segments/next.tmp");
        let is_told = !told.is_empty() && untold.into_iter().all(is_ahead);
        assert!(is_told, "{rung}: not all of {injected:?} are told in {errors}");
        injected
    };
    assert!(faults.iter().any(|call| rung.is_at(call)), "{rung}: {faults:?}");
}

/// True if the operator is told which operation has failed, and on which file.
fn tells(errors: &str, call: &trace::Call) -> bool {
    let doing = if call.name == WRITE { "write" } else { "sync" };
    let told = ["", "the folder "].map(|of| format!("cannot {doing} {of}{}", call.path.display()));
    let after = |told: &String| errors.split_once(told.as_str()).map(|(_, after)| after);
    told.iter().filter_map(after).any(|after| after.starts_with([':', '\n']))
}

/// Starts on what is left, and checks it against what callers received and what was signed.
async fn restart_and_check(ground: Ground, said: &[Said]) -> Ground {
    let log = ground.folder.path().join("log");
    let (key, _) = QueryLog::verifier_keys(&log).unwrap();
    let signed = ["tree/state", "tree/checkpoint"].map(|name| {
        let text = fs::read_to_string(log.join(name)).unwrap();
        // The state has two lines of its own, and an empty one, before its checkpoint.
        let note = text.split_once("jumpgate-tree/v1\n").map_or(&*text, |(_, state)| {
            state.split_once("\n\n").expect("a state's checkpoint follows an empty line").1
        });
        let note: Note = note.parse().unwrap();
        Checkpoint::verify(&note, key.name(), std::slice::from_ref(&key)).unwrap()
    });
    let harness = ground.start().await.unwrap();
    let report = harness.verify().unwrap_or_else(|flaws| panic!("{flaws:?}"));
    assert_eq!(report.open_asks, [0; 0], "the start closes what was left open");
    let records = harness.records();
    for (index, leaf_hash) in said {
        let record = &records[usize::try_from(*index).unwrap()];
        assert_eq!((record.index, record.entry.kind), (*index, Kind::Answer));
        assert_eq!(hex::encode(record.leaf_hash), *leaf_hash);
    }
    for checkpoint in &signed {
        assert_eq!(root_of(&records, checkpoint.size), checkpoint.root, "another root was signed");
    }
    // The end checks that each ask has one closing entry, and every sealed field.
    harness.stop().await.0
}

/// The root of the first entries.
fn root_of(records: &[Record], size: u64) -> Hash {
    let mut edge = Edge::new();
    for record in &records[..usize::try_from(size).unwrap()] {
        edge.append(Hash(record.leaf_hash), |_, _| {});
    }
    edge.root()
}

impl Rung {
    /// Everything but where to write and what to run. The tracer is no parent of the gateway, which
    /// is so ours to end and to wait for.
    fn strace_arguments(&self, folder: &Path) -> Vec<String> {
        let Self { calls, only, number, injection, pace: _ } = self;
        let mut arguments = vec![
            "-D".to_owned(),
            "-f".to_owned(),
            "-y".to_owned(),
            "--quiet=attach,personality,path-resolution".to_owned(),
            "--signal=KILL".to_owned(),
            "--string-limit=0".to_owned(),
            format!("--trace={calls}"),
            format!("--inject={calls}:{injection}:when={number}"),
        ];
        if *injection != KILL {
            // Quicker, but strace 6.1 injects no signals then.
            arguments.push("--seccomp-bpf".to_owned());
        }
        if !only.is_empty() {
            arguments.push(format!("--trace-path={}", folder.join(only).display()));
        }
        arguments
    }

    /// True of a call where the rung says.
    fn is_at(&self, call: &trace::Call) -> bool {
        let is_name = self.calls.split(',').any(|name| name == call.name);
        let is_file = self.only.is_empty() || call.path.ends_with(self.only);
        is_name && is_file && call.number == self.number
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, only, number, injection, pace } = self;
        write!(formatter, "{injection} at {calls} {number} {only} ({pace:?})")
    }
}
