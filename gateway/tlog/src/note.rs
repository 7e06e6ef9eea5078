//! Signed notes and their keys (C2SP signed-note), with Ed25519 (signature type 1).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

/// Largest note, in bytes: 16 signatures of 5 kB, as the specification foresees, and much text.
pub const NOTE_BYTES_MAX: usize = 1 << 20;
/// Most signatures that a note is read with; the specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 64;

/// A text and who signed it. Read, it has proven nothing yet: see [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

/// What a signature is checked with. Its text is a *vkey*: name, key id and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

/// What a signature is made with. It never prints but by [`SignerKey::secret_text`].
pub struct SignerKey {
    verifier: VerifierKey,
    pair: Ed25519KeyPair,
}

/// A note cannot be read or is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    /// It is longer than [`NOTE_BYTES_MAX`].
    #[error("a note has at most {NOTE_BYTES_MAX} bytes")]
    TooLong,
    /// It has more than [`SIGNATURES_MAX`] signatures.
    #[error("a note has at most {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// It holds a control character, or does not end with its signatures after an empty line.
    #[error("a note is text, an empty line and signature lines, without control characters")]
    Malformed,
    /// A line after the text is not a signature.
    #[error("a signature line is an em dash, the key's name and Base64, one space between them")]
    MalformedSignature,
    /// A known key's signature does not fit the text.
    #[error("the signature of a known key does not fit")]
    WrongSignature,
    /// No key that is known has signed.
    #[error("no known key has signed")]
    Unsigned,
}

/// A key's text or name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// A key's name has no spaces and no plus.
    #[error("a key's name is not empty and holds no space, no plus and no control character")]
    Name,
    /// The text is not an Ed25519 vkey.
    #[error("a verifier key is <name>+<8 hexadecimal digits>+<Base64 of 01 and 32 bytes>")]
    Format,
    /// The text is not that of an Ed25519 signing key.
    #[error(
        "a signing key is PRIVATE+KEY+<name>+<8 hexadecimal digits>+<Base64 of 01 and 32 bytes>"
    )]
    SecretFormat,
    /// The key id is not that of the name and key.
    #[error("the key id is not that of this name and key")]
    Id,
}

impl Note {
    /// Signs a text, which ends with a newline and holds no other control character.
    ///
    /// # Errors
    /// The text cannot be that of a note.
    pub fn sign(text: String, keys: &[&SignerKey]) -> Result<Self, NoteFault> {
        if !is_text(&text) {
            return Err(NoteFault::Malformed);
        }
        let signatures = keys.iter().map(|key| Signature {
            name: key.verifier.name.clone(),
            key_id: key.verifier.id,
            bytes: key.pair.sign(text.as_bytes()).as_ref().to_vec(),
        });
        Ok(Self { signatures: signatures.collect(), text })
    }

    /// The text, not yet to be believed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, if one of `keys` has signed it. Signatures of other keys are passed over.
    ///
    /// # Errors
    /// No known key has signed, or the signature of one is wrong.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<&str, NoteFault> {
        let mut is_signed = false;
        for signature in &self.signatures {
            let known =
                keys.iter().find(|it| it.name == signature.name && it.id == signature.key_id);
            let Some(known) = known else { continue };
            let key = UnparsedPublicKey::new(&ED25519, known.key);
            key.verify(self.text.as_bytes(), &signature.bytes)
                .map_err(|_| NoteFault::WrongSignature)?;
            is_signed = true;
        }
        if is_signed { Ok(&self.text) } else { Err(NoteFault::Unsigned) }
    }
}

impl FromStr for Note {
    type Err = NoteFault;

    fn from_str(note: &str) -> Result<Self, NoteFault> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteFault::TooLong);
        }
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteFault::Malformed);
        }
        // The last empty line parts text and signatures.
        let text_end = note.rfind("\n\n").ok_or(NoteFault::Malformed)? + 1;
        let (text, lines) = (&note[..text_end], &note[text_end + 1..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteFault::Malformed)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteFault::TooManySignatures);
            }
            signatures.push(signature(line).ok_or(NoteFault::MalformedSignature)?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.text)?;
        for signature in &self.signatures {
            let bytes = [&signature.key_id[..], &signature.bytes].concat();
            writeln!(formatter, "\u{2014} {} {}", signature.name, BASE64_STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

impl VerifierKey {
    fn new(name: &str, key: [u8; 32]) -> Result<Self, InvalidKey> {
        let is_name = !name.is_empty()
            && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
        if !is_name {
            return Err(InvalidKey::Name);
        }
        let named = [name.as_bytes(), b"\n", &[TYPE_ED25519], &key].concat();
        let mut id = [0; 4];
        id.copy_from_slice(&digest(&SHA256, &named).as_ref()[..4]);
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// The key's name, for a log its origin.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64_STANDARD.encode([&[TYPE_ED25519], &self.key[..]].concat());
        write!(formatter, "{}+{}+{key}", self.name, hex::encode(self.id))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        // Base64 may hold a plus, a name and an id do not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidKey::Format);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| InvalidKey::Format)?;
        let Some((&TYPE_ED25519, key)) = key.split_first() else { return Err(InvalidKey::Format) };
        let known = Self::new(name, key.try_into().map_err(|_| InvalidKey::Format)?)?;
        let is_right = id == hex::encode(known.id);
        if is_right { Ok(known) } else { Err(InvalidKey::Id) }
    }
}

impl SignerKey {
    /// The key of a seed of 32 random bytes (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// The name cannot be that of a key.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, InvalidKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| InvalidKey::Format)?;
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        Ok(Self { verifier: VerifierKey::new(name, key)?, pair })
    }

    /// The key of a text as [`SignerKey::secret_text`] makes it.
    ///
    /// # Errors
    /// The text is another, or its key id is not that of the name and key.
    pub fn from_secret_text(text: &str) -> Result<Self, InvalidKey> {
        let parts = text.strip_prefix(SECRET_PREFIX).ok_or(InvalidKey::SecretFormat)?;
        let mut parts = parts.splitn(3, '+');
        let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidKey::SecretFormat);
        };
        let seed = BASE64_STANDARD.decode(seed).map(Zeroizing::new);
        let seed = seed.map_err(|_| InvalidKey::SecretFormat)?;
        let Some((&TYPE_ED25519, seed)) = seed.split_first() else {
            return Err(InvalidKey::SecretFormat);
        };
        let seed = seed.try_into().map_err(|_| InvalidKey::SecretFormat)?;
        let key = Self::from_seed(name, seed)?;
        if id == hex::encode(key.verifier.id) { Ok(key) } else { Err(InvalidKey::Id) }
    }

    /// The text of the key of a seed, as Go's `sumdb/note` writes it. Whoever has it can sign.
    ///
    /// # Errors
    /// The name cannot be that of a key.
    pub fn secret_text(name: &str, seed: &[u8; 32]) -> Result<Zeroizing<String>, InvalidKey> {
        let id = hex::encode(Self::from_seed(name, seed)?.verifier.id);
        let typed = Zeroizing::new([&[TYPE_ED25519], &seed[..]].concat());
        let seed = Zeroizing::new(BASE64_STANDARD.encode(&typed[..]));
        Ok(Zeroizing::new(format!("{SECRET_PREFIX}{name}+{id}+{}", *seed)))
    }

    /// What its signatures are checked with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SignerKey({})", self.verifier)
    }
}

fn is_text(text: &str) -> bool {
    text.ends_with('\n') && !text.bytes().any(|byte| byte < b' ' && byte != b'\n')
}

fn signature(line: &str) -> Option<Signature> {
    let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = BASE64_STANDARD.decode(bytes).ok()?;
    let (key_id, bytes) = bytes.split_first_chunk::<4>()?;
    let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+');
    let is_whole = is_name && !bytes.is_empty();
    is_whole.then(|| Signature { name: name.to_owned(), key_id: *key_id, bytes: bytes.to_vec() })
}

/// What tells a signing key from a verifier key.
const SECRET_PREFIX: &str = "PRIVATE+KEY+";
/// Ed25519, as signed-note numbers it.
const TYPE_ED25519: u8 = 1;

#[cfg(test)]
mod tests;
