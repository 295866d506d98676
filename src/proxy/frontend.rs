//! A frontend: where clients come in, and where they are sent.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::limit::Limit;
use crate::backend::Backend;
use crate::config;
use crate::stats::FrontendStats;

/// What stays the same for a name over all changes of its settings.
#[derive(Debug)]
pub struct Frontend {
    pub name: Arc<str>,
    pub stats: FrontendStats,
    pub limit: Limit,
    /// Shared by all frontends.
    pub global: Arc<Limit>,
    route: ArcSwap<Route>,
}

/// The settings in force and the backend they lead to: one truth, one swap.
#[derive(Debug)]
pub struct Route {
    pub settings: config::Frontend,
    pub backend: Arc<Backend>,
}

impl Frontend {
    pub fn new(settings: config::Frontend, backend: Arc<Backend>, global: Arc<Limit>) -> Arc<Self> {
        Arc::new(Self {
            name: settings.name.as_str().into(),
            stats: FrontendStats::default(),
            limit: Limit::new(settings.maxconn.unwrap_or(u32::MAX)),
            global,
            route: ArcSwap::from_pointee(Route { settings, backend }),
        })
    }

    /// Takes over changed settings. Sessions with a server keep it; those that wait for one follow to the backend.
    pub fn reroute(&self, settings: config::Frontend, backend: Arc<Backend>) {
        self.limit.set_max(settings.maxconn.unwrap_or(u32::MAX));
        let before = self.route.swap(Arc::new(Route { settings, backend }));
        if !Arc::ptr_eq(&before.backend, &self.route().backend) {
            before.backend.queue.call(usize::MAX);
        }
    }

    pub fn route(&self) -> Guard<Arc<Route>> {
        self.route.load()
    }
}

/// A place in the frontend and in the process; dropping it gives both back.
#[derive(Debug)]
pub(crate) struct Permit {
    frontend: Arc<Frontend>,
}

impl Permit {
    /// Waits for a place. Cancel safe.
    pub(crate) async fn take(frontend: &Arc<Frontend>) -> Self {
        loop {
            std::future::poll_fn(|cx| frontend.limit.poll_take(cx)).await;
            if frontend.global.try_take() {
                return Self { frontend: Arc::clone(frontend) };
            }
            // The frontend's place must not be kept while waiting for the other one.
            frontend.limit.give_back();
            std::future::poll_fn(|cx| frontend.global.poll_take(cx)).await;
            if frontend.limit.try_take() {
                return Self { frontend: Arc::clone(frontend) };
            }
            frontend.global.give_back();
        }
    }

    /// A place for a session that exists already, whatever the limits are.
    pub(crate) fn force(frontend: &Arc<Frontend>) -> Self {
        frontend.limit.force();
        frontend.global.force();
        Self { frontend: Arc::clone(frontend) }
    }

    /// The place that was lent to the engine that a session comes from.
    pub(crate) fn arrive(frontend: &Arc<Frontend>) -> Self {
        frontend.limit.arrive();
        frontend.global.arrive();
        Self { frontend: Arc::clone(frontend) }
    }

    pub(crate) fn frontend(&self) -> &Arc<Frontend> {
        &self.frontend
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.frontend.limit.give_back();
        self.frontend.global.give_back();
    }
}
