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
mod error;
mod follow;
mod limits;
mod link;
mod options;
mod prefix;
mod secret;
mod session;
mod status;

use std::rc::Rc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};

pub(crate) use connect::connect;
pub(crate) use error::EtcdError;
pub(crate) use limits::reconnects;
pub use options::{FoundServers, Options};
pub use status::{AppliedFrom, SourceStatus};

use crate::control::last_known_good::Saved;
use prefix::FollowedPrefix;

/// One backend's servers followed in etcd. Ends when dropped; the servers stay as they are.
#[derive(Debug)]
pub struct Follower {
    prefix: Rc<FollowedPrefix>,
    listed: watch::Receiver<bool>,
    tasks: [AbortHandle; 2],
}

impl Follower {
    /// Starts to follow, on the local tokio runtime it is called on. Each set to apply is sent to `found`, in order;
    /// the last known one before this returns.
    pub fn spawn(options: Options, found: UnboundedSender<FoundServers>) -> Self {
        let prefix = FollowedPrefix::new(&options, found);
        prefix.resume(options.resume);
        let follow = spawn_local(follow::follow(Rc::clone(&prefix), options.etcd));
        let keep = spawn_local(follow::keep(Rc::clone(&prefix)));
        Self { listed: prefix.listed(), prefix, tasks: [follow.abort_handle(), keep.abort_handle()] }
    }

    /// For `lb status`.
    pub fn status(&self) -> SourceStatus {
        self.prefix.status()
    }

    /// `lb server accept`: applies at once what the guard holds. Returns how many servers that takes away.
    pub fn accept(&self) -> usize {
        self.prefix.accept()
    }

    /// What is applied, for the next process or the next follower. `None`: nothing was ever known.
    pub fn saved(&self) -> Option<Saved> {
        self.prefix.saved()
    }

    /// Completes when etcd was listed once. Borrows nothing of the follower; ends early when that is dropped.
    pub fn listed(&self) -> impl Future<Output = ()> + use<> {
        let mut listed = self.listed.clone();
        async move {
            // An error: the follower is dropped.
            listed.wait_for(|listed| *listed).await.ok();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
