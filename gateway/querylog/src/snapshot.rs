//! The file of a snapshot: something that follows from the entries before an index.
//!
//! Owns its form. What is in it is its maker's; it is encrypted, because it says what was asked
//! about whom as often as the entries do, and bound to the log and to the last entry it covers.

use crate::cipher::{CIPHER_CHACHA20_POLY1305, Cipher, NONCE_BYTES};
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
    /// The file's bytes; none without randomness.
    pub fn seal(mut self, log_id: u64, cipher: &Cipher) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        cipher.fill_random(&mut nonce).ok()?;
        let header = header(log_id, self.covered, &self.leaf_hash, &nonce);
        cipher.seal_snapshot(&header, nonce, &mut self.content);
        let mut bytes = header.to_vec();
        bytes.append(&mut self.content);
        Some(bytes)
    }

    /// A snapshot of this log; none if these bytes are anything else.
    pub fn open(mut bytes: Vec<u8>, log_id: u64, cipher: &Cipher) -> Option<Self> {
        let found: [u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let covered = u64::from_le_bytes(found[20..28].try_into().ok()?);
        let leaf_hash: LeafHash = found[28..60].try_into().ok()?;
        let nonce: [u8; NONCE_BYTES] = found[60..].try_into().ok()?;
        if header(log_id, covered, &leaf_hash, &nonce) != found {
            return None;
        }
        let mut content = bytes.split_off(HEADER_BYTES);
        cipher.open_snapshot(&found, nonce, &mut content)?;
        Some(Self { covered, leaf_hash, content })
    }
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
