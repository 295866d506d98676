//! A session at rest: all of its state that is not in its sockets. It can be thawed by another worker or process.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::log::ClientName;
use crate::sys::pipe::Pipe;

#[derive(Debug)]
pub struct Frozen {
    pub frontend: Arc<str>,
    /// The client as in logs and PROXY headers.
    pub client: ClientName,
    /// The address it connected to, as in PROXY headers.
    pub local: Option<SocketAddr>,
    pub accepted: SystemTime,
    /// Since it was accepted.
    pub age: Duration,
    pub stage: Stage,
}

#[derive(Debug)]
pub enum Stage {
    /// Accepted, but without a server: its PROXY header is being read, it queues, or it is being connected. It begins
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
        backend: Arc<str>,
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

/// A relay at rest.
#[derive(Debug)]
pub struct FrozenRelay {
    pub client: OwnedFd,
    pub server: OwnedFd,
    pub up: FrozenFlow,
    pub down: FrozenFlow,
    pub client_idle: Duration,
    pub server_idle: Duration,
    pub server_owes: bool,
}

/// A flow at rest: all of its state that is not in its sockets.
#[derive(Debug, Default)]
pub struct FrozenFlow {
    /// Read but not yet written.
    pub residue: Vec<u8>,
    /// Read into a pipe but not yet written; comes after the residue.
    pub pipe: Option<Pipe>,
    /// FIN was received.
    pub ended: bool,
    /// RST was received.
    pub broken: bool,
    /// FIN was forwarded.
    pub fin_sent: bool,
    /// The sink takes no more bytes.
    pub sink_gone: bool,
    pub received: u64,
    pub sent: u64,
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
