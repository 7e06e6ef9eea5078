//! A proof to keep: index, inclusion proof and signed checkpoint in one text (C2SP tlog-proof).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::checkpoint::decimal;
use crate::note::NOTE_BYTES_MAX;
use crate::proof::{NotProven, PROOF_HASHES_MAX, check_inclusion};
use crate::{Checkpoint, CheckpointFault, Hash, Note, NoteFault, VerifierKey};

/// Largest `extra`, in bytes.
pub const EXTRA_BYTES_MAX: usize = 64 << 10;

/// An offline proof that an entry is in a log. Read, it has proven nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// What the application adds. No signature covers it.
    pub extra: Option<Vec<u8>>,
    /// The entry's leaf index.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

/// A proof cannot be read or believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofFault {
    /// The text is not that of a proof.
    #[error("line {line} is not that of a {FIRST_LINE} proof")]
    Malformed {
        /// From 1.
        line: usize,
    },
    /// It is longer than any proof.
    #[error("a proof has at most {PROOF_BYTES_MAX} bytes")]
    TooLong,
    /// The note is malformed.
    #[error("the checkpoint is malformed")]
    Note(#[source] NoteFault),
    /// The checkpoint is not to be believed.
    #[error("the checkpoint is not to be believed")]
    Checkpoint(#[from] CheckpointFault),
    /// The entry is not in the tree.
    #[error("the entry is not in the checkpoint's tree")]
    NotProven(#[from] NotProven),
}

impl TlogProof {
    /// Checks that the entry with this leaf hash is in the log `origin`, one of whose keys has
    /// signed, and returns the checkpoint that says so.
    ///
    /// # Errors
    /// The checkpoint is not to be believed, or the entry is not in its tree.
    pub fn verify(
        &self,
        leaf: Hash,
        origin: &str,
        keys: &[VerifierKey],
    ) -> Result<Checkpoint, TlogProofFault> {
        let checkpoint = Checkpoint::verify(&self.checkpoint, origin, keys)?;
        check_inclusion(self.index, leaf, checkpoint.size, checkpoint.root, &self.hashes)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(formatter, "extra {}", BASE64_STANDARD.encode(extra))?;
        }
        writeln!(formatter, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(formatter, "{hash}")?;
        }
        write!(formatter, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofFault;

    fn from_str(text: &str) -> Result<Self, TlogProofFault> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(TlogProofFault::TooLong);
        }
        let malformed = |line| TlogProofFault::Malformed { line };
        let (head, note) = text.split_once("\n\n").ok_or(malformed(1))?;
        let mut lines = (1..).zip(head.split('\n')).peekable();
        if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
            return Err(malformed(1));
        }
        let extra = lines.next_if(|(_, line)| line.starts_with("extra "));
        let extra = extra.map(|(number, line)| {
            let bytes = BASE64_STANDARD.decode(&line["extra ".len()..]).ok();
            bytes.filter(|bytes| bytes.len() <= EXTRA_BYTES_MAX).ok_or(malformed(number))
        });
        let extra = extra.transpose()?;
        let (number, line) = lines.next().ok_or(malformed(2))?;
        let index = line.strip_prefix("index ").and_then(decimal).ok_or(malformed(number))?;
        let mut hashes = Vec::new();
        for (number, line) in lines {
            let hash = line.parse().map_err(|_| malformed(number))?;
            if hashes.len() == PROOF_HASHES_MAX {
                return Err(malformed(number));
            }
            hashes.push(hash);
        }
        let checkpoint = note.parse().map_err(TlogProofFault::Note)?;
        Ok(Self { extra, index, hashes, checkpoint })
    }
}

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX + 64 * 45 + 256;

#[cfg(test)]
mod tests;
