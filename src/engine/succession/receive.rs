//! Open sessions on their way into the new engine: each batch is accepted whole, and touched only once it is committed.

use std::os::fd::OwnedFd;

use crate::engine::succession::peer_link::{PeerLink, PeerLinkError};
use crate::engine::succession::session_codec::{Residues, unpack};
use crate::handoff::peer::{Accept, Batch, PeerMessage};
use crate::proxy::frozen::Frozen;

/// The link to an old engine whose sessions may come.
#[derive(Debug)]
pub(in crate::engine) struct Incoming {
    link: PeerLink,
    /// Bytes that came before the sessions that they belong to.
    residues: Residues,
    taken: usize,
}

/// What comes from the old engine.
#[derive(Debug)]
pub(in crate::engine) enum Arrival {
    /// Counts, or state that came late.
    State(PeerMessage),
    Offer(OfferedBatch),
    /// Nothing more comes.
    End,
}

/// A batch that the old engine offers.
#[derive(Debug)]
pub(in crate::engine) struct OfferedBatch {
    number: u64,
    sessions: Vec<Frozen>,
}

impl Incoming {
    pub(super) fn new(link: PeerLink) -> Self {
        Self { link, residues: Residues::new(), taken: 0 }
    }

    /// Sessions taken over so far.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Counts a session that is taken over. Returns its number, from 0.
    pub(super) fn count(&mut self) -> usize {
        self.taken += 1;
        self.taken - 1
    }

    /// Waits for what comes next. The move begins after probation, whenever that is.
    pub(super) async fn next(mut self) -> Result<(Self, Arrival), PeerLinkError> {
        loop {
            let arrival = match self.link.receive().await? {
                (PeerMessage::Residue(residue), _) => {
                    self.residues.entry((residue.session, residue.direction)).or_default().extend(residue.bytes);
                    continue;
                }
                (PeerMessage::Batch(batch), fds) => Arrival::Offer(self.unpack(batch, fds)?),
                (PeerMessage::End(_), _) => Arrival::End,
                (message, _) => Arrival::State(message),
            };
            return Ok((self, arrival));
        }
    }

    /// Accepts a batch and waits for the commit. Returns its sessions, which belong to this engine from then on; on an
    /// error they belong to the old one.
    pub(super) async fn accept(mut self, offer: OfferedBatch) -> Result<(Self, Vec<Frozen>), PeerLinkError> {
        let number = offer.number;
        self.link.send(&PeerMessage::Accept(Accept { number })).await?;
        let is_given = match self.link.answer().await {
            Ok((PeerMessage::Commit(commit), _)) => commit.number == number,
            Ok(_) => false,
            // The old engine went between offer and commit. If it is dead for certain, no other process has them.
            Err(_) => self.link.is_dead().await,
        };
        if is_given { Ok((self, offer.sessions)) } else { Err(PeerLinkError::OutOfTurn) }
    }

    fn unpack(&mut self, batch: Batch, fds: Vec<OwnedFd>) -> Result<OfferedBatch, PeerLinkError> {
        let mut fds = fds.into_iter();
        let unpacked = batch.sessions.into_iter().map(|session| unpack(session, &mut fds, &mut self.residues));
        let sessions = unpacked.collect::<Result<Vec<_>, _>>();
        self.residues.clear();
        // Not accepted: they stay where they are.
        let sessions = sessions.map_err(|error| {
            tracing::error!("hand-off: {error}");
            PeerLinkError::OutOfTurn
        })?;
        Ok(OfferedBatch { number: batch.number, sessions })
    }
}
