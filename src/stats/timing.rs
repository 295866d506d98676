//! A duration that is measured again and again: its distribution, its mean of late, and the longest.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::counter::{Counter, Peak};
use super::histogram::Histogram;

/// Measures of one duration.
#[derive(Debug, Default)]
pub struct Timing {
    pub histogram: Histogram,
    count: Counter,
    /// [`WINDOW`] times the mean of the last ones, in microseconds.
    sum: AtomicU64,
    /// In microseconds.
    pub longest: Peak,
}

impl Timing {
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LONGEST);
        self.histogram.record(duration);
        self.count.add(1);
        // Threads that race lose a sample of a moving mean, which does no harm.
        let sum = self.sum.load(Relaxed);
        let parting = if self.count.value() > WINDOW { sum.div_ceil(WINDOW) } else { 0 };
        self.sum.store(sum - parting + micros, Relaxed);
        self.longest.see(micros);
    }

    /// The mean of the last ones, about [`WINDOW`] of them.
    pub fn mean(&self) -> Duration {
        let count = self.count.value().min(WINDOW);
        Duration::from_micros(self.sum.load(Relaxed).checked_div(count).unwrap_or(0))
    }

    /// How many were measured.
    pub fn count(&self) -> u64 {
        self.count.value()
    }

    /// Takes in what was measured elsewhere: counts by bucket, their mean of late if it is known, and the longest.
    pub fn restore(&self, buckets: &[(u16, u64)], mean: Option<Duration>, longest: Duration) {
        let theirs: u64 = buckets.iter().map(|(_, count)| count).sum();
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LONGEST);
        let ours = self.count.value().min(WINDOW);
        let mean = mean.map_or_else(|| micros(self.mean()), micros);
        self.histogram.restore(buckets);
        self.longest.see(micros(longest));
        self.count.add(theirs);
        let (weight, total) = (theirs.min(WINDOW), self.count.value().min(WINDOW));
        let sum = self.sum.load(Relaxed).saturating_add(mean.saturating_mul(weight));
        if let Some(mean) = sum.checked_div(ours + weight) {
            self.sum.store(mean * total, Relaxed);
        }
    }

    pub(super) fn absorb(&self, other: &Self) {
        self.restore(&other.histogram.counts(), Some(other.mean()), Duration::from_micros(other.longest.value()));
    }

    pub(super) fn clear(&self, all: bool) {
        self.longest.clear();
        if all {
            self.histogram.clear();
            self.count.clear();
            self.sum.store(0, Relaxed);
        }
    }
}

/// HAProxy's mean is over as many (`TIME_STATS_SAMPLES`).
const WINDOW: u64 = 512;

/// 38 hours, as in a histogram.
const LONGEST: u64 = 1 << 37;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_the_last_ones() {
        let timing = Timing::default();
        assert_eq!(timing.mean(), Duration::ZERO);
        for millis in [1, 2, 6] {
            timing.record(Duration::from_millis(millis));
        }
        assert_eq!((timing.mean(), timing.longest.value()), (Duration::from_millis(3), 6000));
        for _ in 0..WINDOW * 10 {
            timing.record(Duration::from_millis(20));
        }
        let mean = timing.mean().as_micros();
        assert!((19_900..=20_000).contains(&mean), "{mean}");
    }

    #[test]
    fn what_was_measured_elsewhere_counts_by_its_weight() {
        let (few, many) = (Timing::default(), Timing::default());
        few.record(Duration::from_millis(40));
        (0..3).for_each(|_| many.record(Duration::from_millis(20)));
        few.absorb(&many);
        assert_eq!((few.mean(), few.count(), few.longest.value()), (Duration::from_millis(25), 4, 40_000));
        few.record(Duration::from_millis(25));
        assert_eq!(few.mean(), Duration::from_millis(25));
        few.clear(true);
        assert_eq!((few.mean(), few.count(), few.longest.value()), (Duration::ZERO, 0, 0));
    }
}
