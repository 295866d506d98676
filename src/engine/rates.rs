//! Once a second all counters of sessions are looked at, which tells how many there are a second.

use std::time::{Duration, Instant};

use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;

/// The looks at the counters.
#[derive(Debug)]
pub(super) struct Rates {
    looked: Instant,
}

impl Default for Rates {
    fn default() -> Self {
        Self { looked: Instant::now() }
    }
}

impl Rates {
    /// The time since the last look.
    pub(super) fn since_look(&self) -> Duration {
        self.looked.elapsed()
    }

    /// Looks at all of them. To be called once a second.
    pub(super) fn look(&mut self, listeners: &Listeners, pools: &Pools) {
        let elapsed = self.looked.elapsed();
        self.looked = Instant::now();
        for (_, served) in listeners.iter() {
            let stats = &served.frontend.stats;
            stats.rate.look(stats.sessions_total.value(), elapsed);
        }
        for (_, backend) in pools.iter() {
            backend.stats.rate.look(backend.stats.sessions_total.value(), elapsed);
            for member in &backend.snapshot().members {
                let stats = &member.server.stats;
                stats.rate.look(stats.picks.value(), elapsed);
            }
        }
    }
}
