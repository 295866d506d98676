//! A gate: where clients of a frontend come in, one for each bind; all workers that accept there share it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::limit::Limit;
use crate::config::BindEntry;

/// What stays the same for a bind over all changes of its options.
#[derive(Debug)]
pub struct Gate {
    /// Sessions that came in here.
    pub limit: Limit,
    entry: ArcSwap<BindEntry>,
}

impl Gate {
    pub fn new(entry: BindEntry) -> Arc<Self> {
        let limit = Limit::new(entry.maxconn.unwrap_or(u32::MAX));
        Arc::new(Self { limit, entry: ArcSwap::from_pointee(entry) })
    }

    /// The options in force.
    pub fn entry(&self) -> Guard<Arc<BindEntry>> {
        self.entry.load()
    }

    /// Takes over changed options.
    pub fn change(&self, entry: BindEntry) {
        self.limit.set_max(entry.maxconn.unwrap_or(u32::MAX));
        self.entry.store(Arc::new(entry));
    }
}
