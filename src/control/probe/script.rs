//! The script check: send and expect, step by step.
//!
//! An expectation looks at everything received since the last send (or connect). `expect` and `expect_regex` wait
//! for more until they are met. `expect_not` judges the whole answer, whose end only the server knows: an expectation
//! before it has found the end, the server has closed, or it has been silent, briefly behind a line and longer elsewhere.

use std::time::Duration;

use tokio::time::timeout;

use super::conn::{Conn, Talk};
use super::failure::{ProbeFailure, excerpt};
use super::mismatch::{unmet, wanted};
use super::progress::{Passed, ProbePhase, ProbeProgress};
use crate::backend::health::CheckStatus;
use crate::config::{Check, ScriptStep};
use crate::sys::addr::Addr;

/// Runs all steps; each `Connect` but the first begins a new connection. The last one is left in `last`, unless nothing
/// was to be said on it.
pub(super) async fn ask<'a>(
    steps: &'a [ScriptStep],
    check: &Check,
    place: &Addr,
    progress: &mut ProbeProgress<'a>,
    last: &mut Option<Conn>,
) -> Result<Passed, ProbeFailure> {
    let steps = match steps {
        [ScriptStep::Connect, rest @ ..] => rest,
        all => all,
    };
    let silent = steps.iter().all(|step| matches!(step, ScriptStep::Connect));
    let talk = if silent { Talk::Nothing } else { Talk::Something };
    let mut conn = last.insert(Conn::open(place, talk, check).await?);
    let mut before: Option<&ScriptStep> = None;
    for step in steps {
        match step {
            ScriptStep::Connect => {
                progress.phase = ProbePhase::Connecting;
                progress.received.clear();
                if !silent {
                    conn.will_close_in_order();
                }
                conn = last.insert(Conn::open(place, talk, check).await?);
            }
            ScriptStep::Send(bytes) => {
                progress.phase = ProbePhase::Sending;
                progress.received.clear();
                conn.send(bytes).await?;
            }
            ScriptStep::Expect(_) | ScriptStep::ExpectNot(_) | ScriptStep::ExpectRegex(_) => {
                progress.phase = ProbePhase::Expecting(step);
                let mut matcher = Matcher::new(step);
                expect(&mut matcher, conn, &mut progress.received).await?;
                let ended = matches!(before, Some(ScriptStep::Expect(_) | ScriptStep::ExpectRegex(_)));
                if matches!(step, ScriptStep::ExpectNot(_)) && !ended {
                    hear_out(&mut matcher, conn, &mut progress.received, check.timeout / 2).await?;
                }
            }
        }
        before = Some(step);
    }
    if silent && check.send_proxy.is_none() {
        // By an RST, before the server's `accept` sees it.
        drop(last.take());
    }
    let status = if silent { CheckStatus::L4Ok } else { CheckStatus::L7Ok };
    Ok(Passed { status, code: None })
}

async fn expect(matcher: &mut Matcher<'_>, conn: &mut Conn, received: &mut Vec<u8>) -> Result<(), ProbeFailure> {
    // What an earlier expectation has read may be enough, even if the server has closed since.
    while !matcher.is_met(received)? {
        if received.len() == MAX_ANSWER {
            let cause = format!("no {} in the first 64k of the answer", wanted(matcher.step));
            return Err(ProbeFailure::new(CheckStatus::L7Rsp, cause));
        }
        if conn.receive(received, MAX_ANSWER).await? == 0 {
            let cause = match received.as_slice() {
                [] => "connection closed without an answer".to_owned(),
                some => format!("connection closed, {}", unmet(matcher.step, some).cause),
            };
            return Err(ProbeFailure::new(CheckStatus::L7Rsp, cause));
        }
    }
    Ok(())
}

/// Receives the rest of an answer that is to lack something, until the server closes or is silent.
async fn hear_out(
    matcher: &mut Matcher<'_>,
    conn: &mut Conn,
    received: &mut Vec<u8>,
    patience: Duration,
) -> Result<(), ProbeFailure> {
    while received.len() < MAX_ANSWER {
        let silence = if received.ends_with(b"\n") { patience.min(BEHIND_A_LINE) } else { patience };
        match timeout(silence, conn.receive(received, MAX_ANSWER)).await {
            Ok(Ok(1..)) => matcher.is_met(received)?,
            Ok(Err(broken)) => return Err(broken),
            Ok(Ok(0)) | Err(_) => break,
        };
    }
    Ok(())
}

/// Looks for what one step expects in an answer that grows. Pure, and its work is bounded: each byte is compared once
/// with fixed bytes; an expression must look at all of them again, up to [`MAX_SCANNED`] bytes in all.
struct Matcher<'a> {
    step: &'a ScriptStep,
    /// Fixed bytes cannot begin before here.
    from: usize,
    scanned: usize,
}

impl<'a> Matcher<'a> {
    fn new(step: &'a ScriptStep) -> Self {
        Self { step, from: 0, scanned: 0 }
    }

    /// `Ok(false)`: more must be received; `Ok(true)` with `ExpectNot`: not found so far. `received` only ever grows at its
    /// end between calls.
    fn is_met(&mut self, received: &[u8]) -> Result<bool, ProbeFailure> {
        match self.step {
            ScriptStep::Expect(bytes) => {
                let found = contains(&received[self.from..], bytes);
                self.from = received.len().saturating_sub(bytes.len().saturating_sub(1));
                Ok(found)
            }
            ScriptStep::ExpectRegex(regex) => {
                self.scanned += received.len();
                if self.scanned > MAX_SCANNED {
                    let cause = "answer comes in too many pieces to look for an expression";
                    return Err(ProbeFailure::new(CheckStatus::L7Rsp, cause));
                }
                Ok(regex.is_match(received))
            }
            ScriptStep::ExpectNot(bytes) => {
                let found = contains(&received[self.from..], bytes);
                self.from = received.len().saturating_sub(bytes.len().saturating_sub(1));
                if found {
                    let cause = format!("unwanted `{}` in the answer", excerpt(bytes));
                    return Err(ProbeFailure::new(CheckStatus::L7Rsp, cause));
                }
                Ok(!received.is_empty())
            }
            ScriptStep::Connect | ScriptStep::Send(_) => Ok(true),
        }
    }
}

fn contains(received: &[u8], bytes: &[u8]) -> bool {
    bytes.is_empty() || received.windows(bytes.len()).any(|part| part == bytes)
}

/// Silence behind a line that ends an answer: its last packets may come apart.
const BEHIND_A_LINE: Duration = Duration::from_millis(100);

/// An answer is kept up to here.
const MAX_ANSWER: usize = 64 * 1024;

/// An honest answer comes in few pieces; one of 64k byte by byte would cost 2 GiB of matching.
const MAX_SCANNED: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn regex(text: &str) -> ScriptStep {
        ScriptStep::ExpectRegex(regex::bytes::Regex::new(text).unwrap())
    }

    fn is_met(step: &ScriptStep, answer: &str) -> Result<bool, ProbeFailure> {
        Matcher::new(step).is_met(answer.as_bytes())
    }

    #[test]
    fn waits_until_the_wanted_bytes_are_there() {
        let master = ScriptStep::Expect(b"role:master".to_vec());
        for (step, answer, met) in [
            (&master, "", false),
            (&master, "$9\r\nrole:maste", false),
            (&master, "$9\r\nrole:master\r\n", true),
            (&ScriptStep::Expect(vec![]), "", true),
            (&regex(r"^\+(PONG|OK)\r"), "+PON", false),
            (&regex(r"^\+(PONG|OK)\r"), "+OK\r\n", true),
            (&ScriptStep::ExpectNot(b"LOADING".to_vec()), "", false),
            (&ScriptStep::ExpectNot(b"LOADING".to_vec()), "+", true),
        ] {
            assert_eq!(is_met(step, answer), Ok(met), "{step:?} {answer:?}");
        }
    }

    #[test]
    fn an_unwanted_answer_fails_at_once() {
        let failure = is_met(&ScriptStep::ExpectNot(b"LOADING".to_vec()), "-LOADING Redis is").unwrap_err();
        assert_eq!(failure, ProbeFailure::new(CheckStatus::L7Rsp, "unwanted `LOADING` in the answer"));
    }

    #[test]
    fn quotes_the_answer_where_it_comes_closest() {
        let info = b"$300\r\n# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:7000\r\n";
        let quoted = unmet(&ScriptStep::Expect(b"role:master".to_vec()), info).cause;
        assert!(quoted.starts_with("expected `role:master`, got `role:slave\r\nmaster_host:"), "{quoted}");
        let unlike = unmet(&ScriptStep::Expect(b"xyz".to_vec()), b"-ERR\r\n").cause;
        assert_eq!(unlike, "expected `xyz`, got `-ERR`");
        let pattern = unmet(&regex("^PONG"), b"-ERR unknown command\r\n").cause;
        assert_eq!(pattern, "expected a match of `^PONG`, got `-ERR unknown command`");
    }

    #[test]
    fn an_expression_is_not_tried_without_end_on_a_dribbled_answer() {
        let step = regex("never");
        let mut matcher = Matcher::new(&step);
        let answer = vec![b'n'; MAX_ANSWER];
        let tried = (1..=answer.len()).take_while(|&len| matcher.is_met(&answer[..len]).is_ok()).count();
        assert!((2_000..4_000).contains(&tried), "{tried}");
    }

    proptest! {
        /// However an answer is cut, fixed bytes are found in it exactly if they are there.
        #[test]
        fn a_cut_answer_matches_as_the_whole_one(
            answer in prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..60),
            bytes in prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b')], 0..6),
            mut cuts in prop::collection::vec(0..60usize, 0..12),
        ) {
            cuts.sort_unstable();
            let step = ScriptStep::Expect(bytes);
            let mut matcher = Matcher::new(&step);
            let mut met = false;
            for cut in cuts {
                met |= matcher.is_met(&answer[..cut.min(answer.len())]).unwrap();
            }
            met |= matcher.is_met(&answer).unwrap();
            let ScriptStep::Expect(bytes) = &step else { unreachable!() };
            prop_assert_eq!(met, contains(&answer, bytes));
        }

        #[test]
        fn no_answer_makes_the_words_panic(
            answer in prop::collection::vec(any::<u8>(), 0..200),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            for step in [ScriptStep::Expect(bytes.clone()), ScriptStep::ExpectNot(bytes), regex("[^a]b+")] {
                let _met = Matcher::new(&step).is_met(&answer);
                prop_assert!(unmet(&step, &answer).cause.len() < 1000);
            }
        }
    }
}
