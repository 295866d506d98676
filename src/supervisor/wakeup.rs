//! Wake-ups: one `poll` over everything that the supervisor waits for.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::supervisor::connection::{Connection, ConnectionId};

/// Which descriptor is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wakeup {
    Signals,
    BinaryCheck,
    TakeoverSocket,
    /// Of an engine, a caller, or the predecessor.
    Connection(ConnectionId),
}

/// The descriptors of one `poll`.
#[derive(Default)]
pub(crate) struct PollSet<'a> {
    wakeups: Vec<Wakeup>,
    polled: Vec<PollFd<'a>>,
}

impl<'a> PollSet<'a> {
    /// Waits until `fd` is readable.
    pub(crate) fn add(&mut self, wakeup: Wakeup, fd: BorrowedFd<'a>) {
        self.wakeups.push(wakeup);
        self.polled.push(PollFd::new(fd, PollFlags::POLLIN));
    }

    /// Waits for messages, and for room if messages are queued. A connection that is over is left out.
    pub(crate) fn add_connection(&mut self, connection: &'a Connection) {
        if !connection.is_over() {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, connection.has_queued());
            self.wakeups.push(Wakeup::Connection(connection.id()));
            self.polled.push(PollFd::new(connection.socket(), flags));
        }
    }

    /// Sleeps until a descriptor is ready, at most for `timeout`.
    pub(crate) fn wait(mut self, timeout: Duration) -> Vec<Wakeup> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut self.polled, timeout) {
            Ok(_) => {}
            // All descriptors are non-blocking: handling every one loses nothing.
            Err(_) => return self.wakeups,
        }
        let ready = self.polled.iter().map(|fd| fd.revents().is_none_or(|flags| !flags.is_empty()));
        self.wakeups.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(wakeup, _)| wakeup).collect()
    }
}
