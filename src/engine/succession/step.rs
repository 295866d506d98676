//! The stretches of a hand-off: what one brings, and what follows it.

use std::pin::Pin;

use super::export::Export;
use super::peer_link::{PeerLink, PeerLinkError};
use super::receive::{Arrival, Incoming};
use super::send::MovedOut;
use crate::handoff::control::Done;
use crate::handoff::features::Agreed;
use crate::handoff::peer::PeerMessage;
use crate::proxy::frozen::Frozen;

/// What else the engine is doing while a hand-off advances.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Circumstances {
    pub(in crate::engine) upgrading: bool,
    pub(in crate::engine) stopping: bool,
}

/// The result of a stretch of a hand-off.
#[derive(Debug)]
pub(in crate::engine) enum HandoffStep {
    Greeted(Result<(PeerLink, Agreed), PeerLinkError>),
    Exported(Result<Export, PeerLinkError>),
    MovedOut(MovedOut),
    /// The last step of the old engine: the answer to MOVE.
    HandedOver(Done),
    /// A stretch has panicked. What it held is lost.
    Panicked,
    Arrived(Result<(Incoming, Arrival), PeerLinkError>),
    /// The sessions of a batch belong to this engine now.
    Given(Result<(Incoming, Vec<Frozen>), PeerLinkError>),
}

/// A stretch of a hand-off. Not cancel safe: dropped, it ends the hand-off, and sessions that it holds are closed.
pub(in crate::engine) type HandoffFuture = Pin<Box<dyn Future<Output = HandoffStep>>>;

/// How a hand-off continues.
pub(in crate::engine) enum HandoffNext {
    Wait(HandoffFuture),
    /// MOVE is to be answered with this.
    Report(Done),
    Over,
}

impl HandoffStep {
    /// The counts in it, which are those of the other engine.
    pub(in crate::engine) fn counts(&self) -> Option<&PeerMessage> {
        match self {
            Self::Arrived(Ok((_, Arrival::State(message)))) => Some(message),
            _ => None,
        }
    }
}
