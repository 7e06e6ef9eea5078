//! The intervals as they can be kept.
//!
//! Owns their form in a snapshot: names, and for each shard two strings of bytes of which each row
//! has a fixed width, so that ten million rows are read in a second or two.

use std::convert::Infallible;
use std::sync::Mutex;
use std::thread;

use minicbor::{Decoder, Encoder, decode, encode};

use super::{Interval, Key, Known, Made, Released, Shard};
use crate::ledger::SHARDS;
use crate::numbered::{Renumbered, locked};

impl Released {
    /// Adds everything but cuts on their way: those made from entries are none.
    pub(crate) fn write(
        &self,
        to: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), encode::Error<Infallible>> {
        to.array(4)?;
        let names = locked(&self.names);
        to.encode(&names.attributes)?.encode(&names.predicates)?.encode(&names.callers)?;
        drop(names);
        to.array(2 * self.shards.len() as u64)?;
        for shard in &self.shards {
            let shard = locked(shard);
            let mut rows = Vec::with_capacity(shard.known.len() * KNOWN_BYTES);
            for (key, Known { interval, made }) in &shard.known {
                write_key(key, &mut rows);
                rows.extend(interval.from.to_be_bytes());
                rows.extend(interval.until.to_be_bytes());
                write_made(*made, &mut rows);
            }
            to.bytes(&rows)?;
            rows.clear();
            for (key, more) in &shard.more {
                for made in more {
                    write_key(key, &mut rows);
                    write_made(Some(*made), &mut rows);
                }
            }
            to.bytes(&rows)?;
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote into an empty one.
    pub(crate) fn read(&self, from: &mut Decoder<'_>) -> Result<(), decode::Error> {
        if from.array()? != Some(4) {
            return Err(decode::Error::message("intervals of another form"));
        }
        let mut names = locked(&self.names);
        let numbers = Numbers {
            attributes: Renumbered::read(from, &mut names.attributes)?,
            predicates: Renumbered::read(from, &mut names.predicates)?,
            callers: Renumbered::read(from, &mut names.callers)?,
        };
        drop(names);
        if from.array()? != Some(2 * SHARDS as u64) {
            return Err(decode::Error::message("intervals of other shards"));
        }
        let mut rows = Vec::with_capacity(SHARDS);
        for shard in 0..SHARDS {
            rows.push(Rows { shard, known: from.bytes()?, more: from.bytes()? });
        }
        let (one, other) = self.shards.split_at(SHARDS / 2);
        let (of_one, of_other) = rows.split_at(SHARDS / 2);
        let read = |shards: &[Mutex<Shard>], rows: &[Rows<'_>]| {
            let mut pairs = shards.iter().zip(rows);
            pairs.try_for_each(|(shard, rows)| locked(shard).read(rows, &numbers))
        };
        let whole = thread::scope(|scope| {
            let other = scope.spawn(|| read(other, of_other));
            let one = read(one, of_one);
            one.and(other.join().unwrap_or(None))
        });
        whole.ok_or_else(|| decode::Error::message("rows of intervals that are none"))
    }
}

impl Shard {
    /// None if a row is none.
    fn read(&mut self, rows: &Rows<'_>, numbers: &Numbers) -> Option<()> {
        let (known, rest) = rows.known.as_chunks::<KNOWN_BYTES>();
        let (more, rest_of_more) = rows.more.as_chunks::<MORE_BYTES>();
        if !rest.is_empty() || !rest_of_more.is_empty() {
            return None;
        }
        self.known.reserve(known.len());
        for row in known {
            let (key, row) = read_key(row, numbers)?;
            if key.subject as usize % SHARDS != rows.shard {
                return None;
            }
            let (days, made) = row.split_first_chunk::<8>()?;
            let [from, until] = *days.as_chunks::<4>().0 else { return None };
            let (from, until) = (i32::from_be_bytes(from), i32::from_be_bytes(until));
            let interval = Some(Interval { from, until }).filter(|_| from < until)?;
            self.known.insert(key, Known { interval, made: read_made(made, numbers)? });
        }
        self.more.reserve(more.len().min(self.known.len()));
        for row in more {
            let (key, row) = read_key(row, numbers)?;
            self.more.entry(key).or_default().push(read_made(row, numbers)??);
        }
        Some(())
    }
}

/// What is kept of a shard, by its number.
struct Rows<'a> {
    shard: usize,
    known: &'a [u8],
    more: &'a [u8],
}

/// The numbers here for those of a snapshot.
struct Numbers {
    attributes: Renumbered,
    predicates: Renumbered,
    callers: Renumbered,
}

fn write_key(key: &Key, to: &mut Vec<u8>) {
    to.extend(key.subject.to_be_bytes());
    to.extend(key.attribute.to_be_bytes());
}

fn read_key<'a>(row: &'a [u8], numbers: &Numbers) -> Option<(Key, &'a [u8])> {
    let (subject, row) = row.split_first_chunk::<4>()?;
    let (attribute, row) = row.split_first_chunk::<2>()?;
    let attribute = numbers.attributes.of(u16::from_be_bytes(*attribute))?;
    Some((Key { subject: u32::from_be_bytes(*subject), attribute }, row))
}

fn write_made(made: Option<Made>, to: &mut Vec<u8>) {
    let Some(Made { caller, predicate, day, is_break_glass }) = made else {
        return to.extend([0; MADE_BYTES]);
    };
    to.push(if is_break_glass { MADE_BREAK_GLASS } else { MADE });
    to.extend([caller, predicate, day].map(u16::to_be_bytes).as_flattened());
}

/// None if the row is none.
fn read_made(row: &[u8], numbers: &Numbers) -> Option<Option<Made>> {
    let (way, row) = row.split_first()?;
    let (row, []) = row.as_chunks::<2>() else { return None };
    let [caller, predicate, day] = *row else { return None };
    let is_break_glass = match *way {
        0 => return Some(None),
        MADE => false,
        MADE_BREAK_GLASS => true,
        _ => return None,
    };
    Some(Some(Made {
        caller: numbers.callers.of(u16::from_be_bytes(caller))?,
        predicate: numbers.predicates.of(u16::from_be_bytes(predicate))?,
        day: u16::from_be_bytes(day),
        is_break_glass,
    }))
}

const KEY_BYTES: usize = 6;
/// Whether there is one and of which way, caller, predicate, day.
const MADE_BYTES: usize = 7;
const MADE: u8 = 1;
const MADE_BREAK_GLASS: u8 = 2;
/// Key, first day, day after the last, the first cut.
const KNOWN_BYTES: usize = KEY_BYTES + 8 + MADE_BYTES;
/// Key, another cut.
const MORE_BYTES: usize = KEY_BYTES + MADE_BYTES;
