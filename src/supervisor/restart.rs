//! Restart: when an engine that died is started again. Pure.

use std::time::Duration;

/// At once the first time, then 100 ms, doubling up to 5 s; an engine that served for a second begins anew.
#[derive(Debug, Default)]
pub(crate) struct Restart {
    quick_deaths: u32,
}

impl Restart {
    /// How long to wait after an engine that served for `served` has died.
    pub(crate) fn delay(&mut self, served: Duration) -> Duration {
        if served >= STABLE {
            self.quick_deaths = 0;
        }
        let delay = match self.quick_deaths {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(16)).min(LONGEST),
        };
        self.quick_deaths = self.quick_deaths.saturating_add(1);
        delay
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
