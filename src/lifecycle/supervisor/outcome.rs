//! Outcome: how an upgrade ended, for the person who asked: an exit code and one sentence.

/// The exit codes of `lb upgrade`; 1 (no daemon answers) is the client's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The new engine serves, every session moved.
    Done = 0,
    /// Failed before the new engine was READY; the old one was not touched.
    Refused = 3,
    /// The new binary speaks another core protocol.
    Incompatible = 4,
    /// Another upgrade is running, or the daemon is stopping.
    Busy = 5,
    /// The new engine failed after it was READY; the old one goes on.
    RolledBack = 6,
    /// The new engine serves, some sessions stay in the old one and drain.
    SomeLeft = 7,
}

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub exit: Exit,
    pub text: String,
}

impl Outcome {
    /// Nothing was touched.
    pub fn refused(reason: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Refused, text: format!("not upgraded, the old engine goes on: {reason}") }
    }

    /// The new binary cannot be spoken to.
    pub fn incompatible(reason: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Incompatible, text: format!("not upgraded, the old engine goes on: {reason}") }
    }

    /// Somebody else was first.
    pub fn busy(reason: &str) -> Self {
        Self { exit: Exit::Busy, text: reason.to_owned() }
    }

    /// The old engine serves again.
    pub fn rolled_back(reason: impl std::fmt::Display) -> Self {
        Self { exit: Exit::RolledBack, text: format!("rolled back, the old engine serves again: {reason}") }
    }

    /// The new engine serves; what the old one still has, drains or is gone.
    pub fn some_left(text: impl Into<String>) -> Self {
        Self { exit: Exit::SomeLeft, text: text.into() }
    }

    /// The new engine serves.
    pub fn upgraded(pid: u32, moved: u64, left: u64, why: Option<&str>, seconds: f64) -> Self {
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let text = format!(
            "upgraded in {seconds:.1} s: engine {pid} serves, {moved} sessions moved, {left} left to drain{why}"
        );
        Self { exit: if left == 0 { Exit::Done } else { Exit::SomeLeft }, text }
    }
}
