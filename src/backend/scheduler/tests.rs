use super::*;
use std::collections::HashMap;
use std::net::Ipv4Addr;

struct SchedulerBench {
    schedule: Schedule,
    loads: Loads,
    cursor: AtomicUsize,
}

impl SchedulerBench {
    fn new(balance: Balance, weights: &[u32]) -> Self {
        let loads = Loads::default();
        let candidates = weights
            .iter()
            .enumerate()
            .map(|(member, weight)| Candidate {
                member,
                slot: loads.allot().unwrap(),
                weight: *weight,
                maxconn: u32::MAX,
                minconn: u32::MAX,
                name_hash: xxh3_64(format!("s{member}").as_bytes()),
            })
            .collect();
        Self { schedule: Schedule::new(balance, candidates), loads, cursor: AtomicUsize::new(0) }
    }

    fn take(&self, hint: &Hint) -> Option<usize> {
        self.schedule.take(&self.loads, &self.cursor, hint).map(|c| c.member)
    }

    fn from(&self, client: u32) -> usize {
        let hint = Hint { client: Some(Ipv4Addr::from(client).into()), ..Hint::default() };
        self.take(&hint).unwrap()
    }
}

#[test]
fn a_limit_grows_with_the_sessions_of_the_backend_as_in_haproxy() {
    let SchedulerBench { schedule, .. } = SchedulerBench::new(Balance::RoundRobin, &[1]);
    let schedule = schedule.with_fullconn(50);
    let candidate = Candidate { minconn: 2, maxconn: 10, ..schedule.candidates()[0].clone() };
    for (busy, limit) in [(0, 2), (9, 2), (10, 2), (15, 3), (49, 9), (50, 10), (u32::MAX, 10)] {
        assert_eq!(schedule.limit(&candidate, busy), limit, "{busy}");
    }
    let fixed = Candidate { minconn: 10, ..candidate };
    assert_eq!(schedule.limit(&fixed, 0), 10);
}

#[test]
fn roundrobin_follows_the_weights_exactly_and_smoothly() {
    let bench = SchedulerBench::new(Balance::RoundRobin, &[1, 2, 3]);
    let picks: Vec<usize> = (0..600).map(|_| bench.take(&Hint::default()).unwrap()).collect();
    for window in picks.chunks(6) {
        let count = |m| window.iter().filter(|p| **p == m).count();
        assert_eq!([count(0), count(1), count(2)], [1, 2, 3], "{window:?}");
    }
    assert!(!picks[..6].windows(3).any(|w| w == [2, 2, 2]), "bunched: {:?}", &picks[..6]);
}

#[test]
fn equal_weights_make_a_cycle_of_one_turn_each() {
    let bench = SchedulerBench::new(Balance::RoundRobin, &[256; 1000]);
    let first: Vec<usize> = (0..1000).map(|_| bench.take(&Hint::default()).unwrap()).collect();
    assert_eq!(first, (0..1000).collect::<Vec<_>>());
}

#[test]
fn leastconn_chooses_the_idle_server_whatever_its_weight() {
    let bench = SchedulerBench::new(Balance::LeastConn, &[1, 200]);
    bench.loads.take(Slot(1), u32::MAX);
    assert_eq!(bench.take(&Hint::default()), Some(0));
}

#[test]
fn leastconn_fills_in_proportion_to_the_weights() {
    let bench = SchedulerBench::new(Balance::LeastConn, &[1, 2, 3]);
    for _ in 0..60 {
        bench.take(&Hint::default()).unwrap();
    }
    let loads: Vec<u32> = (0..3).map(|slot| bench.loads.sessions(Slot(slot))).collect();
    assert!(loads[0].abs_diff(10) <= 1 && loads[1].abs_diff(20) <= 1 && loads[2].abs_diff(30) <= 1, "{loads:?}");
}

#[test]
fn leastconn_is_off_by_no_more_than_the_threads_that_pick() {
    let bench = SchedulerBench::new(Balance::LeastConn, &[1; 10]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2500).for_each(|_| assert!(bench.take(&Hint::default()).is_some())));
        }
    });
    let loads: Vec<u32> = (0..10).map(|slot| bench.loads.sessions(Slot(slot))).collect();
    assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 4, "{loads:?}");
}

#[test]
fn removing_one_server_moves_only_its_clients() {
    let all = SchedulerBench::new(Balance::Source, &[1; 10]);
    let mut fewer: Vec<Candidate> = all.schedule.candidates.clone();
    fewer.remove(3);
    let fewer = SchedulerBench {
        schedule: Schedule::new(Balance::Source, fewer),
        ..SchedulerBench::new(Balance::Source, &[1; 10])
    };
    let mut share: HashMap<usize, u32> = HashMap::new();
    for client in 0..20_000 {
        let before = all.from(client);
        *share.entry(before).or_default() += 1;
        if before != 3 {
            assert_eq!(fewer.from(client), before);
        }
    }
    assert!(share.values().all(|n| (1200..2900).contains(n)), "{share:?}");
}

#[test]
fn source_follows_weights_of_any_ratio_within_bounded_memory() {
    for weights in [[30, 10, 1], [256, 16, 1], [256, 256, 255], [16, 4, 1]] {
        let bench = SchedulerBench::new(Balance::Source, &weights);
        let PickOrder::Ring(points) = &bench.schedule.order else { unreachable!("it is `source`") };
        assert!(points.len() <= weights.len() * 2048, "{} points", points.len());
        let mut served = [0_u32; 3];
        (0..40_000).for_each(|client| served[bench.from(client)] += 1);
        let total: u32 = weights.iter().sum();
        for (served, weight) in served.iter().zip(weights) {
            let due = 40_000 * weight / total;
            assert!(served.abs_diff(due) < 40_000 / 50 + due / 10, "{weights:?}: {served} instead of {due}");
        }
    }
}

#[test]
fn random_keeps_the_load_even() {
    let bench = SchedulerBench::new(Balance::RANDOM, &[1; 20]);
    for _ in 0..20_000 {
        bench.take(&Hint::default()).unwrap();
    }
    let loads: Vec<u32> = (0..20).map(|slot| bench.loads.sessions(Slot(slot))).collect();
    assert!(loads.iter().all(|load| load.abs_diff(1000) < 30), "{loads:?}");
}

#[test]
fn first_fills_one_server_before_the_next() {
    let mut bench = SchedulerBench::new(Balance::First, &[1; 3]);
    bench.schedule.candidates.iter_mut().for_each(|c| c.maxconn = 2);
    let picks: Vec<_> = (0..7).map(|_| bench.take(&Hint::default())).collect();
    assert_eq!(picks, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), None]);
}

#[test]
fn suspects_and_the_avoided_are_the_last_resort() {
    for balance in
        [Balance::RoundRobin, Balance::StaticRr, Balance::LeastConn, Balance::RANDOM, Balance::Source, Balance::First]
    {
        let bench = SchedulerBench::new(balance, &[1; 3]);
        bench.loads.set_suspect(Slot(0), true);
        for client in 0..50 {
            let hint = Hint { client: Some(Ipv4Addr::from(client).into()), avoid: Some(Slot(1)), busy: 0 };
            assert_eq!(bench.take(&hint), Some(2), "{balance}");
        }
        bench.loads.set_suspect(Slot(2), true);
        let hint = Hint { avoid: Some(Slot(1)), ..Hint::default() };
        assert!(bench.take(&hint).is_some_and(|m| m != 1), "{balance}: a suspect before the avoided");
        let alone = SchedulerBench::new(balance, &[1]);
        alone.loads.set_suspect(Slot(0), true);
        assert_eq!(alone.take(&Hint { avoid: Some(Slot(0)), ..Hint::default() }), Some(0), "{balance}");
    }
}

#[test]
fn full_servers_are_passed_over() {
    for balance in
        [Balance::RoundRobin, Balance::StaticRr, Balance::LeastConn, Balance::RANDOM, Balance::Source, Balance::First]
    {
        let mut bench = SchedulerBench::new(balance, &[1; 100]);
        bench.schedule.candidates.iter_mut().for_each(|c| c.maxconn = 1);
        for _ in 0..100 {
            assert!(bench.take(&Hint::default()).is_some(), "{balance}");
        }
        assert_eq!(bench.take(&Hint::default()), None, "{balance}");
    }
}
