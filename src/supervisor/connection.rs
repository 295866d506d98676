//! Connection: one SEQPACKET connection of the supervisor, to an engine or to another supervisor. The first error ends it.

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
    state: ConnectionState,
}

/// Identifies a connection. A pid would not do: two processes of two pid namespaces may have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(u64);

/// Which directions still work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionState {
    Open,
    /// The other end accepts no more messages; those that it sent before can still be read.
    ReceiveOnly,
    Over,
}

impl Connection {
    /// A connection without any message so far.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self::restore(socket, 0, 0)
    }

    /// Continues after this many messages in each direction.
    pub(crate) fn restore(socket: OwnedFd, sent: u32, received: u32) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed)),
            socket: Arc::new(socket),
            inbox: Inbox::new(received),
            outbox: Outbox::new(sent),
            state: ConnectionState::Open,
        }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Queues and sends. Does nothing once the other end has hung up.
    pub(crate) fn send(&mut self, message: &Control, fds: Vec<Arc<OwnedFd>>) -> Result<(), ChannelError> {
        if self.state != ConnectionState::Open {
            return Ok(());
        }
        let pushed = self.outbox.push(message, fds);
        if pushed.is_err() {
            self.state = ConnectionState::Over;
        }
        pushed.and_then(|()| self.flush())
    }

    /// Sends what could not be sent before.
    pub(crate) fn flush(&mut self) -> Result<(), ChannelError> {
        if self.state != ConnectionState::Open {
            return Ok(());
        }
        match self.outbox.flush(self.socket.as_fd()) {
            Err(error) if error.is_closed() => self.state = ConnectionState::ReceiveOnly,
            Err(error) => {
                self.state = ConnectionState::Over;
                return Err(error);
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Sends the final message, even after an error in what was received, and ends the connection.
    pub(crate) fn send_last(&mut self, message: &Control) {
        if self.state == ConnectionState::Over {
            self.state = ConnectionState::Open;
        }
        let sent = self.send(message, Vec::new());
        self.state = ConnectionState::Over;
        match sent {
            Ok(()) | Err(_) => {}
        }
    }

    /// The next message, if one has come. An error is the last thing that is delivered.
    pub(crate) fn receive(&mut self) -> Result<Option<Delivery<Control>>, ChannelError> {
        if self.state == ConnectionState::Over {
            return Ok(None);
        }
        let received = match self.inbox.receive(self.socket.as_fd()) {
            // The other end was closed with unread messages. The kernel reports this before the messages it had sent.
            Err(error) if error.is_closed() => self.inbox.receive(self.socket.as_fd()),
            received => received,
        };
        if received.is_err() {
            self.state = ConnectionState::Over;
        }
        received
    }

    /// Whether messages wait to be sent.
    pub(crate) fn has_queued(&self) -> bool {
        !self.outbox.is_empty() && self.state == ConnectionState::Open
    }

    /// Whether the connection can neither send nor deliver messages any more.
    pub(crate) fn is_over(&self) -> bool {
        self.state == ConnectionState::Over
    }

    /// Messages sent and received so far.
    pub(crate) fn positions(&self) -> (u32, u32) {
        (self.outbox.sequence(), self.inbox.sequence())
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
