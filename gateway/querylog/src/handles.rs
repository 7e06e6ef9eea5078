//! The handle table: from a subject's identifier to the random value that stands for him.
//!
//! Owns the file `handles` and its rows. A row's number is given once and for ever; an erased row
//! leaves its place empty, and a tombstone keeps, in a row of its own and under another token, what
//! must stay known of an erased subject. The table must never hold an identifier.

use std::collections::HashMap;
use std::path::Path;

use crate::cipher::{CIPHER_CHACHA20_POLY1305, Cipher, NONCE_BYTES, TAG_BYTES};
use crate::disk::{Disk, DiskFault, DiskFile};

pub(crate) const HANDLES_FILE: &str = "handles";
pub(crate) const ROW_BYTES: usize = 96;
pub(crate) const HANDLES_HEADER_BYTES: usize = 64;
/// The file grows by zeroed pieces of this size, ten thousand rows, so that a sync of rows seldom
/// has to change the file's size.
const GROWTH_BYTES: u64 = 1 << 20;

/// The random 128-bit value that stands for one subject.
pub(crate) type Handle = [u8; 16];
/// The keyed token that finds a subject's row.
pub(crate) type Token = [u8; 32];

/// A handle and where its row is.
#[derive(Clone, Copy)]
pub(crate) struct SubjectRow {
    pub handle: Handle,
    pub row: u64,
}

impl SubjectRow {
    /// The locator of records that concern no subject.
    pub const NOBODY_ROW: u64 = u64::MAX;
    /// What records that concern no subject are sealed under.
    pub const NOBODY: Self = Self { handle: [0; 16], row: Self::NOBODY_ROW };
}

/// One row as it stands in the file.
#[derive(Clone)]
pub(crate) struct Row {
    pub token: Token,
    pub nonce: [u8; NONCE_BYTES],
    /// The handle and the cipher's tag.
    pub sealed: [u8; 16 + TAG_BYTES],
}

/// A new subject's handle with the row that is to be written.
pub(crate) struct DrawnHandle {
    pub token: Token,
    pub handle: Handle,
    pub row: Row,
}

/// What a tombstone keeps: the days of which an erased subject's date is one, as the auditor counts
/// them.
pub(crate) type KeptDays = (i32, i32);

/// A tombstone with the row that is to be written.
pub(crate) struct DrawnTombstone {
    pub kept: KeptDays,
    pub row: Row,
}

/// The table in memory.
#[derive(Default)]
pub(crate) struct HandleTable {
    by_token: HashMap<Token, u32>,
    /// By row number; none where a row is erased, or is a tombstone.
    handles: Vec<Option<Handle>>,
    /// By the token of subject and attribute.
    tombstones: HashMap<Token, KeptDays>,
    /// Rows that are not in the file yet, in the order of their numbers.
    pending: Vec<u8>,
}

/// A row of the file is not what was written.
pub(crate) struct RowDamage {
    pub offset: u64,
    pub why: &'static str,
}

impl HandleTable {
    pub fn find(&self, token: &Token) -> Option<SubjectRow> {
        let row = *self.by_token.get(token)?;
        let handle = *self.handles.get(row as usize)?.as_ref()?;
        Some(SubjectRow { handle, row: u64::from(row) })
    }

    /// The handle of a row; none if it is erased or unknown.
    pub fn handle(&self, row: u64) -> Option<Handle> {
        *self.handles.get(usize::try_from(row).ok()?)?
    }

    /// Adds a subject, unless another task was faster; none if the table is full.
    pub fn insert(&mut self, drawn: &DrawnHandle, handles_max: usize) -> Option<SubjectRow> {
        if let Some(known) = self.find(&drawn.token) {
            return Some(known);
        }
        let row = u32::try_from(self.handles.len()).ok()?;
        if self.handles.len() >= handles_max {
            return None;
        }
        self.handles.push(Some(drawn.handle));
        self.by_token.insert(drawn.token, row);
        drawn.row.write(ROW_HANDLE, &mut self.pending);
        Some(SubjectRow { handle: drawn.handle, row: u64::from(row) })
    }

    /// Adds a tombstone, in the place of an earlier one about the same; false if the table is full.
    pub fn bury(&mut self, drawn: &DrawnTombstone, handles_max: usize) -> bool {
        if self.handles.len() >= handles_max.min(u32::MAX as usize) {
            return false;
        }
        self.handles.push(None);
        self.tombstones.insert(drawn.row.token, drawn.kept);
        drawn.row.write(ROW_TOMBSTONE, &mut self.pending);
        true
    }

    /// What a tombstone keeps.
    pub fn tombstone(&self, token: &Token) -> Option<KeptDays> {
        self.tombstones.get(token).copied()
    }

    /// True if there is any.
    pub fn has_tombstones(&self) -> bool {
        !self.tombstones.is_empty()
    }

    /// Forgets a subject whose row is empty in the file. He gets another one if he is met again.
    pub fn erase(&mut self, token: &Token) {
        if let Some(row) = self.by_token.remove(token) {
            self.handles[row as usize] = None;
        }
    }

    /// The rows that must be durable before any entry made after they were inserted.
    pub fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Rows in the table, erased ones included.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Reads `rows` rows from the file's bytes.
    pub fn load(bytes: &[u8], log_id: u64, rows: u64, cipher: &Cipher) -> Result<Self, RowDamage> {
        let rows = rows_of(bytes, log_id, rows)?;
        let mut table = Self::default();
        table.handles.reserve(rows.len());
        table.by_token.reserve(rows.len());
        for (number, bytes) in rows.enumerate() {
            let damage = |why| RowDamage { offset: row_offset(number as u64), why };
            let stored = Row::read(bytes).map_err(damage)?;
            table.handles.push(None);
            let row = match stored {
                Stored::Erased => continue,
                Stored::Tombstone(row) => {
                    let kept = cipher.open_tombstone(&row);
                    let kept = kept.map_err(|_| damage("a tombstone does not open"))?;
                    table.tombstones.insert(row.token, kept);
                    continue;
                }
                Stored::Handle(row) => row,
            };
            let handle = cipher.open_row(&row).map_err(|_| damage("a row does not open"))?;
            table.handles[number] = Some(handle);
            let number = u32::try_from(number).map_err(|_| damage("a row has no number"))?;
            table.by_token.insert(row.token, number);
        }
        Ok(table)
    }
}

/// Empties what a power cut has left of erased rows.
pub(crate) fn finish_erasures(file: &DiskFile, bytes: &[u8], rows: u64) -> Result<(), DiskFault> {
    let body = bytes.get(HANDLES_HEADER_BYTES..).unwrap_or_default().chunks_exact(ROW_BYTES);
    for (number, row) in (0..rows).zip(body) {
        let is_empty = row[4..ROW_BYTES - 4].iter().all(|byte| *byte == 0);
        if row.starts_with(&ERASED_HEAD) && !is_empty {
            empty(file, number)?;
        }
    }
    Ok(())
}

/// What a row of the file is.
enum Stored {
    Handle(Row),
    Tombstone(Row),
    Erased,
}

impl Row {
    fn write(&self, form: u8, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[form, CIPHER_CHACHA20_POLY1305, 0, 0]);
        out.extend_from_slice(&self.token);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.sealed);
        out.resize(start + ROW_BYTES - 4, 0);
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Result<Stored, &'static str> {
        // The rest of an erased row counts for nothing.
        if bytes.starts_with(&ERASED_HEAD) {
            return Ok(Stored::Erased);
        }
        let (body, crc) = bytes.split_at(ROW_BYTES - 4);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err("a row's checksum is wrong");
        }
        let (head, rest) = body.split_at(4);
        let form: fn(Self) -> Stored = match head {
            [ROW_HANDLE, CIPHER_CHACHA20_POLY1305, 0, 0] => Stored::Handle,
            [ROW_TOMBSTONE, CIPHER_CHACHA20_POLY1305, 0, 0] => Stored::Tombstone,
            _ => return Err("a row has a form that this version does not know"),
        };
        let (token, rest) = rest.split_at(32);
        let (nonce, rest) = rest.split_at(NONCE_BYTES);
        let mut row = Self { token: [0; 32], nonce: [0; NONCE_BYTES], sealed: [0; 32] };
        row.token.copy_from_slice(token);
        row.nonce.copy_from_slice(nonce);
        row.sealed.copy_from_slice(&rest[..16 + TAG_BYTES]);
        Ok(form(row))
    }
}

/// Empties a row that is in the file, durable when this returns. Its head comes first: four bytes
/// that no sector's end divides, so that a power cut leaves a row or an erased one.
pub(crate) fn empty(file: &DiskFile, row: u64) -> Result<(), DiskFault> {
    file.write_at(&ERASED_HEAD, row_offset(row))?;
    file.sync()?;
    let mut bytes = [0; ROW_BYTES];
    bytes[0] = ROW_ERASED;
    let crc = crc32c::crc32c(&bytes[..ROW_BYTES - 4]);
    bytes[ROW_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    file.write_at(&bytes, row_offset(row))?;
    file.sync()
}

/// Checks the first `rows` rows without opening them.
pub(crate) fn check(bytes: &[u8], log_id: u64, rows: u64) -> Result<(), RowDamage> {
    for (number, row) in rows_of(bytes, log_id, rows)?.enumerate() {
        Row::read(row).map_err(|why| RowDamage { offset: row_offset(number as u64), why })?;
    }
    Ok(())
}

/// The bytes of the first `rows` rows.
fn rows_of(
    bytes: &[u8],
    log_id: u64,
    rows: u64,
) -> Result<impl ExactSizeIterator<Item = &[u8]>, RowDamage> {
    check_header(bytes, log_id)?;
    let body = &bytes[HANDLES_HEADER_BYTES..];
    match usize::try_from(rows) {
        Ok(rows) if rows <= body.len() / ROW_BYTES => Ok(body.chunks_exact(ROW_BYTES).take(rows)),
        Ok(_) | Err(_) => Err(RowDamage { offset: bytes.len() as u64, why: "rows are missing" }),
    }
}

/// Where a row stands.
pub(crate) fn row_offset(row: u64) -> u64 {
    HANDLES_HEADER_BYTES as u64 + row * ROW_BYTES as u64
}

/// Makes an empty table, durable when this returns, but for its name.
pub(crate) fn create(disk: &Disk, dir: &Path, log_id: u64) -> Result<(), DiskFault> {
    let file = disk.create_new(&dir.join(HANDLES_FILE))?;
    file.write_at(&header(log_id), 0)?;
    file.sync_all()
}

/// Appends rows at a row number and makes them durable.
pub(crate) fn append(file: &DiskFile, at_row: u64, rows: &[u8]) -> Result<(), DiskFault> {
    let (from, bytes) = (row_offset(at_row), file.bytes()?);
    let end = from + rows.len() as u64;
    if end > bytes {
        file.fill_with_zeros(bytes, end.next_multiple_of(GROWTH_BYTES))?;
        file.write_at(rows, from)?;
        return file.sync_all();
    }
    file.write_at(rows, from)?;
    file.sync()
}

/// Zeroes what stands after the last row that counts: rows whose entries never became durable.
pub(crate) fn cut(file: &DiskFile, bytes: &[u8], rows: u64) -> Result<(), DiskFault> {
    let from = usize::try_from(row_offset(rows)).unwrap_or(usize::MAX).min(bytes.len());
    if bytes[from..].iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    file.fill_with_zeros(from as u64, bytes.len() as u64)?;
    file.sync()
}

fn header(log_id: u64) -> [u8; HANDLES_HEADER_BYTES] {
    let mut header = [0; HANDLES_HEADER_BYTES];
    header[..8].copy_from_slice(HANDLES_MAGIC);
    header[8..16].copy_from_slice(&log_id.to_le_bytes());
    header[16..20].copy_from_slice(&HANDLES_VERSION.to_le_bytes());
    header[20..24].copy_from_slice(&(ROW_BYTES as u32).to_le_bytes());
    let crc = crc32c::crc32c(&header[..HANDLES_HEADER_BYTES - 4]);
    header[HANDLES_HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    header
}

fn check_header(bytes: &[u8], log_id: u64) -> Result<(), RowDamage> {
    if bytes.get(..HANDLES_HEADER_BYTES) == Some(&header(log_id)[..]) {
        Ok(())
    } else {
        Err(RowDamage { offset: 0, why: "the header is not that of this log's handle table" })
    }
}

const HANDLES_MAGIC: &[u8; 8] = b"JGHANDLE";
const HANDLES_VERSION: u32 = 1;
const ROW_HANDLE: u8 = 1;
/// An erased row: this byte, zeros, and their checksum.
const ROW_ERASED: u8 = 2;
const ERASED_HEAD: [u8; 4] = [ROW_ERASED, 0, 0, 0];
/// A tombstone: token, nonce and cipher's text as in a handle's row.
const ROW_TOMBSTONE: u8 = 3;

#[cfg(test)]
mod tests;
