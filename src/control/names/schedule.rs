//! Schedule: which name is looked up next, and when again. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::found::FoundAddresses;
use crate::pace::Backoff;

/// A name and the outcome of its look-up.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) outcome: Result<FoundAddresses, String>,
}

/// The names that are followed.
#[derive(Debug, Default)]
pub(super) struct LookupSchedule {
    names: BTreeMap<String, NameState>,
}

#[derive(Debug)]
struct NameState {
    /// `None`: its look-up is under way.
    due: Option<Instant>,
    /// It was looked up at least once.
    tried: bool,
    /// The last time in vain.
    failing: bool,
    backoff: Backoff,
}

impl NameState {
    /// The last look-up had addresses.
    fn is_found(&self) -> bool {
        self.tried && !self.failing
    }
}

impl LookupSchedule {
    /// Follows these names and no others; new ones are due at once.
    pub(super) fn follow(&mut self, names: &BTreeSet<String>, now: Instant) {
        self.names.retain(|name, _| names.contains(name));
        for name in names {
            self.names.entry(name.clone()).or_insert_with(|| NameState {
                due: Some(now),
                tried: false,
                failing: false,
                backoff: Backoff::new(FIRST_RETRY, FOLLOW).jittered(),
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Every name is due, at once.
    pub(super) fn all_due(&mut self, now: Instant) {
        for state in self.names.values_mut().filter(|state| state.due.is_some()) {
            state.due = Some(now);
            state.backoff.reset();
        }
    }

    /// Takes up to `most` names that are due, those that were found last time first. A part of the look-ups under way is
    /// theirs alone: names that hang delay no others.
    pub(super) fn take_due(&mut self, most: usize, now: Instant) -> Vec<String> {
        if most == 0 {
            return Vec::new();
        }
        let mut unproven_left = self.unproven_left();
        let mut due: Vec<_> =
            self.names.iter_mut().filter(|(_, state)| state.due.is_some_and(|due| due <= now)).collect();
        due.sort_by_key(|(_, state)| (!state.is_found(), state.failing, state.due));
        due.retain(|(_, state)| {
            let taken = state.is_found() || unproven_left > 0;
            unproven_left -= usize::from(taken && !state.is_found());
            taken
        });
        let taken = due.into_iter().take(most).map(|(name, state)| {
            state.due = None;
            name.clone()
        });
        taken.collect()
    }

    /// When the next name is due that may be looked up beside those under way.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let all = self.unproven_left() > 0;
        self.names.values().filter(|state| all || state.is_found()).filter_map(|state| state.due).min()
    }

    /// How many names that were not found last time may be looked up beside those under way.
    fn unproven_left(&self) -> usize {
        UNPROVEN.saturating_sub(self.names.values().filter(|state| state.due.is_none() && !state.is_found()).count())
    }

    /// Takes the end of a look-up in.
    pub(super) fn looked_up(&mut self, answer: &Answer, now: Instant) {
        let Some(state) = self.names.get_mut(&answer.name) else { return };
        state.tried = true;
        state.failing = answer.outcome.is_err();
        let pause = match &answer.outcome {
            Ok(found) => {
                state.backoff.reset();
                let valid = found.ttl.unwrap_or(FOLLOW).clamp(FIRST_RETRY, FOLLOW);
                // Jitter keeps load balancers that were started together from asking together.
                valid.mul_f64(0.9 + fastrand::f64() / 5.0)
            }
            Err(_) => state.backoff.delay(),
        };
        state.due = Some(now + pause);
    }

    /// Whether each of these names was looked up, or is not followed any more.
    pub(super) fn has_tried(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.get(name).is_none_or(|state| state.tried))
    }
}

/// Look-ups at once of names that were not found last time; fewer than all that run at once.
const UNPROVEN: usize = 12;

/// Between two look-ups of the same name, where the name server allows it.
const FOLLOW: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(names: &[&str], now: Instant) -> LookupSchedule {
        let mut schedule = LookupSchedule::default();
        schedule.follow(&names.iter().map(|&name| name.to_owned()).collect(), now);
        schedule
    }

    fn answer(name: &str, ttl: Option<u64>) -> Answer {
        let found = |ttl| FoundAddresses { addresses: vec![], unknown: None, ttl: Some(Duration::from_secs(ttl)) };
        Answer { name: name.to_owned(), outcome: ttl.map(found).ok_or_else(String::new) }
    }

    #[test]
    fn names_that_hang_delay_no_others() {
        let now = Instant::now();
        let mut schedule = schedule(&["a", "b", "c"], now);
        assert_eq!(schedule.take_due(9, now), ["a", "b", "c"]);
        for (name, ttl) in [("a", None), ("b", None), ("c", Some(5))] {
            schedule.looked_up(&answer(name, ttl), now);
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(schedule.take_due(1, later), ["c"]);
        assert_eq!(schedule.take_due(1, later).len(), 1);
    }

    #[test]
    fn names_never_found_leave_room_for_those_that_were() {
        let now = Instant::now();
        let names: Vec<String> = (0..40).map(|number| format!("n{number:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["app"]).collect();
        let mut schedule = schedule(&names, now);
        assert_eq!(schedule.take_due(1, now), ["app"]);
        schedule.looked_up(&answer("app", Some(1)), now);
        assert_eq!(schedule.take_due(15, now).len(), UNPROVEN);
        let later = now + Duration::from_secs(2);
        assert!(schedule.next_due().unwrap() > now, "nothing else may be looked up before");
        assert_eq!(schedule.take_due(4, later), ["app"]);
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn the_time_to_live_counts_within_bounds() {
        let now = Instant::now();
        for (ttl, least, most) in [(0, 0.9, 1.1), (5, 4.5, 5.5), (86_400, 9.0, 11.0)] {
            let mut schedule = schedule(&["a"], now);
            schedule.take_due(1, now);
            assert_eq!(schedule.next_due(), None);
            schedule.looked_up(&answer("a", Some(ttl)), now);
            let pause = (schedule.next_due().unwrap() - now).as_secs_f64();
            assert!(pause >= least && pause <= most, "{ttl}: {pause}");
        }
    }

    #[test]
    fn a_name_that_fails_is_tried_again_soon_and_then_less_often() {
        let mut now = Instant::now();
        let mut schedule = schedule(&["a"], now);
        assert!(!schedule.has_tried(&["a".to_owned()]));
        for most in [1, 2, 4, 8, 10, 10] {
            schedule.take_due(1, now);
            schedule.looked_up(&answer("a", None), now);
            let due = schedule.next_due().unwrap();
            assert!(due - now <= Duration::from_secs(most));
            now = due;
        }
        assert!(schedule.has_tried(&["a".to_owned(), "gone".to_owned()]));
        schedule.all_due(now);
        assert_eq!(schedule.take_due(1, now), ["a"]);
    }
}
