//! How fast the log is on this machine, and whether it stays so as it grows:
//! `cargo run --release -p jumpgate-querylog --example hammer -- [folder] [tasks] [entries]`.
//!
//! Tasks ask and conclude in a loop. Without `entries` they do so for five seconds; with it they
//! fill a log in one run, from ten thousand entries on to that many, and the log is then left as a
//! killed process leaves it, started and checked. Prints; asserts nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::civil::date;
use jumpgate_catalogue::{Digest, ParameterValue, QueryId, Verdict};
use jumpgate_querylog::{
    AskHeader, Closing, Digests, Keys, LogOptions, NowMs, Opened, QueryLog, StartDetails,
    SubjectRef,
};

/// The gateway's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fault = Box<dyn std::error::Error>;

const RUN: Duration = Duration::from_secs(5);
/// Subjects that all tasks share, so that most are known.
const SUBJECTS: u64 = 10_000;
const FIRST_STAGE: u64 = 10_000;
/// Longer turns are counted as this long: what the figures are made of must not grow with the log.
const TURN_US_MAX: usize = 100_000;

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let tasks: u64 = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let entries: Option<u64> = arguments.next().map(|text| text.parse()).transpose()?;
    let folder = tempfile::tempdir_in(folder)?;
    let (dir, keys_dir) = (folder.path().join("log"), folder.path().join("keys"));
    let keys = Keys::create(&keys_dir)?;
    QueryLog::init(&dir, "hammer.example/log", &keys, &LogOptions::default(), now_ms())?;
    let (log, _) = open(&dir, &keys)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let turns = Arc::new(Turns::default());
    let Some(entries) = entries else {
        let until = Until { time: Some(Instant::now() + RUN), entries: u64::MAX };
        runtime.block_on(stage(&log, tasks, &turns, until))?;
        runtime.block_on(log.close())?;
        return Ok(());
    };
    let mut stages = FIRST_STAGE;
    while stages <= entries {
        runtime.block_on(stage(&log, tasks, &turns, Until { time: None, entries: stages }))?;
        stages = stages.saturating_mul(10);
    }
    // Dropped, not closed: the next start finds an interrupted log.
    drop(log);
    grown(&dir, &keys)
}

/// Start and check of a log that has grown.
fn grown(dir: &Path, keys: &Keys) -> Result<(), Fault> {
    let began = Instant::now();
    let (log, opened) = open(dir, keys)?;
    println!("start              {:?}, {} entries", began.elapsed(), opened.entries);
    drop(log);
    let began = Instant::now();
    match jumpgate_querylog::verify(dir, Some(keys)) {
        Ok(report) => {
            println!("check with keys    {:?}, {} opened", began.elapsed(), report.fields_opened)
        }
        Err(flaws) => println!("check: {} flaws, first {:?}", flaws.len(), flaws.first()),
    }
    let began = Instant::now();
    let flaws = jumpgate_querylog::verify(dir, None).err().unwrap_or_default();
    println!("check without keys {:?}, {} flaws", began.elapsed(), flaws.len());
    println!("memory             {} MiB", memory_mib());
    Ok(())
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn open(dir: &Path, keys: &Keys) -> Result<(QueryLog, Opened), Fault> {
    let digest = Digest([1; 32]);
    let start = StartDetails {
        version: "hammer".to_owned(),
        config: digest,
        catalogue: digest,
        policy: digest,
        engine: digest,
        accept_clock: false,
    };
    let clock: NowMs = Arc::new(now_ms);
    Ok(QueryLog::open(dir, keys, LogOptions::default(), start, clock)?)
}

/// How many questions were begun, and how many took how many microseconds.
struct Turns {
    begun: AtomicU64,
    took: Box<[AtomicU32]>,
}

impl Default for Turns {
    fn default() -> Self {
        let took = (0..=TURN_US_MAX).map(|_| AtomicU32::new(0)).collect();
        Self { begun: AtomicU64::new(0), took }
    }
}

impl Turns {
    fn took(&self, time: Duration) {
        let us = usize::try_from(time.as_micros()).unwrap_or(usize::MAX).min(TURN_US_MAX);
        self.took[us].fetch_add(1, Ordering::Relaxed);
    }

    /// Microseconds that this share of a hundred, of all questions so far, did not exceed.
    fn at(&self, share: u64) -> usize {
        let counts = || self.took.iter().map(|count| u64::from(count.load(Ordering::Relaxed)));
        let (total, mut seen): (u64, u64) = (counts().sum(), 0);
        let reached = |count| {
            seen += count;
            seen * 100 >= total * share
        };
        counts().position(reached).unwrap_or(0)
    }
}

/// When a stage ends.
#[derive(Clone, Copy)]
struct Until {
    time: Option<Instant>,
    entries: u64,
}

async fn stage(log: &QueryLog, tasks: u64, turns: &Arc<Turns>, until: Until) -> Result<(), Fault> {
    let (began, before, cpu) = (Instant::now(), log.metrics(), cpu_time());
    let running: Vec<_> =
        (0..tasks).map(|_| tokio::spawn(one_task(log.clone(), Arc::clone(turns), until))).collect();
    for task in running {
        task.await?;
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_time() - cpu);
    let after = log.metrics();
    let entries = (after.entries - before.entries) as f64;
    let batches = (after.batches - before.batches).max(1);
    println!("== {} entries", log.health().entries);
    println!("entries/s          {:.0}", entries / seconds);
    println!("CPU an entry       {:.1} us", cpu.as_secs_f64() * 1e6 / entries);
    println!("ask + conclude     p50 {} us, p99 {} us", turns.at(50), turns.at(99));
    println!("entries in a batch {:.1}", entries / batches as f64);
    let commit = after.commit_time_sum - before.commit_time_sum;
    println!("write + sync       {:?} mean", commit.div_f64(batches as f64));
    println!("bytes an entry     {:.0}", (after.bytes - before.bytes) as f64 / entries);
    println!("memory             {} MiB", memory_mib());
    Ok(())
}

async fn one_task(log: QueryLog, turns: Arc<Turns>, until: Until) {
    let (Ok(caller), Ok(department), Ok(predicate), Ok(purpose), Ok(kind)) = (
        "one-window".parse(),
        "civil-registry".parse(),
        "civil-registry/age-at-least@1".parse(),
        "employment".parse(),
        "passport".parse(),
    ) else {
        return;
    };
    let digest = Digest([1; 32]);
    let digests = Digests { adapter: digest, catalogue: digest, policy: digest, engine: digest };
    let parameters = [(Arc::from("years"), ParameterValue::Integer(18))];
    while until.time.is_none_or(|time| Instant::now() < time) {
        let turn = turns.begun.fetch_add(1, Ordering::Relaxed);
        if turn * 2 >= until.entries {
            break;
        }
        let identifier = format!("K{:07}", turn.wrapping_mul(7919) % SUBJECTS);
        let ask = AskHeader {
            query_id: QueryId(u128::from(turn).to_be_bytes()),
            caller: &caller,
            department: &department,
            predicate: &predicate,
            parameters: &parameters,
            purpose: &purpose,
            digests: &digests,
            subject: SubjectRef { kind: &kind, identifier: &identifier },
            case: Some("2026/000123"),
            operator: Some("desk 7"),
            operator_issuer: None,
            second_operator: None,
            request_token: log.request_token(&caller, identifier.as_bytes()),
            rule: Some("counter"),
            as_of: date(2026, 1, 1),
        };
        let since = Instant::now();
        let Ok(ticket) = log.ask(ask).await else { break };
        let closing = Closing::Answer {
            verdict: Verdict::Yes,
            reason: None,
            as_of: date(2026, 1, 1),
            next_as_of: Some(date(2026, 2, 1)),
            reply_commitment: [7; 32],
            release: None,
        };
        if log.conclude(ticket, closing).await.is_err() {
            break;
        }
        turns.took(since.elapsed());
    }
}

/// Processor time of this process so far, in steps of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    // utime and stime, fields 14 and 15; the second ends with the bracket.
    let ticks: u64 = fields.skip(12).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The most memory that was resident so far.
fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
