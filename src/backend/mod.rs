//! Backends, and which of their servers may serve. Pure: no sockets, no clock (time comes as an argument), no runtime.
//!
//! Control publishes one immutable [`Snapshot`] a backend; workers read it and atomics, and never wait. A change of
//! anything (membership, health, administration, weights) is a new snapshot around the same [`Server`]s.

mod departed;
pub(crate) mod health;
pub(crate) mod loads;
mod outage;
pub(crate) mod queue;
pub(crate) mod scheduler;
pub(crate) mod server;
pub(crate) mod snapshot;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};

use self::departed::DepartedServers;
use self::health::{CheckResult, Health, Transition};
use self::loads::Loads;
pub(crate) use self::loads::Slot;
pub(crate) use self::outage::Outage;
use self::queue::Queue;
pub use self::scheduler::Hint;
pub(crate) use self::server::{Member, Server, ServerState, Tracking};
pub use self::server::{MemberOrigin, MemberSpec};
pub(crate) use self::snapshot::Snapshot;
use crate::config::{self, AdminState};
use crate::stats::{BackendStats, Counts, ServerStats};
use crate::sys::addr::Addr;

/// A named set of servers.
#[derive(Debug)]
pub struct Backend {
    pub name: Arc<str>,
    /// Sessions that wait for a server.
    pub queue: Queue,
    pub stats: BackendStats,
    snapshot: ArcSwap<Snapshot>,
    loads: Arc<Loads>,
    cursor: AtomicUsize,
    /// Servers that left. Locked by control, and for a session that is thawed on one of them.
    departed: Mutex<DepartedServers>,
    sessions: AtomicU32,
    /// What was last found by [`Backend::usability`].
    usable: Mutex<Outage>,
    warming: AtomicBool,
}

/// A change that clients notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usability {
    /// The last usable server is none any more.
    Lost,
    /// After that, so many are usable.
    Regained(usize),
}

/// A counted session on a server; dropping it gives the place back and calls the next in the queue.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    member: Arc<Member>,
}

/// What changed for a server, to be logged by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub server: Arc<str>,
    pub transition: Transition,
    /// Servers that are usable after the change, without backups.
    pub active: usize,
}

/// Why a set of servers cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("more than {} servers, counting removed ones with open sessions", config::MAX_SERVERS * 2)]
pub struct TooManyServers;

impl Backend {
    /// A backend without servers; [`Backend::apply`] brings them.
    pub fn new(settings: Arc<config::Backend>) -> Arc<Self> {
        Arc::new(Self {
            name: settings.name.as_str().into(),
            queue: Queue::default(),
            stats: BackendStats::default(),
            snapshot: ArcSwap::from_pointee(Snapshot::empty(settings)),
            loads: Arc::default(),
            cursor: AtomicUsize::new(0),
            departed: Mutex::default(),
            sessions: AtomicU32::new(0),
            usable: Mutex::default(),
            warming: AtomicBool::new(false),
        })
    }

    /// What is in force now. Do not hold it across a wait; clone what is needed.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The same, to be held.
    pub fn snapshot_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Picks a server and counts a session on it. `None`: none is usable, or all are full.
    pub fn pick(self: &Arc<Self>, hint: &Hint) -> Option<Lease> {
        let snapshot = self.snapshot.load();
        let elastic = snapshot.schedule.is_elastic();
        let hint = if elastic { &Hint { busy: self.busy(hint.busy), ..*hint } } else { hint };
        let candidate = snapshot.schedule.take(&self.loads, &self.cursor, hint)?;
        Some(Lease::new(self, &snapshot.members[candidate.member]))
    }

    /// A session more on the server of `slot`, for a retry on the same one. `None`: it is no longer usable, or full.
    pub fn pick_same(self: &Arc<Self>, slot: Slot) -> Option<Lease> {
        let snapshot = self.snapshot.load();
        let candidate = snapshot.schedule.candidates().iter().find(|c| c.slot == slot)?;
        let taken = self.loads.take(slot, snapshot.schedule.limit(candidate, self.busy(1)));
        taken.then(|| Lease::new(self, &snapshot.members[candidate.member]))
    }

    /// Whether a usable server other than that of `slot` is not suspect.
    pub fn has_trusted(&self, slot: Slot) -> bool {
        let snapshot = self.snapshot.load();
        snapshot.schedule.candidates().iter().any(|c| c.slot != slot && !self.loads.is_suspect(c.slot))
    }

    /// Whether the server of `slot` is usable, and whether another one is.
    pub fn standing(&self, slot: Slot) -> (bool, bool) {
        let snapshot = self.snapshot.load();
        let has = |own| snapshot.schedule.candidates().iter().any(|c| (c.slot == slot) == own);
        (has(true), has(false))
    }

    /// Whether the server of that name passes its checks: then its life is known by other means than its key. `None`: it
    /// has none, or is DOWN before the first has ended.
    pub fn passes_checks(&self, server: &str) -> Option<bool> {
        let snapshot = self.snapshot.load();
        let member = snapshot.members.iter().find(|member| &*member.server.name == server)?;
        member.spec.options.check.as_ref()?;
        let state = member.server.state();
        (state.is_up() || state.history.newest().is_some()).then(|| state.is_up())
    }

    /// Sessions on its servers and in its queue, and so many more.
    pub fn busy(&self, more: u32) -> u32 {
        self.sessions().saturating_add(u32::try_from(self.queue.len()).unwrap_or(u32::MAX)).saturating_add(more)
    }

    /// One session more waits: where limits depend on that, there may be room for the first in line.
    pub fn call_if_elastic(&self) {
        if self.snapshot.load().schedule.is_elastic() {
            self.queue.call_next();
        }
    }

    /// Sessions on all servers now.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Relaxed)
    }

    /// Counts a session that came with its server from another process; limits do not apply to it. A name that is no
    /// member is a server that left, at `addr`. `None`: there is no place for one more of these.
    pub fn adopt(self: &Arc<Self>, server: &str, addr: impl FnOnce() -> Addr) -> Option<Lease> {
        let member = self.member(server).or_else(|| self.departed().get_or_make(server, addr, &self.loads).cloned())?;
        self.loads.take(member.server.slot(), u32::MAX);
        // After it was counted: the limit is not exceeded meanwhile.
        member.server.arrive();
        Some(Lease::new(self, &member))
    }

    /// The server of that name that may get sessions.
    pub fn member(&self, server: &str) -> Option<Arc<Member>> {
        self.snapshot.load().members.iter().find(|member| &*member.server.name == server).cloned()
    }

    /// Calls `add` with the counts of the server of that name, whether it is a member, leaves, or is no more. The empty
    /// name stands for all those that are forgotten.
    pub fn add_counts(&self, server: &str, add: impl FnOnce(&ServerStats)) {
        match self.member(server) {
            Some(member) => add(&member.server.stats),
            None => add(self.departed().counts_of(server)),
        }
    }

    /// Calls `see` with what servers counted that are no more, by name, and under the empty name with the sum of those that
    /// are forgotten.
    pub fn see_remembered(&self, mut see: impl FnMut(&str, &ServerStats)) {
        self.departed().remembered().for_each(|(name, counts)| see(name, counts));
    }

    /// Servers that left and are still in use, or were a moment ago.
    pub fn leaving(&self) -> Vec<Arc<Member>> {
        self.departed().iter().cloned().collect()
    }

    /// What all servers have counted that it has or had, and the times of those that it has. No count ever falls.
    pub fn totals(&self) -> ServerStats {
        let totals = ServerStats::default();
        let departed = self.departed();
        for member in self.snapshot.load().members.iter().chain(departed.iter()) {
            totals.absorb(&member.server.stats);
        }
        departed.remembered().for_each(|(_, counts)| totals.add_counts(counts));
        totals
    }

    /// Forgets the maxima, and with `all` everything that was counted.
    pub fn clear_counters(&self, all: bool) {
        self.stats.clear(all);
        let mut departed = self.departed();
        let snapshot = self.snapshot.load();
        snapshot.members.iter().chain(departed.iter()).for_each(|member| member.server.stats.clear(all));
        if all {
            departed.forget_counts();
        }
    }

    /// Replaces settings and servers. A name that stays keeps its [`Server`]; at a new address its health starts afresh.
    pub fn apply(
        &self,
        settings: Arc<config::Backend>,
        specs: Vec<MemberSpec>,
        now: Instant,
    ) -> Result<(), TooManyServers> {
        let before = self.snapshot.load_full();
        let mut departed = self.departed();
        // What is left here at the end is gone.
        let mut known: HashMap<&str, &Arc<Member>> =
            before.members.iter().map(|member| (&*member.spec.name, member)).collect();
        let mut members = Vec::with_capacity(specs.len());
        for spec in specs {
            let was = known.remove(spec.name.as_str()).or_else(|| departed.get(&spec.name));
            let server = match was {
                Some(was) => {
                    retune(was, &spec, now);
                    Arc::clone(&was.server)
                }
                None => Arc::new(Server::new(&spec, &self.loads).ok_or(TooManyServers)?),
            };
            members.push(Arc::new(Member { server, spec }));
        }
        members.iter().for_each(|member| departed.returns(member));
        departed.extend(known.into_values());
        drop(departed);
        self.publish(Snapshot::new(settings, members, now));
        Ok(())
    }

    /// Lets all its servers leave: the backend is no more, and remembers what it counted for when it returns.
    pub fn retire(&self, now: Instant) {
        let before = self.snapshot.load_full();
        if !before.members.is_empty() {
            self.departed().extend(before.members.iter());
            self.publish(Snapshot::new(Arc::clone(&before.settings), Vec::new(), now));
        }
    }

    /// Moves a server to another of its addresses, where its health starts afresh.
    pub fn move_server(&self, server: &Server, addr: Addr, now: Instant) {
        let before = self.snapshot.load_full();
        let mut members = before.members.clone();
        let found = members.iter_mut().find(|member| std::ptr::eq(&*member.server, server) && member.spec.addr != addr);
        if let Some(member) = found {
            let spec = MemberSpec { addr, ..member.spec.clone() };
            retune(member, &spec, now);
            *member = Arc::new(Member { server: Arc::clone(&member.server), spec });
            self.publish(Snapshot::new(Arc::clone(&before.settings), members, now));
        }
    }

    /// Builds the snapshot anew after a change of health, administration or weight, or as time passes in a slow start.
    pub fn refresh(&self, now: Instant) {
        let before = self.snapshot.load_full();
        self.publish(Snapshot::new(Arc::clone(&before.settings), before.members.clone(), now));
    }

    /// Takes a check's result in; `times` as for [`ServerState::record`]. Publishes when it changes which servers are
    /// usable.
    pub fn record(&self, server: &Server, result: CheckResult, times: u32, now: Instant) -> Option<Change> {
        if result.status.verdict() == Some(true) {
            server.trust();
        }
        if result.status.verdict() == Some(false) && result.source == health::ResultSource::Check {
            server.stats.checks.failed.add(1);
            if server.state().health.is_some_and(|health| health.is_up()) {
                server.stats.checks.failed_while_up.add(1);
            }
        }
        let transition = server.state().record(result, times, now)?;
        Some(self.changed(server, transition, now))
    }

    /// Takes in what a server's agent says of it.
    pub fn hear(&self, server: &Server, up: bool, now: Instant) -> Option<Change> {
        let transition = server.state().hear(up, now)?;
        Some(self.changed(server, transition, now))
    }

    /// Publishes that a server went UP or DOWN.
    pub fn changed(&self, server: &Server, transition: Transition, now: Instant) -> Change {
        if transition == Transition::WentDown {
            server.stats.downs.add(1);
        }
        self.refresh(now);
        Change { server: Arc::clone(&server.name), transition, active: self.snapshot.load().active() }
    }

    /// The member that this server is.
    pub fn member_of(&self, server: &Server) -> Option<Arc<Member>> {
        self.snapshot.load().members.iter().find(|member| std::ptr::eq(&*member.server, server)).cloned()
    }

    /// What has changed since the last call, to be logged. `first`: also that none is usable from the beginning, for when
    /// all servers are there and known.
    pub fn usability(&self, first: bool) -> Option<Usability> {
        let snapshot = self.snapshot.load();
        let (active, servers) = (snapshot.active(), snapshot.members.len());
        let mut outage = self.usable.lock().unwrap_or_else(PoisonError::into_inner);
        let change = match outage.usable {
            Some(true) if active == 0 => Usability::Lost,
            None if active == 0 && first && servers > 0 => Usability::Lost,
            Some(false) if active > 0 => Usability::Regained(active),
            // Lost under another engine, and counted there.
            Some(false) if first && !outage.told => {
                outage.told = true;
                return Some(Usability::Lost);
            }
            None if active > 0 => {
                outage.usable = Some(true);
                return None;
            }
            _ => return None,
        };
        if change == Usability::Lost {
            self.stats.downs.add(1);
        }
        outage.turn(active > 0, Instant::now());
        Some(change)
    }

    /// When it was last without a usable server, and for how long together.
    pub fn outage(&self) -> Outage {
        *self.usable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what another engine knows of that.
    pub fn restore_outage(&self, outage: Outage) {
        *self.usable.lock().unwrap_or_else(PoisonError::into_inner) = outage;
    }

    /// Begins to refresh the weights of a slow start from time to time. `false`: there is none, or this has begun.
    pub fn begin_warming(&self) -> bool {
        self.snapshot.load().ramping.is_some() && !self.warming.swap(true, Relaxed)
    }

    /// The next slow start must begin anew.
    pub fn end_warming(&self) {
        self.warming.store(false, Relaxed);
    }

    fn publish(&self, snapshot: Snapshot) {
        let room = snapshot.room(&self.loads);
        self.snapshot.store(Arc::new(snapshot));
        self.queue.call(room);
    }

    /// The servers that left, without those that nothing uses any more.
    fn departed(&self) -> MutexGuard<'_, DepartedServers> {
        let mut departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        departed.settle();
        departed
    }
}

/// Lets a server follow what has changed between two of its settings.
fn retune(was: &Member, spec: &MemberSpec, now: Instant) {
    let (server, before, check) = (&was.server, &was.spec, spec.options.check.as_ref());
    let mut state = server.state();
    let afresh = before.addr != spec.addr;
    state.health = match (state.health, check) {
        (Some(mut health), Some(check)) if !afresh => {
            health.retune(check.rise, check.fall);
            Some(health)
        }
        (_, check) => check.map(|check| Health::new(check.rise, check.fall, check.init_state)),
    };
    if afresh {
        state.recovering_since = None;
        server.trust();
    }
    if before.disabled != spec.disabled {
        state.administer(AdminState::configured(spec.disabled), now);
    }
    if before.weight != spec.weight {
        state.weight = None;
    }
    if before.maxconn != spec.maxconn {
        state.maxconn = None;
    }
    if afresh || spec.options.agent.is_none() {
        state.agent_down = false;
    }
}

impl Lease {
    /// For a session that is counted on the server already.
    fn new(backend: &Arc<Backend>, member: &Arc<Member>) -> Self {
        let before = backend.sessions.fetch_add(1, Relaxed);
        backend.stats.sessions_max.see(u64::from(before) + 1);
        member.server.stats.sessions_max.see(member.server.sessions().into());
        Self { backend: Arc::clone(backend), member: Arc::clone(member) }
    }

    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.member.server
    }

    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.sessions.fetch_sub(1, Relaxed);
        self.backend.loads.give_back(self.member.server.slot());
        self.backend.queue.call_next();
    }
}

#[cfg(test)]
mod tests;
