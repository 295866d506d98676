//! The running upgrade as this engine sees it: its phase, and the requests that wait for its outcome.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::control::admin::{Answer, ProgressSender};
use crate::engine::admin_socket::Reply;
use crate::exit::ExitStatus;
use crate::handoff::control::{Progress, UpgradePhase};

/// Phase of the running upgrade, and its waiting requests.
#[derive(Debug)]
pub(super) struct UpgradeStatus {
    phase: UpgradePhase,
    /// When the phase last left `Idle`.
    since: Instant,
    askers: HashMap<u64, Asker>,
    next_request: u64,
}

/// A client of the admin socket that waits for the outcome.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) progress: ProgressSender,
    pub(super) reply: Reply,
}

impl Default for UpgradeStatus {
    fn default() -> Self {
        Self { phase: UpgradePhase::Idle, since: Instant::now(), askers: HashMap::new(), next_request: 1 }
    }
}

impl UpgradeStatus {
    pub(super) fn is_running(&self) -> bool {
        self.phase != UpgradePhase::Idle
    }

    pub(super) fn phase(&self) -> UpgradePhase {
        self.phase
    }

    /// Since the running upgrade began.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn set_phase(&mut self, phase: UpgradePhase) {
        if !self.is_running() {
            self.since = Instant::now();
        }
        self.phase = phase;
    }

    /// A number for the next request to the supervisor. Its lines of progress bear the same.
    pub(super) fn number_request(&mut self) -> u64 {
        let number = self.next_request;
        self.next_request += 1;
        number
    }

    /// Lets a client wait for the outcome of a request.
    pub(super) fn wait(&mut self, request: u64, asker: Asker) {
        self.askers.insert(request, asker);
    }

    /// Passes a line on to the client of its request; the last line is its answer. A client that has gone away does
    /// not stop the upgrade.
    pub(super) fn report(&mut self, line: Progress) {
        let Some(code) = line.exit else {
            if let Some(asker) = self.askers.get(&line.request) {
                asker.progress.say(line.text);
            }
            return;
        };
        if let Some(asker) = self.askers.remove(&line.request) {
            asker.reply.send(answer(code, line.text));
        }
    }
}

fn answer(code: u32, text: String) -> Answer {
    match u8::try_from(code).unwrap_or(1) {
        0 => Answer::done(text),
        code if code == ExitStatus::Busy.code() => Answer::busy(text),
        code => Answer::failed(ExitStatus::from_code(code), text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_an_upgrade_starts_when_it_begins_and_not_with_each_phase() {
        let mut status = UpgradeStatus::default();
        assert!(!status.is_running());
        status.set_phase(UpgradePhase::Probe);
        let since = status.since;
        status.set_phase(UpgradePhase::Move);
        assert_eq!((status.since, status.phase()), (since, UpgradePhase::Move));
        status.set_phase(UpgradePhase::Idle);
        assert!(!status.is_running());
    }

    #[test]
    fn every_request_has_a_number_of_its_own() {
        let mut status = UpgradeStatus::default();
        assert_eq!([status.number_request(), status.number_request()], [1, 2]);
    }
}
