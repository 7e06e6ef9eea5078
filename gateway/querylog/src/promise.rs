//! Promises: the log's signed word, given with every answer, that an entry is durable at its index.
//!
//! A promise comes at once, the proof within a second. A batch of entries is signed once, as the
//! root of a small tree over their leaf hashes, so that a signature costs an entry little however
//! many there are. Owns the text of a promise (`spec/query-log.md`, Promises).

use std::fmt::Write as _;

use jumpgate_tlog::{Hash, Note, SignerKey, VerifierKey, check_inclusion};

use crate::entry::LeafHash;

/// What a promise says, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The log's name.
    pub origin: String,
    /// The entry's leaf index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf_hash: LeafHash,
    /// When it was signed, Unix milliseconds, by the gateway's clock: with the sync.
    pub time_ms: u64,
}

/// A text is no promise of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PromiseFault {
    /// It is not written as a promise is.
    #[error("it is not written as a promise is: {0}")]
    Form(&'static str),
    /// The key did not sign it.
    #[error("it is not signed with this promise key")]
    Signature,
    /// The batch that was signed does not hold the leaf at the index.
    #[error("the signed batch does not hold this leaf hash at this index")]
    Leaf,
}

impl Promise {
    /// True if a text is meant to be a promise, whether or not it holds.
    pub fn is_one(text: &str) -> bool {
        text.starts_with(FIRST_LINE)
    }

    /// Reads a promise and checks it with the log's promise key.
    ///
    /// # Errors
    /// The text is no promise, or not one of the key's log.
    pub fn of_text(text: &str, key: &VerifierKey) -> Result<Self, PromiseFault> {
        use PromiseFault::Form;
        let (head, note) = text.split_once("\n\n").ok_or(Form("no empty line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(Form("the first line is another"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index: u64 = index.and_then(number).ok_or(Form("no index"))?;
        let leaf = lines.next().and_then(|line| line.strip_prefix("leaf "));
        let leaf = leaf.and_then(|hash| hash.parse::<Hash>().ok()).ok_or(Form("no leaf hash"))?;
        let path: Option<Vec<Hash>> = lines.map(|line| line.parse().ok()).collect();
        let path = path.ok_or(Form("a line is no hash"))?;
        let note: Note = note.parse().map_err(|_| Form("no signed note"))?;
        let signed = note.verify(std::slice::from_ref(key));
        let signed = signed.map_err(|_| PromiseFault::Signature)?;
        let lines: Vec<&str> = signed.lines().collect();
        let [SIGNED_FIRST_LINE, origin, batch, root, time_ms] = lines[..] else {
            return Err(Form("the signed text is another"));
        };
        if promise_name(origin) != key.name() {
            return Err(PromiseFault::Signature);
        }
        let (first, count) = batch.split_once(' ').ok_or(Form("no batch"))?;
        let batch = number(first).zip(number(count)).ok_or(Form("no batch"))?;
        let root = root.parse().map_err(|_| Form("no root"))?;
        let time_ms = number(time_ms).ok_or(Form("no time"))?;
        let place = index.checked_sub(batch.0).ok_or(PromiseFault::Leaf)?;
        if place >= batch.1 || check_inclusion(place, leaf, batch.1, root, &path).is_err() {
            return Err(PromiseFault::Leaf);
        }
        Ok(Self { origin: origin.to_owned(), index, leaf_hash: leaf.0, time_ms })
    }
}

/// A batch whose root is signed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SignedBatch {
    first_index: u64,
    /// Leaf hashes, and above them every level of the tree up to the root.
    levels: Vec<Vec<Hash>>,
    note: String,
}

impl SignedBatch {
    /// Signs the batch that begins at `first_index`. It must be durable before anybody is shown a
    /// promise of it.
    pub fn sign(
        origin: &str,
        first_index: u64,
        leaves: Vec<Hash>,
        time_ms: u64,
        signer: &SignerKey,
    ) -> Self {
        let count = leaves.len();
        let mut levels = vec![leaves];
        while levels[levels.len() - 1].len() > 1 {
            // A node without a neighbour goes up as it is: this is the tree of RFC 6962 §2.1.
            let pairs = levels[levels.len() - 1].chunks(2);
            let above = pairs.map(|pair| match pair {
                [left, right] => Hash::of_node(*left, *right),
                rest => rest[0],
            });
            levels.push(above.collect());
        }
        let root = levels[levels.len() - 1].first().copied().unwrap_or(Hash::of_nothing());
        let text =
            format!("{SIGNED_FIRST_LINE}\n{origin}\n{first_index} {count}\n{root}\n{time_ms}\n");
        // The origin was checked where the log was made: it holds no control character.
        let note = Note::sign(text, &[signer]).expect("a text of printable characters");
        Self { first_index, levels, note: note.to_string() }
    }

    /// The promise for one entry of the batch.
    pub fn promise(&self, index: u64) -> String {
        let mut place = usize::try_from(index - self.first_index).unwrap_or(usize::MAX);
        let mut text = format!("{FIRST_LINE}\nindex {index}\n");
        for (level, hashes) in self.levels.iter().enumerate() {
            if level == 0 {
                let leaf = hashes.get(place).copied().unwrap_or(Hash::of_nothing());
                let _ = writeln!(text, "leaf {leaf}");
            }
            if let Some(beside) = hashes.get(place ^ 1) {
                let _ = writeln!(text, "{beside}");
            }
            place /= 2;
        }
        text.push('\n');
        text.push_str(&self.note);
        text
    }
}

/// The name under which a log's promises are signed.
pub(crate) fn promise_name(origin: &str) -> String {
    format!("{origin}/promise")
}

fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

const FIRST_LINE: &str = "jumpgate-promise/v1";
const SIGNED_FIRST_LINE: &str = "jumpgate-batch/v1";

#[cfg(test)]
mod tests;
