//! What this crate makes, read by `tlog_tiles` and `signed_note`, which share no code with it.

use std::collections::HashMap;

use proptest::prelude::*;
use signed_note::{StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint as PeersCheckpoint, HashReader, Tile as PeersTile, TileHashReader, TileReader,
};

use crate::testing::{Stored, leaf};
use crate::{Checkpoint, Hash, SignerKey, Tile, consistency_proof, inclusion_proof};

/// Our tiles, as the peer asks for them.
struct Tiles(HashMap<String, Vec<u8>>);

impl Tiles {
    fn of(stored: &Stored) -> Self {
        let tiles = stored.tiles.iter();
        Self(tiles.map(|(tile, bytes)| (tile.to_string(), bytes.clone())).collect())
    }
}

impl TileReader for Tiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[PeersTile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths name the height of the tiles, ours cannot have another.
        let path = |tile: &PeersTile| tile.path().replacen("tile/8/", "tile/", 1);
        Ok(tiles.iter().map(|tile| self.0[&path(tile)].clone()).collect())
    }

    fn save_tiles(&self, _tiles: &[PeersTile], _data: &[Vec<u8>]) {}
}

fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}

fn all_theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().copied().map(theirs).collect()
}

#[test]
fn a_peer_finds_every_leaf_in_our_tiles() {
    const SIZE: u64 = 70_000;
    let stored = Stored::of(SIZE);
    let tiles = Tiles::of(&stored);
    let reader = TileHashReader::new(SIZE, theirs(stored.edge.root()), &tiles);
    let leaves: Vec<u64> = (0..SIZE).map(|leaf| tlog_tiles::stored_hash_index(0, leaf)).collect();
    for (chunk, first) in leaves.chunks(1000).zip((0..).step_by(1000)) {
        let found = reader.read_hashes(chunk).unwrap();
        for (hash, number) in found.into_iter().zip(first..) {
            assert_eq!(hash, theirs(leaf(number)));
        }
    }
}

/// Hashes that the peer has computed from the leaves alone.
struct Computed(Vec<tlog_tiles::Hash>);

impl HashReader for Computed {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

#[test]
fn a_peer_makes_the_same_tiles_of_the_same_leaves() {
    const SIZE: u64 = 70_000;
    let mut computed = Computed(Vec::new());
    for number in 0..SIZE {
        let leaf = theirs(leaf(number));
        let new = tlog_tiles::stored_hashes_for_record_hash(number, leaf, &computed).unwrap();
        computed.0.extend(new);
    }
    let stored = Stored::of(SIZE);
    let root = tlog_tiles::tree_hash(SIZE, &computed).unwrap();
    assert_eq!(root, theirs(stored.edge.root()));
    let ours = Tiles::of(&stored);
    let tiles = PeersTile::new_tiles(8, 0, SIZE);
    assert_eq!(tiles.len(), ours.0.len());
    for tile in tiles {
        let theirs = tile.read_data(&computed).unwrap();
        assert!(ours.read_tiles(&[tile]).unwrap()[0] == theirs, "{}", tile.path());
    }
}

#[test]
fn a_peer_reads_our_notes_and_we_read_its_keys() {
    let key = SignerKey::from_seed("gateway.example/log", &[7; 32]).unwrap();
    let checkpoint = Checkpoint {
        origin: "gateway.example/log".to_owned(),
        size: 70_000,
        root: Hash::of_leaf(b"root"),
    };
    let note = checkpoint.sign(&[&key]).unwrap().to_string();
    let verifier = StandardVerifier::new(&key.verifier().to_string()).unwrap();
    let read = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let (verified, unknown) = read.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 0));
    let theirs = PeersCheckpoint::from_bytes(read.text()).unwrap();
    assert_eq!((theirs.origin(), theirs.size()), (&*checkpoint.origin, 70_000));
    assert_eq!(theirs.hash().0, checkpoint.root.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_peer_accepts_our_proofs(size in 1_u64..2000, one in any::<u64>(), other in any::<u64>()) {
        let stored = Stored::of(size);
        let root = theirs(stored.edge.root());
        let index = one % size;
        let proof = inclusion_proof(index, size, |tile| stored.read(tile)).unwrap();
        let proof = all_theirs(&proof);
        let leaf = theirs(leaf(index));
        prop_assert!(tlog_tiles::check_record(&proof, size, root, index, leaf).is_ok());
        let old = other % size + 1;
        let old_root = theirs(Stored::of(old).edge.root());
        let proof = consistency_proof(old, size, |tile| stored.read(tile)).unwrap();
        let proof = all_theirs(&proof);
        prop_assert!(tlog_tiles::check_tree(&proof, size, root, old, old_root).is_ok());
    }

    #[test]
    fn a_path_that_is_read_is_written_alike(
        level in 0_u8..8,
        index in any::<u64>(),
        width in 1_u64..257,
    ) {
        let path = format!("tile/{level}/{}", &{
            let cells = PeersTile::new(8, level, index >> 20, width as u32, false).path();
            cells.splitn(4, '/').last().unwrap_or_default().to_owned()
        });
        prop_assert_eq!(path.parse::<Tile>().unwrap().to_string(), path);
    }
}
