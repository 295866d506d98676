//! The open connections of both ends, by token.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::EpollFlags;

use super::client::Client;
use super::origin::Origin;
use super::stream::{Progress, Scratch};

/// One end of a connection.
#[derive(Debug)]
pub(crate) enum Peer {
    Client(Client),
    Origin(Origin),
}

/// Identifies a connection. The token of a closed connection is invalid, even when its slot is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(u64);

#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Open ends of either kind.
    pub(crate) clients: usize,
    pub(crate) origins: usize,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    /// Is in the queue of bulk connections.
    queued: bool,
    peer: Option<Box<Peer>>,
}

impl Slots {
    pub(crate) fn insert(&mut self, peer: Peer) -> Token {
        match peer {
            Peer::Client(_) => self.clients += 1,
            Peer::Origin(_) => self.origins += 1,
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.peer = Some(Box::new(peer));
        Token(index as u64 | u64::from(slot.generation) << 32)
    }

    /// Closes the connection.
    pub(crate) fn remove(&mut self, token: Token) {
        let Some(slot) = self.slot(token) else { return };
        let peer = slot.peer.take();
        slot.generation = slot.generation.wrapping_add(1);
        slot.queued = false;
        self.free.push(token.index());
        match peer.as_deref() {
            Some(Peer::Client(_)) => self.clients -= 1,
            Some(Peer::Origin(_)) => self.origins -= 1,
            None => {}
        }
    }

    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Peer> {
        self.slot(token)?.peer.as_deref_mut()
    }

    /// Records whether the connection is in the queue. Returns whether that changed.
    pub(crate) fn set_queued(&mut self, token: Token, queued: bool) -> bool {
        self.slot(token).is_some_and(|slot| std::mem::replace(&mut slot.queued, queued) != queued)
    }

    /// The clients' open connections.
    pub(crate) fn client_tokens(&self) -> Vec<Token> {
        let open = self.slots.iter().enumerate();
        open.filter(|(_, slot)| matches!(slot.peer.as_deref(), Some(Peer::Client(_))))
            .map(|(index, slot)| Token(index as u64 | u64::from(slot.generation) << 32))
            .collect()
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token.index())?;
        (slot.generation == token.generation() && slot.peer.is_some()).then_some(slot)
    }
}

impl Token {
    /// The value that the kernel returns with an event.
    pub(crate) fn data(self) -> u64 {
        self.0
    }

    pub(crate) fn from_data(data: u64) -> Self {
        Self(data)
    }

    fn index(self) -> usize {
        usize::try_from(self.0 & u64::from(u32::MAX)).unwrap_or(usize::MAX)
    }

    fn generation(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }
}

impl Peer {
    pub(crate) fn note(&mut self, edges: EpollFlags) {
        match self {
            Self::Client(client) => client.stream.note(edges),
            Self::Origin(origin) => origin.stream.note(edges),
        }
    }

    pub(crate) fn advance(&mut self, scratch: &mut Scratch) -> Progress {
        match self {
            Self::Client(client) => client.advance(scratch),
            Self::Origin(origin) => origin.advance(scratch),
        }
    }

    pub(crate) fn is_bulk(&self) -> bool {
        match self {
            Self::Client(client) => client.request.is_bulk(),
            Self::Origin(origin) => origin.is_bulk(),
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Client(client) => client.stream.as_fd(),
            Self::Origin(origin) => origin.stream.as_fd(),
        }
    }
}
