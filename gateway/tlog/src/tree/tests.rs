use std::collections::HashMap;

use super::*;
use crate::testing::{Stored, leaf};

/// RFC 6962, section 2.1, word for word.
fn root_by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of_nothing(),
        [one] => *one,
        _ => {
            let middle = 1 << (leaves.len() - 1).ilog2();
            let (left, right) = leaves.split_at(middle);
            Hash::of_node(root_by_definition(left), root_by_definition(right))
        }
    }
}

#[test]
fn the_root_is_that_of_the_definition_at_every_size() {
    let leaves: Vec<Hash> = (0..700).map(leaf).collect();
    let mut edge = Edge::new();
    assert_eq!(edge.root(), root_by_definition(&[]));
    for size in 1..=leaves.len() {
        edge.append(leaves[size - 1], |_, _| {});
        assert_eq!(edge.size(), size as u64);
        assert_eq!(edge.root(), root_by_definition(&leaves[..size]), "{size}");
    }
}

#[test]
fn each_tile_becomes_full_once_and_holds_the_roots_below() {
    const SIZE: u64 = 70_000;
    let mut edge = Edge::new();
    let mut full = HashMap::new();
    for number in 0..SIZE {
        edge.append(leaf(number), |tile, bytes| {
            assert!(tile.is_full());
            assert_eq!(bytes.len(), 8192);
            assert!(full.insert(tile, bytes).is_none(), "{tile} twice");
        });
    }
    assert_eq!(full.len(), 273 + 1);
    let level_1 = &full[&Tile::of_tree(TileKind::Hashes(1), 0, SIZE).unwrap()];
    for index in 0..256 {
        let below = &full[&Tile::of_tree(TileKind::Hashes(0), index, SIZE).unwrap()];
        let root = root_by_definition(&hashes_of(below, 256).unwrap());
        assert_eq!(level_1[32 * index as usize..][..32], root.0);
    }
    let widths: Vec<_> = edge.partial().map(|(tile, bytes)| (tile.width(), bytes.len())).collect();
    assert_eq!(widths, [(112, 112 * 32), (17, 17 * 32), (1, 32)]);
}

#[test]
fn an_edge_is_rebuilt_from_the_full_tiles_and_the_last_leaves() {
    for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537] {
        let stored = Stored::of(size);
        let last: Vec<Hash> = (size - size % 256..size).map(leaf).collect();
        let full = |tile: Tile| if tile.is_full() { stored.read(tile) } else { Err(tile) };
        assert_eq!(Edge::rebuild(size, &last, full).unwrap(), stored.edge, "{size}");
    }
    let stored = Stored::of(300);
    let last: Vec<Hash> = (256..300).map(leaf).collect();
    let few = Edge::rebuild(300, &last[1..], |tile| stored.read(tile));
    assert!(matches!(few, Err(TileFault::Width(_))), "{few:?}");
    let tile = Tile::of_tree(TileKind::Hashes(0), 0, 300).unwrap();
    let short = |tile| stored.read(tile).map(|bytes| bytes[32..].to_vec());
    assert_eq!(Edge::rebuild(300, &last, short), Err(TileFault::Width(tile)));
    let missing = Edge::rebuild(300, &last, |_| Err::<Vec<u8>, _>("gone"));
    assert_eq!(missing, Err(TileFault::Read(tile, "gone")));
}
