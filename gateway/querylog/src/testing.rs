//! What the tests share: a log in a folder of its own, a clock that they move, a disk that fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use jiff::civil::{Date, date};
use jumpgate_catalogue::{
    CallerId, DepartmentId, Digest, ParameterValue, PredicateId, Purpose, QueryId, SubjectKindId,
    Verdict,
};
use tempfile::TempDir;

use crate::disk::{Disk, Files, Identity, Mode, OpenFile, System};
use crate::log::{OpenFault, Opened, QueryLog, StartDetails};
use crate::options::{LogOptions, NowMs};
use crate::queue::locked;
use crate::ticket::{AskHeader, Closing, Digests, SubjectRef};
use crate::{Keys, Reader, Record};

pub mod sim;

/// 1 January 2026, 00:00 UTC.
pub const NEW_YEAR_MS: u64 = 1_767_225_600_000;

/// Makes the next writes or syncs of a disk fail, or wait.
#[derive(Debug, Default)]
pub struct Faults {
    /// What the file system says it has left, if not what is true.
    pub free_bytes: Mutex<Option<u64>>,
    plan: Mutex<Plan>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct Plan {
    syncs_left: Option<u32>,
    writes_left: Option<u32>,
    held: bool,
    waiting: u32,
    syncs_begun: u32,
}

impl Faults {
    /// Lets `count` syncs pass; the next one fails, once.
    pub fn fail_sync_after(&self, count: u32) {
        locked(&self.plan).syncs_left = Some(count);
    }

    /// Lets `count` writes pass; the next one fails, once.
    pub fn fail_write_after(&self, count: u32) {
        locked(&self.plan).writes_left = Some(count);
    }

    /// Makes syncs wait until they are released.
    pub fn hold_syncs(&self) {
        locked(&self.plan).held = true;
    }

    /// Lets syncs go on.
    pub fn release_syncs(&self) {
        locked(&self.plan).held = false;
        self.released.notify_all();
    }

    /// True while a sync waits.
    pub fn holds_a_sync(&self) -> bool {
        locked(&self.plan).waiting > 0
    }

    fn before_sync(&self) -> io::Result<()> {
        let mut plan = locked(&self.plan);
        while plan.held {
            plan.waiting += 1;
            plan = self.released.wait(plan).unwrap_or_else(PoisonError::into_inner);
            plan.waiting -= 1;
        }
        plan.syncs_begun += 1;
        count_down(&mut plan.syncs_left)
    }

    fn before_write(&self) -> io::Result<()> {
        count_down(&mut locked(&self.plan).writes_left)
    }
}

/// The system's files, with faults in writes and syncs: those of the tree and those of the rest.
#[derive(Debug)]
struct FaultyFiles {
    faults: Arc<Faults>,
    tree_faults: Arc<Faults>,
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn OpenFile>,
    faults: Arc<Faults>,
}

impl Files for FaultyFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn OpenFile>> {
        let is_tree = path.components().any(|it| it.as_os_str() == crate::tree::TREE_DIR);
        let faults = Arc::clone(if is_tree { &self.tree_faults } else { &self.faults });
        Ok(Box::new(FaultyFile { file: System.open(path, mode)?, faults }))
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        System.identity(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        System.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        System.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        System.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        System.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        System.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        System.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        match *locked(&self.faults.free_bytes) {
            Some(bytes) => Ok(bytes),
            None => System.free_bytes(path),
        }
    }
}

impl OpenFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.before_write()?;
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn sync(&self, with_metadata: bool) -> io::Result<()> {
        self.faults.before_sync()?;
        self.file.sync(with_metadata)
    }

    fn identity(&self) -> io::Result<Identity> {
        self.file.identity()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

fn count_down(left: &mut Option<u32>) -> io::Result<()> {
    match left {
        None => Ok(()),
        Some(0) => {
            *left = None;
            Err(io::Error::other("told to fail"))
        }
        Some(count) => {
            *count -= 1;
            Ok(())
        }
    }
}

/// A log's folder, its keys, and everything needed to open it.
pub struct TestLog {
    _folder: TempDir,
    pub dir: PathBuf,
    pub keys_dir: PathBuf,
    pub keys: Keys,
    pub options: LogOptions,
    pub disk: Disk,
    pub faults: Arc<Faults>,
    pub tree_faults: Arc<Faults>,
    pub clock: Arc<AtomicU64>,
}

impl TestLog {
    /// Keys and settings, no log yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (dir, keys_dir) = (folder.path().join("log"), folder.path().join("keys"));
        let keys = Keys::create(&keys_dir).unwrap();
        let options = LogOptions {
            segment_bytes: 128 << 10,
            batch_bytes_max: 32 << 10,
            coalesce_window: Duration::from_millis(1),
            headroom_bytes_min: 4 << 20,
            ballast_bytes: 64 << 10,
            ..LogOptions::default()
        };
        let clock = Arc::new(AtomicU64::new(NEW_YEAR_MS));
        let (faults, tree_faults) = (Arc::<Faults>::default(), Arc::<Faults>::default());
        let (own, trees) = (Arc::clone(&faults), Arc::clone(&tree_faults));
        let disk = Disk::on(Arc::new(FaultyFiles { faults: own, tree_faults: trees }));
        Self { _folder: folder, dir, keys_dir, keys, options, disk, faults, tree_faults, clock }
    }

    /// An empty log.
    pub fn made() -> Self {
        let log = Self::new();
        log.init();
        log
    }

    /// Another empty log with the same keys and name.
    pub fn with_its_keys(&self) -> Self {
        let mut log = Self::new();
        log.keys = Keys::open(&self.keys_dir).unwrap();
        log.init();
        log
    }

    /// Makes the tree in a log's folder that of a log that never published.
    pub fn forget_tree(&self, dir: &Path) {
        std::fs::remove_dir_all(dir.join(crate::tree::TREE_DIR)).unwrap();
        let signer = self.keys.signer("gateway.example.gov/log").unwrap();
        crate::tree::Tree::create(&Disk::default(), dir, signer).unwrap();
    }

    pub fn init(&self) {
        let name = "gateway.example.gov/log";
        QueryLog::init(&self.dir, name, &self.keys, &self.options, NEW_YEAR_MS).unwrap();
    }

    pub fn now_ms(&self) -> NowMs {
        let clock = Arc::clone(&self.clock);
        Arc::new(move || clock.fetch_add(1, Ordering::Relaxed))
    }

    pub fn try_open(&self) -> Result<(QueryLog, Opened), OpenFault> {
        self.try_open_dir(&self.dir)
    }

    pub fn try_open_dir(&self, dir: &Path) -> Result<(QueryLog, Opened), OpenFault> {
        let (disk, options) = (self.disk.clone(), self.options.clone());
        QueryLog::open_on(disk, dir, &self.keys, options, start_details(), self.now_ms())
    }

    pub fn open(&self) -> (QueryLog, Opened) {
        self.try_open().unwrap()
    }

    pub fn records(&self) -> Vec<Record> {
        records(&self.dir)
    }

    /// The folder as it is now, in another place: what a start finds after the process was killed.
    pub fn copy(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("log");
        copy_dir(&self.dir, &dir);
        (folder, dir)
    }

    /// True once a first opening has begun its three syncs: mended segment, `start`, and the next
    /// segment, after which only the writer uses the disk.
    pub fn prepared(&self) -> bool {
        locked(&self.faults.plan).syncs_begun >= 3
    }

    pub fn segment(&self, first_index: u64) -> PathBuf {
        crate::segments::path_of(&self.dir, first_index)
    }
}

pub fn records(dir: &Path) -> Vec<Record> {
    Reader::open(dir).unwrap().map(|record| record.unwrap()).collect()
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy_dir(&item.path(), &target);
        } else {
            let copied = std::fs::copy(item.path(), target);
            // Of a log that is open, a draft may get its name at any moment.
            let is_draft = item.path().extension().is_some_and(|ending| ending == "tmp");
            let is_gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
            assert!(copied.as_ref().err().is_none_or(|error| is_draft && is_gone(error)));
        }
    }
}

pub fn start_details() -> StartDetails {
    StartDetails {
        version: "0.1.0".to_owned(),
        config: Digest([5; 32]),
        catalogue: Digest([2; 32]),
        policy: Digest([3; 32]),
        engine: Digest([4; 32]),
        accept_clock: false,
    }
}

/// A question with everything in it.
pub struct Question {
    pub query_id: QueryId,
    pub caller: CallerId,
    pub department: DepartmentId,
    pub predicate: PredicateId,
    pub parameters: Vec<(Arc<str>, ParameterValue)>,
    pub purpose: Purpose,
    pub digests: Digests,
    pub kind: SubjectKindId,
    pub identifier: String,
    pub case: String,
    pub operator: String,
    pub request_token: [u8; 32],
    pub as_of: Date,
}

impl Question {
    /// The question of a number; numbers ask about different subjects.
    pub fn new(number: u64) -> Self {
        let mut query_id = [0; 16];
        query_id[8..].copy_from_slice(&number.to_be_bytes());
        Self {
            query_id: QueryId(query_id),
            caller: "one-window".parse().unwrap(),
            department: "civil-registry".parse().unwrap(),
            predicate: "civil-registry/age-at-least@1".parse().unwrap(),
            parameters: vec![("years".into(), ParameterValue::Integer(18))],
            purpose: "employment".parse().unwrap(),
            digests: Digests {
                adapter: Digest([1; 32]),
                catalogue: Digest([2; 32]),
                policy: Digest([3; 32]),
                engine: Digest([4; 32]),
            },
            kind: "passport".parse().unwrap(),
            identifier: format!("SUBJECT-{number:06}"),
            case: format!("CASE-NUMBER-{number:06}"),
            operator: "OPERATOR-NAME".to_owned(),
            request_token: [9; 32],
            as_of: date(2026, 1, 1),
        }
    }

    pub fn header(&self) -> AskHeader<'_> {
        AskHeader {
            query_id: self.query_id,
            caller: &self.caller,
            department: &self.department,
            predicate: &self.predicate,
            parameters: &self.parameters,
            purpose: &self.purpose,
            digests: &self.digests,
            subject: SubjectRef { kind: &self.kind, identifier: &self.identifier },
            case: Some(&self.case),
            operator: Some(&self.operator),
            operator_issuer: Some("ISSUER-NAME"),
            second_operator: None,
            request_token: self.request_token,
            rule: Some("counter"),
            as_of: self.as_of,
        }
    }
}

pub fn answer(verdict: Verdict) -> Closing {
    Closing::Answer {
        verdict,
        reason: None,
        as_of: date(2026, 1, 1),
        next_as_of: Some(date(2026, 2, 1)),
        reply_commitment: [7; 32],
        release: None,
    }
}
