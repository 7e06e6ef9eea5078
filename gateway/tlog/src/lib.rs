//! The mathematics and formats of a tiled transparency log, to the letter of the C2SP
//! specifications that `spec/query-log.md` names: tree, tiles, proofs, signed notes, checkpoints.
//!
//! No file is read, no clock and no network here, so that whoever verifies a log or a receipt
//! offline runs the code that the gateway runs.

mod checkpoint;
mod hash;
mod note;
mod proof;
mod tile;
mod tlog_proof;
mod tree;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod testing;

pub use checkpoint::{Checkpoint, CheckpointFault};
pub use hash::{Hash, InvalidHash};
pub use note::{
    InvalidKey, NOTE_BYTES_MAX, Note, NoteFault, SIGNATURES_MAX, SignerKey, VerifierKey,
};
pub use proof::{
    NotProven, PROOF_HASHES_MAX, ProofFault, check_consistency, check_inclusion, consistency_proof,
    inclusion_proof,
};
pub use tile::{
    BUNDLE_ENTRY_BYTES_MAX, InvalidTile, TILE_WIDTH, Tile, TileKind, TornBundle, add_to_bundle,
    entries_of_bundle,
};
pub use tlog_proof::{EXTRA_BYTES_MAX, TlogProof, TlogProofFault};
pub use tree::{Edge, TileFault};
