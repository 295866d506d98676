//! `haproxy -D`: the process that the operator has started waits until another one, which it starts, serves.
//!
//! That one is executed, not forked, and finds a pipe to this one in its environment: so no thread is lost on the way.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::ExitStatus;
use super::line::HaproxyLine;
use crate::handoff::channel::STARTER_VARIABLE;
use crate::supervisor::KeptConfig;
use crate::sys::process::{Program, leave_session, pidfd_open, spawn};
use crate::sys::{fd, process};

/// Whether this is the process that was started.
pub(super) fn is_started() -> bool {
    env::var_os(STARTER_VARIABLE).is_some()
}

/// Starts it and returns once it serves or has failed; it has printed why.
pub(super) fn start(arguments: Vec<OsString>, kept: Option<KeptConfig>) -> Result<ExitStatus, String> {
    let (ready, mut child) =
        launch(&arguments, kept.as_ref()).map_err(|error| format!("cannot start a daemon: {error}"))?;
    match serves(ready) {
        Ok(true) => Ok(ExitStatus::Done),
        Ok(false) => {
            // It may still be writing why.
            let ended = pidfd_open(child.id()).and_then(|ended| is_readable(&ended, LAST_WORDS));
            ended.map(|_| ExitStatus::Failed).map_err(|error| format!("cannot wait for the daemon: {error}"))
        }
        Err(error) => {
            // Its engine ends with it.
            child.kill().ok();
            Err(format!("the daemon does not serve: {error}"))
        }
    }
}

/// In the daemon: the pipe to the process that waits. It leaves the session of that one.
pub(super) fn starter(line: &HaproxyLine) -> io::Result<Option<File>> {
    let Some(number) = env::var_os(STARTER_VARIABLE).filter(|_| line.daemon) else {
        return Ok(None);
    };
    let number = number.to_str().and_then(|number| number.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let pipe = fd::inherit(number)?;
    leave_session()?;
    Ok(Some(pipe.into()))
}

fn launch(arguments: &[OsString], kept: Option<&KeptConfig>) -> io::Result<(PipeReader, Child)> {
    let (ready, starter) = io::pipe()?;
    let number = starter.as_raw_fd().to_string();
    let ours = [(STARTER_VARIABLE.into(), number.into())].into_iter().chain(kept.map(KeptConfig::variable));
    let env: Vec<_> = env::vars_os().chain(ours).collect();
    let fds: Vec<_> = [starter.as_fd()].into_iter().chain(kept.map(AsFd::as_fd)).collect();
    let own = process::own_program()?;
    let program = Program { binary: own.as_fd(), args: arguments, env: &env };
    let child = spawn(&program, &fds, Stdio::inherit(), Stdio::inherit())?;
    Ok((ready, child))
}

/// Waits until it has written that it serves, or has ended.
fn serves(mut ready: PipeReader) -> io::Result<bool> {
    if !is_readable(&ready, LIMIT)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(ready.read(&mut [0])? > 0)
}

fn is_readable(fd: impl AsFd, limit: Duration) -> io::Result<bool> {
    let limit = PollTimeout::try_from(limit).expect("some minutes fit");
    Ok(poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], limit)? > 0)
}

/// Longer than a start and a takeover may take.
const LIMIT: Duration = Duration::from_secs(180);
/// From its decision to end until its end.
const LAST_WORDS: Duration = Duration::from_secs(10);
