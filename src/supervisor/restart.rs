//! Restart: when an engine that died is started again. Pure.

use std::time::{Duration, Instant};

use crate::pace::Backoff;

/// The restart that is due, and how fast restarts may follow each other: at once the first time, then after 100 ms,
/// doubling up to 5 s. An engine that served for a second resets the delay.
#[derive(Debug, Default)]
pub(crate) struct Restart {
    due: Option<Instant>,
    /// `None`: the next restart is immediate.
    backoff: Option<Backoff>,
}

impl Restart {
    /// Schedules the restart of an engine that served for `served`. Returns the delay.
    pub(crate) fn after_exit(&mut self, served: Duration, now: Instant) -> Duration {
        let delay = self.delay(served);
        self.due = Some(now + delay);
        delay
    }

    /// Schedules a restart at once, unless one is scheduled.
    pub(crate) fn at_once(&mut self, now: Instant) {
        self.due.get_or_insert(now);
    }

    /// No engine is to serve any more.
    pub(crate) fn cancel(&mut self) {
        self.due = None;
    }

    /// When the restart is due.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the restart that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| now >= *due).is_some()
    }

    fn delay(&mut self, served: Duration) -> Duration {
        match &mut self.backoff {
            Some(backoff) if served < STABLE => backoff.delay(),
            backoff => {
                *backoff = Some(Backoff::new(FIRST, LONGEST));
                Duration::ZERO
            }
        }
    }
}

const STABLE: Duration = Duration::from_secs(1);
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_a_crash_loop_backs_off_to_five_seconds() {
        let mut restart = Restart::default();
        let delays: Vec<_> = (0..9).map(|_| restart.delay(Duration::ZERO).as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(restart.delay(STABLE), Duration::ZERO);
        assert_eq!(restart.delay(Duration::ZERO), FIRST);
    }

    #[test]
    fn a_restart_is_due_once_and_not_after_it_was_cancelled() {
        let (mut restart, now) = (Restart::default(), Instant::now());
        assert!(!restart.take_due(now));
        restart.at_once(now);
        assert!(restart.take_due(now));
        assert!(!restart.take_due(now));
        restart.at_once(now);
        restart.cancel();
        assert!(!restart.take_due(now));
    }
}
