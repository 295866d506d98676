//! Pipes as the place between two sockets: `splice(2)` moves pages in and out without copying them.
//!
//! A pipe counts what is in it. EAGAIN from `splice` may mean "source empty" or "pipe full" (a pipe holds a number of
//! segments, so that 1-byte segments fill 64 KiB with a few dozen bytes); only the count tells which.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::libc;
use nix::unistd::pipe2;

/// 256 KiB: measured as the best size for both directions (64 KiB costs a third more CPU a byte, 1 MiB is
/// worse for uploads and four times the price in the user's pipe budget).
pub const PIPE_BYTES: usize = 256 * 1024;

/// A pipe and the number of bytes in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    len: usize,
}

impl Pipe {
    /// A new empty pipe of [`PIPE_BYTES`], or smaller where the user's budget is used up.
    pub fn new() -> nix::Result<Self> {
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        match fcntl(
            &write,
            FcntlArg::F_SETPIPE_SZ(i32::try_from(PIPE_BYTES).unwrap_or(i32::MAX)),
        ) {
            // EPERM: over `fs.pipe-user-pages-soft`; the pipe works all the same.
            Ok(_) | Err(_) => {}
        }
        Ok(Self {
            read,
            write,
            len: 0,
        })
    }

    /// A pipe that came from another process. The kernel says what is in it. Fails if it is no pipe.
    pub fn adopt(read: OwnedFd, write: OwnedFd) -> io::Result<Self> {
        let mut len: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int to the pointer, which outlives the call.
        let result = unsafe { libc::ioctl(read.as_raw_fd(), libc::FIONREAD, &raw mut len) };
        Errno::result(result)?;
        // Only pipes have a pipe size.
        for end in [&read, &write] {
            fcntl(end, FcntlArg::F_GETPIPE_SZ)?;
        }
        Ok(Self {
            read,
            write,
            len: usize::try_from(len).unwrap_or(0),
        })
    }

    /// Both ends, read and write.
    pub fn ends(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.read.as_fd(), self.write.as_fd())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Holds [`PIPE_BYTES`].
    pub fn is_full(&self) -> bool {
        self.len >= PIPE_BYTES
    }

    /// Moves up to `max` bytes from `source` into the pipe.
    pub(super) fn fill(&mut self, source: BorrowedFd<'_>, max: usize) -> nix::Result<usize> {
        let moved = splice(source, None, &self.write, None, max, flags(false))?;
        self.len += moved;
        Ok(moved)
    }

    /// Moves what `sink` takes out of the pipe. EAGAIN: the sink is full. Must not be called on an empty pipe.
    pub(super) fn drain(&mut self, sink: BorrowedFd<'_>, more: bool) -> nix::Result<usize> {
        let moved = splice(&self.read, None, sink, None, self.len, flags(more))?;
        if moved == 0 {
            // The pipe holds bytes by our count; a kernel that says otherwise must not make us spin.
            return Err(Errno::EIO);
        }
        self.len -= moved;
        Ok(moved)
    }
}

fn flags(more: bool) -> SpliceFFlags {
    let mut flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    flags.set(SpliceFFlags::SPLICE_F_MORE, more);
    flags
}

/// The pipes of one worker. They are lent while bytes are in flight and come back empty; when none is left the
/// relay copies.
#[derive(Debug)]
pub struct Pipes {
    idle: Vec<Pipe>,
    made: usize,
    max: usize,
}

impl Pipes {
    /// At most `max` pipes exist at once.
    pub fn new(max: usize) -> Self {
        Self {
            idle: Vec::new(),
            made: 0,
            max,
        }
    }

    /// An empty pipe, or `None`: copy instead.
    pub fn lend(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        if self.made >= self.max {
            return None;
        }
        let pipe = Pipe::new().ok()?;
        self.made += 1;
        Some(pipe)
    }

    /// Takes a pipe back. One that still holds bytes is closed: they belong to a session that is gone.
    pub fn give_back(&mut self, pipe: Pipe) {
        // Adopted pipes may exceed the bound for a while; the pool shrinks back as they return.
        if pipe.is_empty() && self.made <= self.max {
            self.idle.push(pipe);
        } else {
            self.made = self.made.saturating_sub(1);
        }
    }

    /// Counts a pipe that came from another process, so that it can be given back here.
    pub fn adopted(&mut self) {
        self.made += 1;
    }

    /// A pipe left with the session that owned it.
    pub fn forget(&mut self) {
        self.made = self.made.saturating_sub(1);
    }

    /// Closes pipes that nobody has used; called when the worker has been quiet.
    pub fn trim(&mut self) {
        self.made -= self.idle.len();
        self.idle.clear();
    }

    /// Pipes that exist, idle or lent.
    pub fn made(&self) -> usize {
        self.made
    }
}
