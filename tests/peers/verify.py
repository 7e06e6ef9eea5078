"""Checks a tiled log on disk with the tree, tiles and notes of aics-tlog.

Usage: verify.py FOLDER VKEY [OLD-CHECKPOINT]

FOLDER holds `checkpoint` and `tile/`. Prints one line; exits with 1 if something is wrong, and the
line names it. All tiles are made anew from the entries and compared byte by byte, and the package
audits those on disk, from the root down to the entries.
"""

import pathlib
import sys

from aics_tlog import (
    FileSystemTileReader,
    MerkleTree,
    TileWriter,
    audit_tiles,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    leaf_hash,
    parse_note,
    parse_vkey,
    verify_checkpoint,
    verify_consistency,
    verify_inclusion,
)
from aics_tlog.tiles import entry_bundle_path, parse_entry_bundle, tile_width_at

TILE_WIDTH = 256
# Leaves whose inclusion is proven, beside those at the edges.
LEAVES_PROVEN = 64


class Wrong(Exception):
    """What is wrong with the log."""


def open_checkpoint(path, key):
    """A checkpoint that the log has signed."""
    try:
        note = parse_note(path.read_bytes())
    except ValueError as error:
        raise Wrong(f"{path.name}: {error}") from error
    head = verify_checkpoint(note, key, expected_origin=key.name)
    if not head.ok:
        raise Wrong(f"{path.name}: {head.error}")
    return head


def read_entries(folder, size):
    """The entries of all bundles."""
    entries = []
    for index in range(-(-size // TILE_WIDTH)):
        width = tile_width_at(size, 0, index)
        path = entry_bundle_path(index, width)
        try:
            bundle = parse_entry_bundle((folder / path).read_bytes())
        except ValueError as error:
            raise Wrong(f"{path}: {error}") from error
        if len(bundle) != (width or TILE_WIDTH):
            raise Wrong(f"{path}: it has {len(bundle)} entries")
        entries += bundle
    return entries


def check_tiles(folder, entries):
    """Compares the files with those that the package makes of the entries."""
    made = TileWriter(entries).materialise()
    for path, data in made.items():
        if (folder / path).read_bytes() != data:
            raise Wrong(f"{path}: it is not what the entries make")
    return len(made)


def check_inclusion(reader, entries, head):
    """Proves leaves from the tiles, as a client would."""
    last = head.size - 1
    leaves = {0, 1, TILE_WIDTH - 1, TILE_WIDTH, last - 1, last}
    leaves.update(range(0, head.size, head.size // LEAVES_PROVEN + 1))
    leaves = sorted(leaf for leaf in leaves if 0 <= leaf < head.size)
    for leaf in leaves:
        proof = inclusion_proof_from_tiles(reader, leaf, head.size)
        if not verify_inclusion(leaf_hash(entries[leaf]), leaf, head.size, proof, head.root):
            raise Wrong(f"inclusion of entry {leaf}")
    return len(leaves)


def check_consistency(reader, tree, head, old):
    """Proves that the tree of an older checkpoint is this one's beginning."""
    if old.size > head.size:
        raise Wrong(f"consistency: the old size {old.size} is above {head.size}")
    if tree.root(old.size) != old.root:
        raise Wrong(f"consistency: the root of size {old.size} was another one")
    proof = consistency_proof_from_tiles(reader, old.size, head.size)
    if not verify_consistency(old.size, head.size, old.root, head.root, proof):
        raise Wrong(f"consistency with size {old.size}")


def check(folder, vkey, old):
    """The summary of a log that is right."""
    key = parse_vkey(vkey)
    head = open_checkpoint(folder / "checkpoint", key)
    entries = read_entries(folder, head.size)
    tree = MerkleTree(entries)
    is_root_right = tree.root() == head.root
    # With another root no tile can be blamed by comparison: the audit finds out.
    files = check_tiles(folder, entries) if is_root_right else 0
    reader = FileSystemTileReader(folder)
    audit = audit_tiles(reader, head.size, head.root)
    if not is_root_right or files != audit.tiles + audit.bundles:
        raise Wrong("checkpoint: its root is not that of the entries")
    proofs = check_inclusion(reader, entries, head)
    summary = (
        f"{key.name}: {head.size} entries in {audit.bundles} bundles, {audit.tiles} tiles, "
        f"{proofs} inclusion proofs"
    )
    if old is not None:
        old = open_checkpoint(old, key)
        check_consistency(reader, tree, head, old)
        summary += f", consistent with size {old.size}"
    return summary


def main():
    """Says in one line what was checked or what is wrong."""
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: verify.py FOLDER VKEY [OLD-CHECKPOINT]")
    old = pathlib.Path(sys.argv[3]) if len(sys.argv) == 4 else None
    try:
        print(check(pathlib.Path(sys.argv[1]), sys.argv[2], old))
    except (Wrong, ValueError, OSError) as error:
        print(" ".join(str(error).split()))
        sys.exit(1)


main()
