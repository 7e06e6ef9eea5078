//! Counts what comes through a door.

use std::sync::atomic::{AtomicU64, Ordering};

/// What came through a department's door since it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    /// Requests whose head was read, whatever became of them.
    pub count: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// The most that were ever being answered at once.
    pub in_flight_peak: u64,
    /// Connections accepted.
    pub connections: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    count: AtomicU64,
    in_flight: AtomicU64,
    in_flight_peak: AtomicU64,
    connections: AtomicU64,
}

impl Counters {
    pub fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request, in flight until the mark is dropped.
    pub fn request(&self) -> Mark<'_> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.in_flight_peak.fetch_max(in_flight, Ordering::Relaxed);
        Mark(&self.in_flight)
    }

    pub fn read(&self) -> Requests {
        Requests {
            count: self.count.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            in_flight_peak: self.in_flight_peak.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }
}

pub(crate) struct Mark<'a>(&'a AtomicU64);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
