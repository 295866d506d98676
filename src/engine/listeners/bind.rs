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
use crate::engine::listeners::unix;
use crate::engine::listeners::unix_place::{UnixFailure, UnixPlace};
use crate::handoff::control::{Listener, ListenerKind};
use crate::proxy::gate::Gate;
use crate::proxy::worker::ListenerId;
use crate::sys::addr::named;
use crate::sys::fd;
use crate::sys::port_holder::{PortHolder, holders};
use crate::sys::socket::{ListenOptions, bind, listen, local_addr, share};

/// The sockets of one bind address.
#[derive(Debug)]
pub(crate) struct Bound {
    /// As configured, with the options in force; the port may be 0.
    pub(crate) gate: Arc<Gate>,
    /// As the kernel has it: in a group of TCP sockets an address that the others share, `None` for a unix socket.
    pub(crate) addr: Option<SocketAddr>,
    /// Of a unix socket with a path.
    place: Option<UnixPlace>,
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
    /// A unix socket: there is one, which all workers accept from.
    Unix,
}

/// Where the first socket comes from, and what may be in its way.
#[derive(Debug, Default)]
pub(crate) struct BoundOrigin {
    pub(crate) inherited: Vec<InheritedListener>,
    /// What listens at the path of this unix socket leaves it: another listener of this engine, or the program that this one
    /// replaces.
    pub(crate) own: bool,
    /// How long to wait for another process that is about to leave the address.
    pub(crate) patience: Duration,
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
#[error("{owner}: cannot bind {bind}: {error}{remedy}")]
pub(crate) struct ListenerError {
    owner: String,
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
                let other =
                    if bind.is_unix() { "choose another path or name" } else { "share with `reuse_port = true`" };
                format!(": {holder}; stop it,{takeover} or {other}")
            }
            ([], io::ErrorKind::AddrInUse) if bind.is_unix() => {
                " (another program listens there: ss -lxp shows which)".to_owned()
            }
            ([], _) if bind.is_unix() => String::new(),
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
        let owner = match frontend.name.as_str() {
            // No frontend has no name.
            "" => "haproxy_socket".to_owned(),
            name => format!("frontend {name}"),
        };
        Self { owner, bind: bind.to_string(), error, remedy }
    }
}

impl Bound {
    /// Takes over what there is, then binds until each worker has a socket. New ones get no connection before
    /// [`Bound::listen`]: should another address fail, none is lost with them.
    pub(crate) fn new(
        frontend: &config::Frontend,
        wanted: &BindEntry,
        origin: BoundOrigin,
        workers: usize,
        mut next_id: impl FnMut() -> ListenerId,
    ) -> Result<Self, ListenerError> {
        let fail = |error| ListenerError::new(frontend, wanted, error, &[]);
        let BoundOrigin { inherited, own, patience } = origin;
        let (group, mut sockets, place) = match inherited.first() {
            None if wanted.is_unix() => {
                let bound = unix::bind(wanted, own, patience);
                let (first, place) = bound.map_err(|failure| unix_error(frontend, wanted, failure))?;
                (Group::Unix, vec![first], place)
            }
            None => bind_first(frontend, wanted, patience).map(|(group, first)| (group, vec![first], None))?,
            Some(held) => {
                let group = match held.is_handed_down() {
                    _ if wanted.is_unix() => Group::Unix,
                    true => Group::HandedDown,
                    false => Group::Inherited,
                };
                let place = wanted.unix_path().and_then(UnixPlace::inherited);
                (group, inherited.into_iter().map(|held| held.socket).collect::<Vec<_>>(), place)
            }
        };
        // With port 0 the kernel chose one; the others of the group share it.
        let addr = match group {
            Group::Unix => None,
            _ => Some(local_addr(sockets[0].as_fd()).map_err(fail)?),
        };
        while sockets.len() < workers {
            sockets.push(group.further(&sockets[0], addr, &options(wanted)).map_err(fail)?);
        }
        let slot = |socket: OwnedFd| {
            let cookie = fd::cookie(socket.as_fd())?;
            Ok(ListenerSlot { id: next_id(), socket, cookie, parked: false })
        };
        let sockets = sockets.into_iter().map(slot).collect::<io::Result<_>>().map_err(fail)?;
        Ok(Self { gate: Gate::new(wanted.clone()), addr, place, sockets, group })
    }

    /// Whether it is where this element of a `bind` listens.
    pub(crate) fn is_at(&self, entry: &BindEntry) -> bool {
        self.gate.entry().is_at(entry)
    }

    /// Where it listens, for people.
    pub(crate) fn shown(&self) -> String {
        self.addr.as_ref().map_or_else(|| self.gate.entry().to_string(), named)
    }

    /// The sockets as the supervisor lists them.
    pub(crate) fn described(&self, frontend: &str) -> impl Iterator<Item = (Listener, &OwnedFd)> {
        let bind = self.gate.entry().to_string();
        let first = self.sockets.first().map(|slot| &slot.socket);
        // A unix socket keeps the name under which it was made.
        let address = first.and_then(|first| fd::bound_to(first.as_fd()).ok()).unwrap_or_default();
        (0..).zip(&self.sockets).map(move |(worker, slot)| {
            let listener = Listener {
                kind: ListenerKind::Traffic,
                frontend: frontend.to_owned(),
                bind: bind.clone(),
                worker,
                address: address.clone(),
                cookie: slot.cookie,
            };
            (listener, &slot.socket)
        })
    }

    /// Where it lets clients of this frontend in.
    pub(crate) fn entrance(&self, frontend: &config::Frontend) -> Option<Entrance> {
        let only_v6 = |slot: &ListenerSlot| SockRef::from(&slot.socket).only_v6().unwrap_or(true);
        let addr = self.addr?;
        Some(Entrance {
            frontend: frontend.name.clone(),
            backend: frontend.backend.clone(),
            addr,
            both: addr.is_ipv6() && !self.sockets.first().is_none_or(only_v6),
        })
    }

    /// Listens, with the options in force; running listeners are given changed ones.
    pub(crate) fn listen(&mut self, frontend: &config::Frontend) -> Result<(), ListenerError> {
        let entry = self.gate.entry();
        let [first, others @ ..] = &self.sockets[..] else {
            return Ok(());
        };
        let options = options(&entry);
        let Some(addr) = self.addr else {
            let given = self.place.as_mut().map_or(Ok(()), |place| place.give(&entry.access));
            let listens = given.and_then(|()| unix::listen(&first.socket, entry.backlog));
            return listens.map_err(|error| ListenerError::new(frontend, &entry, error, &[]));
        };
        let first = first.socket.as_fd();
        // Without SO_REUSEPORT, where that is to be told apart.
        if let Err(error) = listen(first, &options) {
            let holders = holders_after(&error, addr, &options);
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

    /// Lets clients find it. `own` as in [`BoundOrigin`].
    pub(crate) fn publish(&mut self, frontend: &config::Frontend, own: bool) -> Result<(), ListenerError> {
        let entry = self.gate.entry();
        let published = self.place.as_mut().map_or(Ok(()), |place| place.publish(own));
        published.map_err(|failure| unix_error(frontend, &entry, failure))
    }

    /// Whether clients find it: the path of a unix socket may have been removed.
    pub(crate) fn is_found(&self) -> bool {
        self.place.as_ref().is_none_or(UnixPlace::is_intact)
    }

    /// Its clients are served: what it has replaced does not return.
    pub(crate) fn settle(&mut self) {
        self.place.iter_mut().for_each(UnixPlace::settle);
    }

    /// Lets clients find it no longer, before its queue is served to the end. At the end of the service the supervisor does
    /// that: it may be that the service alone is replaced, and its sockets stay.
    pub(crate) fn unpublish(&self) {
        self.place.iter().for_each(UnixPlace::unlink);
    }
}

impl Group {
    /// A socket for a worker that has none yet: one more of the group, or where there can be none (the first one was
    /// handed down, or belongs to another user) a duplicate, so that the workers accept from the same queue.
    fn further(self, first: &OwnedFd, addr: Option<SocketAddr>, options: &ListenOptions) -> io::Result<OwnedFd> {
        match (self, addr) {
            (Self::New { shared }, Some(addr)) => bind(addr, options, shared),
            (Self::Inherited, Some(addr)) => bind(addr, options, true).or_else(|_| first.try_clone()),
            _ => first.try_clone(),
        }
    }
}

fn unix_error(frontend: &config::Frontend, wanted: &BindEntry, failure: UnixFailure) -> ListenerError {
    match failure {
        UnixFailure::Io(error) => ListenerError::new(frontend, wanted, error, &[]),
        UnixFailure::Taken(holder) => {
            ListenerError::new(frontend, wanted, io::ErrorKind::AddrInUse.into(), holder.as_slice())
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
        Bound::new(frontend, entry, BoundOrigin::default(), 2, next_id).unwrap()
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
        let mut old = bound(&entry(([127, 0, 0, 1], 0).into()), &frontend);
        old.listen(&frontend).unwrap();
        // Bound for a reload that may still be refused.
        let addr = old.addr.unwrap();
        let mut new = bound(&entry(addr), &frontend);
        let clients: Vec<_> = (0..16).map(|_| TcpStream::connect(addr).unwrap()).collect();
        assert_eq!(waiting(&old), 16);
        new.listen(&frontend).unwrap();
        drop(clients);
    }

    #[test]
    fn a_running_listener_takes_a_changed_backlog() {
        let frontend = config::Frontend::new("web", Vec::new(), "app");
        let entry = entry(([127, 0, 0, 1], 0).into());
        let mut bound = bound(&entry, &frontend);
        for backlog in [7, 9] {
            bound.gate.change(BindEntry { backlog, ..entry.clone() });
            bound.listen(&frontend).unwrap();
            for slot in &bound.sockets {
                assert_eq!(fd::accept_queue(slot.socket.as_fd()).unwrap().1, backlog);
            }
        }
    }
}
