use super::*;
use crate::control::discovery::Discovered;

const DELAY: Duration = Duration::from_secs(30);

/// A guard over servers `s0`… with a clock that the test moves.
struct GuardBench {
    guard: Guard,
    wanted: Servers,
    now: Instant,
    checked: bool,
    failing: Vec<String>,
}

fn name(number: usize) -> String {
    format!("s{number}")
}

impl GuardBench {
    fn new(servers: usize, delay: Duration) -> Self {
        let server = Discovered::new("10.0.0.1:80".parse().unwrap());
        let wanted: Servers = (0..servers).map(|i| (name(i), server.clone())).collect();
        let mut guard = Guard::new(delay);
        guard.resume(&wanted);
        Self { guard, wanted, now: Instant::now(), checked: true, failing: Vec::new() }
    }

    fn settle(&mut self, leaving: &[usize], expired: bool, fresh: bool) -> usize {
        let how = if expired { Departure::Expired } else { Departure::Deleted };
        self.settle_as(leaving, how, fresh)
    }

    fn settle_as(&mut self, leaving: &[usize], how: Departure, fresh: bool) -> usize {
        leaving.iter().for_each(|number| drop(self.wanted.remove(&name(*number))));
        let left = leaving.iter().map(|i| (name(*i), how)).collect();
        let (failing, checked) = (self.failing.clone(), self.checked);
        let verdict = |name: &str| checked.then(|| !failing.iter().any(|failing| failing == name));
        self.guard.settle(&self.wanted, left, fresh, self.now, &verdict);
        self.guard.applied().len()
    }

    fn delete(&mut self, leaving: &[usize]) -> usize {
        self.settle(leaving, false, false)
    }

    fn expire(&mut self, leaving: &[usize]) -> usize {
        self.settle(leaving, true, false)
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }
}

#[test]
fn few_departures_pass_at_once() {
    let mut bench = GuardBench::new(4, DELAY);
    assert_eq!(bench.delete(&[0, 1]), 2);
    assert_eq!(bench.guard.ends(), None);
    // Half, and more than two, but not more than half.
    assert_eq!(GuardBench::new(6, DELAY).delete(&[0, 1, 2]), 3);
}

#[test]
fn more_than_half_and_more_than_two_are_held_until_a_listing_after_the_delay() {
    let mut bench = GuardBench::new(5, DELAY);
    assert_eq!(bench.delete(&[0, 1, 2]), 5);
    assert_eq!(bench.guard.ends(), Some(bench.now + DELAY));
    assert_eq!(bench.after(29).settle(&[], false, true), 5);
    assert!(!bench.guard.due(bench.now));
    assert_eq!(bench.after(1).settle(&[], false, false), 5);
    assert!(bench.guard.due(bench.now));
    assert_eq!(bench.settle(&[], false, true), 2);
}

#[test]
fn the_last_server_is_held_however_slowly_the_others_went() {
    let mut bench = GuardBench::new(3, DELAY);
    assert_eq!(bench.delete(&[0]), 2);
    assert_eq!(bench.after(60).delete(&[1]), 1);
    assert_eq!(bench.after(60).delete(&[2]), 1);
    assert_eq!(bench.guard.accept(&bench.wanted), 1);
    assert!(bench.guard.applied().is_empty());
}

#[test]
fn departures_one_by_one_add_up_within_ten_seconds() {
    let mut bench = GuardBench::new(6, DELAY);
    for number in 0..3 {
        assert_eq!(bench.after(1).delete(&[number]), 5 - number);
    }
    assert_eq!(bench.after(1).delete(&[3]), 3);
    let mut slow = GuardBench::new(6, DELAY);
    for number in 0..5 {
        assert_eq!(slow.after(6).delete(&[number]), 5 - number);
    }
}

#[test]
fn a_server_that_returns_is_no_longer_held() {
    let mut bench = GuardBench::new(3, DELAY);
    let before = bench.wanted.clone();
    bench.delete(&[0, 1, 2]);
    assert_eq!(bench.guard.held().len(), 3);
    bench.wanted = before;
    assert_eq!(bench.after(1).settle(&[], false, true), 3);
    assert!(bench.guard.held().is_empty());
    // And the departure that was undone does not count any more.
    assert_eq!(bench.delete(&[0]), 2);
}

#[test]
fn an_expired_lease_keeps_a_server_while_it_passes_its_checks() {
    let mut bench = GuardBench::new(4, DELAY);
    assert_eq!(bench.expire(&[0]), 4);
    assert_eq!(bench.guard.held()["s0"].why, HoldReason::Lease);
    bench.after(3).settle(&[], false, false);
    assert_eq!(bench.guard.held().len(), 1);
    bench.failing = vec![name(0)];
    assert_eq!(bench.settle(&[], false, false), 3);
}

#[test]
fn an_expired_lease_of_a_failing_server_takes_it_away_at_once() {
    let mut bench = GuardBench::new(4, DELAY);
    bench.failing = vec![name(0)];
    assert_eq!(bench.expire(&[0]), 3);
}

#[test]
fn leases_that_expire_one_after_another_become_a_mass() {
    let mut bench = GuardBench::new(5, DELAY);
    for number in 0..3 {
        assert_eq!(bench.after(1).expire(&[number]), 5);
    }
    assert!(bench.guard.held().values().all(|held| held.why == HoldReason::Mass));
}

#[test]
fn a_held_server_that_fails_its_checks_is_let_go() {
    let mut bench = GuardBench::new(5, DELAY);
    assert_eq!(bench.delete(&[0, 1, 2, 3]), 5);
    bench.failing = vec![name(0), name(1)];
    assert_eq!(bench.after(3).settle(&[], false, false), 3);
    assert_eq!(bench.guard.held().keys().collect::<Vec<_>>(), ["s2", "s3"]);
    // Without checks nothing tells that it died.
    let mut unchecked = GuardBench::new(3, DELAY);
    unchecked.checked = false;
    assert_eq!(unchecked.delete(&[0, 1, 2]), 3);
    assert_eq!(unchecked.after(3).settle(&[], false, false), 3);
    assert_eq!(unchecked.after(30).settle(&[], false, true), 0);
}

#[test]
fn announced_departures_pass_also_the_last_one() {
    let mut bench = GuardBench::new(4, DELAY);
    assert_eq!(bench.settle_as(&[0, 1, 2], Departure::Announced, false), 1);
    assert_eq!(bench.settle_as(&[3], Departure::Announced, false), 0);
    assert!(bench.guard.held().is_empty());
}

#[test]
fn a_server_that_is_about_to_leave_does_not_count_as_one_that_stays() {
    let mut bench = GuardBench::new(3, DELAY);
    for number in [0, 1] {
        bench.wanted.get_mut(&name(number)).unwrap().drain = true;
    }
    bench.settle(&[], false, false);
    // The last that serves.
    assert_eq!(bench.delete(&[2]), 3);
    assert_eq!(bench.guard.held().keys().collect::<Vec<_>>(), ["s2"]);
    assert_eq!(bench.settle_as(&[0, 1], Departure::Announced, false), 1);
}

#[test]
fn a_delay_of_zero_switches_the_guard_off() {
    let mut bench = GuardBench::new(5, Duration::ZERO);
    assert_eq!(bench.expire(&[0, 1, 2, 3, 4]), 0);
    assert!(bench.guard.held().is_empty());
}
