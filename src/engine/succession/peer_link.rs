//! An engine's end of the socket pair between the two engines of an upgrade. Lives on the control thread.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use crate::engine::supervisor_link::PeerEnd;
use crate::handoff::channel::{ChannelError, Delivery, Inbox, Outbox};
use crate::handoff::features;
use crate::handoff::features::Agreed;
use crate::handoff::peer::{Greeting, PeerMessage};
use crate::sys::socket;

/// Why the hand-off with the other engine broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerLinkError {
    #[error("the other engine's socket: {0}")]
    Socket(#[from] io::Error),
    #[error("the other engine: {0}")]
    Channel(#[from] ChannelError),
    #[error("the other engine sent a message out of turn")]
    OutOfTurn,
    #[error("the other engine is silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("this engine is being stopped")]
    Stopping,
}

/// The link to the other engine.
#[derive(Debug)]
pub(crate) struct PeerLink {
    sender: PeerSender,
    /// Readable once the other engine is dead.
    pidfd: AsyncFd<OwnedFd>,
    inbox: Inbox<PeerMessage>,
    /// A message could not be sent. It is never sent later, since this engine has acted upon the failure.
    broken: bool,
}

/// The sending half, also for others than the one that waits for messages.
#[derive(Debug, Clone)]
pub(crate) struct PeerSender {
    socket: Rc<AsyncFd<OwnedFd>>,
    outbox: Rc<RefCell<Outbox>>,
}

/// The other engine answers a message within this time, or it hangs.
const SILENCE: Duration = Duration::from_secs(10);

impl PeerLink {
    /// From the end that the supervisor gave.
    pub(crate) fn new(end: PeerEnd) -> io::Result<Self> {
        let socket = Rc::new(socket::watch(end.socket, Interest::READABLE | Interest::WRITABLE)?);
        Ok(Self {
            sender: PeerSender { socket, outbox: Rc::new(RefCell::new(Outbox::new(0))) },
            pidfd: socket::watch(end.pidfd, Interest::READABLE)?,
            inbox: Inbox::new(0),
            broken: false,
        })
    }

    /// Exchanges greetings. Returns what both binaries speak.
    pub(crate) async fn greet(&mut self) -> Result<Agreed, PeerLinkError> {
        let offers = features::offers();
        self.send(&PeerMessage::Greeting(Greeting { offers: offers.clone() })).await?;
        match self.answer().await? {
            (PeerMessage::Greeting(theirs), _) => Ok(Agreed::between(&offers, &theirs.offers)),
            _ => Err(PeerLinkError::OutOfTurn),
        }
    }

    /// Sends, and waits until the kernel has taken all of it: what is under way stays bounded.
    pub(crate) async fn send(&mut self, message: &PeerMessage) -> Result<(), PeerLinkError> {
        self.send_with(message, &[]).await
    }

    /// The same with descriptors. They are borrowed: a process without a free one can send them all.
    pub(crate) async fn send_with(
        &mut self,
        message: &PeerMessage,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), PeerLinkError> {
        let flush = async {
            while !self.try_send(message, fds)? {
                self.sender.socket.writable().await?.clear_ready();
                // What became writable in between is seen here, since the edge was cleared before.
                if self.try_send(message, fds)? {
                    break;
                }
            }
            Ok(())
        };
        let sent = timeout(SILENCE, flush).await.unwrap_or(Err(PeerLinkError::Silent));
        self.broken = sent.is_err();
        sent
    }

    /// Sends at once, or returns false if there is no room.
    pub(crate) fn try_send(&mut self, message: &PeerMessage, fds: &[BorrowedFd<'_>]) -> Result<bool, PeerLinkError> {
        if self.broken {
            return Err(PeerLinkError::OutOfTurn);
        }
        self.sender.send_now(message, fds)
    }

    /// For messages at any time.
    pub(crate) fn sender(&self) -> PeerSender {
        self.sender.clone()
    }

    /// The next message, if it is here.
    pub(crate) fn try_receive(&mut self) -> Result<Option<Delivery<PeerMessage>>, PeerLinkError> {
        Ok(self.inbox.receive(self.sender.socket.as_fd())?)
    }

    /// Takes no more messages. What is unread when a socket is closed makes the other end lose what it has not read either.
    pub(crate) fn deafen(&mut self) {
        // An error: the other end has gone, and has nothing to lose.
        rustix::net::shutdown(self.sender.socket.as_fd(), rustix::net::Shutdown::Read).ok();
        while let Ok(Some(_)) = self.try_receive() {}
    }

    /// The next message, whenever it comes. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Result<Delivery<PeerMessage>, PeerLinkError> {
        loop {
            if let Some(received) = self.try_receive()? {
                return Ok(received);
            }
            // Read until it is empty, then clear, then look once more: what comes in between raises a new edge.
            self.sender.socket.readable().await?.clear_ready();
            if let Some(received) = self.try_receive()? {
                return Ok(received);
            }
        }
    }

    /// The next message, which is due.
    pub(crate) async fn answer(&mut self) -> Result<Delivery<PeerMessage>, PeerLinkError> {
        timeout(SILENCE, self.receive()).await.unwrap_or(Err(PeerLinkError::Silent))
    }

    /// Whether the other engine is dead for certain, waiting a little for it: a closed socket does not say so.
    pub(crate) async fn is_dead(&self) -> bool {
        timeout(Duration::from_secs(2), self.pidfd.readable()).await.is_ok_and(|ready| ready.is_ok())
    }
}

impl PeerSender {
    /// Sends at once, or returns false if there is no room.
    pub(crate) fn try_send(&self, message: &PeerMessage) -> Result<bool, PeerLinkError> {
        self.send_now(message, &[])
    }

    fn send_now(&self, message: &PeerMessage, fds: &[BorrowedFd<'_>]) -> Result<bool, PeerLinkError> {
        Ok(self.outbox.borrow_mut().send_now(self.socket.as_fd(), message, fds)?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::handoff::peer::{Imported, StateEnd};
    use crate::sys::fd::seqpacket_pair;
    use crate::sys::process;

    /// Both ends, old and new, of one link; each takes this process for the other engine.
    pub(crate) fn pair() -> (PeerLink, PeerLink) {
        let (a, b) = seqpacket_pair().unwrap();
        let end = |socket| {
            let pidfd = process::pidfd_open(std::process::id()).unwrap();
            PeerLink::new(PeerEnd { socket, pidfd }).unwrap()
        };
        (end(a), end(b))
    }

    #[tokio::test]
    async fn engines_agree_and_speak_in_order() {
        let (mut old, mut new) = pair();
        let (a, b) = tokio::join!(old.greet(), new.greet());
        assert_eq!(a.unwrap(), b.unwrap());
        old.send(&PeerMessage::StateEnd(StateEnd {})).await.unwrap();
        assert!(matches!(new.answer().await, Ok((PeerMessage::StateEnd(_), _))));
        new.send(&PeerMessage::Imported(Imported {})).await.unwrap();
        assert!(matches!(old.answer().await, Ok((PeerMessage::Imported(_), _))));
    }

    #[tokio::test]
    async fn a_closed_end_is_told_from_a_dead_engine() {
        let (old, mut new) = pair();
        drop(old);
        assert!(matches!(new.receive().await, Err(PeerLinkError::Channel(error)) if error.is_closed()));
        // The pidfd is this very process's.
        assert!(!new.is_dead().await);
    }
}
