//! Local sockets with a path: SOCK_SEQPACKET, non-blocking, close-on-exec.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// A socket at `path`, which must not exist. It does not listen yet.
pub fn bind(path: &Path) -> io::Result<OwnedFd> {
    let socket = open()?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Connections wait from now on, at most `backlog` of them.
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    SockRef::from(&socket).listen(backlog)
}

/// Connects at once or not at all; `WouldBlock`: too many wait there.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = open()?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// The next connection; `None`: nobody waits.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    match accept4(listener.as_raw_fd(), flags) {
        // SAFETY: the kernel has just opened it for us.
        Ok(socket) => Ok(Some(unsafe { OwnedFd::from_raw_fd(socket) })),
        // The second: it has gone again before it was accepted.
        Err(Errno::EAGAIN | Errno::ECONNABORTED) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn open() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::SEQPACKET.nonblocking().cloexec(), None)
}
