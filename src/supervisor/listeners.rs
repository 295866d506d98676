//! Listeners: the duplicates that the supervisor keeps of every listening socket, so that no accept queue is lost
//! when an engine dies.
//!
//! Rule: a socket is kept only after it was seen to listen and to be the one that its cookie names.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::handoff::control::{Listener, ListenerKind};
use crate::supervisor::systemd;
use crate::supervisor::systemd::Notify;
use crate::sys::fd;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Vec<Held>);

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Held {
    pub listener: Listener,
    pub socket: Arc<OwnedFd>,
    /// Sent by a new engine that does not serve yet: gone again if that fails.
    pub tentative: bool,
    /// The new engine will not serve it: gone when the old one goes.
    pub declined: bool,
    /// The service manager has a duplicate, too.
    pub stored: bool,
    /// Device and inode of an admin socket's path, to remove only what is ours.
    pub path_id: Option<(u64, u64)>,
}

impl Listeners {
    /// Keeps a socket. A duplicate of one that is already kept is dropped.
    pub(crate) fn keep(&mut self, listener: Listener, socket: OwnedFd, tentative: bool) -> io::Result<()> {
        if !fd::is_listening(socket.as_fd())? {
            return Err(io::Error::other("the socket does not listen"));
        }
        if fd::cookie(socket.as_fd())? != listener.cookie {
            return Err(io::Error::other("the socket is not the one that was announced"));
        }
        if !self.0.iter().any(|held| held.listener.cookie == listener.cookie) {
            let path_id = match listener.kind {
                ListenerKind::Admin => path_id(Path::new(&listener.address)),
                ListenerKind::Traffic => None,
            };
            let socket = Arc::new(socket);
            self.0.push(Held { listener, socket, tentative, declined: false, stored: false, path_id });
        }
        Ok(())
    }

    /// What the service manager has kept or bound for us. A socket that is not ours by name is for whichever
    /// frontend binds its address.
    pub(crate) fn pick_up(&mut self, sockets: Vec<(String, OwnedFd)>) {
        for (name, socket) in sockets {
            let label = name.clone();
            match described(&name, &socket).and_then(|listener| self.keep(listener, socket, false)) {
                Ok(()) => {}
                Err(error) => systemd::say(format!("socket `{label}` of the service manager: {error}")),
            }
        }
    }

    /// Gives one up.
    pub(crate) fn remove(&mut self, cookie: u64, notify: &Notify) {
        self.0.retain(|held| {
            let goes = held.listener.cookie == cookie;
            if goes && held.stored {
                notify.forget(&held.listener);
            }
            if goes {
                held.unlink();
            }
            !goes
        });
    }

    /// The new engine will not serve this one.
    pub(crate) fn decline(&mut self, cookie: u64) {
        for held in self.0.iter_mut().filter(|held| held.listener.cookie == cookie) {
            held.declined = true;
        }
    }

    /// Those that the new engine will not serve.
    pub(crate) fn declined(&self) -> Vec<u64> {
        self.0.iter().filter(|held| held.declined).map(|held| held.listener.cookie).collect()
    }

    /// The new engine serves: its listeners stay, those that it does not serve go.
    pub(crate) fn confirm(&mut self, notify: &Notify) {
        for cookie in self.declined() {
            self.remove(cookie, notify);
        }
        for held in &mut self.0 {
            held.tentative = false;
        }
    }

    /// The new engine failed: its listeners go.
    pub(crate) fn retract(&mut self) {
        self.0.retain(|held| !held.tentative);
        for held in &mut self.0 {
            held.declined = false;
        }
    }

    /// The daemon stops: what only duplicates kept open shall refuse connections as soon as the engines close.
    pub(crate) fn close_traffic(&mut self, notify: &Notify) {
        let traffic = self.0.iter().filter(|held| held.listener.kind == ListenerKind::Traffic);
        for cookie in traffic.map(|held| held.listener.cookie).collect::<Vec<_>>() {
            self.remove(cookie, notify);
        }
    }

    /// Another supervisor has them now: nothing is kept, and nothing is removed but what that one does not want.
    pub(crate) fn hand_on(&mut self, notify: &Notify) {
        for cookie in self.declined() {
            self.remove(cookie, notify);
        }
        for held in self.0.drain(..).filter(|held| held.stored) {
            notify.forget(&held.listener);
        }
    }

    /// Hands what is not there yet to the service manager.
    pub(crate) fn store(&mut self, notify: &Notify) {
        for held in self.0.iter_mut().filter(|held| !held.stored && !held.tentative) {
            notify.store(&held.listener, &held.socket);
            held.stored = true;
        }
    }

    /// Whether a connection waits in one of the accept queues.
    pub(crate) fn anyone_waits(&self) -> bool {
        let traffic = |held: &&Held| held.listener.kind == ListenerKind::Traffic;
        self.0
            .iter()
            .filter(traffic)
            .any(|held| fd::accept_queue(held.socket.as_fd()).is_ok_and(|(waiting, _)| waiting > 0))
    }

    /// Removes the admin socket's path.
    pub(crate) fn unlink_admin(&self) {
        self.0.iter().for_each(Held::unlink);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.iter()
    }

    /// Takes back what was kept before this supervisor replaced its predecessor.
    pub(crate) fn restore(held: Vec<Held>) -> Self {
        Self(held)
    }
}

impl Held {
    /// Removes an admin socket's path, if it is still the one that was bound.
    fn unlink(&self) {
        if self.path_id.is_some() && path_id(Path::new(&self.listener.address)) == self.path_id {
            match std::fs::remove_file(&self.listener.address) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Device and inode of what a path names.
pub(crate) fn path_id(path: &Path) -> Option<(u64, u64)> {
    let facts = std::fs::symlink_metadata(path).ok()?;
    Some((facts.dev(), facts.ino()))
}

fn described(name: &str, socket: &OwnedFd) -> io::Result<Listener> {
    let cookie = fd::cookie(socket.as_fd())?;
    let address = fd::bound_to(socket.as_fd())?;
    let plain = |kind| Listener {
        kind,
        frontend: String::new(),
        bind: address.clone(),
        worker: 0,
        address: address.clone(),
        cookie,
    };
    let Some((kind, frontend, bind, worker)) = systemd::parse_name(name) else {
        let kind = if address.starts_with('/') { ListenerKind::Admin } else { ListenerKind::Traffic };
        return Ok(plain(kind));
    };
    let known = ListenerKind::ALL.iter().find(|k| **k as u32 == kind);
    let kind = *known.ok_or_else(|| io::Error::other("its name is of a later version"))?;
    Ok(Listener { kind, frontend, bind, worker, address, cookie })
}
