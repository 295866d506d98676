//! Listening sockets: one a worker for each bind address, all in one SO_REUSEPORT group.
//!
//! The engine keeps a duplicate of each, and the supervisor another, so that the connections in an accept queue outlive
//! the process that accepts from it. Sockets of a previous engine are taken over with their queues; a group may then have
//! more of them than there are workers, and none is ever closed for that.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::config;
use crate::engine::listeners::inherited::InheritedListener;
use crate::handoff::control::{Listener, ListenerKind};
use crate::proxy::worker::ListenerId;
use crate::sys::fd;
use crate::sys::socket::{ListenOptions, bind, listen, local_addr};

/// The sockets of one bind address.
#[derive(Debug)]
pub(crate) struct Bound {
    /// As configured; the port may be 0.
    pub(crate) wanted: SocketAddr,
    /// As bound.
    pub(crate) addr: SocketAddr,
    /// At least one a worker; the n-th belongs to worker n modulo their number.
    pub(crate) sockets: Vec<ListenerSlot>,
}

/// One listening socket.
#[derive(Debug)]
pub(crate) struct ListenerSlot {
    pub(crate) id: ListenerId,
    pub(crate) socket: OwnedFd,
    /// SO_COOKIE: identifies it to the supervisor and to other engines.
    pub(crate) cookie: u64,
    /// Another engine accepts from it.
    pub(crate) parked: bool,
}

/// Why a frontend cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("frontend {frontend}: cannot bind {addr}: {error}{}", remedy(.error))]
pub(crate) struct ListenerError {
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
    /// Takes over what there is, then binds until each worker has a socket. New ones get no connection before
    /// [`Bound::listen`]: should another address fail, none is lost with them.
    pub(crate) fn new(
        frontend: &config::Frontend,
        wanted: SocketAddr,
        inherited: Vec<InheritedListener>,
        workers: usize,
        mut next_id: impl FnMut() -> ListenerId,
    ) -> Result<Self, ListenerError> {
        let fail = |addr| move |error| ListenerError { frontend: frontend.name.clone(), addr, error };
        let options = options(frontend);
        let mut sockets: Vec<OwnedFd> = inherited.into_iter().map(|held| held.socket).collect();
        if sockets.is_empty() {
            sockets.push(bind(wanted, &options).map_err(fail(wanted))?);
        }
        // With port 0 the kernel chose one; the others of the group share it.
        let addr = local_addr(sockets[0].as_fd()).map_err(fail(wanted))?;
        while sockets.len() < workers {
            sockets.push(bind(addr, &options).map_err(fail(addr))?);
        }
        let slot = |socket: OwnedFd| {
            let cookie = fd::cookie(socket.as_fd())?;
            Ok(ListenerSlot { id: next_id(), socket, cookie, parked: false })
        };
        let sockets = sockets.into_iter().map(slot).collect::<io::Result<_>>().map_err(fail(addr))?;
        Ok(Self { wanted, addr, sockets })
    }

    /// The sockets as the supervisor lists them.
    pub(crate) fn described(&self, frontend: &str) -> impl Iterator<Item = (Listener, &OwnedFd)> {
        (0..).zip(&self.sockets).map(move |(worker, slot)| {
            let listener = Listener {
                kind: ListenerKind::Traffic,
                frontend: frontend.to_owned(),
                bind: self.wanted.to_string(),
                worker,
                address: self.addr.to_string(),
                cookie: slot.cookie,
            };
            (listener, &slot.socket)
        })
    }

    /// Listens, with these options; running listeners are given changed ones.
    pub(crate) fn listen(&self, frontend: &config::Frontend) -> Result<(), ListenerError> {
        for slot in &self.sockets {
            listen(slot.socket.as_fd(), &options(frontend)).map_err(|error| ListenerError {
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
        liveness: config::Liveness::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn bound(wanted: SocketAddr, frontend: &config::Frontend) -> Bound {
        let mut ids = 0..;
        let next_id = || ListenerId(ids.next().unwrap());
        Bound::new(frontend, wanted, Vec::new(), 2, next_id).unwrap()
    }

    fn waiting(bound: &Bound) -> u32 {
        let queue = |slot: &ListenerSlot| fd::accept_queue(slot.socket.as_fd()).unwrap().0;
        bound.sockets.iter().map(queue).sum()
    }

    #[test]
    fn connections_come_only_to_addresses_that_listen() {
        let frontend = config::Frontend::new("web", Vec::new(), "app");
        let old = bound(([127, 0, 0, 1], 0).into(), &frontend);
        old.listen(&frontend).unwrap();
        // Bound for a reload that may still be refused.
        let new = bound(old.addr, &frontend);
        let clients: Vec<_> = (0..16).map(|_| TcpStream::connect(old.addr).unwrap()).collect();
        assert_eq!(waiting(&old), 16);
        new.listen(&frontend).unwrap();
        drop(clients);
    }

    #[test]
    fn a_running_listener_takes_a_changed_backlog() {
        let mut frontend = config::Frontend::new("web", Vec::new(), "app");
        frontend.backlog = 7;
        let bound = bound(([127, 0, 0, 1], 0).into(), &frontend);
        for backlog in [7, 9] {
            frontend.backlog = backlog;
            bound.listen(&frontend).unwrap();
            for slot in &bound.sockets {
                assert_eq!(fd::accept_queue(slot.socket.as_fd()).unwrap().1, backlog);
            }
        }
    }
}
