//! A tiled log on disk, checked by programs that share no code with ours: Go's sumdb and Python's
//! aics-tlog recompute it from its entries and compare every byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use jumpgate_tlog::{
    BUNDLE_ENTRY_BYTES_MAX, Checkpoint, Edge, Hash, SignerKey, TILE_WIDTH, Tile, TileKind,
    add_to_bundle,
};
use tempfile::TempDir;

use crate::harness::questions::{WIDOW, age};
use crate::harness::{Harness, eventually, parts};

/// A program that checks a log's folder: exit 0 and a summary, or exit 1 and what is wrong.
pub struct Peer {
    name: &'static str,
    /// The program, and before the folder what it is told.
    command: Vec<PathBuf>,
}

impl Peer {
    /// What it says of a log; as an error, what is wrong with it.
    pub fn check(&self, folder: &Path, key: &str, old: Option<&Path>) -> Result<String, String> {
        let mut command = Command::new(&self.command[0]);
        let output =
            command.args(&self.command[1..]).arg(folder).arg(key).args(old).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{}: {said}{errors}", self.name);
        match output.status.code() {
            Some(0) => Ok(said),
            Some(1) => Err(said),
            code => panic!("{} ended with {code:?}: {said}{errors}", self.name),
        }
    }
}

/// Lets every peer check the log in a folder, which holds `checkpoint` and `tile/`.
pub fn check_with_peers(folder: &Path, verifier_key: &str) {
    for peer in peers() {
        let said = peer.check(folder, verifier_key, None);
        eprintln!("{}: {}", peer.name, said.unwrap_or_else(|wrong| panic!("{wrong}")).trim());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_peer_accepts_the_log_of_a_gateway() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    for years in [14, 16, 18, 60, 65] {
        client.ask(&age(years, WIDOW)).await;
    }
    let answer = client.ask(&age(18, WIDOW)).await;
    let receipt = format!("/v1/receipts/{}", answer.index());
    let proof = async || client.get(&receipt).await.json["proof"].as_str().map(str::to_owned);
    let proof = eventually("the tree holds the answer", proof).await;
    let promise = answer.json["receipt"]["promise"].as_str().unwrap().to_owned();
    drop(client);
    let (ground, report) = harness.stop().await;
    assert!(report.published == report.entries && report.entries > 10, "{report:?}");
    let log = ground.folder.path().join("log");
    let origin = fs::read_to_string(log.join("origin")).unwrap();
    let key = origin.lines().find_map(|line| line.strip_prefix("verifier_key ")).unwrap();
    check_with_peers(&log.join("tree"), key);
    let promise_key = origin.lines().find_map(|line| line.strip_prefix("promise_key ")).unwrap();
    check_texts(ground.folder.path(), [(&proof, key), (&promise, promise_key)]);
}

/// Lets Go's sumdb check receipts and promises, and forgeries of them.
fn check_texts(folder: &Path, texts: [(&str, &str); 2]) {
    let Some(go) = peers().into_iter().find(|peer| peer.name == GO) else { return };
    let check = |text: &str, key: &str| {
        let file = folder.join("text");
        fs::write(&file, text).unwrap();
        go.check(&file, key, None)
    };
    for (number, (text, key)) in texts.into_iter().enumerate() {
        let said = check(text, key).unwrap();
        assert!(said.contains("is held"), "{said}");
        assert!(check(text, texts[1 - number].1).unwrap_err().contains("signature"));
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('—')) {
            // Another character of the same kind, near the end and not among base64's padding; of
            // what a receipt opens, one of the entry.
            let end = line.trim_end_matches('=').len() - 2;
            let place = if line.starts_with("extra") { 60 } else { end };
            // A short line may stand within a longer one, so its place is counted, not searched.
            let place = line.as_ptr().addr() - text.as_ptr().addr() + place;
            let mut forged = text.as_bytes().to_vec();
            forged[place] = if forged[place] == b'1' { b'2' } else { b'1' };
            check(str::from_utf8(&forged).unwrap(), key).expect_err(line);
        }
    }
}

const GO: &str = "sumdb";

/// The peers that can be had here, in CI all of them.
pub fn peers() -> Vec<&'static Peer> {
    static PEERS: LazyLock<[Result<Peer, String>; 2]> = LazyLock::new(|| [go(), python()]);
    let mut had = Vec::new();
    for peer in PEERS.iter() {
        match peer {
            Ok(peer) => had.push(peer),
            Err(why) => {
                assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
                eprintln!("SKIPPED: {why}");
            }
        }
    }
    had
}

/// Go's sumdb, as Debian packs it.
fn go() -> Result<Peer, String> {
    let folder = parts::profile_folder().parent().unwrap().join("peers-go");
    let program = folder.join("verify");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(script("verify.go"));
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    build.env("GOCACHE", folder.join("cache"));
    run(&mut build).map_err(|why| format!("Go's sumdb cannot be built: {why}"))?;
    Ok(Peer { name: GO, command: vec![program] })
}

/// Python's aics-tlog in a virtual environment, made the first time.
fn python() -> Result<Peer, String> {
    let folder = parts::profile_folder().parent().unwrap().join("peers-venv");
    let python = folder.join("bin/python");
    if !has_aics_tlog(&python) {
        // It runs from 3.12 on. Where one launcher stands for many interpreters, the variable
        // tells it which.
        let made = ["3.14", "3.13", "3.12"].iter().any(|version| {
            let mut base = Command::new(format!("python{version}"));
            base.env("PYENV_VERSION", version).args(["-m", "venv", "--clear"]);
            run(base.arg(&folder)).is_ok()
        });
        if !made {
            return Err("aics-tlog: no Python from 3.12 on makes a virtual environment".to_owned());
        }
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(&python).args(pip).arg(script("requirements.txt")))
            .map_err(|why| format!("aics-tlog cannot be installed: {why}"))?;
    }
    Ok(Peer { name: "aics-tlog", command: vec![python, script("verify.py")] })
}

fn has_aics_tlog(python: &Path) -> bool {
    run(Command::new(python).args(["-c", "import aics_tlog"])).is_ok()
}

fn script(name: &str) -> PathBuf {
    parts::root().join("tests/peers").join(name)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("").to_owned();
    if output.status.success() { Ok(()) } else { Err(last) }
}

const ORIGIN: &str = "gateway.example/peers";

/// A log of numbered entries, on disk.
struct Log {
    folder: TempDir,
    key: SignerKey,
    size: u64,
    root: Hash,
}

impl Log {
    fn of(size: u64) -> Self {
        let key = SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut edge = Edge::new();
        for number in 0..size {
            edge.append(Hash::of_leaf(&entry(number)), |tile, bytes| {
                store(folder.path(), tile, &bytes);
            });
        }
        edge.partial().for_each(|(tile, bytes)| store(folder.path(), tile, &bytes));
        for index in 0..size.div_ceil(TILE_WIDTH) {
            let tile = Tile::of_tree(TileKind::Entries, index, size).unwrap();
            let mut bundle = Vec::new();
            let first = index * TILE_WIDTH;
            (first..first + tile.width())
                .for_each(|number| add_to_bundle(&mut bundle, &entry(number)));
            store(folder.path(), tile, &bundle);
        }
        let log = Self { folder, key, size, root: edge.root() };
        log.sign("checkpoint", size, log.root);
        log
    }

    /// Signs a checkpoint of this size and root into a file.
    fn sign(&self, name: &str, size: u64, root: Hash) -> PathBuf {
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
        let path = self.path(name);
        fs::write(&path, checkpoint.sign(&[&self.key]).unwrap().to_string()).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verifier_key(&self) -> String {
        self.key.verifier().to_string()
    }

    /// What each peer finds wrong, by its name.
    fn faults(&self, old: Option<&Path>) -> Vec<(&'static str, String)> {
        let fault = |peer: &Peer| {
            peer.check(self.folder.path(), &self.verifier_key(), old).expect_err(peer.name)
        };
        peers().into_iter().map(|peer| (peer.name, fault(peer))).collect()
    }

    /// Changes a file for a moment, in which every peer must find a fault that has these words.
    fn assert_found(&self, name: &str, change: impl FnOnce(&mut Vec<u8>), words: &str) {
        let right = fs::read(self.path(name)).unwrap();
        let mut wrong = right.clone();
        change(&mut wrong);
        assert_ne!(right, wrong);
        fs::write(self.path(name), wrong).unwrap();
        for (peer, fault) in self.faults(None) {
            assert!(fault.contains(words), "{peer} of {name}: {fault}");
        }
        fs::write(self.path(name), right).unwrap();
    }

    /// Flips a bit of the file's first byte, then one of its last.
    fn assert_flips_found(&self, name: &str) {
        self.assert_found(name, |bytes| *bytes.first_mut().unwrap() ^= 1, name);
        self.assert_found(name, |bytes| *bytes.last_mut().unwrap() ^= 1, name);
    }
}

/// Numbered entries of several lengths, the least and the largest among them.
fn entry(number: u64) -> Vec<u8> {
    match number {
        2 => Vec::new(),
        400 => vec![b'x'; BUNDLE_ENTRY_BYTES_MAX],
        number => format!("entry {number} ").repeat(number as usize % 7 + 1).into_bytes(),
    }
}

fn store(folder: &Path, tile: Tile, bytes: &[u8]) {
    let path = folder.join(tile.to_string());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn flipped(Hash(mut bytes): Hash) -> Hash {
    bytes[31] ^= 1;
    Hash(bytes)
}

#[test]
fn peers_agree_with_logs_of_all_shapes() {
    for size in [0, 1, 255, 256, 257, 512, 600] {
        let log = Log::of(size);
        check_with_peers(log.folder.path(), &log.verifier_key());
    }
}

#[test]
fn peers_agree_with_a_log_of_three_levels_and_find_a_flipped_bit_in_them() {
    let log = Log::of(70_000);
    check_with_peers(log.folder.path(), &log.verifier_key());
    log.assert_flips_found("tile/1/000");
    log.assert_flips_found("tile/2/000.p/1");
    log.assert_found("tile/0/100", |bytes| bytes[4000] ^= 0x80, "tile/0/100");
    log.assert_found("tile/entries/100", |bytes| bytes[1000] ^= 0x80, "tile/entries/100");
}

#[test]
fn peers_find_a_flipped_bit_in_each_kind_of_file() {
    let log = Log::of(600);
    log.assert_flips_found("checkpoint");
    log.assert_flips_found("tile/0/001");
    log.assert_flips_found("tile/0/002.p/88");
    log.assert_flips_found("tile/1/000.p/2");
    log.assert_flips_found("tile/entries/001");
    log.assert_flips_found("tile/entries/002.p/88");
    check_with_peers(log.folder.path(), &log.verifier_key());
}

#[test]
fn peers_find_bytes_too_many_and_too_few() {
    let log = Log::of(600);
    for name in ["tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/002.p/88"] {
        log.assert_found(name, |bytes| bytes.extend([0; 32]), name);
        log.assert_found(name, |bytes| bytes.truncate(bytes.len() - 1), name);
    }
}

#[test]
fn peers_find_a_wrong_root_and_a_wrong_signature() {
    let log = Log::of(600);
    // Still Base64, so that it is read.
    let other = |byte: &mut u8| *byte = if *byte == b'A' { b'B' } else { b'A' };
    let root_at = format!("{ORIGIN}\n600\n").len();
    log.assert_found("checkpoint", |bytes| other(&mut bytes[root_at]), "signature");
    log.assert_found(
        "checkpoint",
        |bytes| other(bytes.iter_mut().nth_back(40).unwrap()),
        "signature",
    );
    log.sign("checkpoint", log.size, flipped(log.root));
    for (peer, fault) in log.faults(None) {
        assert!(fault.contains("root"), "{peer}: {fault}");
    }
}

#[test]
fn peers_find_a_log_consistent_with_its_past_and_with_no_other() {
    let log = Log::of(600);
    let past = Log::of(300).root;
    let key = log.verifier_key();
    let old = log.sign("old", 300, past);
    for peer in peers() {
        let said = peer.check(log.folder.path(), &key, Some(&old)).unwrap();
        assert!(said.contains("consistent with size 300"), "{}: {said}", peer.name);
    }
    for (size, root) in [(300, flipped(past)), (301, past), (601, log.root)] {
        let old = log.sign("old", size, root);
        for (peer, fault) in log.faults(Some(&old)) {
            assert!(fault.contains("consistency"), "{peer}: {fault}");
        }
    }
}
