//! Discovery: what a source of truth has under one prefix, folded into the set of servers to apply.
//!
//! Pure: no socket, no clock, no tokio. `etcd` brings listings and events in; time comes as an argument from a monotonic
//! clock, and whether a server still passes its checks as a closure.
//!
//! Three parts, one way: a *value* is one key's text made a server (`value`); the *view* is what the source has now,
//! with the last good value of each key (`view`); the *guard* stands between the view and the set that is applied, and
//! holds back what would take away too much at once (`guard`).
//!
//! Rule to keep: nothing that the source sends can make the applied set smaller faster than the guard allows, and a value
//! that cannot be understood changes nothing.

mod guard;
mod merge;
#[cfg(test)]
mod model;
mod source;
mod value;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use guard::Held;
pub use guard::HoldReason;
pub(crate) use merge::{Merged, merge};
pub(crate) use source::Relist;
pub use source::{Event, Kv, Listing};
pub use value::{Discovered, Servers};
pub(crate) use view::{Counters, RejectedKey, View};

use guard::{Departure, Guard};
use view::LastKey;

/// One prefix followed: view and guard together.
#[derive(Debug)]
pub struct Discovery {
    view: View,
    guard: Guard,
}

/// Servers that have left the view and that the guard has not seen yet: the step between folding and
/// [`Discovery::settle`], in which the caller asks the source which of the leases are still alive.
#[must_use = "the applied set does not change before `settle`"]
#[derive(Debug, Default)]
pub struct Leaving {
    servers: BTreeMap<String, LastKey>,
}

impl Leaving {
    /// Leases to ask about: when one of them is still alive its key was deleted on purpose, not by expiry.
    pub fn leases(&self) -> BTreeSet<i64> {
        self.servers.values().map(|key| key.lease).filter(|lease| *lease != 0).collect()
    }
}

impl Discovery {
    /// Nothing known yet. `guard_delay` zero switches the guard off.
    pub fn new(prefix: impl Into<String>, guard_delay: Duration) -> Self {
        Self { view: View::new(prefix), guard: Guard::new(guard_delay) }
    }

    /// Starts from a set that was applied before (from disk, or from another process): it is what is applied until the
    /// source shows another, and what the guard measures the first listing against.
    pub fn resume(&mut self, cluster_id: u64, revision: i64, servers: &[(String, Discovered, i64)]) {
        self.view.resume(cluster_id, revision, servers);
        self.guard.resume(self.view.servers());
    }

    /// What the source has, before the guard.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Bad values that came since the last call, each once.
    pub fn take_news(&mut self) -> Vec<RejectedKey> {
        self.view.take_news()
    }

    /// The set to apply. The same `Arc` as long as nothing changes.
    pub fn applied(&self) -> &Arc<Servers> {
        self.guard.applied()
    }

    /// The applied servers with the lease of each key (0: none): what is worth keeping on disk.
    pub fn saved(&self) -> Vec<(String, Discovered, i64)> {
        self.applied().iter().map(|(name, server)| (name.clone(), server.clone(), self.view.lease(name))).collect()
    }

    /// Folds a listing of the whole prefix: it replaces what was known, atomically.
    pub fn listing(&mut self, listing: Listing) -> Leaving {
        Leaving { servers: self.view.listing(listing) }
    }

    /// Folds watch events. Those of revisions already seen are ignored.
    pub fn events(&mut self, events: Vec<Event>) -> Leaving {
        Leaving { servers: self.view.events(events) }
    }

    /// Decides what to apply. `alive` are those of [`Leaving::leases`] that are known to be alive; `verdict`: whether a
    /// server passes its checks; `None` without any. `fresh` is set when `leaving` comes from a listing, which alone
    /// can end a hold. Returns whether the applied set changed.
    pub fn settle(
        &mut self,
        leaving: Leaving,
        alive: &BTreeSet<i64>,
        fresh: bool,
        now: Instant,
        verdict: &dyn Fn(&str) -> Option<bool>,
    ) -> bool {
        let how = |key: LastKey| match key {
            LastKey { drain: true, .. } => Departure::Announced,
            LastKey { lease, .. } if lease != 0 && !alive.contains(&lease) => Departure::Expired,
            LastKey { .. } => Departure::Deleted,
        };
        let leaving = leaving.servers.into_iter().map(|(name, key)| (name, how(key))).collect();
        self.guard.settle(self.view.servers(), leaving, fresh, now, verdict)
    }

    /// Looks again at the servers that are held for their checks: to be called about as often as checks come. Returns
    /// whether the applied set changed.
    pub fn tick(&mut self, now: Instant, verdict: &dyn Fn(&str) -> Option<bool>) -> bool {
        self.guard.settle(self.view.servers(), BTreeMap::new(), false, now, verdict)
    }

    /// Applies at once what is held. Returns how many servers that takes away.
    pub fn accept(&mut self) -> usize {
        self.guard.accept(self.view.servers())
    }

    /// What the guard keeps although the source no longer has it.
    pub fn held(&self) -> &BTreeMap<String, Held> {
        self.guard.held()
    }

    /// When the first hold reaches its end and needs a listing. `None`: nothing is held.
    pub fn hold_ends(&self) -> Option<Instant> {
        self.guard.ends()
    }

    /// Only a fresh listing can lead on from here: a hold has reached its end, or keys were left out for lack of room.
    pub fn wants_listing(&self, now: Instant) -> bool {
        self.guard.due(now) || self.view.has_room_for_more()
    }
}
