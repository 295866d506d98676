//! Outcome: how an upgrade ended: an exit code and one sentence for the requester.

use crate::config::counted;
use crate::exit::ExitStatus;
use crate::handoff::control::Done;

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub exit: ExitStatus,
    pub text: String,
}

/// Which supervisor starts the new engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpgradeKind {
    /// The new engine is a child of the same supervisor.
    Upgrade,
    /// It is a child of another one, which gets everything.
    Takeover,
}

impl std::fmt::Display for UpgradeKind {
    /// As in "not upgraded".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Upgrade => "upgraded",
            Self::Takeover => "taken over",
        })
    }
}

impl Outcome {
    /// Nothing was touched.
    pub(crate) fn refused(kind: UpgradeKind, reason: impl std::fmt::Display) -> Self {
        Self { exit: ExitStatus::UpgradeFailed, text: format!("not {kind}, the old engine goes on: {reason}") }
    }

    /// The new binary uses another core protocol.
    pub(crate) fn incompatible(kind: UpgradeKind, reason: impl std::fmt::Display) -> Self {
        Self { exit: ExitStatus::Incompatible, text: format!("not {kind}, the old engine goes on: {reason}") }
    }

    /// Another upgrade, takeover or stop is in progress.
    pub(crate) fn busy(reason: &str) -> Self {
        Self { exit: ExitStatus::Busy, text: reason.to_owned() }
    }

    /// The old engine serves again.
    pub(crate) fn rolled_back(reason: impl std::fmt::Display) -> Self {
        Self { exit: ExitStatus::RolledBack, text: format!("rolled back, the old engine serves again: {reason}") }
    }

    /// The new engine serves; the remaining sessions of the old one drain or are lost.
    pub(crate) fn some_left(text: impl Into<String>) -> Self {
        Self { exit: ExitStatus::SessionsLeft, text: text.into() }
    }

    /// The new engine serves.
    pub(crate) fn done(kind: UpgradeKind, pid: u32, done: &Done, seconds: f64) -> Self {
        let Done { moved, left, why } = done;
        let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let moved = counted(*moved, "session");
        let text = format!("{kind} in {seconds:.1} s: engine {pid} serves, {moved} moved, {left} left to drain{why}");
        Self { exit: if *left == 0 { ExitStatus::Done } else { ExitStatus::SessionsLeft }, text }
    }
}
