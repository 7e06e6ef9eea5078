//! Tiles and entry bundles: how a log is cut into immutable files (C2SP tlog-tiles).
//!
//! Owns their coordinates, their paths and the bundles' framing.

use std::fmt;
use std::str::FromStr;

use crate::Hash;

/// Hashes in a full tile and entries in a full bundle.
pub const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Levels of the tree in one tile.
pub(crate) const TILE_HEIGHT: u32 = 8;
/// Largest entry of a bundle, in bytes: its length is written in 16 bits.
pub const BUNDLE_ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// Levels of tiles that a tree of 2^64 leaves has: 0 to 7.
pub(crate) const TILE_LEVELS: u8 = 8;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes; level 0 holds leaf hashes, each hash of a higher one the root of a full tile below.
    Hashes(u8),
    /// Entries, each with its length before it.
    Entries,
}

/// A tile of a tree: its kind, its place and how much of it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// The text is not the path of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tile's path is tile/<level 0 to 7, or entries>/<index in threes>[.p/<width 1 to 255>]")]
pub struct InvalidTile;

/// The bytes are not a bundle's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bundle ends within an entry")]
pub struct TornBundle;

impl Tile {
    /// The tile of a kind that a tree of `size` leaves has at `index`; none if that is empty.
    pub fn of_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let cells = match kind {
            TileKind::Entries => size,
            TileKind::Hashes(level) if level < TILE_LEVELS => {
                size >> (TILE_HEIGHT * u32::from(level))
            }
            TileKind::Hashes(_) => 0,
        };
        let width = cells.saturating_sub(index.checked_mul(TILE_WIDTH)?).min(TILE_WIDTH);
        (width > 0).then_some(Self { kind, index, width: width as u16 })
    }

    /// The tiles at the right edge of a tree of `size` leaves that are not full, bundle first.
    pub fn partial_of_tree(size: u64) -> impl Iterator<Item = Self> {
        let kinds = [TileKind::Entries].into_iter().chain((0..TILE_LEVELS).map(TileKind::Hashes));
        kinds.filter_map(move |kind| {
            let cells = match kind {
                TileKind::Entries => size,
                TileKind::Hashes(level) => size >> (TILE_HEIGHT * u32::from(level)),
            };
            Self::of_tree(kind, cells / TILE_WIDTH, size)
        })
    }

    /// What it holds.
    pub fn kind(self) -> TileKind {
        self.kind
    }

    /// Its number within its level.
    pub fn index(self) -> u64 {
        self.index
    }

    /// Hashes or entries in it, 1 to 256.
    pub fn width(self) -> u64 {
        u64::from(self.width)
    }

    /// True if no larger tree changes it.
    pub fn is_full(self) -> bool {
        self.width() == TILE_WIDTH
    }

    /// The same tile when it had fewer cells, at least 1.
    pub fn narrowed(self, width: u64) -> Self {
        Self { width: width.clamp(1, self.width()) as u16, ..self }
    }

    /// The same tile once it is full.
    pub fn full(self) -> Self {
        Self { width: TILE_WIDTH as u16, ..self }
    }
}

impl fmt::Display for Tile {
    /// The path below a log's prefix.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(formatter, "tile/{level}")?,
            TileKind::Entries => formatter.write_str("tile/entries")?,
        }
        let mut above = 1000_u64.pow(6);
        while above > 1 {
            if self.index >= above {
                write!(formatter, "/x{:03}", self.index / above % 1000)?;
            }
            above /= 1000;
        }
        write!(formatter, "/{:03}", self.index % 1000)?;
        if self.is_full() { Ok(()) } else { write!(formatter, ".p/{}", self.width) }
    }
}

impl FromStr for Tile {
    type Err = InvalidTile;

    fn from_str(path: &str) -> Result<Self, InvalidTile> {
        let rest = path.strip_prefix("tile/").ok_or(InvalidTile)?;
        let (level, rest) = rest.split_once('/').ok_or(InvalidTile)?;
        let kind = match (level, level.as_bytes()) {
            ("entries", _) => TileKind::Entries,
            (_, [digit @ b'0'..=b'7']) => TileKind::Hashes(digit - b'0'),
            _ => return Err(InvalidTile),
        };
        let (threes, width) = match rest.split_once(".p/") {
            Some((threes, width)) => (threes, width.parse().map_err(|_| InvalidTile)?),
            None => (rest, TILE_WIDTH as u16),
        };
        let mut index = 0_u64;
        for three in threes.split('/') {
            let digits: u64 = three.trim_start_matches('x').parse().map_err(|_| InvalidTile)?;
            index =
                index.checked_mul(1000).and_then(|n| n.checked_add(digits)).ok_or(InvalidTile)?;
        }
        let tile = Self { kind, index, width };
        // There is one way to write a tile; whatever was read otherwise is another text.
        let is_tile = (1..=TILE_WIDTH).contains(&tile.width()) && tile.to_string() == path;
        if is_tile { Ok(tile) } else { Err(InvalidTile) }
    }
}

/// Adds an entry to a bundle.
///
/// # Panics
/// The entry is longer than [`BUNDLE_ENTRY_BYTES_MAX`]; whoever makes entries bounds them.
pub fn add_to_bundle(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).expect("an entry fits a bundle");
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The entries of a bundle, in order.
pub fn entries_of_bundle(mut bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], TornBundle>> {
    std::iter::from_fn(move || {
        if bundle.is_empty() {
            return None;
        }
        let split = bundle.split_first_chunk::<2>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let Some((entry, rest)) = split else {
            bundle = &[];
            return Some(Err(TornBundle));
        };
        bundle = rest;
        Some(Ok(entry))
    })
}

/// The hashes of a tile's bytes; none if they are not `width` hashes.
pub(crate) fn hashes_of(bytes: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() as u64 == width)
        .then(|| hashes.iter().copied().map(Hash).collect())
}

#[cfg(test)]
mod tests;
