//! How fast the log is on this machine: `cargo run --release --example hammer -- [folder] [tasks]`.
//!
//! Each task asks and concludes in a loop for some seconds. Prints; asserts nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::civil::date;
use jumpgate_catalogue::{Digest, ParameterValue, QueryId, Verdict};
use jumpgate_querylog::{
    AskHeader, Closing, Digests, Keys, LogOptions, NowMs, QueryLog, StartDetails, SubjectRef,
};

const RUN: Duration = Duration::from_secs(5);
/// Subjects that all tasks share, so that most are known.
const SUBJECTS: u64 = 10_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let tasks: u64 = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let folder = tempfile::tempdir_in(folder)?;
    let (dir, keys_dir) = (folder.path().join("log"), folder.path().join("keys"));
    let keys = Keys::create(&keys_dir)?;
    let options = LogOptions::default();
    let now_ms: NowMs = Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    });
    QueryLog::init(&dir, "hammer.example/log", &keys, &options, now_ms())?;
    let digest = Digest([1; 32]);
    let start = StartDetails {
        version: "hammer".to_owned(),
        config: digest,
        catalogue: digest,
        policy: digest,
        engine: digest,
    };
    let (log, _) = QueryLog::open(&dir, &keys, options, start, now_ms)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(hammer(log, tasks))
}

async fn hammer(log: QueryLog, tasks: u64) -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let running: Vec<_> =
        (0..tasks).map(|task| tokio::spawn(one_task(log.clone(), task, began))).collect();
    let mut took_us = Vec::new();
    for task in running {
        took_us.extend(task.await?);
    }
    let seconds = began.elapsed().as_secs_f64();
    let metrics = log.metrics();
    log.close().await?;
    took_us.sort_unstable();
    let at = |share: usize| took_us.get(took_us.len() * share / 100).copied().unwrap_or(0);
    println!("questions/s        {:.0}", took_us.len() as f64 / seconds);
    println!("entries/s          {:.0}", metrics.entries as f64 / seconds);
    println!("ask + conclude     p50 {} us, p99 {} us", at(50), at(99));
    println!("entries in a batch {:.1}", metrics.entries as f64 / metrics.batches as f64);
    println!("write + sync       {:?} mean", metrics.commit_time_sum / metrics.batches as u32);
    println!("write + sync       {:?} largest", metrics.commit_time_max);
    println!("bytes an entry     {}", metrics.bytes / metrics.entries);
    Ok(())
}

async fn one_task(log: QueryLog, task: u64, began: Instant) -> Vec<u128> {
    let (Ok(caller), Ok(department), Ok(predicate), Ok(purpose), Ok(kind)) = (
        "one-window".parse(),
        "civil-registry".parse(),
        "civil-registry/age-at-least@1".parse(),
        "employment".parse(),
        "passport".parse(),
    ) else {
        return Vec::new();
    };
    let digest = Digest([1; 32]);
    let digests = Digests { adapter: digest, catalogue: digest, policy: digest, engine: digest };
    let parameters = [(Arc::from("years"), ParameterValue::Integer(18))];
    let (mut took_us, mut turn) = (Vec::new(), task);
    while began.elapsed() < RUN {
        turn += 7919;
        let identifier = format!("K{:07}", turn % SUBJECTS);
        let ask = AskHeader {
            query_id: QueryId((u128::from(task) << 64 | u128::from(turn)).to_be_bytes()),
            caller: &caller,
            department: &department,
            predicate: &predicate,
            parameters: &parameters,
            purpose: &purpose,
            digests: &digests,
            subject: SubjectRef { kind: &kind, identifier: &identifier },
            case: Some("2026/000123"),
            operator: Some("desk 7"),
            request_token: log.request_token(&caller, identifier.as_bytes()),
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
        };
        if log.conclude(ticket, closing).await.is_err() {
            break;
        }
        took_us.push(since.elapsed().as_micros());
    }
    took_us
}
