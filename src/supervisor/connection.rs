//! Line: one connection of the supervisor, to an engine or to another supervisor. It ends with the first thing that goes
//! wrong on it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::handoff::channel::{ChannelError, Delivery, Inbox, Outbox};
use crate::handoff::control::Control;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnectionId,
    socket: Arc<OwnedFd>,
    inbox: Inbox<Control>,
    outbox: Outbox,
    /// The other end takes nothing any more.
    mute: bool,
    over: bool,
}

/// Which line. A pid would not do: two processes of two pid namespaces may have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(u64);

impl Connection {
    /// A connection on which nothing was said yet.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self::restore(socket, 0, 0)
    }

    /// One that goes on after so many messages in each direction.
    pub(crate) fn restore(socket: OwnedFd, sent: u32, received: u32) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed)),
            socket: Arc::new(socket),
            inbox: Inbox::new(received),
            outbox: Outbox::new(sent),
            mute: false,
            over: false,
        }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Queues and sends. To who has hung up nothing goes any more, but what they had said before is still to be heard.
    pub(crate) fn send(&mut self, message: &Control, fds: Vec<Arc<OwnedFd>>) -> Result<(), ChannelError> {
        if self.over || self.mute {
            return Ok(());
        }
        let pushed = self.outbox.push(message, fds);
        self.over = pushed.is_err();
        pushed.and_then(|()| self.flush())
    }

    /// Sends what could not be sent before.
    pub(crate) fn flush(&mut self) -> Result<(), ChannelError> {
        if self.over || self.mute {
            return Ok(());
        }
        match self.outbox.flush(self.socket.as_fd()) {
            Err(error) if error.is_closed() => self.mute = true,
            Err(error) => {
                self.over = true;
                return Err(error);
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// The last word, or one of the last, to someone who could not be understood.
    pub(crate) fn send_last(&mut self, message: &Control) {
        self.over = false;
        let sent = self.send(message, Vec::new());
        self.over = true;
        match sent {
            Ok(()) | Err(_) => {}
        }
    }

    /// The next message, if one has come. One that cannot be understood is the last one.
    pub(crate) fn receive(&mut self) -> Result<Option<Delivery<Control>>, ChannelError> {
        if self.over {
            return Ok(None);
        }
        let received = match self.inbox.receive(self.socket.as_fd()) {
            // The other end was closed with something unread. This is told before what it had said itself.
            Err(error) if error.is_closed() => self.inbox.receive(self.socket.as_fd()),
            received => received,
        };
        self.over = received.is_err();
        received
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_more(&self) -> bool {
        !self.outbox.is_empty() && !self.over && !self.mute
    }

    /// Whether nothing more comes or goes.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Messages sent and received so far.
    pub(crate) fn positions(&self) -> (u32, u32) {
        (self.outbox.sequence(), self.inbox.sequence())
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
