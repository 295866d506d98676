//! Listening sockets: one a worker for each bind address, all in one SO_REUSEPORT group.
//!
//! The engine keeps a duplicate of each, and the supervisor another, so that the connections in an accept queue outlive
//! the process that accepts from it. Sockets of a previous engine are taken over with their queues; a group may then have
//! more of them than there are workers, and none is ever closed for that.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use crate::config::{self, BindEntry, Entrance};
use crate::engine::listeners::group::{Group, are_own, holders_after, options};
use crate::engine::listeners::inherited::InheritedListener;
use crate::engine::listeners::listener_error::ListenerError;
use crate::engine::listeners::unix;
use crate::engine::listeners::unix_place::UnixPlace;
use crate::handoff::control::{Listener, ListenerKind};
use crate::proxy::gate::Gate;
use crate::proxy::worker::ListenerId;
use crate::sys::addr::named;
use crate::sys::fd;
use crate::sys::socket::{listen, local_addr, share};

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

/// Where the first socket comes from, and what may be in its way.
#[derive(Debug, Default)]
pub(crate) struct BoundOrigin {
    pub(crate) inherited: Vec<InheritedListener>,
    /// What listens at the path of this unix socket leaves it: another listener of this engine, or the program that
    /// this one replaces.
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
                let (first, place) = bound.map_err(|failure| ListenerError::of_unix(frontend, wanted, failure))?;
                (Group::Unix, vec![first], place)
            }
            None => Group::first(frontend, wanted, patience).map(|(group, first)| (group, vec![first], None))?,
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
        published.map_err(|failure| ListenerError::of_unix(frontend, &entry, failure))
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
