//! Reexec: the supervisor becomes the program that its engine runs already, by `execve`: same pid, same children, same
//! descriptors (`record`).

pub(crate) mod record;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use crate::handoff::channel::{CONFIG_VARIABLE, STARTER_VARIABLE, STATE_VARIABLE};
use crate::log::voice;
use crate::supervisor::engine_process::LOST_VARIABLE;
use crate::supervisor::options::KeptConfig;
use crate::supervisor::reexec::record::SupervisorRecord;
use crate::supervisor::service::Service;
use crate::supervisor::takeover::socket::TakeoverSocket;
use crate::sys::{fd, process};

/// Replaces this program by `service.binary`. Returns only if that failed; the service then continues unchanged. No message
/// may be queued.
pub(crate) fn replace(service: &Service) -> io::Error {
    if service.engines.active.is_none() {
        return io::Error::other("no engine serves");
    }
    let record = match SupervisorRecord::of(service, Instant::now()).write() {
        Ok(record) => record,
        Err(error) => return error,
    };
    let inherited = inherited(service, record.as_fd());
    let set_inheritable = |yes: bool| inherited.iter().try_for_each(|fd| fd::set_inheritable(*fd, yes));
    if let Err(error) = set_inheritable(true) {
        return error;
    }
    let mut env: Vec<_> = env::vars_os().filter(|(name, _)| !is_dropped(name)).collect();
    env.extend(service.options.config.as_ref().map(KeptConfig::variable));
    env.push((STATE_VARIABLE.into(), record.as_raw_fd().to_string().into()));
    service.manager.finish();
    voice::flush();
    match voice::unsaid_lines() {
        0 => {}
        lines => env.push((LOST_VARIABLE.into(), lines.to_string().into())),
    }
    let args = service.binary.command_line(service.options.words());
    let program = process::Program { binary: service.binary.as_fd(), args: &args, env: &env };
    let error = process::replace(&program);
    match set_inheritable(false) {
        // If that fails, too, children inherit duplicates that they do not use; the service continues.
        Ok(()) | Err(_) => error,
    }
}

/// Every descriptor that the record names, and its own.
fn inherited<'a>(service: &'a Service, record: BorrowedFd<'a>) -> Vec<BorrowedFd<'a>> {
    let listeners = service.listeners.iter().map(|held| held.socket.as_fd());
    let engines = service.engines.iter().map(|engine| engine.socket());
    let takeover_socket = service.predecessor.socket().map(TakeoverSocket::as_fd);
    let config = service.options.config.iter().map(AsFd::as_fd);
    listeners.chain(engines).chain(takeover_socket).chain(config).chain([service.binary.as_fd(), record]).collect()
}

/// NOTIFY_SOCKET and WATCHDOG_* stay: the pid is the same. The sockets of LISTEN_FDS were taken at the first start.
fn is_dropped(name: &OsString) -> bool {
    [STATE_VARIABLE, CONFIG_VARIABLE, STARTER_VARIABLE, LOST_VARIABLE, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]
        .iter()
        .any(|dropped| name == dropped)
}
