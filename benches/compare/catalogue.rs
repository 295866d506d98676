//! The workloads, in the order in which they run.

use super::balancer::Balancer;
use super::setup::{Balance, Setup};
use super::traffic::{Background, Pace, Traffic};
use super::workload::{Against, Amount, Bound, Figure, Goal, Unit, Workload};

const USUAL: &[Balancer] = &[Balancer::Direct, Balancer::Haproxy, Balancer::Nginx, Balancer::Lb, Balancer::Other];
const WITH_DEFER: &[Balancer] =
    &[Balancer::Direct, Balancer::Haproxy, Balancer::Nginx, Balancer::Lb, Balancer::LbDefer, Balancer::Other];
const WITH_SPLICE: &[Balancer] =
    &[Balancer::Direct, Balancer::Haproxy, Balancer::HaproxySplice, Balancer::Nginx, Balancer::Lb, Balancer::Other];
const BULK: &[Balancer] = &[
    Balancer::Direct,
    Balancer::Haproxy,
    Balancer::HaproxySplice,
    Balancer::HaproxyNewest,
    Balancer::Nginx,
    Balancer::Sozu,
    Balancer::Lb,
    Balancer::Other,
];
const BALANCERS: &[Balancer] = &[Balancer::Haproxy, Balancer::Nginx, Balancer::Lb, Balancer::Other];

/// All workloads. Without a goal the ratio is still printed.
pub(crate) fn all() -> Vec<Workload> {
    let mut all = vec![short(32), short(256), keepalive()];
    all.extend([1, 8].map(|streams| bulk("download", streams, 0.22)));
    all.extend([(1, 0.22), (8, 0.70)].map(|(streams, goal)| bulk("upload", streams, goal)));
    all.extend([1, 4, 16, 64, 256, 1024, 4096, 16384].map(size));
    all.extend([mixed(), delay(), storm(1), storm(2), idle()]);
    all.extend([
        pool(Balance::RoundRobin, 1.02),
        pool(Balance::Random, 1.02),
        pool(Balance::Source, 1.02),
        pool(Balance::LeastConn, 1.05),
    ]);
    all
}

fn new(name: &str, about: &str, traffic: Traffic) -> Workload {
    Workload {
        name: name.to_owned(),
        about: about.to_owned(),
        traffic,
        amount: Amount::Grows,
        setups: vec![Setup::PLAIN],
        contestants: USUAL,
        unit: Unit::Connection,
        figure: Figure::Cpu,
        goals: Vec::new(),
        share: 1.0,
    }
}

fn short(connections: usize) -> Workload {
    let about = format!("a connection for each small request, {connections} at once");
    let mut short = Workload {
        contestants: WITH_DEFER,
        share: 1.5,
        ..new(&format!("short-{connections}"), &about, Traffic::fresh(connections, 600))
    }
    .goal(Against::Better, Bound::AtMost(1.0))
    .goal(Against::Haproxy, Bound::AtMost(0.93));
    short.goals.push(Goal { subject: Balancer::LbDefer, against: Against::Better, bound: Bound::AtMost(0.92) });
    short
}

fn keepalive() -> Workload {
    Workload {
        unit: Unit::Request,
        share: 1.5,
        ..new("keepalive", "small requests on 64 connections", Traffic::reuse(64, 3_000))
    }
    .goal(Against::Better, Bound::AtMost(0.96))
    .goal(Against::Haproxy, Bound::AtMost(0.88))
}

fn bulk(way: &str, streams: usize, goal: f64) -> Workload {
    let bytes = (128 << 20) / streams as u64;
    let traffic = Traffic::reuse(streams, streams as u64);
    let traffic = match way {
        "upload" => Traffic { upload: bytes, answer: 16, ..traffic },
        _ => Traffic { answer: bytes, ..traffic },
    };
    let about = match streams {
        1 => format!("{way}, one stream"),
        _ => format!("{way}, {streams} streams at once"),
    };
    Workload { unit: Unit::GibiByte, contestants: BULK, ..new(&format!("{way}-{streams}"), &about, traffic) }
        .goal(Against::Better, Bound::AtMost(goal))
        .goal(Against::Sozu, Bound::AtMost(1.0))
        .goal(Against::Newest, Bound::AtMost(1.0))
}

/// Answers of one size.
fn size(kib: u64) -> Workload {
    let name = match kib {
        1024.. => format!("size-{}m", kib / 1024),
        _ => format!("size-{kib}k"),
    };
    Workload {
        unit: Unit::Request,
        contestants: WITH_SPLICE,
        share: 0.75,
        ..new(
            &name,
            &format!("answers of {kib} KiB on 8 connections"),
            Traffic { answer: kib * 1024, ..Traffic::reuse(8, (64 * 1024 / kib).clamp(8, 1_000)) },
        )
    }
    .goal(Against::Better, Bound::AtMost(1.0))
}

fn mixed() -> Workload {
    Workload {
        unit: Unit::Request,
        figure: Figure::P99,
        ..new(
            "mixed",
            "small requests on 16 connections while 4 downloads run",
            Traffic { background: Some(Background { streams: 4 }), ..Traffic::reuse(16, 500) },
        )
    }
    .goal(Against::Better, Bound::AtMost(1.0))
}

fn delay() -> Workload {
    Workload {
        unit: Unit::Request,
        figure: Figure::Added,
        ..new(
            "delay",
            "3,000 small requests a second on 64 connections: the delay added to that of direct",
            Traffic { pace: Pace::Open(3_000.0), ..Traffic::reuse(64, 300) },
        )
    }
    .goal(Against::Better, Bound::AtMost(1.0))
}

fn storm(threads: usize) -> Workload {
    let (name, about) = match threads {
        1 => ("storm".to_owned(), "one thread".to_owned()),
        _ => (format!("storm-{threads}"), format!("{threads} threads")),
    };
    Workload {
        setups: vec![Setup { threads, ..Setup::PLAIN }],
        amount: Amount::Fixed,
        figure: Figure::Rate,
        ..new(&name, &format!("2,000 connections at the same moment, {about}"), Traffic::fresh(2_000, 2_000))
    }
    .goal(Against::Better, Bound::AtLeast(1.0))
}

fn idle() -> Workload {
    Workload {
        unit: Unit::IdleSession,
        amount: Amount::Fresh,
        contestants: BALANCERS,
        figure: Figure::Memory,
        share: 3.0,
        ..new(
            "idle",
            "4,000 sessions that do nothing: private memory each; CPU of all in a second",
            Traffic::reuse(4_000, 0),
        )
    }
    .goal(Against::Nothing, Bound::AtMost(2048.0))
    .goal(Against::Better, Bound::AtMost(0.6))
}

fn pool(balance: Balance, goal: f64) -> Workload {
    let name = format!("{balance:?}").to_lowercase();
    let setup = |servers| Setup { balance, servers, threads: 1 };
    Workload {
        setups: [3, 1000].map(setup).to_vec(),
        contestants: BALANCERS,
        share: 1.5,
        ..new(&name, &format!("as short-32, {balance:?} over 3 and over 1,000 servers"), Traffic::fresh(32, 500))
    }
    .goal(Against::FirstSetup, Bound::AtMost(goal))
}
