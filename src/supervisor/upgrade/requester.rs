//! Requester: where the progress and the outcome of an upgrade are sent.

use crate::handoff::control::{Control, Progress};
use crate::supervisor::connection::ConnectionId;
use crate::supervisor::engine_process::EngineProcess;
use crate::supervisor::stderr::print;
use crate::supervisor::upgrade::outcome::{Outcome, UpgradeKind};

/// The request to answer: an engine with a number of its choice, or the supervisor of a takeover with the number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Requester {
    pub connection: ConnectionId,
    pub request: u64,
}

impl Requester {
    /// Sends a line, or with an outcome the last line. `engine`: the one at the requester's connection.
    pub(crate) fn send(self, engine: &mut EngineProcess, text: &str, outcome: Option<&Outcome>) {
        let progress = Control::Progress(Progress {
            request: self.request,
            text: text.to_owned(),
            exit: outcome.map(|outcome| u32::from(outcome.exit.code())),
        });
        if engine.is_foreign() && outcome.is_some() {
            engine.send_last(&progress);
        } else {
            engine.send(&progress, vec![]);
        }
    }
}

/// Prints a line about an upgrade.
pub(crate) fn print_line(kind: UpgradeKind, text: &str) {
    let what = match kind {
        UpgradeKind::Upgrade => "upgrade",
        UpgradeKind::Takeover => "takeover",
    };
    print(format!("{what}: {text}"));
}
