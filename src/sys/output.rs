//! Output to a stream that other processes share, too: its reader may have stopped or left, its disk may be full.
//!
//! Rule: never O_NONBLOCK, which would hold for every process that shares the stream. Instead a write waits for room and
//! is then small enough for any room that there is, so that it blocks only if another process fills the stream in between.
//! Hence the callers are threads for which no other thread waits.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use nix::libc::PIPE_BUF;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::write;

/// Bytes of one write at most.
pub(crate) const MOST: usize = PIPE_BUF;

/// Writes the first of `bytes`, up to the end of a line where there is one, so that lines of several processes do not
/// mix. Returns how many were written; 0: there was no room within `patience`.
pub(crate) fn write_some(fd: BorrowedFd<'_>, bytes: &[u8], patience: Duration) -> io::Result<usize> {
    if !has_room(fd, patience)? {
        return Ok(0);
    }
    match write(fd, whole_lines(bytes)) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(written) => Ok(written),
        Err(nix::Error::EINTR) => Ok(0),
        Err(nix::Error::EAGAIN) => {
            // O_NONBLOCK is another process's doing. Not at once again, should `poll` always promise room.
            thread::sleep(patience.min(Duration::from_millis(10)));
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}

/// Starts a thread that writes output. It blocks all signals: those of the process are for other threads, and SIGXFSZ, of
/// a file at its size limit, is not to end the process.
pub(crate) fn start_writer(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = thread::Builder::new().name(name.to_owned()).spawn(run);
    before.thread_set_mask()?;
    started.map(drop)
}

/// Whether a write would not wait, within `patience`.
pub(crate) fn has_room(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], timeout) {
        // Also when its reader has left or it is not open: the write says so.
        Ok(ready) => Ok(ready > 0),
        Err(nix::Error::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn whole_lines(bytes: &[u8]) -> &[u8] {
    let most = &bytes[..bytes.len().min(MOST)];
    let end = most.iter().rposition(|byte| *byte == b'\n').map_or(most.len(), |at| at + 1);
    &most[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_ends_with_a_line_and_is_small() {
        let long = [b'x'; MOST + 1];
        assert_eq!(whole_lines(b"one\ntwo\nthr"), b"one\ntwo\n");
        assert_eq!(whole_lines(b"no end"), b"no end");
        assert_eq!(whole_lines(&long).len(), MOST);
        assert_eq!(whole_lines(b""), b"");
    }
}
