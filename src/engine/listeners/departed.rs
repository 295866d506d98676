//! Frontends that the configuration does not have any more. One with open sessions is the same again when its name
//! returns; of the others remains what they counted, so that no total falls.

use std::sync::Arc;

use crate::proxy::frontend::Frontend;
use crate::stats::FrontendStats;

/// The frontends that left.
#[derive(Debug, Default)]
pub(in crate::engine) struct DepartedFrontends {
    leaving: Vec<Arc<Frontend>>,
    /// What frontends counted that are no more.
    pub(in crate::engine) gone: FrontendStats,
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

    /// Those that are still in use, or were a while ago.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &Arc<Frontend>> {
        self.leaving.iter()
    }

    fn settle(&mut self) {
        self.leaving.retain_mut(|frontend| {
            let unused = Arc::get_mut(frontend).map(|frontend| self.gone.absorb(&frontend.stats));
            unused.is_none()
        });
    }
}
