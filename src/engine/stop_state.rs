//! How far a stop has come: pure, by the clock.
//!
//! Open sessions continue for a while; those that remain are cut evenly over the last fifth of it.

use std::time::{Duration, Instant};

use crate::config::Config;

/// A stop under way.
#[derive(Debug)]
pub(super) enum StopState {
    /// What waits in the queues of the listeners is served.
    Closing { patience: Duration },
    /// Open sessions continue.
    Draining { begun: Instant, patience: Duration, cut: bool },
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

    /// What is to be done at `now`. `idle`: no session is left.
    pub(super) fn due(&mut self, now: Instant, idle: bool) -> StopAction {
        let Self::Draining { begun, patience, cut } = self else {
            return StopAction::Wait;
        };
        // Streams that were cut may still be on their way to a slow reader, for `GRACE`.
        if idle || now >= *begun + *patience + GRACE {
            return StopAction::End;
        }
        if !*cut && now >= *begun + *patience * 4 / 5 {
            *cut = true;
            return StopAction::Cut(*patience / 5);
        }
        StopAction::Wait
    }
}

/// How long a stop may take.
pub(super) fn stop_limit(config: &Config) -> Duration {
    config.global.hard_stop_after + GRACE
}

const GRACE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_cut_once_in_the_last_fifth_and_the_stop_ends_after_it() {
        let (begun, patience) = (Instant::now(), Duration::from_secs(10));
        let mut state = StopState::Closing { patience };
        assert_eq!(state.due(begun + 2 * patience, false), StopAction::Wait, "the listeners are not closed yet");
        state.drain(begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(state.due(at(7), false), StopAction::Wait);
        assert_eq!(state.due(at(8), false), StopAction::Cut(Duration::from_secs(2)));
        assert_eq!(state.due(at(9), false), StopAction::Wait);
        assert_eq!(state.due(at(10), false), StopAction::Wait);
        assert_eq!(state.due(at(11), false), StopAction::End);
    }

    #[test]
    fn a_stop_ends_with_the_last_session() {
        let begun = Instant::now();
        let mut state = StopState::Closing { patience: Duration::from_secs(10) };
        state.drain(begun);
        assert_eq!(state.due(begun, true), StopAction::End);
    }
}
