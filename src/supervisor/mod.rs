//! Supervisor: the process behind `lb run` whose pid never changes. One thread, no traffic, no runtime: it waits in
//! `poll` for signals, for its engines and for the next time that something is due.
//!
//! What it owes: an engine that dies is replaced on the same accept queues; an upgrade that fails leaves the old
//! engine serving; signals are passed on; children are reaped (it may be PID 1); the service manager is told.
//!
//! A supervisor that was started elsewhere may take everything over: `giving` is the side that runs, `taking` the other.
//!
//! An engine whose supervisor is gone drains and ends, as after TERM: nobody could replace it, and a successor would
//! share its ports. Under systemd the successor finds the listening sockets in the fd store.

pub(crate) mod binary;
pub(crate) mod connection;
pub(crate) mod engine_process;
pub(crate) mod listeners;
pub(crate) mod reexec;
pub(crate) mod restart;
pub(crate) mod systemd;
pub(crate) mod takeover;
pub(crate) mod upgrade;

mod children;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use binary::Binary;
use connection::{Connection, ConnectionId};
use engine_process::EngineProcess;
use listeners::Listeners;
use reexec::record::{Inheritance, State};
use restart::Restart;
use systemd::{Notify, say};
use takeover::predecessor::Caller;
use takeover::socket::{Found, TakeoverSocket, TakeoverSocketError};
use takeover::successor::Successor;
use upgrade::driver::RunningUpgrade;

use crate::fault;
use crate::handoff::control::{Control, Mode, Stop, StopMode};
use crate::sys::{process, resources};

/// `lb run --takeover`.
#[derive(Debug, Clone)]
pub(crate) struct Takeover {
    /// Where the predecessor is asked, and where a successor will ask.
    pub path: PathBuf,
    /// How long the new engine must serve before open sessions move to it.
    pub probation: Option<Duration>,
    /// Whether the end of one that was taken over waits for TERM or INT: for who starts anew whatever has ended.
    pub linger: bool,
}

/// What the supervisor knows.
struct Supervisor {
    /// What follows `run` on the command line; engines get the same.
    args: Vec<OsString>,
    /// What only the supervisor is to know of it.
    takeover: Option<Takeover>,
    signals: SignalFd,
    notify: Notify,
    binary: Rc<Binary>,
    /// 1 at the start, one more with each upgrade.
    generation: u64,
    /// When the daemon was started, by this supervisor or the one it has replaced.
    began: Instant,
    listeners: Listeners,
    /// The engine that serves, or shall.
    active: Option<EngineProcess>,
    /// Engines that were replaced and drain.
    draining: Vec<EngineProcess>,
    /// The upgrade that is running.
    conduct: Option<RunningUpgrade>,
    /// Where a supervisor that was started elsewhere may ask for everything.
    door: Option<TakeoverSocket>,
    door_closed_until: Option<Instant>,
    /// How long is waited before it is looked again whether the path is free.
    door_pause: Duration,
    /// Who has come through the door and not said yet what it wants.
    callers: Vec<Caller>,
    /// The supervisor that everything is being taken over from.
    taking: Option<Successor>,
    /// HANDOVER was sent, and nothing says that it has failed: the paths may be another one's.
    handed_over: bool,
    /// Everything was taken over by another one; what is left are engines that drain.
    retired: bool,
    restart: Restart,
    restart_at: Option<Instant>,
    /// READY was told to the service manager.
    ready_told: bool,
    stopping: bool,
    /// This process is to be replaced by `binary` as soon as nothing waits to be sent.
    replace_due: bool,
    /// Set once: the exit code.
    exit: Option<u8>,
}

/// Who a wake-up is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Probe,
    TakeoverSocket,
    /// An engine, a caller, or the predecessor.
    Connection(ConnectionId),
}

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    TakeoverSocket(#[from] TakeoverSocketError),
}

/// Runs `lb run` with the given arguments (what follows `run`). Returns the exit code.
pub(crate) fn run(args: Vec<OsString>, takeover: Option<Takeover>) -> u8 {
    match Supervisor::new(args, takeover) {
        Ok(mut supervisor) => supervisor.serve(),
        Err(error) => {
            say(error.to_string());
            match error {
                StartError::Io(_) => 1,
                StartError::TakeoverSocket(error) => error.exit().code(),
            }
        }
    }
}

impl Supervisor {
    fn new(args: Vec<OsString>, takeover: Option<Takeover>) -> Result<Self, StartError> {
        let now = Instant::now();
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2] {
            mask.add(signal);
        }
        // Blocked before the first child exists, so that no death goes unnoticed; signals that came while a
        // predecessor was replaced by this program are still pending.
        mask.thread_block().map_err(io::Error::from)?;
        let signals =
            SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(io::Error::from)?;
        process::set_name(c"lb")?;
        resources::raise_descriptor_limit();
        let inherited = env::var_os(engine_process::STATE_VARIABLE).map(|number| State::take_over(&number, now));
        let Inheritance { generation, age, binary, listeners, mut engines, ready_told, door } = match inherited {
            Some(state) => state?,
            None => Self::fresh()?,
        };
        let active = if engines.is_empty() { None } else { Some(engines.remove(0)) };
        let found = match (&takeover, door) {
            (Some(takeover), Some(door)) => {
                let door = TakeoverSocket::restore(takeover.path.clone(), door);
                Some(Found::Nobody(door))
            }
            (Some(takeover), None) => Some(TakeoverSocket::find(&takeover.path)?),
            (None, _) => None,
        };
        let (door, predecessor) = match found {
            Some(Found::Nobody(door)) => (Some(door), None),
            Some(Found::Somebody(socket)) => (None, Some(socket)),
            None => (None, None),
        };
        let mut supervisor = Self {
            args,
            takeover,
            signals,
            notify: Notify::new(now),
            binary,
            generation,
            began: now.checked_sub(age).unwrap_or(now),
            listeners,
            active,
            draining: engines,
            conduct: None,
            door,
            door_closed_until: None,
            door_pause: takeover::predecessor::AGAIN,
            callers: Vec::new(),
            taking: None,
            handed_over: false,
            retired: false,
            restart: Restart::default(),
            restart_at: None,
            ready_told,
            stopping: false,
            replace_due: false,
            exit: None,
        };
        if let Some(socket) = predecessor {
            supervisor.ask_for_everything(socket, now);
        } else if supervisor.active.is_none() {
            supervisor.start_engine(if ready_told { Mode::Restart } else { Mode::Fresh }, now);
        }
        Ok(supervisor)
    }

    fn fresh() -> io::Result<Inheritance> {
        let binary = Binary::own(binary::started_from()?).map_err(io::Error::other)?;
        let mut listeners = Listeners::default();
        listeners.pick_up(systemd::passed_sockets());
        let binary = Rc::new(binary);
        let age = Duration::ZERO;
        Ok(Inheritance { generation: 1, age, binary, listeners, engines: Vec::new(), ready_told: false, door: None })
    }

    fn serve(&mut self) -> u8 {
        loop {
            if let Some(code) = self.exit {
                if !self.handed_over {
                    self.listeners.unlink_admin();
                    self.door.iter().for_each(TakeoverSocket::unlink);
                }
                return code;
            }
            self.replace_if_due();
            let asleep = Instant::now();
            let timeout = self.sleep_limit(asleep);
            let sources = self.wait(timeout);
            self.on_standstill(asleep.elapsed().saturating_sub(timeout));
            for source in sources {
                match source {
                    Source::Signals => self.on_signals(),
                    Source::Probe => self.on_probe_output(),
                    Source::TakeoverSocket => self.on_door(),
                    Source::Connection(id) => self.on_line(id),
                }
            }
            self.on_time(Instant::now());
        }
    }

    /// How long it may sleep until something is due. In an upgrade never long: that it slept too long shows then that
    /// the machine stood still.
    fn sleep_limit(&self, now: Instant) -> Duration {
        let longest = if self.conduct.is_some() { Duration::from_millis(100) } else { Duration::from_secs(60) };
        let due = self.wake_at();
        // Rounded up: waking a moment early would only go round the loop again.
        let due = due.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
        due.map_or(longest, |due| due.min(longest))
    }

    /// Sleeps until something happens, at most for `timeout`.
    fn wait(&self, timeout: Duration) -> Vec<Source> {
        let mut sources = vec![Source::Signals];
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        for line in self.lines().filter(|line| !line.is_over()) {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, line.has_more());
            sources.push(Source::Connection(line.id()));
            polled.push(PollFd::new(line.socket(), flags));
        }
        if let Some(door) = self.open_door() {
            sources.push(Source::TakeoverSocket);
            polled.push(PollFd::new(door.as_fd(), PollFlags::POLLIN));
        }
        if let Some(output) = self.conduct.as_ref().and_then(RunningUpgrade::probe_output) {
            sources.push(Source::Probe);
            polled.push(PollFd::new(output, PollFlags::POLLIN));
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Ok(_) => {}
            // Nothing is lost by looking at everything.
            Err(_) => return sources,
        }
        let ready = polled.iter().map(|fd| fd.revents().is_none_or(|flags| !flags.is_empty()));
        sources.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(source, _)| source).collect()
    }

    fn engines(&self) -> impl Iterator<Item = &EngineProcess> {
        let candidate = self.conduct.as_ref().and_then(RunningUpgrade::candidate);
        self.active.iter().chain(candidate).chain(&self.draining)
    }

    fn lines(&self) -> impl Iterator<Item = &Connection> {
        let others = self.callers.iter().map(|caller| &caller.line);
        let predecessor = self.taking.iter().map(|taking| &taking.line);
        let engines = self.engines().map(EngineProcess::line);
        engines.chain(others).chain(predecessor)
    }

    fn on_line(&mut self, id: ConnectionId) {
        if self.taking.as_ref().is_some_and(|t| t.line.id() == id) {
            self.on_predecessor();
        } else if self.callers.iter().any(|caller| caller.line.id() == id) {
            self.on_caller(id);
        } else {
            self.on_engine(id);
        }
    }

    fn engine_mut(&mut self, id: ConnectionId) -> Option<&mut EngineProcess> {
        let candidate = self.conduct.as_mut().and_then(RunningUpgrade::candidate_mut);
        let mut engines = self.active.iter_mut().chain(candidate).chain(&mut self.draining);
        engines.find(|engine| engine.id() == id)
    }

    /// When something is due.
    fn wake_at(&self) -> Option<Instant> {
        let stops = self.engines().filter_map(|engine| engine.stop_by);
        let start = self.active.iter().filter(|e| e.serving_since.is_none()).map(|e| e.started + START_LIMIT);
        let upgrade = self.conduct.as_ref().map(RunningUpgrade::wake_at);
        stops
            .chain(start)
            .chain(upgrade)
            .chain(self.restart_at)
            .chain(self.door_wakes_at())
            .chain(self.taking.as_ref().map(|taking| taking.by))
            .chain(self.notify.wake_at())
            .min()
    }

    fn on_time(&mut self, now: Instant) {
        if self.restart_at.is_some_and(|at| now >= at) {
            self.restart_at = None;
            self.start_engine(Mode::Restart, now);
        }
        for engine in self.engines().filter(|engine| engine.stop_by.is_some_and(|by| now >= by)) {
            say(format!("engine {} has not ended in time; it is killed", engine.pid));
            engine.kill();
        }
        if let Some(engine) = &mut self.active
            && engine.serving_since.is_none()
            && engine.stop_by.is_none()
            && now >= engine.started + START_LIMIT
        {
            engine.stop_by = Some(now + KILL_GRACE);
            say(format!("engine {} does not get ready; it is killed", engine.pid));
            engine.kill();
        }
        // Killed once is enough: what remains is the exit.
        let late = |engine: &mut EngineProcess| {
            if engine.stop_by.is_some_and(|by| now >= by) {
                engine.stop_by = Some(now + KILL_GRACE);
            }
        };
        self.active.iter_mut().chain(&mut self.draining).for_each(late);
        self.on_upgrade_time(now);
        self.on_door_time(now);
        self.on_taking_time(now);
        let fresh =
            |engine: &EngineProcess| engine.serving_since.is_none() || now < engine.last_beat + WATCHDOG_SILENCE;
        let alive = self.active.as_ref().is_none_or(fresh);
        self.notify.ping(alive, now);
    }

    /// Starts an engine that is to serve.
    fn start_engine(&mut self, mode: Mode, now: Instant) {
        match EngineProcess::start(&self.binary, &self.args, mode, self.generation, now) {
            Ok(engine) => self.active = Some(engine),
            Err(error) => {
                say(format!("cannot start an engine: {error}"));
                if mode == Mode::Fresh {
                    self.exit = Some(1);
                } else {
                    self.restart_at = Some(now + self.restart.delay(Duration::ZERO));
                }
            }
        }
    }

    /// Tells everybody to stop. The exit follows when the last engine has ended.
    fn stop(&mut self, mode: StopMode, now: Instant) {
        self.stopping = true;
        self.restart_at = None;
        self.replace_due = false;
        self.notify.stopping("draining");
        self.listeners.close_traffic(&self.notify);
        for engine in self.active.iter_mut().chain(&mut self.draining) {
            // One that drains already was told; being told again means at once.
            if engine.stop_by.is_none() || mode == StopMode::Now {
                tell_to_stop(engine, mode, now);
            }
        }
        self.end_if_idle();
    }

    /// Nobody is to serve any more, and the last engine has ended. Who hands over waits for the answer.
    fn end_if_idle(&mut self) {
        let over = (self.stopping || self.retired) && !self.is_handed_over();
        if !over || self.active.is_some() || !self.draining.is_empty() {
            return;
        }
        let lingers = self.takeover.as_ref().is_some_and(|own| own.linger);
        if lingers && !self.stopping {
            say("taken over, nothing is left: waiting for TERM");
            self.notify.status("taken over, waiting for TERM");
        } else {
            self.exit.get_or_insert(0);
        }
    }
}

fn tell_to_stop(engine: &mut EngineProcess, mode: StopMode, now: Instant) {
    engine.send(&Control::Stop(Stop { mode }), vec![]);
    let limit = match mode {
        StopMode::Drain => engine.stop_limit,
        StopMode::Now => Duration::ZERO,
    };
    engine.stop_by = Some(now + limit + KILL_GRACE);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long an engine may take from its start to READY, outside of upgrades, which have their own limits.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long an engine may outlive its own limit before it is killed.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// A serving engine that was silent for so long is not reported alive to the watchdog.
const WATCHDOG_SILENCE: Duration = Duration::from_secs(5);
