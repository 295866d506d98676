//! Listening sockets: one a worker for each bind address, all in one SO_REUSEPORT group.
//!
//! The daemon keeps a duplicate of each, so that what waits in an accept queue outlives whoever accepts from it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::config;
use crate::proxy::worker::ListenerId;
use crate::sys::socket::{ListenOptions, Liveness, listen, local_addr, tune_listener};

/// The sockets of one bind address.
#[derive(Debug)]
pub(crate) struct Bound {
    /// As configured; the port may be 0.
    pub(crate) wanted: SocketAddr,
    /// As bound.
    pub(crate) addr: SocketAddr,
    /// One a worker, in the order of the workers.
    pub(crate) sockets: Vec<(ListenerId, OwnedFd)>,
}

/// Why a frontend cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("frontend {frontend}: cannot bind {addr}: {error}{}", remedy(.error))]
pub(crate) struct BindError {
    pub(crate) frontend: String,
    pub(crate) addr: SocketAddr,
    pub(crate) error: io::Error,
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another program listens there: ss -ltnp shows which)",
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE: run under the systemd unit, or setcap the binary)"
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this host has that address)",
        _ => "",
    }
}

impl Bound {
    /// Binds and listens once for each worker.
    pub(crate) fn new(
        frontend: &config::Frontend,
        wanted: SocketAddr,
        workers: usize,
        mut next_id: impl FnMut() -> ListenerId,
    ) -> Result<Self, BindError> {
        let fail = |addr| {
            move |error| BindError {
                frontend: frontend.name.clone(),
                addr,
                error,
            }
        };
        let options = options(frontend);
        let first = listen(wanted, &options).map_err(fail(wanted))?;
        // With port 0 the kernel chose one; the others of the group share it.
        let addr = local_addr(first.as_fd()).map_err(fail(wanted))?;
        let mut sockets = vec![(next_id(), first)];
        for _ in 1..workers {
            sockets.push((next_id(), listen(addr, &options).map_err(fail(addr))?));
        }
        Ok(Self {
            wanted,
            addr,
            sockets,
        })
    }

    /// Gives running listeners changed options.
    pub(crate) fn tune(&self, frontend: &config::Frontend) -> Result<(), BindError> {
        for (_, socket) in &self.sockets {
            tune_listener(socket.as_fd(), &options(frontend)).map_err(|error| BindError {
                frontend: frontend.name.clone(),
                addr: self.addr,
                error,
            })?;
        }
        Ok(())
    }
}

fn options(frontend: &config::Frontend) -> ListenOptions {
    ListenOptions {
        backlog: frontend.backlog,
        // The kernel stops waiting for the first bytes after about so long and hands the connection over as it is.
        defer_accept: frontend.defer_accept.then_some(Duration::from_secs(3)),
        v4v6: frontend.v4v6,
        // Sessions that last get their backend's own values later.
        liveness: Liveness::default(),
    }
}
