//! The new engine's import: it takes the old engine's state over before it serves.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::engine::listeners::Listeners;
use crate::engine::pools::followers::found_before;
use crate::engine::pools::{LastAddresses, Pools};
use crate::engine::succession::peer_link::{PeerLink, PeerLinkError};
use crate::engine::succession::state::take_state;
use crate::handoff::features::Agreed;
use crate::handoff::peer::{Imported, PeerMessage};

/// Receives the state over `link` and takes it over. The servers of `config` must be there already. Returns what both
/// engines speak.
pub(super) async fn import(
    link: &mut PeerLink,
    config: &Config,
    listeners: &Listeners,
    pools: &mut Pools,
) -> Result<Agreed, PeerLinkError> {
    let agreed = link.greet().await?;
    let state = receive(link).await?;
    // Names and found servers come first: the state of a server needs the server to be there.
    let (mut names, mut found, mut rest) = (Vec::new(), BTreeMap::new(), Vec::new());
    for message in state {
        match message {
            PeerMessage::Names(record) => names.push(record.saved),
            PeerMessage::Discovery(record) => found.extend(found_before(record)),
            other => rest.push(other),
        }
    }
    pools.resume_names(&names, config);
    pools.follow(config, found);
    // An older engine hands no names over, but where each server was.
    let known = last_addresses(&rest);
    pools.resume_addresses(config, &known);
    pools.refresh(config, |_| true);
    pools.discover(config).await;
    // Only now: an engine that serves knows better than the one before it.
    pools.return_all(&known);
    for message in rest {
        take_state(listeners, pools, message)?;
    }
    pools.publish_all();
    link.send(&PeerMessage::Imported(Imported {})).await?;
    Ok(agreed)
}

fn last_addresses(state: &[PeerMessage]) -> LastAddresses<'_> {
    let servers = state.iter().filter_map(|message| match message {
        PeerMessage::Server(record) => Some(record),
        _ => None,
    });
    servers.map(|record| ((&*record.backend, &*record.name), &*record.addr)).collect()
}

/// Everything up to the end of the state.
async fn receive(link: &mut PeerLink) -> Result<Vec<PeerMessage>, PeerLinkError> {
    let mut state = Vec::new();
    loop {
        match link.answer().await?.0 {
            PeerMessage::StateEnd(_) => return Ok(state),
            _ if state.len() == MOST_MESSAGES => return Err(PeerLinkError::OutOfTurn),
            message => state.push(message),
        }
    }
}

/// The other engine is dead: begins with what it has sent so far.
pub(super) async fn begin_without(config: &Config, pools: &mut Pools) {
    pools.follow(config, BTreeMap::new());
    pools.discover(config).await;
    pools.publish_all();
}

/// Far more than there can be servers.
const MOST_MESSAGES: usize = 1 << 20;
