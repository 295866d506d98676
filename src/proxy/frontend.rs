//! A frontend: where clients come in, and where they are sent.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::gate::Gate;
use super::limit::Limit;
use super::rate::SessionRate;
use crate::backend::Backend;
use crate::config;
use crate::stats::FrontendStats;

/// What stays the same for a name over all changes of its settings.
#[derive(Debug)]
pub struct Frontend {
    pub name: Arc<str>,
    pub stats: FrontendStats,
    pub limit: Limit,
    pub rate: SessionRate,
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
            rate: SessionRate::new(settings.rate_limit),
            global,
            route: ArcSwap::from_pointee(Route { settings, backend }),
        })
    }

    /// Takes over changed settings. Sessions with a server keep it; those that wait for one follow to the backend.
    pub fn reroute(&self, settings: config::Frontend, backend: Arc<Backend>) {
        self.limit.set_max(settings.maxconn.unwrap_or(u32::MAX));
        self.rate.set_limit(settings.rate_limit);
        let before = self.route.swap(Arc::new(Route { settings, backend }));
        if !Arc::ptr_eq(&before.backend, &self.route().backend) {
            before.backend.queue.call(usize::MAX);
        }
    }

    pub fn route(&self) -> Guard<Arc<Route>> {
        self.route.load()
    }
}

/// A place at the gate, in the frontend and in the process; dropping it gives all of them back.
#[derive(Debug)]
pub(crate) struct Permit {
    frontend: Arc<Frontend>,
    /// `None`: where the session came in is not known any more.
    gate: Option<Arc<Gate>>,
}

impl Permit {
    /// Waits for a place. Cancel safe.
    pub(crate) async fn take(frontend: &Arc<Frontend>, gate: &Arc<Gate>) -> Self {
        let limits = [&frontend.limit, &gate.limit, &*frontend.global];
        let mut waits_for = 0;
        loop {
            std::future::poll_fn(|cx| limits[waits_for].poll_take(cx)).await;
            let others = || (0..limits.len()).filter(|other| *other != waits_for);
            let Some(full) = others().find(|other| !limits[*other].try_take()) else {
                return Self { frontend: Arc::clone(frontend), gate: Some(Arc::clone(gate)) };
            };
            // Places must not be kept while waiting for another one.
            limits[waits_for].give_back();
            others().take_while(|other| *other != full).for_each(|taken| limits[taken].give_back());
            waits_for = full;
        }
    }

    /// A place for a session that exists already, whatever the limits are.
    pub(crate) fn force(frontend: &Arc<Frontend>, gate: Option<&Arc<Gate>>) -> Self {
        frontend.limit.force();
        frontend.global.force();
        gate.into_iter().for_each(|gate| gate.limit.force());
        Self { frontend: Arc::clone(frontend), gate: gate.cloned() }
    }

    /// The place that was lent to the engine that a session comes from.
    pub(crate) fn arrive(frontend: &Arc<Frontend>) -> Self {
        frontend.limit.arrive();
        frontend.global.arrive();
        Self { frontend: Arc::clone(frontend), gate: None }
    }

    /// The same place once more, for what follows the session that has it.
    pub(crate) fn again(&self) -> Self {
        Self::force(&self.frontend, self.gate.as_ref())
    }

    pub(crate) fn frontend(&self) -> &Arc<Frontend> {
        &self.frontend
    }

    pub(crate) fn gate(&self) -> Option<&Gate> {
        self.gate.as_deref()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.frontend.limit.give_back();
        self.frontend.global.give_back();
        self.gate.iter().for_each(|gate| gate.limit.give_back());
    }
}
