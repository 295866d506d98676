//! The single polling helper. Everything that has an event to wait for (EOF, READY=1, a counter's condition) does that
//! instead; this is for facts that only asking can tell, such as the output of another program.

use std::fmt::Debug;
use std::sync::mpsc;
use std::time::Duration;

use super::machine::Stopwatch;

/// Asks until the answer is `Some`, at most for `deadline` on a machine that runs.
///
/// # Panics
/// When the time is up, naming `what` was waited for.
#[track_caller]
pub(crate) fn eventually<T>(deadline: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(watch.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        pause(Duration::from_millis(2));
    }
}

/// Whether it comes true in time: for what others may fail to do.
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

/// Waits until `read` answers `want`; a failure shows the last answer.
#[track_caller]
pub(crate) fn eventually_eq<T: PartialEq + Debug>(deadline: Duration, want: T, mut read: impl FnMut() -> T) {
    let watch = Stopwatch::start();
    loop {
        let got = read();
        if got == want {
            return;
        }
        assert!(watch.elapsed() < deadline, "waited {deadline:?} in vain for {want:?}, it is {got:?}");
        pause(Duration::from_millis(2));
    }
}

/// Waits until `read` gives the same answer throughout `still`, and returns it: how a blocked writer is told from a slow one.
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
        assert!(watch.elapsed() < deadline, "waited {deadline:?} in vain for it to settle");
    }
}

/// Lets `span` of measured time pass, for tests that observe what happens (or costs) during it.
pub(crate) fn observe(span: Duration) {
    pause(span);
}

/// Nobody sends on this channel: receiving is a plain wait.
pub(crate) fn pause(span: Duration) {
    let (_keep, never) = mpsc::channel::<()>();
    assert!(never.recv_timeout(span).is_err());
}
