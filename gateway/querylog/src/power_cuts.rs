//! The whole log on a simulated file system: at each operation a fault or a power cut, and after it
//! whatever a disk may have kept.
//!
//! What must hold afterwards:
//!
//! 1. what somebody was told to be on record is on record, as it was told;
//! 2. the entries have the root that was signed and published last, or are more than those;
//! 3. no size was ever signed with two roots;
//! 4. each question has exactly one closing entry;
//! 5. a start after a start changes nothing but to add another `start`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jumpgate_catalogue::{RefusalCode, Verdict};
use jumpgate_tlog::{Checkpoint, Hash, Note};

use crate::entry::Details;
use crate::fields::SEALED_BYTES_MAX;
use crate::kind::Act;
use crate::options::LogOptions;
use crate::testing::sim::{Mishap, Sim};
use crate::testing::{NEW_YEAR_MS, Question, answer, start_details};
use crate::ticket::{Recorded, RefusedHeader};
use crate::verify::verify_on;
use crate::{ENTRY_BYTES_MAX, Keys, Kind, LogUnavailable, QueryLog, Reader, Record};

const DIR: &str = "/var/log";
const NAME: &str = "gateway.example.gov/log";

/// Keys and settings of a log whose segments are as small as they may be.
struct Bench {
    _folder: tempfile::TempDir,
    keys: Keys,
    options: LogOptions,
    clock: Arc<AtomicU64>,
}

/// What the log has told somebody.
#[derive(Default)]
struct Told {
    recorded: Vec<Recorded>,
    /// Indices of questions that a department may have been asked.
    asked: Vec<u64>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::create(&folder.path().join("keys")).unwrap();
        let batch_bytes_max = 8 + ENTRY_BYTES_MAX + SEALED_BYTES_MAX;
        let options = LogOptions {
            batch_bytes_max,
            segment_bytes: batch_bytes_max as u64 + 256,
            sync_distance: Duration::ZERO,
            publish_interval: Duration::from_millis(1),
            coalesce_window: Duration::from_millis(1),
            ballast_bytes: 512,
            ..LogOptions::default()
        };
        let clock = Arc::new(AtomicU64::new(NEW_YEAR_MS));
        Self { _folder: folder, keys, options, clock }
    }

    fn made(&self) -> Sim {
        let sim = Sim::default();
        self.init(&sim).unwrap();
        sim
    }

    fn init(&self, sim: &Sim) -> Result<(), crate::InitFault> {
        let (disk, dir) = (sim.disk(), Path::new(DIR));
        QueryLog::init_on(&disk, dir, NAME, &self.keys, &self.options, NEW_YEAR_MS)
    }

    fn open(&self, sim: &Sim) -> Result<QueryLog, crate::OpenFault> {
        let clock = Arc::clone(&self.clock);
        let now_ms: crate::NowMs = Arc::new(move || clock.fetch_add(1, Ordering::Relaxed));
        let (disk, options) = (sim.disk(), self.options.clone());
        let opened =
            QueryLog::open_on(disk, Path::new(DIR), &self.keys, options, start_details(), now_ms);
        opened.map(|(log, _)| log)
    }

    /// A day of the log: questions answered, refused and left open, over two segments at least.
    async fn work(&self, sim: &Sim, told: &mut Told) -> Result<(), String> {
        let log = self.open(sim).map_err(|fault| fault.to_string())?;
        let result = questions(&log, told).await;
        result.map_err(|fault| fault.to_string())?;
        let stop = log.close().await.map_err(|fault| fault.to_string())?;
        told.recorded.push(stop);
        Ok(())
    }

    fn records(&self, sim: &Sim) -> Vec<Record> {
        let reader = Reader::open_on(sim.disk(), Path::new(DIR), 0).unwrap();
        reader.map(|record| record.unwrap()).collect()
    }

    /// Starts the log that a power cut has left, and checks everything that must hold.
    async fn check(&self, left: &Sim, told: &Told, what: &str) {
        let twice = left.settled();
        let log = self.open(left).unwrap_or_else(|fault| panic!("{what}: {fault:?}"));
        log.close().await.unwrap_or_else(|fault| panic!("{what}: {fault}"));
        let records = self.records(left);
        for recorded in &told.recorded {
            let record = records.get(recorded.index() as usize);
            let leaf_hash = record.map(|record| record.leaf_hash);
            assert_eq!(leaf_hash, Some(*recorded.leaf_hash()), "{what}: {recorded:?}");
        }
        for index in &told.asked {
            let record = &records[*index as usize];
            assert_eq!((record.index, record.entry.kind), (*index, Kind::Ask), "{what}");
        }
        // Exactly one closing entry for each `ask` is a rule of the check, and so is the root.
        let report = verify_on(&left.disk(), Path::new(DIR), Some(&self.keys));
        let report = report.unwrap_or_else(|flaws| panic!("{what}: {flaws:?}"));
        assert!(report.open_asks.is_empty(), "{what}");
        assert_eq!(report.published, records.len() as u64, "{what}");
        one_root_for_each_size(left, what);

        // A start whose process is killed, and another one.
        let first = self.open(&twice).unwrap();
        twice.cut();
        drop(first);
        let again = twice.after_cut(|_, _| 0);
        let second = self.open(&again).unwrap_or_else(|fault| panic!("{what}: twice: {fault:?}"));
        second.close().await.unwrap();
        let tail = |records: &[Record]| {
            let kinds = records.iter().map(|it| (it.entry.kind, it.entry.ask));
            kinds.skip(told.recorded.len().min(records.len())).collect::<Vec<_>>()
        };
        let (mut once, mut more) = (tail(&records), tail(&self.records(&again)));
        assert_eq!(once.pop(), more.pop(), "{what}: stop");
        assert_eq!(more.pop(), Some((Kind::Start, None)), "{what}: the second start");
        assert_eq!(once, more, "{what}");
        one_root_for_each_size(&again, what);
    }
}

async fn questions(log: &QueryLog, told: &mut Told) -> Result<(), LogUnavailable> {
    for number in 0..9 {
        let ticket = log.ask(Question::new(number % 4).header()).await?;
        told.asked.push(ticket.index());
        if number == 4 {
            // Closes itself, and nobody waits for it.
            drop(ticket);
            continue;
        }
        told.recorded.push(log.conclude(ticket, answer(Verdict::Yes)).await?);
        if number == 6 {
            let question = Question::new(7);
            let refused =
                RefusedHeader { question: question.header(), code: RefusalCode::NotGranted };
            told.recorded.push(log.refuse(refused).await?);
            told.recorded.push(log.act(Act::Config, &Details::new()).await?);
        }
    }
    Ok(())
}

fn one_root_for_each_size(sim: &Sim, what: &str) {
    let mut roots: BTreeMap<u64, Hash> = BTreeMap::new();
    for text in sim.signed() {
        let text = String::from_utf8(text).unwrap();
        let (_, note) = text.split_once("\n\n").unwrap();
        let note: Note = note.parse().unwrap();
        let checkpoint: Checkpoint = note.text().parse().unwrap();
        let root = *roots.entry(checkpoint.size).or_insert(checkpoint.root);
        assert_eq!(root, checkpoint.root, "{what}: size {} was signed twice", checkpoint.size);
    }
}

/// What may be left of `sim`: nothing that was not synced, all of it, one thing of it, all but one,
/// and some of it by chance; where few things are uncertain, every subset.
fn left_by_a_cut(sim: &Sim, seed: u64) -> Vec<Sim> {
    let uncertain = sim.uncertain();
    let mut left = vec![sim.after_cut(|_, _| 0), sim.settled()];
    if uncertain <= SUBSETS_OF {
        let subsets = 1..(1_u32 << uncertain).saturating_sub(1);
        let of =
            |subset| move |number, states| if subset >> number & 1 == 1 { states - 1 } else { 0 };
        left.extend(subsets.map(|subset| sim.after_cut(of(subset))));
        return left;
    }
    let step = uncertain.div_ceil(SINGLES);
    for chosen in (seed as usize % step..uncertain).step_by(step) {
        left.push(sim.after_cut(|number, states| if number == chosen { states - 1 } else { 0 }));
        left.push(sim.after_cut(|number, states| if number == chosen { 0 } else { states - 1 }));
    }
    for chance in 0..CHANCES {
        let mut random = (seed * CHANCES + chance).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        left.push(sim.after_cut(|_, states| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as usize % states
        }));
    }
    left
}

const SUBSETS_OF: usize = 3;
const SINGLES: usize = 2;
const CHANCES: u64 = 3;

/// Runs `begin` with a mishap at each of its operations in turn, and checks what each one leaves.
/// Returns how many operations there were.
async fn at_each_operation(bench: &Bench, before: &Sim, mishap: Mishap, checks: Checks) -> u64 {
    for number in 0.. {
        let (sim, mut told) = (before.settled(), Told::default());
        sim.plan(number, mishap);
        let result = bench.work(&sim, &mut told).await;
        let Some(happened) = sim.happened() else { return number };
        let what = format!("{mishap:?} at {number}, {happened}: {result:?}");
        sim.cut();
        let mut left = left_by_a_cut(&sim, number);
        if checks == Checks::Few {
            left.truncate(2);
        }
        for (which, sim) in left.iter().enumerate() {
            bench.check(sim, &told, &format!("{what}, left {which}")).await;
        }
    }
    unreachable!("the count of operations has an end")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    All,
    Few,
}

/// What a process leaves that was cut off with questions open and bytes unsynced.
async fn interrupted(bench: &Bench) -> Sim {
    let sim = bench.made();
    let log = bench.open(&sim).unwrap();
    questions(&log, &mut Told::default()).await.unwrap();
    for number in 20..22 {
        std::mem::forget(log.ask(Question::new(number).header()).await.unwrap());
    }
    sim.cut();
    drop(log);
    sim.after_cut(|number, states| if number % 2 == 0 { 0 } else { states - 1 })
}

#[tokio::test]
async fn a_power_cut_after_any_operation_loses_nothing_that_was_told() {
    let bench = Bench::new();
    let operations = at_each_operation(&bench, &bench.made(), Mishap::CutAfter, Checks::All).await;
    assert!(operations > 100, "the work had {operations} operations");
}

#[tokio::test]
async fn an_operation_that_fails_loses_nothing_that_was_told() {
    let bench = Bench::new();
    at_each_operation(&bench, &bench.made(), Mishap::Fails, Checks::All).await;
}

#[tokio::test]
async fn an_operation_that_fails_and_happens_loses_nothing_that_was_told() {
    let bench = Bench::new();
    at_each_operation(&bench, &bench.made(), Mishap::FailsButHappens, Checks::Few).await;
}

#[tokio::test]
async fn a_power_cut_during_recovery_is_recovered_from() {
    let bench = Bench::new();
    let before = interrupted(&bench).await;
    for mishap in [Mishap::CutAfter, Mishap::Fails, Mishap::FailsButHappens] {
        at_each_operation(&bench, &before, mishap, Checks::Few).await;
    }
}

#[tokio::test]
async fn a_power_cut_while_a_log_is_made_leaves_a_log_or_none() {
    let bench = Bench::new();
    for number in 0.. {
        let sim = Sim::default();
        sim.plan(number, Mishap::CutAfter);
        let result = bench.init(&sim);
        if sim.happened().is_none() {
            assert!(number > 20, "init had {number} operations");
            break;
        }
        sim.cut();
        for left in left_by_a_cut(&sim, number) {
            match bench.open(&left) {
                Ok(log) => drop(log.close().await.unwrap()),
                Err(crate::OpenFault::NotInitialised { .. }) => {
                    assert!(result.is_err() || number == 0, "{number}: a made log is gone");
                }
                Err(fault) => panic!("{number}: {fault:?}"),
            }
        }
    }
}
