//! What `lb status --json` prints. This is a contract: fields are added, never renamed.
//!
//! Only data: the daemon fills it, the command line shows it. Every field has a default, so that a newer
//! `lb status` reads an older daemon's answer.

mod figures;
mod process;
mod server;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::figures::{Availability, Pace, Percentiles, ServerTimes, Traffic};
pub use self::process::{Losses, ProcessReport};
pub use self::server::{
    AgentReport, CheckPosition, CheckReport, ResultReport, ServerReport, ServerSettings, ServerStatus,
};

use crate::control::etcd::SourceStatus;

/// The whole daemon at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The process that stays through upgrades (systemd's MainPID).
    pub pid: u32,
    /// The process that serves.
    pub engine_pid: u32,
    /// 1 at the start, one more with each upgrade.
    pub generation: u64,
    /// Of the binary that serves.
    pub version: String,
    /// Since the first generation began.
    pub uptime_s: u64,
    /// The running upgrade, if any.
    pub upgrade: Option<UpgradeReport>,
    /// Worker threads.
    pub threads: u32,
    /// Sessions in the whole process; at the limit accepting stops.
    pub maxconn: u64,
    /// Open now.
    pub sessions: u64,
    /// Since the first generation began.
    pub sessions_total: u64,
    #[serde(flatten)]
    pub losses: Losses,
    pub process: ProcessReport,
    /// All followed prefixes in one, if there are any.
    pub etcd: Option<EtcdSummary>,
    pub frontends: Vec<FrontendReport>,
    pub backends: Vec<BackendReport>,
}

/// An upgrade on its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpgradeReport {
    pub phase: StatusPhase,
    pub elapsed_ms: u64,
}

/// Where a running upgrade is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusPhase {
    /// The new binary checks the configuration.
    Probe,
    /// The new engine starts.
    Hello,
    /// It takes listeners and state over.
    Prepare,
    /// It begins to accept.
    Activate,
    /// It serves; the old engine can still resume.
    Probation,
    /// Open sessions move.
    Move,
    /// A word of a newer version.
    #[default]
    #[serde(other)]
    Unknown,
}

impl fmt::Display for StatusPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The followed etcd prefixes together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EtcdSummary {
    /// Every follower has a connection.
    pub connected: bool,
    /// The first one, while there is one.
    pub last_error: Option<String>,
    /// The newest that was applied.
    pub revision: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FrontendReport {
    /// Its number among frontends and backends; a frontend and the backend of the same name that it leads to have one.
    pub id: u32,
    pub name: String,
    /// As bound: a configured port of 0 shows the one that the kernel gave.
    pub bind: Vec<String>,
    pub backend: String,
    pub maxconn: u64,
    pub sessions: u64,
    /// The most that were open at once.
    pub sessions_max: u64,
    pub sessions_total: u64,
    /// From clients.
    pub bytes_in: u64,
    /// To clients.
    pub bytes_out: u64,
    /// Sessions that ended before they came to a backend: their PROXY header was missing or wrong.
    pub request_errors: u64,
    /// Sessions a second that are let in. `None`: no limit.
    pub rate_limit: Option<u64>,
    #[serde(flatten)]
    pub pace: Pace,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendReport {
    /// As of a frontend.
    pub id: u32,
    pub name: String,
    pub balance: String,
    /// Sessions that wait for a server now.
    pub queue: u64,
    /// The most that waited at once.
    pub queue_max: u64,
    /// Sessions that came to it, whether they reached a server or not.
    pub arrivals: u64,
    /// Of all servers, those that left included.
    #[serde(flatten)]
    pub traffic: Traffic,
    #[serde(flatten)]
    pub pace: Pace,
    /// Without a usable server it is DOWN.
    #[serde(flatten)]
    pub availability: Availability,
    /// Sessions at which servers with `minconn` have their whole `maxconn`.
    pub fullconn: Option<u64>,
    /// All backups are used at once, and not just the first.
    pub allbackups: bool,
    /// Of the sessions of all servers that it has.
    #[serde(flatten)]
    pub times: ServerTimes,
    /// Discovery of this backend's servers, if it has one; with `held` while a change waits for `lb server accept`.
    pub discovery: Option<SourceStatus>,
    pub servers: Vec<ServerReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the contract, from the design; a test that fails here broke scripts.
    #[test]
    fn every_promised_field_is_there_under_its_name() {
        let status = Status {
            frontends: vec![FrontendReport::default()],
            backends: vec![BackendReport { servers: vec![ServerReport::default()], ..BackendReport::default() }],
            ..Status::default()
        };
        let json = serde_json::to_value(&status).unwrap();
        let has = |at: &str, names: &[&str]| {
            let object = json.pointer(at).unwrap();
            for name in names {
                assert!(object.get(name).is_some(), "{at}/{name}");
            }
        };
        has(
            "",
            &[
                "pid",
                "generation",
                "uptime_s",
                "frontends",
                "backends",
                "version",
                "maxconn",
                "sessions",
                "upgrade",
                "etcd",
            ],
        );
        has("/frontends/0", &["name", "bind", "sessions", "sessions_total", "bytes_in", "bytes_out"]);
        has("/backends/0", &["name", "balance", "queue", "servers"]);
        has(
            "/backends/0/servers/0",
            &["name", "addr", "status", "check", "weight", "backup", "sessions", "sessions_total"],
        );
        has("/backends/0/servers/0", &["bytes_in", "bytes_out", "connect_errors", "retries", "redispatches"]);
        has("/backends/0/servers/0", &["queue_ms", "connect_ms", "session_ms"]);
        has("/backends/0/servers/0/check", &["status", "health", "last"]);
        has("/backends/0/servers/0/connect_ms", &["p50", "p90", "p99", "max"]);
    }

    #[test]
    fn phases_have_their_words_and_a_word_of_a_newer_version_does_no_harm() {
        use StatusPhase::{Activate, Hello, Move, Prepare, Probation, Probe, Unknown};
        let words = [
            (Probe, "probe"),
            (Hello, "hello"),
            (Prepare, "prepare"),
            (Activate, "activate"),
            (Probation, "probation"),
            (Move, "move"),
        ];
        for (phase, word) in words {
            assert_eq!(phase.to_string(), word);
            assert_eq!(serde_json::to_value(phase).unwrap(), word);
            assert_eq!(serde_json::from_value::<StatusPhase>(word.into()).unwrap(), phase);
        }
        assert_eq!(serde_json::from_value::<StatusPhase>("later".into()).unwrap(), Unknown);
    }

    #[test]
    fn an_older_and_a_newer_daemon_can_both_be_read() {
        let older: Status = serde_json::from_str(r#"{"pid":7}"#).unwrap();
        assert_eq!(older.pid, 7);
        let newer = r#"{"pid":7,"moon":"full","backends":[{"servers":[{"status":"NOLB"},{"status":"DRAIN"}]}]}"#;
        let newer: Status = serde_json::from_str(newer).unwrap();
        let words = newer.backends[0].servers.iter().map(|server| server.status.word()).collect::<Vec<_>>();
        assert_eq!(words, ["?", "DRAIN"]);
    }
}
