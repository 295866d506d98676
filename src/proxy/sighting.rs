//! A session as it stands at one moment, for lists of sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::record::ByteCounts;
use crate::backend::Server;
use crate::log::{ClientName, During};

/// A session as it stood when it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) id: u64,
    pub(crate) frontend: Arc<str>,
    pub(crate) backend: Arc<str>,
    pub(crate) client: ClientName,
    /// Since it was accepted.
    pub(crate) age: Duration,
    pub(crate) activity: Activity,
}

/// What a session does.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    pub(crate) state: SessionState,
    /// Where it is, or is being connected to.
    pub(crate) server: Option<Arc<str>>,
    /// Since the last byte. `None`: bytes do not move yet, or not any more.
    pub(crate) idle: Option<Duration>,
    /// When it ends unless something happens. `None`: never.
    pub(crate) until: Option<Instant>,
    pub(crate) bytes: ByteCounts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// The PROXY header has not come yet.
    Header,
    /// It waits for a server.
    Queue,
    /// A server is being connected, or a pause is made before that is tried again.
    Connecting,
    Relaying,
    /// One side is gone, and the other one is to get what is left.
    Closing,
}

/// What a session without a server waits for, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait<'a> {
    pub(super) until: Instant,
    pub(super) during: During,
    pub(super) server: Option<&'a Arc<Server>>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(until: Instant, during: During) -> Self {
        Self { until, during, server: None }
    }

    /// For a connection to this server.
    pub(super) fn for_server(until: Instant, server: &'a Arc<Server>) -> Self {
        Self { until, during: During::Connect, server: Some(server) }
    }

    pub(super) fn activity(&self) -> Activity {
        let state = match self.during {
            During::Request => SessionState::Header,
            During::Queue => SessionState::Queue,
            During::Connect => SessionState::Connecting,
            During::Data | During::Finished => SessionState::Closing,
        };
        Activity {
            state,
            server: self.server.map(|server| Arc::clone(&server.name)),
            idle: None,
            until: Some(self.until),
            bytes: ByteCounts::default(),
        }
    }
}
