//! etcd: the shell around `discovery`, one follower a backend prefix.
//!
//! A follower keeps one connection to one endpoint at a time, lists the prefix and watches it from there. Everything
//! that can go wrong on that road ends the connection, and the next one begins after a pause with the next endpoint,
//! with key files and password read again: there is one way to recover, and it is walked often enough to work.
//!
//! What `etcd-client` does not do is done here: keep-alive and connect timeouts (off by default there), a silence
//! watchdog, comparing cluster and revision on each connection, listing again after a compaction and every ten minutes.
//! Its panics (an event of an unknown type is one) end a task of their own and nothing else.
//!
//! Rule to keep: whatever etcd does, the applied set changes only by `discovery`, and stays when etcd is away.

mod connect;
mod follow;
mod link;
mod pause;
mod secret;
mod session;
mod shared;
mod status;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use connect::connect;
pub use link::LinkError;
pub use pause::Pause;
pub use secret::{SecretError, read_secret};
pub use shared::{Apply, Passes};
pub use status::{HeldServer, Source, SourceStatus};

use crate::config;
use crate::control::last_known_good::Saved;
use shared::FollowedPrefix;

/// What one follower is to follow.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the backend: for messages and for the file in `state_dir`.
    pub backend: String,
    pub prefix: String,
    pub etcd: config::Etcd,
    /// Where the last known good set is kept. `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// What was applied before by another follower or another process: goes before the file in `state_dir`.
    pub resume: Option<Saved>,
}

/// One backend's servers followed in etcd. Ends when dropped; the servers stay as they are.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<FollowedPrefix>,
    listed: watch::Receiver<bool>,
    tasks: [AbortHandle; 2],
}

impl Follower {
    /// Starts to follow, on the tokio runtime it is called on. What was last known is applied before this returns.
    ///
    /// `apply` is given each set to apply, in order; `passes` says whether a server is checked and passes. Both are
    /// called with a lock held: they must be quick and must not call the follower.
    pub fn spawn(options: Options, apply: Apply, passes: Passes) -> Self {
        let (shared, listed) = FollowedPrefix::new(&options, apply, passes);
        shared.resume(options.resume);
        let follow = tokio::spawn(follow::follow(shared.clone(), options.etcd));
        let keep = tokio::spawn(follow::keep(shared.clone()));
        let tasks = [follow.abort_handle(), keep.abort_handle()];
        Self { shared, listed, tasks }
    }

    /// For `lb status`.
    pub fn status(&self) -> SourceStatus {
        self.shared.status()
    }

    /// `lb server accept`: applies at once what the guard holds. Returns how many servers that takes away.
    pub fn accept(&self) -> usize {
        self.shared.accept()
    }

    /// What is applied, for the next process or the next follower. `None`: nothing was ever known.
    pub fn saved(&self) -> Option<Saved> {
        self.shared.saved()
    }

    /// Waits until etcd was listed once. Cancel safety: nothing is lost.
    pub async fn listed(&self) {
        // The sender lives as long as `shared`: an error cannot come.
        self.listed.clone().wait_for(|listed| *listed).await.ok();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
