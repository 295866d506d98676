//! Descriptors, threads and memory of the balancer over the hour.

use super::stage::Stage;
use crate::support::figure::figure;
use crate::support::proc;

/// One sample an upgrade.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    descriptors: Vec<u64>,
    threads: Vec<u64>,
    memory: Vec<u64>,
}

impl Sizes {
    pub(super) fn take(&mut self, stage: &Stage) {
        let pid = stage.lb.pid();
        self.descriptors.push(proc::descriptors(pid).len() as u64);
        self.threads.push(proc::threads(pid) as u64);
        self.memory.push(proc::private_memory(pid) / 1024);
    }

    /// # Panics
    /// When one of them has grown from the first quarter of the samples to the last.
    pub(super) fn assert_flat(&self) {
        flat("descriptors", &self.descriptors, 24);
        flat("threads", &self.threads, 4);
        flat("private memory in KiB", &self.memory, 4096);
    }
}

/// Medians of the first and the last quarter: an upgrade under way or an engine that drains is no growth.
fn flat(name: &str, samples: &[u64], slack: u64) {
    let quarter = samples.len().div_ceil(4);
    let (first, last) = (median(&samples[..quarter]), median(&samples[samples.len() - quarter..]));
    let most = samples.iter().max().unwrap();
    figure(&format!("any hour: {name}, first quarter → last, most"), format!("{first} → {last}, {most}"));
    assert!(last <= first + first / 10 + slack, "{name} grew: {samples:?}");
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}
