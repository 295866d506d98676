//! What an engine was at its start: its generation, and why it was started.

use std::time::{Duration, Instant};

use crate::handoff::control::{Heartbeat, Mode};

/// Where this engine stands in the life of the load balancer.
#[derive(Debug, Clone)]
pub(super) struct EngineOrigin {
    pub(super) mode: Mode,
    /// Pid of the supervisor.
    pub(super) supervisor: u32,
    /// 1 at the first start, one more with each upgrade.
    pub(super) generation: u64,
    /// Of the load balancer when this engine started.
    pub(super) uptime: Duration,
    pub(super) started: Instant,
    /// Counts that were taken over from the previous engine.
    pub(super) inherited: Heartbeat,
}

impl EngineOrigin {
    /// Since the first generation began.
    pub(super) fn uptime(&self) -> Duration {
        self.uptime + self.started.elapsed()
    }
}
