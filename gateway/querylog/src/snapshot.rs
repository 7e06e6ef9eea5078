//! The file of a snapshot: something that follows from the entries before an index.
//!
//! Owns its form. What is in it is its maker's; it is encrypted, because it says what was asked
//! about whom as often as the entries do, and bound to the log and to the last entry it covers.

use std::path::{Path, PathBuf};

use crate::cipher::{CIPHER_CHACHA20_POLY1305, Cipher, NONCE_BYTES, TAG_BYTES};
use crate::disk::{Disk, DiskFault};
use crate::entry::LeafHash;

/// The file's name in the log's folder.
pub(crate) const SNAPSHOT_FILE: &str = "counts";

pub(crate) struct Snapshot {
    /// Leaf index of the first entry that it does not cover.
    pub covered: u64,
    /// Of the last entry that it covers.
    pub leaf_hash: LeafHash,
    pub content: Vec<u8>,
}

impl Snapshot {
    /// A snapshot of this log; none if these bytes are anything else.
    pub fn open(mut bytes: Vec<u8>, log_id: u64, cipher: &Cipher) -> Option<Self> {
        let found: [u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let covered = u64::from_le_bytes(found[20..28].try_into().ok()?);
        let leaf_hash: LeafHash = found[28..60].try_into().ok()?;
        let nonce: [u8; NONCE_BYTES] = found[60..].try_into().ok()?;
        if header(log_id, covered, &leaf_hash, &nonce) != found {
            return None;
        }
        cipher.open_snapshot(&found, nonce, &mut bytes[HEADER_BYTES..])?;
        // Moved to the front, so that there are never two of it in memory.
        bytes.drain(..HEADER_BYTES);
        bytes.truncate(bytes.len() - TAG_BYTES);
        Some(Self { covered, leaf_hash, content: bytes })
    }
}

/// The file's bytes, with what `write` adds as content; none without randomness.
pub(crate) fn seal(
    log_id: u64,
    covered: u64,
    leaf_hash: &LeafHash,
    write: impl FnOnce(&mut Vec<u8>),
    cipher: &Cipher,
) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_BYTES];
    cipher.fill_random(&mut nonce).ok()?;
    let header = header(log_id, covered, leaf_hash, &nonce);
    let mut bytes = header.to_vec();
    write(&mut bytes);
    let tag = cipher.seal_snapshot(&header, nonce, &mut bytes[HEADER_BYTES..]);
    bytes.extend_from_slice(&tag);
    Some(bytes)
}

/// Puts a snapshot in the place of the one before, durable when this returns. Piece by piece, each
/// synced, so that the log's own syncs never wait for all of it.
pub(crate) fn replace(disk: &Disk, dir: &Path, bytes: &[u8]) -> Result<(), DiskFault> {
    let path = dir.join(SNAPSHOT_FILE);
    let draft = draft(dir);
    disk.remove(&draft)?;
    let written = write(disk, &draft, bytes);
    if written.is_err() {
        // What is half written holds room that the log may need.
        let _ = disk.remove(&draft);
    }
    written?;
    disk.rename(&draft, &path)?;
    disk.sync_dir(dir)
}

/// Removes what was half written when the process ended: it may hold room that the log needs.
pub(crate) fn remove_draft(disk: &Disk, dir: &Path) -> Result<(), DiskFault> {
    disk.remove(&draft(dir))
}

fn draft(dir: &Path) -> PathBuf {
    dir.join(SNAPSHOT_FILE).with_extension("tmp")
}

fn write(disk: &Disk, draft: &Path, bytes: &[u8]) -> Result<(), DiskFault> {
    let file = disk.create_new(draft)?;
    for (number, piece) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
        file.write_at(piece, number * PIECE_BYTES as u64)?;
        file.sync()?;
    }
    file.sync_all()
}

fn header(
    log_id: u64,
    covered: u64,
    leaf_hash: &LeafHash,
    nonce: &[u8; NONCE_BYTES],
) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&log_id.to_le_bytes());
    header[16..20].copy_from_slice(&[VERSION, CIPHER_CHACHA20_POLY1305, 0, 0]);
    header[20..28].copy_from_slice(&covered.to_le_bytes());
    header[28..60].copy_from_slice(leaf_hash);
    header[60..].copy_from_slice(nonce);
    header
}

const MAGIC: &[u8; 8] = b"JGCOUNTS";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 60 + NONCE_BYTES;
/// A sync of so much takes some milliseconds.
const PIECE_BYTES: usize = 4 << 20;
