//! How far a stop has come: pure, by the clock.
//!
//! Open sessions continue for a while, or to their end; those that remain after that time are cut evenly over a fifth
//! of it, at most [`LONGEST_CUT`], so that their clients do not all come back at once.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::handoff::control::{Stop, StopMode};

/// A stop under way. `patience`: how long sessions may continue; `None`: to their end.
#[derive(Debug)]
pub(super) enum StopState {
    /// What waits in the queues of the listeners is served.
    Closing { patience: Option<Duration> },
    /// Open sessions continue.
    Draining { begun: Instant, patience: Option<Duration>, cut: bool },
    /// The last admin requests are answered.
    Answering,
}

/// What a stop has to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StopAction {
    Wait,
    /// All sessions are to be cut, spread over this time.
    Cut(Duration),
    End,
}

impl StopState {
    /// Whether orders wait until the present step is over.
    pub(super) fn holds_orders(&self) -> bool {
        !matches!(self, Self::Draining { .. })
    }

    /// The listeners are closed.
    pub(super) fn drain(&mut self, now: Instant) {
        if let Self::Closing { patience } = *self {
            *self = Self::Draining { begun: now, patience, cut: false };
        }
    }

    /// Sessions that may continue to their end get a limit from now on. False: they have one already.
    pub(super) fn hurry(&mut self, limit: Option<Duration>, now: Instant) -> bool {
        if let Self::Draining { begun, patience: patience @ None, .. } = self {
            (*begun, *patience) = (now, limit);
            return true;
        }
        false
    }

    /// What is to be done at `now`. `idle`: no session is left.
    pub(super) fn due(&mut self, now: Instant, idle: bool) -> StopAction {
        let Self::Draining { begun, patience, cut } = self else {
            return StopAction::Wait;
        };
        if idle {
            return StopAction::End;
        }
        let Some(patience) = *patience else {
            return StopAction::Wait;
        };
        let over = *begun + patience;
        // Streams that were cut may still be on their way to a slow reader, for `GRACE`.
        if now >= over + cut_time(patience) + GRACE {
            return StopAction::End;
        }
        if !*cut && now >= over {
            *cut = true;
            return StopAction::Cut(cut_time(patience));
        }
        StopAction::Wait
    }
}

/// How long sessions may continue after this order; `None`: to their end.
pub(super) fn patience(order: &Stop, config: &Config) -> Option<Duration> {
    match order.mode {
        StopMode::Now => Some(AT_ONCE),
        StopMode::Drain if order.is_soft() => config.global.hard_stop_after,
        StopMode::Drain => Some(hard_stop_after(config)),
    }
}

/// How long a stop may take, unless it is soft.
pub(super) fn stop_limit(config: &Config) -> Duration {
    let patience = hard_stop_after(config);
    patience + cut_time(patience) + GRACE
}

fn hard_stop_after(config: &Config) -> Duration {
    config.global.hard_stop_after.unwrap_or(HARD_STOP_AFTER)
}

fn cut_time(patience: Duration) -> Duration {
    (patience / 5).min(LONGEST_CUT)
}

/// After TERM, where the configuration names no time.
const HARD_STOP_AFTER: Duration = Duration::from_secs(30);
/// How long sessions may continue after INT: with the cut, the end comes within a second.
const AT_ONCE: Duration = Duration::from_millis(650);
const LONGEST_CUT: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn draining(patience: Option<Duration>, now: Instant) -> StopState {
        let mut state = StopState::Closing { patience };
        state.drain(now);
        state
    }

    #[test]
    fn no_session_is_cut_before_its_time_and_the_stop_ends_soon_after_it() {
        let (begun, patience) = (Instant::now(), Duration::from_secs(10));
        let mut state = StopState::Closing { patience: Some(patience) };
        assert_eq!(state.due(begun + 2 * patience, false), StopAction::Wait, "the listeners are not closed yet");
        state.drain(begun);
        let at = |millis| begun + Duration::from_millis(millis);
        assert_eq!(state.due(at(9_999), false), StopAction::Wait);
        assert_eq!(state.due(at(10_000), false), StopAction::Cut(Duration::from_secs(2)));
        assert_eq!(state.due(at(11_000), false), StopAction::Wait);
        assert_eq!(state.due(at(12_100), false), StopAction::Wait);
        assert_eq!(state.due(at(12_200), false), StopAction::End);
    }

    #[test]
    fn a_stop_ends_with_the_last_session() {
        let begun = Instant::now();
        for patience in [None, Some(Duration::from_secs(10))] {
            assert_eq!(draining(patience, begun).due(begun, true), StopAction::End);
        }
    }

    #[test]
    fn a_soft_stop_waits_until_it_is_hurried() {
        let begun = Instant::now();
        let day = begun + Duration::from_secs(24 * 3600);
        let mut state = draining(None, begun);
        assert_eq!(state.due(day, false), StopAction::Wait);
        let second = Duration::from_secs(1);
        assert!(state.hurry(Some(second), day));
        assert!(!state.hurry(Some(second), day), "it has a limit already");
        assert_eq!(state.due(day + second, false), StopAction::Cut(second / 5));
    }
}
