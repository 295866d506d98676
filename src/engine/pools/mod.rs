//! The backends of an engine: their servers as configured and discovered, their addresses, their checks.

pub(crate) mod followers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use self::followers::Followers;
use crate::backend::health::Transition;
use crate::backend::{Backend, Member, MemberOrigin, MemberSpec};
use crate::config::{self, AdminState, Config, Weight};
use crate::control::checker::{Checker, OnChange, Seen};
use crate::control::etcd::SourceStatus;
use crate::control::last_known_good::Saved;
use crate::control::resolver::{Lookup, Resolver};
use crate::engine::error::EngineError;
use crate::engine::workers::Workers;
use crate::log::By;
use crate::proxy::worker::SessionFilter;
use crate::proxy::{Finding, Notice};

/// All backends. Lives on the control thread.
pub(super) struct Pools {
    backends: BTreeMap<String, Arc<Backend>>,
    checker: Checker,
    resolver: Resolver,
    followers: Followers,
    /// Names of newly found servers are being looked up.
    looking_up: bool,
}

impl Pools {
    /// No backend yet. Needs a runtime with `spawn_local`, on which checks run.
    pub(super) fn new(workers: Workers) -> Self {
        Self {
            backends: BTreeMap::new(),
            checker: Checker::new(cut_when_down(workers)),
            resolver: Resolver::default(),
            followers: Followers::default(),
            looking_up: false,
        }
    }

    /// By name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Arc<Backend>)> {
        self.backends.iter()
    }

    pub(super) fn get(&self, backend: &str) -> Option<&Arc<Backend>> {
        self.backends.get(backend)
    }

    /// Waits for found servers. Returns their backends. Cancel safe.
    pub(super) async fn discovered(&mut self) -> BTreeSet<String> {
        self.followers.news().await
    }

    /// Discovery of every backend in one, for `lb status`.
    pub(super) fn followers(&self) -> &Followers {
        &self.followers
    }

    /// Discovery of a backend. `None`: it has none.
    pub(super) fn source(&self, backend: &str) -> Option<SourceStatus> {
        self.followers.status(backend)
    }

    /// The servers of a backend without a known address.
    pub(super) fn unresolved(&self, settings: &config::Backend) -> Vec<config::Server> {
        let merged = self.followers.merged(settings);
        merged.servers.iter().filter(|server| self.resolver.addr(&server.addr).is_none()).cloned().collect()
    }

    /// Changes a backend to these settings or makes it.
    pub(super) fn apply(&mut self, settings: config::Backend) -> Result<(), EngineError> {
        let specs = self.specs(&settings);
        let backend = Arc::clone(get_or_make(&mut self.backends, &settings));
        let name = settings.name.clone();
        let applied = backend.apply(Arc::new(settings), specs, Instant::now());
        applied.map_err(|error| EngineError::Servers { name, error })?;
        self.checker.sync(&backend);
        Ok(())
    }

    /// Takes changed names or discovered servers in: the same settings with other servers, for these backends.
    pub(super) fn refresh(&mut self, config: &Config, concerned: impl Fn(&config::Backend) -> bool) {
        for settings in config.backends.iter().filter(|settings| concerned(settings)) {
            if let Err(error) = self.apply(settings.clone()) {
                tracing::error!("{error}");
            }
        }
    }

    /// Publishes every backend anew after the state of its servers was changed directly.
    pub(super) fn publish_all(&self) {
        for backend in self.backends.values() {
            backend.refresh(Instant::now());
        }
    }

    /// Removes the backends that the configuration does not have.
    pub(super) fn remove_unconfigured(&mut self, config: &Config) {
        let checker = &mut self.checker;
        self.backends.retain(|name, backend| {
            let stays = config.backends.iter().any(|settings| settings.name == *name);
            if !stays {
                checker.forget(backend);
            }
            stays
        });
    }

    /// Follows the prefixes of this configuration. `before`: what the previous engine had found.
    pub(super) fn follow(&mut self, config: &Config, before: BTreeMap<String, Saved>) {
        let Self { backends, followers, .. } = self;
        followers.sync(config, before, |settings| Arc::clone(get_or_make(backends, settings)));
    }

    /// Applies what is last known, and then, if it comes soon, what etcd has. In this order, so that the checks of a
    /// server that left meanwhile are there to be consulted.
    pub(super) async fn discover(&mut self, config: &Config) {
        self.refresh(config, |settings| settings.discovery.is_some());
        let names = self.names(config);
        tokio::join!(timeout_of_discovery(self.followers.listed()), timeout_of_discovery(self.resolver.follow(names)));
        self.refresh(config, |settings| settings.discovery.is_some());
    }

    /// Applies the servers found for these backends.
    pub(super) fn apply_discovered(&mut self, config: &Config, backends: &BTreeSet<String>) {
        self.refresh(config, |settings| backends.contains(&settings.name));
        for settings in config.backends.iter().filter(|settings| backends.contains(&settings.name)) {
            self.followers.warn(settings);
        }
    }

    /// The host names in use, of configured and of discovered servers.
    pub(super) fn names(&self, config: &Config) -> Vec<String> {
        let hosts = config.backends.iter().flat_map(|backend| self.followers.hosts(backend));
        hosts.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether a look-up of these names is to begin: one has no address, and no look-up for new names is under way.
    pub(super) fn begin_look_up(&mut self, names: &[String]) -> bool {
        let begins = !self.looking_up && !names.iter().all(|name| self.resolver.knows(name));
        self.looking_up |= begins;
        begins
    }

    /// The look-up for new names is over.
    pub(super) fn end_look_up(&mut self) {
        self.looking_up = false;
    }

    /// Looks names up and takes the answers in. For the start: it takes seconds.
    pub(super) async fn look_up(&mut self, names: Vec<String>) {
        self.resolver.follow(names).await;
    }

    /// Takes answers in. Returns whether an address has changed.
    pub(super) fn learn(&mut self, lookups: Vec<Lookup>) -> bool {
        let mut changed = false;
        for lookup in lookups {
            changed |= self.resolver.learn(lookup);
        }
        changed
    }

    /// Forgets all names but these. Not to be called during a reload, whose names may come into force or not.
    pub(super) fn keep_names(&mut self, names: &[String]) {
        self.resolver.keep_only(names);
    }

    /// Passes what live traffic has found to the checks.
    pub(super) fn observe(&self, notice: Notice) {
        let seen = match notice.finding {
            Finding::Failed { cause, after } => Seen::Failed { cause, after },
            Finding::TimedOut { after } => Seen::TimedOut { after },
            Finding::Slow => Seen::Slow,
        };
        self.checker.observe(&notice.backend, &notice.server, seen);
    }

    /// Sets a server's administrative state. Returns the server's status after it, for people; an error names what
    /// there is.
    pub(super) fn set_state(&self, backend: &str, server: &str, state: AdminState) -> Result<String, String> {
        let (backend, found) = self.find(backend, server)?;
        found.server.state().admin = state;
        backend.refresh(Instant::now());
        self.checker.check_now(&found.server);
        let leaves = state == AdminState::Ready && found.spec.drain;
        let status = if leaves { "DRAIN, as its key says" } else { found.status() };
        tracing::info!("backend {}: server {server} is {status} by the operator", backend.name);
        Ok(format!("{}/{server} is {status}", backend.name))
    }

    /// Sets a server's weight. Returns the same as [`Pools::set_state`].
    pub(super) fn set_weight(&self, backend: &str, server: &str, weight: u16) -> Result<String, String> {
        let weight = Weight::new(weight).ok_or_else(|| format!("weight {weight} is not from 0 to {}", Weight::MAX))?;
        let (backend, found) = self.find(backend, server)?;
        found.server.state().weight = Some(weight);
        backend.refresh(Instant::now());
        tracing::info!("backend {}: server {server} has weight {weight} by the operator", backend.name);
        Ok(format!("{}/{server} has weight {weight}", backend.name))
    }

    /// Applies a held change of a backend's discovery at once. Returns the outcome for people.
    pub(super) fn accept_held(&self, backend: &str) -> Result<String, String> {
        match self.followers.accept(backend) {
            None => Err(format!("backend {backend} has no discovery")),
            Some(0) => Err(format!("backend {backend} has no held change")),
            Some(count) => Ok(format!("backend {backend}: {count} held servers are let go")),
        }
    }

    fn find(&self, backend: &str, server: &str) -> Result<(&Arc<Backend>, Arc<Member>), String> {
        let Some(found) = self.backends.get(backend) else {
            let known: Vec<_> = self.backends.keys().map(String::as_str).collect();
            return Err(format!("no backend {backend}; there are: {}", known.join(", ")));
        };
        let snapshot = found.snapshot();
        let member = snapshot.members.iter().find(|member| &*member.server.name == server);
        member.map(|member| (found, Arc::clone(member))).ok_or_else(|| {
            let known: Vec<_> = snapshot.members.iter().map(|member| &*member.server.name).collect();
            format!("no server {server} in backend {backend}; there are: {}", known.join(", "))
        })
    }

    /// The servers of a backend with a known address: those of the configuration, then those discovered.
    fn specs(&mut self, settings: &config::Backend) -> Vec<MemberSpec> {
        let configured = settings.servers.len();
        let merged = self.followers.merge(settings);
        let spec = |(index, server): (usize, &config::Server)| {
            Some(MemberSpec {
                addr: self.resolver.addr(&server.addr)?,
                name: server.name.clone(),
                weight: server.weight,
                maxconn: server.maxconn,
                backup: server.backup,
                disabled: server.disabled,
                drain: server.drain,
                origin: if index < configured { MemberOrigin::Static } else { MemberOrigin::Discovered },
            })
        };
        merged.servers.iter().enumerate().filter_map(spec).collect()
    }
}

/// The backend of that name; a new one has no servers yet.
fn get_or_make<'a>(backends: &'a mut BTreeMap<String, Arc<Backend>>, settings: &config::Backend) -> &'a Arc<Backend> {
    backends.entry(settings.name.clone()).or_insert_with(|| Backend::new(Arc::new(settings.clone())))
}

/// Cuts the sessions of a server that went DOWN, where its backend is configured so.
fn cut_when_down(workers: Workers) -> OnChange {
    std::rc::Rc::new(move |backend, server, change| {
        if change.transition == Transition::WentDown && backend.snapshot().settings.shutdown_sessions_when_down {
            for worker in workers.iter() {
                worker.cut(SessionFilter::Server(Arc::clone(server)), By::ServerDown, Duration::ZERO);
            }
        }
    })
}

async fn timeout_of_discovery(first: impl Future<Output = ()>) {
    timeout(FIRST_LISTING, first).await.ok();
}

/// How long a start waits for etcd, and for the names of found servers. A listing takes milliseconds, and the last
/// known servers are there already.
const FIRST_LISTING: Duration = Duration::from_secs(1);
