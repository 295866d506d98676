//! The serving process in a status.

use serde::{Deserialize, Serialize};

use super::figures::Pace;

/// What the serving process has and may have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessReport {
    /// The name of this host.
    pub node: String,
    /// The day that the program was built from, as 2026/11/25.
    pub released: String,
    /// When the first generation began, in seconds since 1970.
    pub started_at: u64,
    /// How many descriptors it may have.
    pub descriptors_max: u64,
    /// Listening addresses.
    pub listeners: u64,
    /// Pipes that move bytes within the kernel: those that exist, as of the last second, and the most that may.
    pub pipes: u64,
    pub pipes_max: u64,
    /// Of the last second, the share of the time of its threads that passed without work, in percent.
    pub idle_percent: u64,
    /// Servers, each with the tasks that check it, and open sessions.
    pub tasks: u64,
    /// Of all frontends.
    #[serde(flatten)]
    pub pace: Pace,
    /// To clients, of all frontends there have been.
    pub bytes_out: u64,
    /// The same, of the last second.
    pub bytes_out_rate: u64,
    /// It finishes its sessions and accepts no more.
    pub stopping: bool,
}

/// Lines that could not be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// Session lines that `log.rate`, a slow reader or a full disk kept from being written.
    pub log_lines_dropped: u64,
    /// Lines of messages that the stderr of the serving process did not take.
    pub message_lines_lost: u64,
}
