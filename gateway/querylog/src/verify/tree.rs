//! The check of the tree: what was signed and published against all entries.
//!
//! Owns no file: it computes the tree anew and compares. It may run while the log grows: it looks
//! at what was published when it began.

use std::path::{Path, PathBuf};

use jumpgate_tlog::{
    Checkpoint, Edge, Hash, Note, TILE_WIDTH, Tile, TileKind, VerifierKey, add_to_bundle,
};

use crate::disk::Disk;
use crate::tree::{CHECKPOINT_FILE, State, TREE_DIR};
use crate::verify::Flaw;

/// A tree that grows beside the walk over the entries.
pub(super) struct TreeCheck {
    dir: PathBuf,
    /// What was signed last.
    signed: Checkpoint,
    /// What is published; its tiles must be there.
    published: Checkpoint,
    edge: Edge,
    bundle: Vec<u8>,
    pub flaws: Vec<Flaw>,
}

impl TreeCheck {
    /// Reads what was signed and published.
    pub fn open(disk: &Disk, log_dir: &Path, key: &VerifierKey) -> Result<Self, Flaw> {
        let dir = log_dir.join(TREE_DIR);
        // The checkpoint first: the state is signed before it is published.
        let published = published(&dir.join(CHECKPOINT_FILE), key)?;
        let state = State::read(disk, log_dir, key).map_err(|fault| flaw(None, fault))?;
        let signed = state.checkpoint;
        let flaws = Vec::new();
        Ok(Self { dir, signed, published, edge: Edge::new(), bundle: Vec::new(), flaws })
    }

    /// Entries in the published tree.
    pub fn published(&self) -> u64 {
        self.published.size
    }

    /// Takes the next entry.
    pub fn add(&mut self, entry: &[u8]) {
        let mut full = Vec::new();
        add_to_bundle(&mut self.bundle, entry);
        self.edge.append(Hash::of_leaf(entry), |tile, bytes| full.push((tile, bytes)));
        let size = self.edge.size();
        if size.is_multiple_of(TILE_WIDTH) {
            let tile = Tile::of_tree(TileKind::Entries, size / TILE_WIDTH - 1, size);
            let bytes = std::mem::take(&mut self.bundle);
            full.extend(tile.map(|tile| (tile, bytes)));
        }
        if size <= self.published.size {
            full.iter().for_each(|(tile, bytes)| self.compare(*tile, bytes));
        }
        if size == self.published.size {
            let bundle = Tile::of_tree(TileKind::Entries, size / TILE_WIDTH, size);
            let bundle = bundle.map(|tile| (tile, self.bundle.clone()));
            let partial: Vec<_> = bundle.into_iter().chain(self.edge.partial()).collect();
            partial.iter().for_each(|(tile, bytes)| self.compare(*tile, bytes));
        }
        self.compare_roots();
    }

    /// The end of the log: what was signed must have come.
    pub fn end(mut self) -> Vec<Flaw> {
        if self.edge.size() == 0 {
            self.compare_roots();
        }
        if self.signed.size > self.edge.size() {
            let (signed, entries) = (self.signed.size, self.edge.size());
            self.flaws.push(flaw(
                Some(self.dir.join("state")),
                format!("it is signed for {signed} entries, and the log holds {entries}"),
            ));
        }
        self.flaws
    }

    fn compare_roots(&mut self) {
        for (name, checkpoint) in [("state", &self.signed), (CHECKPOINT_FILE, &self.published)] {
            let size = self.edge.size();
            if checkpoint.size == size && checkpoint.root != self.edge.root() {
                let what =
                    format!("the first {size} entries do not have the root it is signed for");
                self.flaws.push(flaw(Some(self.dir.join(name)), what));
            }
        }
    }

    fn compare(&mut self, tile: Tile, bytes: &[u8]) {
        let path = self.dir.join(tile.to_string());
        let what = match std::fs::read(&path) {
            Ok(found) if found == bytes => return,
            // A partial tile may go once the full one is there.
            Err(_) if self.dir.join(tile.full().to_string()).exists() && !tile.is_full() => return,
            Ok(_) => "it is not what follows from the entries".to_owned(),
            Err(error) => format!("it cannot be read: {error}"),
        };
        self.flaws.push(flaw(Some(path), what));
    }
}

fn published(path: &Path, key: &VerifierKey) -> Result<Checkpoint, Flaw> {
    let wrong = |what: String| flaw(Some(path.to_owned()), what);
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let note: Note = text.parse().map_err(|fault| wrong(format!("{fault}")))?;
    let checkpoint = Checkpoint::verify(&note, key.name(), std::slice::from_ref(key));
    checkpoint.map_err(|fault| wrong(fault.to_string()))
}

fn flaw(file: Option<PathBuf>, what: impl ToString) -> Flaw {
    Flaw { file, offset: None, index: None, what: what.to_string() }
}
