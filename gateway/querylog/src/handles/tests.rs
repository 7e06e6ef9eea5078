//! The same subject keeps the same handle; a row that is not what was written is named.

use super::*;
use crate::testing::TestLog;

const LOG_ID: u64 = 42;

fn file_of(cipher: &Cipher, subjects: u64) -> (Vec<u8>, HandleTable) {
    let mut table = HandleTable::default();
    for number in 0..subjects {
        let drawn = cipher.draw_handle(&cipher.token("passport", &number.to_string())).unwrap();
        assert_eq!(table.insert(&drawn, 100).unwrap().row, number);
    }
    let mut bytes = header(LOG_ID).to_vec();
    bytes.extend(table.take_pending());
    (bytes, table)
}

fn cipher() -> Cipher {
    Cipher::new(&TestLog::new().keys)
}

#[test]
fn a_table_reads_back_with_its_handles_and_rows() {
    let cipher = cipher();
    let (bytes, table) = file_of(&cipher, 5);
    assert_eq!(bytes.len() as u64, row_offset(5));
    let read = HandleTable::load(&bytes, LOG_ID, 5, &cipher).ok().unwrap();
    for number in 0..5 {
        let token = cipher.token("passport", &number.to_string());
        let (was, is) = (table.find(&token).unwrap(), read.find(&token).unwrap());
        assert_eq!((was.handle, was.row), (is.handle, is.row));
        assert_eq!(read.handle(is.row), Some(is.handle));
    }
    assert_eq!(read.len(), 5);
}

#[test]
fn the_faster_of_two_tasks_gives_the_handle() {
    let cipher = cipher();
    let token = cipher.token("passport", "K1");
    let (one, two) = (cipher.draw_handle(&token).unwrap(), cipher.draw_handle(&token).unwrap());
    assert_ne!(one.handle, two.handle);
    let mut table = HandleTable::default();
    table.insert(&one, 10).unwrap();
    assert_eq!(table.insert(&two, 10).unwrap().handle, one.handle);
    assert_eq!(table.take_pending().len(), ROW_BYTES);
}

#[test]
fn a_full_table_takes_no_new_subject_and_keeps_the_old() {
    let cipher = cipher();
    let draw = |name: &str| cipher.draw_handle(&cipher.token("passport", name)).unwrap();
    let mut table = HandleTable::default();
    let first = draw("1");
    table.insert(&first, 1).unwrap();
    assert!(table.insert(&draw("2"), 1).is_none());
    assert!(table.insert(&first, 1).is_some());
}

#[test]
fn an_erased_row_keeps_its_place_and_loses_its_handle() {
    let cipher = cipher();
    let (mut bytes, table) = file_of(&cipher, 3);
    let mut erased = vec![ROW_ERASED];
    erased.resize(ROW_BYTES - 4, 0);
    let crc = crc32c::crc32c(&erased);
    erased.extend(crc.to_le_bytes());
    let at = row_offset(1) as usize;
    bytes[at..at + ROW_BYTES].copy_from_slice(&erased);
    let read = HandleTable::load(&bytes, LOG_ID, 3, &cipher).ok().unwrap();
    assert_eq!(read.handle(1), None);
    assert!(read.find(&cipher.token("passport", "1")).is_none());
    assert_eq!(read.handle(2), table.handle(2));
}

#[test]
fn every_changed_byte_is_found_in_its_row() {
    let cipher = cipher();
    let (bytes, _) = file_of(&cipher, 2);
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        let damage = HandleTable::load(&changed, LOG_ID, 2, &cipher).err().unwrap();
        let row = place.checked_sub(HANDLES_HEADER_BYTES).map(|place| place / ROW_BYTES);
        assert_eq!(damage.offset, row.map_or(0, |row| row_offset(row as u64)), "byte {place}");
    }
    assert!(HandleTable::load(&bytes, LOG_ID + 1, 2, &cipher).is_err());
    assert_eq!(
        HandleTable::load(&bytes, LOG_ID, 3, &cipher).err().unwrap().why,
        "rows are missing"
    );
    // A row that no durable batch counts is not looked at.
    let mut torn = bytes.clone();
    let last = torn.len() - 1;
    torn[last] ^= 1;
    assert_eq!(HandleTable::load(&torn, LOG_ID, 1, &cipher).ok().unwrap().len(), 1);
}
