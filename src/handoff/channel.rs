//! Channel: messages with descriptors over a SEQPACKET socket. Non-blocking; waiting is left to the caller.
//!
//! Rule: any defect of a message (length, sequence, number of descriptors, an unknown critical kind) is an error that
//! ends the connection, and the descriptors of the message are closed.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::handoff::frame::{DecodeError, Frame, MAX_FRAME};
use crate::handoff::wire::Messages;
use crate::sys::fd::{self, RecvError};

/// In an engine's environment: the number of its control socket.
pub(crate) const CONTROL_VARIABLE: &str = "LB_CONTROL_FD";

/// In a supervisor's environment: the number of the descriptor of the record that the former program has left.
pub(crate) const STATE_VARIABLE: &str = "LB_SUPERVISOR_FD";

/// In the environment of engines and of a supervisor that replaces its program: the number of a descriptor that holds the
/// configuration, where that came through a pipe.
pub(crate) const CONFIG_VARIABLE: &str = "LB_CONFIG_FD";

/// In the environment of a supervisor that becomes a daemon: the number of a pipe to the process that has started it; of
/// an engine: it gives up the streams of that process once it serves.
pub(crate) const STARTER_VARIABLE: &str = "LB_STARTER_FD";

/// In the environment of a first engine that replaces another program: it shares the addresses with it until that ends.
pub(crate) const SHARE_VARIABLE: &str = "LB_SHARE_PORTS";

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error(transparent)]
    Receive(#[from] RecvError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("cannot send: {0}")]
    Send(#[from] io::Error),
    /// `QUEUE` messages wait and the other end reads none.
    #[error("the other end reads nothing")]
    Stuck,
}

impl ChannelError {
    /// Whether the other end closed the connection or has died; nothing that it sent before is lost.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Receive(RecvError::Closed) => true,
            Self::Receive(RecvError::Io(error)) | Self::Send(error) => {
                matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
            }
            _ => false,
        }
    }
}

/// A message and its descriptors, as many as the message announces.
pub(crate) type Delivery<M> = (M, Vec<OwnedFd>);

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Inbox<M> {
    sequence: u32,
    buffer: Vec<u8>,
    messages: PhantomData<fn() -> M>,
}

impl<M: Messages> Inbox<M> {
    /// Continues at `sequence`: 0 for a new connection.
    pub(crate) fn new(sequence: u32) -> Self {
        Self { sequence, buffer: vec![0; MAX_FRAME], messages: PhantomData }
    }

    /// The sequence number that the next message must have.
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// The next message of a known kind; `None` if nothing is waiting.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<Option<Delivery<M>>, ChannelError> {
        loop {
            let (length, fds) = match fd::recv(socket, &mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.would_block() => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let frame = Frame::decode(&self.buffer[..length], fds.len())?;
            if frame.sequence != self.sequence {
                return Err(DecodeError::Sequence { came: frame.sequence, expected: self.sequence }.into());
            }
            self.sequence = self.sequence.wrapping_add(1);
            if let Some(message) = M::decode(&frame)? {
                let expected = message.descriptors();
                if expected != fds.len() {
                    return Err(DecodeError::Descriptors { said: expected, came: fds.len() }.into());
                }
                return Ok(Some((message, fds)));
            }
        }
    }
}

/// The sending half of a connection: queues while the other end does not read.
#[derive(Debug)]
pub(crate) struct Outbox {
    sequence: u32,
    queue: VecDeque<(Vec<u8>, Vec<Arc<OwnedFd>>)>,
}

impl Outbox {
    /// Continues at `sequence`: 0 for a new connection.
    pub(crate) fn new(sequence: u32) -> Self {
        Self { sequence, queue: VecDeque::new() }
    }

    /// The sequence number that the next message will have.
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Whether everything was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues a message with as many descriptors as it announces.
    pub(crate) fn push<M: Messages>(&mut self, message: &M, fds: Vec<Arc<OwnedFd>>) -> Result<(), ChannelError> {
        if self.queue.len() >= QUEUE {
            return Err(ChannelError::Stuck);
        }
        let (kind, critical, body) = message.encode();
        let frame = Frame { kind, critical, fds: fds.len(), sequence: self.sequence, body };
        self.sequence = self.sequence.wrapping_add(1);
        self.queue.push_back((frame.encode(), fds));
        Ok(())
    }

    /// Sends a message with borrowed descriptors at once, or returns false: the socket has no room, or others wait.
    pub(crate) fn send_now<M: Messages>(
        &mut self,
        socket: BorrowedFd<'_>,
        message: &M,
        fds: &[BorrowedFd<'_>],
    ) -> Result<bool, ChannelError> {
        self.flush(socket)?;
        if !self.is_empty() {
            return Ok(false);
        }
        let (kind, critical, body) = message.encode();
        let frame = Frame { kind, critical, fds: fds.len(), sequence: self.sequence, body };
        match fd::send(socket, &frame.encode(), fds) {
            Ok(()) => {
                self.sequence = self.sequence.wrapping_add(1);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what the socket accepts. The rest stays queued until the socket is writable.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<(), ChannelError> {
        while let Some((bytes, fds)) = self.queue.front() {
            let borrowed: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
            match fd::send(socket, bytes, &borrowed) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The most messages that wait for an end that does not read.
const QUEUE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::control::{Control, Go, Listener, ListenerKind, Ready, Unlisten};

    fn listener() -> Control {
        Control::Listener(Listener {
            kind: ListenerKind::Traffic,
            frontend: "web".into(),
            bind: "127.0.0.1:0".into(),
            worker: 0,
            address: "127.0.0.1:1".into(),
            cookie: 7,
        })
    }

    fn raw(message: &Control, fds: usize, sequence: u32) -> Vec<u8> {
        let (kind, critical, body) = message.encode();
        Frame { kind, critical, fds, sequence, body }.encode()
    }

    #[test]
    fn messages_arrive_in_order_with_their_descriptors() {
        let (a, b) = fd::seqpacket_pair().unwrap();
        let (mut outbox, mut inbox) = (Outbox::new(0), Inbox::new(0));
        let passed = Arc::new(b.try_clone().unwrap());
        outbox.push(&listener(), vec![passed]).unwrap();
        outbox.push(&Control::Ready(Ready { stop_limit_ms: 5, watchdog_ms: None }), vec![]).unwrap();
        outbox.flush(a.as_fd()).unwrap();
        let (first, fds) = inbox.receive(b.as_fd()).unwrap().unwrap();
        assert_eq!((first, fds.len()), (listener(), 1));
        let (second, _) = inbox.receive(b.as_fd()).unwrap().unwrap();
        assert_eq!(second, Control::Ready(Ready { stop_limit_ms: 5, watchdog_ms: None }));
        assert!(inbox.receive(b.as_fd()).unwrap().is_none());
        drop(a);
        assert!(inbox.receive(b.as_fd()).unwrap_err().is_closed());
    }

    #[test]
    fn a_wrong_sequence_or_number_of_descriptors_ends_the_connection() {
        let go = Control::Go(Go {});
        let hostile: [(Vec<u8>, usize); 4] =
            [(raw(&go, 0, 5), 0), (raw(&go, 1, 0), 0), (raw(&go, 1, 0), 1), (raw(&listener(), 0, 0), 0)];
        for (bytes, fds) in hostile {
            let (a, b) = fd::seqpacket_pair().unwrap();
            fd::send(a.as_fd(), &bytes, &vec![a.as_fd(); fds]).unwrap();
            let refused = Inbox::<Control>::new(0).receive(b.as_fd()).unwrap_err();
            assert!(matches!(refused, ChannelError::Decode(_)), "{refused}");
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_skipped() {
        let (a, b) = fd::seqpacket_pair().unwrap();
        let later = Frame { kind: 999, critical: false, fds: 1, sequence: 0, body: vec![] };
        fd::send(a.as_fd(), &later.encode(), &[a.as_fd()]).unwrap();
        fd::send(a.as_fd(), &raw(&Control::Go(Go {}), 0, 1), &[]).unwrap();
        let (message, _) = Inbox::<Control>::new(0).receive(b.as_fd()).unwrap().unwrap();
        assert_eq!(message, Control::Go(Go {}));
    }

    #[test]
    fn an_end_that_reads_nothing_blocks_no_sender_and_is_detected() {
        let (a, b) = fd::seqpacket_pair().unwrap();
        let mut outbox = Outbox::new(0);
        let message = Control::Unlisten(Unlisten { cookie: 1 });
        let stuck = (0..100_000).find_map(|_| {
            outbox.flush(a.as_fd()).unwrap();
            outbox.push(&message, vec![]).err()
        });
        assert!(matches!(stuck, Some(ChannelError::Stuck)));
        assert!(!outbox.is_empty());
        let mut inbox = Inbox::<Control>::new(0);
        while !outbox.is_empty() {
            while inbox.receive(b.as_fd()).unwrap().is_some() {}
            outbox.flush(a.as_fd()).unwrap();
        }
        while inbox.receive(b.as_fd()).unwrap().is_some() {}
        assert_eq!(inbox.sequence(), outbox.sequence());
    }
}
