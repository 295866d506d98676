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

    /// Takes up to `most` names that are due, those that were found last time first: names that hang delay no others.
    pub(super) fn take_due(&mut self, most: usize, now: Instant) -> Vec<String> {
        if most == 0 {
            return Vec::new();
        }
        let due = |(name, state): (&String, &NameState)| {
            let due = state.due.filter(|due| *due <= now)?;
            Some((state.failing, due, name.clone()))
        };
        let mut due: Vec<_> = self.names.iter().filter_map(due).collect();
        due.sort();
        due.truncate(most);
        for (_, _, name) in &due {
            if let Some(state) = self.names.get_mut(name) {
                state.due = None;
            }
        }
        due.into_iter().map(|(_, _, name)| name).collect()
    }

    /// When the next name is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.names.values().filter_map(|state| state.due).min()
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
