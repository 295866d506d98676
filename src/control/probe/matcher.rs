//! Looks for what is expected in an answer that grows.

use super::failure::ProbeFailure;
use super::mismatch::named;
use crate::backend::health::CheckStatus;
use crate::config::{Expectation, Pattern};

/// Pure, and its work is bounded: each byte is compared once with fixed bytes; an expression must look at all of them
/// again, up to [`MAX_SCANNED`] bytes in all.
pub(super) struct Matcher<'a> {
    expectation: &'a Expectation,
    /// Fixed bytes cannot begin before here.
    from: usize,
    scanned: usize,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(expectation: &'a Expectation) -> Self {
        Self { expectation, from: 0, scanned: 0 }
    }

    /// `Ok(false)`: more must be received; `Ok(true)` with an unwanted pattern: not found so far. `received` only ever
    /// grows at its end between calls.
    pub(super) fn is_met(&mut self, received: &[u8]) -> Result<bool, ProbeFailure> {
        let Expectation { pattern, unwanted } = self.expectation;
        let found = self.finds(pattern, received)?;
        if !unwanted {
            return Ok(found);
        }
        if found {
            let cause = format!("unwanted {} in the answer", named(pattern));
            return Err(ProbeFailure::new(CheckStatus::L7Rsp, cause));
        }
        Ok(!received.is_empty())
    }

    fn finds(&mut self, pattern: &Pattern, received: &[u8]) -> Result<bool, ProbeFailure> {
        match pattern {
            Pattern::Bytes(bytes) => {
                let found = contains(&received[self.from.min(received.len())..], bytes);
                self.from = received.len().saturating_sub(bytes.len().saturating_sub(1));
                Ok(found)
            }
            Pattern::Regex(regex) => {
                self.scan(received.len())?;
                Ok(regex.is_match(received))
            }
            Pattern::HexRegex(regex) => {
                self.scan(2 * received.len())?;
                Ok(regex.is_match(&hexadecimal(received)))
            }
        }
    }

    fn scan(&mut self, length: usize) -> Result<(), ProbeFailure> {
        self.scanned += length;
        if self.scanned <= MAX_SCANNED {
            return Ok(());
        }
        let cause = "answer comes in too many pieces to look for an expression";
        Err(ProbeFailure::new(CheckStatus::L7Rsp, cause))
    }
}

fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn contains(received: &[u8], bytes: &[u8]) -> bool {
    bytes.is_empty() || received.windows(bytes.len()).any(|part| part == bytes)
}

/// An honest answer comes in few pieces; one of 64k byte by byte would cost 2 GiB of matching.
const MAX_SCANNED: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::mismatch::unmet;
    use super::*;

    fn bytes(text: impl AsRef<[u8]>) -> Pattern {
        Pattern::Bytes(text.as_ref().to_vec())
    }

    fn expect(text: &str) -> Expectation {
        Expectation::wanted(bytes(text))
    }

    fn not(text: &str) -> Expectation {
        Expectation::unwanted(bytes(text))
    }

    fn regex(text: &str) -> Expectation {
        Expectation::wanted(Pattern::Regex(regex::bytes::Regex::new(text).unwrap()))
    }

    fn hex_regex(text: &str) -> Expectation {
        Expectation::wanted(Pattern::HexRegex(regex::bytes::Regex::new(text).unwrap()))
    }

    fn is_met(expectation: &Expectation, answer: &str) -> Result<bool, ProbeFailure> {
        Matcher::new(expectation).is_met(answer.as_bytes())
    }

    #[test]
    fn waits_until_the_wanted_bytes_are_there() {
        let master = expect("role:master");
        for (step, answer, met) in [
            (&master, "", false),
            (&master, "$9\r\nrole:maste", false),
            (&master, "$9\r\nrole:master\r\n", true),
            (&expect(""), "", true),
            (&regex(r"^\+(PONG|OK)\r"), "+PON", false),
            (&regex(r"^\+(PONG|OK)\r"), "+OK\r\n", true),
            (&not("LOADING"), "", false),
            (&not("LOADING"), "+", true),
            (&hex_regex("^2B(4F4B|50)0D"), "+OK\r\n", true),
            (&hex_regex("^2B(4F4B|50)0D"), "-OK\r\n", false),
        ] {
            assert_eq!(is_met(step, answer), Ok(met), "{step:?} {answer:?}");
        }
    }

    #[test]
    fn an_unwanted_answer_fails_at_once() {
        let failure = is_met(&not("LOADING"), "-LOADING Redis is").unwrap_err();
        assert_eq!(failure, ProbeFailure::new(CheckStatus::L7Rsp, "unwanted `LOADING` in the answer"));
    }

    #[test]
    fn quotes_the_answer_where_it_comes_closest() {
        let info = b"$300\r\n# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:7000\r\n";
        let quoted = unmet(&expect("role:master"), info).cause;
        assert!(quoted.starts_with("expected `role:master`, got `role:slave\r\nmaster_host:"), "{quoted}");
        let unlike = unmet(&expect("xyz"), b"-ERR\r\n").cause;
        assert_eq!(unlike, "expected `xyz`, got `-ERR`");
        let pattern = unmet(&regex("^PONG"), b"-ERR unknown command\r\n").cause;
        assert_eq!(pattern, "expected a match of `^PONG`, got `-ERR unknown command`");
    }

    #[test]
    fn an_expression_is_not_tried_without_end_on_a_dribbled_answer() {
        let step = regex("never");
        let mut matcher = Matcher::new(&step);
        let answer = vec![b'n'; 64 * 1024];
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
            let step = Expectation::wanted(Pattern::Bytes(bytes.clone()));
            let mut matcher = Matcher::new(&step);
            let mut met = false;
            for cut in cuts {
                met |= matcher.is_met(&answer[..cut.min(answer.len())]).unwrap();
            }
            met |= matcher.is_met(&answer).unwrap();
            prop_assert_eq!(met, contains(&answer, &bytes));
        }

        #[test]
        fn no_answer_makes_the_words_panic(
            answer in prop::collection::vec(any::<u8>(), 0..200),
            given in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            for step in [Expectation::wanted(bytes(&given)), Expectation::unwanted(bytes(&given)), regex("[^a]b+"), hex_regex("A+")] {
                let _met = Matcher::new(&step).is_met(&answer);
                prop_assert!(unmet(&step, &answer).cause.len() < 1000);
            }
        }
    }
}
