//! Single numbers: totals and maxima.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Begins anew. The operator asks for it.
    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }
}

/// The largest value that was seen.
#[derive(Debug, Default)]
pub struct Peak(AtomicU64);

impl Peak {
    /// Most values are no new peak, and cost a load.
    pub fn see(&self, value: u64) {
        if value > self.value() {
            self.0.fetch_max(value, Relaxed);
        }
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }
}
