//! Listeners: the supervisor's duplicates of all listening sockets, so that no accept queue is lost when an engine dies.
//!
//! Rule: a socket is kept only if it listens and has the announced cookie.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::handoff::control::{Listener, ListenerKind};
use crate::supervisor::stderr::print;
use crate::supervisor::systemd::ServiceManager;
use crate::sys::{fd, local};

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct HeldListeners(Vec<HeldListener>);

/// One listening socket.
#[derive(Debug)]
pub(crate) struct HeldListener {
    pub listener: Listener,
    pub socket: Arc<OwnedFd>,
    /// Sent by a new engine that does not serve yet: dropped if its upgrade fails.
    pub tentative: bool,
    /// The new engine will not serve it: dropped with the old engine.
    pub declined: bool,
    /// The fd store of the service manager holds a duplicate.
    pub stored: bool,
    /// Identity of a unix socket's path: only the path that was bound is removed.
    pub path_id: Option<local::PathId>,
}

impl HeldListeners {
    /// Keeps a socket. A duplicate of one that is already kept is dropped.
    pub(crate) fn keep(&mut self, listener: Listener, socket: OwnedFd, tentative: bool) -> io::Result<()> {
        if !fd::is_listening(socket.as_fd())? {
            return Err(io::Error::other("the socket does not listen"));
        }
        if fd::cookie(socket.as_fd())? != listener.cookie {
            return Err(io::Error::other("the socket is not the one that was announced"));
        }
        if !self.0.iter().any(|held| held.listener.cookie == listener.cookie) {
            let path_id = path_of(&listener).and_then(local::path_id);
            let socket = Arc::new(socket);
            self.0.push(HeldListener { listener, socket, tentative, declined: false, stored: false, path_id });
        }
        Ok(())
    }

    /// Keeps the sockets that the parent process has left open for this one.
    pub(crate) fn keep_handed_down(&mut self, sockets: Vec<(Listener, OwnedFd)>) {
        for (listener, socket) in sockets {
            let bind = listener.bind.clone();
            if let Err(error) = self.keep(listener, socket, false) {
                print(format!("socket {bind}, which was handed down: {error}"));
            }
        }
    }

    /// Drops the socket with this cookie.
    pub(crate) fn remove(&mut self, cookie: u64, manager: &ServiceManager) {
        self.0.retain(|held| {
            let matches = held.listener.cookie == cookie;
            if matches && held.stored {
                manager.forget(&held.listener);
            }
            if matches {
                held.unlink();
            }
            !matches
        });
    }

    /// Marks the socket with this cookie as one that the new engine will not serve.
    pub(crate) fn decline(&mut self, cookie: u64) {
        for held in self.0.iter_mut().filter(|held| held.listener.cookie == cookie) {
            held.declined = true;
        }
    }

    /// Cookies of the sockets that the new engine will not serve.
    pub(crate) fn declined(&self) -> Vec<u64> {
        self.0.iter().filter(|held| held.declined).map(|held| held.listener.cookie).collect()
    }

    /// The new engine serves: its sockets stay, those that it does not serve are dropped.
    pub(crate) fn confirm(&mut self, manager: &ServiceManager) {
        for cookie in self.declined() {
            self.remove(cookie, manager);
        }
        for held in &mut self.0 {
            held.tentative = false;
        }
    }

    /// The new engine failed: its sockets are dropped.
    pub(crate) fn retract(&mut self) {
        self.0.iter().filter(|held| held.tentative).for_each(HeldListener::unlink);
        self.0.retain(|held| !held.tentative);
        for held in &mut self.0 {
            held.declined = false;
        }
    }

    /// The service stops: without the duplicates, connections are refused as soon as the engines close their sockets.
    pub(crate) fn close_traffic(&mut self, manager: &ServiceManager) {
        let traffic = self.0.iter().filter(|held| held.listener.kind == ListenerKind::Traffic);
        for cookie in traffic.map(|held| held.listener.cookie).collect::<Vec<_>>() {
            self.remove(cookie, manager);
        }
    }

    /// Another supervisor has the sockets: all duplicates are closed, and only declined listeners are removed.
    pub(crate) fn hand_on(&mut self, manager: &ServiceManager) {
        for cookie in self.declined() {
            self.remove(cookie, manager);
        }
        for held in self.0.drain(..).filter(|held| held.stored) {
            manager.forget(&held.listener);
        }
    }

    /// Sends the sockets that it does not hold yet to the service manager.
    pub(crate) fn store(&mut self, manager: &ServiceManager) {
        for held in self.0.iter_mut().filter(|held| !held.stored && !held.tentative) {
            manager.store(&held.listener, &held.socket);
            held.stored = true;
        }
    }

    /// Whether a connection waits in one of the accept queues.
    pub(crate) fn has_waiting(&self) -> bool {
        let traffic = |held: &&HeldListener| held.listener.kind == ListenerKind::Traffic;
        self.0.iter().filter(traffic).any(|held| fd::has_waiting(held.socket.as_fd()))
    }

    /// Removes the paths of all unix sockets.
    pub(crate) fn unlink_paths(&self) {
        self.0.iter().for_each(HeldListener::unlink);
    }

    /// Each socket with its announcement.
    pub(crate) fn announced(&self) -> impl Iterator<Item = (&Listener, &Arc<OwnedFd>)> {
        self.0.iter().map(|held| (&held.listener, &held.socket))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &HeldListener> {
        self.0.iter()
    }

    /// Sockets from before the supervisor was replaced.
    pub(crate) fn restore(held: Vec<HeldListener>) -> Self {
        Self(held)
    }
}

impl HeldListener {
    /// Removes a unix socket's path, if it is still the one that was bound.
    fn unlink(&self) {
        if let (Some(path), Some(id)) = (path_of(&self.listener), self.path_id) {
            local::unlink(path, id);
        }
    }
}

/// Where clients find a unix socket. The kernel knows one for traffic by the name under which it was made. The path of one
/// without a frontend is that of another program, which may go on to serve there.
fn path_of(listener: &Listener) -> Option<&Path> {
    match listener.kind {
        ListenerKind::Admin => Some(Path::new(&listener.address)),
        ListenerKind::Traffic if listener.frontend.is_empty() => None,
        ListenerKind::Traffic => listener.bind.strip_prefix("unix@").map(Path::new),
    }
}
