//! How long answers took: counts in buckets that grow with the time, so that a million samples cost
//! a fixed few kilobytes.

use std::time::Duration;

/// Latencies, each within 1.6 % of what it was.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// An empty one.
    pub fn new() -> Self {
        Self { counts: vec![0; bucket(MICROS_MAX) + 1], total: 0 }
    }

    /// Adds a sample.
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(MICROS_MAX).min(MICROS_MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
    }

    /// Adds another's samples.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
    }

    /// How many samples there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time within which `percent` of the samples lie, rounded up to a bucket's edge; zero if
    /// there is no sample.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = ((self.total as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Duration::from_micros(found.map_or(0, upper_edge))
    }
}

/// Each doubling of the time has so many buckets.
const STEPS: u64 = 64;
const STEPS_LOG2: u32 = STEPS.trailing_zeros();
/// A minute is longer than any deadline here.
const MICROS_MAX: u64 = 60_000_000;

/// Below twice the steps a bucket is one microsecond wide, then each octave's are twice as wide.
fn bucket(micros: u64) -> usize {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(STEPS_LOG2 + 1);
    (u64::from(shift) * STEPS + (micros >> shift)) as usize
}

fn upper_edge(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    ((bucket - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_bucket_and_buckets_leave_no_gap() {
        for micros in (0..2_000_000).chain([MICROS_MAX - 1, MICROS_MAX]) {
            let bucket = bucket(micros);
            let below = bucket.checked_sub(1).map(upper_edge);
            assert!(micros <= upper_edge(bucket) && below.is_none_or(|edge| micros > edge));
            let error = (upper_edge(bucket) - micros) as f64 / micros.max(1) as f64;
            assert!(error <= 1.0 / STEPS as f64, "{micros} is off by {error}");
        }
    }

    #[test]
    fn percentiles_count_from_the_fastest() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(50.0), Duration::ZERO);
        (1..=100).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        assert_eq!(histogram.percentile(50.0), Duration::from_micros(50));
        assert_eq!(histogram.percentile(99.0), Duration::from_micros(99));
        assert_eq!(histogram.percentile(100.0), Duration::from_micros(100));
    }

    #[test]
    fn merging_keeps_every_sample() {
        let (mut slow, mut fast) = (Histogram::new(), Histogram::new());
        slow.record(Duration::from_secs(3600));
        fast.record(Duration::from_micros(10));
        fast.merge(&slow);
        assert_eq!(fast.total(), 2);
        assert_eq!(fast.percentile(50.0), Duration::from_micros(10));
        assert!(fast.percentile(99.0) >= Duration::from_secs(60));
    }
}
