//! How many a second. Control looks at the counter once a second, so that nothing is added to what a session costs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::counter::Peak;

/// The rate of a counter, and how long ago it grew.
#[derive(Debug)]
pub struct Rate {
    /// The counter at the last look.
    seen: AtomicU64,
    /// What it grew by in the second before.
    last: AtomicU64,
    /// For how many milliseconds looks have found it unchanged.
    quiet: AtomicU64,
    /// The largest rate.
    pub most: Peak,
}

impl Default for Rate {
    fn default() -> Self {
        Self { seen: AtomicU64::new(0), last: AtomicU64::new(0), quiet: AtomicU64::new(NEVER), most: Peak::default() }
    }
}

impl Rate {
    /// Looks at the counter, `elapsed` after the last look.
    pub fn look(&self, total: u64, elapsed: Duration) {
        let grown = total.saturating_sub(self.seen.swap(total, Relaxed));
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        // A look that comes late must not make it look fast, nor one that comes early slow.
        let rate = if millis > SECOND { grown.saturating_mul(SECOND).div_ceil(millis) } else { grown };
        self.last.store(rate, Relaxed);
        self.most.see(rate);
        let quiet = if grown > 0 { 0 } else { self.quiet.load(Relaxed).saturating_add(millis) };
        self.quiet.store(quiet, Relaxed);
    }

    /// How long ago the counter grew, to about a second. `None`: it never did.
    pub fn quiet(&self, total: u64, since: Duration) -> Option<Duration> {
        let quiet = Duration::from_millis(self.quiet.load(Relaxed));
        match total > self.seen.load(Relaxed) {
            true => Some(Duration::ZERO),
            false => (self.quiet.load(Relaxed) < NEVER).then_some(quiet + since),
        }
    }

    /// Takes in how long ago it grew elsewhere.
    pub fn grew(&self, ago: Duration) {
        let millis = u64::try_from(ago.as_millis()).unwrap_or(NEVER);
        self.quiet.fetch_min(millis, Relaxed);
    }

    /// Over the last second: what came since the last look, and of the second before it the share that is still within a
    /// second, as HAProxy has it.
    pub fn now(&self, total: u64, since: Duration) -> u64 {
        let past = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).min(SECOND);
        let rate = total.saturating_sub(self.seen.load(Relaxed)) + self.last.load(Relaxed) * (SECOND - past) / SECOND;
        self.most.see(rate);
        rate
    }

    /// The counter is about to grow by what does not count here.
    pub fn pass_over(&self, count: u64) {
        self.seen.fetch_add(count, Relaxed);
    }

    pub(super) fn clear(&self) {
        self.most.clear();
    }
}

/// More milliseconds than any process lasts.
const NEVER: u64 = u64::MAX / 2;

/// In milliseconds.
const SECOND: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_counts_for_a_second_and_stays_the_most() {
        let rate = Rate::default();
        let second = Duration::from_secs(1);
        assert_eq!(rate.now(200, second / 10), 200);
        rate.look(200, second);
        assert_eq!([rate.now(200, Duration::ZERO), rate.now(200, second / 4), rate.now(210, second)], [200, 150, 10]);
        rate.look(210, second);
        rate.look(210, second);
        assert_eq!((rate.now(210, Duration::ZERO), rate.most.value()), (0, 200));
    }

    #[test]
    fn it_is_known_how_long_ago_the_counter_grew() {
        let (rate, second) = (Rate::default(), Duration::from_secs(1));
        assert_eq!(rate.quiet(0, second), None);
        assert_eq!(rate.quiet(1, second), Some(Duration::ZERO));
        rate.look(1, second);
        rate.look(1, second);
        rate.look(1, second);
        assert_eq!(rate.quiet(1, second / 2), Some(second * 2 + second / 2));
        rate.grew(second);
        assert_eq!(rate.quiet(1, second / 2), Some(second + second / 2));
        let other = Rate::default();
        other.look(0, second);
        assert_eq!(other.quiet(0, second), None);
    }

    #[test]
    fn what_was_counted_elsewhere_and_a_late_look_are_no_speed() {
        let rate = Rate::default();
        rate.pass_over(1_000_000);
        rate.look(1_000_010, Duration::from_secs(10));
        assert_eq!(rate.most.value(), 1);
    }
}
