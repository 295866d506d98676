//! Pace: how soon something is tried again, and how often the same is said. Pure: no clock, no timer.

use std::time::{Duration, Instant};

/// Delays between attempts: doubled from the first up to a limit.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    jitter: bool,
    stable: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first, jitter: false, stable: Duration::MAX }
    }

    /// Half of each delay is chance, so that many that lost the same peer do not come back at once.
    #[must_use]
    pub(crate) const fn jittered(self) -> Self {
        Self { jitter: true, ..self }
    }

    /// An attempt that lasted so long was a success: see [`Backoff::delay_after`].
    #[must_use]
    pub(crate) const fn stable_after(self, stable: Duration) -> Self {
        Self { stable, ..self }
    }

    /// The delay before the next attempt.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        if self.jitter { delay.mul_f64(0.5 + fastrand::f64() / 2.0) } else { delay }
    }

    /// The delay after an attempt that lasted so long: the first one again when it was stable.
    pub(crate) fn delay_after(&mut self, lasted: Duration) -> Duration {
        if lasted >= self.stable {
            self.reset();
        }
        self.delay()
    }

    /// Begins with the first delay again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Lets one of many equal messages pass each second: one cause may hit every session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OncePerSecond {
    last: Option<Instant>,
}

impl OncePerSecond {
    /// Whether a message may pass at `now`, which then counts as passed.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= Duration::from_secs(1));
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn delays_double_up_to_the_limit_and_begin_anew_after_a_stable_attempt() {
        let mut backoff = Backoff::new(100 * MS, 3000 * MS).stable_after(15_000 * MS);
        let row: Vec<_> = (0..7).map(|_| backoff.delay_after(Duration::ZERO).as_millis()).collect();
        assert_eq!(row, [100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(backoff.delay_after(15_000 * MS), 100 * MS);
        assert_eq!(backoff.delay_after(14_999 * MS), 200 * MS);
    }

    #[test]
    fn jitter_takes_at_most_half_of_a_delay() {
        let mut backoff = Backoff::new(100 * MS, 100 * MS).jittered();
        for _ in 0..100 {
            let delay = backoff.delay();
            assert!(delay >= 50 * MS && delay <= 100 * MS, "{delay:?}");
        }
    }

    #[test]
    fn one_message_a_second_passes() {
        let start = Instant::now();
        let mut messages = OncePerSecond::default();
        let passed = (0..=4).map(|n| messages.is_due(start + n * 500 * MS)).collect::<Vec<_>>();
        assert_eq!(passed, [true, false, true, false, true]);
    }
}
