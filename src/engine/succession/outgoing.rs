//! Outgoing: the old engine's part until its sessions move: what the new one has of its state, and the places within
//! limits that it lends to it.

use super::export::Export;
use super::places::{self, Lending};
use super::state::gather;
use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::handoff::features::Feature;
use crate::handoff::peer::{CountsComplete, PeerMessage};

/// What an old engine has given to the new one.
#[derive(Debug, Default)]
pub(in crate::engine) struct Outgoing {
    /// The new one has the state, and MOVE may come.
    pub(super) export: Option<Export>,
    /// The new one is about to accept, or does.
    pub(super) lending: Option<Lending>,
}

impl Outgoing {
    /// The upgrade is over. The link to the new engine is of no more use.
    pub(in crate::engine) fn forget(&mut self, listeners: &Listeners, pools: &Pools) {
        self.export = None;
        self.reclaim(listeners, pools);
    }

    /// The new one is about to accept. From now on [`Outgoing::lend`] is due every few milliseconds.
    pub(in crate::engine) fn begin_lending(&mut self) {
        self.lending.get_or_insert_default();
    }

    /// It is parked, except for listeners that the new one does not serve, if `keeps_some`.
    pub(in crate::engine) fn parked(&mut self, keeps_some: bool) {
        if let Some(lending) = &mut self.lending {
            lending.parked = Some(if keeps_some { places::KEPT } else { 0 });
        }
    }

    /// Divides the places within limits with the new one. Returns whether that is to be repeated.
    pub(in crate::engine) fn lend(&mut self, listeners: &Listeners, pools: &Pools) -> bool {
        let Some(lending) = self.lending.as_mut() else {
            return false;
        };
        let Some(export) = self.export.as_mut().filter(|export| export.agreed.has(Feature::Places)) else {
            return false;
        };
        export.hear();
        // What waits is bounded: nothing further is given away until the new engine has heard of the last.
        if export.behind.is_empty() {
            export.behind.extend(lending.update(listeners, pools));
        }
        export.catch_up();
        true
    }

    /// It is parked and answers no more. The new one gets what was counted since the export.
    pub(in crate::engine) fn pass_counts(&mut self, listeners: &Listeners, pools: &Pools) {
        let Some(export) = self.export.as_mut().filter(|export| export.agreed.counts_return()) else {
            return;
        };
        let now = gather(listeners, pools);
        export.behind.extend(now.messages_since(&export.sent, &export.agreed));
        export.behind.push_back(PeerMessage::Counted(CountsComplete {}));
        export.sent = now;
        export.catch_up();
    }

    /// It continues, with what the new one has counted.
    pub(in crate::engine) fn resume_counts(&mut self, listeners: &Listeners, pools: &Pools) {
        if let Some(export) = &mut self.export {
            export.hear();
            std::mem::take(&mut export.heard).restore(&export.sent, listeners, pools);
        }
    }

    /// All places are its own again.
    pub(in crate::engine) fn reclaim(&mut self, listeners: &Listeners, pools: &Pools) {
        if self.lending.take().is_some() {
            places::release(listeners, pools);
        }
    }
}
