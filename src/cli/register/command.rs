//! COMMAND, and the signals that reach this process.

use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::select;
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::time::timeout;

use crate::sys::{process, signals};

/// COMMAND, or the lack of one.
#[derive(Debug)]
pub(super) struct Running {
    child: Option<Child>,
}

/// COMMAND could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {program}: {source}")]
pub(super) struct SpawnError {
    program: String,
    source: io::Error,
}

impl SpawnError {
    /// As a shell's: 127 not found, 126 not executable.
    pub(super) fn exit_code(&self) -> u8 {
        if self.source.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
    }
}

impl Running {
    /// Starts COMMAND; an empty line means none, which never ends by itself.
    pub(super) fn start(line: &[String]) -> Result<Self, SpawnError> {
        let Some((program, arguments)) = line.split_first() else {
            return Ok(Self { child: None });
        };
        let mut command = Command::new(program);
        process::unblock_signals(command.args(arguments).as_std_mut());
        let child = command.spawn().map_err(|source| SpawnError { program: program.clone(), source })?;
        Ok(Self { child: Some(child) })
    }

    pub(super) fn is_command(&self) -> bool {
        self.child.is_some()
    }

    /// Waits for COMMAND's end; returns its exit code. Cancel safety: may be called again.
    pub(super) async fn ended(&mut self) -> u8 {
        match &mut self.child {
            Some(child) => child.wait().await.map_or(UNKNOWN, code_of),
            None => pending().await,
        }
    }

    /// Passes a signal to COMMAND, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(Child::id);
        if let Some(pid) = pid {
            kill(Pid::from_raw(pid.cast_signed()), signal).ok();
        }
    }

    /// Signals COMMAND, and kills it after `kill_after`. Returns its exit code; 0 without COMMAND.
    pub(super) async fn stop(&mut self, signal: Signal, kill_after: Duration) -> u8 {
        if !self.is_command() {
            return 0;
        }
        self.signal(signal);
        if let Ok(code) = timeout(kill_after, self.ended()).await {
            return code;
        }
        self.signal(Signal::SIGKILL);
        self.ended().await
    }
}

/// The exit code, or 128 and the signal that killed it.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(UNKNOWN)
}

/// The signals with a meaning here, and as PID 1 the deaths of orphans.
#[derive(Debug)]
pub(super) struct Signals {
    stops: [unix::Signal; 3],
    passed: [unix::Signal; 3],
    children: unix::Signal,
    /// The pid of COMMAND.
    command: Option<u32>,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        signals::begin(&OPEN)?;
        let kind = |number: Signal| signal(SignalKind::from_raw(number as i32));
        let stops = [kind(Signal::SIGTERM)?, kind(Signal::SIGINT)?, kind(Signal::SIGQUIT)?];
        let passed = [kind(Signal::SIGHUP)?, kind(Signal::SIGUSR1)?, kind(Signal::SIGUSR2)?];
        let children = kind(Signal::SIGCHLD)?;
        Ok(Self { stops, passed, children, command: None })
    }

    /// Excludes COMMAND from the orphans that are reaped.
    pub(super) fn spare(&mut self, running: &Running) {
        self.command = running.child.as_ref().and_then(Child::id);
    }

    /// The next signal. Cancel safety: none is lost.
    pub(super) async fn next(&mut self) -> Signal {
        let [term, int, quit] = &mut self.stops;
        let [hup, usr1, usr2] = &mut self.passed;
        loop {
            select! {
                _ = term.recv() => return Signal::SIGTERM,
                _ = int.recv() => return Signal::SIGINT,
                _ = quit.recv() => return Signal::SIGQUIT,
                _ = hup.recv() => return Signal::SIGHUP,
                _ = usr1.recv() => return Signal::SIGUSR1,
                _ = usr2.recv() => return Signal::SIGUSR2,
                _ = self.children.recv() => reap_orphans(self.command),
            }
        }
    }
}

/// PID 1 of a container inherits all orphans. COMMAND itself is left to [`Running::ended`].
fn reap_orphans(command: Option<u32>) {
    if std::process::id() != 1 {
        return;
    }
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) = waitid(Id::All, peek) {
        let is_command = command == Some(pid.as_raw().cast_unsigned());
        if is_command || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}

/// What is handled here, and what a terminal uses to suspend this process and COMMAND. Others have no effect.
const OPEN: [Signal; 11] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];
/// The exit code when the kernel reports none.
const UNKNOWN: u8 = 255;
