//! Engine process: one engine as its supervisor sees it: a child, or in a takeover the child of another supervisor, which
//! relays the messages in both directions.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::handoff::channel::{
    CONFIG_VARIABLE, CONTROL_VARIABLE, ChannelError, Delivery, SHARE_VARIABLE, STATE_VARIABLE,
};
use crate::handoff::control::{
    Control, Heartbeat, Hello, Listener, Mode, NamesPart, ProcessKind, Ready, Start, Stop, StopMode,
};
use crate::handoff::features;
use crate::supervisor::binary::Binary;
use crate::supervisor::connection::{Connection, ConnectionId};
use crate::supervisor::options::{KeptConfig, RunOptions};
use crate::supervisor::stderr::print;
use crate::supervisor::watchdog::Watchdog;
use crate::sys::clock::millis;
use crate::sys::{fd, process};

/// In a supervisor's environment: how many lines of messages the former program could not write.
pub(crate) const LOST_VARIABLE: &str = "LB_LOST_LINES";

/// A running engine.
#[derive(Debug)]
pub(crate) struct EngineProcess {
    pub pid: u32,
    /// Why it was started.
    pub mode: Mode,
    pub generation: u64,
    /// When it became READY.
    pub serving_since: Option<Instant>,
    /// How long it may take to end after STOP, as it announced.
    pub stop_limit: Duration,
    /// Listeners announced and START sent.
    pub introduced: bool,
    /// When it is killed: set when it was ordered to stop, or has hung up.
    pub stop_by: Option<Instant>,
    pub started: Instant,
    pub last_beat: Instant,
    pub beat: Option<Heartbeat>,
    pub watchdog: Watchdog,
    /// It hung and was killed.
    pub hung: bool,
    connection: Connection,
    parent: Parent,
}

/// The parent process of an engine.
#[derive(Debug)]
enum Parent {
    /// This supervisor.
    Own,
    /// Another supervisor, which is the other end of the connection; the engine's pidfd, once it was started.
    Foreign(Option<OwnedFd>),
}

/// An engine at the moment when its supervisor is replaced.
#[derive(Debug)]
pub(crate) struct EngineSnapshot {
    pub pid: u32,
    pub mode: Mode,
    pub generation: u64,
    pub serving: bool,
    pub stop_limit: Duration,
    pub stop_left: Option<Duration>,
    /// Silence that counts as a hang, as it announced.
    pub watchdog: Option<Duration>,
    pub sent: u32,
    pub received: u32,
}

impl EngineProcess {
    /// Starts the binary as an engine and sends HELLO.
    pub(crate) fn start(
        binary: &Binary,
        options: &RunOptions,
        mode: Mode,
        generation: u64,
        now: Instant,
    ) -> Result<Self, ChannelError> {
        let (ours, theirs) = fd::seqpacket_pair()?;
        let mut env = child_env(options);
        env.push((CONTROL_VARIABLE.into(), theirs.as_raw_fd().to_string().into()));
        let args = binary.command_line(["engine".into()].into_iter().chain(options.args.iter().cloned()));
        let program = process::Program { binary: binary.as_fd(), args: &args, env: &env };
        let fds: Vec<_> = [theirs.as_fd()].into_iter().chain(options.config.iter().map(AsFd::as_fd)).collect();
        let child = process::spawn(&program, &fds, Stdio::inherit(), Stdio::inherit())?;
        let snapshot = EngineSnapshot {
            pid: child.id(),
            mode,
            generation,
            serving: false,
            stop_limit: Duration::ZERO,
            stop_left: None,
            watchdog: None,
            sent: 0,
            received: 0,
        };
        let mut engine = Self::restore(snapshot, ours, now);
        engine.send(&Control::Hello(hello()), vec![]);
        Ok(engine)
    }

    /// An engine that runs: one just started, or one from before the supervisor was replaced.
    pub(crate) fn restore(state: EngineSnapshot, socket: OwnedFd, now: Instant) -> Self {
        let mut watchdog = Watchdog::new(now);
        state.watchdog.into_iter().for_each(|limit| watchdog.set_limit(limit));
        Self {
            pid: state.pid,
            mode: state.mode,
            generation: state.generation,
            serving_since: state.serving.then_some(now),
            stop_limit: state.stop_limit,
            introduced: state.serving,
            stop_by: state.stop_left.map(|left| now + left),
            started: now,
            last_beat: now,
            beat: None,
            watchdog,
            hung: false,
            connection: Connection::restore(socket, state.sent, state.received),
            parent: Parent::Own,
        }
    }

    /// An engine that another supervisor, at the other end of `connection`, is about to start.
    pub(crate) fn foreign(connection: Connection, generation: u64, now: Instant) -> Self {
        Self {
            pid: 0,
            mode: Mode::Upgrade,
            generation,
            serving_since: None,
            stop_limit: Duration::ZERO,
            introduced: false,
            stop_by: None,
            started: now,
            last_beat: now,
            beat: None,
            watchdog: Watchdog::new(now),
            hung: false,
            connection,
            parent: Parent::Foreign(None),
        }
    }

    /// The other supervisor has started it, under this pid of its own namespace.
    pub(crate) fn foreign_started(&mut self, pid: u32, pidfd: OwnedFd) {
        if self.is_foreign() {
            self.pid = pid;
            self.parent = Parent::Foreign(Some(pidfd));
        }
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.parent, Parent::Foreign(_))
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.connection.id()
    }

    /// The state to keep across the supervisor's replacement. No message may be queued.
    pub(crate) fn snapshot(&self, now: Instant) -> EngineSnapshot {
        let (sent, received) = self.connection.positions();
        EngineSnapshot {
            pid: self.pid,
            mode: self.mode,
            generation: self.generation,
            serving: self.serving_since.is_some(),
            stop_limit: self.stop_limit,
            stop_left: self.stop_by.map(|by| by.saturating_duration_since(now)),
            watchdog: Some(self.watchdog.limit()),
            sent,
            received,
        }
    }

    /// Queues and sends. If that fails, the connection is over and the process is killed; its exit is handled as any other.
    pub(crate) fn send(&mut self, message: &Control, fds: Vec<Arc<OwnedFd>>) {
        if let Err(error) = self.connection.send(message, fds) {
            self.give_up(&error);
        }
    }

    /// Sends the final message, even over a connection that was given up: without one, the supervisor of a foreign engine
    /// could only guess whether this process is dead.
    pub(crate) fn send_last(&mut self, message: &Control) {
        self.connection.send_last(message);
    }

    /// Sends what could not be sent before.
    pub(crate) fn flush(&mut self) {
        if let Err(error) = self.connection.flush() {
            self.give_up(&error);
        }
    }

    /// Whether messages wait to be sent.
    pub(crate) fn has_queued(&self) -> bool {
        self.connection.has_queued()
    }

    /// Whether the connection can still deliver messages.
    pub(crate) fn is_connected(&self) -> bool {
        !self.connection.is_over()
    }

    /// The next message, if one has come. A malformed message is the last one.
    pub(crate) fn receive(&mut self) -> Option<Delivery<Control>> {
        match self.connection.receive() {
            Ok(message) => message,
            Err(error) => {
                self.give_up(&error);
                None
            }
        }
    }

    /// SIGKILL. The process is a child that was not reaped yet, so the pid cannot have been reused. A foreign engine can
    /// only be given up by ABORT, on which its own supervisor kills it.
    pub(crate) fn kill(&self) {
        if self.is_foreign() {
            return;
        }
        match kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL) {
            Ok(()) | Err(_) => {}
        }
    }

    /// A pidfd, for the other engine of an upgrade: proof of death without a message from the supervisor.
    pub(crate) fn pidfd(&self) -> io::Result<OwnedFd> {
        match &self.parent {
            Parent::Own => process::pidfd_open(self.pid),
            Parent::Foreign(Some(pidfd)) => pidfd.try_clone(),
            Parent::Foreign(None) => Err(io::Error::other("it was not started yet")),
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.connection.socket()
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends the listeners, the names and START to an engine that starts without a predecessor beside it.
    pub(crate) fn introduce<'a>(
        &mut self,
        listeners: impl Iterator<Item = (&'a Listener, &'a Arc<OwnedFd>)>,
        names: &[NamesPart],
        uptime: Duration,
    ) {
        let count = self.send_listeners(listeners);
        for part in names {
            self.send(&Control::Names(part.clone()), vec![]);
        }
        self.send_start(count, uptime);
    }

    /// Sends each listener. Returns how many.
    pub(crate) fn send_listeners<'a>(
        &mut self,
        listeners: impl Iterator<Item = (&'a Listener, &'a Arc<OwnedFd>)>,
    ) -> u32 {
        let mut count = 0;
        for (listener, socket) in listeners {
            self.send(&Control::Listener(listener.clone()), vec![Arc::clone(socket)]);
            count += 1;
        }
        count
    }

    /// Sends START after `listeners` LISTENER messages.
    pub(crate) fn send_start(&mut self, listeners: u32, uptime: Duration) {
        self.introduced = true;
        let uptime_ms = millis(uptime);
        let start = Start { mode: self.mode, generation: self.generation, listeners, uptime_ms };
        self.send(&Control::Start(start), vec![]);
    }

    /// READY has come.
    pub(crate) fn on_ready(&mut self, ready: &Ready, now: Instant) {
        self.serving_since = Some(now);
        self.last_beat = now;
        self.watchdog.beat(now);
        self.set_watchdog(ready.watchdog_ms);
        self.set_stop_limit(ready.stop_limit_ms);
    }

    /// A heartbeat has come.
    pub(crate) fn on_beat(&mut self, beat: Heartbeat, now: Instant) {
        self.last_beat = now;
        self.watchdog.beat(now);
        self.beat = Some(beat);
    }

    /// The announced limit, at most a day: a number of another process is not added to a time unchecked.
    pub(crate) fn set_stop_limit(&mut self, millis: u64) {
        self.stop_limit = Duration::from_millis(millis.min(MAX_STOP_MS));
    }

    /// The announced limit of silence, if there is news.
    pub(crate) fn set_watchdog(&mut self, millis: Option<u64>) {
        if let Some(millis) = millis {
            self.watchdog.set_limit(Duration::from_millis(millis.min(MAX_STOP_MS)));
        }
    }

    /// The connection has ended: the exit is due.
    pub(crate) fn on_hang_up(&mut self, now: Instant) {
        self.stop_by.get_or_insert(now + KILL_GRACE);
    }

    /// Orders it to stop. A soft stop has no limit here: the engine ends with its last session.
    pub(crate) fn stop(&mut self, order: &Stop, now: Instant) {
        self.send(&Control::Stop(order.clone()), vec![]);
        let limit = match order.mode {
            StopMode::Drain if order.is_soft() => return,
            StopMode::Drain => self.stop_limit,
            StopMode::Now => Duration::ZERO,
        };
        self.stop_by = Some(now + limit + KILL_GRACE);
    }

    /// Kills it if it has outlived its limit.
    pub(crate) fn kill_if_late(&mut self, now: Instant) {
        if self.stop_by.is_some_and(|by| now >= by) {
            print(format!("engine {} has not ended in time; it is killed", self.pid));
            self.kill();
            // The exit follows; this is only to kill again if it does not.
            self.stop_by = Some(now + KILL_GRACE);
        }
    }

    /// Kills it if it is not READY in time. Upgrades have their own limits.
    pub(crate) fn kill_if_not_ready(&mut self, now: Instant) {
        if self.start_limit().is_some_and(|by| now >= by) {
            self.stop_by = Some(now + KILL_GRACE);
            print(format!("engine {} does not get ready; it is killed", self.pid));
            self.kill();
        }
    }

    /// Kills it if it hangs. Only one that serves is watched; a stop has its own limit.
    pub(crate) fn kill_if_hung(&mut self, upgrading: bool, now: Instant) {
        if self.serving_since.is_none() || self.stop_by.is_some() || self.is_foreign() {
            return;
        }
        self.watchdog.look(now);
        let pid = self.pid;
        let excused = || print(format!("engine {pid} is silent; a debugger holds it, so it is left"));
        if self.watchdog.is_excused(|| process::is_traced(pid), excused) {
            return;
        }
        if let Some(silent) = self.watchdog.hang(upgrading) {
            let silent = silent.as_secs();
            print(format!(
                "engine {pid} has been silent for {silent} s: it hangs and is killed, its sessions are lost"
            ));
            (self.hung, self.stop_by) = (true, Some(now + KILL_GRACE));
            self.kill();
        }
    }

    /// When to look whether it hangs.
    pub(crate) fn look_at(&self, upgrading: bool) -> Option<Instant> {
        let watched = self.serving_since.is_some() && self.stop_by.is_none() && !self.is_foreign();
        self.watchdog.wake_at(upgrading).filter(|_| watched)
    }

    /// When it must be READY.
    pub(crate) fn start_limit(&self) -> Option<Instant> {
        (self.serving_since.is_none() && self.stop_by.is_none()).then_some(self.started + START_LIMIT)
    }

    /// Whether the watchdog may be told that the service works.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.serving_since.is_none() || now < self.last_beat + WATCHDOG_SILENCE
    }

    fn give_up(&self, error: &ChannelError) {
        if error.is_closed() {
            return;
        }
        let pid = self.pid;
        if self.is_foreign() {
            print(format!("takeover: the connection to engine {pid}: {error}"));
        } else {
            print(format!("engine {pid}: {error}; it is killed"));
            self.kill();
        }
    }
}

/// The first message of a supervisor.
pub(crate) fn hello() -> Hello {
    Hello {
        role: ProcessKind::Supervisor,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        offers: features::offers(),
    }
}

/// The environment for children: without the variables that are meant for this process alone.
pub(crate) fn child_env(options: &RunOptions) -> Vec<(OsString, OsString)> {
    const OURS: [&str; 12] = [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "LISTEN_PIDFDID",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        CONTROL_VARIABLE,
        CONFIG_VARIABLE,
        STATE_VARIABLE,
        LOST_VARIABLE,
        SHARE_VARIABLE,
    ];
    let inherited = env::vars_os().filter(|(name, _)| !OURS.iter().any(|ours| name == ours));
    let share = options.shares_ports().then(|| (SHARE_VARIABLE.into(), "1".into()));
    inherited.chain(options.config.as_ref().map(KeptConfig::variable)).chain(share).collect()
}

/// How long an engine may take from its start to READY, outside of upgrades.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long an engine may outlive its own limit before it is killed.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// After this long without a heartbeat a serving engine is not reported alive to the watchdog.
const WATCHDOG_SILENCE: Duration = Duration::from_secs(5);
const MAX_STOP_MS: u64 = 24 * 3600 * 1000;
