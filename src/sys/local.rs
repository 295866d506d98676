//! Local sockets with a path: non-blocking, close-on-exec.

use std::ffi::OsString;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::UnixCredentials;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::fd;

/// The type of a local socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalKind {
    Stream,
    Seqpacket,
}

/// What a path led to.
#[derive(Debug)]
pub enum Claim {
    /// No process listened there: this one does now.
    Bound(OwnedFd),
    /// A process listens there; a connection to it.
    Answered(OwnedFd),
}

/// Why a path could not be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("is there already and is not a socket of this type")]
    NotASocket,
    #[error("a process listens there, and its backlog is full")]
    Crowded,
    #[error("another process is claiming a path in the same directory")]
    Locked,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The lock of a directory.
#[derive(Debug)]
pub struct DirectoryLock {
    /// Closing it releases the lock.
    _directory: File,
}

/// Device and inode of a path: recognizes the one that this process, or the one before it, has bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathId {
    pub device: u64,
    pub inode: u64,
}

impl PathId {
    pub(crate) fn of(facts: &fs::Metadata) -> Self {
        Self { device: facts.dev(), inode: facts.ino() }
    }
}

/// The identity of what `path` names, without following a symbolic link.
pub fn path_id(path: &Path) -> Option<PathId> {
    fs::symlink_metadata(path).ok().map(|facts| PathId::of(&facts))
}

/// Renames `from`; what was at `to`, if anything, is at `from` afterwards.
pub(crate) fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 0..EXCHANGES {
        let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE),
            renamed => renamed,
        };
        match renamed {
            // It has gone in between.
            Err(Errno::NOENT) => {}
            // The file system has plain renames only: what was there is gone.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return fs::rename(from, to),
            renamed => return Ok(renamed?),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Whether a path leads to a socket that a process has open. No connection is made: for a socket of another type than that
/// of a living one the kernel refuses with EPROTOTYPE.
pub(crate) fn is_alive(path: &Path, kind: LocalKind) -> bool {
    let other = match kind {
        LocalKind::Stream => LocalKind::Seqpacket,
        LocalKind::Seqpacket => LocalKind::Stream,
    };
    let dead = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound];
    connect(path, other).map_or_else(|error| !dead.contains(&error.kind()), |_| true)
}

/// Removes `path` if it is still the one with this identity.
pub fn unlink(path: &Path, id: PathId) {
    if path_id(path) == Some(id) {
        match fs::remove_file(path) {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Locks a directory for as long as the result lives, so that of two processes that claim a path in it at once, the second
/// finds the first. Tries once, and then until `end`.
pub fn lock(directory: File, end: Instant) -> Result<DirectoryLock, ClaimError> {
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(DirectoryLock { _directory: directory }),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(ClaimError::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// Listens at `path`, with mode 0600, unless a process answers there. A socket without a listener, left by a dead
/// process, is replaced; any other file stays. The caller holds the lock of the directory.
pub fn claim(path: &Path, kind: LocalKind, backlog: i32) -> Result<Claim, ClaimError> {
    match fs::symlink_metadata(path) {
        Ok(facts) if !facts.file_type().is_socket() => return Err(ClaimError::NotASocket),
        Ok(_) => match connect(path, kind) {
            Ok(socket) => return Ok(Claim::Answered(socket)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(ClaimError::Crowded),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PROTOTYPE) => return Err(ClaimError::NotASocket),
            Err(error) => return Err(error.into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let socket = bind(path, kind)?;
    // No process can connect before it listens, and then the mode is right.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listen(socket.as_fd(), backlog)?;
    Ok(Claim::Bound(socket))
}

/// A socket at `path`, which must not exist. It does not listen yet.
pub fn bind(path: &Path, kind: LocalKind) -> io::Result<OwnedFd> {
    let socket = open(kind)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// An address in the abstract namespace of Linux: a zero, the name, and zeros up to the full length.
pub fn abstract_address(name: &str) -> PathBuf {
    let mut bytes = vec![0];
    bytes.extend_from_slice(name.as_bytes());
    bytes.resize(SUN_PATH, 0);
    OsString::from_vec(bytes).into()
}

/// What listens at an address, as far as a connect shows it: its credentials. `None`: nothing does.
pub fn occupant(path: &Path) -> Result<Option<UnixCredentials>, ClaimError> {
    if !path.as_os_str().as_bytes().starts_with(&[0]) {
        match fs::symlink_metadata(path) {
            Ok(facts) if !facts.file_type().is_socket() => return Err(ClaimError::NotASocket),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match connect(path, LocalKind::Stream) {
        Ok(socket) => Ok(Some(fd::peer_credentials(socket.as_fd())?)),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(None),
            io::ErrorKind::WouldBlock => Err(ClaimError::Crowded),
            _ if Errno::from_io_error(&error) == Some(Errno::PROTOTYPE) => Err(ClaimError::NotASocket),
            _ => Err(error.into()),
        },
    }
}

/// Starts to listen; at most `backlog` connections wait.
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    SockRef::from(&socket).listen(backlog)
}

/// Connects at once or not at all; `WouldBlock`: the backlog is full.
pub fn connect(path: &Path, kind: LocalKind) -> io::Result<OwnedFd> {
    let socket = open(kind)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// The next connection; `None`: the queue is empty.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(socket) => Ok(Some(socket)),
        // The second: the connection was closed before it was accepted.
        Err(Errno::AGAIN | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn open(kind: LocalKind) -> io::Result<Socket> {
    let kind = match kind {
        LocalKind::Stream => Type::STREAM,
        LocalKind::Seqpacket => Type::SEQPACKET,
    };
    Socket::new(Domain::UNIX, kind.nonblocking().cloexec(), None)
}

/// Bytes of the address of a unix socket (unix(7)).
const SUN_PATH: usize = 108;
/// Tries, of which the second suffices unless other processes change the path all the time.
const EXCHANGES: u32 = 4;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
