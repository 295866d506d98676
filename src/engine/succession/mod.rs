//! The hand-off between two engines: the old one exports its state and, later, its sessions; the new one imports them.
//!
//! `state` turns what is known and counted into messages and back, `sessions` does so for frozen sessions, `batch` is
//! as many of them as go together, `moving` their way out of one engine, `taking` their way into the other.

mod batch;
pub(crate) mod peer_link;
mod receive;
mod send;
mod session_codec;
mod state;

use std::collections::BTreeMap;

pub(super) use self::receive::receive;
pub(super) use self::send::Moving;
use self::state::Baseline;
use crate::engine::Engine;
use crate::engine::pools::followers;
use crate::engine::succession::peer_link::{PeerLink, PeerLinkError};
use crate::engine::supervisor_link::PeerEnd;
use crate::handoff::features::Agreed;
use crate::handoff::peer::{Imported, PeerMessage, StateEnd};

/// The old engine's side of an upgrade, from the export of its state to its last word.
#[derive(Debug)]
pub(super) struct Export {
    bridge: PeerLink,
    agreed: Agreed,
    /// What has been told already; the sums at the end are told without it.
    told: Baseline,
}

/// The new engine's side: state imported, sessions still to come.
#[derive(Debug)]
pub(super) struct Import {
    bridge: PeerLink,
}

impl Engine {
    /// Old engine: tells the new one everything but the sessions.
    pub(super) async fn export(&self, end: PeerEnd) -> Result<Export, PeerLinkError> {
        let mut bridge = PeerLink::new(end)?;
        let agreed = bridge.greet().await?;
        tracing::info!("hand-off: both engines speak {agreed}");
        let told = self.tell_state(&mut bridge, &agreed, &Baseline::default()).await?;
        bridge.send(&PeerMessage::StateEnd(StateEnd {}), Vec::new()).await?;
        match bridge.answer().await? {
            (PeerMessage::Imported(_), _) => Ok(Export { bridge, agreed, told }),
            _ => Err(PeerLinkError::OutOfTurn),
        }
    }

    /// New engine: hears all that and takes it over. Its own servers must be there already.
    pub(super) async fn import(&self, end: PeerEnd) -> Result<Import, PeerLinkError> {
        let mut bridge = PeerLink::new(end)?;
        bridge.greet().await?;
        // Found servers come first: what is known of them needs them to be there.
        let mut found = Some(BTreeMap::new());
        loop {
            let message = bridge.answer().await?.0;
            match (message, &mut found) {
                (PeerMessage::Discovery(record), Some(found)) => {
                    found.extend(followers::found_before(record));
                    continue;
                }
                (message, _) => {
                    if let Some(found) = found.take() {
                        let config = self.config.borrow().clone();
                        self.start_discovery(&config, found);
                        self.discover().await;
                    }
                    if let PeerMessage::StateEnd(_) = message {
                        break;
                    }
                    self.take_state(message)?;
                }
            }
        }
        self.refresh_all();
        bridge.send(&PeerMessage::Imported(Imported {}), Vec::new()).await?;
        Ok(Import { bridge })
    }
}
