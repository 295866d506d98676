//! Replace: the supervisor becomes the binary that its engine runs already, by `execve`: same pid, same children, same
//! descriptors (`state`).

pub(crate) mod record;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use crate::supervisor::engine_process;
use crate::supervisor::engine_process::EngineProcess;
use crate::supervisor::reexec::record::State;
use crate::supervisor::systemd::say;
use crate::supervisor::takeover::socket::TakeoverSocket;
use crate::supervisor::{Supervisor, Takeover, fault, millis};
use crate::sys::process;

impl Supervisor {
    /// Becomes the binary that the engine runs: same pid, same children, same descriptors.
    pub(super) fn replace_if_due(&mut self) {
        let waiting = self.conduct.is_some() || !self.callers.is_empty() || self.engines().any(EngineProcess::has_more);
        if !self.replace_due || waiting {
            return;
        }
        self.replace_due = false;
        fault::point("supervisor.replace");
        let error = self.replace();
        say(format!("the supervisor stays the old binary: {error}"));
    }

    fn replace(&self) -> io::Error {
        let now = Instant::now();
        let Some(active) = &self.active else {
            return io::Error::other("no engine serves");
        };
        let engines: Vec<_> = std::iter::once(active).chain(&self.draining).collect();
        let mut state = State::of(&self.binary, &self.listeners, &engines, now);
        state.generation = self.generation;
        state.age_ms = millis(self.began.elapsed());
        state.ready_told = self.ready_told;
        let number = |door: &TakeoverSocket| door.as_fd().as_raw_fd().cast_unsigned();
        state.door = self.door.as_ref().map(number);
        let record = match state.write() {
            Ok(record) => record,
            Err(error) => return error,
        };
        let listeners = self.listeners.iter().map(|held| held.socket.as_fd());
        let sockets = engines.iter().map(|engine| engine.socket());
        let inherited: Vec<_> = listeners
            .chain(sockets)
            .chain(self.door.iter().map(TakeoverSocket::as_fd))
            .chain([self.binary.as_fd(), record.as_fd()])
            .collect();
        let inheritable = |yes: bool| inherited.iter().try_for_each(|fd| crate::sys::fd::set_inheritable(*fd, yes));
        if let Err(error) = inheritable(true) {
            return error;
        }
        let mut env: Vec<_> = env::vars_os().filter(|(name, _)| !not_for_successor(name)).collect();
        let number = record.as_raw_fd().to_string();
        env.push((engine_process::STATE_VARIABLE.into(), number.into()));
        let own = self.takeover.iter().flat_map(Takeover::words);
        let own = ["run".into()].into_iter().chain(own);
        let args = self.binary.command_line(own.chain(self.args.iter().cloned()));
        let program = process::Program { binary: self.binary.as_fd(), args: &args, env: &env };
        let error = process::replace(&program);
        match inheritable(false) {
            // If that fails, too, children inherit duplicates of which they know nothing; the service goes on.
            Ok(()) | Err(_) => error,
        }
    }
}

impl Takeover {
    /// As it is written on a command line.
    fn words(&self) -> Vec<OsString> {
        let mut words = vec!["--takeover".into(), self.path.clone().into()];
        if let Some(probation) = self.probation {
            let probation = format!("{}ms", probation.as_millis());
            words.extend(["--probation".into(), probation.into()]);
        }
        if self.linger {
            words.push("--linger".into());
        }
        words
    }
}

/// NOTIFY_SOCKET and WATCHDOG stay: the successor has the same pid. Sockets were taken from LISTEN_FDS long ago.
fn not_for_successor(name: &OsString) -> bool {
    [engine_process::STATE_VARIABLE, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"].iter().any(|other| name == other)
}
