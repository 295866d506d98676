//! What a request tells of one server before it is changed: whether it is there, and what bears on the change.

use serde::{Deserialize, Serialize};

use crate::config::AdminState;

/// A server, looked for by its names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ServerFacts {
    /// The backend is there.
    pub backend: bool,
    /// `None`: it has no such server.
    pub server: Option<KnownServer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownServer {
    pub state: AdminState,
    pub weight: u16,
    /// In the configuration, or as discovered.
    pub weight_configured: u16,
    /// It takes this weight and 0, and no other.
    pub weight_fixed: bool,
    pub checked: bool,
    /// Its agent is asked.
    pub agent: bool,
    /// It has the state of another server.
    pub tracks: bool,
    pub sessions: u64,
}
