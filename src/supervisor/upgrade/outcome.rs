//! Outcome: how an upgrade ended, for the person who asked: an exit code and one sentence.

use crate::exit::ExitStatus;
use crate::handoff::control::Done;

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub exit: ExitStatus,
    pub text: String,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The new engine is a child of the same supervisor.
    Upgrade,
    /// It is a child of another one, which is to have everything.
    Takeover,
}

impl std::fmt::Display for Kind {
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
    pub(crate) fn refused(kind: Kind, reason: impl std::fmt::Display) -> Self {
        Self { exit: ExitStatus::UpgradeFailed, text: format!("not {kind}, the old engine goes on: {reason}") }
    }

    /// The new binary cannot be spoken to.
    pub(crate) fn incompatible(kind: Kind, reason: impl std::fmt::Display) -> Self {
        Self { exit: ExitStatus::Incompatible, text: format!("not {kind}, the old engine goes on: {reason}") }
    }

    /// Somebody else was first.
    pub(crate) fn busy(reason: &str) -> Self {
        Self { exit: ExitStatus::Busy, text: reason.to_owned() }
    }

    /// The old engine serves again.
    pub(crate) fn rolled_back(reason: impl std::fmt::Display) -> Self {
        Self { exit: ExitStatus::RolledBack, text: format!("rolled back, the old engine serves again: {reason}") }
    }

    /// The new engine serves; what the old one still has, drains or is gone.
    pub(crate) fn some_left(text: impl Into<String>) -> Self {
        Self { exit: ExitStatus::SessionsLeft, text: text.into() }
    }

    /// The new engine serves.
    pub(crate) fn done(kind: Kind, pid: u32, done: &Done, seconds: f64) -> Self {
        let Done { moved, left, why } = done;
        let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let text =
            format!("{kind} in {seconds:.1} s: engine {pid} serves, {moved} sessions moved, {left} left to drain{why}");
        Self { exit: if *left == 0 { ExitStatus::Done } else { ExitStatus::SessionsLeft }, text }
    }
}
