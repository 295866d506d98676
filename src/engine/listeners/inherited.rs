//! The listening sockets that an engine receives at its start, before it binds any itself.
//!
//! Rule: a socket is taken only if it listens, is bound to the announced address, and has the announced cookie.
//! What the configuration does not have any more is left over, and must be served empty before it is closed:
//! closing a listener resets what waits in it.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use socket2::SockRef;

use crate::config::{Bind, BindEntry};
use crate::handoff::control::{Listener, ListenerKind};
use crate::sys::fd;
use crate::sys::local::{self, LocalKind};

/// One of them.
#[derive(Debug)]
pub(crate) struct InheritedListener {
    pub listener: Listener,
    pub socket: OwnedFd,
}

impl InheritedListener {
    /// From the parent of the supervisor, not from an earlier engine: it bears no frontend's name.
    pub(crate) fn is_handed_down(&self) -> bool {
        self.listener.kind == ListenerKind::Traffic && self.listener.frontend.is_empty()
    }

    /// Whether it was handed down for this bind: by number, name or address.
    fn answers_to(&self, bind: &str) -> bool {
        self.is_handed_down() && self.listener.bind.split(' ').any(|name| name == bind)
    }

    /// Whether it is on `[::]` and takes IPv4 clients too, as systemd makes the socket of `ListenStream=80`.
    fn takes_both(&self, port: u16) -> bool {
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        self.answers_to(&v6.to_string()) && SockRef::from(&self.socket).only_v6().is_ok_and(|only| !only)
    }
}

/// Those that are not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<InheritedListener>);

impl Inherited {
    /// Adds one after looking at it.
    pub(crate) fn add(&mut self, listener: Listener, socket: OwnedFd) -> io::Result<()> {
        let wrong = |what: &str| Err(io::Error::other(format!("socket of {}: {what}", listener.address)));
        if !fd::is_listening(socket.as_fd())? {
            return wrong("it does not listen");
        }
        if fd::cookie(socket.as_fd())? != listener.cookie {
            return wrong("it is another one than announced");
        }
        if fd::bound_to(socket.as_fd())? != listener.address {
            return wrong("it is bound elsewhere");
        }
        // A worker must never wait in accept(2). Its other users share the flag, as with NonBlocking= of systemd.
        fd::set_nonblocking(socket.as_fd())?;
        self.0.push(InheritedListener { listener, socket });
        Ok(())
    }

    /// All sockets of a frontend's bind, in the order of their workers. There may be more or fewer than workers now:
    /// none may be closed while connections wait in it.
    pub(crate) fn traffic(&mut self, frontend: &str, entry: &BindEntry) -> Vec<InheritedListener> {
        let text = entry.to_string();
        // A unix socket serves whichever frontend has its path by now: there can be no other one beside it. In another
        // container the path may lead elsewhere: then it is left to the engine there. Where it leads to a dead socket, an
        // engine has ended between the exchange of the path and its report.
        let is_here = entry.unix_path().is_none_or(|path| local::is_alive(path, LocalKind::Stream));
        let is_named = |held: &InheritedListener| {
            let Listener { kind, frontend: owner, bind, .. } = &held.listener;
            *kind == ListenerKind::Traffic && *bind == text && (owner == frontend || entry.is_unix())
        };
        let mut found = self.take(|held| is_here && (is_named(held) || held.answers_to(&text)));
        if let (true, Bind::Address(SocketAddr::V4(addr))) = (found.is_empty(), &entry.bind)
            && addr.ip().is_unspecified()
            && entry.interface.is_none()
        {
            found = self.take(|held| held.takes_both(addr.port()));
        }
        found.sort_by_key(|held| held.listener.worker);
        found
    }

    /// The admin socket at this path.
    pub(crate) fn admin(&mut self, path: &str) -> Option<InheritedListener> {
        self.take(|held| held.listener.kind == ListenerKind::Admin && held.listener.address == path).pop()
    }

    /// Those that were not taken.
    pub(crate) fn left_over(self) -> Vec<InheritedListener> {
        self.0
    }

    fn take(&mut self, wanted: impl Fn(&InheritedListener) -> bool) -> Vec<InheritedListener> {
        self.0.extract_if(.., |held| wanted(held)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listening(frontend: &str, bind: &str, worker: u32) -> (Listener, OwnedFd) {
        let socket = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = fd::bound_to(socket.as_fd()).unwrap();
        let bind = if bind.is_empty() { address.clone() } else { bind.to_owned() };
        let cookie = fd::cookie(socket.as_fd()).unwrap();
        let kind = ListenerKind::Traffic;
        (Listener { kind, frontend: frontend.to_owned(), bind, worker, address, cookie }, socket)
    }

    #[test]
    fn a_socket_that_is_not_what_it_is_said_to_be_is_refused() {
        let mut inherited = Inherited::default();
        let (listener, socket) = listening("web", "", 0);
        let lies = [
            Listener { cookie: listener.cookie + 1, ..listener.clone() },
            Listener { address: "127.0.0.1:1".into(), ..listener.clone() },
        ];
        for lie in lies {
            assert!(inherited.add(lie, socket.try_clone().unwrap()).is_err());
        }
        let silent = OwnedFd::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        assert!(inherited.add(listener.clone(), silent).is_err());
        inherited.add(listener, socket).unwrap();
    }

    #[test]
    fn listeners_are_found_by_what_was_configured_and_the_rest_is_left_over() {
        let mut inherited = Inherited::default();
        for (listener, socket) in [
            listening("web", "127.0.0.1:0", 1),
            listening("web", "127.0.0.1:0", 0),
            listening("gone", "127.0.0.1:0", 0),
        ] {
            inherited.add(listener, socket).unwrap();
        }
        let (unnamed, socket) = listening("", "", 0);
        let address = unnamed.address.clone();
        inherited.add(unnamed, socket).unwrap();
        let workers = |found: Vec<InheritedListener>| found.iter().map(|h| h.listener.worker).collect::<Vec<_>>();
        let entry = |addr: &str| BindEntry::new(Bind::Address(addr.parse().unwrap()));
        let any = entry("127.0.0.1:0");
        assert_eq!(workers(inherited.traffic("web", &any)), [0, 1]);
        assert_eq!(workers(inherited.traffic("web", &any)), [0_u32; 0]);
        assert_eq!(workers(inherited.traffic("api", &entry(&address))), [0]);
        let left: Vec<_> = inherited.left_over().iter().map(|held| held.listener.frontend.clone()).collect();
        assert_eq!(left, ["gone"]);
    }
}
