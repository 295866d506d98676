//! The new engine's counts on their way to the old one: if that has to continue, no total falls that was answered with.

use std::collections::VecDeque;

use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::engine::succession::peer_link::{PeerLinkError, PeerSender};
use crate::engine::succession::state::{Baseline, tally};
use crate::handoff::peer::PeerMessage;

/// What was sent so far, and the way.
#[derive(Debug)]
pub(super) struct Returns {
    sender: PeerSender,
    said: Baseline,
    behind: VecDeque<PeerMessage>,
}

impl Returns {
    /// The state is imported.
    pub(super) fn new(sender: PeerSender, listeners: &Listeners, pools: &Pools) -> Self {
        Self { sender, said: tally(listeners, pools), behind: VecDeque::new() }
    }

    /// Sends what was counted since the last time. While the socket is full, no more is added to what waits.
    pub(super) fn report(&mut self, listeners: &Listeners, pools: &Pools) -> Result<(), PeerLinkError> {
        self.catch_up()?;
        if self.behind.is_empty() {
            let now = tally(listeners, pools);
            self.behind.extend(now.changes_since(&self.said));
            self.said = now;
            self.catch_up()?;
        }
        Ok(())
    }

    fn catch_up(&mut self) -> Result<(), PeerLinkError> {
        while let Some(message) = self.behind.front() {
            if !self.sender.try_send(message)? {
                break;
            }
            self.behind.pop_front();
        }
        Ok(())
    }
}
