//! One end of a connection in the load's loop: a non-blocking socket and its edges.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::epoll::EpollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::pattern::{CHUNK, Pattern};

/// Buffers common to both ends of all connections.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) buf: Vec<u8>,
    pub(crate) pattern: Pattern,
    /// Bytes read or written at once, at most [`CHUNK`].
    pub(crate) step: usize,
}

/// A step while small requests run beside: they would wait for a longer one.
const SHORT_STEP: usize = 64 * 1024;

impl Scratch {
    pub(crate) fn share(&mut self, with_small_requests: bool) {
        self.step = if with_small_requests { SHORT_STEP } else { CHUNK };
    }

    pub(crate) fn new() -> Self {
        Self { buf: vec![0; CHUNK], pattern: Pattern::new(), step: CHUNK }
    }
}

/// The result of one step of a client or an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Waits for an edge.
    Blocked,
    /// Could continue; others have their turn.
    More,
    /// A request was answered in full; the connection can take another one.
    Answered,
    /// The connection ended in order.
    Ended,
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Stream {
    fd: OwnedFd,
    readable: bool,
    writable: bool,
    /// FIN or RST has arrived: a short read does not mean that the socket is empty.
    ending: bool,
}

/// The result of a read.
pub(crate) enum Read {
    Bytes(usize),
    End,
    Blocked,
    Failed(Errno),
}

impl Stream {
    /// A socket assumed `ready` to be read and written.
    pub(crate) fn new(fd: OwnedFd, ready: bool) -> Self {
        Self { fd, readable: ready, writable: ready, ending: false }
    }

    pub(crate) fn note(&mut self, edges: EpollFlags) {
        let broken = edges.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        self.ending |= broken || edges.contains(EpollFlags::EPOLLRDHUP);
        self.readable |= self.ending || edges.contains(EpollFlags::EPOLLIN);
        self.writable |= broken || edges.contains(EpollFlags::EPOLLOUT);
    }

    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Read {
        if !self.readable {
            return Read::Blocked;
        }
        match recv(&self.fd, &mut *buf, RecvFlags::empty()) {
            Ok((_, 0)) => Read::End,
            Ok((_, len)) => {
                self.readable = len == buf.len() || self.ending;
                Read::Bytes(len)
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Read::Blocked
            }
            Err(errno) => Read::Failed(errno),
        }
    }

    /// `Ok(0)`: the socket's buffer is full.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if !self.writable {
            return Ok(0);
        }
        match send(&self.fd, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.writable = sent == bytes.len();
                Ok(sent)
            }
            Err(Errno::AGAIN) => {
                self.writable = false;
                Ok(0)
            }
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
