//! How an answer differs from what a script expects, in words.

use super::failure::{ProbeFailure, excerpt};
use crate::backend::health::CheckStatus;
use crate::config::{Expectation, Pattern};

/// An answer came, but not the wanted one.
pub(super) fn unmet(expectation: &Expectation, received: &[u8]) -> ProbeFailure {
    let nearest = match &expectation.pattern {
        Pattern::Bytes(bytes) if !expectation.unwanted => &received[nearest(received, bytes)..],
        _ => received,
    };
    let cause = format!("expected {}, got `{}`", wanted(expectation), excerpt(nearest));
    ProbeFailure::new(CheckStatus::L7Rsp, cause)
}

pub(super) fn wanted(expectation: &Expectation) -> String {
    let pattern = named(&expectation.pattern);
    if expectation.unwanted { format!("anything but {pattern}") } else { pattern }
}

pub(super) fn named(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Bytes(bytes) => format!("`{}`", excerpt(bytes)),
        Pattern::Regex(regex) | Pattern::HexRegex(regex) => {
            format!("a match of `{}`", excerpt(regex.as_str().as_bytes()))
        }
    }
}

/// Where the answer comes closest to the wanted bytes, so that `role:slave` is quoted out of a long answer to
/// a question about `role:master`; the beginning if nothing comes close.
fn nearest(received: &[u8], bytes: &[u8]) -> usize {
    let common = |at: usize| received[at..].iter().zip(bytes).take(NEAR).take_while(|(a, b)| a == b).count();
    let mut best = (CLOSE - 1, 0);
    for at in 0..received.len().min(NEAR_WITHIN) {
        let length = common(at);
        if length > best.0 {
            best = (length, at);
        }
    }
    best.1
}

/// `nearest` compares up to this many bytes at each place,
const NEAR: usize = 32;
/// and takes fewer common bytes than these for chance.
const CLOSE: usize = 3;
/// at that many places,
const NEAR_WITHIN: usize = 8 * 1024;
