//! Hashes of a log's tree: RFC 6962, section 2.1, with SHA-256.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{Context, SHA256};

/// The hash of a leaf, of an inner node or of a whole tree. Its text is Base64, as everywhere in
/// the formats of this crate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

/// The text is not the Base64 of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is the Base64 of 32 bytes, 44 characters")]
pub struct InvalidHash;

impl Hash {
    /// The root of the empty tree.
    pub fn of_nothing() -> Self {
        Self::of(&[])
    }

    /// The leaf hash of an entry.
    pub fn of_leaf(entry: &[u8]) -> Self {
        Self::of(&[&[0], entry])
    }

    /// The hash of the node above two nodes.
    pub fn of_node(left: Self, right: Self) -> Self {
        Self::of(&[&[1], &left.0, &right.0])
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        parts.iter().for_each(|part| context.update(part));
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| InvalidHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_nodes_and_nothing_have_the_hashes_of_the_rfc() {
        // SHA-256 of nothing, of 00, and of 01 || two of the latter.
        let nothing = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Hash::of_nothing().to_string(), nothing);
        let leaf = Hash::of_leaf(b"");
        assert_eq!(leaf.to_string(), "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=");
        assert_ne!(Hash::of_node(leaf, leaf), Hash::of_leaf(&[leaf.0, leaf.0].concat()));
    }

    #[test]
    fn a_text_is_the_whole_base64_of_32_bytes() {
        let hash = Hash::of_leaf(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "AAAA", &format!("{hash} "), &hash.to_string()[..43], &"A".repeat(44)] {
            assert_eq!(wrong.parse::<Hash>(), Err(InvalidHash), "{wrong}");
        }
    }
}
