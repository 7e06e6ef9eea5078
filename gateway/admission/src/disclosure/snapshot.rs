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
            for (key, Known { interval, .. }) in &shard.known {
                write_key(key, &mut rows);
                rows.extend(interval.from.to_be_bytes());
                rows.extend(interval.until.to_be_bytes());
            }
            to.bytes(&rows)?;
            rows.clear();
            let first = shard.known.iter().filter_map(|(key, known)| Some((key, known.made?)));
            let more = shard.more.iter();
            let more = more.flat_map(|(key, more)| more.iter().map(move |it| (key, *it)));
            for (key, Made { caller, predicate, day }) in first.chain(more) {
                write_key(key, &mut rows);
                rows.extend([caller, predicate, day].map(u16::to_be_bytes).as_flattened());
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
        for _ in 0..SHARDS {
            rows.push((from.bytes()?, from.bytes()?));
        }
        let (one, other) = self.shards.split_at(SHARDS / 2);
        let (of_one, of_other) = rows.split_at(SHARDS / 2);
        let read = |shards: &[Mutex<Shard>], rows: &[(&[u8], &[u8])]| {
            let mut pairs = shards.iter().zip(rows);
            pairs.try_for_each(|(shard, rows)| locked(shard).read(*rows, &numbers))
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
    fn read(&mut self, (known, made): (&[u8], &[u8]), numbers: &Numbers) -> Option<()> {
        let (known, rest) = known.as_chunks::<KNOWN_BYTES>();
        let (made, rest_of_made) = made.as_chunks::<MADE_BYTES>();
        if !rest.is_empty() || !rest_of_made.is_empty() {
            return None;
        }
        self.known.reserve(known.len());
        for row in known {
            let (key, row) = read_key(row, numbers)?;
            let (from, until) = row.split_first_chunk::<4>()?;
            let from = i32::from_be_bytes(*from);
            let until = i32::from_be_bytes(until.try_into().ok()?);
            let interval = Some(Interval { from, until }).filter(|_| from < until)?;
            self.known.insert(key, Known { interval, made: None });
        }
        for row in made {
            let (key, row) = read_key(row, numbers)?;
            let (row, _) = row.as_chunks::<2>();
            let [caller, predicate, day] = *row else { return None };
            let caller = numbers.callers.of(u16::from_be_bytes(caller))?;
            let predicate = numbers.predicates.of(u16::from_be_bytes(predicate))?;
            self.add(key, Made { caller, predicate, day: u16::from_be_bytes(day) });
        }
        Some(())
    }
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

const KEY_BYTES: usize = 6;
/// Key, first day, day after the last.
const KNOWN_BYTES: usize = KEY_BYTES + 8;
/// Key, caller, predicate, day.
const MADE_BYTES: usize = KEY_BYTES + 6;
