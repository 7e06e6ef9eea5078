//! Proofs that an entry is in a tree and that a tree grew out of another (RFC 6962, section 2.1).
//!
//! Owns making proofs from tiles and checking them. Checking follows RFC 9162, sections 2.1.3.2 and
//! 2.1.4.2, and trusts nothing but the two roots.

use std::collections::HashMap;

use crate::tile::{TILE_HEIGHT, TILE_WIDTH, hashes_of};
use crate::tree::{TileFault, root_of};
use crate::{Hash, Tile, TileKind};

/// Most hashes that a proof about a tree of at most 2^64 leaves has.
pub const PROOF_HASHES_MAX: usize = 64;

/// A proof cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault<E> {
    /// The leaf or the smaller tree is not within the tree.
    #[error("{within} is not within a tree of {size} leaves")]
    Outside {
        /// The leaf's index, or the size of the smaller tree.
        within: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// A tile is missing or wrong.
    #[error(transparent)]
    Tile(#[from] TileFault<E>),
}

/// A proof does not prove what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to the root")]
pub struct NotProven;

/// The path from a leaf to the root of a tree of `size` leaves, lowest sibling first.
///
/// # Errors
/// There is no such leaf, or a tile is missing or has another length.
pub fn inclusion_proof<E>(
    index: u64,
    size: u64,
    read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, ProofFault<E>> {
    if index >= size {
        return Err(ProofFault::Outside { within: index, size });
    }
    let mut tiles = Tiles::new(size, read);
    let (mut from, mut to) = (0, size);
    let mut siblings = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            siblings.push((middle, to));
            to = middle;
        } else {
            siblings.push((from, middle));
            from = middle;
        }
    }
    siblings.iter().rev().map(|&(from, to)| Ok(tiles.root(from, to)?)).collect()
}

/// What leads from the root of the first `old_size` leaves to that of `size` leaves.
///
/// # Errors
/// The old tree is larger or empty, or a tile is missing or has another length.
pub fn consistency_proof<E>(
    old_size: u64,
    size: u64,
    read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
) -> Result<Vec<Hash>, ProofFault<E>> {
    if old_size == 0 || old_size > size {
        return Err(ProofFault::Outside { within: old_size, size });
    }
    let mut tiles = Tiles::new(size, read);
    let (mut from, mut to) = (0, size);
    let mut nodes = Vec::new();
    while old_size != to {
        let middle = from + split(to - from);
        if old_size <= middle {
            nodes.push((middle, to));
            to = middle;
        } else {
            nodes.push((from, middle));
            from = middle;
        }
    }
    // The verifier knows the old root; where that is a node of the tree, the proof leaves it out.
    if from > 0 {
        nodes.push((from, to));
    }
    nodes.iter().rev().map(|&(from, to)| Ok(tiles.root(from, to)?)).collect()
}

/// Checks that a leaf is at `index` in the tree of `size` leaves with this root.
///
/// # Errors
/// It is not proven.
pub fn check_inclusion(
    index: u64,
    leaf: Hash,
    size: u64,
    root: Hash,
    proof: &[Hash],
) -> Result<(), NotProven> {
    if index >= size {
        return Err(NotProven);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for &sibling in proof {
        if last == 0 {
            return Err(NotProven);
        }
        if node & 1 == 1 || node == last {
            hash = Hash::of_node(sibling, hash);
            skip_lone_nodes(&mut node, &mut last);
        } else {
            hash = Hash::of_node(hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 && hash == root { Ok(()) } else { Err(NotProven) }
}

/// Checks that the tree of `old_size` leaves with `old_root` is the beginning of that of `size`
/// leaves with `root`. Every tree begins with the empty one, for which the proof is empty.
///
/// # Errors
/// It is not proven.
pub fn check_consistency(
    old_size: u64,
    old_root: Hash,
    size: u64,
    root: Hash,
    proof: &[Hash],
) -> Result<(), NotProven> {
    if old_size == 0 || old_size == size {
        let same = if old_size == 0 { old_root == Hash::of_nothing() } else { old_root == root };
        return if same && proof.is_empty() { Ok(()) } else { Err(NotProven) };
    }
    if old_size > size {
        return Err(NotProven);
    }
    let (mut node, mut last) = (old_size - 1, size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (first, rest) = match proof.split_first() {
        _ if old_size.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(NotProven),
    };
    let (mut old, mut new) = (first, first);
    for &hash in rest {
        if last == 0 {
            return Err(NotProven);
        }
        if node & 1 == 1 || node == last {
            (old, new) = (Hash::of_node(hash, old), Hash::of_node(hash, new));
            skip_lone_nodes(&mut node, &mut last);
        } else {
            new = Hash::of_node(new, hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last == 0 && old == old_root && new == root { Ok(()) } else { Err(NotProven) }
}

/// A node at the right edge without a sibling is its own parent.
fn skip_lone_nodes(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        (*node, *last) = (*node >> 1, *last >> 1);
    }
}

/// Leaves in the left subtree of a tree of `size` leaves, at least 2: the largest power of two
/// below.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The tiles of one tree, each read once.
struct Tiles<R> {
    size: u64,
    read: R,
    known: HashMap<Tile, Vec<Hash>>,
}

impl<E, R: FnMut(Tile) -> Result<Vec<u8>, E>> Tiles<R> {
    fn new(size: u64, read: R) -> Self {
        Self { size, read, known: HashMap::new() }
    }

    /// The root of the leaves `from..to`, which are a node of the tree or its right edge.
    fn root(&mut self, from: u64, to: u64) -> Result<Hash, TileFault<E>> {
        let leaves = to - from;
        if leaves.is_power_of_two() {
            return self.node(leaves.ilog2(), from >> leaves.ilog2());
        }
        let middle = from + split(leaves);
        Ok(Hash::of_node(self.root(from, middle)?, self.root(middle, to)?))
    }

    /// The root of the `index`-th perfect subtree of `2^height` leaves.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, TileFault<E>> {
        let (level, within) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
        let first = index << within;
        // A node of the tree has its tile: the caller has checked that it is within.
        let kind = TileKind::Hashes(level as u8);
        let Some(tile) = Tile::of_tree(kind, first / TILE_WIDTH, self.size) else {
            return Ok(Hash::of_nothing());
        };
        let hashes = match self.known.get(&tile) {
            Some(hashes) => hashes,
            None => {
                let bytes = (self.read)(tile).map_err(|error| TileFault::Read(tile, error))?;
                let hashes = hashes_of(&bytes, tile.width()).ok_or(TileFault::Width(tile))?;
                self.known.entry(tile).or_insert(hashes)
            }
        };
        let at = (first % TILE_WIDTH) as usize;
        let of_node = hashes.get(at..at + (1 << within)).ok_or(TileFault::Width(tile))?;
        Ok(root_of(of_node))
    }
}

#[cfg(test)]
mod tests;
