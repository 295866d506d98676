//! The sockets of one address: how the first is bound, and how the others join it.
//!
//! An address where another process listens is refused, unless `reuse_port` says otherwise: two that share a port would
//! each get some of the connections. So the first socket of an address begins to listen without SO_REUSEPORT, which the
//! kernel grants to one process only, also of two that start at the same time; the others join it afterwards.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{self, Bind, BindEntry, Liveness};
use crate::engine::listeners::listener_error::ListenerError;
use crate::sys::port_holder::{PortHolder, holders};
use crate::sys::socket::{ListenOptions, bind};

/// Where the first socket of an address comes from, which decides how the others join it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// Bound by this engine; `shared`: with SO_REUSEPORT from the start.
    New { shared: bool },
    /// From a previous engine.
    Inherited,
    /// From the parent of the supervisor: it is not only ours, and stays as it is.
    HandedDown,
    /// A unix socket: there is one, which all workers accept from.
    Unix,
}

impl Group {
    /// The first socket of an address.
    pub(super) fn first(
        frontend: &config::Frontend,
        wanted: &BindEntry,
        patience: Duration,
    ) -> Result<(Self, OwnedFd), ListenerError> {
        let fail = |error, holders: &[PortHolder]| ListenerError::new(frontend, wanted, error, holders);
        let (options, shared) = (options(wanted), frontend.reuse_port);
        let Bind::Address(addr) = wanted.bind else {
            let text = "no listening TCP socket was handed down by that number or name (LISTEN_FDS, LISTEN_FDNAMES)";
            return Err(fail(io::Error::other(text), &[]));
        };
        let end = Instant::now() + patience;
        loop {
            let error = match bind(addr, &options, shared) {
                Ok(socket) => return Ok((Self::New { shared }, socket)),
                Err(error) => error,
            };
            let holders = holders_after(&error, addr, &options);
            if are_own(&holders) {
                // An address of this engine, or of one that drains, meets this one: `0.0.0.0:80` and `127.0.0.1:80`.
                let bound = bind(addr, &options, true).map_err(|error| fail(error, &holders))?;
                return Ok((Self::New { shared: true }, bound));
            }
            if error.kind() != io::ErrorKind::AddrInUse || Instant::now() >= end {
                return Err(fail(error, &holders));
            }
            thread::sleep(PAUSE);
        }
    }

    /// A socket for a worker that has none yet: one more of the group, or where there can be none (the first one was
    /// handed down, or belongs to another user) a duplicate, so that the workers accept from the same queue.
    pub(super) fn further(
        self,
        first: &OwnedFd,
        addr: Option<SocketAddr>,
        options: &ListenOptions,
    ) -> io::Result<OwnedFd> {
        match (self, addr) {
            (Self::New { shared }, Some(addr)) => bind(addr, options, shared),
            (Self::Inherited, Some(addr)) => bind(addr, options, true).or_else(|_| first.try_clone()),
            _ => first.try_clone(),
        }
    }
}

pub(super) fn holders_after(error: &io::Error, addr: SocketAddr, options: &ListenOptions) -> Vec<PortHolder> {
    match error.kind() {
        io::ErrorKind::AddrInUse => holders(addr, options.v4v6),
        _ => Vec::new(),
    }
}

pub(super) fn are_own(holders: &[PortHolder]) -> bool {
    !holders.is_empty() && holders.iter().all(PortHolder::is_own)
}

pub(super) fn options(entry: &BindEntry) -> ListenOptions {
    ListenOptions {
        backlog: entry.backlog,
        // The kernel stops waiting for the first bytes after about so long and hands the connection over as it is.
        defer_accept: entry.defer_accept.then_some(Duration::from_secs(3)),
        v4v6: entry.v4v6,
        // Sessions that last get their backend's own values later.
        liveness: Liveness { user_timeout: entry.user_timeout, ..Liveness::default() },
        interface: entry.interface.clone(),
        tfo: entry.tfo,
    }
}

/// Between two looks at an address that another process has.
const PAUSE: Duration = Duration::from_millis(100);
