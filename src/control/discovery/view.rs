//! View: what the source has now under one prefix, with the last good value of each key.
//!
//! The rules of a watched prefix, kept here so that they can be tested without etcd: a listing replaces everything at
//! one revision; events count only above the revision seen; a value that cannot be read leaves the good one of that key
//! in place. A progress notification moves nothing: etcd before 3.4.25 answers a request for one with a revision with
//! events that may still be on their way, so only events and listings show the position.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::source::{Event, Kv, Listing, Relist};
use super::value::{Discovered, Servers, name_of};
use crate::config::MAX_SERVERS;

/// A key that is not understood and therefore changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RejectedKey {
    /// Printable: what is not is escaped.
    pub key: String,
    pub reason: String,
    pub mod_revision: i64,
}

/// The key of a server that left, as it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastKey {
    /// 0: none.
    pub(super) lease: i64,
    /// Its value said that it would leave.
    pub(super) drain: bool,
}

/// What was folded since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    pub listings: u64,
    pub events: u64,
    /// Events of revisions that had been seen already.
    pub duplicates: u64,
    pub bad_values: u64,
    /// Unknown fields in JSON values.
    pub ignored_fields: u64,
}

/// See the module.
#[derive(Debug)]
pub struct View {
    prefix: Vec<u8>,
    /// `None`: nothing was listed or resumed yet.
    cluster_id: Option<u64>,
    revision: i64,
    servers: Servers,
    /// Leases of the keys in `servers` that have one.
    leases: BTreeMap<String, i64>,
    /// Keys with a bad present value, whether or not an older good one stays.
    bad: BTreeMap<String, RejectedKey>,
    /// Those of `bad` that were not reported yet.
    news: Vec<RejectedKey>,
    /// Good keys were left out because [`MAX_SERVERS`] were known.
    crowded: bool,
    counters: Counters,
}

impl View {
    pub(super) fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into().into_bytes(),
            cluster_id: None,
            revision: 0,
            servers: Servers::new(),
            leases: BTreeMap::new(),
            bad: BTreeMap::new(),
            news: Vec::new(),
            crowded: false,
            counters: Counters::default(),
        }
    }

    pub(super) fn resume(&mut self, cluster_id: u64, revision: i64, servers: &[(String, Discovered, i64)]) {
        self.cluster_id = Some(cluster_id);
        self.revision = revision;
        self.servers.clear();
        self.leases.clear();
        for (name, server, lease) in servers.iter().take(MAX_SERVERS) {
            self.servers.insert(name.clone(), server.clone());
            self.remember_lease(name, *lease);
        }
    }

    /// The servers by name, as the source has them.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The lease of a server's key; 0: none.
    pub fn lease(&self, name: &str) -> i64 {
        self.leases.get(name).copied().unwrap_or(0)
    }

    /// Everything up to this revision is folded: a watch continues at the next one.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The cluster that was listed last. `None`: none yet.
    pub fn cluster_id(&self) -> Option<u64> {
        self.cluster_id
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Keys with a bad present value.
    pub fn bad(&self) -> impl Iterator<Item = &RejectedKey> {
        self.bad.values()
    }

    /// Bad values that came since the last call, each once.
    pub fn take_news(&mut self) -> Vec<RejectedKey> {
        std::mem::take(&mut self.news)
    }

    /// Compares what an answer's header has with what was seen. `Some`: only a listing can follow. A source that was
    /// restored from an older snapshot accepts a watch at a future revision and then never fires.
    pub fn relist(&self, cluster_id: u64, revision: i64) -> Option<Relist> {
        match self.cluster_id {
            None => Some(Relist::First),
            Some(before) if before != cluster_id => Some(Relist::OtherCluster { before, now: cluster_id }),
            Some(_) if revision < self.revision => Some(Relist::Backwards { before: self.revision, now: revision }),
            Some(_) => None,
        }
    }

    /// Keys were left out for lack of room, and now there is some: a listing brings them in.
    pub(super) fn has_room_for_more(&self) -> bool {
        self.crowded && self.servers.len() < MAX_SERVERS
    }

    /// Replaces everything; returns the servers that left.
    pub(super) fn listing(&mut self, listing: Listing) -> BTreeMap<String, LastKey> {
        self.counters.listings += 1;
        let mut before = std::mem::take(&mut self.servers);
        let leases = std::mem::take(&mut self.leases);
        let bad = std::mem::take(&mut self.bad);
        self.crowded = false;
        let (known, new): (Vec<_>, Vec<_>) = listing
            .kvs
            .into_iter()
            .partition(|kv| name_of(&kv.key, self.prefix.len()).is_ok_and(|name| before.contains_key(&name)));
        // Servers that are there already are never pushed out by new ones.
        for kv in known.into_iter().chain(new) {
            self.put(kv, &mut before, &bad);
        }
        self.cluster_id = Some(listing.cluster_id);
        self.revision = listing.revision;
        before.retain(|name, _| !self.servers.contains_key(name));
        let last = |(name, server): (String, Discovered)| {
            let lease = leases.get(&name).copied().unwrap_or(0);
            (name, LastKey { lease, drain: server.drain })
        };
        before.into_iter().map(last).collect()
    }

    /// Folds events in their order; returns the servers that left.
    pub(super) fn events(&mut self, events: Vec<Event>) -> BTreeMap<String, LastKey> {
        let seen = self.revision;
        let mut left = BTreeMap::new();
        for event in events {
            if event.mod_revision() <= seen {
                self.counters.duplicates += 1;
                continue;
            }
            self.counters.events += 1;
            self.revision = self.revision.max(event.mod_revision());
            match event {
                Event::Put(kv) => {
                    if let Some(name) = self.put(kv, &mut Servers::new(), &BTreeMap::new()) {
                        left.remove(&name);
                    }
                }
                Event::Delete { key, .. } => self.delete(&key, &mut left),
            }
        }
        left
    }

    /// Takes one key in and returns its name if its value is good. `before` and `known_bad` are what a listing replaces:
    /// a bad value keeps the good one from there, and is announced only if it was not there already.
    fn put(&mut self, kv: Kv, before: &mut Servers, known_bad: &BTreeMap<String, RejectedKey>) -> Option<String> {
        let name = match name_of(&kv.key, self.prefix.len()) {
            Ok(name) => name,
            Err(error) => return self.refuse(&kv, error.to_string(), known_bad),
        };
        let parsed = Discovered::parse(&kv.value);
        let server = match &parsed {
            Ok((server, _)) => Some(server.clone()),
            Err(_) => before.remove(&name),
        };
        if let Some(server) = server {
            if self.servers.len() >= MAX_SERVERS && !self.servers.contains_key(&name) {
                self.crowded = true;
                return self.refuse(&kv, format!("there are {MAX_SERVERS} servers already"), known_bad);
            }
            self.servers.insert(name.clone(), server);
        }
        if self.servers.contains_key(&name) {
            self.remember_lease(&name, kv.lease);
        }
        match parsed {
            Ok((_, ignored)) => {
                self.counters.ignored_fields += ignored as u64;
                self.bad.remove(&printable(&kv.key));
                Some(name)
            }
            Err(error) => self.refuse(&kv, error.to_string(), known_bad),
        }
    }

    fn delete(&mut self, key: &[u8], left: &mut BTreeMap<String, LastKey>) {
        self.bad.remove(&printable(key));
        let Ok(name) = name_of(key, self.prefix.len()) else {
            return;
        };
        let lease = self.leases.remove(&name).unwrap_or(0);
        if let Some(server) = self.servers.remove(&name) {
            left.insert(name, LastKey { lease, drain: server.drain });
        }
    }

    fn remember_lease(&mut self, name: &str, lease: i64) {
        if lease == 0 {
            self.leases.remove(name);
        } else {
            self.leases.insert(name.to_owned(), lease);
        }
    }

    /// Always `None`, so that it can end [`put`](Self::put).
    fn refuse(&mut self, kv: &Kv, reason: String, known_bad: &BTreeMap<String, RejectedKey>) -> Option<String> {
        let bad = RejectedKey { key: printable(&kv.key), reason, mod_revision: kv.mod_revision };
        let known = known_bad.get(&bad.key).is_some_and(|known| known.mod_revision == bad.mod_revision);
        if !known {
            self.counters.bad_values += 1;
            if self.news.len() < MAX_NEWS {
                self.news.push(bad.clone());
            }
        }
        if self.bad.len() < MAX_SERVERS {
            self.bad.insert(bad.key.clone(), bad);
        }
        None
    }
}

/// A key as it can be logged: what is not printable is escaped, and it has an end.
fn printable(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect()
}

/// Bad values announced one by one between two calls of `take_news`; the others are counted.
const MAX_NEWS: usize = 100;

/// Characters of a key in a message.
const MAX_SHOWN: usize = 256;

#[cfg(test)]
mod tests;
