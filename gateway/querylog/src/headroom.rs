//! Room on the disk, and what is done before there is none.
//!
//! Questions are refused while there is still room for the closing entries of those that are open.
//! A file of zeros, the *ballast*, holds room back: it is removed when others go on to fill the
//! disk, and made again when there is room for it and more.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::disk::{Disk, DiskFault};
use crate::options::LogOptions;
use crate::shared::LogUnavailable;

pub(crate) const BALLAST_FILE: &str = "ballast";

pub(crate) struct Headroom {
    disk: Disk,
    dir: PathBuf,
    /// Below this many free bytes no question is taken.
    bytes_min: u64,
    ballast_bytes: u64,
    free_bytes: AtomicU64,
    is_low: AtomicBool,
    has_ballast: AtomicBool,
}

impl Headroom {
    /// Looks at the disk for the first time. Removes the ballast if a start would not fit without.
    pub fn open(disk: Disk, dir: &Path, options: &LogOptions) -> Result<Self, DiskFault> {
        let ballast = dir.join(BALLAST_FILE);
        let found = disk.identity(&ballast)?;
        let has_ballast = found.is_some_and(|it| it.bytes == options.ballast_bytes);
        if !has_ballast {
            disk.remove(&ballast)?;
        }
        let headroom = Self {
            disk,
            dir: dir.to_owned(),
            bytes_min: options.headroom_bytes_min,
            ballast_bytes: options.ballast_bytes,
            free_bytes: AtomicU64::new(0),
            is_low: AtomicBool::new(false),
            has_ballast: AtomicBool::new(has_ballast),
        };
        headroom.look()?;
        Ok(headroom)
    }

    /// Measures, and gives up the ballast or makes it.
    pub fn look(&self) -> Result<(), DiskFault> {
        let free = self.measure()?;
        let has_ballast = self.has_ballast();
        if has_ballast && free < self.bytes_min / 2 {
            self.disk.remove(&self.dir.join(BALLAST_FILE))?;
            self.has_ballast.store(false, Ordering::Relaxed);
            self.measure()?;
        } else if !has_ballast && free >= self.bytes_min.saturating_add(self.ballast_bytes) {
            self.make_ballast()?;
        }
        // Without its ballast the log waits until there is room for that too: what came from the
        // ballast is for closing entries.
        let is_enough = if self.has_ballast() { free >= self.bytes_min } else { false };
        let was_low = self.is_low.swap(!is_enough, Ordering::Relaxed);
        match (was_low, is_enough) {
            (false, false) => tracing::error!(
                free_bytes = free,
                bytes_min = self.bytes_min,
                "no room left for the query log; no question is taken until there is"
            ),
            (true, true) => tracing::info!(free_bytes = free, "there is room for the query log"),
            (true, false) | (false, true) => {}
        }
        Ok(())
    }

    fn measure(&self) -> Result<u64, DiskFault> {
        let free = self.disk.free_bytes(&self.dir)?;
        self.free_bytes.store(free, Ordering::Relaxed);
        Ok(free)
    }

    fn make_ballast(&self) -> Result<(), DiskFault> {
        let (path, draft) = (self.dir.join(BALLAST_FILE), self.dir.join("ballast.tmp"));
        self.disk.remove(&draft)?;
        let made = self.disk.create_new(&draft).and_then(|file| {
            file.fill_with_zeros(0, self.ballast_bytes)?;
            file.sync_all()
        });
        match made {
            Ok(()) => {
                self.disk.rename(&draft, &path)?;
                self.has_ballast.store(true, Ordering::Relaxed);
                Ok(())
            }
            // Somebody else was faster: no fault of the log, whose files are as they were.
            Err(fault) if fault.is_full() => self.disk.remove(&draft),
            Err(fault) => Err(fault),
        }
    }

    /// Fails while there is no room for a new question.
    pub fn admit(&self) -> Result<(), LogUnavailable> {
        if !self.is_low.load(Ordering::Relaxed) {
            return Ok(());
        }
        let ballast = if self.has_ballast() { 0 } else { self.ballast_bytes };
        let min = self.bytes_min.saturating_add(ballast);
        Err(LogUnavailable::NoHeadroom { free: self.free_bytes(), min })
    }

    /// Bytes that must be free for so many more to be written that the log can do without.
    pub fn wanted_with(&self, bytes: usize) -> u64 {
        let ballast = if self.has_ballast() { 0 } else { self.ballast_bytes };
        self.bytes_min.saturating_add(ballast).saturating_add(bytes as u64)
    }

    /// Bytes that were free at the last look.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// True while the ballast is there.
    pub fn has_ballast(&self) -> bool {
        self.has_ballast.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
