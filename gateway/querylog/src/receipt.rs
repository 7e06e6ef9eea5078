//! Receipts: that one entry is in the log, and what it says, for whoever holds the log's verifier
//! key and nothing else.
//!
//! Owns what a receipt opens. Of the sealed fields it opens the verdict and the date that it is
//! about; of every other field it gives the commitment alone.

use std::io::ErrorKind;
use std::path::Path;

use jiff::civil::Date;
use jumpgate_catalogue::Verdict;
use jumpgate_tlog::{
    Checkpoint, Hash, ProofFault, TILE_WIDTH, Tile, TileFault, TlogProof, TlogProofFault,
    VerifierKey, inclusion_proof,
};
use minicbor::{Decoder, Encoder};

use crate::disk::{Disk, DiskFault};
use crate::entry::{Entry, EntryFault, LeafHash};
use crate::fields::{self, Field, FieldId, Fields};
use crate::find::LeafFault;
use crate::promise::Promise;
use crate::tree::{CHECKPOINT_FILE, TREE_DIR, published};

/// What the log has of an entry's receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// The receipt, to be checked by [`Proven::of_receipt`].
    Proven(String),
    /// The published tree does not hold the entry yet.
    NotYet,
    /// The subject was erased: nobody can open what the entry seals any more.
    Erased,
}

/// What a receipt proves, read without the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The entry, as it stands in the log.
    pub entry: Entry<'static>,
    /// Its leaf index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf_hash: LeafHash,
    /// The verdict, of an `answer`.
    pub verdict: Option<Verdict>,
    /// The civil date that the question is about, where the entry seals one.
    pub as_of: Option<Date>,
    /// The signed checkpoint whose tree holds the entry.
    pub checkpoint: Checkpoint,
}

/// A receipt cannot be read or proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptFault {
    /// The proof around it.
    #[error("the receipt does not hold")]
    Proof(#[from] TlogProofFault),
    /// What it opens is not there or not well formed.
    #[error("the receipt's line `extra` does not hold an entry of this log's form")]
    Extra,
    /// The entry does not decode.
    #[error("the receipt's entry does not decode")]
    Entry(#[from] EntryFault),
    /// The fields it opens are not those that the entry commits to.
    #[error("the verdict or the date is not the one that the entry commits to")]
    Fields,
}

impl Proven {
    /// Checks a receipt with the log's verifier key.
    ///
    /// # Errors
    /// The text is no receipt of this log, or does not prove what it says.
    pub fn of_receipt(receipt: &str, key: &VerifierKey) -> Result<Self, ReceiptFault> {
        let proof: TlogProof = receipt.parse()?;
        let opened = Opened::decode(proof.extra.as_deref().unwrap_or_default());
        let opened = opened.ok_or(ReceiptFault::Extra)?;
        let leaf = Hash::of_leaf(&opened.entry);
        let checkpoint = proof.verify(leaf, key.name(), std::slice::from_ref(key))?;
        let entry = Entry::decode(&opened.entry)?.into_owned();
        let commitments = opened.fields.iter().map(Field::commitment).chain(opened.others);
        let commitments: Vec<_> = commitments.collect();
        let committed =
            (!commitments.is_empty()).then(|| fields::commitment_of_all(commitments.into_iter()));
        if committed != entry.fields {
            return Err(ReceiptFault::Fields);
        }
        let fields = Fields::of(opened.fields);
        let (verdict, as_of) = (fields.verdict(), fields.date(FieldId::AsOf));
        let (index, leaf_hash) = (proof.index, leaf.0);
        Ok(Self { entry, index, leaf_hash, verdict, as_of, checkpoint })
    }
}

/// A receipt of a log that has not kept its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenPromise {
    /// They speak of different entries.
    #[error("the promise is of entry {promised}, the receipt of entry {proven}: fetch that one's")]
    OtherEntry {
        /// The entry that was promised.
        promised: u64,
        /// The entry that is proven.
        proven: u64,
    },
    /// They speak of different logs.
    #[error("the promise is another log's")]
    OtherLog,
    /// The log signed both, and they exclude each other.
    #[error(
        "BROKEN: the log promised another entry {index} than its tree holds; keep promise and \
         receipt, they are evidence against it"
    )]
    Broken {
        /// The entry's leaf index.
        index: u64,
    },
}

impl Proven {
    /// Compares a receipt with the promise that came before it. In words, if the promise is kept.
    ///
    /// # Errors
    /// It is not, or the two do not belong together.
    pub fn keeps(&self, promise: &Promise) -> Result<String, BrokenPromise> {
        if promise.origin != self.checkpoint.origin {
            return Err(BrokenPromise::OtherLog);
        }
        if promise.index != self.index {
            let (promised, proven) = (promise.index, self.index);
            return Err(BrokenPromise::OtherEntry { promised, proven });
        }
        if promise.leaf_hash != self.leaf_hash {
            return Err(BrokenPromise::Broken { index: self.index });
        }
        Ok(format!("KEPT: it is what the log promised of entry {}.", self.index))
    }
}

/// The text of a receipt for the entry at `index`, which the published tree is known to hold.
pub(crate) fn receipt(
    disk: &Disk,
    log_dir: &Path,
    key: &VerifierKey,
    index: u64,
    entry: &[u8],
    fields: Option<&Fields>,
) -> Result<String, LeafFault> {
    let dir = log_dir.join(TREE_DIR);
    let derived = |name: &str| LeafFault::Derived { file: dir.join(name) };
    let published = published(disk, log_dir, key)?;
    let (note, checkpoint) = published.ok_or_else(|| derived(CHECKPOINT_FILE))?;
    let hashes = inclusion_proof(index, checkpoint.size, |tile| read(disk, &dir, tile));
    let hashes = hashes.map_err(|fault| match fault {
        ProofFault::Outside { .. } => derived(CHECKPOINT_FILE),
        ProofFault::Tile(TileFault::Width(tile)) => derived(&tile.to_string()),
        ProofFault::Tile(TileFault::Read(tile, fault)) => match fault.source.kind() {
            ErrorKind::NotFound => derived(&tile.to_string()),
            _ => fault.into(),
        },
    })?;
    let extra = Some(Opened::of(entry, fields).encode());
    let proof = TlogProof { extra, index, hashes, checkpoint: note };
    // Tiles are files: a receipt that does not hold is not handed out.
    let held = proof.verify(Hash::of_leaf(entry), key.name(), std::slice::from_ref(key));
    held.map(|_| proof.to_string()).map_err(|_| derived("tile"))
}

/// A tile, or what the full one that has taken its place begins with.
fn read(disk: &Disk, dir: &Path, tile: Tile) -> Result<Vec<u8>, DiskFault> {
    let whole = 32 * TILE_WIDTH + 1;
    match disk.open_read(&dir.join(tile.to_string())) {
        Ok(file) => file.read_all(whole),
        Err(fault) if !tile.is_full() => {
            let full = disk.open_read(&dir.join(tile.full().to_string())).map_err(|_| fault)?;
            let mut bytes = full.read_all(whole)?;
            bytes.truncate(32 * tile.width() as usize);
            Ok(bytes)
        }
        Err(fault) => Err(fault),
    }
}

/// What stands in the line `extra`: the entry, what is opened, and the other commitments.
struct Opened {
    entry: Vec<u8>,
    fields: Vec<Field>,
    others: Vec<[u8; 32]>,
}

impl Opened {
    fn of(entry: &[u8], fields: Option<&Fields>) -> Self {
        let fields = fields.into_iter().flat_map(Fields::iter).cloned();
        let (opened, others): (Vec<Field>, Vec<Field>) =
            fields.partition(|field| OPENED.contains(&field.id));
        let others = others.iter().map(Field::commitment).collect();
        Self { entry: entry.to_vec(), fields: opened, others }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut cbor = Encoder::new(&mut out);
        let mut write = || -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
            cbor.array(4)?.u8(VERSION)?.bytes(&self.entry)?;
            let opened = self.fields.iter().map(|it| (it.id, &it.salt, &it.value[..]));
            fields::write_list(opened, &mut cbor)?;
            cbor.array(self.others.len() as u64)?;
            for commitment in &self.others {
                cbor.bytes(commitment)?;
            }
            Ok(())
        };
        write().expect("writing to a Vec has no error: its type is Infallible");
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cbor = Decoder::new(bytes);
        if cbor.array().ok()? != Some(4) || cbor.u8().ok()? != VERSION {
            return None;
        }
        let entry = cbor.bytes().ok()?.to_vec();
        let fields = fields::read_list(&mut cbor)?;
        let count = usize::try_from(cbor.array().ok()??).ok()?;
        if count > FieldId::ALL.len() || fields.iter().any(|it| !OPENED.contains(&it.id)) {
            return None;
        }
        let others = (0..count).map(|_| cbor.bytes().ok()?.try_into().ok());
        let others = others.collect::<Option<_>>()?;
        let opened = Self { entry, fields, others };
        // One text for one receipt.
        (opened.encode() == bytes).then_some(opened)
    }
}

const VERSION: u8 = 1;
/// What a caller was told.
const OPENED: [FieldId; 2] = [FieldId::Verdict, FieldId::AsOf];

#[cfg(test)]
mod tests;
