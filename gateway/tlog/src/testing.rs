//! A tree with its tiles in memory, for this crate's tests.

use std::collections::HashMap;

use crate::{Edge, Hash, Tile};

/// The leaf of a numbered entry.
pub(crate) fn leaf(number: u64) -> Hash {
    Hash::of_leaf(&entry(number))
}

/// A numbered entry; they differ in length.
pub(crate) fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

/// The tree of the entries numbered from 0, as a log would store it.
pub(crate) struct Stored {
    pub edge: Edge,
    pub tiles: HashMap<Tile, Vec<u8>>,
}

impl Stored {
    pub fn of(size: u64) -> Self {
        let (mut edge, mut tiles) = (Edge::new(), HashMap::new());
        for number in 0..size {
            edge.append(leaf(number), |tile, bytes| {
                tiles.insert(tile, bytes);
            });
        }
        tiles.extend(edge.partial());
        Self { edge, tiles }
    }

    pub fn read(&self, tile: Tile) -> Result<Vec<u8>, Tile> {
        self.tiles.get(&tile).cloned().ok_or(tile)
    }
}
