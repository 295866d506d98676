//! Engine: one child process as the supervisor sees it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::binary::Binary;
use crate::lifecycle::channel::{ChannelError, Inbox, Outbox, Received};
use crate::lifecycle::message::{Control, Heartbeat, Hello, Mode, Role};
use crate::lifecycle::version;
use crate::sys::{fd, process};

/// In an engine's environment: the number of its control socket.
pub const CONTROL_VARIABLE: &str = "LB_CONTROL_FD";

/// In a supervisor's environment: the number of the record that its predecessor has left.
pub const STATE_VARIABLE: &str = "LB_SUPERVISOR_FD";

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    pub pid: u32,
    /// Why it was started.
    pub mode: Mode,
    pub generation: u64,
    pub binary: Rc<Binary>,
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
    socket: Arc<OwnedFd>,
    inbox: Inbox<Control>,
    outbox: Outbox,
    /// The connection is over; what is left is to wait for the exit.
    deaf: bool,
}

/// What an engine is at the moment its supervisor is replaced.
#[derive(Debug)]
pub struct Restored {
    pub pid: u32,
    pub mode: Mode,
    pub generation: u64,
    pub serving: bool,
    pub stop_limit: Duration,
    pub stop_left: Option<Duration>,
    pub sent: u32,
    pub received: u32,
}

impl Engine {
    /// Starts the binary as an engine and says HELLO.
    pub fn start(
        binary: &Rc<Binary>,
        args: &[OsString],
        mode: Mode,
        generation: u64,
        now: Instant,
    ) -> Result<Self, ChannelError> {
        let (ours, theirs) = fd::seqpacket_pair()?;
        let mut env = child_env();
        env.push((
            CONTROL_VARIABLE.into(),
            theirs.as_raw_fd().to_string().into(),
        ));
        let args = binary.command_line(["engine".into()].into_iter().chain(args.iter().cloned()));
        let program = process::Program {
            binary: binary.as_fd(),
            args: &args,
            env: &env,
        };
        let child = process::spawn(
            &program,
            Some(theirs.as_fd()),
            Stdio::inherit(),
            Stdio::inherit(),
        )?;
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
        let mut engine = Self::restore(restored, binary, ours, now);
        engine.send(&Control::Hello(hello()), vec![]);
        Ok(engine)
    }

    /// An engine that another supervisor, this one's predecessor, has started.
    pub fn restore(state: Restored, binary: &Rc<Binary>, socket: OwnedFd, now: Instant) -> Self {
        Self {
            pid: state.pid,
            mode: state.mode,
            generation: state.generation,
            binary: Rc::clone(binary),
            serving_since: state.serving.then_some(now),
            stop_limit: state.stop_limit,
            introduced: state.serving,
            stop_by: state.stop_left.map(|left| now + left),
            started: now,
            last_beat: now,
            beat: None,
            socket: Arc::new(socket),
            inbox: Inbox::new(state.received),
            outbox: Outbox::new(state.sent),
            deaf: false,
        }
    }

    /// What to keep of it across the supervisor's replacement. Nothing may be waiting to be sent.
    pub fn suspend(&self, now: Instant) -> Restored {
        Restored {
            pid: self.pid,
            mode: self.mode,
            generation: self.generation,
            serving: self.serving_since.is_some(),
            stop_limit: self.stop_limit,
            stop_left: self.stop_by.map(|by| by.saturating_duration_since(now)),
            sent: self.outbox.sequence(),
            received: self.inbox.sequence(),
        }
    }

    /// Queues and sends. A connection that fails is over: the process is killed, and its exit says the rest.
    pub fn send(&mut self, message: &Control, fds: Vec<Arc<OwnedFd>>) {
        if self.deaf {
            return;
        }
        let result = self
            .outbox
            .push(message, fds)
            .and_then(|()| self.outbox.flush(self.socket.as_fd()));
        if let Err(error) = result {
            self.give_up(&error);
        }
    }

    /// Sends what could not be sent before.
    pub fn flush(&mut self) {
        if let Err(error) = self.outbox.flush(self.socket.as_fd())
            && !self.deaf
        {
            self.give_up(&error);
        }
    }

    /// Whether something waits to be sent.
    pub fn has_more(&self) -> bool {
        !self.outbox.is_empty() && !self.deaf
    }

    /// Whether there is still something to hear.
    pub fn listens(&self) -> bool {
        !self.deaf
    }

    /// The next message, if one has come. A message that cannot be understood is the last one.
    pub fn receive(&mut self) -> Option<Received<Control>> {
        if self.deaf {
            return None;
        }
        match self.inbox.receive(self.socket.as_fd()) {
            Ok(message) => message,
            Err(error) => {
                self.give_up(&error);
                None
            }
        }
    }

    /// SIGKILL. It is a child that was not waited for yet, so the pid cannot be anyone else's.
    pub fn kill(&self) {
        match kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL) {
            Ok(()) | Err(_) => {}
        }
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn give_up(&mut self, error: &ChannelError) {
        self.deaf = true;
        if !error.is_closed() {
            super::notify::say(format!("engine {}: {error}; it is killed", self.pid));
            self.kill();
        }
    }
}

/// What this supervisor says first.
fn hello() -> Hello {
    Hello {
        role: Role::Supervisor,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        offers: version::offers(),
    }
}

/// The environment for children: ours without what is between us and whoever started us.
pub fn child_env() -> Vec<(OsString, OsString)> {
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
    env::vars_os()
        .filter(|(name, _)| !OURS.iter().any(|ours| name == ours))
        .collect()
}

impl Engine {
    /// A pidfd, for the other engine of an upgrade: proof of death that does not go through us.
    pub fn pidfd(&self) -> io::Result<OwnedFd> {
        process::pidfd_open(self.pid)
    }
}
