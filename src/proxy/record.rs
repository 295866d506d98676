//! What is kept of a session for its log line and for the counters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::backend::Server;
use crate::log::ClientName;

/// The facts of a session for its log line.
#[derive(Debug)]
pub(super) struct SessionFacts {
    /// The real client, which is not the connection's peer behind another proxy.
    pub(super) client: ClientName,
    /// Boxed: only PROXY headers contain it.
    pub(super) local: Option<Box<SocketAddr>>,
    pub(super) accepted: SystemTime,
    pub(super) started: Instant,
    pub(super) queue: Option<Duration>,
    pub(super) queue_position: u32,
    pub(super) connect: Option<Duration>,
    /// A session is stored for each client: what fits into less is kept in less.
    pub(super) retries: u16,
    pub(super) redispatched: bool,
    pub(super) server: Option<Arc<Server>>,
    /// What the counters contain already.
    pub(super) bytes: ByteCounts,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ByteCounts {
    pub(super) from_client: u64,
    pub(super) to_client: u64,
}

impl SessionFacts {
    pub(super) fn new(client: ClientName, local: Option<SocketAddr>, accepted: SystemTime, started: Instant) -> Self {
        Self {
            client,
            local: local.map(Box::new),
            accepted,
            started,
            queue: None,
            queue_position: 0,
            connect: None,
            retries: 0,
            redispatched: false,
            server: None,
            bytes: ByteCounts::default(),
        }
    }
}
