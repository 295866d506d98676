//! Engine: one engine as the supervisor sees it: a child process, or in a takeover the child of another supervisor, which
//! passes on what the two say to each other.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::handoff::channel::{CONTROL_VARIABLE, ChannelError, Delivery};
use crate::handoff::control::{Control, Heartbeat, Hello, Mode, ProcessKind};
use crate::handoff::features;
use crate::supervisor::binary::Binary;
use crate::supervisor::connection::{Connection, ConnectionId};
use crate::sys::{fd, process};

/// In a supervisor's environment: the number of the record that its predecessor has left.
pub(crate) const STATE_VARIABLE: &str = "LB_SUPERVISOR_FD";

/// A running engine.
#[derive(Debug)]
pub(crate) struct EngineProcess {
    pub pid: u32,
    /// Why it was started.
    pub mode: Mode,
    pub generation: u64,
    /// When it said READY.
    pub serving_since: Option<Instant>,
    /// What it says when it is told to stop: how long that may take.
    pub stop_limit: Duration,
    /// Listeners announced and START sent.
    pub introduced: bool,
    /// It was told to stop; then, or when it must be gone.
    pub stop_by: Option<Instant>,
    pub started: Instant,
    pub last_beat: Instant,
    pub beat: Option<Heartbeat>,
    line: Connection,
    /// Whose child it is.
    kin: Parent,
}

/// Whose child an engine is.
#[derive(Debug)]
enum Parent {
    Own,
    /// Of another supervisor, which is at the end of the line. Its pidfd, once it was started.
    Foreign(Option<OwnedFd>),
}

/// What an engine is at the moment its supervisor is replaced.
#[derive(Debug)]
pub(crate) struct Restored {
    pub pid: u32,
    pub mode: Mode,
    pub generation: u64,
    pub serving: bool,
    pub stop_limit: Duration,
    pub stop_left: Option<Duration>,
    pub sent: u32,
    pub received: u32,
}

impl EngineProcess {
    /// Starts the binary as an engine and says HELLO.
    pub(crate) fn start(
        binary: &Binary,
        args: &[OsString],
        mode: Mode,
        generation: u64,
        now: Instant,
    ) -> Result<Self, ChannelError> {
        let (ours, theirs) = fd::seqpacket_pair()?;
        let mut env = child_env();
        env.push((CONTROL_VARIABLE.into(), theirs.as_raw_fd().to_string().into()));
        let args = binary.command_line(["engine".into()].into_iter().chain(args.iter().cloned()));
        let program = process::Program { binary: binary.as_fd(), args: &args, env: &env };
        let child = process::spawn(&program, Some(theirs.as_fd()), Stdio::inherit(), Stdio::inherit())?;
        let restored = Restored {
            pid: child.id(),
            mode,
            generation,
            serving: false,
            stop_limit: Duration::ZERO,
            stop_left: None,
            sent: 0,
            received: 0,
        };
        let mut engine = Self::restore(restored, ours, now);
        engine.send(&Control::Hello(hello()), vec![]);
        Ok(engine)
    }

    /// An engine that runs: one just started, or one that was before this supervisor replaced its predecessor.
    pub(crate) fn restore(state: Restored, socket: OwnedFd, now: Instant) -> Self {
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
            line: Connection::restore(socket, state.sent, state.received),
            kin: Parent::Own,
        }
    }

    /// An engine that another supervisor, at the end of this line, is about to start.
    pub(crate) fn foreign(line: Connection, generation: u64, now: Instant) -> Self {
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
            line,
            kin: Parent::Foreign(None),
        }
    }

    /// It was started, under this pid of its own namespace.
    pub(crate) fn is_born(&mut self, pid: u32, pidfd: OwnedFd) {
        if self.is_foreign() {
            self.pid = pid;
            self.kin = Parent::Foreign(Some(pidfd));
        }
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.kin, Parent::Foreign(_))
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.line.id()
    }

    /// What to keep of it across the supervisor's replacement. Nothing may be waiting to be sent.
    pub(crate) fn suspend(&self, now: Instant) -> Restored {
        let (sent, received) = self.line.positions();
        Restored {
            pid: self.pid,
            mode: self.mode,
            generation: self.generation,
            serving: self.serving_since.is_some(),
            stop_limit: self.stop_limit,
            stop_left: self.stop_by.map(|by| by.saturating_duration_since(now)),
            sent,
            received,
        }
    }

    /// Queues and sends. A connection that fails is over: the process is killed, and its exit says the rest.
    pub(crate) fn send(&mut self, message: &Control, fds: Vec<Arc<OwnedFd>>) {
        if let Err(error) = self.line.send(message, fds) {
            self.give_up(&error);
        }
    }

    /// The last word, heard even over a line that was given up: on a line that ends without one, the supervisor of a
    /// foreign engine could only guess whether this one is dead.
    pub(crate) fn send_last(&mut self, message: &Control) {
        self.line.send_last(message);
    }

    /// Sends what could not be sent before.
    pub(crate) fn flush(&mut self) {
        if let Err(error) = self.line.flush() {
            self.give_up(&error);
        }
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_more(&self) -> bool {
        self.line.has_more()
    }

    /// Whether there is still something to hear.
    pub(crate) fn listens(&self) -> bool {
        !self.line.is_over()
    }

    /// The next message, if one has come. A message that cannot be understood is the last one.
    pub(crate) fn receive(&mut self) -> Option<Delivery<Control>> {
        match self.line.receive() {
            Ok(message) => message,
            Err(error) => {
                self.give_up(&error);
                None
            }
        }
    }

    /// SIGKILL. It is a child that was not waited for yet, so the pid cannot be anyone else's. A foreign engine can only be
    /// given up by ABORT, which its own supervisor kills it for.
    pub(crate) fn kill(&self) {
        if self.is_foreign() {
            return;
        }
        match kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL) {
            Ok(()) | Err(_) => {}
        }
    }

    /// A pidfd, for the other engine of an upgrade: proof of death that does not go through us.
    pub(crate) fn pidfd(&self) -> io::Result<OwnedFd> {
        match &self.kin {
            Parent::Own => process::pidfd_open(self.pid),
            Parent::Foreign(Some(pidfd)) => pidfd.try_clone(),
            Parent::Foreign(None) => Err(io::Error::other("it was not started yet")),
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.line.socket()
    }

    pub(crate) fn line(&self) -> &Connection {
        &self.line
    }

    fn give_up(&self, error: &ChannelError) {
        if error.is_closed() {
            return;
        }
        let pid = self.pid;
        if self.is_foreign() {
            crate::supervisor::systemd::say(format!("takeover: the line to engine {pid}: {error}"));
        } else {
            crate::supervisor::systemd::say(format!("engine {pid}: {error}; it is killed"));
            self.kill();
        }
    }
}

/// What a supervisor says first.
pub(crate) fn hello() -> Hello {
    Hello {
        role: ProcessKind::Supervisor,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        offers: features::offers(),
    }
}

/// The environment for children: ours without what is between us and whoever started us.
pub(crate) fn child_env() -> Vec<(OsString, OsString)> {
    const OURS: [&str; 9] = [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "LISTEN_PIDFDID",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        CONTROL_VARIABLE,
        STATE_VARIABLE,
    ];
    env::vars_os().filter(|(name, _)| !OURS.iter().any(|ours| name == ours)).collect()
}
