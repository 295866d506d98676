//! The worker threads of an engine, as the control thread sees them.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use crate::proxy::context::WorkerResources;
use crate::proxy::worker::{Worker, WorkerStats};

/// All worker threads. Cheap to clone; they end when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Workers(Rc<[Worker]>);

/// What the workers did when a heartbeat was due.
#[derive(Debug)]
pub(super) enum Pulse {
    Answered(WorkerStats),
    Silent,
    /// It panicked.
    Failed,
    /// A thread has ended, which only a bug does.
    WorkerLost,
}

impl Workers {
    /// Starts `count` threads.
    pub(super) fn start(count: usize, resources: &WorkerResources) -> io::Result<Self> {
        let workers = (0..count).map(|index| Worker::start(index, resources.clone()));
        Ok(Self(workers.collect::<io::Result<_>>()?))
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> + Clone {
        self.0.iter()
    }

    /// The worker of a number, which may exceed their count.
    pub(super) fn nth(&self, number: usize) -> &Worker {
        &self.0[number % self.0.len()]
    }

    /// Whether every thread runs. Only a bug ends one early.
    pub(super) fn are_alive(&self) -> bool {
        self.0.iter().all(Worker::is_alive)
    }

    /// What all workers hold together, if every one answers within `limit`.
    pub(super) async fn answer(&self, limit: Duration) -> Option<WorkerStats> {
        let mut sum = WorkerStats::default();
        for worker in &*self.0 {
            let stats = timeout(limit, worker.stats()).await.ok().filter(|_| worker.is_alive())?;
            sum.sessions += stats.sessions;
            sum.pipes += stats.pipes;
        }
        Some(sum)
    }

    /// Sessions on all workers.
    pub(super) async fn sessions(&self) -> usize {
        let mut sum = 0;
        for worker in &*self.0 {
            sum += worker.stats().await.sessions;
        }
        sum
    }
}
