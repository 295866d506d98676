//! A server in a status: why it is UP or DOWN, what it is set to, what it has done.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::figures::{Availability, Pace, ServerTimes, Traffic};
use crate::config::AdminState;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerReport {
    pub name: String,
    pub addr: String,
    pub status: ServerStatus,
    pub check: CheckReport,
    /// What its agent said last. `None`: it has none.
    pub agent: Option<AgentReport>,
    pub settings: ServerSettings,
    /// As configured, discovered or set by hand; slow start is not in it.
    pub weight: u16,
    pub backup: bool,
    /// 0: no limit.
    pub maxconn: u64,
    /// How far it is in its slow start, in percent. `None`: it is not in one.
    pub throttle: Option<u64>,
    /// Checks that failed.
    pub checks_failed: u64,
    #[serde(flatten)]
    pub traffic: Traffic,
    #[serde(flatten)]
    pub pace: Pace,
    #[serde(flatten)]
    pub availability: Availability,
    #[serde(flatten)]
    pub times: ServerTimes,
}

/// One word for administration and health, the former first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServerStatus {
    Up,
    Down,
    Drain,
    Maint,
    /// It left the backend and finishes the sessions that it has.
    Leaving,
    /// A word of another version.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Why a server is UP or DOWN.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckReport {
    /// HAProxy's short word for the last result: `L4OK`, `L4CON`, `L7STS`, …; empty before the first.
    pub status: String,
    /// Where the server stands between rise and fall: `UP 2/3`, `DOWN 1/2`; `no check` without one.
    pub health: String,
    /// The newest first; at most 16.
    pub last: Vec<ResultReport>,
    /// The same as `health` in numbers. `None`: no check.
    pub position: Option<CheckPosition>,
    /// Checks that failed while the server was UP.
    pub failed_while_up: u64,
    /// Where it is asked if that is not the server's own port, or address.
    pub port: Option<u16>,
    pub addr: Option<IpAddr>,
}

/// HAProxy's counter of health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckPosition {
    /// From 0 to `rise + fall - 1`; UP from `rise` on.
    pub level: u32,
    pub rise: u32,
    pub fall: u32,
}

/// What the agent of a server says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentReport {
    /// It does not say that the server is down.
    pub up: bool,
    /// The last answer, or why there was none. `None`: it was not asked yet.
    pub last: Option<ResultReport>,
    pub port: u16,
    pub addr: Option<IpAddr>,
}

/// What the configuration and the operator said of a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerSettings {
    /// Its number within the backend, which it keeps as long as it is there and the configuration stays.
    pub id: u32,
    /// As configured or discovered.
    pub weight: u16,
    /// Begins in MAINT.
    pub disabled: bool,
    /// What the operator, its agent or the configuration asked of it. Beside it counts what was asked of a server that it
    /// follows.
    pub admin: AdminState,
    /// The server that it follows, as `backend/server`; empty: none.
    pub tracks: String,
    /// The name that its address was looked up by; empty: none.
    pub host: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResultReport {
    pub ok: bool,
    /// As [`CheckReport::status`].
    pub status: String,
    /// For people: `connection refused`, `status 503`, …
    pub cause: String,
    pub duration_ms: f64,
    /// `check`, or `traffic` when a session's connect found it.
    pub source: String,
    /// How long ago it ended.
    pub age_ms: u64,
}

impl ServerStatus {
    /// As `lb status` shows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Drain => "DRAIN",
            Self::Maint => "MAINT",
            Self::Leaving => "LEAVING",
            Self::Unknown => "?",
        }
    }
}
