//! How many sessions and pipes the descriptors of this process allow.

use crate::config::{self, Address, Config};
use crate::control::names::SOCKETS;
use crate::sys::resources::pipe_budget;

/// What the descriptors allow.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessLimits {
    /// Sessions of the process.
    pub(super) maxconn: u32,
    /// Pipes of one worker.
    pub(super) pipes: usize,
}

/// The limits with this many descriptors and worker threads.
pub(super) fn of_process(config: &Config, descriptors: u64, threads: usize) -> ProcessLimits {
    let pipes = pipes(descriptors, threads);
    ProcessLimits { maxconn: maxconn(config, descriptors, threads, pipes), pipes }
}

/// Pipes a worker may hold: its share of the budget, and no more than an eighth of the descriptors for all.
fn pipes(descriptors: u64, threads: usize) -> usize {
    let by_descriptors = usize::try_from(descriptors / 8 / 2).unwrap_or(usize::MAX);
    pipe_budget().min(by_descriptors) / threads.max(1)
}

/// The process-wide maxconn: as configured, but never so much that checks, the admin socket and the hand-off would
/// find no descriptor. Each session has two.
fn maxconn(config: &Config, descriptors: u64, threads: usize, pipes: usize) -> u32 {
    let servers: usize = config
        .backends
        .iter()
        .map(|backend| backend.servers.len() + backend.discovery.as_ref().map_or(0, |_| CHECKS))
        .sum();
    let named = |server: &config::Server| matches!(server.addr, Address::Host(..));
    let names = config.backends.iter().any(|backend| backend.discovery.is_some() || backend.servers.iter().any(named));
    let listeners: usize = config.frontends.iter().map(|frontend| frontend.bind.len() * threads * 2).sum();
    // Standard streams, runtimes (four each), log, admin and its clients, etcd; questions to name servers; and the checks
    // under way.
    let questions = if names { SOCKETS } else { 0 };
    let reserve = 24 + 4 * (threads + 1) + listeners + 2 * pipes * threads + questions + servers.min(CHECKS);
    let possible = descriptors.saturating_sub(reserve as u64) / 2;
    let possible = u32::try_from(possible).unwrap_or(u32::MAX).max(1);
    match config.global.maxconn {
        Some(wanted) if wanted > possible => {
            tracing::warn!(
                "maxconn {wanted} needs more than the {descriptors} descriptors there are: {possible} is used; \
                 raise LimitNOFILE (ulimit -n) to {}",
                u64::from(wanted) * 2 + reserve as u64
            );
            possible
        }
        Some(wanted) => wanted,
        None => possible,
    }
}

/// Checks that are thought to be under way at once.
const CHECKS: usize = 64;
