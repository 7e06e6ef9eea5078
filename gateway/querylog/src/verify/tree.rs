//! The check of the tree: what was signed and published against all entries.
//!
//! Owns no file: it computes the tree anew and compares. It may run while the log grows: it looks
//! at what was published when it began.

use std::path::{Path, PathBuf};

use jumpgate_tlog::{Checkpoint, Edge, Hash, TILE_WIDTH, Tile, TileKind, add_to_bundle};

use crate::disk::Disk;
use crate::origin::Origin;
use crate::tree::{CHECKPOINT_FILE, State, TREE_DIR, published};
use crate::verify::{FLAWS_MAX, Flaw};

/// A tree that grows beside the walk over the entries.
pub(super) struct TreeCheck {
    disk: Disk,
    dir: PathBuf,
    /// What was signed last.
    signed: Checkpoint,
    /// What is published, if a checkpoint says it; its tiles must be there.
    published: Option<Checkpoint>,
    /// A size whose full tiles must be there whatever is published.
    applied: u64,
    edge: Edge,
    bundle: Vec<u8>,
    pub flaws: Vec<Flaw>,
}

impl TreeCheck {
    /// Reads what was signed and published.
    pub fn open(disk: &Disk, log_dir: &Path) -> Result<Self, Flaw> {
        let origin = match Origin::read(disk, log_dir) {
            Ok(Some(origin)) => origin,
            Ok(None) => return Err(flaw(None, "there is no log")),
            Err(fault) => return Err(flaw(None, fault)),
        };
        let key = &origin.verifier;
        let state = || State::read(disk, log_dir, key).map_err(|fault| flaw(None, fault));
        let dir = log_dir.join(TREE_DIR);
        // The state before and after the checkpoint: what is published lies between the two, also
        // while the log grows.
        let before = state()?;
        let path = || Some(dir.join(CHECKPOINT_FILE));
        let published =
            published(disk, log_dir, key).map_err(|fault| flaw(path(), fault.source))?;
        let published = published.map(|(_, checkpoint)| checkpoint);
        let after = state()?;
        let (applied, signed) = (before.applied(), after.checkpoint.size);
        let mut flaws = Vec::new();
        match &published {
            // What was signed is looked at all the same.
            None => {
                let what = "it is missing or not signed with the log's key; a start publishes it \
                            again";
                flaws.push(Flaw { is_derived: true, ..flaw(path(), what) });
            }
            Some(published) if published.size < applied => {
                let what = format!("it is older than the {applied} entries published once");
                flaws.push(flaw(path(), what));
            }
            Some(published) if published.size > signed => {
                let of = published.size;
                let what = format!("it is of {of} entries, and the state of {signed}");
                flaws.push(flaw(path(), what));
            }
            Some(_) => {}
        }
        let signed = after.checkpoint;
        let (edge, bundle) = (Edge::new(), Vec::new());
        let disk = disk.clone();
        Ok(Self { disk, dir, signed, published, applied, edge, bundle, flaws })
    }

    /// Entries in the published tree.
    pub fn published(&self) -> u64 {
        self.published.as_ref().map_or(0, |checkpoint| checkpoint.size)
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
        if size <= self.published().max(self.applied) {
            full.iter().for_each(|(tile, bytes)| self.compare(*tile, bytes));
        }
        if size == self.published() {
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
        let entries = self.edge.size();
        if self.signed.size > entries {
            let signed = self.signed.size;
            self.flaws.push(flaw(
                Some(self.dir.join("state")),
                format!("it is signed for {signed} entries, and the log holds {entries}"),
            ));
        }
        self.flaws
    }

    fn compare_roots(&mut self) {
        let published = self.published.as_ref().map(|published| (CHECKPOINT_FILE, published));
        for (name, checkpoint) in published.into_iter().chain([("state", &self.signed)]) {
            let size = self.edge.size();
            if checkpoint.size == size && checkpoint.root != self.edge.root() {
                let what =
                    format!("the first {size} entries do not have the root it is signed for");
                self.flaws.push(flaw(Some(self.dir.join(name)), what));
            }
        }
    }

    fn is_there(&self, tile: Tile) -> bool {
        matches!(self.disk.identity(&self.dir.join(tile.to_string())), Ok(Some(_)))
    }

    fn compare(&mut self, tile: Tile, bytes: &[u8]) {
        if self.flaws.len() >= FLAWS_MAX {
            return;
        }
        let path = self.dir.join(tile.to_string());
        let read = |path: &Path| self.disk.open_read(path)?.read_all(TILE_BYTES_MAX);
        let what = match read(&path) {
            Ok(found) if found == bytes => return,
            // A partial tile may go once the full one is there.
            Err(_) if !tile.is_full() && self.is_there(tile.full()) => return,
            Ok(_) => format!("it is not what follows from the entries; {ANEW}"),
            Err(fault) => format!("it cannot be read: {}; {ANEW}", fault.source),
        };
        self.flaws.push(Flaw { is_derived: true, ..flaw(Some(path), what) });
    }
}

fn flaw(file: Option<PathBuf>, what: impl ToString) -> Flaw {
    Flaw { file, offset: None, index: None, what: what.to_string(), is_derived: false }
}

/// What to do about a tile.
const ANEW: &str = "`jumpgate log fsck --mend` makes all tiles anew";
/// A bundle of 256 entries of the largest size, and a byte.
const TILE_BYTES_MAX: u64 = 256 * (2 + 65_535) + 1;
