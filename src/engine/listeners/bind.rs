//! Listening sockets: one a worker for each bind address, all in one SO_REUSEPORT group.
//!
//! The engine keeps a duplicate of each, and the supervisor another, so that the connections in an accept queue outlive
//! the process that accepts from it. Sockets of a previous engine are taken over with their queues; a group may then have
//! more of them than there are workers, and none is ever closed for that.
//!
//! An address where another process listens is refused, unless `reuse_port` says otherwise: two that share a port would
//! each get some of the connections. So the first socket of an address begins to listen without SO_REUSEPORT, which the
//! kernel grants to one process only, also of two that start at the same time; the others join it afterwards.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use socket2::SockRef;

use crate::config::{self, Bind, BindEntry, Entrance, Liveness};
use crate::engine::listeners::inherited::InheritedListener;
use crate::handoff::control::{Listener, ListenerKind};
use crate::proxy::gate::Gate;
use crate::proxy::worker::ListenerId;
use crate::sys::fd;
use crate::sys::port_holder::{PortHolder, holders};
use crate::sys::socket::{ListenOptions, bind, listen, local_addr, share};

/// The sockets of one bind address.
#[derive(Debug)]
pub(crate) struct Bound {
    /// As configured, with the options in force; the port may be 0.
    pub(crate) gate: Arc<Gate>,
    /// As bound.
    pub(crate) addr: SocketAddr,
    /// At least one a worker; the n-th belongs to worker n modulo their number.
    pub(crate) sockets: Vec<ListenerSlot>,
    group: Group,
}

/// Where the first socket of an address comes from, which decides how the others join it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// Bound by this engine; `shared`: with SO_REUSEPORT from the start.
    New { shared: bool },
    /// From a previous engine.
    Inherited,
    /// From the parent of the supervisor: it is not only ours, and stays as it is.
    HandedDown,
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
#[error("frontend {frontend}: cannot bind {bind}: {error}{remedy}")]
pub(crate) struct ListenerError {
    frontend: String,
    bind: String,
    error: io::Error,
    remedy: String,
}

impl ListenerError {
    fn new(frontend: &config::Frontend, bind: &BindEntry, error: io::Error, holders: &[PortHolder]) -> Self {
        let remedy = match (holders, error.kind()) {
            ([holder, ..], _) if frontend.reuse_port => {
                format!(": {holder}; stop it, or let it set SO_REUSEPORT too and run as the same user")
            }
            ([holder, ..], _) => {
                let takeover = if holder.is_lb() { " take over from it with --takeover," } else { "" };
                format!(": {holder}; stop it,{takeover} or share with `reuse_port = true`")
            }
            ([], io::ErrorKind::AddrInUse) => " (another program listens there: ss -ltnp shows which)".to_owned(),
            ([], _) if bind.interface.is_some() && error.raw_os_error() == Some(libc::ENODEV) => {
                " (this host has no interface of that name: ip link)".to_owned()
            }
            ([], io::ErrorKind::PermissionDenied) => " (ports below 1024 need CAP_NET_BIND_SERVICE: run under the \
                systemd unit, or setcap the binary)"
                .to_owned(),
            ([], io::ErrorKind::AddrNotAvailable) => " (no interface of this host has that address)".to_owned(),
            ([], _) => String::new(),
        };
        Self { frontend: frontend.name.clone(), bind: bind.to_string(), error, remedy }
    }
}

impl Bound {
    /// Takes over what there is, then binds until each worker has a socket. New ones get no connection before
    /// [`Bound::listen`]: should another address fail, none is lost with them. `patience`: how long to wait for another
    /// process that is about to leave the address.
    pub(crate) fn new(
        frontend: &config::Frontend,
        wanted: &BindEntry,
        inherited: Vec<InheritedListener>,
        workers: usize,
        patience: Duration,
        mut next_id: impl FnMut() -> ListenerId,
    ) -> Result<Self, ListenerError> {
        let fail = |error| ListenerError::new(frontend, wanted, error, &[]);
        let (group, mut sockets) = match inherited.first() {
            None => bind_first(frontend, wanted, patience).map(|(group, first)| (group, vec![first]))?,
            Some(held) => {
                let group = if held.is_handed_down() { Group::HandedDown } else { Group::Inherited };
                (group, inherited.into_iter().map(|held| held.socket).collect::<Vec<_>>())
            }
        };
        // With port 0 the kernel chose one; the others of the group share it.
        let addr = local_addr(sockets[0].as_fd()).map_err(fail)?;
        while sockets.len() < workers {
            sockets.push(group.further(&sockets[0], addr, &options(wanted)).map_err(fail)?);
        }
        let slot = |socket: OwnedFd| {
            let cookie = fd::cookie(socket.as_fd())?;
            Ok(ListenerSlot { id: next_id(), socket, cookie, parked: false })
        };
        let sockets = sockets.into_iter().map(slot).collect::<io::Result<_>>().map_err(fail)?;
        Ok(Self { gate: Gate::new(wanted.clone()), addr, sockets, group })
    }

    /// Whether it is where this element of a `bind` listens.
    pub(crate) fn is_at(&self, entry: &BindEntry) -> bool {
        self.gate.entry().is_at(entry)
    }

    /// The sockets as the supervisor lists them.
    pub(crate) fn described(&self, frontend: &str) -> impl Iterator<Item = (Listener, &OwnedFd)> {
        let bind = self.gate.entry().to_string();
        (0..).zip(&self.sockets).map(move |(worker, slot)| {
            let listener = Listener {
                kind: ListenerKind::Traffic,
                frontend: frontend.to_owned(),
                bind: bind.clone(),
                worker,
                address: self.addr.to_string(),
                cookie: slot.cookie,
            };
            (listener, &slot.socket)
        })
    }

    /// Where it lets clients of this frontend in.
    pub(crate) fn entrance(&self, frontend: &config::Frontend) -> Entrance {
        let only_v6 = |slot: &ListenerSlot| SockRef::from(&slot.socket).only_v6().unwrap_or(true);
        Entrance {
            frontend: frontend.name.clone(),
            backend: frontend.backend.clone(),
            addr: self.addr,
            both: self.addr.is_ipv6() && !self.sockets.first().is_none_or(only_v6),
        }
    }

    /// Listens, with the options in force; running listeners are given changed ones.
    pub(crate) fn listen(&self, frontend: &config::Frontend) -> Result<(), ListenerError> {
        let [first, others @ ..] = &self.sockets[..] else {
            return Ok(());
        };
        let entry = self.gate.entry();
        let options = options(&entry);
        let first = first.socket.as_fd();
        // Without SO_REUSEPORT, where that is to be told apart.
        if let Err(error) = listen(first, &options) {
            let holders = holders_after(&error, self.addr, &options);
            let own = are_own(&holders).then(|| share(first).and_then(|()| listen(first, &options)));
            own.unwrap_or(Err(error)).map_err(|error| ListenerError::new(frontend, &entry, error, &holders))?;
        }
        let join = |fd| share(fd).and_then(|()| listen(fd, &options));
        let joined = match self.group {
            Group::HandedDown => Ok(()),
            _ => share(first).and_then(|()| others.iter().try_for_each(|slot| join(slot.socket.as_fd()))),
        };
        joined.map_err(|error| ListenerError::new(frontend, &entry, error, &[]))
    }
}

impl Group {
    /// A socket for a worker that has none yet: one more of the group, or where there can be none (the first one was
    /// handed down, or belongs to another user) a duplicate, so that the workers accept from the same queue.
    fn further(self, first: &OwnedFd, addr: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
        match self {
            Self::New { shared } => bind(addr, options, shared),
            Self::Inherited => bind(addr, options, true).or_else(|_| first.try_clone()),
            Self::HandedDown => first.try_clone(),
        }
    }
}

/// The first socket of an address.
fn bind_first(
    frontend: &config::Frontend,
    wanted: &BindEntry,
    patience: Duration,
) -> Result<(Group, OwnedFd), ListenerError> {
    let fail = |error, holders: &[PortHolder]| ListenerError::new(frontend, wanted, error, holders);
    let (options, shared) = (options(wanted), frontend.reuse_port);
    let Bind::Address(addr) = wanted.bind else {
        let text = "no listening TCP socket was handed down by that number or name (LISTEN_FDS, LISTEN_FDNAMES)";
        return Err(fail(io::Error::other(text), &[]));
    };
    let end = Instant::now() + patience;
    loop {
        let error = match bind(addr, &options, shared) {
            Ok(socket) => return Ok((Group::New { shared }, socket)),
            Err(error) => error,
        };
        let holders = holders_after(&error, addr, &options);
        if are_own(&holders) {
            // An address of this engine, or of one that drains, meets this one: `0.0.0.0:80` and `127.0.0.1:80`.
            let bound = bind(addr, &options, true).map_err(|error| fail(error, &holders))?;
            return Ok((Group::New { shared: true }, bound));
        }
        if error.kind() != io::ErrorKind::AddrInUse || Instant::now() >= end {
            return Err(fail(error, &holders));
        }
        thread::sleep(PAUSE);
    }
}

fn holders_after(error: &io::Error, addr: SocketAddr, options: &ListenOptions) -> Vec<PortHolder> {
    match error.kind() {
        io::ErrorKind::AddrInUse => holders(addr, options.v4v6),
        _ => Vec::new(),
    }
}

fn are_own(holders: &[PortHolder]) -> bool {
    !holders.is_empty() && holders.iter().all(PortHolder::is_own)
}

fn options(entry: &BindEntry) -> ListenOptions {
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn bound(entry: &BindEntry, frontend: &config::Frontend) -> Bound {
        let mut ids = 0..;
        let next_id = || ListenerId(ids.next().unwrap());
        Bound::new(frontend, entry, Vec::new(), 2, Duration::ZERO, next_id).unwrap()
    }

    fn entry(addr: SocketAddr) -> BindEntry {
        BindEntry::new(addr.into())
    }

    fn waiting(bound: &Bound) -> u32 {
        let queue = |slot: &ListenerSlot| fd::accept_queue(slot.socket.as_fd()).unwrap().0;
        bound.sockets.iter().map(queue).sum()
    }

    #[test]
    fn connections_come_only_to_addresses_that_listen() {
        let frontend = config::Frontend::new("web", Vec::new(), "app");
        let old = bound(&entry(([127, 0, 0, 1], 0).into()), &frontend);
        old.listen(&frontend).unwrap();
        // Bound for a reload that may still be refused.
        let new = bound(&entry(old.addr), &frontend);
        let clients: Vec<_> = (0..16).map(|_| TcpStream::connect(old.addr).unwrap()).collect();
        assert_eq!(waiting(&old), 16);
        new.listen(&frontend).unwrap();
        drop(clients);
    }

    #[test]
    fn a_running_listener_takes_a_changed_backlog() {
        let frontend = config::Frontend::new("web", Vec::new(), "app");
        let entry = entry(([127, 0, 0, 1], 0).into());
        let bound = bound(&entry, &frontend);
        for backlog in [7, 9] {
            bound.gate.change(BindEntry { backlog, ..entry.clone() });
            bound.listen(&frontend).unwrap();
            for slot in &bound.sockets {
                assert_eq!(fd::accept_queue(slot.socket.as_fd()).unwrap().1, backlog);
            }
        }
    }
}
