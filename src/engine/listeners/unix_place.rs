//! The path of a unix socket: how it comes to lead to a new socket, and back to what was there if that one never
//! serves.
//!
//! The socket is made under another name beside the path, and the two are exchanged. So the path leads to a listening
//! socket at every moment, what was there stays at hand until connections are accepted, and of two processes that start
//! at once, the second sees what the first has put there: no lock is needed, which another user could hold.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{Group, User};

use crate::config::SocketAccess;
use crate::sys::local::{self, ClaimError, LocalKind, PathId};
use crate::sys::port_holder::PortHolder;

/// Where a unix socket with a path is found.
#[derive(Debug)]
pub(crate) struct UnixPlace {
    path: PathBuf,
    /// Beside the path: its own name first, then that of what it has replaced.
    beside: PathBuf,
    publication: Publication,
    /// Only the path that was bound is changed or removed.
    id: Option<PathId>,
    /// Mode and owner that were given to it. `None`: not known.
    given: Option<SocketAccess>,
}

/// How far the path is the socket's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publication {
    /// Clients cannot find it.
    Pending,
    /// Dropped now, it gives the path back.
    Revocable,
    Lasting,
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

impl UnixPlace {
    /// Of a socket from a previous engine or another program. `None`: its path is not there, or not here.
    pub(super) fn inherited(path: &Path) -> Option<Self> {
        let id = Some(local::path_id(path)?);
        Some(Self { path: path.to_owned(), beside: beside(path), publication: Publication::Lasting, id, given: None })
    }

    /// A socket that is to be at the path. `own`: what listens there gives way to it.
    pub(super) fn bind(path: &Path, access: &SocketAccess, own: bool) -> Result<(OwnedFd, Self), UnixFailure> {
        refuse_occupied(path, path, own)?;
        let name = beside(path);
        // Left by a dead process of the same pid.
        if local::occupant(&name)?.is_none() {
            match fs::remove_file(&name) {
                Ok(()) | Err(_) => {}
            }
        }
        let socket = local::bind(&name, LocalKind::Stream)?;
        let id = local::path_id(&name);
        let mut place =
            Self { path: path.to_owned(), beside: name, publication: Publication::Pending, id, given: None };
        place.give(access)?;
        Ok((socket, place))
    }

    /// Sets mode and owner, where they have changed.
    pub(super) fn give(&mut self, access: &SocketAccess) -> io::Result<()> {
        if self.given.as_ref() == Some(access) {
            return Ok(());
        }
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
        if user.is_some() || group.is_some() || access.mode.is_some() {
            let opened = self.opened()?;
            // The only name of what is open, whatever the path leads to by now.
            let this = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
            if user.is_some() || group.is_some() {
                chown(&this, user, group)?;
            }
            access.mode.map_or(Ok(()), |mode| fs::set_permissions(&this, Permissions::from_mode(mode)))?;
        }
        self.given = Some(access.clone());
        Ok(())
    }

    /// The file of the socket, without following a link that another user has put in its place.
    fn opened(&self) -> io::Result<File> {
        let path = if self.publication == Publication::Pending { &self.beside } else { &self.path };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let opened = File::options().read(true).custom_flags(flags.bits()).open(path)?;
        let facts = opened.metadata()?;
        if !facts.file_type().is_socket() || Some(PathId::of(&facts)) != self.id {
            return Err(io::Error::other("the path leads to something else by now, whose mode and owner stay"));
        }
        Ok(opened)
    }

    /// Lets clients find a socket that listens. `own` as in `bind`.
    pub(super) fn publish(&mut self, own: bool) -> Result<(), UnixFailure> {
        if self.publication != Publication::Pending {
            return Ok(());
        }
        refuse_occupied(&self.path, &self.path, own)?;
        local::exchange(&self.beside, &self.path)?;
        self.publication = Publication::Revocable;
        // What was there might have come just now.
        refuse_occupied(&self.beside, &self.path, own)
    }

    /// The path stays its own: what was there is removed.
    pub(super) fn settle(&mut self) {
        if self.publication == Publication::Revocable {
            self.publication = Publication::Lasting;
            match fs::remove_file(&self.beside) {
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Whether the path leads to the socket.
    pub(super) fn is_intact(&self) -> bool {
        self.id.is_some() && local::path_id(&self.path) == self.id
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
        let undone = match self.publication {
            Publication::Pending => fs::remove_file(&self.beside),
            Publication::Revocable if local::path_id(&self.path) == self.id => {
                fs::rename(&self.beside, &self.path).or_else(|_| fs::remove_file(&self.path))
            }
            Publication::Revocable | Publication::Lasting => Ok(()),
        };
        match undone {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Refuses what is at a path that messages show as `shown`: a file that is no socket, and a socket on which a process
/// listens, unless it gives way.
fn refuse_occupied(path: &Path, shown: &Path, gives_way: bool) -> Result<(), UnixFailure> {
    if gives_way {
        let other = fs::symlink_metadata(path).is_ok_and(|facts| !facts.file_type().is_socket());
        return if other { Err(ClaimError::NotASocket.into()) } else { Ok(()) };
    }
    let holder = |of| PortHolder::of_unix(shown.display().to_string(), of);
    local::occupant(path)?.map_or(Ok(()), |of| Err(UnixFailure::Taken(Some(holder(of)))))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn published(path: &Path, own: bool) -> Result<(OwnedFd, UnixPlace), UnixFailure> {
        let (socket, mut place) = UnixPlace::bind(path, &SocketAccess::default(), own)?;
        local::listen(socket.as_fd(), 1)?;
        place.publish(own).map(|()| (socket, place))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_was_at_the_path_returns_unless_the_new_one_serves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.sock");
        let old = UnixListener::bind(&path).unwrap();
        assert!(matches!(published(&path, false), Err(UnixFailure::Taken(_))));
        drop(published(&path, true).unwrap());
        let _client = UnixStream::connect(&path).unwrap();
        old.accept().unwrap();
        let (socket, mut place) = published(&path, true).unwrap();
        place.settle();
        let _client = UnixStream::connect(&path).unwrap();
        assert!(local::accept(socket.as_fd()).unwrap().is_some());
        drop(place);
        assert_eq!(names(dir.path()), ["web.sock"]);
        drop((old, socket));
        // What a dead process has left is replaced.
        drop(published(&path, false).unwrap());
        assert!(UnixStream::connect(&path).is_err());
    }

    #[test]
    fn a_process_that_comes_first_in_the_last_moment_keeps_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.sock");
        let (socket, mut place) = UnixPlace::bind(&path, &SocketAccess::default(), false).unwrap();
        local::listen(socket.as_fd(), 1).unwrap();
        let first = UnixListener::bind(&path).unwrap();
        local::exchange(&place.beside, &path).unwrap();
        place.publication = Publication::Revocable;
        assert!(refuse_occupied(&place.beside, &path, false).is_err());
        drop(place);
        let _client = UnixStream::connect(&path).unwrap();
        first.accept().unwrap();
        assert_eq!(names(dir.path()), ["web.sock"]);
    }

    #[test]
    fn a_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.sock");
        fs::write(&path, "precious").unwrap();
        for own in [false, true] {
            assert!(matches!(published(&path, own), Err(UnixFailure::Io(_))));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn mode_and_owner_are_the_sockets_and_never_those_of_what_a_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("web.sock"), dir.path().join("victim"));
        fs::write(&victim, "").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        let access = |mode| SocketAccess { mode: Some(mode), ..SocketAccess::default() };
        let (socket, mut place) = UnixPlace::bind(&path, &access(0o640), false).unwrap();
        local::listen(socket.as_fd(), 1).unwrap();
        place.publish(false).unwrap();
        place.settle();
        assert_eq!(mode(&path), 0o640);
        place.give(&access(0o644)).unwrap();
        assert_eq!(mode(&path), 0o644);
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        place.give(&access(0o644)).unwrap();
        assert!(place.give(&access(0o666)).is_err());
        assert_eq!(mode(&victim), 0o600);
    }
}
