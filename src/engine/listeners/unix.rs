//! Unix sockets that clients connect to: at a path, or in the abstract namespace.
//!
//! A path is not there before everything else that is to be bound is: the socket is made under another name beside it, with
//! its mode and owner, and renamed at the end. So a path that a listener of this engine leaves to another one of its
//! frontends leads to a listening socket at every moment, and a change that fails leaves no trace.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Group, User};

use crate::config::{Bind, BindEntry, SocketAccess};
use crate::sys::local::{self, ClaimError, LocalKind, PathId};
use crate::sys::port_holder::PortHolder;

/// Where a unix socket with a path is found.
#[derive(Debug)]
pub(crate) struct UnixPlace {
    path: PathBuf,
    /// Its name until it is published; removed with this.
    unpublished: Option<PathBuf>,
    /// Only the path that was bound is removed.
    id: Option<PathId>,
}

/// Why there is no socket.
#[derive(Debug)]
pub(super) enum UnixFailure {
    /// A process listens there, as far as it is known which.
    Taken(Option<PortHolder>),
    Io(io::Error),
}

impl From<io::Error> for UnixFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ClaimError> for UnixFailure {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Crowded => Self::Taken(None),
            ClaimError::Io(error) => Self::Io(error),
            ClaimError::NotASocket | ClaimError::Locked => Self::Io(io::Error::other(error.to_string())),
        }
    }
}

/// A socket that does not listen yet. `own`: another listener of this engine may have the path. `patience`: how long to wait
/// for a process that is about to leave it.
pub(super) fn bind(
    entry: &BindEntry,
    own: bool,
    patience: Duration,
) -> Result<(OwnedFd, Option<UnixPlace>), UnixFailure> {
    let end = Instant::now() + patience;
    loop {
        let bound = match &entry.bind {
            Bind::Unix(path) => UnixPlace::bind(path, &entry.access, own).map(|(socket, place)| (socket, Some(place))),
            Bind::Abstract(name) => bind_abstract(&entry.to_string(), name).map(|socket| (socket, None)),
            Bind::Address(_) | Bind::Inherited(_) => unreachable!("not a unix socket"),
        };
        match bound {
            Err(UnixFailure::Taken(_)) if Instant::now() < end => thread::sleep(PAUSE),
            bound => return bound,
        }
    }
}

impl UnixPlace {
    /// Of a socket from a previous engine. `None`: its path is not there, or not here.
    pub(super) fn inherited(path: &Path) -> Option<Self> {
        let id = local::path_id(path)?;
        Some(Self { path: path.to_owned(), unpublished: None, id: Some(id) })
    }

    fn bind(path: &Path, access: &SocketAccess, own: bool) -> Result<(OwnedFd, Self), UnixFailure> {
        if !own {
            refuse_occupied(path)?;
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let name = PathBuf::from(name);
        // Left by a dead process of the same pid.
        if local::occupant(&name)?.is_none() {
            match fs::remove_file(&name) {
                Ok(()) | Err(_) => {}
            }
        }
        let socket = local::bind(&name, LocalKind::Stream)?;
        let place = Self { path: path.to_owned(), unpublished: Some(name), id: None };
        place.give(access)?;
        Ok((socket, place))
    }

    /// Sets mode and owner.
    pub(super) fn give(&self, access: &SocketAccess) -> io::Result<()> {
        let path = self.unpublished.as_ref().unwrap_or(&self.path);
        let unknown = |what: &str, name: &str| io::Error::other(format!("there is no {what} `{name}`"));
        let user = |name: &String| {
            let id = name.parse().ok().or_else(|| Some(User::from_name(name).ok()??.uid.as_raw()));
            id.ok_or_else(|| unknown("user", name))
        };
        let group = |name: &String| {
            let id = name.parse().ok().or_else(|| Some(Group::from_name(name).ok()??.gid.as_raw()));
            id.ok_or_else(|| unknown("group", name))
        };
        let (user, group) =
            (access.user.as_ref().map(user).transpose()?, access.group.as_ref().map(group).transpose()?);
        if user.is_some() || group.is_some() {
            chown(path, user, group)?;
        }
        access.mode.map_or(Ok(()), |mode| fs::set_permissions(path, Permissions::from_mode(mode)))
    }

    /// Puts a socket that listens at its path.
    pub(super) fn publish(&mut self, own: bool) -> Result<(), UnixFailure> {
        let Some(name) = &self.unpublished else {
            return Ok(());
        };
        // Of two that start at the same time, the second finds the first. A directory that cannot be read has no lock.
        let folder = self.path.parent().and_then(|folder| File::open(folder).ok());
        let _lock = folder.map(|folder| local::lock(folder, Instant::now() + LOCK_LIMIT)).transpose()?;
        if !own {
            refuse_occupied(&self.path)?;
        }
        let id = local::path_id(name);
        fs::rename(name, &self.path)?;
        (self.id, self.unpublished) = (id, None);
        Ok(())
    }

    /// Removes the path, unless it leads to another socket by now.
    pub(super) fn unlink(&self) {
        if let Some(id) = self.id {
            local::unlink(&self.path, id);
        }
    }
}

impl Drop for UnixPlace {
    fn drop(&mut self) {
        if let Some(name) = &self.unpublished {
            match fs::remove_file(name) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

fn refuse_occupied(path: &Path) -> Result<(), UnixFailure> {
    let holder = |of| PortHolder::of_unix(path.display().to_string(), of);
    local::occupant(path)?.map_or(Ok(()), |of| Err(UnixFailure::Taken(Some(holder(of)))))
}

fn bind_abstract(shown: &str, name: &str) -> Result<OwnedFd, UnixFailure> {
    let address = local::abstract_address(name);
    local::bind(&address, LocalKind::Stream).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let of = local::occupant(&address).ok().flatten();
            UnixFailure::Taken(of.map(|of| PortHolder::of_unix(shown.to_owned(), of)))
        }
        _ => UnixFailure::Io(error),
    })
}

/// Starts to listen, or gives a socket that listens already another length of its queue.
pub(super) fn listen(socket: &OwnedFd, backlog: u32) -> io::Result<()> {
    local::listen(socket.as_fd(), i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// Between two looks at a path that another process has.
const PAUSE: Duration = Duration::from_millis(100);
/// The lock of the directory is held for some system calls only.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
