//! The listening sockets of an engine and the frontends that they belong to.
//!
//! A socket is accepting (a worker has a duplicate), parked (another engine accepts from it; this one keeps it open) or
//! retired (what waits in its queue is served, then it is closed).

pub(crate) mod bind;
pub(crate) mod departed;
mod group;
pub(crate) mod inherited;
pub(crate) mod listener_error;
mod unix;
mod unix_place;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use self::bind::{Bound, BoundOrigin, ListenerSlot};
use self::departed::DepartedFrontends;
use self::inherited::Inherited;
use crate::backend::Backend;
use crate::config::{self, BindEntry, Config, Entrance};
use crate::engine::error::EngineError;
use crate::engine::supervisor_link::Reports;
use crate::engine::workers::Workers;
use crate::proxy::frontend::Frontend;
use crate::proxy::limit::Limit;
use crate::proxy::worker::{ListenerId, Worker};

/// All frontends and their sockets. Lives on the control thread.
pub(super) struct Listeners {
    served: BTreeMap<String, Served>,
    /// Frontends that the configuration does not have any more.
    departed: DepartedFrontends,
    workers: Workers,
    reports: Reports,
    /// Sessions of the whole process.
    limit: Arc<Limit>,
    next_id: u64,
    /// Connections are accepted.
    accepting: bool,
}

/// A frontend and its listening sockets.
pub(super) struct Served {
    pub(super) frontend: Arc<Frontend>,
    pub(super) bound: Vec<Bound>,
}

/// Sockets that a new configuration needs and the running one has not: frontend name and address.
pub(super) struct NewlyBound(Vec<(String, Bound)>);

/// Sockets to be retired.
pub(super) type LeavingListeners = Vec<(Arc<Frontend>, Bound)>;

impl Listeners {
    /// `limit`: the sessions of the whole process.
    pub(super) fn new(workers: Workers, reports: Reports, limit: Limit) -> Self {
        let (served, departed) = (BTreeMap::new(), DepartedFrontends::default());
        Self { served, departed, workers, reports, limit: Arc::new(limit), next_id: 0, accepting: false }
    }

    pub(super) fn limit(&self) -> &Arc<Limit> {
        &self.limit
    }

    /// Whether no place is free within the limit of the process, or of a frontend.
    pub(super) fn is_full(&self) -> bool {
        self.limit.is_full() || self.served.values().any(|served| served.frontend.limit.is_full())
    }

    /// By name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Served)> {
        self.served.iter()
    }

    pub(super) fn frontend(&self, name: &str) -> Option<&Arc<Frontend>> {
        self.served.get(name).map(|served| &served.frontend)
    }

    /// Those that left.
    pub(super) fn departed(&self) -> &DepartedFrontends {
        &self.departed
    }

    /// Sessions that ever began, of all frontends there have been.
    pub(super) fn sessions_total(&self) -> u64 {
        let served = self.served.values().map(|served| served.frontend.stats.sessions_total.value());
        let mut total = served.sum();
        self.departed.see(|_, counts| total += counts.sessions_total.value());
        total
    }

    /// Bytes to the clients of all frontends there have been.
    pub(super) fn bytes_out(&self) -> u64 {
        let mut total = self.served.values().map(|served| served.frontend.stats.bytes_out.value()).sum();
        self.departed.see(|_, counts| total += counts.bytes_out.value());
        total
    }

    /// Listening sockets that this engine serves.
    pub(super) fn count(&self) -> u32 {
        let bound = self.served.values().flat_map(|served| &served.bound);
        u32::try_from(bound.map(|bound| bound.sockets.len()).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Binds what is new. Nothing that runs is touched. `patience` as in [`BoundOrigin`]; `beside` another program, which
    /// leaves its paths.
    pub(super) fn bind_new(
        &mut self,
        config: &Config,
        inherited: &mut Inherited,
        patience: Duration,
        beside: bool,
    ) -> Result<NewlyBound, EngineError> {
        let mut new = Vec::new();
        for frontend in &config.frontends {
            let mut missing = frontend.bind.clone();
            for have in self.served.get(&frontend.name).iter().flat_map(|served| &served.bound) {
                if let Some(index) = missing.iter().position(|wanted| have.is_at(wanted)) {
                    missing.remove(index);
                }
            }
            for wanted in missing {
                let own = beside || self.has_unix(&wanted);
                let origin = BoundOrigin { inherited: inherited.traffic(&frontend.name, &wanted), own, patience };
                let next_id = || {
                    self.next_id += 1;
                    ListenerId(self.next_id - 1)
                };
                let bound = Bound::new(frontend, &wanted, origin, self.workers.count(), next_id)?;
                new.push((frontend, bound));
            }
        }
        // Only when all are bound: a connection to a listener that is closed again would be reset.
        for (frontend, bound) in &mut new {
            bound.listen(frontend)?;
        }
        for (frontend, bound) in &mut new {
            let own = beside || self.has_unix(&bound.gate.entry());
            bound.publish(frontend, own)?;
        }
        Ok(NewlyBound(new.into_iter().map(|(frontend, bound)| (frontend.name.clone(), bound)).collect()))
    }

    /// Whether a listener has the path of this unix socket.
    fn has_unix(&self, entry: &BindEntry) -> bool {
        entry.is_unix() && self.served.values().flat_map(|served| &served.bound).any(|bound| bound.is_at(entry))
    }

    /// Where the frontends of this configuration listen, with what was bound for it.
    pub(super) fn entrances(&self, config: &Config, new: &NewlyBound) -> Vec<Entrance> {
        let mut entrances = Vec::new();
        for frontend in &config.frontends {
            let new = new.0.iter().filter(|(name, _)| *name == frontend.name).map(|(_, bound)| bound);
            let stays = |bound: &&Bound| frontend.bind.iter().any(|wanted| bound.is_at(wanted));
            let served = self.served.get(&frontend.name).into_iter().flat_map(|served| &served.bound).filter(stays);
            entrances.extend(served.chain(new).filter_map(|bound| bound.entrance(frontend)));
        }
        entrances
    }

    /// Changes a running frontend or makes a new one. Returns the addresses that it leaves.
    pub(super) fn configure(&mut self, settings: &config::Frontend, backend: &Arc<Backend>) -> LeavingListeners {
        let served = self.served.entry(settings.name.clone()).or_insert_with(|| {
            let frontend = self
                .departed
                .returning(&settings.name)
                .unwrap_or_else(|| Frontend::new(settings.clone(), Arc::clone(backend), Arc::clone(&self.limit)));
            self.departed.recall(&frontend);
            Served { frontend, bound: Vec::new() }
        });
        served.frontend.reroute(settings.clone(), Arc::clone(backend));
        let mut wanted = settings.bind.clone();
        let leaves = |bound: &mut Bound| {
            let place = wanted.iter().position(|entry| bound.is_at(entry));
            place.map(|index| bound.gate.change(wanted.remove(index))).is_none()
        };
        let leaving: Vec<Bound> = served.bound.extract_if(.., leaves).collect();
        for bound in &mut served.bound {
            if let Err(error) = bound.listen(settings) {
                tracing::warn!("{error}");
            }
        }
        leaving.iter().for_each(Bound::unpublish);
        leaving.into_iter().map(|bound| (Arc::clone(&served.frontend), bound)).collect()
    }

    /// Shows new sockets to the supervisor, which keeps them alive, and lets the workers accept if it is time.
    pub(super) fn open(&mut self, new: NewlyBound) -> Result<(), EngineError> {
        for (name, mut bound) in new.0 {
            let Some(served) = self.served.get_mut(&name) else {
                continue;
            };
            for (listener, socket) in bound.described(&name) {
                self.reports.listener(&listener, socket)?;
            }
            if self.accepting {
                accept(&self.workers, &served.frontend, &mut bound, |_| true)?;
            }
            tracing::info!("frontend {name}: listening on {}", bound.shown());
            served.bound.push(bound);
        }
        Ok(())
    }

    /// Removes the frontends that the configuration does not have. Returns their addresses.
    pub(super) fn remove_unconfigured(&mut self, config: &Config) -> LeavingListeners {
        let is_gone = |name: &String, _: &mut Served| !config.frontends.iter().any(|frontend| frontend.name == *name);
        let gone: Vec<Served> = self.served.extract_if(.., is_gone).map(|(_, served)| served).collect();
        gone.iter().for_each(|gone| self.pass_on(&gone.frontend, config));
        gone.iter().flat_map(|gone| &gone.bound).for_each(Bound::unpublish);
        self.departed.extend(gone.iter().map(|served| Arc::clone(&served.frontend)));
        gone.into_iter().flat_map(Served::leave).collect()
    }

    /// Lets the sessions of a frontend that still wait for a server follow to the one that has its address now.
    fn pass_on(&self, gone: &Frontend, config: &Config) {
        let settings = gone.route().settings.clone();
        let mut heirs = config
            .frontends
            .iter()
            .filter(|heir| heir.bind.iter().any(|new| settings.bind.iter().any(|old| old.is_at(new))));
        if let Some(heir) = heirs.find_map(|heir| self.frontend(&heir.name)) {
            gone.reroute(settings, Arc::clone(&heir.route().backend));
        }
    }

    /// Removes every frontend. Returns their addresses.
    pub(super) fn remove_all(&mut self) -> LeavingListeners {
        std::mem::take(&mut self.served).into_values().flat_map(Served::leave).collect()
    }

    /// Lets the workers accept from every socket.
    pub(super) fn accept_all(&mut self) -> Result<(), EngineError> {
        self.accept_from(|_| true)
    }

    /// Accepts again from what was parked.
    pub(super) fn resume(&mut self) -> Result<(), EngineError> {
        self.accept_from(|slot| slot.parked)
    }

    /// Stops accepting and keeps the sockets, except those with these cookies, which no other engine serves. The future
    /// is ready when every worker has let go; it must be driven to its end.
    pub(super) fn park(&mut self, except: &[u64]) -> impl Future<Output = ()> + 'static {
        self.accepting = false;
        let mut parked = Vec::new();
        for bound in self.served.values_mut().flat_map(|served| &mut served.bound) {
            for (number, slot) in bound.sockets.iter_mut().enumerate() {
                slot.parked = !except.contains(&slot.cookie);
                if slot.parked {
                    parked.push((number, slot.id));
                }
            }
        }
        let workers = self.workers.clone();
        async move {
            for (number, id) in parked {
                workers.nth(number).park(id).await;
            }
        }
    }

    /// Stops listening: what waits in the queues is served, then they are closed. Parked sockets belong to another
    /// engine and are left as they are. The future must be driven to its end.
    pub(super) fn retire(&self, leaving: LeavingListeners) -> impl Future<Output = ()> + 'static {
        let (workers, reports) = (self.workers.clone(), self.reports.clone());
        async move {
            for (frontend, bound) in leaving {
                retire(&workers, &reports, &frontend, bound).await;
            }
        }
    }

    fn accept_from(&mut self, wanted: impl Fn(&ListenerSlot) -> bool) -> Result<(), EngineError> {
        self.accepting = true;
        for served in self.served.values_mut() {
            for bound in &mut served.bound {
                accept(&self.workers, &served.frontend, bound, &wanted)?;
            }
        }
        Ok(())
    }
}

impl Served {
    fn leave(self) -> impl Iterator<Item = (Arc<Frontend>, Bound)> {
        self.bound.into_iter().map(move |bound| (Arc::clone(&self.frontend), bound))
    }
}

fn accept(
    workers: &Workers,
    frontend: &Arc<Frontend>,
    bound: &mut Bound,
    wanted: impl Fn(&ListenerSlot) -> bool,
) -> Result<(), EngineError> {
    for (worker, slot) in with_workers(workers, &mut bound.sockets) {
        if wanted(slot) {
            worker.listen(slot.id, Arc::clone(frontend), Arc::clone(&bound.gate), duplicate(&slot.socket)?);
            slot.parked = false;
        }
    }
    bound.settle();
    Ok(())
}

async fn retire(workers: &Workers, reports: &Reports, frontend: &Arc<Frontend>, bound: Bound) {
    let was_served = bound.sockets.iter().any(|slot| !slot.parked);
    let shown = bound.shown();
    for (worker, slot) in with_workers(workers, bound.sockets) {
        if slot.parked {
            continue;
        }
        if let Err(error) = reports.unlisten(slot.cookie) {
            tracing::debug!("{error}");
        }
        worker.retire(slot.id, Arc::clone(frontend), Arc::clone(&bound.gate), slot.socket).await;
    }
    if was_served {
        tracing::info!("frontend {}: no longer listening on {shown}", frontend.name);
    }
}

/// Each socket of an address with its worker.
fn with_workers<T>(workers: &Workers, sockets: impl IntoIterator<Item = T>) -> impl Iterator<Item = (&Worker, T)> {
    workers.iter().cycle().zip(sockets)
}

fn duplicate(socket: &OwnedFd) -> Result<OwnedFd, EngineError> {
    socket.try_clone().map_err(EngineError::system("cannot duplicate a listening socket"))
}
