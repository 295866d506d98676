//! One etcd follower for each backend that has a prefix, and what the followers find.
//!
//! Each follower sends its sets to one channel. The sets are kept here by backend, so that one can come before, during or
//! after a reload; they are merged with the configured servers when these are applied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::backend::Backend;
use crate::config::{self, Address, Config, ServerOptions};
use crate::control::admin::status::EtcdSummary;
use crate::control::discovery::{Merged, Servers, merge};
use crate::control::etcd::{Follower, FoundServers, Options, SourceStatus};
use crate::control::last_known_good::Saved;
use crate::handoff::peer::DiscoveryRecord;

/// The followers and what they found.
pub(crate) struct Followers {
    by_backend: BTreeMap<String, Followed>,
    /// Cloned for each follower.
    sender: UnboundedSender<FoundServers>,
    receiver: UnboundedReceiver<FoundServers>,
    /// The newest set of each backend that has arrived.
    found: BTreeMap<String, Arc<Servers>>,
    /// Backends with a set that [`Followers::news`] has not returned yet.
    news: BTreeSet<String>,
    /// The servers of each backend as they were last applied.
    merged: BTreeMap<String, Rc<Merged>>,
    /// Names found that the configuration has too, as last warned of.
    warned: BTreeMap<String, Vec<String>>,
}

struct Followed {
    follower: Follower,
    terms: Terms,
}

/// What a follower was started with. When it changes, a new follower replaces it.
#[derive(PartialEq)]
struct Terms {
    prefix: String,
    etcd: config::Etcd,
    state_dir: Option<PathBuf>,
}

impl Default for Followers {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            by_backend: BTreeMap::new(),
            sender,
            receiver,
            found: BTreeMap::new(),
            news: BTreeSet::new(),
            merged: BTreeMap::new(),
            warned: BTreeMap::new(),
        }
    }
}

impl Followers {
    /// Starts, replaces and ends followers so that they are those of `config`. What was last known is found at once.
    /// `before`: what another process had found; `backend` finds or makes the backend of that name.
    pub(crate) fn sync(
        &mut self,
        config: &Config,
        mut before: BTreeMap<String, Saved>,
        mut backend: impl FnMut(&config::Backend) -> Arc<Backend>,
    ) {
        let wanted = wanted(config);
        self.by_backend.retain(|name, _| wanted.contains_key(name.as_str()));
        self.receive();
        self.found.retain(|name, _| wanted.contains_key(name.as_str()));
        for (name, (settings, terms)) in wanted {
            let resume = match self.by_backend.remove(name) {
                Some(known) if known.terms == terms => {
                    self.by_backend.insert(name.to_owned(), known);
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
            self.by_backend.insert(name.to_owned(), Followed { follower, terms });
        }
    }

    /// Waits until every follower has listed its prefix once. Borrows nothing.
    pub(crate) fn listed(&self) -> impl Future<Output = ()> + use<> {
        let all: Vec<_> = self.by_backend.values().map(|followed| followed.follower.listed()).collect();
        async {
            for listed in all {
                listed.await;
            }
        }
    }

    /// Waits for found servers. Returns their backends. Cancel safe: what has arrived is kept.
    pub(crate) async fn news(&mut self) -> BTreeSet<String> {
        loop {
            self.receive();
            if !self.news.is_empty() {
                return std::mem::take(&mut self.news);
            }
            if let Some(found) = self.receiver.recv().await {
                self.keep(found);
            }
        }
    }

    /// The servers to apply to a backend: those of its configuration, then those found.
    pub(crate) fn merge(&mut self, settings: &config::Backend) -> Rc<Merged> {
        self.receive();
        let merged = Rc::new(self.merge_found(settings));
        self.merged.insert(settings.name.clone(), Rc::clone(&merged));
        merged
    }

    /// The servers of a backend as last applied.
    pub(crate) fn merged(&self, settings: &config::Backend) -> Rc<Merged> {
        let merged = self.merged.get(&settings.name).cloned();
        merged.unwrap_or_else(|| Rc::new(self.merge_found(settings)))
    }

    /// What the host names of the servers of a backend are looked up by.
    pub(crate) fn hosts(&self, settings: &config::Backend) -> Vec<String> {
        let found = self.found.get(&settings.name);
        let configured = settings.servers.iter().map(|server| (&server.addr, &server.options));
        let found = found.into_iter().flat_map(|found| found.values()).map(|server| (&server.addr, &settings.options));
        let host = |(addr, options): (&Address, &Arc<ServerOptions>)| Some(options.resolve.key(addr.host()?));
        configured.chain(found).filter_map(host).collect()
    }

    /// Warns of found servers that are left out.
    pub(crate) fn warn(&mut self, settings: &config::Backend) {
        let merged = self.merged(settings);
        let name = &settings.name;
        if merged.left_out > 0 {
            let left_out = merged.left_out;
            tracing::warn!("backend {name}: {left_out} discovered servers are too many and left out");
        }
        if self.warned.get(name).is_some_and(|before| *before == merged.shadowed) {
            return;
        }
        for server in &merged.shadowed {
            tracing::warn!("backend {name}: server {server} is in the configuration too, which is what counts");
        }
        self.warned.insert(name.clone(), merged.shadowed.clone());
    }

    /// `None`: the backend has no discovery.
    pub(crate) fn status(&self, backend: &str) -> Option<SourceStatus> {
        self.by_backend.get(backend).map(|followed| followed.follower.status())
    }

    /// What is found, for the next process.
    pub(crate) fn records(&self) -> Vec<DiscoveryRecord> {
        let record = |(backend, followed): (&String, &Followed)| {
            Some(DiscoveryRecord { backend: backend.clone(), saved: followed.follower.saved()?.encode() })
        };
        self.by_backend.iter().filter_map(record).collect()
    }

    /// All followers in one: whether each is connected, the newest revision, the first error. `None`: there are none.
    pub(crate) fn summary(&self) -> Option<EtcdSummary> {
        let all: Vec<SourceStatus> = self.by_backend.values().map(|followed| followed.follower.status()).collect();
        let revision = all.iter().map(|status| status.revision).max()?;
        Some(EtcdSummary {
            connected: all.iter().all(|status| status.endpoint.is_some()),
            last_error: all.iter().find_map(|status| status.error.clone()),
            revision,
        })
    }

    /// Applies what is held at once. Returns how many servers that removes. `None`: the backend has no discovery.
    pub(crate) fn accept(&self, backend: &str) -> Option<usize> {
        self.by_backend.get(backend).map(|followed| followed.follower.accept())
    }

    /// Takes in every set that has been sent.
    fn receive(&mut self) {
        while let Ok(found) = self.receiver.try_recv() {
            self.keep(found);
        }
    }

    fn keep(&mut self, found: FoundServers) {
        // The last set of a follower that was dropped meanwhile is ignored.
        if self.by_backend.contains_key(&found.backend) {
            self.news.insert(found.backend.clone());
            self.found.insert(found.backend, found.servers);
        }
    }

    fn merge_found(&self, settings: &config::Backend) -> Merged {
        let none = Servers::new();
        merge(&settings.servers, &settings.options, self.found.get(&settings.name).map_or(&none, |found| &**found))
    }
}

/// What the previous engine had found. `None`: it is damaged, and etcd or the disk has to provide the servers.
pub(crate) fn found_before(record: DiscoveryRecord) -> Option<(String, Saved)> {
    match Saved::decode(&record.saved) {
        Ok(saved) => Some((record.backend, saved)),
        Err(damage) => {
            let backend = &record.backend;
            tracing::warn!("backend {backend}: the servers found by the engine before are not used: {damage}");
            None
        }
    }
}

/// What is to be followed, by backend.
fn wanted(config: &Config) -> BTreeMap<&str, (&config::Backend, Terms)> {
    let mut wanted = BTreeMap::new();
    for settings in &config.backends {
        if let (Some(prefix), Some(etcd)) = (&settings.discovery, &config.etcd) {
            let terms =
                Terms { prefix: prefix.clone(), etcd: etcd.clone(), state_dir: config.global.state_dir.clone() };
            wanted.insert(settings.name.as_str(), (settings, terms));
        }
    }
    wanted
}
