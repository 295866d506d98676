//! The backends of an engine: their servers as configured and discovered, their addresses, their checks.

pub(super) mod administration;
mod circles;
pub(crate) mod followers;
pub(super) mod server_states;
mod shared_names;
mod tracking;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use self::circles::{Circles, CirclesFound, CircularPlace};
use self::followers::Followers;
use self::shared_names::shares_name;
use self::tracking::TrackedChange;
use crate::backend::health::Transition;
use crate::backend::{Backend, Member, MemberOrigin, MemberSpec};
use crate::config::{self, Address, AdminState, Balance, Config, Entrance};
use crate::control::admin::{KnownServer, ServerFacts};
use crate::control::checker::{Cause, Checker, Consequences, OnChange, Seen};
use crate::control::etcd::SourceStatus;
use crate::control::last_known_good::Saved;
use crate::control::names::Names;
use crate::engine::error::EngineError;
use crate::engine::workers::Workers;
use crate::log::{By, SessionLog};
use crate::proxy::worker::SessionFilter;
use crate::proxy::{Finding, Notice};
use crate::sys::addr::Addr;

/// All backends. Lives on the control thread.
pub(super) struct Pools {
    backends: BTreeMap<String, Arc<Backend>>,
    /// Backends that the configuration does not have, with sessions that are still open, or with what they counted.
    leaving: RefCell<BTreeMap<String, Arc<Backend>>>,
    checker: Checker,
    names: Names,
    followers: Followers,
    circles: Circles,
    workers: Workers,
    consequences: Rc<Consequences>,
    /// The state of a server that others may track has changed.
    moved: Rc<Notify>,
}

/// What has come in.
#[derive(Debug)]
pub(super) enum PoolsNews {
    /// Servers of these backends were found.
    Discovered(BTreeSet<String>),
    /// Addresses of names, or failures.
    Names,
    /// Addresses may have come to this host or left it.
    Interfaces,
    /// A server that others may track has another state.
    Tracked,
}

/// Where another process had the server of this backend and name.
pub(super) type LastAddresses<'r> = HashMap<(&'r str, &'r str), &'r str>;

impl Pools {
    /// No backend yet. Needs a runtime with `spawn_local`, on which checks run.
    pub(super) fn new(workers: Workers, log: SessionLog) -> Self {
        let moved = Rc::new(Notify::new());
        let consequences = Consequences::new(cut_when_changed(workers.clone(), Rc::clone(&moved)), log);
        Self {
            backends: BTreeMap::new(),
            leaving: RefCell::default(),
            checker: Checker::new(Rc::clone(&consequences)),
            names: Names::new(),
            followers: Followers::default(),
            circles: Circles::default(),
            workers,
            consequences,
            moved,
        }
    }

    /// By name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Arc<Backend>)> {
        self.backends.iter()
    }

    pub(super) fn get(&self, backend: &str) -> Option<&Arc<Backend>> {
        self.backends.get(backend)
    }

    /// The backend of that name. One that the configuration does not have is one that leaves: only sessions name it.
    pub(super) fn get_or_leaving(&self, backend: &str) -> Arc<Backend> {
        let made = || Backend::new(Arc::new(config::Backend::new(backend, Vec::new())));
        self.get(backend)
            .cloned()
            .unwrap_or_else(|| Arc::clone(self.leaving.borrow_mut().entry(backend.to_owned()).or_insert_with(made)))
    }

    /// Backends that left. Of those that are not in use any more remains what they counted, for when they return.
    pub(super) fn leaving(&self) -> Vec<Arc<Backend>> {
        let mut leaving = self.leaving.borrow_mut();
        let mut unused = 0;
        leaving.retain(|_, backend| {
            if Arc::strong_count(backend) > 1 {
                return true;
            }
            backend.retire(Instant::now());
            unused += 1;
            unused <= REMEMBERED
        });
        leaving.values().cloned().collect()
    }

    /// Waits for found servers or for addresses of names. Cancel safe.
    pub(super) async fn news(&mut self) -> PoolsNews {
        tokio::select! {
            backends = self.followers.news() => PoolsNews::Discovered(backends),
            () = self.names.answered() => PoolsNews::Names,
            () = self.circles.due() => PoolsNews::Interfaces,
            () = self.moved.notified() => PoolsNews::Tracked,
        }
    }

    /// Discovery of every backend in one, for `lb status`.
    pub(super) fn followers(&self) -> &Followers {
        &self.followers
    }

    /// Discovery of a backend. `None`: it has none.
    pub(super) fn source(&self, backend: &str) -> Option<SourceStatus> {
        self.followers.status(backend)
    }

    /// The servers of a backend without a known address, or without one that no other server has.
    pub(super) fn unresolved(&self, settings: &config::Backend) -> Vec<config::Server> {
        let merged = self.followers.merged(settings);
        let backend = self.get(&settings.name);
        let is_left_out = |server: &&config::Server| match shares_name(server) {
            true => backend.is_none_or(|backend| backend.member(&server.name).is_none()),
            false => self.names.places(&server.addr, &server.options.resolve).is_empty(),
        };
        merged.servers.iter().filter(is_left_out).cloned().collect()
    }

    /// Changes a backend to these settings or makes it.
    pub(super) fn apply(&mut self, settings: config::Backend) -> Result<(), EngineError> {
        let (specs, others) = self.specs(&settings);
        let backend = Arc::clone(self.get_or_make(&settings));
        let name = settings.name.clone();
        let applied = backend.apply(Arc::new(settings), specs, Instant::now());
        applied.map_err(|error| EngineError::Servers { name, error })?;
        self.checker.sync(&backend, &others);
        self.moved.notify_one();
        Ok(())
    }

    /// Lets the servers that track another one have its state.
    pub(super) fn follow_tracked(&self) {
        for TrackedChange { backend, member, transition, before } in tracking::follow(&self.backends) {
            let path = member.server.state().tracking.as_ref().map(|tracking| Arc::clone(&tracking.path));
            let path = path.unwrap_or_default();
            match transition {
                Some(transition) => {
                    let change = backend.changed(&member.server, transition, Instant::now());
                    self.consequences.announce(&backend, &member.server, &change, &Cause::Via(&path));
                }
                None => {
                    let (server, status) = (&member.spec.name, member.status());
                    tracing::info!("backend {}: server {server} is {status} via {path}", backend.name);
                    self.consequences.followed(&backend, &member, before, &path);
                }
            }
        }
    }

    /// Looks for places of servers that are frontends of this balancer and lead back to themselves; they are left out
    /// when a backend is next applied. `entrances`: where the frontends listen from now on; `concerned`: backends whose
    /// servers may be others than at the last look. Returns whether others were found than before.
    pub(super) fn look_for_circles(
        &mut self,
        config: &Config,
        entrances: Option<Vec<Entrance>>,
        concerned: impl Fn(&config::Backend) -> bool,
    ) -> bool {
        let Self { circles, followers, names, .. } = self;
        let CirclesFound { changed, new } = circles.look(config, entrances, |backend| {
            let merged = concerned(backend).then(|| followers.merge(backend))?;
            Some(
                merged
                    .servers
                    .iter()
                    .map(|server| (server.name.clone(), names.places(&server.addr, &server.options.resolve)))
                    .collect(),
            )
        });
        new.iter().for_each(|place| self.cut_circle(place));
        changed
    }

    /// Sessions that lead to themselves end neither by their client nor by their server.
    fn cut_circle(&self, (backend, server, place): &CircularPlace) {
        let member = self.get(backend).and_then(|backend| backend.member(server));
        if let Some(member) = member
            && member.spec.addr == Addr::Ip(*place)
        {
            for worker in self.workers.iter() {
                worker.cut(SessionFilter::Server(Arc::clone(&member.server)), By::ServerDown, Duration::ZERO);
            }
        }
    }

    /// Servers of a backend with places that are left out as circles, each with the reason.
    pub(super) fn circles<'s>(&'s self, backend: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        self.circles.of(backend)
    }

    /// Takes changed names or discovered servers in: the same settings with other servers, for these backends.
    pub(super) fn refresh(&mut self, config: &Config, concerned: impl Fn(&config::Backend) -> bool) {
        let all = self.look_for_circles(config, None, &concerned);
        for settings in config.backends.iter().filter(|settings| all || concerned(settings)) {
            if let Err(error) = self.apply(settings.clone()) {
                tracing::error!("{error}");
            }
        }
    }

    /// Publishes every backend anew after the state of its servers was changed directly.
    pub(super) fn publish_all(&self) {
        self.follow_tracked();
        for backend in self.backends.values() {
            backend.refresh(Instant::now());
            self.consequences.follow_up(backend, false);
        }
    }

    /// The servers of all backends are there and known: logs those backends that have none to serve. Returns the words.
    pub(super) fn report_unusable(&self) -> Vec<String> {
        self.backends.values().for_each(|backend| self.consequences.follow_up(backend, true));
        let unusable = self.backends.values().filter_map(Self::warning);
        unusable.collect()
    }

    /// Removes the backends that the configuration does not have. Their sessions continue.
    pub(super) fn remove_unconfigured(&mut self, config: &Config) {
        let is_gone =
            |name: &String, _: &mut Arc<Backend>| !config.backends.iter().any(|backend| backend.name == *name);
        for (name, backend) in self.backends.extract_if(.., is_gone) {
            self.checker.forget(&backend);
            self.leaving.get_mut().insert(name, backend);
        }
    }

    /// Follows the prefixes of this configuration. `before`: what the previous engine had found.
    pub(super) fn follow(&mut self, config: &Config, before: BTreeMap<String, Saved>) {
        for settings in config.backends.iter().filter(|settings| settings.discovery.is_some()) {
            self.get_or_make(settings);
        }
        let Self { backends, followers, .. } = self;
        followers.sync(config, before, |settings| Arc::clone(&backends[&settings.name]));
    }

    /// Applies what is last known, and then, if it comes soon, what etcd has. In this order, so that the checks of a
    /// server that left meanwhile are there to be consulted. Names that are new have a moment to be found.
    pub(super) async fn discover(&mut self, config: &Config) {
        self.refresh(config, |settings| settings.discovery.is_some());
        timeout(FIRST_LISTING, self.followers.listed()).await.ok();
        self.refresh(config, |settings| settings.discovery.is_some());
        timeout(FIRST_ANSWERS, self.follow_names(config, None)).await.ok();
        self.learn(config);
    }

    /// Applies the servers found for these backends.
    pub(super) fn apply_discovered(&mut self, config: &Config, backends: &BTreeSet<String>) {
        self.refresh(config, |settings| backends.contains(&settings.name));
        for settings in config.backends.iter().filter(|settings| backends.contains(&settings.name)) {
            self.followers.warn(settings);
        }
    }

    /// Follows the host names of configured and discovered servers, also those of a configuration that is to come into
    /// force. Returns what completes once every name without an address was looked up.
    pub(super) fn follow_names(&mut self, config: &Config, next: Option<&Config>) -> impl Future<Output = ()> + use<> {
        let backends = [Some(config), next].into_iter().flatten().flat_map(|config| &config.backends);
        let hosts = backends.flat_map(|backend| self.followers.hosts(backend)).collect();
        self.names.keep_in(next.unwrap_or(config).global.state_dir.as_deref());
        self.names.follow(hosts, &next.unwrap_or(config).resolvers)
    }

    /// The last good addresses of host names, for other processes.
    pub(super) fn name_parts(&self) -> Vec<Vec<u8>> {
        self.names.parts()
    }

    /// Takes over the addresses that other processes knew, and those of `state_dir` for other names.
    pub(super) fn resume_names(&mut self, parts: &[Vec<u8>], config: &Config) {
        for part in parts {
            if let Err(damage) = self.names.resume(part) {
                tracing::warn!("the last known addresses of host names are not used: {damage}");
            }
        }
        self.names.resume_from(config.global.state_dir.as_deref());
    }

    /// Takes the addresses that have been found in. Returns them for the backends concerned.
    pub(super) fn learn(&mut self, config: &Config) -> bool {
        let changed = self.names.learn();
        if changed.is_empty() {
            return false;
        }
        let concerned: BTreeSet<_> = config
            .backends
            .iter()
            .filter(|settings| self.followers.hosts(settings).iter().any(|host| changed.contains(host)))
            .map(|settings| settings.name.clone())
            .collect();
        self.refresh(config, |settings| concerned.contains(&settings.name));
        true
    }

    /// Takes over from another process where servers were last, for names that are not known otherwise.
    pub(super) fn resume_addresses(&mut self, config: &Config, known: &LastAddresses<'_>) {
        for settings in &config.backends {
            for server in &self.followers.merge(settings).servers {
                let addr = known.get(&(settings.name.as_str(), server.name.as_str()));
                if let (Some(_), Some(Ok(Address::Ip(addr)))) = (server.addr.host(), addr.map(|addr| addr.parse())) {
                    self.names.resume_address(&server.addr, &server.options.resolve, addr);
                }
            }
        }
    }

    /// Returns servers to those of their places where another process had them.
    pub(super) fn return_all(&self, known: &LastAddresses<'_>) {
        for (name, backend) in &self.backends {
            let snapshot = backend.snapshot_full();
            let merged = self.followers.merged(&snapshot.settings);
            let servers: HashMap<_, _> =
                merged.servers.iter().map(|settings| (settings.name.as_str(), settings)).collect();
            for member in &snapshot.members {
                let (addr, now) = (known.get(&(name.as_str(), &*member.server.name)), member.spec.addr.to_string());
                let Some(addr) = addr.filter(|addr| **addr != now) else { continue };
                let settings = servers.get(&*member.server.name);
                let places = settings.map(|settings| self.places(name, settings)).unwrap_or_default();
                if let Some(place) = places.into_iter().find(|place| place.to_string() == *addr) {
                    backend.move_server(&member.server, place, Instant::now());
                }
            }
        }
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

    /// What is known of a server before it is changed.
    pub(super) fn facts(&self, backend: &str, server: &str) -> ServerFacts {
        let Some(found) = self.backends.get(backend) else {
            return ServerFacts::default();
        };
        let known = found.member(server).map(|member| {
            let (state, spec) = (member.server.state(), &member.spec);
            let weight = state.weight.unwrap_or(spec.weight).get();
            KnownServer {
                state: state.admin,
                weight,
                weight_configured: spec.weight.get(),
                weight_fixed: found.snapshot().settings.balance == Balance::StaticRr,
                checked: spec.options.check.is_some(),
                agent: spec.options.agent.is_some(),
                tracks: spec.options.track.is_some(),
                sessions: member.server.sessions().into(),
            }
        });
        ServerFacts { backend: true, server: known }
    }

    /// Applies a held change of a backend's discovery at once. Returns the outcome for people.
    pub(super) fn accept_held(&self, backend: &str) -> Result<String, String> {
        match self.followers.accept(backend) {
            None => Err(format!("backend {backend} has no discovery")),
            Some(0) => Err(format!("backend {backend} has no held change")),
            Some(1) => Ok(format!("backend {backend}: 1 held server is let go")),
            Some(count) => Ok(format!("backend {backend}: {count} held servers are let go")),
        }
    }

    /// The backend of that name. A new one has no servers yet; one that left is the same again.
    fn get_or_make(&mut self, settings: &config::Backend) -> &Arc<Backend> {
        let Self { backends, leaving, .. } = self;
        backends.entry(settings.name.clone()).or_insert_with(|| {
            let left = leaving.get_mut().remove(&settings.name);
            left.unwrap_or_else(|| Backend::new(Arc::new(settings.clone())))
        })
    }

    /// Where sessions for a server may be sent.
    fn places(&self, backend: &str, server: &config::Server) -> Vec<Addr> {
        let mut places = self.names.places(&server.addr, &server.options.resolve);
        places.retain(|place| !self.circles.has(backend, &server.name, place));
        places
    }

    /// The servers of a backend with a known address: those of the configuration, then those discovered. A server stays
    /// where it is while its name says so. Also, by name, the places of those that may be at several.
    fn specs(&mut self, settings: &config::Backend) -> (Vec<MemberSpec>, HashMap<String, Vec<Addr>>) {
        let configured = settings.servers.len();
        let merged = self.followers.merge(settings);
        let in_use = self.backends.get(&settings.name).map(|backend| backend.snapshot().members.clone());
        let in_use: HashMap<&str, &Addr> =
            in_use.iter().flatten().map(|member| (member.spec.name.as_str(), &member.spec.addr)).collect();
        let mut several = HashMap::new();
        let shared = shared_names::assign(&merged.servers, &in_use, |server| self.places(&settings.name, server));
        let mut spec = |(index, server): (usize, &config::Server)| {
            let places = self.places(&settings.name, server);
            let stays = in_use.get(server.name.as_str()).copied().filter(|addr| places.contains(addr));
            let addr = match shares_name(server) {
                true => shared.get(server.name.as_str())?.clone(),
                false => stays.or_else(|| places.first())?.clone(),
            };
            if places.len() > 1 && !shares_name(server) {
                several.insert(server.name.clone(), places);
            }
            Some(MemberSpec {
                addr,
                port_shift: server.port_shift,
                host: server.addr.host().map(str::to_owned),
                name: server.name.clone(),
                weight: server.weight,
                maxconn: server.maxconn,
                backup: server.backup,
                disabled: server.disabled,
                options: Arc::clone(&server.options),
                drain: server.drain,
                origin: if index < configured { MemberOrigin::Static } else { MemberOrigin::Discovered },
            })
        };
        let specs = merged.servers.iter().enumerate().filter_map(&mut spec).collect();
        (specs, several)
    }
}

/// Cuts the sessions of a server that went DOWN or is now in maint, or those of the backups of one that came UP, where that
/// is configured.
fn cut_when_changed(workers: Workers, moved: Rc<Notify>) -> OnChange {
    Rc::new(move |backend, server, transition| {
        moved.notify_one();
        if transition == Some(Transition::WentUp)
            && let Some(member) = backend.member_of(server)
        {
            cut_backups(&workers, backend, &member);
        }
        let cuts = |member: &Arc<Member>| {
            Arc::ptr_eq(&member.server, server) && member.spec.options.shutdown_sessions_when_down
        };
        let is_down = || match transition {
            Some(transition) => transition == Transition::WentDown,
            None => server.state().administration() == AdminState::Maint,
        };
        if is_down() && backend.snapshot().members.iter().any(cuts) {
            for worker in workers.iter() {
                worker.cut(SessionFilter::Server(Arc::clone(server)), By::ServerDown, Duration::ZERO);
            }
        }
    })
}

/// Backends that left and are not in use, at most.
const REMEMBERED: usize = 64;

/// Cuts the sessions of the backups where a server that may serve again is configured so.
fn cut_backups(workers: &Workers, backend: &Backend, returned: &Member) {
    if !returned.spec.options.shutdown_backups_when_up || returned.spec.backup || !returned.is_usable() {
        return;
    }
    for backup in backend.snapshot().members.iter().filter(|member| member.spec.backup) {
        for worker in workers.iter() {
            worker.cut(SessionFilter::Server(Arc::clone(&backup.server)), By::ServerUp, Duration::ZERO);
        }
    }
}

/// How long a start waits for etcd. A listing takes milliseconds, and the last known servers are there already.
const FIRST_LISTING: Duration = Duration::from_secs(1);

/// How long a start waits for names without an address. An answer takes milliseconds, and a server that is found later
/// comes then.
const FIRST_ANSWERS: Duration = Duration::from_millis(300);
