//! What the `global` sections say.

use super::setting::{Settings, quoted};
use super::spot::Spot;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct GlobalPlan {
    /// Keys of `[global]`.
    pub(super) settings: Settings,
    /// `log`: targets as values of TOML.
    pub(super) targets: Vec<(String, Spot)>,
    pub(super) tag: Option<(String, Spot)>,
    /// `stats socket`
    pub(super) sockets: Vec<StatsSocket>,
    /// `insecure-fork-wanted` or `external-check`: programs may be started.
    pub(super) forks: bool,
    /// `server-state-base` and `server-state-file`.
    pub(super) state_base: Option<String>,
    pub(super) state_file: Option<(String, Spot)>,
    /// Words about the process that the command line may follow.
    pub(super) process: ProcessWords,
}

/// A place, as values of TOML.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StatsSocket {
    pub(super) addr: String,
    pub(super) settings: Settings,
    pub(super) at: Spot,
}

impl StatsSocket {
    /// As an element of `haproxy_socket`.
    pub(super) fn toml(&self) -> String {
        let key = if self.addr.starts_with('/') { "path" } else { "addr" };
        let settings = self.settings.iter().map(|setting| format!(", {} = {}", setting.key, setting.value));
        format!("{{ {key} = {}{} }}", quoted(&self.addr), settings.collect::<String>())
    }
}

/// What the file says about the process that reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProcessWords {
    /// `daemon`.
    pub(crate) daemon: bool,
    /// `master-worker`.
    pub(crate) master_worker: bool,
    /// `pidfile`.
    pub(crate) pidfile: Option<String>,
}
