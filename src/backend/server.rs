//! A server: its identity, what was counted and what is known of its health, over all changes of its settings.
//!
//! Membership, health and administration are three facts. What follows from them, `usable`, is decided once,
//! when a snapshot is built.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::health::{CheckResult, Health, History, Transition};
use super::loads::{Loads, Slot};
use crate::config::{AdminState, ServerOptions, Weight};
use crate::stats::ServerStats;
use crate::sys::addr::Addr;

/// What stays the same for a name within its backend.
#[derive(Debug)]
pub struct Server {
    pub name: Arc<str>,
    pub stats: ServerStats,
    loads: Arc<Loads>,
    slot: Slot,
    /// Live connects that failed and were not taken yet.
    failures: AtomicU32,
    /// Live connects that failed since the last one that succeeded.
    errors: AtomicU32,
    /// Places within its `maxconn` that sessions of another engine have, or may take.
    lent: AtomicU32,
    /// Smoothed time of a successful connect in microseconds; 0: none yet.
    connect_micros: AtomicU32,
    state: Mutex<ServerState>,
}

/// What is known of a server. The data plane never reads it.
#[derive(Debug, Clone)]
pub struct ServerState {
    /// `None`: not checked, and so always UP.
    pub health: Option<Health>,
    pub admin: AdminState,
    /// Weight given by the operator at run time, in place of the configured one.
    pub weight: Option<Weight>,
    /// Limit of sessions given by its agent, in place of the configured one; 0: none.
    pub maxconn: Option<u32>,
    /// Its agent says so.
    pub agent_down: bool,
    /// The last that its agent said, or why it said nothing.
    pub agent_said: Option<CheckResult>,
    pub tracking: Option<Tracking>,
    pub history: History,
    /// When it last went UP or DOWN, or had another administration.
    pub changed: Option<Instant>,
    /// How long it was DOWN or in MAINT before that, together.
    pub downtime: Duration,
    /// When it came back, UP or from MAINT, and began to take traffic slowly.
    pub recovering_since: Option<Instant>,
}

/// What a server knows of the one that it follows.
#[derive(Debug, Clone)]
pub struct Tracking {
    /// `backend/server`.
    pub path: Arc<str>,
    /// `None`: it is not there now, as one in MAINT is not.
    server: Option<Arc<Server>>,
    /// As it was looked at last: whether it is UP, and its administration.
    pub seen: (bool, AdminState),
}

/// Where a server came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberOrigin {
    Static,
    Discovered,
}

/// A server as it takes part in one snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberSpec {
    pub name: String,
    pub addr: Addr,
    /// The port is the one that the client came to and this added, and `addr` has none.
    pub port_shift: Option<i32>,
    /// The host name that the address was looked up by; checks ask for it.
    pub host: Option<String>,
    pub weight: Weight,
    /// `None`: no limit.
    pub maxconn: Option<u32>,
    pub backup: bool,
    /// Begins in MAINT.
    pub disabled: bool,
    pub options: Arc<ServerOptions>,
    /// Its source says that it is about to leave: no new sessions.
    pub drain: bool,
    pub origin: MemberOrigin,
}

/// A server and its settings within one snapshot.
#[derive(Debug)]
pub struct Member {
    pub server: Arc<Server>,
    pub spec: MemberSpec,
}

impl Server {
    /// `None`: the backend has as many servers as it can have.
    pub(super) fn new(spec: &MemberSpec, loads: &Arc<Loads>) -> Option<Self> {
        let check = spec.options.check.as_ref();
        let state = ServerState {
            health: check.map(|check| Health::new(check.rise, check.fall, check.init_state)),
            admin: AdminState::configured(spec.disabled),
            weight: None,
            maxconn: None,
            agent_down: false,
            agent_said: None,
            tracking: None,
            history: History::default(),
            changed: None,
            downtime: Duration::ZERO,
            recovering_since: None,
        };
        Some(Self {
            name: spec.name.as_str().into(),
            stats: ServerStats::default(),
            slot: loads.allot()?,
            loads: Arc::clone(loads),
            failures: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            lent: AtomicU32::new(0),
            connect_micros: AtomicU32::new(0),
            state: Mutex::new(state),
        })
    }

    /// Its counter in the backend's table.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Sessions now.
    pub fn sessions(&self) -> u32 {
        self.loads.sessions(self.slot)
    }

    /// Leaves so many places within `maxconn` to the other engine of an upgrade; in force with the next snapshot. Returns
    /// whether that is a change.
    pub fn lend(&self, places: u32) -> bool {
        self.lent.swap(places, Relaxed) != places
    }

    /// A session has come from the other engine and is counted here.
    pub(super) fn arrive(&self) {
        let less = |lent: u32| lent.checked_sub(1);
        // An error: nothing was lent for it.
        self.lent.fetch_update(Relaxed, Relaxed, less).ok();
    }

    /// Places that are lent.
    pub fn lent(&self) -> u32 {
        self.lent.load(Relaxed)
    }

    /// Control's view; never locked by the data plane.
    pub fn state(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A live connect succeeded after `took`. The server is well as far as live traffic shows.
    pub fn connected(&self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let before = self.connect_micros.load(Relaxed);
        // Racing workers may lose one sample of a moving average: no harm.
        let now = if before == 0 { took } else { before - before / 8 + took / 8 };
        self.connect_micros.store(now, Relaxed);
        if self.errors.load(Relaxed) > 0 {
            self.errors.store(0, Relaxed);
        }
        self.loads.set_suspect(self.slot, false);
    }

    /// A live connect failed: others are preferred from now on. Returns whether control must be notified, that is, whether
    /// this is the first failure that control has not looked at.
    pub fn connect_failed(&self) -> bool {
        self.loads.set_suspect(self.slot, true);
        self.errors.fetch_add(1, Relaxed);
        self.failures.fetch_add(1, Relaxed) == 0
    }

    /// A connect has been waiting for longer than [`Server::patience`]: others are preferred. Returns whether that is news.
    pub fn suspect(&self) -> bool {
        self.loads.set_suspect(self.slot, true)
    }

    pub fn is_suspect(&self) -> bool {
        self.loads.is_suspect(self.slot)
    }

    /// A check passed.
    pub fn trust(&self) {
        self.loads.set_suspect(self.slot, false);
    }

    /// Takes the live failures since the last call.
    pub fn take_failures(&self) -> u32 {
        self.failures.swap(0, Relaxed)
    }

    /// How often so many live connects in a row have failed; what is left counts on.
    pub fn take_errors(&self, limit: u32) -> u32 {
        let left = |errors: u32| Some(errors % limit.max(1));
        self.errors.fetch_update(Relaxed, Relaxed, left).map_or(0, |errors| errors / limit.max(1))
    }

    /// How long a connect may take before the server is suspected: far longer than it takes usually, and far shorter
    /// than the second after which a lost SYN is repeated.
    pub fn patience(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(100);
        let usual = Duration::from_micros(u64::from(self.connect_micros.load(Relaxed)));
        (usual * 10).max(LEAST)
    }
}

impl Tracking {
    pub fn new(path: Arc<str>, server: Option<Arc<Server>>) -> Self {
        Self { path, server, seen: (true, AdminState::Ready) }
    }

    /// What it is at now.
    fn look(&self) -> (bool, AdminState) {
        let look = |server: &Arc<Server>| {
            let state = server.state();
            (state.is_up(), state.administration())
        };
        self.server.as_ref().map_or((false, AdminState::Maint), look)
    }
}

impl Member {
    /// May get new sessions.
    pub fn is_usable(&self) -> bool {
        let state = self.server.state();
        !self.spec.drain && state.administration() == AdminState::Ready && state.is_up()
    }

    /// Sessions at once. `None`: no limit.
    pub fn maxconn(&self) -> Option<u32> {
        self.server.state().maxconn.or(self.spec.maxconn).filter(|max| *max > 0)
    }

    /// How far it is in its slow start, in percent from 1 to 100.
    pub(super) fn warmth(&self, now: Instant) -> u32 {
        let (state, slowstart) = (self.server.state(), self.spec.options.slowstart);
        let Some(since) = state.recovering_since.filter(|_| !slowstart.is_zero()) else {
            return 100;
        };
        let done = now.saturating_duration_since(since).as_secs_f64() / slowstart.as_secs_f64();
        // Clamped to 1–100 before the conversion, which therefore neither truncates nor loses a sign.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let percent = (done * 100.0).clamp(1.0, 100.0) as u32;
        percent
    }

    /// The same while it is UP and not at its end.
    pub fn throttle(&self, now: Instant) -> Option<u32> {
        let percent = self.warmth(now);
        (percent < 100 && self.server.state().is_up()).then_some(percent)
    }

    /// HAProxy's status word.
    pub fn status(&self) -> &'static str {
        let state = self.server.state();
        match state.administration() {
            AdminState::Maint => "MAINT",
            AdminState::Drain => "DRAIN",
            AdminState::Ready if self.spec.drain => "DRAIN",
            AdminState::Ready if state.is_up() => "UP",
            AdminState::Ready => "DOWN",
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The last lease is gone, since each holds its server.
        self.loads.free(self.slot);
    }
}

impl ServerState {
    /// By its checks, its agent and the server that it follows.
    pub fn is_up(&self) -> bool {
        self.health.is_none_or(|health| health.is_up())
            && !self.agent_down
            && self.tracking.as_ref().is_none_or(|tracking| tracking.look().0)
    }

    /// What the operator asked of it, or of the server that it follows if that is more.
    pub fn administration(&self) -> AdminState {
        self.tracking.as_ref().map_or(self.admin, |tracking| tracking.look().1.max(self.admin))
    }

    /// Looks at the server that it follows. `before`: how that was. `None`: nothing has changed.
    pub fn look_at_tracked(&mut self, before: (bool, AdminState), now: Instant) -> Option<Option<Transition>> {
        let seen = self.tracking.as_mut().map_or((true, AdminState::Ready), |tracking| {
            tracking.seen = tracking.look();
            tracking.seen
        });
        if seen == before {
            return None;
        }
        if before.1 == AdminState::Maint && seen.1 != AdminState::Maint {
            self.recovering_since = Some(now);
        }
        let passed = self.passed(before.0, seen.0, now);
        if passed.is_none() {
            self.downtime += self.away(!before.0 || before.1.max(self.admin) == AdminState::Maint, now);
            self.changed = Some(now);
        }
        Some(passed)
    }

    /// Its agent says UP or DOWN.
    pub fn hear(&mut self, up: bool, now: Instant) -> Option<Transition> {
        let was_up = self.is_up();
        self.agent_down = !up;
        self.passed(was_up, self.is_up(), now)
    }

    /// Its agent answered, or did not.
    pub fn said(&mut self, result: CheckResult, now: Instant) {
        self.agent_said = Some(CheckResult { ended: Some(now), ..result });
    }

    /// How long it was DOWN or in MAINT, together.
    pub fn downtime(&self, now: Instant) -> Duration {
        let is_away = !self.is_up() || self.administration() == AdminState::Maint;
        self.downtime + self.away(is_away, now)
    }

    /// Since the last change, if it was away since then.
    fn away(&self, was_away: bool, now: Instant) -> Duration {
        let since = self.changed.filter(|_| was_away);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// What a change from one to the other means.
    fn passed(&mut self, was_up: bool, is_up: bool, now: Instant) -> Option<Transition> {
        let transition = match (was_up, is_up) {
            (false, true) => Transition::WentUp,
            (true, false) => Transition::WentDown,
            _ => return None,
        };
        self.downtime += self.away(!was_up || self.administration() == AdminState::Maint, now);
        self.changed = Some(now);
        self.recovering_since = (transition == Transition::WentUp).then_some(now);
        Some(transition)
    }

    /// Changes the administration. As in HAProxy, a server that leaves MAINT starts slowly, as one that comes UP does;
    /// one in DRAIN has stayed warm.
    pub fn administer(&mut self, admin: AdminState, now: Instant) {
        if self.admin == AdminState::Maint && admin != AdminState::Maint {
            self.recovering_since = Some(now);
        }
        if self.admin != admin {
            self.downtime += self.away(!self.is_up() || self.admin == AdminState::Maint, now);
            self.changed = Some(now);
        }
        self.admin = admin;
    }

    /// Takes a result in, `times` over (live failures come in bunches). `None`: nothing changed.
    pub fn record(&mut self, result: CheckResult, times: u32, now: Instant) -> Option<Transition> {
        let verdict = result.status.verdict();
        self.history.push(CheckResult { ended: Some(now), ..result });
        let was_up = self.is_up();
        let (health, ok) = (self.health.as_mut()?, verdict?);
        (0..times.max(1)).find_map(|_| health.record(ok));
        self.passed(was_up, self.is_up(), now)
    }
}
