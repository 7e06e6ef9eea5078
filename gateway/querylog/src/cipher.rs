//! Everything that is keyed: tokens, pseudonyms, field keys, sealing.
//!
//! Owns the derivations of `spec/keys.md`. It keeps no state but the keys and writes no files.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::entry::{LeafHash, Pseudonym};
use crate::fields::{Fields, FieldsFault};
use crate::handles::{DrawnHandle, DrawnTombstone, Handle, KeptDays, Row, SubjectRow, Token};
use crate::keys::Keys;

/// ChaCha20-Poly1305 (RFC 8439) with a 256-bit key and a random 96-bit nonce.
pub(crate) const CIPHER_CHACHA20_POLY1305: u8 = 1;
pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;
/// Before the ciphertext: cipher, nonce, locator.
pub(crate) const SEAL_HEADER_BYTES: usize = 1 + NONCE_BYTES + LOCATOR_BYTES;
const LOCATOR_BYTES: usize = 8;

pub(crate) struct Cipher {
    seal: hmac::Key,
    lookup: hmac::Key,
    pseudonym: hmac::Key,
    idempotency: hmac::Key,
    rows: LessSafeKey,
    snapshots: LessSafeKey,
    disclosure: hmac::Key,
    tombstones: LessSafeKey,
    random: SystemRandom,
}

impl Cipher {
    pub fn new(keys: &Keys) -> Self {
        let key = |bytes: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let seal = key(&keys.seal);
        let rows = aead_key(hmac::sign(&seal, b"jumpgate/handle-row/v1").as_ref());
        let disclosure = key(&keys.disclosure);
        let of_disclosure = |name: &[u8]| aead_key(hmac::sign(&disclosure, name).as_ref());
        Self {
            seal,
            lookup: key(&keys.lookup),
            pseudonym: key(&keys.pseudonym),
            idempotency: key(&keys.idempotency),
            rows,
            snapshots: of_disclosure(b"jumpgate/snapshot/v1"),
            tombstones: of_disclosure(b"jumpgate/tombstone-row/v1"),
            disclosure,
            random: SystemRandom::new(),
        }
    }

    pub fn fill_random(&self, bytes: &mut [u8]) -> Result<(), Unspecified> {
        self.random.fill(bytes)
    }

    /// HMAC-SHA256(K_lookup, kind || 0 || identifier): finds a subject's row.
    pub fn token(&self, kind: &str, identifier: &str) -> Token {
        mac(&self.lookup, &[kind.as_bytes(), &[0], identifier.as_bytes()])
    }

    /// HMAC-SHA256(K_idempotency, "jumpgate/request/v1" || caller || 0 || body).
    pub fn request_token(&self, caller: &str, body: &[u8]) -> [u8; 32] {
        mac(&self.idempotency, &[b"jumpgate/request/v1", caller.as_bytes(), &[0], body])
    }

    /// HMAC-SHA256(K[department, epoch], handle), first 16 bytes, where K[department, epoch] is
    /// HMAC-SHA256(K_pseudonym, department || epoch, 4 bytes big-endian).
    pub fn pseudonym(&self, department: &str, epoch: u32, handle: &Handle) -> Pseudonym {
        let key = mac(&self.pseudonym, &[department.as_bytes(), &epoch.to_be_bytes()]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let mut value = [0; 16];
        value.copy_from_slice(&mac(&key, &[handle])[..16]);
        Pseudonym { value, epoch }
    }

    /// The token under which a tombstone about an attribute of a subject is found.
    pub fn tombstone_token(&self, subject: &Token, attribute: &str) -> Token {
        mac(&self.disclosure, &[b"jumpgate/tombstone/v1", subject, attribute.as_bytes()])
    }

    /// A tombstone's row.
    pub fn draw_tombstone(
        &self,
        token: Token,
        kept: KeptDays,
    ) -> Result<DrawnTombstone, Unspecified> {
        let mut row = Row { token, nonce: [0; NONCE_BYTES], sealed: [0; 16 + TAG_BYTES] };
        self.fill_random(&mut row.nonce)?;
        row.sealed[..4].copy_from_slice(&kept.0.to_be_bytes());
        row.sealed[4..8].copy_from_slice(&kept.1.to_be_bytes());
        seal_row(&self.tombstones, &mut row)?;
        Ok(DrawnTombstone { kept, row })
    }

    /// What a tombstone keeps.
    pub fn open_tombstone(&self, row: &Row) -> Result<KeptDays, Unspecified> {
        let [a, b, c, d, e, f, g, h, ..] = open_row(&self.tombstones, row)?;
        Ok((i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h])))
    }

    /// Draws a handle for a new subject and makes its row.
    pub fn draw_handle(&self, token: &Token) -> Result<DrawnHandle, Unspecified> {
        let mut drawn = [0; 16 + NONCE_BYTES];
        self.fill_random(&mut drawn)?;
        let (handle, nonce) = drawn.split_at(16);
        let mut row = Row { token: *token, nonce: [0; NONCE_BYTES], sealed: [0; 16 + TAG_BYTES] };
        row.nonce.copy_from_slice(nonce);
        row.sealed[..16].copy_from_slice(handle);
        seal_row(&self.rows, &mut row)?;
        let mut value = [0; 16];
        value.copy_from_slice(handle);
        Ok(DrawnHandle { token: *token, handle: value, row })
    }

    /// Opens a row's handle.
    pub fn open_row(&self, row: &Row) -> Result<Handle, Unspecified> {
        open_row(&self.rows, row)
    }

    /// Seals the plaintext that stands in `record` from `at` on, in place: before it comes the
    /// header of [`SEAL_HEADER_BYTES`] that the caller left room for, after it the tag.
    pub fn seal(
        &self,
        record: &mut Vec<u8>,
        at: usize,
        nonce: [u8; NONCE_BYTES],
        subject: &SubjectRow,
        leaf: &LeafHash,
    ) {
        let header = &mut record[at - SEAL_HEADER_BYTES..at];
        header[0] = CIPHER_CHACHA20_POLY1305;
        header[1..=NONCE_BYTES].copy_from_slice(&nonce);
        header[1 + NONCE_BYTES..].copy_from_slice(&self.locator(&nonce, subject.row));
        let key = self.field_key(&subject.handle);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(leaf), &mut record[at..])
            .expect("sealing fails only above 256 GiB, and a record has a few KiB");
        record.extend_from_slice(tag.as_ref());
    }

    /// Opens what [`Cipher::seal`] made; `find` gives the handle of a row.
    pub fn open(
        &self,
        sealed: &[u8],
        leaf: &LeafHash,
        find: impl FnOnce(u64) -> Option<Handle>,
    ) -> Result<(Fields, SubjectRow), FieldsFault> {
        if sealed.len() < SEAL_HEADER_BYTES + TAG_BYTES {
            return Err(FieldsFault::Malformed);
        }
        let (header, ciphertext) = sealed.split_at(SEAL_HEADER_BYTES);
        if header[0] != CIPHER_CHACHA20_POLY1305 {
            return Err(FieldsFault::Cipher(header[0]));
        }
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&header[1..=NONCE_BYTES]);
        let mut masked = [0; LOCATOR_BYTES];
        masked.copy_from_slice(&header[1 + NONCE_BYTES..]);
        let row = u64::from_be_bytes(masked) ^ self.mask(&nonce);
        let subject = match row {
            SubjectRow::NOBODY_ROW => SubjectRow::NOBODY,
            row => SubjectRow { row, handle: find(row).ok_or(FieldsFault::Erased)? },
        };
        let key = self.field_key(&subject.handle);
        let mut text = Zeroizing::new(ciphertext.to_vec());
        let opened = key
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(leaf), &mut text)
            .map_err(|_| FieldsFault::Sealed)?;
        Ok((Fields::decode(opened)?, subject))
    }

    /// Encrypts a snapshot in place and returns its tag.
    pub fn seal_snapshot(
        &self,
        header: &[u8],
        nonce: [u8; NONCE_BYTES],
        content: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .snapshots
            .seal_in_place_separate_tag(nonce, Aad::from(header), content)
            .expect("sealing fails only above 256 GiB, and a snapshot has some hundred MiB");
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Decrypts what [`Cipher::seal_snapshot`] made, in place; none if it is anything else.
    pub fn open_snapshot(
        &self,
        header: &[u8],
        nonce: [u8; NONCE_BYTES],
        content: &mut [u8],
    ) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.snapshots.open_in_place(nonce, Aad::from(header), content).ok().map(drop)
    }

    /// The row that sealed fields name; none if they are of no subject, or are none.
    pub fn row_of(&self, sealed: &[u8]) -> Option<u64> {
        let (nonce, masked) = sealed.get(1..SEAL_HEADER_BYTES)?.split_at(NONCE_BYTES);
        let row = u64::from_be_bytes(masked.try_into().ok()?) ^ self.mask(nonce.try_into().ok()?);
        (row != SubjectRow::NOBODY_ROW).then_some(row)
    }

    /// HMAC-SHA256(K_seal, "jumpgate/seal/v1" || handle): all sealed fields of one subject. Gone
    /// with the handle.
    fn field_key(&self, handle: &Handle) -> LessSafeKey {
        aead_key(&mac(&self.seal, &[b"jumpgate/seal/v1", handle]))
    }

    /// The row number under a mask of its own for each record: who has no seal key cannot link two
    /// records of a subject by it, who has finds the row at once.
    fn locator(&self, nonce: &[u8; NONCE_BYTES], row: u64) -> [u8; LOCATOR_BYTES] {
        (row ^ self.mask(nonce)).to_be_bytes()
    }

    fn mask(&self, nonce: &[u8; NONCE_BYTES]) -> u64 {
        let mask = mac(&self.seal, &[b"jumpgate/locator/v1", nonce]);
        u64::from_be_bytes([mask[0], mask[1], mask[2], mask[3], mask[4], mask[5], mask[6], mask[7]])
    }
}

/// Seals the first 16 bytes of a row in their place.
fn seal_row(key: &LessSafeKey, row: &mut Row) -> Result<(), Unspecified> {
    let nonce = Nonce::assume_unique_for_key(row.nonce);
    let (text, tag) = row.sealed.split_at_mut(16);
    let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&row.token), text)?;
    tag.copy_from_slice(sealed.as_ref());
    Ok(())
}

fn open_row(key: &LessSafeKey, row: &Row) -> Result<[u8; 16], Unspecified> {
    let mut sealed = row.sealed;
    let nonce = Nonce::assume_unique_for_key(row.nonce);
    let opened = key.open_in_place(nonce, Aad::from(&row.token), &mut sealed)?;
    opened.try_into().map_err(|_| Unspecified)
}

fn aead_key(bytes: &[u8]) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, bytes)
        .expect("an HMAC-SHA256 value has the 32 bytes that the cipher takes");
    LessSafeKey::new(key)
}

fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.sign().as_ref());
    bytes
}

#[cfg(test)]
mod tests;
