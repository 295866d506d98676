//! Options: what a follower starts with, and what it yields.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::Backend;
use crate::config;
use crate::control::discovery::Servers;
use crate::control::last_known_good::Saved;

/// The prefix of one backend and the way to it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name is that of the file in `state_dir`; its checks decide how long a server without a lease is kept.
    pub backend: Arc<Backend>,
    pub prefix: String,
    pub etcd: config::Etcd,
    /// Where the last known good set is kept. `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// What another follower or another process has applied: takes precedence over the file in `state_dir`.
    pub resume: Option<Saved>,
}

/// The whole set of servers to apply to one backend; replaces every earlier one.
#[derive(Debug, Clone)]
pub struct FoundServers {
    /// Name of the backend.
    pub backend: String,
    pub servers: Arc<Servers>,
}
