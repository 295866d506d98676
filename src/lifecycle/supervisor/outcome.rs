//! Outcome: how an upgrade ended, for the person who asked: an exit code and one sentence.

use crate::exit::ExitStatus;

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub exit: ExitStatus,
    pub text: String,
}

impl Outcome {
    /// Nothing was touched.
    pub fn refused(reason: impl std::fmt::Display) -> Self {
        Self {
            exit: ExitStatus::UpgradeFailed,
            text: format!("not upgraded, the old engine goes on: {reason}"),
        }
    }

    /// The new binary cannot be spoken to.
    pub fn incompatible(reason: impl std::fmt::Display) -> Self {
        Self {
            exit: ExitStatus::Incompatible,
            text: format!("not upgraded, the old engine goes on: {reason}"),
        }
    }

    /// Somebody else was first.
    pub fn busy(reason: &str) -> Self {
        Self {
            exit: ExitStatus::Busy,
            text: reason.to_owned(),
        }
    }

    /// The old engine serves again.
    pub fn rolled_back(reason: impl std::fmt::Display) -> Self {
        Self {
            exit: ExitStatus::RolledBack,
            text: format!("rolled back, the old engine serves again: {reason}"),
        }
    }

    /// The new engine serves; what the old one still has, drains or is gone.
    pub fn some_left(text: impl Into<String>) -> Self {
        Self {
            exit: ExitStatus::SessionsLeft,
            text: text.into(),
        }
    }

    /// The new engine serves.
    pub fn upgraded(pid: u32, moved: u64, left: u64, why: Option<&str>, seconds: f64) -> Self {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let text = format!(
            "upgraded in {seconds:.1} s: engine {pid} serves, {moved} sessions moved, {left} left to drain{why}"
        );
        Self {
            exit: if left == 0 {
                ExitStatus::Done
            } else {
                ExitStatus::SessionsLeft
            },
            text,
        }
    }
}
