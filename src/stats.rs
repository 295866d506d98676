//! Counters and histograms: plain atomics that any thread may add to, without locks or ordering.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters of a frontend.
#[derive(Debug, Default)]
pub struct FrontendStats {
    pub sessions_total: Counter,
    /// From clients.
    pub bytes_in: Counter,
    /// To clients.
    pub bytes_out: Counter,
    /// Sessions that ended before a server was reached.
    pub failed: Counter,
}

impl Counts for FrontendStats {
    fn absorb(&self, other: &Self) {
        let Self { sessions_total, bytes_in, bytes_out, failed } = other;
        self.sessions_total.add(sessions_total.value());
        self.bytes_in.add(bytes_in.value());
        self.bytes_out.add(bytes_out.value());
        self.failed.add(failed.value());
    }
}

/// Counters of a server.
#[derive(Debug, Default)]
pub struct ServerStats {
    pub sessions_total: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub connect_errors: Counter,
    /// Attempts repeated on this server.
    pub retries: Counter,
    /// Attempts repeated on another server.
    pub redispatches: Counter,
    pub checks_failed: Counter,
    /// Transitions to DOWN.
    pub downs: Counter,
    times: OnceLock<Box<Times>>,
}

/// Durations of a server's sessions, by phase.
#[derive(Debug, Default)]
pub struct Times {
    pub queue: Histogram,
    pub connect: Histogram,
    pub session: Histogram,
}

impl ServerStats {
    /// The histograms, allocated on first use: most of a thousand servers may never have a session.
    pub fn times(&self) -> &Times {
        self.times.get_or_init(Box::default)
    }

    /// Adds what `other` has counted, without times.
    pub fn add_counts(&self, other: &Self) {
        for (ours, theirs) in self.counters().into_iter().zip(other.counters()) {
            ours.add(theirs.value());
        }
    }

    fn counters(&self) -> [&Counter; 8] {
        let Self { sessions_total, bytes_in, bytes_out, connect_errors, retries, redispatches, .. } = self;
        let Self { checks_failed, downs, .. } = self;
        [sessions_total, bytes_in, bytes_out, connect_errors, retries, redispatches, checks_failed, downs]
    }

    /// The histograms, if a session was ever counted.
    pub fn times_if_any(&self) -> Option<&Times> {
        self.times.get().map(Box::as_ref)
    }
}

impl Counts for ServerStats {
    fn absorb(&self, other: &Self) {
        self.add_counts(other);
        if let Some(theirs) = other.times_if_any() {
            let Times { queue, connect, session } = self.times();
            queue.restore(&theirs.queue.counts());
            connect.restore(&theirs.connect.counts());
            session.restore(&theirs.session.counts());
        }
    }
}

/// What can be added up.
pub(crate) trait Counts: Default {
    /// Adds all that `other` has counted.
    fn absorb(&self, other: &Self);
}

/// What names have counted that are no more, for when they return: no total falls then. Of the oldest of very many names
/// the sum alone remains.
#[derive(Debug, Default)]
pub(crate) struct Remembered<C> {
    /// With a number that grows with every name.
    by_name: BTreeMap<String, (u64, C)>,
    next: u64,
    /// Of all others.
    sum: C,
}

impl<C: Counts> Remembered<C> {
    /// The counts of a name that is no more, to be added to. The empty name stands for all that are forgotten.
    pub(crate) fn of(&mut self, name: &str) -> &C {
        if name.is_empty() {
            return &self.sum;
        }
        if !self.by_name.contains_key(name) {
            self.make_room();
            self.next += 1;
            self.by_name.insert(name.to_owned(), (self.next, C::default()));
        }
        &self.by_name[name].1
    }

    /// The counts of a name that returns.
    pub(crate) fn take(&mut self, name: &str) -> Option<C> {
        self.by_name.remove(name).map(|(_, counts)| counts)
    }

    /// All of them by name, with the sum of those that are forgotten under the empty name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &C)> {
        let by_name = self.by_name.iter().map(|(name, (_, counts))| (name.as_str(), counts));
        by_name.chain([("", &self.sum)])
    }

    fn make_room(&mut self) {
        if self.by_name.len() < REMEMBERED {
            return;
        }
        let oldest = self.by_name.iter().min_by_key(|(_, (number, _))| number).map(|(name, _)| name.clone());
        if let Some(counts) = oldest.and_then(|name| self.take(&name)) {
            self.sum.absorb(&counts);
        }
    }
}

/// Names of one kind at most. A deployment whose names never return must not fill the memory.
const REMEMBERED: usize = 1024;

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
    fn a_name_that_returns_finds_its_counts_and_of_too_many_the_sum_remains() {
        let mut remembered = Remembered::<FrontendStats>::default();
        let names: Vec<_> = (0..=REMEMBERED).map(|number| format!("f{number}")).collect();
        names.iter().for_each(|name| remembered.of(name).sessions_total.add(2));
        remembered.of("").sessions_total.add(5);
        let total = |remembered: &Remembered<FrontendStats>| -> u64 {
            remembered.iter().map(|(_, counts)| counts.sessions_total.value()).sum()
        };
        assert_eq!(total(&remembered), 2 * names.len() as u64 + 5);
        assert!(remembered.take("f0").is_none(), "the oldest");
        assert_eq!(remembered.take("f1").map(|counts| counts.sessions_total.value()), Some(2));
        assert_eq!(remembered.iter().last().map(|(name, counts)| (name, counts.sessions_total.value())), Some(("", 7)));
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
