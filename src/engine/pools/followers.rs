//! Discovery joined to the daemon: one follower for each backend that has a prefix, and what it finds.
//!
//! Followers know nothing of the daemon. They leave their sets here and ring; the daemon takes them from here whenever it
//! builds a backend's servers, so that a set can come before, during or after a reload.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::config::{self, Config};
use crate::control::discovery::{Merged, Servers, merge};
use crate::control::etcd::{Follower, Options, SourceStatus};
use crate::control::last_known_good::Saved;
use crate::engine::Engine;
use crate::handoff::peer::Discovery as Record;

/// The followers and what they found.
#[derive(Default)]
pub(crate) struct Discovery {
    followers: RefCell<BTreeMap<String, Followed>>,
    found: Arc<Found>,
    /// Names found that the configuration has too, as last warned of.
    warned: RefCell<BTreeMap<String, Vec<String>>>,
    /// Host names are being looked up.
    looking_up: Cell<bool>,
}

struct Followed {
    follower: Rc<Follower>,
    terms: Terms,
}

/// What a follower was started with; when it changes another one takes over.
#[derive(PartialEq)]
struct Terms {
    prefix: String,
    etcd: config::Etcd,
    state_dir: Option<PathBuf>,
}

/// What is shared with the followers, whose tasks may be anywhere.
#[derive(Default)]
struct Found {
    by_backend: Mutex<BTreeMap<String, Arc<Servers>>>,
    /// Backends with a set that the daemon has not taken yet.
    news: Mutex<BTreeSet<String>>,
    bell: Notify,
}

impl Discovery {
    /// Starts, replaces and ends followers so that they are those of `config`. What was last known is found at once.
    /// `before`: what another process had found; `backend` finds or makes the backend of that name.
    fn sync(
        &self,
        config: &Config,
        mut before: BTreeMap<String, Saved>,
        backend: impl Fn(&config::Backend) -> Arc<Backend>,
    ) {
        let mut wanted = BTreeMap::new();
        for settings in &config.backends {
            if let (Some(prefix), Some(etcd)) = (&settings.discovery, &config.etcd) {
                let terms =
                    Terms { prefix: prefix.clone(), etcd: etcd.clone(), state_dir: config.global.state_dir.clone() };
                wanted.insert(settings.name.as_str(), (settings, terms));
            }
        }
        self.followers.borrow_mut().retain(|name, _| wanted.contains_key(name.as_str()));
        self.found.lock().retain(|name, _| wanted.contains_key(name.as_str()));
        for (name, (settings, terms)) in wanted {
            let known = self.followers.borrow_mut().remove(name);
            let resume = match known {
                Some(known) if known.terms == terms => {
                    self.followers.borrow_mut().insert(name.to_owned(), known);
                    continue;
                }
                Some(known) => known.follower.saved(),
                None => before.remove(name),
            };
            let options = Options {
                backend: name.to_owned(),
                prefix: terms.prefix.clone(),
                etcd: terms.etcd.clone(),
                state_dir: terms.state_dir.clone(),
                // What was found below another prefix is no measure for this one.
                resume: resume.filter(|saved| saved.prefix == terms.prefix),
            };
            let follower = Rc::new(self.start(options, backend(settings)));
            self.followers.borrow_mut().insert(name.to_owned(), Followed { follower, terms });
        }
    }

    /// Gives followers that have not listed yet a moment to do so. Whoever is not there by then comes later, like any
    /// change.
    async fn first_listing(&self) {
        let all: Vec<Rc<Follower>> = {
            let followers = self.followers.borrow();
            followers.values().map(|followed| Rc::clone(&followed.follower)).collect()
        };
        let listed = async {
            for follower in &all {
                follower.listed().await;
            }
        };
        timeout(FIRST_LISTING, listed).await.ok();
    }

    fn start(&self, options: Options, backend: Arc<Backend>) -> Follower {
        let (found, name) = (Arc::clone(&self.found), options.backend.clone());
        let apply = move |servers: &Arc<Servers>| found.bring(&name, servers);
        let passes = move |name: &str| passes_its_checks(&backend, name);
        Follower::spawn(options, Box::new(apply), Box::new(passes))
    }

    /// The servers of a backend: those of its configuration, then those found.
    pub(crate) fn servers(&self, settings: &config::Backend) -> Vec<config::Server> {
        let found = self.found.lock().get(&settings.name).cloned();
        found.map_or_else(|| settings.servers.clone(), |found| merge(&settings.servers, &found).servers)
    }

    /// Says what had to be left out of the servers found.
    fn warn(&self, settings: &config::Backend) {
        let found = self.found.lock().get(&settings.name).cloned().unwrap_or_default();
        let Merged { shadowed, left_out, .. } = merge(&settings.servers, &found);
        let name = &settings.name;
        if left_out > 0 {
            tracing::warn!("backend {name}: {left_out} discovered servers are too many and left out");
        }
        if self.warned.borrow().get(name).is_some_and(|before| *before == shadowed) {
            return;
        }
        for server in &shadowed {
            tracing::warn!("backend {name}: server {server} is in the configuration too, which is what counts");
        }
        self.warned.borrow_mut().insert(name.clone(), shadowed);
    }

    /// Waits for found servers; returns their backends. Cancel safe.
    pub(crate) async fn news(&self) -> BTreeSet<String> {
        loop {
            let news = std::mem::take(&mut *self.found.news());
            if !news.is_empty() {
                return news;
            }
            self.found.bell.notified().await;
        }
    }

    /// `None`: the backend has no discovery.
    pub(crate) fn status(&self, backend: &str) -> Option<SourceStatus> {
        self.followers.borrow().get(backend).map(|followed| followed.follower.status())
    }

    /// What is found, for the next process.
    pub(crate) fn records(&self) -> Vec<Record> {
        let followers = self.followers.borrow();
        let record = |(backend, followed): (&String, &Followed)| {
            Some(Record { backend: backend.clone(), saved: followed.follower.saved()?.encode() })
        };
        followers.iter().filter_map(record).collect()
    }

    /// All followers in one: whether each is connected, the newest revision, the first error. `None`: there are none.
    pub(crate) fn summary(&self) -> Option<Value> {
        let followers = self.followers.borrow();
        let all: Vec<SourceStatus> = followers.values().map(|followed| followed.follower.status()).collect();
        let revision = all.iter().map(|status| status.revision).max()?;
        Some(json!({
            "connected": all.iter().all(|status| status.endpoint.is_some()),
            "revision": revision,
            "last_error": all.iter().find_map(|status| status.error.clone()),
        }))
    }

    /// Lets go what is held; how many servers. `None`: the backend has no discovery.
    pub(crate) fn accept(&self, backend: &str) -> Option<usize> {
        self.followers.borrow().get(backend).map(|followed| followed.follower.accept())
    }
}

impl Found {
    fn bring(&self, backend: &str, servers: &Arc<Servers>) {
        self.lock().insert(backend.to_owned(), Arc::clone(servers));
        self.news().insert(backend.to_owned());
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Servers>>> {
        self.by_backend.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn news(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a server is checked and UP: only then its life is known by other means than its key.
fn passes_its_checks(backend: &Backend, name: &str) -> bool {
    let snapshot = backend.snapshot();
    let mut members = snapshot.members.iter();
    let member = members.find(|member| &*member.server.name == name);
    snapshot.settings.check.is_some() && member.is_some_and(|member| member.server.state().is_up())
}

/// What the process before had found. `None`: it cannot be believed, and etcd or the disk must tell.
pub(crate) fn found_before(record: Record) -> Option<(String, Saved)> {
    match Saved::decode(&record.saved) {
        Ok(saved) => Some((record.backend, saved)),
        Err(damage) => {
            let backend = &record.backend;
            tracing::warn!("backend {backend}: the servers found by the engine before are not used: {damage}");
            None
        }
    }
}

impl Engine {
    /// Follows what this configuration wants followed. `before`: what the engine before this one had found.
    pub(crate) fn start_discovery(&self, config: &Config, before: BTreeMap<String, Saved>) {
        let backend = |settings: &config::Backend| self.backend_of(settings);
        self.discovery.sync(config, before, backend);
    }

    /// Applies what is last known, and then, if it comes soon, what etcd says. In this order, so that a server that
    /// left meanwhile is one whose checks can be asked about.
    pub(crate) async fn discover(&self) {
        self.refresh_servers(|settings| settings.discovery.is_some());
        let names = self.names(&self.config.borrow());
        tokio::join!(self.discovery.first_listing(), async {
            timeout(FIRST_LISTING, self.resolver.follow(names)).await.ok();
        });
        self.refresh_servers(|settings| settings.discovery.is_some());
    }
}

/// Applies what followers find, for ever.
pub(crate) async fn follow(daemon: Rc<Engine>) {
    loop {
        let names = daemon.discovery.news().await;
        daemon.refresh_servers(|settings| names.contains(&settings.name));
        for settings in &daemon.config.borrow().backends {
            if names.contains(&settings.name) {
                daemon.discovery.warn(settings);
            }
        }
        let hosts = daemon.names(&daemon.config.borrow());
        if !hosts.iter().all(|host| daemon.resolver.knows(host)) && !daemon.discovery.looking_up.replace(true) {
            spawn_local(look_up(Rc::clone(&daemon), hosts));
        }
    }
}

/// Found servers may have host names, which must be looked up before they serve. Nothing else waits for that.
async fn look_up(daemon: Rc<Engine>, hosts: Vec<String>) {
    if !daemon.resolver.follow(hosts).await.is_empty() {
        daemon.refresh_servers(|_| true);
    }
    daemon.discovery.looking_up.set(false);
}

/// How long a start waits for etcd, and for the names of found servers: a listing takes milliseconds, and the last known servers are there.
const FIRST_LISTING: Duration = Duration::from_secs(1);
