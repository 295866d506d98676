//! Local sockets with a path: SOCK_SEQPACKET, non-blocking, close-on-exec.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Device and inode of a path: recognizes the one that this process, or the one before it, has bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathId {
    pub device: u64,
    pub inode: u64,
}

/// The identity of what `path` names, without following a symbolic link.
pub fn path_id(path: &Path) -> Option<PathId> {
    let facts = fs::symlink_metadata(path).ok()?;
    Some(PathId { device: facts.dev(), inode: facts.ino() })
}

/// Removes `path` if it is still the one with this identity.
pub fn unlink(path: &Path, id: PathId) {
    if path_id(path) == Some(id) {
        match fs::remove_file(path) {
            Ok(()) | Err(_) => {}
        }
    }
}

/// A socket at `path`, which must not exist. It does not listen yet.
pub fn bind(path: &Path) -> io::Result<OwnedFd> {
    let socket = open()?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Starts to listen; at most `backlog` connections wait.
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    SockRef::from(&socket).listen(backlog)
}

/// Connects at once or not at all; `WouldBlock`: the backlog is full.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = open()?;
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

fn open() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking().cloexec(), None)
}
