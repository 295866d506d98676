//! Frontends that the configuration does not have any more. One with open sessions is the same again when its name
//! returns; of the others remains what they counted, by name: no total falls.

use std::cell::RefCell;
use std::sync::Arc;

use crate::proxy::frontend::Frontend;
use crate::stats::{Counts, FrontendStats, Remembered};

/// The frontends that left.
#[derive(Debug, Default)]
pub(in crate::engine) struct DepartedFrontends {
    leaving: Vec<Arc<Frontend>>,
    /// What the others have counted.
    counts: RefCell<Remembered<FrontendStats>>,
}

impl DepartedFrontends {
    /// Takes frontends in that leave, and forgets those that nothing uses any more.
    pub(super) fn extend(&mut self, frontends: impl Iterator<Item = Arc<Frontend>>) {
        self.settle();
        self.leaving.extend(frontends);
    }

    /// The frontend of that name, if it still has sessions.
    pub(super) fn returning(&mut self, name: &str) -> Option<Arc<Frontend>> {
        self.settle();
        let place = self.leaving.iter().position(|frontend| *frontend.name == *name)?;
        Some(self.leaving.swap_remove(place))
    }

    /// Gives a new frontend what others of its name have counted.
    pub(super) fn recall(&self, frontend: &Frontend) {
        if let Some(counts) = self.counts.borrow_mut().take(&frontend.name) {
            frontend.stats.absorb(&counts);
        }
    }

    /// Calls `add` with the counts of a name that is no more. The empty name stands for all that are forgotten.
    pub(in crate::engine) fn add_counts(&self, name: &str, add: impl FnOnce(&FrontendStats)) {
        match self.leaving.iter().find(|frontend| *frontend.name == *name) {
            Some(frontend) => add(&frontend.stats),
            None => add(self.counts.borrow_mut().of(name)),
        }
    }

    /// Calls `see` with the counts of each of them.
    pub(in crate::engine) fn see(&self, mut see: impl FnMut(&str, &FrontendStats)) {
        self.leaving.iter().for_each(|frontend| see(&frontend.name, &frontend.stats));
        self.counts.borrow().iter().for_each(|(name, counts)| see(name, counts));
    }

    fn settle(&mut self) {
        let counts = self.counts.get_mut();
        self.leaving.retain_mut(|frontend| {
            let unused = Arc::get_mut(frontend).map(|frontend| counts.of(&frontend.name).absorb(&frontend.stats));
            unused.is_none()
        });
    }
}
