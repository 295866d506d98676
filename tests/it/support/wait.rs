//! The single polling helper. Where there is an event (EOF, READY=1, a condition of a counter) tests wait for it; this
//! is for facts without one, such as the output of another program.

use std::fmt::Debug;
use std::sync::mpsc;
use std::time::Duration;

use super::machine::Stopwatch;

/// Polls until the answer is `Some`, for at most `deadline`, standstills of the machine excluded.
///
/// # Panics
/// When the time is up, with `what` was waited for.
#[track_caller]
pub(crate) fn eventually<T>(deadline: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(watch.elapsed() < deadline, "timed out after {deadline:?}: {what}");
        pause(Duration::from_millis(2));
    }
}

/// Whether the condition becomes true in time, for conditions that may fail to.
pub(crate) fn within(limit: Duration, is_true: impl Fn() -> bool) -> bool {
    let watch = Stopwatch::start();
    while !is_true() {
        if watch.elapsed() > limit {
            return false;
        }
        pause(Duration::from_millis(20));
    }
    true
}

/// Waits until `read` returns `want`; a failure shows the last value.
#[track_caller]
pub(crate) fn eventually_eq<T: PartialEq + Debug>(deadline: Duration, want: T, mut read: impl FnMut() -> T) {
    let watch = Stopwatch::start();
    loop {
        let got = read();
        if got == want {
            return;
        }
        assert!(watch.elapsed() < deadline, "timed out after {deadline:?}: {got:?} instead of {want:?}");
        pause(Duration::from_millis(2));
    }
}

/// Waits until `read` returns the same value throughout `still`, and returns it: tells a blocked writer from a slow
/// one.
#[track_caller]
pub(crate) fn settled<T: PartialEq>(deadline: Duration, still: Duration, mut read: impl FnMut() -> T) -> T {
    let watch = Stopwatch::start();
    let (mut last, mut since) = (read(), Stopwatch::start());
    loop {
        pause(Duration::from_millis(5));
        let now = read();
        if now != last {
            (last, since) = (now, Stopwatch::start());
        } else if since.elapsed() >= still {
            return last;
        }
        assert!(watch.elapsed() < deadline, "timed out after {deadline:?}: the value still changes");
    }
}

/// Lets `span` of time pass. Only for what has no event: a span in which something must not happen, one whose cost is
/// measured, and the fixed pace of a load.
pub(crate) fn observe(span: Duration) {
    pause(span);
}

/// No message is ever sent on this channel: receiving is a plain wait.
pub(crate) fn pause(span: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    assert!(never.recv_timeout(span).is_err());
}
