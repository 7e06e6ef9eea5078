//! What a log signs of itself: its name, its size and its root (C2SP tlog-checkpoint).

use std::fmt;
use std::str::FromStr;

use crate::{Hash, Note, NoteFault, SignerKey, VerifierKey};

/// A log's head. Without a signature around it, it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Leaves in the tree.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
}

/// A checkpoint cannot be read or believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointFault {
    /// The text is not that of a checkpoint.
    #[error("a checkpoint has an origin, a size and a root, each on a line, and no empty line")]
    Malformed,
    /// It is another log's.
    #[error("the checkpoint is another log's")]
    Origin,
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteFault),
}

impl Checkpoint {
    /// The signed checkpoint.
    ///
    /// # Errors
    /// The origin holds a control character.
    pub fn sign(&self, keys: &[&SignerKey]) -> Result<Note, NoteFault> {
        Note::sign(self.to_string(), keys)
    }

    /// The checkpoint of the log `origin` in a note that one of `keys` has signed.
    ///
    /// # Errors
    /// The note is not signed, or its text is not a checkpoint of this log.
    pub fn verify(
        note: &Note,
        origin: &str,
        keys: &[VerifierKey],
    ) -> Result<Self, CheckpointFault> {
        let checkpoint: Self = note.verify(keys)?.parse()?;
        if checkpoint.origin == origin { Ok(checkpoint) } else { Err(CheckpointFault::Origin) }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{}\n{}\n", self.origin, self.size, self.root)
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointFault;

    /// Reads a note's text. Lines after the third are other logs' extensions and are passed over.
    fn from_str(text: &str) -> Result<Self, CheckpointFault> {
        let malformed = CheckpointFault::Malformed;
        let lines = text.strip_suffix('\n').ok_or(malformed)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed);
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(malformed);
        }
        let size = decimal(size).ok_or(malformed)?;
        let root = root.parse().map_err(|_| malformed)?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }
}

/// A number without leading zeros or sign.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests;
