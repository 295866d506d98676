//! Applying a configuration, at the start and at each reload: prepare everything that can fail, then commit what cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use crate::backend::{Backend, MemberOrigin, MemberSpec};
use crate::config::{self, Config};
use crate::engine::listeners::bind::Bound;
use crate::engine::listeners::inherited::Inherited;
use crate::engine::{Engine, Served, StartError, limits, shown};
use crate::proxy::frontend::Frontend;
use crate::proxy::worker::ListenerId;
use crate::sys::resources;

/// Sockets that the new configuration needs and the old one had not.
struct Prepared {
    /// Frontend name and its new addresses.
    bound: Vec<(String, Bound)>,
}

impl Engine {
    /// The first configuration, on listeners that an engine before this one has left, where it has. Nothing is accepted
    /// before [`Engine::accept_all`].
    pub(super) async fn begin(&self, config: Config, inherited: &mut Inherited) -> Result<(), StartError> {
        self.resolver.follow(self.names(&config)).await;
        let prepared = self.prepare(&config, inherited)?;
        self.commit(config, prepared).await
    }

    /// Reads the configuration again and applies it as a whole, or not at all. What it answers is for the operator.
    pub(super) async fn reload(&self) -> Result<String, String> {
        self.tell_supervisor("reloading", true);
        let outcome = self.try_reload().await;
        self.tell_supervisor("serving", false);
        outcome
    }

    async fn try_reload(&self) -> Result<String, String> {
        let _alone = self.reloading.lock().await;
        let config = self.start.source.read().map_err(|problems| problems.to_string())?;
        self.resolver.follow(self.names(&config)).await;
        if self.stopping.get() {
            return Err("the daemon is stopping".to_owned());
        }
        let none = &mut Inherited::default();
        let prepared = self.prepare(&config, none).map_err(|error| error.to_string())?;
        self.start_discovery(&config, BTreeMap::new());
        for note in self.fixed_settings(&config) {
            tracing::warn!("{note}");
        }
        let (frontends, backends) = (config.frontends.len(), config.backends.len());
        self.commit(config, prepared).await.map_err(|error| error.to_string())?;
        Ok(format!("reloaded: {frontends} frontends, {backends} backends"))
    }

    fn tell_supervisor(&self, status: &str, reloading: bool) {
        let limit = Some(self.stop_limit());
        if let Err(error) = self.reports.status(status, reloading, limit) {
            tracing::debug!("{error}");
        }
    }

    pub(super) async fn reload_by_signal(&self) {
        if self.upgrading() {
            return tracing::error!("reload refused: an upgrade is in progress");
        }
        match self.reload().await {
            Ok(done) => tracing::info!("{done}"),
            Err(why) => tracing::error!("reload refused, the running configuration stays:\n{why}"),
        }
    }

    /// Host names or discovered servers have changed: the same settings with other servers, for these backends.
    pub(super) fn refresh_servers(&self, concerned: impl Fn(&config::Backend) -> bool) {
        let concerned: Vec<_> =
            self.config.borrow().backends.iter().filter(|settings| concerned(settings)).cloned().collect();
        for settings in concerned {
            if let Err(error) = self.apply_backend(settings) {
                tracing::error!("{error}");
            }
        }
    }

    /// Binds what is new. Nothing that runs is touched.
    fn prepare(&self, config: &Config, inherited: &mut Inherited) -> Result<Prepared, StartError> {
        let frontends = self.frontends.borrow();
        let mut bound = Vec::new();
        for frontend in &config.frontends {
            let served = frontends.get(&frontend.name);
            let mut missing: Vec<_> = frontend.bind.clone();
            for have in served.iter().flat_map(|served| &served.bound) {
                if let Some(index) = missing.iter().position(|wanted| *wanted == have.wanted) {
                    missing.remove(index);
                }
            }
            for wanted in missing {
                let held = inherited.traffic(&frontend.name, &wanted.to_string());
                let next_id = || self.next_id();
                let sockets = Bound::new(frontend, wanted, held, self.workers.len(), next_id)?;
                bound.push((frontend, sockets));
            }
        }
        // Only when all are bound: what came to a listener that is closed again would be reset.
        for (frontend, sockets) in &bound {
            sockets.listen(frontend)?;
        }
        let named = |(frontend, sockets): (&config::Frontend, _)| (frontend.name.clone(), sockets);
        let bound = bound.into_iter().map(named).collect();
        Ok(Prepared { bound })
    }

    /// From here on nothing is refused; what still goes wrong is said and left out.
    async fn commit(&self, config: Config, prepared: Prepared) -> Result<(), StartError> {
        for settings in config.backends.clone() {
            self.apply_backend(settings)?;
        }
        let mut retired = Vec::new();
        for settings in &config.frontends {
            retired.extend(self.apply_frontend(settings));
        }
        for (frontend, bound) in prepared.bound {
            self.open(&frontend, bound)?;
        }
        let gone = |name: &String| !config.frontends.iter().any(|frontend| frontend.name == *name);
        let names: Vec<String> = self.frontends.borrow().keys().filter(|name| gone(name)).cloned().collect();
        for name in names {
            if let Some(served) = self.frontends.borrow_mut().remove(&name) {
                retired.extend(served.bound.into_iter().map(|bound| (Arc::clone(&served.frontend), bound)));
            }
        }
        self.forget_backends(&config);
        self.log.retarget(&config.global.log);
        self.global.set_max(self.maxconn(&config));
        *self.config.borrow_mut() = config;
        for (frontend, bound) in retired {
            self.retire(&frontend, bound).await;
        }
        Ok(())
    }

    fn apply_backend(&self, settings: config::Backend) -> Result<(), StartError> {
        let name = settings.name.clone();
        let specs = self.specs(&settings);
        let backend = self.backend_of(&settings);
        backend
            .apply(Arc::new(settings), specs, Instant::now())
            .map_err(|error| StartError::Servers { name: name.clone(), error })?;
        self.checker.sync(&backend);
        Ok(())
    }

    /// The backend of that name; a new one has no servers yet.
    pub(super) fn backend_of(&self, settings: &config::Backend) -> Arc<Backend> {
        let mut backends = self.backends.borrow_mut();
        let known = backends.get(&settings.name).cloned();
        known.unwrap_or_else(|| {
            let backend = Backend::new(Arc::new(settings.clone()));
            backends.insert(settings.name.clone(), Arc::clone(&backend));
            backend
        })
    }

    /// The servers of a backend that have an address now: those of the configuration, then those discovered.
    fn specs(&self, settings: &config::Backend) -> Vec<MemberSpec> {
        let configured = settings.servers.len();
        let spec = |(index, server): (usize, &config::Server)| {
            Some(MemberSpec {
                name: server.name.clone(),
                addr: self.resolver.addr(&server.addr)?,
                weight: server.weight,
                maxconn: server.maxconn,
                backup: server.backup,
                disabled: server.disabled,
                origin: if index < configured { MemberOrigin::Static } else { MemberOrigin::Discovered },
            })
        };
        let merged = self.discovery.merge(settings);
        merged.servers.iter().enumerate().filter_map(spec).collect()
    }

    /// Changes a running frontend or makes a new one. Returns the addresses that it is to leave.
    fn apply_frontend(&self, settings: &config::Frontend) -> Vec<(Arc<Frontend>, Bound)> {
        let backends = self.backends.borrow();
        // The configuration was checked: the name exists.
        let Some(backend) = backends.get(&settings.backend) else {
            return Vec::new();
        };
        let mut frontends = self.frontends.borrow_mut();
        let Some(served) = frontends.get_mut(&settings.name) else {
            let frontend = Frontend::new(settings.clone(), Arc::clone(backend), Arc::clone(&self.global));
            frontends.insert(settings.name.clone(), Served { frontend, bound: Vec::new() });
            return Vec::new();
        };
        served.frontend.reroute(settings.clone(), Arc::clone(backend));
        let mut wanted = settings.bind.clone();
        let (stay, leave) = std::mem::take(&mut served.bound).into_iter().partition(|bound| {
            let place = wanted.iter().position(|addr| *addr == bound.wanted);
            place.map(|index| wanted.remove(index)).is_some()
        });
        served.bound = stay;
        for bound in &served.bound {
            if let Err(error) = bound.listen(settings) {
                tracing::warn!("{error}");
            }
        }
        let leave: Vec<Bound> = leave;
        leave.into_iter().map(|bound| (Arc::clone(&served.frontend), bound)).collect()
    }

    /// Shows new sockets to the supervisor, which keeps them alive, and lets the workers accept if it is time.
    fn open(&self, frontend: &str, mut bound: Bound) -> Result<(), StartError> {
        let mut frontends = self.frontends.borrow_mut();
        let Some(served) = frontends.get_mut(frontend) else {
            return Ok(());
        };
        for (listener, socket) in bound.described(frontend) {
            self.reports.listener(&listener, socket)?;
        }
        if self.serving.get() {
            self.accept(&served.frontend, &mut bound)?;
        }
        tracing::info!("frontend {frontend}: listening on {}", bound.addr);
        served.bound.push(bound);
        Ok(())
    }

    fn accept(&self, frontend: &Arc<Frontend>, bound: &mut Bound) -> Result<(), StartError> {
        for (worker, slot) in self.workers.iter().cycle().zip(&mut bound.sockets) {
            worker.listen(slot.id, Arc::clone(frontend), duplicate(&slot.socket)?);
            slot.parked = false;
        }
        Ok(())
    }

    /// Lets the workers accept from every socket.
    pub(super) fn accept_all(&self) -> Result<(), StartError> {
        self.serving.set(true);
        for served in self.frontends.borrow_mut().values_mut() {
            for bound in &mut served.bound {
                self.accept(&served.frontend, bound)?;
            }
        }
        Ok(())
    }

    /// Stops accepting and keeps the sockets, except those with these cookies, which nobody else serves.
    pub(super) async fn park(&self, except: &[u64]) {
        self.serving.set(false);
        let mut ids = Vec::new();
        for served in self.frontends.borrow_mut().values_mut() {
            for bound in &mut served.bound {
                for (worker, slot) in self.workers.iter().cycle().zip(&mut bound.sockets) {
                    slot.parked = !except.contains(&slot.cookie);
                    if slot.parked {
                        ids.push((worker, slot.id));
                    }
                }
            }
        }
        for (worker, id) in ids {
            worker.park(id).await;
        }
    }

    /// Listening sockets that this engine serves.
    pub(super) fn listeners(&self) -> u32 {
        let frontends = self.frontends.borrow();
        let bound = frontends.values().flat_map(|served| &served.bound);
        u32::try_from(bound.map(|bound| bound.sockets.len()).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Accepts again from what was parked.
    pub(super) fn resume(&self) -> Result<(), StartError> {
        self.serving.set(true);
        for served in self.frontends.borrow_mut().values_mut() {
            for bound in &mut served.bound {
                for (worker, slot) in self.workers.iter().cycle().zip(&mut bound.sockets) {
                    if slot.parked {
                        worker.listen(slot.id, Arc::clone(&served.frontend), duplicate(&slot.socket)?);
                        slot.parked = false;
                    }
                }
            }
        }
        Ok(())
    }

    /// Stops listening: what waits in the queues is served, then they are closed. Parked ones are another engine's: they
    /// are left as they are.
    pub(super) async fn retire(&self, frontend: &Arc<Frontend>, bound: Bound) {
        let was_served = bound.sockets.iter().any(|slot| !slot.parked);
        for (worker, slot) in self.workers.iter().cycle().zip(bound.sockets) {
            if slot.parked {
                continue;
            }
            if let Err(error) = self.reports.unlisten(slot.cookie) {
                tracing::debug!("{error}");
            }
            worker.retire(slot.id, Arc::clone(frontend), slot.socket).await;
        }
        if was_served {
            tracing::info!("frontend {}: no longer listening on {}", frontend.name, bound.addr);
        }
    }

    fn forget_backends(&self, config: &Config) {
        let mut backends = self.backends.borrow_mut();
        backends.retain(|name, backend| {
            let stays = config.backends.iter().any(|settings| settings.name == *name);
            if !stays {
                self.checker.forget(backend);
            }
            stays
        });
    }

    fn maxconn(&self, config: &Config) -> u32 {
        let (descriptors, threads) = (resources::raise_descriptor_limit(), self.workers.len());
        limits::maxconn(config, descriptors, threads, limits::pipes(descriptors, threads))
    }

    /// What a reload cannot change in a running process.
    fn fixed_settings(&self, config: &Config) -> Vec<String> {
        let mut notes = Vec::new();
        let threads = config.global.threads.unwrap_or_else(resources::cores);
        if threads != self.workers.len() {
            notes.push(format!("threads stays {}: `lb upgrade` starts {threads}", self.workers.len()));
        }
        let frontends = self.frontends.borrow();
        for frontend in &config.frontends {
            let had = frontends.get(&frontend.name).map(|served| served.frontend.route().settings.v4v6);
            if had.is_some_and(|had| had != frontend.v4v6) {
                notes.push(format!(
                    "frontend {}: v4v6 of addresses that are bound already stays as it is until a restart",
                    frontend.name
                ));
            }
        }
        let socket = self.start.socket.is_none().then_some(config.global.socket.as_ref()).flatten();
        if let Some(socket) = socket.filter(|socket| **socket != self.socket) {
            notes.push(format!(
                "the admin socket stays {}: restart to move it to {}",
                shown(&self.socket),
                shown(socket)
            ));
        }
        notes
    }

    /// The host names in use, of configured and of discovered servers.
    pub(super) fn names(&self, config: &Config) -> Vec<String> {
        let hosts = config.backends.iter().flat_map(|backend| self.discovery.hosts(backend));
        hosts.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn next_id(&self) -> ListenerId {
        ListenerId(self.next_listener.replace(self.next_listener.get() + 1))
    }
}

fn duplicate(socket: &OwnedFd) -> Result<OwnedFd, StartError> {
    socket.try_clone().map_err(|error| StartError::System { what: "cannot duplicate a listening socket", error })
}
