//! A session at rest: what it is, apart from what its sockets know. It can be thawed by another worker or process.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use super::flow::FrozenFlow;
pub use super::relay::FrozenRelay;

#[derive(Debug)]
pub struct Frozen {
    pub frontend: Arc<str>,
    /// The client as logs and servers know it.
    pub client: Option<SocketAddr>,
    /// Where it connected to, as servers are told.
    pub local: Option<SocketAddr>,
    pub accepted: SystemTime,
    /// Since it was accepted.
    pub age: Duration,
    pub stage: Stage,
}

#[derive(Debug)]
pub enum Stage {
    /// Accepted, but no server has it yet: its PROXY header is being read, it queues, or it is being connected. It begins
    /// anew with the bytes that were read from it.
    Waiting {
        client: OwnedFd,
        first: Vec<u8>,
        /// The client's FIN follows them.
        ended: bool,
        /// The PROXY header has been read.
        introduced: bool,
        /// How long it has been looking for a server.
        waited: Duration,
    },
    Relaying {
        relay: Box<FrozenRelay>,
        backend: Arc<str>,
        server: Arc<str>,
        queue: Duration,
        connect: Duration,
        retries: u32,
        redispatched: bool,
    },
}

impl Frozen {
    /// Bytes that were read and not yet written, apart from those in pipes.
    pub fn residue(&self) -> usize {
        match &self.stage {
            Stage::Waiting { first, .. } => first.len(),
            Stage::Relaying { relay, .. } => relay.up.residue.len() + relay.down.residue.len(),
        }
    }
}
