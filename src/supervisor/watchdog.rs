//! Watchdog: whether an engine that serves hangs. Pure.
//!
//! An engine sends heartbeats for as long as all its workers answer. Silence counts only while this process itself ran: it
//! looks every second, and what is longer between two looks is a standstill of both.

use std::time::{Duration, Instant};

/// The silence of one engine.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Silence that is a hang; zero: any silence is endured.
    limit: Duration,
    silent: Duration,
    looked: Instant,
    /// Work is under way that may keep the control thread for long.
    busy: bool,
    /// A debugger holds it, which has been said.
    excused: bool,
}

impl Watchdog {
    pub(crate) fn new(now: Instant) -> Self {
        Self { limit: DEFAULT, silent: Duration::ZERO, looked: now, busy: false, excused: false }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Sets the limit; zero switches this off.
    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// A reload has begun or ended.
    pub(crate) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// A sign of life.
    pub(crate) fn beat(&mut self, now: Instant) {
        (self.silent, self.looked, self.excused) = (Duration::ZERO, now, false);
    }

    /// Counts the time since the last look.
    pub(crate) fn look(&mut self, now: Instant) {
        self.silent += now.saturating_duration_since(self.looked).min(LOOK);
        self.looked = now;
    }

    /// When to look again; `None`: there is no limit.
    pub(crate) fn wake_at(&self, upgrading: bool) -> Option<Instant> {
        (upgrading || !self.limit.is_zero()).then_some(self.looked + LOOK)
    }

    /// For how long it has been silent, if that is a hang: by its own limit, or by that of an upgrade.
    pub(crate) fn hang(&self, upgrading: bool) -> Option<Duration> {
        let limit = match (upgrading, self.limit.is_zero()) {
            (true, true) => IN_UPGRADE,
            (true, false) => self.limit.min(IN_UPGRADE),
            (false, true) => return None,
            (false, false) => self.limit,
        };
        let limit = limit.max(LEAST);
        let limit = if self.busy { limit.max(BUSY) } else { limit };
        (self.silent >= limit).then_some(self.silent)
    }

    /// Whether a debugger holds it: `tell` is called once. Without the debugger silence counts anew.
    pub(crate) fn is_excused(&mut self, is_traced: impl FnOnce() -> bool, tell: impl FnOnce()) -> bool {
        if self.silent < LEAST {
            return false;
        }
        let traced = is_traced();
        match (traced, self.excused) {
            (true, false) => tell(),
            (false, true) => self.silent = Duration::ZERO,
            _ => {}
        }
        self.excused = traced;
        traced
    }
}

/// Until an engine has announced its own.
const DEFAULT: Duration = Duration::from_secs(10);
/// In an upgrade an engine that hangs only delays its successor, and its heartbeats come every 100 ms.
const IN_UPGRADE: Duration = Duration::from_secs(5);
/// During a reload: thousands of servers may keep the control thread for seconds.
const BUSY: Duration = Duration::from_secs(60);
/// Heartbeats come every second.
const LEAST: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_a_hang_unless_this_process_stood_still_too() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(now);
        watchdog.look(now + 3600 * SECOND);
        assert_eq!(watchdog.hang(false), None);
        for second in 3601..3610 {
            watchdog.look(now + second * SECOND);
        }
        assert_eq!(watchdog.hang(false), Some(10 * SECOND));
        watchdog.beat(now + 3610 * SECOND);
        assert_eq!(watchdog.hang(true), None);
    }

    #[test]
    fn without_its_debugger_silence_counts_anew() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(now);
        let mut told = 0;
        for second in 1..30 {
            watchdog.look(now + second * SECOND);
            assert_eq!(watchdog.is_excused(|| true, || told += 1), second >= 2);
        }
        assert_eq!(told, 1);
        watchdog.look(now + 30 * SECOND);
        assert!(!watchdog.is_excused(|| false, || told += 1));
        assert_eq!(watchdog.hang(false), None);
        for second in 31..41 {
            watchdog.look(now + second * SECOND);
            assert!(!watchdog.is_excused(|| false, || told += 1));
        }
        assert_eq!((watchdog.hang(false), told), (Some(10 * SECOND), 1));
    }

    #[test]
    fn a_reload_has_longer_and_an_upgrade_ends_what_hangs_even_without_a_limit() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(now);
        for second in 1..20 {
            watchdog.look(now + second * SECOND);
        }
        watchdog.set_busy(true);
        assert_eq!((watchdog.hang(false), watchdog.hang(true)), (None, None));
        watchdog.set_busy(false);
        assert!(watchdog.hang(false).is_some() && watchdog.wake_at(false).is_some());
        watchdog.set_limit(Duration::ZERO);
        assert_eq!((watchdog.hang(false), watchdog.wake_at(false)), (None, None));
        assert!(watchdog.hang(true).is_some() && watchdog.wake_at(true).is_some());
    }
}
