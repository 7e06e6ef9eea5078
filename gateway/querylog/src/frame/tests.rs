//! Torn tail or corruption: every byte of a small segment, changed and cut.

use proptest::prelude::*;

use super::*;

const LOG_ID: u64 = 0x1122_3344_5566_7788;
const SEGMENT_BYTES: usize = 4096;

fn record(entry: &[u8], sealed: &[u8]) -> Vec<u8> {
    let mut record = vec![0; RECORD_HEADER_BYTES];
    record.extend_from_slice(entry);
    record.extend_from_slice(sealed);
    write_record_header(&mut record, entry.len());
    record
}

fn segment_header() -> SegmentHeader {
    let segment_bytes = SEGMENT_BYTES as u64;
    let marks = Marks { handle_rows: 3, closed_below: 100, asks_written: false };
    SegmentHeader { log_id: LOG_ID, first_index: 100, segment_bytes, marks }
}

/// A segment of batches with these numbers of entries, and where each frame begins and the last
/// ends.
fn segment(counts: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = segment_header().encode().to_vec();
    let (mut places, mut index, mut frame) = (vec![bytes.len()], 100, Vec::new());
    for count in counts {
        let records: Vec<_> = (0..*count)
            .map(|n| record(format!("entry {index} {n}").as_bytes(), &[n as u8]))
            .collect();
        let header = BatchHeader {
            log_id: LOG_ID,
            first_index: index,
            durable_entries: index,
            marks: Marks { handle_rows: 3 + index, closed_below: index, asks_written: true },
            payload_bytes: 0,
            entry_count: 0,
        };
        write_batch(header, records.iter().map(|record| &record[..]), &mut frame);
        bytes.extend_from_slice(&frame);
        places.push(bytes.len());
        index += *count as u64;
    }
    bytes.resize(SEGMENT_BYTES, 0);
    (bytes, places)
}

/// Walks to the end: entries read, or where damage is.
fn walk(bytes: &[u8], durable_elsewhere: u64) -> Result<(u64, usize), Damage> {
    let mut walk = Walk::new(&segment_header(), durable_elsewhere);
    while let Some(batch) = walk.step(bytes)? {
        assert_eq!(batch.records(bytes).count() as u32, batch.header.entry_count);
    }
    Ok((walk.next_index, walk.offset))
}

#[test]
fn records_read_back_with_their_places() {
    let (bytes, places) = segment(&[2, 1]);
    let mut walk = Walk::new(&segment_header(), 0);
    let batch = walk.step(&bytes).unwrap().unwrap();
    let records: Vec<_> = batch.records(&bytes).collect();
    assert_eq!(records[1].index, 101);
    assert_eq!(records[1].entry, b"entry 100 1");
    assert_eq!(records[1].sealed, [1]);
    let at = records[1].offset + RECORD_HEADER_BYTES;
    assert!(bytes[at..].starts_with(b"entry 100 1"));
    assert_eq!(walk.marks.handle_rows, 103);
    assert_eq!(walk.last_frame, Some(places[0]));
    walk.step(&bytes).unwrap().unwrap();
    assert!(walk.step(&bytes).unwrap().is_none());
    assert_eq!((walk.next_index, walk.offset), (103, places[2]));
    assert_eq!(walk.offset % ALIGNMENT_BYTES, 0);
}

#[test]
fn a_changed_byte_below_the_mark_is_corruption_at_its_frame() {
    let (bytes, places) = segment(&[2, 1, 3]);
    // The third batch says that the first two were durable.
    for place in places[0]..places[2] {
        let mut changed = bytes.clone();
        changed[place] ^= 0x40;
        let frame = if place < places[1] { places[0] } else { places[1] };
        assert_eq!(walk(&changed, 0).unwrap_err().offset, frame, "byte {place}");
    }
}

#[test]
fn a_changed_byte_above_the_mark_is_a_torn_tail() {
    let (bytes, places) = segment(&[2, 1, 3]);
    for place in places[2]..places[3] {
        let mut changed = bytes.clone();
        changed[place] ^= 0x40;
        assert_eq!(walk(&changed, 0).unwrap(), (103, places[2]), "byte {place}");
        // The same place is corruption if a later segment was begun after it.
        assert_eq!(walk(&changed, 106).unwrap_err().offset, places[2], "byte {place}");
    }
}

#[test]
fn a_tail_torn_at_any_length_is_cut_at_its_frame() {
    let (bytes, places) = segment(&[2, 1, 3]);
    let last_byte = used_bytes(&bytes);
    for length in places[2]..last_byte {
        let mut torn = bytes.clone();
        torn[length..].fill(0);
        assert_eq!(walk(&torn, 0).unwrap(), (103, places[2]), "{length} bytes");
    }
    assert_eq!(walk(&bytes, 0).unwrap(), (106, places[3]));
}

#[test]
fn a_lost_middle_is_corruption_even_if_the_end_is_torn_too() {
    let (bytes, places) = segment(&[2, 1, 3]);
    let mut changed = bytes.clone();
    changed[places[0]..places[1]].fill(0);
    let header_end = places[2] + BATCH_HEADER_BYTES;
    changed[header_end..].fill(0);
    assert_eq!(walk(&changed, 0).unwrap_err().offset, places[0]);
}

#[test]
fn the_next_segment_must_continue_where_this_one_ends() {
    let (bytes, places) = segment(&[2, 1]);
    assert_eq!(walk(&bytes, 103).unwrap(), (103, places[2]));
    assert_eq!(walk(&bytes, 104).unwrap_err().offset, places[2]);
    assert_eq!(walk(&bytes, 101).unwrap_err().why, "the batch overlaps the next segment");
}

#[test]
fn frames_of_another_log_end_the_walk_and_prove_nothing() {
    let (mut bytes, places) = segment(&[2, 1]);
    let mut header = BatchHeader::decode(&bytes[places[0]..]).unwrap();
    header.log_id ^= 1;
    bytes[places[0]..places[0] + BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    let mut second = BatchHeader::decode(&bytes[places[1]..]).unwrap();
    second.log_id ^= 1;
    bytes[places[1]..places[1] + BATCH_HEADER_BYTES].copy_from_slice(&second.encode());
    assert_eq!(walk(&bytes, 0).unwrap(), (100, places[0]));
}

#[test]
fn headers_read_back_and_every_changed_bit_is_found() {
    let header = segment_header();
    let bytes = header.encode();
    assert_eq!(SegmentHeader::decode(&bytes), Some(header));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&changed), None, "bit {bit}");
    }
    assert_eq!(SegmentHeader::decode(&bytes[..63]), None);
}

/// The bytes were put together by hand from `spec/query-log.md`, with a checksum of another make.
#[test]
fn the_worked_example_of_the_specification_is_what_this_code_writes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/entries/batch.json");
    let text = std::fs::read_to_string(path).unwrap();
    let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
    let bytes = |name: &str| hex::decode(vector[name].as_str().unwrap()).unwrap();
    let marks = Marks { handle_rows: 2, closed_below: 6, asks_written: false };
    let segment = SegmentHeader { log_id: LOG_ID, first_index: 7, segment_bytes: 131_072, marks };
    assert_eq!(segment.encode().to_vec(), bytes("segment"));
    let header = BatchHeader {
        log_id: LOG_ID,
        first_index: 7,
        durable_entries: 7,
        marks: Marks { closed_below: 8, ..marks },
        payload_bytes: 0,
        entry_count: 0,
    };
    let mut frame = Vec::new();
    let stop = record(&bytes("entry"), &[]);
    write_batch(header, [&stop[..]].into_iter(), &mut frame);
    assert_eq!(hex::encode(frame), hex::encode(bytes("batch")));
}

proptest! {
    #[test]
    fn the_walk_survives_any_bytes(
        counts in prop::collection::vec(1_usize..5, 0..5),
        changes in prop::collection::vec((0..SEGMENT_BYTES, any::<u8>()), 0..20),
        durable_elsewhere in prop::sample::select(vec![0_u64, 101, 110, u64::MAX]),
    ) {
        let (mut bytes, _) = segment(&counts);
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        if let Ok((next_index, offset)) = walk(&bytes, durable_elsewhere) {
            prop_assert!(next_index >= 100 && offset <= SEGMENT_BYTES);
        }
    }
}
