//! What is kept of a session for its log line and for the counters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::backend::Server;
use crate::log::{ClientName, SessionEnds};

/// The facts of a session for its log line.
#[derive(Debug)]
pub(super) struct SessionFacts {
    /// The real client, which is not the connection's peer behind another proxy.
    pub(super) client: ClientName,
    /// Boxed: few sessions need them.
    pub(super) ends: Option<Box<SessionEnds>>,
    pub(super) accepted: SystemTime,
    pub(super) started: Instant,
    pub(super) queue: Option<Duration>,
    pub(super) queue_position: u32,
    pub(super) connect: Option<Duration>,
    /// A session is stored for each client: what fits into less is kept in less.
    pub(super) retries: u16,
    pub(super) redispatched: bool,
    /// Its line is written.
    pub(super) logged: bool,
    pub(super) server: Option<Arc<Server>>,
    /// What the counters contain already.
    pub(super) bytes: ByteCounts,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ByteCounts {
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
}

impl SessionFacts {
    /// Makes room for them, if there is none.
    pub(super) fn ends_mut(&mut self) -> &mut SessionEnds {
        self.ends.get_or_insert_default()
    }

    pub(super) fn new(client: ClientName, local: Option<SocketAddr>, accepted: SystemTime, started: Instant) -> Self {
        Self {
            client,
            ends: local.map(|local| Box::new(SessionEnds { local: Some(local), ..SessionEnds::default() })),
            accepted,
            started,
            queue: None,
            queue_position: 0,
            connect: None,
            retries: 0,
            redispatched: false,
            logged: false,
            server: None,
            bytes: ByteCounts::default(),
        }
    }
}
