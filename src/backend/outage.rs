//! When a backend was without a usable server.

use std::time::{Duration, Instant};

/// What is known of that.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outage {
    /// Whether a server is usable. `None`: all servers are not there and known yet.
    pub usable: Option<bool>,
    /// That none is usable was said by this engine.
    pub told: bool,
    /// When it last lost its last usable server, or got one back.
    pub changed: Option<Instant>,
    /// The times before `changed` without one, together.
    pub downtime: Duration,
}

impl Outage {
    /// The last usable server is lost, or one is back.
    pub(super) fn turn(&mut self, usable: bool, now: Instant) {
        self.downtime = self.total(now);
        self.usable = Some(usable);
        self.told = true;
        self.changed = Some(now);
    }

    /// The time without a usable server until now.
    pub fn total(&self, now: Instant) -> Duration {
        let since = self.changed.filter(|_| self.usable == Some(false));
        self.downtime + since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_server_add_up() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(outage.total(at(9)), Duration::ZERO);
        outage.turn(false, at(10));
        assert_eq!(outage.total(at(12)), Duration::from_secs(2));
        outage.turn(true, at(13));
        outage.turn(false, at(20));
        assert_eq!(outage.total(at(21)), Duration::from_secs(4));
    }
}
