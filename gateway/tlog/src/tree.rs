//! A growing tree: its right edge, from which the root follows and into which leaves go.
//!
//! Owns the making of tiles. Memory does not grow with the tree: at most 255 hashes a level.

use crate::tile::{TILE_HEIGHT, TILE_LEVELS, TILE_WIDTH, hashes_of};
use crate::{Hash, Tile, TileKind};

/// The partial tiles of a tree and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// The hashes of the partial tile of each level; an empty list where the last tile is full.
    levels: [Vec<Hash>; TILE_LEVELS as usize],
}

/// A tile that a reader gave is not what the tree needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileFault<E> {
    /// It has not as many hashes as the tree's size says.
    #[error("{0} has another length than its path says")]
    Width(Tile),
    /// The reader failed.
    #[error("{0} cannot be read")]
    Read(Tile, #[source] E),
}

impl Default for Edge {
    fn default() -> Self {
        Self::new()
    }
}

impl Edge {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self { size: 0, levels: [const { Vec::new() }; TILE_LEVELS as usize] }
    }

    /// The edge of a tree whose full tiles are stored and of whose leaves those after the last full
    /// tile are known. What this reads is a few hundred tiles, however large the tree.
    ///
    /// # Errors
    /// A tile cannot be read or has another length; the leaves are more or fewer than those that
    /// the tree's size leaves over.
    pub fn rebuild<E>(
        size: u64,
        last_leaves: &[Hash],
        mut read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
    ) -> Result<Self, TileFault<E>> {
        let mut edge = Self { size, ..Self::new() };
        for tile in Tile::partial_of_tree(size) {
            let TileKind::Hashes(level) = tile.kind() else { continue };
            let first = tile.index() * TILE_WIDTH;
            let mut hashes = Vec::new();
            for index in first..first + tile.width() {
                let Some(below) = level.checked_sub(1).map(TileKind::Hashes) else { break };
                let Some(below) = Tile::of_tree(below, index, size) else { break };
                let bytes = read(below).map_err(|error| TileFault::Read(below, error))?;
                let whole = hashes_of(&bytes, TILE_WIDTH).ok_or(TileFault::Width(below))?;
                hashes.push(root_of(&whole));
            }
            if level == 0 {
                hashes.extend_from_slice(last_leaves);
            }
            if hashes.len() as u64 != tile.width() {
                return Err(TileFault::Width(tile));
            }
            edge.levels[usize::from(level)] = hashes;
        }
        Ok(edge)
    }

    /// Leaves in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root hash.
    pub fn root(&self) -> Hash {
        let peaks = self.levels.iter().rev().flat_map(|hashes| peaks(hashes));
        let peaks: Vec<Hash> = peaks.collect();
        let above = peaks.into_iter().rev().reduce(|right, left| Hash::of_node(left, right));
        above.unwrap_or_else(Hash::of_nothing)
    }

    /// Adds a leaf and hands every tile that this fills to `full`.
    pub fn append(&mut self, leaf: Hash, mut full: impl FnMut(Tile, Vec<u8>)) {
        self.size += 1;
        let mut hash = leaf;
        for (level, hashes) in (0..).zip(&mut self.levels) {
            hashes.push(hash);
            let leaves_log = TILE_HEIGHT * (u32::from(level) + 1);
            let index = (self.size - 1).checked_shr(leaves_log).unwrap_or(0);
            let Some(tile) = Tile::of_tree(TileKind::Hashes(level), index, self.size) else {
                return;
            };
            if !tile.is_full() {
                return;
            }
            full(tile, bytes_of(hashes));
            hash = root_of(hashes);
            hashes.clear();
        }
    }

    /// The partial tiles of hashes, and their bytes.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, Vec<u8>)> {
        Tile::partial_of_tree(self.size).filter_map(|tile| match tile.kind() {
            TileKind::Hashes(level) => Some((tile, bytes_of(&self.levels[usize::from(level)]))),
            TileKind::Entries => None,
        })
    }
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The root of a perfect tree over hashes whose number is a power of two.
pub(crate) fn root_of(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[left, right]| Hash::of_node(*left, *right))
            .collect();
    }
    row.first().copied().unwrap_or_else(Hash::of_nothing)
}

/// The roots of the perfect trees that hashes side by side make, largest first.
fn peaks(mut hashes: &[Hash]) -> Vec<Hash> {
    let mut peaks = Vec::new();
    while !hashes.is_empty() {
        let (perfect, rest) = hashes.split_at(1 << hashes.len().ilog2());
        peaks.push(root_of(perfect));
        hashes = rest;
    }
    peaks
}

#[cfg(test)]
mod tests;
