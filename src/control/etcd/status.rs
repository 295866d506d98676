//! Status: where a backend's servers come from, for `lb status`.

use serde::{Deserialize, Serialize};

use crate::control::discovery::{Counters, HoldReason, RejectedKey};

/// Where the applied servers come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppliedFrom {
    /// Nothing is known yet.
    #[default]
    None,
    /// The last known good set on disk.
    File,
    Etcd,
    /// A word of another version.
    #[serde(other)]
    Unknown,
}

/// One followed prefix. A contract, as the rest of `lb status --json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceStatus {
    pub source: AppliedFrom,
    pub prefix: String,
    /// The endpoint that is connected. `None`: none is.
    pub endpoint: Option<String>,
    /// Seconds since the last answer of the source; of a file, since it was written.
    pub age_s: Option<u64>,
    /// Everything up to this revision is applied (or held).
    pub revision: i64,
    /// How many servers are applied from it, with those held.
    pub servers: usize,
    /// Why there is no connection. `None`: there is one, or the first is on its way.
    pub error: Option<String>,
    pub held: Vec<HeldServer>,
    /// Servers held since the start.
    pub holds_total: u64,
    /// Keys with a present value that is not understood.
    pub bad: Vec<RejectedKey>,
    pub counters: Counters,
}

/// A server that etcd no longer has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldServer {
    pub name: String,
    pub why: HoldReason,
    pub seconds_left: u64,
}
