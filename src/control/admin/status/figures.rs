//! Groups of figures that several parts of a status have. In JSON they stand among the other fields.

use serde::{Deserialize, Serialize};

/// What a backend or a server has done. Totals never fall.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Open now.
    pub sessions: u64,
    /// The most that were open at once.
    pub sessions_max: u64,
    /// That reached a server.
    pub sessions_total: u64,
    /// From clients.
    pub bytes_in: u64,
    /// To clients.
    pub bytes_out: u64,
    /// Attempts to connect.
    pub connects: u64,
    /// Those that failed.
    pub connect_errors: u64,
    /// Attempts that failed and were repeated on the same server.
    pub retries: u64,
    /// Those that were repeated on another one.
    pub redispatches: u64,
    /// Times that the scheduler has chosen it.
    pub picks: u64,
    /// Sessions that ended since no server could be reached.
    pub failed: u64,
    /// Sessions that the client broke off, or kept silent for too long.
    pub client_aborts: u64,
    /// The same by the server.
    pub server_aborts: u64,
    /// Those that the server did not end by silence.
    pub response_errors: u64,
    /// Sessions that ended for lack of memory or descriptors.
    pub internal_errors: u64,
}

/// Sessions a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Over the last second.
    pub rate: u64,
    /// The largest that there was.
    pub rate_max: u64,
    /// How long ago a session began. `None`: never.
    pub last_session_s: Option<u64>,
}

/// How well it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Availability {
    /// Times that it went DOWN, or into MAINT while it was UP.
    pub downs: u64,
    /// How long ago it went UP or DOWN, or changed its administration. `None`: it never did.
    pub changed_s: Option<u64>,
    /// DOWN or in MAINT, together.
    pub downtime_s: u64,
}

/// How long sessions waited and lasted, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerTimes {
    pub queue_ms: Percentiles,
    pub connect_ms: Percentiles,
    pub session_ms: Percentiles,
}

/// A time that was measured often, in milliseconds; all 0 when nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
    /// Of the last 512.
    pub mean: f64,
}
