//! Restart: when an engine that died is started again. Pure.

use std::time::Duration;

use crate::pace::Backoff;

/// At once the first time, then 100 ms, doubling up to 5 s; an engine that served for a second begins anew.
#[derive(Debug, Default)]
pub(crate) struct Restart {
    /// `None`: the next restart is immediate.
    backoff: Option<Backoff>,
}

impl Restart {
    /// How long to wait after an engine that served for `served` has died.
    pub(crate) fn delay(&mut self, served: Duration) -> Duration {
        match &mut self.backoff {
            Some(backoff) if served < STABLE => backoff.delay(),
            again => {
                *again = Some(Backoff::new(FIRST, LONGEST));
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
}
