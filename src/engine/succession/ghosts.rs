//! Stand-ins for frontends and backends that only sessions of the previous engine still name.

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
    frontends: HashMap<String, Arc<Frontend>>,
    backends: HashMap<String, Arc<Backend>>,
}

impl Ghosts {
    /// Frontend and backend of a frozen session: those of the configuration, or stand-ins, so that it can continue.
    pub(super) fn places(
        &mut self,
        frozen: &Frozen,
        listeners: &Listeners,
        pools: &Pools,
    ) -> (Arc<Frontend>, Arc<Backend>) {
        let backend = match &frozen.stage {
            Stage::Relaying { backend, .. } => Some(self.backend(backend, pools)),
            Stage::Waiting { .. } => None,
        };
        let frontend = self.frontend(&frozen.frontend, backend.as_ref(), listeners);
        let backend = backend.unwrap_or_else(|| Arc::clone(&frontend.route().backend));
        (frontend, backend)
    }

    fn frontend(&mut self, name: &str, backend: Option<&Arc<Backend>>, listeners: &Listeners) -> Arc<Frontend> {
        if let Some(frontend) = listeners.frontend(name) {
            return Arc::clone(frontend);
        }
        let ghost = self.frontends.entry(name.to_owned()).or_insert_with(|| {
            let backend = backend.map_or_else(|| empty_backend(""), Arc::clone);
            Frontend::new(config::Frontend::new(name, Vec::new(), ""), backend, Arc::clone(listeners.limit()))
        });
        Arc::clone(ghost)
    }

    fn backend(&mut self, name: &str, pools: &Pools) -> Arc<Backend> {
        if let Some(backend) = pools.get(name) {
            return Arc::clone(backend);
        }
        Arc::clone(self.backends.entry(name.to_owned()).or_insert_with(|| empty_backend(name)))
    }
}

fn empty_backend(name: &str) -> Arc<Backend> {
    Backend::new(Arc::new(config::Backend::new(name, Vec::new())))
}
