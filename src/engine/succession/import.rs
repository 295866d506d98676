//! The new engine's import: it takes the old engine's state over before it serves.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::engine::pools::followers::found_before;
use crate::engine::succession::peer_link::{PeerLink, PeerLinkError};
use crate::engine::succession::state::take_state;
use crate::handoff::peer::{Imported, PeerMessage};

/// Receives the state over `link` and takes it over. The servers of `config` must be there already.
pub(super) async fn import(
    link: &mut PeerLink,
    config: &Config,
    listeners: &Listeners,
    pools: &mut Pools,
) -> Result<(), PeerLinkError> {
    link.greet().await?;
    // Found servers come first: the state of a server needs the server to be there.
    let mut found = BTreeMap::new();
    let mut message = link.answer().await?.0;
    while let PeerMessage::Discovery(record) = message {
        found.extend(found_before(record));
        message = link.answer().await?.0;
    }
    pools.follow(config, found);
    pools.discover(config).await;
    while !matches!(message, PeerMessage::StateEnd(_)) {
        take_state(listeners, pools, message)?;
        message = link.answer().await?.0;
    }
    pools.publish_all();
    link.send(&PeerMessage::Imported(Imported {}), Vec::new()).await
}
