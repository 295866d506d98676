//! Pipes as the place between two sockets: `splice(2)` moves pages in and out without copying them.
//!
//! A pipe counts what is in it. EAGAIN from `splice` may mean "source empty" or "pipe full" (a pipe holds a number of
//! segments, so that 1-byte segments fill 64 KiB with a few dozen bytes); only the count distinguishes them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use rustix::io::ioctl_fionread;
use rustix::pipe::{SpliceFlags, splice};

/// The usual size: 64 KiB costs a third more CPU a byte, and many of a larger one would use up the ration of an
/// ordinary user (`fs.pipe-user-pages-soft`).
pub(crate) const PIPE_BYTES: usize = 256 * 1024;

/// The size of the few that are used most, and the largest one that an ordinary user may ask for (`fs.pipe-max-size`).
/// Measured against the usual size: 3 % less CPU a byte with one stream, up to a tenth less with eight.
const LARGE_BYTES: usize = 1024 * 1024;

/// A pipe and the number of bytes in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// In 32 bits, since each session has room for two pipes.
    len: u32,
    size: u32,
}

impl Pipe {
    /// A new empty pipe of `size` bytes, or smaller where the user's ration is used up.
    pub fn new(size: usize) -> nix::Result<Self> {
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        let resize = |size| {
            let size = i32::try_from(size).unwrap_or(i32::MAX);
            fcntl(&write, FcntlArg::F_SETPIPE_SZ(size))
        };
        // EPERM: over `fs.pipe-user-pages-soft`, or more than `fs.pipe-max-size`; the pipe works all the same.
        let got = resize(size)
            .or_else(|_| resize(size.min(PIPE_BYTES)))
            .or_else(|_| fcntl(&write, FcntlArg::F_GETPIPE_SZ))?;
        Ok(Self { read, write, len: 0, size: u32::try_from(got).unwrap_or(0) })
    }

    /// A pipe that came from another process; the kernel reports how many bytes are in it. Fails if it is no pipe.
    pub fn adopt(read: OwnedFd, write: OwnedFd) -> io::Result<Self> {
        let len = ioctl_fionread(&read)?;
        // Only pipes have a pipe size.
        fcntl(&read, FcntlArg::F_GETPIPE_SZ)?;
        let size = fcntl(&write, FcntlArg::F_GETPIPE_SZ)?;
        Ok(Self { read, write, len: u32::try_from(len).unwrap_or(0), size: u32::try_from(size).unwrap_or(0) })
    }

    /// Both ends, read and write.
    pub fn ends(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.read.as_fd(), self.write.as_fd())
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Holds as many bytes as its size. It may take no more with fewer.
    pub fn is_full(&self) -> bool {
        self.len >= self.size
    }

    /// Bytes it is made for.
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// Moves bytes from `source` into the pipe, at most its size.
    pub fn fill_from(&mut self, source: BorrowedFd<'_>) -> rustix::io::Result<usize> {
        let moved = splice(source, None, &self.write, None, self.size(), flags(false))?;
        self.len += in_pipe(moved);
        Ok(moved)
    }

    /// Moves what `sink` takes out of the pipe. EAGAIN: the sink is full. Must not be called on an empty pipe.
    pub fn empty_into(&mut self, sink: BorrowedFd<'_>, more: bool) -> rustix::io::Result<usize> {
        let moved = splice(&self.read, None, sink, None, self.len(), flags(more))?;
        if moved == 0 {
            // By this count the pipe holds bytes; a kernel that differs must not make the caller spin.
            return Err(rustix::io::Errno::IO);
        }
        self.len -= in_pipe(moved);
        Ok(moved)
    }
}

/// A number of bytes that were in a pipe; the size of a pipe has 31 bits.
fn in_pipe(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn flags(more: bool) -> SpliceFlags {
    let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    flags.set(SpliceFlags::MORE, more);
    flags
}

/// The pipes of one worker. They are lent while bytes are in flight and come back empty; when none is left the
/// relay copies. A few are large; they are lent first, and suffice as long as no sink stalls.
#[derive(Debug)]
pub(crate) struct Pipes {
    /// The large ones at the back.
    idle: VecDeque<Pipe>,
    /// Pipes that exist, and how many usual ones they are worth.
    made: usize,
    worth: usize,
    max: usize,
}

/// Large pipes of a worker at most, as long as they take no more than a quarter of what it may have.
const LARGE: usize = 4;

impl Pipes {
    /// At most as much as `max` pipes of [`PIPE_BYTES`] exists at once.
    pub(crate) fn new(max: usize) -> Self {
        Self { idle: VecDeque::new(), made: 0, worth: 0, max }
    }

    /// An empty pipe, or `None`: copy instead.
    pub(crate) fn lend(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.pop_back() {
            return Some(pipe);
        }
        if self.worth >= self.max {
            return None;
        }
        let large = LARGE_BYTES / PIPE_BYTES;
        let room = (self.max / 4).min(LARGE * large);
        let size = if self.worth + large <= room { LARGE_BYTES } else { PIPE_BYTES };
        let pipe = Pipe::new(size).ok()?;
        self.adopted(&pipe);
        Some(pipe)
    }

    /// Takes a pipe back. One that still holds bytes is closed: they belong to a session that is gone.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {
        // Adopted pipes may exceed the bound for a while; the pool shrinks back as they return.
        if !pipe.is_empty() || self.worth > self.max {
            self.forget(&pipe);
        } else if pipe.size() > PIPE_BYTES {
            self.idle.push_back(pipe);
        } else {
            self.idle.push_front(pipe);
        }
    }

    /// Counts a pipe that came from another process, so that it can be given back here.
    pub(crate) fn adopted(&mut self, pipe: &Pipe) {
        self.made += 1;
        self.worth += worth(pipe);
    }

    /// A pipe left with the session that owned it.
    pub(crate) fn forget(&mut self, pipe: &Pipe) {
        self.made = self.made.saturating_sub(1);
        self.worth = self.worth.saturating_sub(worth(pipe));
    }

    /// Closes the idle pipes; called when the worker has been quiet.
    pub(crate) fn trim(&mut self) {
        while let Some(pipe) = self.idle.pop_front() {
            self.forget(&pipe);
        }
    }

    /// Pipes that exist, idle or lent.
    pub(crate) fn made(&self) -> usize {
        self.made
    }
}

fn worth(pipe: &Pipe) -> usize {
    pipe.size().div_ceil(PIPE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_pipes_are_large_and_all_together_keep_to_the_bound() {
        let mut pipes = Pipes::new(64);
        let lent: Vec<Pipe> = std::iter::from_fn(|| pipes.lend()).collect();
        let large = lent.iter().filter(|pipe| pipe.size() > PIPE_BYTES).count();
        let bytes: usize = lent.iter().map(Pipe::size).sum();
        assert!(bytes <= 64 * PIPE_BYTES, "{bytes}");
        // With its ration used up an ordinary user gets small ones.
        assert!(large <= LARGE && lent.len() + 3 * large == 64, "{large}");
        lent.into_iter().for_each(|pipe| pipes.give_back(pipe));
        let next = pipes.lend().map(|pipe| pipe.size());
        assert_eq!(next > Some(PIPE_BYTES), large > 0, "the large ones go first");
        assert!(Pipes::new(15).lend().is_some_and(|pipe| pipe.size() <= PIPE_BYTES));
    }
}
