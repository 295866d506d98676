//! Stand-ins for frontends that only sessions of the previous engine still name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::backend::Backend;
use crate::config;
use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::proxy::frontend::Frontend;
use crate::proxy::frozen::{Frozen, Stage};

/// The stand-ins made so far.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    /// By its name and that of its backend.
    frontends: HashMap<(String, String), Arc<Frontend>>,
}

impl Ghosts {
    /// Frontend and backend of a frozen session: those of the configuration, or a stand-in and a backend that leaves, so
    /// that it can continue.
    pub(super) fn places(
        &mut self,
        frozen: &Frozen,
        listeners: &Listeners,
        pools: &Pools,
    ) -> (Arc<Frontend>, Arc<Backend>) {
        let (Stage::Relaying { backend, .. } | Stage::Waiting { backend, .. }) = &frozen.stage;
        if let Some(frontend) = listeners.frontend(&frozen.frontend) {
            let frontend = Arc::clone(frontend);
            let backend = match &frozen.stage {
                Stage::Relaying { backend, .. } => pools.get_or_leaving(backend),
                // It follows the frontend.
                Stage::Waiting { .. } => Arc::clone(&frontend.route().backend),
            };
            return (frontend, backend);
        }
        let backend = pools.get_or_leaving(backend);
        (self.stand_in(&frozen.frontend, &backend, listeners), backend)
    }

    fn stand_in(&mut self, name: &str, backend: &Arc<Backend>, listeners: &Listeners) -> Arc<Frontend> {
        let ghost = self.frontends.entry((name.to_owned(), backend.name.to_string())).or_insert_with(|| {
            let settings = config::Frontend::new(name, Vec::new(), &*backend.name);
            Frontend::new(settings, Arc::clone(backend), Arc::clone(listeners.limit()))
        });
        Arc::clone(ghost)
    }
}
