//! Last known good: the servers that were applied last, one file a backend, for a start without the source.
//!
//! The rest of the file is JSON: readable by people, and checked before it is believed. Not being able to write costs
//! nothing but the next start without etcd.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::discovery::Discovered;
use super::state_file::{self, Damage, LoadError, SaveError, StateFile};
use crate::config::{Address, MAX_SERVERS, Weight};

/// What is kept of one backend. Also what one process hands to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The prefix it was found under: another prefix has other servers.
    pub prefix: String,
    pub cluster_id: u64,
    pub revision: i64,
    /// Seconds since 1970, to show an age.
    pub saved_at: u64,
    pub servers: Vec<SavedServer>,
}

/// One server of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedServer {
    pub name: String,
    pub addr: String,
    pub weight: u16,
    pub maxconn: Option<u32>,
    pub backup: bool,
    /// Earlier versions neither write nor read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
    /// Lease of its key; 0: none.
    pub lease: i64,
}

impl Saved {
    /// `servers` as [`Discovery::saved`](super::discovery::Discovery::saved) gives them.
    pub fn new(
        prefix: &str,
        cluster_id: u64,
        revision: i64,
        saved_at: u64,
        servers: Vec<(String, Discovered, i64)>,
    ) -> Self {
        let servers = servers.into_iter().map(SavedServer::from).collect();
        let prefix = prefix.to_owned();
        Self { prefix, cluster_id, revision, saved_at, servers }
    }

    /// The servers as [`Discovery::resume`](super::discovery::Discovery::resume) takes them.
    pub fn servers(&self) -> Result<Vec<(String, Discovered, i64)>, Damage> {
        if self.servers.len() > 2 * MAX_SERVERS {
            return Err(Damage::Content("it has too many servers".to_owned()));
        }
        self.servers.iter().map(SavedServer::read).collect()
    }

    /// The bytes of a file, or of a message to the next process.
    pub fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_vec_pretty(self).expect("numbers, texts and lists can be written as JSON");
        state_file::seal(MAGIC, VERSION, &body)
    }

    /// Reads what [`encode`](Self::encode) wrote; believes nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let body = state_file::unseal(MAGIC, VERSION, bytes)?;
        let saved: Self = serde_json::from_slice(body).map_err(|error| Damage::Content(error.to_string()))?;
        saved.servers()?;
        Ok(saved)
    }

    /// The set of `backend` in `state_dir`. `None`: there is none yet. A damaged file is set aside, and said so.
    pub fn load(state_dir: &Path, backend: &str) -> Result<Option<Self>, LoadError> {
        file_of(state_dir, backend).load(Self::decode)
    }

    /// Replaces the set of `backend` in `state_dir`. Blocks on the disk.
    pub fn save(&self, state_dir: &Path, backend: &str) -> Result<(), SaveError> {
        file_of(state_dir, backend).save(&self.encode())
    }
}

impl SavedServer {
    fn read(&self) -> Result<(String, Discovered, i64), Damage> {
        let bad = |why: String| Damage::Content(format!("server {}: {why}", self.name));
        let addr: Address = self.addr.parse().map_err(|error| bad(format!("{error}")))?;
        let weight = Weight::new(self.weight).ok_or_else(|| bad(format!("weight {} is too large", self.weight)))?;
        let server = Discovered { addr, weight, maxconn: self.maxconn, backup: self.backup, drain: self.drain };
        Ok((self.name.clone(), server, self.lease))
    }
}

impl From<(String, Discovered, i64)> for SavedServer {
    fn from((name, server, lease): (String, Discovered, i64)) -> Self {
        Self {
            name,
            addr: server.addr.to_string(),
            weight: server.weight.get(),
            maxconn: server.maxconn,
            backup: server.backup,
            drain: server.drain,
            lease,
        }
    }
}

fn file_of<'a>(state_dir: &'a Path, backend: &'a str) -> StateFile<'a> {
    StateFile { dir: state_dir, name: backend, kind: "servers" }
}

const MAGIC: &str = "lb-servers";
const VERSION: &str = "1";

#[cfg(test)]
mod tests;
