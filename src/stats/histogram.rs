//! The distribution of a duration.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A log-linear histogram of durations in microseconds that can be added to from any thread: eight buckets for each
/// power of two, so that a quantile is at most an eighth too large. Reading goes through `hdrhistogram`, whose own
/// recorder would need a lock or one histogram a thread and server.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

/// Quantiles of a histogram, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

impl Histogram {
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(MAX_MICROS);
        self.buckets[bucket_of(micros)].fetch_add(1, Relaxed);
    }

    /// Bucket number and count of every bucket that is not empty.
    pub fn counts(&self) -> Vec<(u16, u64)> {
        let loaded = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        (0u16..).zip(loaded).filter(|(_, count)| *count > 0).collect()
    }

    /// Adds counts of another histogram; bucket numbers that do not exist are ignored.
    pub fn restore(&self, counts: &[(u16, u64)]) {
        for (bucket, count) in counts {
            if let Some(slot) = self.buckets.get(usize::from(*bucket)) {
                slot.fetch_add(*count, Relaxed);
            }
        }
    }

    pub(super) fn clear(&self) {
        self.buckets.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }

    /// `None` while nothing was recorded.
    pub fn quantiles(&self) -> Option<Quantiles> {
        // Two digits are finer than the buckets.
        let mut all = hdrhistogram::Histogram::<u64>::new_with_bounds(1, MAX_MICROS * 2, 2).ok()?;
        for (bucket, count) in self.counts() {
            all.record_n(upper_bound(usize::from(bucket)).max(1), count).ok()?;
        }
        (!all.is_empty()).then(|| Quantiles {
            count: all.len(),
            p50: all.value_at_quantile(0.5),
            p90: all.value_at_quantile(0.9),
            p99: all.value_at_quantile(0.99),
            max: all.max(),
        })
    }
}

/// Longer durations count as this one: 2^37 µs are 38 hours.
const MAX_MICROS: u64 = (1 << 37) - 1;
const SUB: usize = 8;
const SUB_BITS: u32 = 3;
const BUCKETS: usize = (37 - SUB_BITS as usize + 1) * SUB;

/// Values below 8 have a bucket each; above, the top three bits after the leading one choose among eight.
fn bucket_of(micros: u64) -> usize {
    if micros < SUB as u64 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let power = micros.ilog2() - SUB_BITS;
    let sub = usize::try_from((micros >> power) & 7).unwrap_or(0);
    (power as usize + 1) * SUB + sub
}

/// The largest value that falls into `bucket`.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let power = bucket / SUB - 1;
    let sub = (bucket % SUB) as u64;
    ((SUB as u64 + sub + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_an_eighth_of_its_bucket() {
        for value in (0..4096).chain((12..37).flat_map(|p| [(1 << p) - 1, 1 << p, (1 << p) + 1])) {
            let bucket = bucket_of(value);
            assert!(bucket < BUCKETS, "{value}");
            let upper = upper_bound(bucket);
            assert!(upper >= value && upper - value <= value / 8, "{value} in {bucket} up to {upper}");
            assert_eq!(bucket_of(upper), bucket);
        }
    }

    #[test]
    fn quantiles_come_back_as_recorded() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), None);
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        histogram.record(Duration::from_secs(u64::MAX));
        let quantiles = histogram.quantiles().unwrap();
        assert_eq!(quantiles.count, 101);
        assert!((50_000..58_000).contains(&quantiles.p50), "{quantiles:?}");
        assert!(quantiles.max >= MAX_MICROS / 2);
    }

    #[test]
    fn restored_counts_add_up() {
        let (a, b) = (Histogram::default(), Histogram::default());
        a.record(Duration::from_micros(5));
        b.record(Duration::from_micros(5));
        b.restore(&a.counts());
        b.restore(&[(u16::MAX, 7)]);
        assert_eq!(b.counts(), vec![(5, 2)]);
    }
}
