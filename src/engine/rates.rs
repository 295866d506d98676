//! Once a second all counters of sessions are looked at, which tells how many there are a second; and how busy the process
//! was.

use std::time::{Duration, Instant};

use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::proxy::worker::WorkerStats;
use crate::stats::Rate;
use crate::sys::resources::cpu_time;

/// The looks at the counters.
#[derive(Debug)]
pub(super) struct Rates {
    looked: Instant,
    /// Of all frontends.
    pub(super) sessions: Rate,
    pub(super) bytes_out: Rate,
    /// Time of this process's threads until the last look, and the share of the second before that they used, in percent.
    cpu: Duration,
    busy_percent: u64,
    threads: u32,
    /// Pipes of all workers: as they said last, and the most.
    pub(super) pipes: usize,
    pub(super) pipes_max: usize,
}

impl Rates {
    /// `pipes`: the most of a worker.
    pub(super) fn new(threads: usize, pipes: usize) -> Self {
        Self {
            looked: Instant::now(),
            sessions: Rate::default(),
            bytes_out: Rate::default(),
            cpu: cpu_time(),
            busy_percent: 0,
            threads: u32::try_from(threads).unwrap_or(u32::MAX).max(1),
            pipes: 0,
            pipes_max: pipes.saturating_mul(threads),
        }
    }

    /// The time since the last look.
    pub(super) fn since_look(&self) -> Duration {
        self.looked.elapsed()
    }

    /// The share of the last second in which the worker threads had nothing to do.
    pub(super) fn idle_percent(&self) -> u64 {
        100 - self.busy_percent
    }

    /// Takes in how much the workers hold.
    pub(super) fn hear(&mut self, stats: WorkerStats) {
        self.pipes = stats.pipes;
    }

    /// Looks at all of them. To be called once a second.
    pub(super) fn look(&mut self, listeners: &Listeners, pools: &Pools) {
        let elapsed = self.looked.elapsed();
        self.looked = Instant::now();
        self.sessions.look(listeners.sessions_total(), elapsed);
        self.bytes_out.look(listeners.bytes_out(), elapsed);
        let cpu = cpu_time();
        let (used, had) = (cpu.saturating_sub(self.cpu).as_micros(), (elapsed * self.threads).as_micros().max(1));
        self.busy_percent = u64::try_from(used * 100 / had).unwrap_or(100).min(100);
        self.cpu = cpu;
        for (_, served) in listeners.iter() {
            let stats = &served.frontend.stats;
            stats.rate.look(stats.sessions_total.value(), elapsed);
        }
        for (_, backend) in pools.iter() {
            backend.stats.rate.look(backend.stats.sessions_total.value(), elapsed);
            for member in &backend.snapshot().members {
                let stats = &member.server.stats;
                stats.rate.look(stats.connects.value(), elapsed);
            }
        }
    }
}
