//! What only the master socket has (`-S` of HAProxy's command line): the processes, and `@…` before a command.
//!
//! The supervisor is the master, and the engine that serves its only worker; the engine answers for both.

use super::answer::{Said, VERSION};
use super::console::Console;
use crate::control::admin::{Answer, Request};

/// Which process a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MasterTarget {
    Master,
    Engine,
}

/// Of a prefix: `@master` or `@`, `@1`, `@!PID`.
pub(super) fn target(prefix: &str) -> Option<MasterTarget> {
    match prefix.strip_prefix('@')? {
        "" | "master" | "0" => Some(MasterTarget::Master),
        "1" => Some(MasterTarget::Engine),
        other => {
            let pid = other.strip_prefix('!')?.parse::<u32>().ok()?;
            (pid == std::process::id()).then_some(MasterTarget::Engine)
        }
    }
}

/// `show proc`
pub(super) async fn processes(console: &Console) -> Result<Said, String> {
    let status = console.status().await?;
    let row = |cells: [&str; 5]| {
        let [pid, kind, reloads, uptime, version] = cells;
        format!("{pid:<15} {kind:<15} {reloads:<15} {uptime:<15} {version:<15}\n")
    };
    let seconds = status.uptime_s;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let uptime = format!("{days}d{hours:02}h{minutes:02}m{:02}s", seconds % 60);
    let reloads = format!("{} [failed: 0]", status.generation.saturating_sub(1));
    Ok(Said::Facts(format!(
        "{}{}# workers\n{}# programs\n",
        row(["#<PID>", "<type>", "<reloads>", "<uptime>", "<version>"]),
        row([&status.pid.to_string(), "master", &reloads, &uptime, VERSION]),
        row([&status.engine_pid.to_string(), "worker", "0", &uptime, VERSION]),
    )))
}

/// `reload`, answered as by HAProxy since 2.7.
pub(super) async fn reload(console: &Console) -> String {
    match (console.asks)(Request::Reload).await {
        Answer::Error { message, .. } => format!("Success=0\n--\n{message}\n"),
        _ => "Success=1\n--\n".to_owned(),
    }
}
