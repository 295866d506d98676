//! Prefix: one followed prefix, as the session, the keeper and the operator's commands share it on the control thread.
//!
//! The state is borrowed for one fold and never across a wait; sets are sent under that borrow and so in order.

mod disk;

use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::options::{FoundServers, Options};
use super::status::{AppliedFrom, HeldServer, SourceStatus};
use crate::backend::Backend;
use crate::config::counted;
use crate::control::discovery::{Discovery, Event, HoldReason, Leaving, Listing, RejectedKey, Relist};

/// See the module.
#[derive(Debug)]
pub(super) struct FollowedPrefix {
    backend: Arc<Backend>,
    prefix: String,
    state_dir: Option<PathBuf>,
    found: UnboundedSender<FoundServers>,
    listed: watch::Sender<bool>,
    /// The applied set changed and is not on the disk yet.
    unsaved: Notify,
    state: RefCell<PrefixState>,
}

#[derive(Debug)]
struct PrefixState {
    discovery: Discovery,
    /// Between folding and settling, while the session asks about leases.
    leaving: Option<(Leaving, bool)>,
    source: AppliedFrom,
    /// When etcd last answered; with a set from a file, how old it was then and when it was read.
    heard: Option<Instant>,
    file_age_s: u64,
    endpoint: Option<String>,
    error: Option<String>,
    holds_total: u64,
}

impl FollowedPrefix {
    pub(super) fn new(options: &Options, found: UnboundedSender<FoundServers>) -> Rc<Self> {
        let discovery = Discovery::new(options.prefix.as_str(), options.etcd.guard_delay);
        let state = PrefixState {
            discovery,
            leaving: None,
            source: AppliedFrom::None,
            heard: None,
            file_age_s: 0,
            endpoint: None,
            error: None,
            holds_total: 0,
        };
        Rc::new(Self {
            backend: Arc::clone(&options.backend),
            prefix: options.prefix.clone(),
            state_dir: options.state_dir.clone(),
            found,
            listed: watch::Sender::new(false),
            unsaved: Notify::new(),
            state: RefCell::new(state),
        })
    }

    /// Becomes true with the first listing and stays so.
    pub(super) fn listed(&self) -> watch::Receiver<bool> {
        self.listed.subscribe()
    }

    pub(super) fn backend(&self) -> &str {
        &self.backend.name
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn revision(&self) -> i64 {
        self.state.borrow().discovery.view().revision()
    }

    pub(super) fn relist(&self, cluster_id: u64, revision: i64) -> Option<Relist> {
        // A set from the disk or from another process is never watched on: this process has seen no listing.
        if !*self.listed.borrow() {
            return Some(Relist::First);
        }
        self.state.borrow().discovery.view().relist(cluster_id, revision)
    }

    pub(super) fn connected(&self, endpoint: &str) {
        let mut state = self.state.borrow_mut();
        state.endpoint = Some(endpoint.to_owned());
        state.error = None;
        state.heard = Some(Instant::now());
    }

    pub(super) fn heard(&self) {
        self.state.borrow_mut().heard = Some(Instant::now());
    }

    /// The connection is gone. Whatever it had folded without settling is settled as if no lease were alive.
    pub(super) fn lost(&self, endpoint: &str, error: String) {
        let mut state = self.state.borrow_mut();
        // One line for each new reason, not for each attempt.
        if state.error.as_ref() != Some(&error) {
            warn!("backend {}: etcd {endpoint}: {error}; the servers stay as they are", self.backend.name);
        }
        state.error = Some(error);
        state.endpoint = None;
        if state.leaving.is_some() {
            self.settle_in(&mut state, &BTreeSet::new());
        }
    }

    /// Folds a listing; returns the leases to ask about before [`settle`](Self::settle).
    pub(super) fn fold_listing(&self, listing: Listing) -> BTreeSet<i64> {
        let mut state = self.state.borrow_mut();
        state.heard = Some(Instant::now());
        let leaving = state.discovery.listing(listing);
        self.folded(state, leaving, true)
    }

    /// Folds events; returns the leases to ask about before [`settle`](Self::settle).
    pub(super) fn fold_events(&self, events: Vec<Event>) -> BTreeSet<i64> {
        let mut state = self.state.borrow_mut();
        let leaving = state.discovery.events(events);
        self.folded(state, leaving, false)
    }

    fn folded(&self, mut state: RefMut<'_, PrefixState>, leaving: Leaving, fresh: bool) -> BTreeSet<i64> {
        let leases = leaving.leases();
        state.leaving = Some((leaving, fresh));
        let news = state.discovery.take_news();
        drop(state);
        for RejectedKey { key, reason, .. } in news {
            warn!("backend {}: key {key}: {reason}; it changes nothing", self.backend.name);
        }
        leases
    }

    /// Applies what was folded.
    pub(super) fn settle(&self, alive: &BTreeSet<i64>, listed: bool) {
        let mut state = self.state.borrow_mut();
        self.settle_in(&mut state, alive);
        if listed {
            state.source = AppliedFrom::Etcd;
            self.listed.send_replace(true);
            // Also when nothing changed: the file then shows how young it is.
            self.unsaved.notify_one();
        }
    }

    fn settle_in(&self, state: &mut PrefixState, alive: &BTreeSet<i64>) {
        let (leaving, fresh) = state.leaving.take().unwrap_or_default();
        let before: BTreeSet<String> = state.discovery.held().keys().cloned().collect();
        let now = Instant::now();
        let changed = state.discovery.settle(leaving, alive, fresh, now, &self.verdict());
        let held = state.discovery.held();
        let new = held.iter().filter(|(name, _)| !before.contains(*name));
        for (count, why) in count_by_why(new.map(|(_, held)| held.why)) {
            let delay = held.values().map(|held| held.until).max().map(|until| until - now);
            let seconds = delay.unwrap_or_default().as_secs();
            warn!(
                "backend {backend}: {} {why}, kept for {seconds} s; `lb server accept {backend}` lets go at once",
                counted(count, "server"),
                backend = self.backend.name
            );
            state.holds_total += count;
        }
        self.publish(state, changed);
    }

    fn publish(&self, state: &PrefixState, changed: bool) {
        if changed {
            self.send(state);
            self.unsaved.notify_one();
        }
    }

    fn send(&self, state: &PrefixState) {
        let servers = Arc::clone(state.discovery.applied());
        // An error: the engine is ending and applies no more sets.
        self.found.send(FoundServers { backend: self.backend().to_owned(), servers }).ok();
    }

    /// Looks again at what is held for its checks, unless a fold is under way.
    pub(super) fn tick(&self) {
        let mut state = self.state.borrow_mut();
        if state.leaving.is_none() && !state.discovery.held().is_empty() {
            self.settle_holds(&mut state);
        }
    }

    /// When a listing is wanted to end a hold. `None`: nothing is held.
    pub(super) fn hold_ends(&self) -> Option<Instant> {
        let state = self.state.borrow();
        let now = Instant::now();
        if state.discovery.wants_listing(now) {
            return Some(now);
        }
        state.discovery.hold_ends()
    }

    pub(super) fn accept(&self) -> usize {
        let mut state = self.state.borrow_mut();
        let count = state.discovery.accept();
        self.publish(&state, count > 0);
        info!("backend {}: the operator lets {count} held servers go", self.backend.name);
        count
    }

    pub(super) fn status(&self) -> SourceStatus {
        let state = self.state.borrow();
        let (now, view) = (Instant::now(), state.discovery.view());
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
        let before = if state.source == AppliedFrom::File { state.file_age_s } else { 0 };
        let held = state.discovery.held().iter().map(|(name, held)| HeldServer {
            name: name.clone(),
            why: held.why,
            seconds_left: held.until.saturating_duration_since(now).as_secs(),
        });
        SourceStatus {
            source: state.source,
            prefix: self.prefix.clone(),
            endpoint: state.endpoint.clone(),
            age_s: state.heard.map(|heard| before + seconds(heard)),
            revision: view.revision(),
            servers: state.discovery.applied().len(),
            error: state.error.clone(),
            held: held.collect(),
            holds_total: state.holds_total,
            bad: view.bad().cloned().collect(),
            counters: view.counters(),
        }
    }

    fn verdict(&self) -> impl Fn(&str) -> Option<bool> {
        |name| self.backend.passes_checks(name)
    }

    /// Ends holds by the verdicts of the checks, and says so.
    fn settle_holds(&self, state: &mut PrefixState) {
        let before: Vec<String> = state.discovery.held().keys().cloned().collect();
        let changed = state.discovery.tick(Instant::now(), &self.verdict());
        let held = state.discovery.held();
        let gone: Vec<&str> = before.iter().filter(|name| !held.contains_key(*name)).map(String::as_str).collect();
        if !gone.is_empty() {
            info!("backend {}: held servers fail their checks and are let go: {}", self.backend.name, gone.join(", "));
        }
        self.publish(state, changed);
    }
}

fn count_by_why(held: impl Iterator<Item = HoldReason>) -> impl Iterator<Item = (u64, &'static str)> {
    let (mut mass, mut lease) = (0, 0);
    for why in held {
        match why {
            HoldReason::Mass => mass += 1,
            HoldReason::Lease => lease += 1,
        }
    }
    let counts = [(mass, "left etcd at once"), (lease, "without a lease, but with passing checks")];
    counts.into_iter().filter(|(count, _)| *count > 0)
}
