// Checks a tiled log on disk with the tree, tiles and notes of golang.org/x/mod/sumdb.
//
// Usage: verify FOLDER VKEY [OLD-CHECKPOINT]
//
//	verify RECEIPT-OR-PROMISE VKEY
//
// The second form checks a file: a tlog-proof whose `extra` holds the entry, or a promise.
//
// FOLDER holds `checkpoint` and `tile/`. Prints one line; exits with 1 if something is wrong, and
// the line names it. The whole tree is computed from the entries and compared byte by byte:
// tlog.TileHashReader would not do, as it leaves a full tile unproven when several of the hashes
// asked for lie in one.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// Leaves whose inclusion is proven, beside those at the edges.
	leavesProven = 64
)

// log is what the folder holds and what was computed from it.
type log struct {
	folder   string
	verifier note.Verifier
	head     tlog.Tree
	// Hashes of all whole subtrees, in the peer's order of storage.
	hashes []tlog.Hash
	// The tiles that were read, by path.
	tiles map[string][]byte
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Println("usage: verify FOLDER VKEY [OLD-CHECKPOINT]")
		os.Exit(1)
	}
	var summary string
	found, err := os.Stat(os.Args[1])
	switch {
	case err != nil:
	case found.IsDir():
		summary, err = check(os.Args[1], os.Args[2], os.Args[3:])
	default:
		summary, err = checkText(os.Args[1], os.Args[2])
	}
	if err != nil {
		fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
	fmt.Println(summary)
}

func check(folder, vkey string, old []string) (string, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", fmt.Errorf("verifier key: %w", err)
	}
	it := &log{folder: folder, verifier: verifier, tiles: map[string][]byte{}}
	if it.head, err = it.open(filepath.Join(folder, "checkpoint")); err != nil {
		return "", err
	}
	bundles, err := it.readEntries()
	if err != nil {
		return "", err
	}
	if err := it.checkRoot(); err != nil {
		return "", err
	}
	if err := it.checkTiles(); err != nil {
		return "", err
	}
	proofs, err := it.checkInclusion()
	if err != nil {
		return "", err
	}
	summary := fmt.Sprintf("%s: %d entries in %d bundles, %d tiles, %d inclusion proofs",
		verifier.Name(), it.head.N, bundles, len(it.tiles), proofs)
	for _, path := range old {
		size, err := it.checkConsistency(path)
		if err != nil {
			return "", err
		}
		summary += fmt.Sprintf(", consistent with size %d", size)
	}
	return summary, nil
}

// open reads a checkpoint that the log has signed.
func (it *log) open(path string) (tlog.Tree, error) {
	var head tlog.Tree
	signed, err := os.ReadFile(path)
	if err != nil {
		return head, err
	}
	name := filepath.Base(path)
	opened, err := note.Open(signed, note.VerifierList(it.verifier))
	if err != nil {
		return head, fmt.Errorf("%s: signature: %w", name, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 {
		return head, fmt.Errorf("%s: it has less than three lines", name)
	}
	if lines[0] != it.verifier.Name() {
		return head, fmt.Errorf("%s: its origin is %q", name, lines[0])
	}
	head.N, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || head.N < 0 || strconv.FormatInt(head.N, 10) != lines[1] {
		return head, fmt.Errorf("%s: its size is %q", name, lines[1])
	}
	if head.Hash, err = tlog.ParseHash(lines[2]); err != nil {
		return head, fmt.Errorf("%s: root: %w", name, err)
	}
	return head, nil
}

// ReadHashes makes the computed hashes a tlog.HashReader.
func (it *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(it.hashes)) {
			return nil, fmt.Errorf("stored hash %d is beyond the tree", index)
		}
		found[i] = it.hashes[index]
	}
	return found, nil
}

// readEntries computes every hash of the tree from the entries in the bundles.
func (it *log) readEntries() (int, error) {
	bundles := 0
	for _, tile := range tilesOf(it.head.N) {
		if tile.L != 0 {
			continue
		}
		bundles++
		tile.L = -1
		path := pathOf(tile)
		rest, err := os.ReadFile(filepath.Join(it.folder, path))
		if err != nil {
			return 0, err
		}
		for i := 0; i < tile.W; i++ {
			var entry []byte
			if entry, rest, err = split(rest); err != nil {
				return 0, fmt.Errorf("%s: entry %d: %w", path, i, err)
			}
			number := tile.N*tileWidth + int64(i)
			hashes, err := tlog.StoredHashes(number, entry, it)
			if err != nil {
				return 0, fmt.Errorf("%s: entry %d: %w", path, i, err)
			}
			it.hashes = append(it.hashes, hashes...)
		}
		if len(rest) != 0 {
			return 0, fmt.Errorf("%s: %d bytes follow the last entry", path, len(rest))
		}
	}
	return bundles, nil
}

// checkText checks that a signed tree holds a leaf: the log's own tree, or the tree over a batch of
// entries that a promise is about.
func checkText(path, vkey string) (string, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", fmt.Errorf("verifier key: %w", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	head, signed, found := strings.Cut(string(text), "\n\n")
	if !found {
		return "", fmt.Errorf("it has no empty line")
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		return "", fmt.Errorf("signature: %w", err)
	}
	lines, about := strings.Split(head, "\n"), strings.Split(opened.Text, "\n")
	kind := lines[0]
	var tree tlog.Tree
	var index, first int64
	var leaf tlog.Hash
	rest := lines[3:]
	switch kind {
	case "c2sp.org/tlog-proof@v1":
		if about[0] != verifier.Name() {
			return "", fmt.Errorf("its origin is %q", about[0])
		}
		leaf, err = leafOfExtra(lines[1])
		index, tree.N = number(lines[2], "index "), number(about[1], "")
		tree.Hash, _ = tlog.ParseHash(about[2])
	case "jumpgate-promise/v1":
		if about[0] != "jumpgate-batch/v1" || about[1]+"/promise" != verifier.Name() {
			return "", fmt.Errorf("it is signed for something else")
		}
		leaf, err = tlog.ParseHash(strings.TrimPrefix(lines[2], "leaf "))
		begin, count, _ := strings.Cut(about[2], " ")
		first = number(begin, "")
		index, tree.N = number(lines[1], "index "), number(count, "")
		tree.Hash, _ = tlog.ParseHash(about[3])
	default:
		return "", fmt.Errorf("it is no receipt and no promise")
	}
	if err != nil {
		return "", err
	}
	var proof tlog.RecordProof
	for _, line := range rest {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", err
		}
		proof = append(proof, hash)
	}
	if index < first || tree.N < 1 {
		return "", fmt.Errorf("entry %d is outside", index)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index-first, leaf); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: entry %d is held", verifier.Name(), index), nil
}

// number reads a decimal number after a word; -1 if it is none.
func number(text, word string) int64 {
	digits := strings.TrimPrefix(text, word)
	found, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || strconv.FormatInt(found, 10) != digits {
		return -1
	}
	return found
}

// leafOfExtra hashes the entry in a receipt's line `extra`, a CBOR list of which it is the second
// item, a byte string.
func leafOfExtra(line string) (tlog.Hash, error) {
	none := fmt.Errorf("the line extra holds no entry")
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "extra "))
	if err != nil || len(extra) < 5 || extra[0] != 0x84 || extra[1] != 1 {
		return tlog.Hash{}, none
	}
	rest, length := extra[3:], 0
	switch head := extra[2]; {
	case head >= 0x40 && head < 0x58:
		length = int(head - 0x40)
	case head == 0x58:
		length, rest = int(extra[3]), extra[4:]
	case head == 0x59:
		length, rest = int(binary.BigEndian.Uint16(extra[3:])), extra[5:]
	default:
		return tlog.Hash{}, none
	}
	if length > len(rest) {
		return tlog.Hash{}, none
	}
	return tlog.RecordHash(rest[:length]), nil
}

// split takes the first entry off a bundle.
func split(bundle []byte) (entry, rest []byte, err error) {
	if len(bundle) < 2 {
		return nil, nil, fmt.Errorf("the bundle ends before it")
	}
	length, rest := int(binary.BigEndian.Uint16(bundle)), bundle[2:]
	if len(rest) < length {
		return nil, nil, fmt.Errorf("the bundle ends within it")
	}
	return rest[:length], rest[length:], nil
}

// checkRoot compares the root of all entries with the checkpoint's. If they differ, an entry that
// does not hash to its leaf is to blame, or else the checkpoint.
func (it *log) checkRoot() error {
	root, err := rootOf(it.head.N, it)
	if err != nil {
		return err
	}
	if root == it.head.Hash {
		return nil
	}
	for _, tile := range tilesOf(it.head.N) {
		if tile.L != 0 {
			continue
		}
		leaves, err := os.ReadFile(filepath.Join(it.folder, pathOf(tile)))
		if err != nil {
			return err
		}
		computed, err := tlog.ReadTileData(tile, it)
		if err != nil {
			return err
		}
		if !bytes.Equal(leaves, computed) {
			at := differsAt(leaves, computed)
			tile.L = -1
			return fmt.Errorf("%s: entry %d does not hash to its leaf", pathOf(tile), at)
		}
	}
	return fmt.Errorf("checkpoint: its root is %v, that of the entries is %v", it.head.Hash, root)
}

// checkTiles compares each tile with the one that the tree must have.
func (it *log) checkTiles() error {
	for _, tile := range tilesOf(it.head.N) {
		path := pathOf(tile)
		data, err := os.ReadFile(filepath.Join(it.folder, path))
		if err != nil {
			return err
		}
		computed, err := tlog.ReadTileData(tile, it)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, computed) {
			at := differsAt(data, computed)
			return fmt.Errorf("%s: hash %d is not that of the tree", path, at)
		}
		it.tiles[path] = data
	}
	return nil
}

// checkInclusion proves leaves from the tiles, as a client would.
func (it *log) checkInclusion() (int, error) {
	size := it.head.N
	leaves := map[int64]bool{}
	for _, leaf := range []int64{0, 1, tileWidth - 1, tileWidth, size - 2, size - 1} {
		leaves[leaf] = true
	}
	for i := int64(0); i < leavesProven; i++ {
		leaves[size/leavesProven*i] = true
	}
	proven := 0
	for leaf := range leaves {
		if leaf < 0 || leaf >= size {
			continue
		}
		proof, err := tlog.ProveRecord(size, leaf, tlog.HashReaderFunc(it.readTiles))
		if err == nil {
			hash := it.hashes[tlog.StoredHashIndex(0, leaf)]
			err = tlog.CheckRecord(proof, size, it.head.Hash, leaf, hash)
		}
		if err != nil {
			return 0, fmt.Errorf("inclusion of entry %d: %w", leaf, err)
		}
		proven++
	}
	return proven, nil
}

// readTiles takes hashes from the tiles on disk.
func (it *log) readTiles(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		tile := tlog.TileForIndex(tileHeight, index)
		// The least tile that holds it; on disk lies a wider one.
		cells := it.head.N >> (tileHeight * tile.L)
		tile.W = widthAt(cells, tile.N)
		path := pathOf(tile)
		data, isThere := it.tiles[path]
		if !isThere {
			return nil, fmt.Errorf("%s is no tile of the tree", path)
		}
		hash, err := tlog.HashFromTile(tile, data, index)
		if err != nil {
			return nil, err
		}
		found[i] = hash
	}
	return found, nil
}

// checkConsistency proves that the tree of an older checkpoint is this one's beginning.
func (it *log) checkConsistency(path string) (int64, error) {
	old, err := it.open(path)
	if err != nil {
		return 0, err
	}
	if old.N > it.head.N {
		return 0, fmt.Errorf("consistency: the old size %d is above %d", old.N, it.head.N)
	}
	root, err := rootOf(old.N, it)
	if err != nil {
		return 0, err
	}
	if root != old.Hash {
		return 0, fmt.Errorf("consistency: the root of size %d was another one", old.N)
	}
	if old.N == 0 {
		return 0, nil
	}
	proof, err := tlog.ProveTree(it.head.N, old.N, tlog.HashReaderFunc(it.readTiles))
	if err == nil {
		err = tlog.CheckTree(proof, it.head.N, it.head.Hash, old.N, old.Hash)
	}
	if err != nil {
		return 0, fmt.Errorf("consistency with size %d: %w", old.N, err)
	}
	return old.N, nil
}

// rootOf is tlog.TreeHash but for the empty tree, whose root the peer takes to be zero.
func rootOf(size int64, hashes tlog.HashReader) (tlog.Hash, error) {
	if size == 0 {
		return sha256.Sum256(nil), nil
	}
	return tlog.TreeHash(size, hashes)
}

// tilesOf lists the tiles of a tree, full and partial, of all levels.
func tilesOf(size int64) []tlog.Tile {
	var tiles []tlog.Tile
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		cells := size >> (tileHeight * level)
		for index := int64(0); index*tileWidth < cells; index++ {
			width := widthAt(cells, index)
			tiles = append(tiles, tlog.Tile{H: tileHeight, L: level, N: index, W: width})
		}
	}
	return tiles
}

// widthAt is the width of a tile of a level with so many hashes.
func widthAt(cells, index int64) int {
	if rest := cells - index*tileWidth; rest < tileWidth {
		return int(rest)
	}
	return tileWidth
}

// pathOf is a tile's path; the peer's names the height of tiles, and bundles are called data.
func pathOf(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// differsAt is the first hash in which two tiles differ.
func differsAt(one, other []byte) int {
	at := 0
	for at < len(one) && at < len(other) && one[at] == other[at] {
		at++
	}
	return at / tlog.HashSize
}
