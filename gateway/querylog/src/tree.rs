//! The hash tree on disk: the signed state, tiles and bundles, the published checkpoint.
//!
//! Owns the folder `tree` and the order in which it changes. The segments are the stage: an entry
//! is in the tree only once it is durable there, and everything but the state follows from them.
//! First the new state is signed and made durable in the place of the old one; then the tiles that
//! became full are written and synced; then partial tiles and checkpoint are published. A start
//! goes on from the state through the same code, so no size is ever signed with two roots.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jumpgate_tlog::{
    Checkpoint, Edge, Hash, Note, SignerKey, TILE_WIDTH, Tile, TileFault, TileKind, VerifierKey,
    add_to_bundle, entries_of_bundle,
};

use crate::disk::{Disk, DiskFault};
use crate::find::LeafFault;
use crate::follow::Follower;
use crate::frame::RawRecord;
use crate::segments::SegmentFault;
use crate::watch::{save, with_ending};

/// The tree cannot be opened or continued.
#[derive(Debug, thiserror::Error)]
pub enum TreeFault {
    /// There is no state.
    #[error(
        "{} is missing: it says what this log has signed, and without it a second root could be \
         signed; restore it from a backup",
        path.display()
    )]
    StateMissing {
        /// The file.
        path: PathBuf,
    },
    /// The state does not read, or is not signed with this log's key.
    #[error("{} is not this log's signed state: {why}; restore it from a backup", path.display())]
    StateDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The state is not the one that was written last.
    #[error(
        "{} was removed or changed while the log was open; find out by whom, move {} to its name \
         and start again",
        path.display(), saved.display()
    )]
    StateChanged {
        /// The file.
        path: PathBuf,
        /// Where its right content stands.
        saved: PathBuf,
    },
    /// The state is older than what was published.
    #[error(
        "{} is signed for {signed} entries and a checkpoint of {published} was published: it is \
         an old one, and to go on from it would sign a second root; restore state and segments",
        path.display()
    )]
    StateBehind {
        /// The state file.
        path: PathBuf,
        /// Entries that the state is signed for.
        signed: u64,
        /// Entries of the published checkpoint.
        published: u64,
    },
    /// The keys' folder holds another log key than the one that made this log.
    #[error("the log key is not the one whose verifier key {} holds", path.display())]
    Key {
        /// The origin file.
        path: PathBuf,
    },
    /// Entries that were signed are gone.
    #[error(
        "{} is signed for {signed} entries and the segments hold {entries}: entries are lost; \
         restore the segments from a mirror or a backup",
        path.display()
    )]
    EntriesLost {
        /// The state file.
        path: PathBuf,
        /// Entries that were signed.
        signed: u64,
        /// Entries that are there.
        entries: u64,
    },
    /// Entries that were signed have changed.
    #[error(
        "the first {size} entries do not have the root that {} is signed for: entries were \
         changed; restore the segments from a mirror or a backup",
        path.display()
    )]
    EntriesChanged {
        /// The state file.
        path: PathBuf,
        /// Entries that were signed.
        size: u64,
    },
    /// A segment is not what was written.
    #[error("{} is damaged at byte {offset}: {why}", file.display())]
    Segment {
        /// The segment.
        file: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// A file operation failed.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}

impl From<SegmentFault> for TreeFault {
    fn from(fault: SegmentFault) -> Self {
        match fault {
            SegmentFault::Disk(fault) => Self::Disk(fault),
            SegmentFault::Damaged { file, offset, why } => Self::Segment { file, offset, why },
        }
    }
}

/// What the log has signed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Size and root.
    pub checkpoint: Checkpoint,
    /// The signed checkpoint, as it is published.
    note: Note,
    /// A size up to which every full tile is durable.
    applied: u64,
}

/// A tree that grows.
pub(crate) struct Tree {
    disk: Disk,
    dir: PathBuf,
    /// The log key, and the former one while it is kept.
    signers: Arc<[SignerKey]>,
    state: State,
    edge: Edge,
    /// The entries after the last full bundle.
    bundle: Vec<u8>,
    follower: Follower,
}

/// Tiles that became full, with their bytes.
type Full = Vec<(Tile, Vec<u8>)>;

impl State {
    /// Reads the state of the log in `log_dir`, signed with `key`.
    pub fn read(disk: &Disk, log_dir: &Path, key: &VerifierKey) -> Result<Self, TreeFault> {
        let path = log_dir.join(TREE_DIR).join(STATE_FILE);
        match disk.read_small(&path, STATE_BYTES_MAX)? {
            None => Err(TreeFault::StateMissing { path }),
            Some(bytes) => {
                Self::parse(&bytes, key).map_err(|why| TreeFault::StateDamaged { path, why })
            }
        }
    }

    fn parse(bytes: &[u8], key: &VerifierKey) -> Result<Self, String> {
        let text = str::from_utf8(bytes).map_err(|_| "it is not a text")?;
        let rest = text.strip_prefix(STATE_FIRST_LINE).ok_or("its first line is another")?;
        let (applied, note) = rest.split_once("\n\n").ok_or("it is cut off")?;
        let applied = applied.strip_prefix("applied ").and_then(|n| n.parse().ok());
        let applied = applied.ok_or("its second line is no `applied` size")?;
        let note: Note = note.parse().map_err(|fault| format!("{fault}"))?;
        let keys = std::slice::from_ref(key);
        let checkpoint = Checkpoint::verify(&note, key.name(), keys);
        let checkpoint = checkpoint.map_err(|fault| format!("{fault}"))?;
        let state = Self { checkpoint, note, applied };
        let is_whole = applied <= state.checkpoint.size && state.text().as_bytes() == bytes;
        if is_whole { Ok(state) } else { Err("it is not written as this log writes it".to_owned()) }
    }

    fn sign(edge: &Edge, applied: u64, signers: &[SignerKey]) -> Self {
        let name = signers.first().map_or("", |signer| signer.verifier().name());
        let (origin, size, root) = (name.to_owned(), edge.size(), edge.root());
        Self::of(Checkpoint { origin, size, root }, applied, signers)
    }

    fn of(checkpoint: Checkpoint, applied: u64, signers: &[SignerKey]) -> Self {
        let signers: Vec<&SignerKey> = signers.iter().collect();
        // The origin was checked where the log was made: it holds no control character.
        let note = checkpoint.sign(&signers).expect("an origin of printable characters");
        Self { checkpoint, note, applied }
    }

    /// Signs the same size and root with other keys, in the state and the checkpoint of a log that
    /// nobody writes. Durable when this returns.
    pub fn sign_again(
        &self,
        disk: &Disk,
        log_dir: &Path,
        signers: &[SignerKey],
    ) -> Result<(), DiskFault> {
        let dir = log_dir.join(TREE_DIR);
        let state = Self::of(self.checkpoint.clone(), self.applied, signers);
        disk.replace(&dir.join(STATE_FILE), state.text().as_bytes(), true)?;
        disk.replace(&dir.join(CHECKPOINT_FILE), state.note.to_string().as_bytes(), true)?;
        disk.sync_dir(&dir)
    }

    fn text(&self) -> String {
        format!("{STATE_FIRST_LINE}applied {}\n\n{}", self.applied, self.note)
    }

    /// Sizes up to this one have been published.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Fails if something later than the state was published: then the state is an old one.
    pub fn check_published(
        &self,
        disk: &Disk,
        log_dir: &Path,
        key: &VerifierKey,
    ) -> Result<(), TreeFault> {
        // One that does not read is published anew.
        let Some((_, published)) = published(disk, log_dir, key)? else { return Ok(()) };
        let signed = &self.checkpoint;
        let is_other = published.size == signed.size && published.root != signed.root;
        if published.size > signed.size || is_other {
            let path = log_dir.join(TREE_DIR).join(STATE_FILE);
            let published = published.size;
            return Err(TreeFault::StateBehind { path, signed: signed.size, published });
        }
        Ok(())
    }

    /// Fails if entries that were signed are not there.
    pub fn check_entries(&self, log_dir: &Path, entries: u64) -> Result<(), TreeFault> {
        let signed = self.checkpoint.size;
        if signed <= entries {
            return Ok(());
        }
        let path = log_dir.join(TREE_DIR).join(STATE_FILE);
        Err(TreeFault::EntriesLost { path, signed, entries })
    }
}

/// The published checkpoint; none if it is missing or not signed with `key`.
pub(crate) fn published(
    disk: &Disk,
    log_dir: &Path,
    key: &VerifierKey,
) -> Result<Option<(Note, Checkpoint)>, DiskFault> {
    let path = log_dir.join(TREE_DIR).join(CHECKPOINT_FILE);
    let bytes = disk.read_small(&path, STATE_BYTES_MAX)?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(note) = text.and_then(|text| text.parse::<Note>().ok()) else { return Ok(None) };
    let verified = Checkpoint::verify(&note, key.name(), std::slice::from_ref(key));
    Ok(verified.ok().map(|checkpoint| (note, checkpoint)))
}

/// Which file of the published tree it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The checkpoint, another one whenever the tree has grown.
    Checkpoint,
    /// A tile or a bundle of entries, for ever the same.
    Tile,
}

/// A file of the published tree of `size` entries by its path in C2SP tlog-tiles; none if there is
/// no such path, the tree is smaller, or a partial tile is gone.
pub(crate) fn published_file(
    disk: &Disk,
    log_dir: &Path,
    path: &str,
    size: u64,
) -> Result<Option<(Published, Vec<u8>)>, LeafFault> {
    let (published, tile) = match (path, path.parse::<Tile>()) {
        (CHECKPOINT_FILE, _) => (Published::Checkpoint, None),
        (_, Ok(tile)) => (Published::Tile, Some(tile)),
        (_, Err(_)) => return Ok(None),
    };
    let dir = log_dir.join(TREE_DIR);
    let file = dir.join(tile.map_or(CHECKPOINT_FILE.to_owned(), |tile| tile.to_string()));
    if let Some(bytes) = disk.read_small(&file, BUNDLE_BYTES_MAX)? {
        return Ok(Some((published, bytes)));
    }
    let is_due = match tile {
        None => true,
        Some(tile) if Tile::of_tree(tile.kind(), tile.index(), size) != Some(tile) => false,
        // The full one may have taken a partial one's place meanwhile.
        Some(tile) => {
            tile.is_full() || disk.identity(&dir.join(tile.full().to_string()))?.is_none()
        }
    };
    if is_due { Err(LeafFault::Derived { file }) } else { Ok(None) }
}

/// Removes all tiles, which the next start makes anew from the entries.
pub(crate) fn remove_tiles(disk: &Disk, log_dir: &Path) -> Result<(), DiskFault> {
    disk.remove_dir(&log_dir.join(TREE_DIR).join("tile"))
}

impl Tree {
    /// Makes the folder of an empty tree, durable when this returns, but for its name.
    pub fn create(disk: &Disk, log_dir: &Path, signer: SignerKey) -> Result<(), DiskFault> {
        let dir = log_dir.join(TREE_DIR);
        disk.create_dir(&dir)?;
        let state = State::sign(&Edge::new(), 0, &[signer]);
        disk.replace(&dir.join(STATE_FILE), state.text().as_bytes(), true)?;
        disk.replace(&dir.join(CHECKPOINT_FILE), state.note.to_string().as_bytes(), true)?;
        disk.sync_dir(&dir)
    }

    /// The tree that a state goes on from. The state's entries are all durable, and give the root
    /// that it is signed for. Changes nothing.
    pub fn prove(
        disk: &Disk,
        log_dir: &Path,
        log_id: u64,
        signers: Vec<SignerKey>,
        state: &State,
    ) -> Result<Self, TreeFault> {
        let (size, path) = (state.checkpoint.size, log_dir.join(TREE_DIR).join(STATE_FILE));
        let signers: Arc<[SignerKey]> = signers.into();
        let from = |applied| Self::at(disk, log_dir, log_id, &signers, state, applied);
        // Tiles are derived: where they are lost or wrong, they are made anew from the entries.
        for applied in [state.applied, 0] {
            let Some(mut probe) = from(applied)? else { continue };
            while probe.edge.size() < size {
                probe.grow(size, GROWTH_ENTRIES_MAX)?;
            }
            if probe.edge.size() == size
                && probe.edge.root() == state.checkpoint.root
                && let Some(tree) = from(applied)?
            {
                return Ok(tree);
            }
        }
        Err(TreeFault::EntriesChanged { path, size })
    }

    /// Grows a proven tree to the size that is signed: writes the tiles that a crash has kept it
    /// from writing, and publishes the state's checkpoint.
    pub fn resume(&mut self) -> Result<(), TreeFault> {
        while self.edge.size() < self.state.checkpoint.size {
            let full = self.grow(self.state.checkpoint.size, GROWTH_ENTRIES_MAX)?;
            self.apply(&full)?;
        }
        // What a crash has left may be visible and not yet durable.
        let path = self.dir.join(STATE_FILE);
        self.disk.replace(&path, self.state.text().as_bytes(), true)?;
        self.disk.sync_dir(&self.dir)?;
        self.publish_again()?;
        self.publish()
    }

    /// The tree at a size, from its full tiles and the entries after them; none if the tiles are
    /// not there.
    fn at(
        disk: &Disk,
        log_dir: &Path,
        log_id: u64,
        signers: &Arc<[SignerKey]>,
        state: &State,
        size: u64,
    ) -> Result<Option<Self>, TreeFault> {
        let dir = log_dir.join(TREE_DIR);
        let first = size - size % TILE_WIDTH;
        let (own_disk, own_dir) = (disk.clone(), log_dir.to_owned());
        let mut follower = Follower::open_at(own_disk, own_dir, log_id, first)?;
        let (mut leaves, mut bundle) = (Vec::new(), Vec::new());
        let mut take = |record: RawRecord<'_>| {
            if record.index >= first {
                leaves.push(Hash::of_leaf(record.entry));
                add_to_bundle(&mut bundle, record.entry);
            }
        };
        while follower.batch(size, &mut take)? {}
        let read = |tile: Tile| disk.open_read(&dir.join(tile.to_string()))?.read_all(TILE_BYTES);
        let edge = match Edge::rebuild(size, &leaves, read) {
            Ok(edge) if follower.next_index() == size => edge,
            Ok(_) | Err(TileFault::Width(_)) => return Ok(None),
            Err(TileFault::Read(_, fault)) if fault.source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(TileFault::Read(_, fault)) => return Err(fault.into()),
        };
        let (disk, signers, state) = (disk.clone(), Arc::clone(signers), state.clone());
        Ok(Some(Self { disk, dir, signers, state, edge, bundle, follower }))
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Takes the entries below `durable` into the tree and publishes it.
    pub fn integrate(&mut self, durable: u64) -> Result<(), TreeFault> {
        while self.edge.size() < durable {
            let applied = self.edge.size();
            let full = self.grow(durable, GROWTH_ENTRIES_MAX)?;
            self.sign(applied)?;
            self.apply(&full)?;
            self.publish()?;
        }
        Ok(())
    }

    /// Reads entries into the edge. Nothing on disk changes.
    fn grow(&mut self, durable: u64, entries_max: u64) -> Result<Full, TreeFault> {
        let Self { edge, bundle, follower, .. } = self;
        let (mut full, begin) = (Full::new(), edge.size());
        let mut take = |record: RawRecord<'_>| {
            add_to_bundle(bundle, record.entry);
            edge.append(Hash::of_leaf(record.entry), |tile, bytes| full.push((tile, bytes)));
            let index = (edge.size() - 1) / TILE_WIDTH;
            let tile = Tile::of_tree(TileKind::Entries, index, edge.size());
            if let Some(tile) = tile.filter(|tile| tile.is_full()) {
                full.push((tile, std::mem::take(bundle)));
            }
        };
        while follower.next_index() - begin < entries_max && follower.batch(durable, &mut take)? {}
        Ok(full)
    }

    /// Puts the new state in the place of the old one, durable when this returns. From here on no
    /// other root can be signed for this size.
    fn sign(&mut self, applied: u64) -> Result<(), TreeFault> {
        let path = self.dir.join(STATE_FILE);
        let found = self.disk.read_small(&path, STATE_BYTES_MAX)?;
        if found.as_deref() != Some(self.state.text().as_bytes()) {
            // What was signed last must not be lost with the file.
            let log_dir = self.dir.parent().unwrap_or(&self.dir);
            let saved = save(&self.disk, log_dir, &path, self.state.text().as_bytes());
            let saved = saved.unwrap_or_else(|| with_ending(&path));
            return Err(TreeFault::StateChanged { path, saved });
        }
        let state = State::sign(&self.edge, applied, &self.signers);
        self.disk.replace(&path, state.text().as_bytes(), true)?;
        self.disk.sync_dir(&self.dir)?;
        self.state = state;
        Ok(())
    }

    /// Writes the tiles that became full, durable when this returns.
    fn apply(&self, full: &[(Tile, Vec<u8>)]) -> Result<(), TreeFault> {
        let mut folders = BTreeSet::new();
        for (tile, bytes) in full {
            let path = self.dir.join(tile.to_string());
            self.write(&path, bytes, true)?;
            self.disk.remove_dir(&path.with_extension("p"))?;
            let above = path.ancestors().skip(1).take_while(|above| *above != self.dir);
            folders.extend(above.map(Path::to_owned));
        }
        if !folders.is_empty() {
            folders.insert(self.dir.clone());
        }
        for folder in folders {
            self.disk.sync_dir(&folder)?;
        }
        Ok(())
    }

    /// Writes the partial tiles of all sizes since the last full ones: a power cut may have taken
    /// those that were published and not synced. They all begin like the present ones.
    fn publish_again(&self) -> Result<(), TreeFault> {
        let mut bundle_ends = vec![0];
        for entry in entries_of_bundle(&self.bundle) {
            let entry_bytes = 2 + entry.map_or(0, <[u8]>::len);
            bundle_ends.push(bundle_ends.last().copied().unwrap_or(0) + entry_bytes);
        }
        let size = self.edge.size();
        let bundle = Tile::of_tree(TileKind::Entries, size / TILE_WIDTH, size);
        let bundle = bundle.map(|tile| (tile, self.bundle.clone()));
        for (tile, bytes) in bundle.into_iter().chain(self.edge.partial()) {
            for width in 1..tile.width() {
                let path = self.dir.join(tile.narrowed(width).to_string());
                let end = match tile.kind() {
                    TileKind::Entries => bundle_ends[width as usize],
                    TileKind::Hashes(_) => 32 * width as usize,
                };
                let is_there = self.disk.open_read(&path).and_then(|file| file.bytes());
                if !is_there.is_ok_and(|length| length == end as u64) {
                    self.write(&path, &bytes[..end], false)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the partial tiles and the checkpoint. A power cut may take them: a start makes them
    /// again.
    fn publish(&self) -> Result<(), TreeFault> {
        let size = self.edge.size();
        let bundle = Tile::of_tree(TileKind::Entries, size / TILE_WIDTH, size);
        if let Some(tile) = bundle.filter(|tile| !tile.is_full()) {
            self.write(&self.dir.join(tile.to_string()), &self.bundle, false)?;
        }
        for (tile, bytes) in self.edge.partial() {
            self.write(&self.dir.join(tile.to_string()), &bytes, false)?;
        }
        let checkpoint = self.state.note.to_string();
        self.disk.replace(&self.dir.join(CHECKPOINT_FILE), checkpoint.as_bytes(), false)?;
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), DiskFault> {
        if let Some(folder) = path.parent() {
            self.disk.create_dir(folder)?;
        }
        self.disk.replace(path, bytes, durable)
    }
}

/// The tree's folder in the log's.
pub(crate) const TREE_DIR: &str = "tree";
/// What is published.
pub(crate) const CHECKPOINT_FILE: &str = "checkpoint";
/// A bundle of entries as large as C2SP lets them be.
const BUNDLE_BYTES_MAX: u64 = TILE_WIDTH * (2 + 65_535);
/// What was signed.
const STATE_FILE: &str = "state";
const STATE_FIRST_LINE: &str = "jumpgate-tree/v1\n";
/// Far above a state with one signature.
const STATE_BYTES_MAX: u64 = 8192;
/// A full tile of hashes, and a byte, so that a longer file is noticed.
const TILE_BYTES: u64 = 32 * TILE_WIDTH + 1;
/// Entries read into memory before their tiles are written: about 10 MB.
const GROWTH_ENTRIES_MAX: u64 = 16_384;

#[cfg(test)]
mod tests;
