//! The old engine's messages to the new one, apart from sessions: its state before the first session, the last counts
//! after the last one.

use std::collections::VecDeque;

use crate::engine::succession::peer_link::{PeerLink, PeerLinkError};
use crate::engine::succession::state::Baseline;
use crate::handoff::features::Agreed;
use crate::handoff::peer::{End, PeerMessage, StateEnd};

/// A link to a new engine that has taken the state over.
#[derive(Debug)]
pub(in crate::engine) struct Export {
    pub(super) link: PeerLink,
    pub(super) agreed: Agreed,
    /// The state as last sent. What is sent next is counted without it.
    pub(super) sent: Baseline,
    /// The new engine's counts, those that it has inherited included.
    pub(super) heard: Baseline,
    /// Counts and news about places that are still to be sent.
    pub(super) behind: VecDeque<PeerMessage>,
}

impl Export {
    /// Sends the news that the socket takes.
    pub(super) fn catch_up(&mut self) {
        while let Some(message) = self.behind.front() {
            match self.link.try_send(message, &[]) {
                Ok(true) => drop(self.behind.pop_front()),
                Ok(false) => return,
                // The move fails, too, and says so.
                Err(_) => return self.behind.clear(),
            }
        }
    }

    /// Takes in what the new engine has counted.
    pub(super) fn hear(&mut self) {
        // An error is seen where the link is used next.
        while let Ok(Some((message, _))) = self.link.try_receive() {
            self.heard.take(message);
        }
    }

    /// The answer that is due. Counts may come before it.
    pub(super) async fn answer(&mut self) -> Result<PeerMessage, PeerLinkError> {
        loop {
            match self.link.answer().await?.0 {
                message @ (PeerMessage::Frontend(_) | PeerMessage::Backend(_) | PeerMessage::Server(_)) => {
                    self.heard.take(message)
                }
                message => return Ok(message),
            }
        }
    }
}

/// Sends the state, and waits until the new engine has taken it over. `sent`: the counts in `messages`.
pub(super) async fn export(
    mut link: PeerLink,
    agreed: Agreed,
    messages: Vec<PeerMessage>,
    sent: Baseline,
) -> Result<Export, PeerLinkError> {
    for message in &messages {
        link.send(message).await?;
    }
    link.send(&PeerMessage::StateEnd(StateEnd {})).await?;
    match link.answer().await? {
        (PeerMessage::Imported(_), _) => {
            Ok(Export { link, agreed, sent, heard: Baseline::default(), behind: VecDeque::new() })
        }
        _ => Err(PeerLinkError::OutOfTurn),
    }
}

/// Sends the last counts and END.
pub(super) async fn finish(mut export: Export, messages: Vec<PeerMessage>) -> Result<(), PeerLinkError> {
    export.link.deafen();
    for message in &messages {
        export.link.send(message).await?;
    }
    export.link.send(&PeerMessage::End(End {})).await
}
