//! `Load`: runs of ApacheBench, one after the other, for the duration of a test; none of them may have a failure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ab::{Ab, AbReport};
use super::figure::figure;
use super::wait::observe;

#[derive(Debug)]
pub(crate) struct Load {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<AbReport>>>,
}

impl Load {
    pub(crate) fn start(addr: SocketAddr) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let is_done = done.clone();
        let thread = std::thread::spawn(move || {
            let mut reports = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                reports.push(Ab::run(addr, REQUESTS, CONCURRENCY, &[]));
                // Leaves a share of the cores to the rest of the test.
                observe(Duration::from_millis(50));
            }
            reports
        });
        Self { done, thread: Some(thread) }
    }

    /// Ends the load.
    ///
    /// # Panics
    /// When a connection failed.
    #[track_caller]
    pub(crate) fn assert_flawless(mut self, story: &str) {
        self.done.store(true, Ordering::Relaxed);
        let reports = self.thread.take().expect("it ends once").join().unwrap();
        let slowest = reports.iter().map(|report| report.percentiles.1).max();
        let requests: u64 = reports.iter().map(|report| report.complete).sum();
        let failed: u64 = reports.iter().map(|report| report.failed).sum();
        let text = format!("{failed} failed of {requests}, worst p99 of a run {} ms", slowest.unwrap_or(0));
        figure(&format!("load while {story}"), text);
        reports.iter().for_each(AbReport::assert_flawless);
        assert!(requests > 0, "no request was made");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Requests per run, which takes about a fifth of a second.
const REQUESTS: u64 = 1000;
const CONCURRENCY: u32 = 8;
