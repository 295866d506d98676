//! Discovery joined to the engine: one follower for each backend that has a prefix, and what it finds.
//!
//! Followers know nothing of the engine: each sends its sets to one channel. What came is kept here by backend, so that
//! a set can come before, during or after a reload; it is merged with the configured servers when these are applied.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::config::{self, Address, Config};
use crate::control::admin::status::EtcdSummary;
use crate::control::discovery::{Merged, Servers, merge};
use crate::control::etcd::{Follower, FoundServers, Options, SourceStatus};
use crate::control::last_known_good::Saved;
use crate::engine::Engine;
use crate::handoff::peer::Discovery as Record;

/// The followers and what they found.
pub(crate) struct Discovery {
    followers: RefCell<BTreeMap<String, Followed>>,
    /// Cloned for each follower.
    sender: UnboundedSender<FoundServers>,
    receiver: RefCell<UnboundedReceiver<FoundServers>>,
    /// The newest set of each backend that has arrived.
    found: RefCell<BTreeMap<String, Arc<Servers>>>,
    /// Backends with a set that [`Discovery::news`] has not returned yet.
    news: RefCell<BTreeSet<String>>,
    /// The servers of each backend as they were last applied.
    merged: RefCell<BTreeMap<String, Rc<Merged>>>,
    /// Names found that the configuration has too, as last warned of.
    warned: RefCell<BTreeMap<String, Vec<String>>>,
    /// Host names are being looked up.
    looking_up: Cell<bool>,
}

struct Followed {
    follower: Follower,
    terms: Terms,
}

/// What a follower was started with; when it changes another one takes over.
#[derive(PartialEq)]
struct Terms {
    prefix: String,
    etcd: config::Etcd,
    state_dir: Option<PathBuf>,
}

impl Default for Discovery {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            followers: RefCell::default(),
            sender,
            receiver: RefCell::new(receiver),
            found: RefCell::default(),
            news: RefCell::default(),
            merged: RefCell::default(),
            warned: RefCell::default(),
            looking_up: Cell::default(),
        }
    }
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
        self.receive();
        self.found.borrow_mut().retain(|name, _| wanted.contains_key(name.as_str()));
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
                backend: backend(settings),
                prefix: terms.prefix.clone(),
                etcd: terms.etcd.clone(),
                state_dir: terms.state_dir.clone(),
                // What was found below another prefix is no measure for this one.
                resume: resume.filter(|saved| saved.prefix == terms.prefix),
            };
            let follower = Follower::spawn(options, self.sender.clone());
            self.followers.borrow_mut().insert(name.to_owned(), Followed { follower, terms });
        }
    }

    /// Gives followers that have not listed yet a moment to do so. Whoever is not there by then comes later, like any
    /// change.
    async fn first_listing(&self) {
        let all: Vec<_> = self.followers.borrow().values().map(|followed| followed.follower.listed()).collect();
        let listed = async {
            for listed in all {
                listed.await;
            }
        };
        timeout(FIRST_LISTING, listed).await.ok();
    }

    /// Takes in every set that has been sent.
    fn receive(&self) {
        while let Ok(found) = self.receiver.borrow_mut().try_recv() {
            self.keep(found);
        }
    }

    /// Waits for found servers; returns their backends. Cancel safe.
    async fn news(&self) -> BTreeSet<String> {
        poll_fn(|cx| {
            let mut receiver = self.receiver.borrow_mut();
            while let Poll::Ready(Some(found)) = receiver.poll_recv(cx) {
                self.keep(found);
            }
            let news = self.news.take();
            if news.is_empty() { Poll::Pending } else { Poll::Ready(news) }
        })
        .await
    }

    fn keep(&self, found: FoundServers) {
        // The last set of a follower that was dropped meanwhile counts for nothing.
        if self.followers.borrow().contains_key(&found.backend) {
            self.news.borrow_mut().insert(found.backend.clone());
            self.found.borrow_mut().insert(found.backend, found.servers);
        }
    }

    /// The servers to apply to a backend: those of its configuration, then those found.
    pub(crate) fn merge(&self, settings: &config::Backend) -> Rc<Merged> {
        self.receive();
        let none = Servers::new();
        let merged = {
            let found = self.found.borrow();
            Rc::new(merge(&settings.servers, found.get(&settings.name).map_or(&none, |found| &**found)))
        };
        self.merged.borrow_mut().insert(settings.name.clone(), Rc::clone(&merged));
        merged
    }

    /// As last applied.
    pub(crate) fn merged(&self, settings: &config::Backend) -> Rc<Merged> {
        let merged = self.merged.borrow().get(&settings.name).cloned();
        merged.unwrap_or_else(|| self.merge(settings))
    }

    /// Host names that the servers of a backend have.
    pub(crate) fn hosts(&self, settings: &config::Backend) -> Vec<String> {
        let found = self.found.borrow().get(&settings.name).cloned();
        let configured = settings.servers.iter().map(|server| &server.addr);
        let found = found.iter().flat_map(|found| found.values()).map(|server| &server.addr);
        let host = |addr: &Address| match addr {
            Address::Host(host, _) => Some(host.clone()),
            Address::Ip(_) | Address::Unix(_) => None,
        };
        configured.chain(found).filter_map(host).collect()
    }

    /// Warns of found servers that are left out.
    fn warn(&self, settings: &config::Backend) {
        let merged = self.merged(settings);
        let name = &settings.name;
        if merged.left_out > 0 {
            let left_out = merged.left_out;
            tracing::warn!("backend {name}: {left_out} discovered servers are too many and left out");
        }
        if self.warned.borrow().get(name).is_some_and(|before| *before == merged.shadowed) {
            return;
        }
        for server in &merged.shadowed {
            tracing::warn!("backend {name}: server {server} is in the configuration too, which is what counts");
        }
        self.warned.borrow_mut().insert(name.clone(), merged.shadowed.clone());
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
    pub(crate) fn summary(&self) -> Option<EtcdSummary> {
        let followers = self.followers.borrow();
        let all: Vec<SourceStatus> = followers.values().map(|followed| followed.follower.status()).collect();
        let revision = all.iter().map(|status| status.revision).max()?;
        Some(EtcdSummary {
            connected: all.iter().all(|status| status.endpoint.is_some()),
            last_error: all.iter().find_map(|status| status.error.clone()),
            revision,
        })
    }

    /// Lets go what is held; how many servers. `None`: the backend has no discovery.
    pub(crate) fn accept(&self, backend: &str) -> Option<usize> {
        self.followers.borrow().get(backend).map(|followed| followed.follower.accept())
    }
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
