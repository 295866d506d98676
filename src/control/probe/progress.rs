//! How far a check has come, and what it found.

use std::time::Duration;

use super::failure::{ProbeFailure, excerpt};
use super::mismatch::{unmet, wanted};
use crate::backend::health::CheckStatus;
use crate::config::{Expectation, ExpectedAnswer, ScriptStep};

/// What a passed check found.
pub(super) struct Passed {
    pub(super) status: CheckStatus,
    pub(super) code: Option<u16>,
    /// Empty, or what the file says of it.
    pub(super) cause: String,
}

impl Passed {
    pub(super) fn new(status: CheckStatus) -> Self {
        Self { status, code: None, cause: String::new() }
    }
}

/// How far a check has come. It outlives the check's future, so that a timeout can name what it interrupted.
pub(super) struct ProbeProgress<'a> {
    pub(super) phase: ProbePhase<'a>,
    /// The answer so far; it never holds more than the phase's own limit.
    pub(super) received: Vec<u8>,
}

pub(super) enum ProbePhase<'a> {
    Connecting,
    Sending,
    /// Waiting for the head of an HTTP answer.
    Head,
    /// Waiting for what it holds behind its head.
    Content(&'a Expectation),
    /// Waiting for the end of a program.
    Program,
    /// Waiting for the answer that this step expects.
    Expecting(&'a ScriptStep, &'a ExpectedAnswer),
}

impl ProbeProgress<'_> {
    pub(super) fn timed_out(&self, limit: Duration) -> ProbeFailure {
        let nothing = self.received.is_empty();
        match self.phase {
            ProbePhase::Connecting => {
                ProbeFailure::new(CheckStatus::L4Tout, format!("no answer within {limit:?} (SYN unanswered)"))
            }
            ProbePhase::Sending => {
                ProbeFailure::new(CheckStatus::L7Tout, format!("request not taken within {limit:?} (connected)"))
            }
            ProbePhase::Head if !nothing => {
                let (lacks, got) = (lacking(&self.received), excerpt(&self.received));
                ProbeFailure::new(CheckStatus::L7Tout, format!("no {lacks} within {limit:?}, got `{got}`"))
            }
            // The server did answer in time, only not what was wanted: that is no timeout to the operator.
            ProbePhase::Expecting(step, answer) if !nothing => unmet(&answer.expectation, &self.received).said_of(step),
            ProbePhase::Expecting(step, answer) => {
                let wanted = wanted(&answer.expectation);
                let cause = format!("no answer within {limit:?}, expected {wanted}");
                ProbeFailure::new(CheckStatus::L7Tout, cause).said_of(step)
            }
            ProbePhase::Content(expectation) => {
                let wanted = wanted(expectation);
                let cause = format!("no end of the answer within {limit:?}, expected {wanted}");
                ProbeFailure::new(CheckStatus::L7Tout, cause)
            }
            ProbePhase::Program => {
                ProbeFailure::new(CheckStatus::L7Tout, format!("the program has not ended within {limit:?}"))
            }
            ProbePhase::Head => {
                ProbeFailure::new(CheckStatus::L7Tout, format!("no answer within {limit:?} (connected, request sent)"))
            }
        }
    }
}

fn lacking(head: &[u8]) -> &'static str {
    if head.contains(&b'\n') { "end of the headers" } else { "whole status line" }
}
