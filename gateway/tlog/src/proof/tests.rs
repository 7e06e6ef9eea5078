use super::*;
use crate::Edge;
use crate::testing::{Stored, leaf};

/// The roots of all trees up to a size.
fn roots(size: u64) -> Vec<Hash> {
    let mut edge = Edge::new();
    let mut roots = vec![edge.root()];
    roots.extend((0..size).map(|number| {
        edge.append(leaf(number), |_, _| {});
        edge.root()
    }));
    roots
}

#[test]
fn every_leaf_of_every_small_tree_is_proven_and_nothing_else() {
    for size in 1..=66 {
        let stored = Stored::of(size);
        let root = stored.edge.root();
        for index in 0..size {
            let proof = inclusion_proof(index, size, |tile| stored.read(tile)).unwrap();
            let check = |index, hash, size, root, proof: &[Hash]| {
                check_inclusion(index, hash, size, root, proof).is_ok()
            };
            assert!(check(index, leaf(index), size, root, &proof), "{index} of {size}");
            assert!(!check(index, leaf(index + 1), size, root, &proof));
            assert!(!check(index + 1, leaf(index), size, root, &proof) || size == 1);
            assert!(!check(index, leaf(index), size, leaf(index), &proof) || size == 1);
            assert!(!check(index, leaf(index), size, root, &[&proof[..], &[root]].concat()));
            for at in 0..proof.len() {
                let mut wrong = proof.clone();
                wrong[at] = root;
                assert!(!check(index, leaf(index), size, root, &wrong));
                wrong.remove(at);
                assert!(!check(index, leaf(index), size, root, &wrong));
            }
        }
    }
}

#[test]
fn every_small_tree_is_proven_to_begin_every_larger_one_and_no_other() {
    const SIZE: u64 = 66;
    let roots = roots(SIZE);
    let root = |size: u64| roots[size as usize];
    for size in 1..=SIZE {
        let stored = Stored::of(size);
        for old in 1..=size {
            let proof = consistency_proof(old, size, |tile| stored.read(tile)).unwrap();
            let check = |old_root, root, proof: &[Hash]| {
                check_consistency(old, old_root, size, root, proof).is_ok()
            };
            assert!(check(root(old), root(size), &proof), "{old} of {size}");
            assert!(!check(root(old - 1), root(size), &proof));
            assert!(!check(root(old), root(size - 1), &proof));
            assert!(!check(root(old), root(size), &[&proof[..], &[root(1)]].concat()));
            for at in 0..proof.len() {
                let mut wrong = proof.clone();
                wrong[at] = Hash::of_nothing();
                assert!(!check(root(old), root(size), &wrong));
                wrong.remove(at);
                assert!(!check(root(old), root(size), &wrong));
            }
        }
    }
}

#[test]
fn proofs_cross_tiles() {
    const SIZE: u64 = 70_000;
    let stored = Stored::of(SIZE);
    let root = stored.edge.root();
    for index in [0, 1, 255, 256, 65_535, 65_536, 69_888, 69_999] {
        let proof = inclusion_proof(index, SIZE, |tile| stored.read(tile)).unwrap();
        assert!(proof.len() <= 17);
        check_inclusion(index, leaf(index), SIZE, root, &proof).unwrap();
    }
    for old in [1, 255, 256, 257, 65_536, 65_537, 69_999, SIZE] {
        let proof = consistency_proof(old, SIZE, |tile| stored.read(tile)).unwrap();
        check_consistency(old, Stored::of(old).edge.root(), SIZE, root, &proof).unwrap();
    }
}

#[test]
fn the_edges_of_trees() {
    let stored = Stored::of(3);
    let read = |tile| stored.read(tile);
    assert_eq!(inclusion_proof(3, 3, read), Err(ProofFault::Outside { within: 3, size: 3 }));
    assert_eq!(consistency_proof(4, 3, read), Err(ProofFault::Outside { within: 4, size: 3 }));
    assert_eq!(consistency_proof(0, 3, read), Err(ProofFault::Outside { within: 0, size: 3 }));
    let (root, nothing) = (stored.edge.root(), Hash::of_nothing());
    check_consistency(0, nothing, 3, root, &[]).unwrap();
    check_consistency(3, root, 3, root, &[]).unwrap();
    for (old, old_root, proof) in [(0, root, &[][..]), (0, nothing, &[root]), (3, nothing, &[])] {
        assert_eq!(check_consistency(old, old_root, 3, root, proof), Err(NotProven));
    }
    assert_eq!(check_consistency(4, root, 3, root, &[root]), Err(NotProven));
    assert_eq!(check_inclusion(0, nothing, 0, nothing, &[]), Err(NotProven));
    assert_eq!(check_inclusion(u64::MAX, root, u64::MAX, root, &[root; 65]), Err(NotProven));
    let missing = inclusion_proof(0, 3, |_| Err::<Vec<u8>, _>("gone"));
    assert!(matches!(missing, Err(ProofFault::Tile(TileFault::Read(_, "gone")))));
}
