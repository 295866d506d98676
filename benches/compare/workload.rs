//! The workloads, and what is to be reached in each.

use super::balancer::Balancer;
use super::contestant::{Balance, Setup};
use super::traffic::{Background, Manner, Pace, Traffic};

#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: String,
    /// For people.
    pub(crate) about: String,
    pub(crate) traffic: Traffic,
    pub(crate) setup: Setup,
    pub(crate) unit: Unit,
    pub(crate) who: &'static [Balancer],
    /// Of the most telling figure, `lb` against the better of HAProxy and nginx.
    pub(crate) goal: Option<Goal>,
}

/// What CPU is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Connection,
    Request,
    GibiByte,
    /// Sessions that do nothing; CPU is a second's.
    IdleSession,
}

/// At most this ratio of `lb` to the better peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Goal {
    pub(crate) figure: Figure,
    pub(crate) at_most: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Cpu,
    P50,
    P99,
    Memory,
    /// Time for each unit, the reciprocal of the rate.
    Pace,
}

const USUAL: &[Balancer] = &[
    Balancer::Direct,
    Balancer::Haproxy,
    Balancer::Nginx,
    Balancer::Lb,
    Balancer::Other,
];
const WITH_DEFER: &[Balancer] = &[
    Balancer::Direct,
    Balancer::Haproxy,
    Balancer::Nginx,
    Balancer::Lb,
    Balancer::LbDefer,
    Balancer::Other,
];
const WITH_SPLICE: &[Balancer] = &[
    Balancer::Direct,
    Balancer::Haproxy,
    Balancer::HaproxySplice,
    Balancer::Nginx,
    Balancer::Lb,
    Balancer::Other,
];
const BALANCERS: &[Balancer] = &[
    Balancer::Haproxy,
    Balancer::Nginx,
    Balancer::Lb,
    Balancer::Other,
];

const GIB: u64 = 1 << 30;

/// All of them, in the order in which they run.
pub(crate) fn all() -> Vec<Workload> {
    let mut all = vec![
        short("short-32", 32, 4_000),
        short("short-256", 256, 4_000),
        Workload {
            unit: Unit::Request,
            goal: at_most(Figure::Cpu, 0.96),
            ..new(
                "keepalive",
                "small requests on 64 connections",
                Traffic::reuse(64, 30_000),
            )
        },
    ];
    all.extend([1, 8].map(|streams| bulk("download", streams, 0.22)));
    all.extend([(1, 0.22), (8, 0.70)].map(|(streams, goal)| bulk("upload", streams, goal)));
    all.extend([1, 4, 16, 64, 256, 1024, 4096, 16384].map(size));
    all.extend([
        Workload {
            goal: at_most(Figure::P99, 1.0),
            unit: Unit::Request,
            ..new(
                "mixed",
                "small requests on 16 connections while 4 downloads run",
                Traffic {
                    background: Some(Background { streams: 4 }),
                    ..Traffic::reuse(16, 10_000)
                },
            )
        },
        Workload {
            goal: at_most(Figure::P50, 1.0),
            unit: Unit::Request,
            ..new(
                "delay",
                "3,000 small requests a second on 64 connections: the delay added",
                Traffic {
                    pace: Pace::Open(3_000.0),
                    ..Traffic::reuse(64, 3_000)
                },
            )
        },
        storm("storm", 1),
        storm("storm-2", 2),
        Workload {
            unit: Unit::IdleSession,
            who: BALANCERS,
            goal: at_most(Figure::Memory, 0.6),
            ..new(
                "idle",
                "4,000 sessions that do nothing: memory each; CPU of all in a second",
                Traffic::reuse(4_000, 0),
            )
        },
    ]);
    for balance in [
        Balance::RoundRobin,
        Balance::Random,
        Balance::Source,
        Balance::LeastConn,
    ] {
        all.extend([3, 1000].map(|servers| pool(balance, servers)));
    }
    all
}

fn new(name: &str, about: &str, traffic: Traffic) -> Workload {
    Workload {
        name: name.to_owned(),
        about: about.to_owned(),
        traffic,
        setup: Setup::PLAIN,
        unit: Unit::Connection,
        who: USUAL,
        goal: None,
    }
}

fn at_most(figure: Figure, at_most: f64) -> Option<Goal> {
    Some(Goal { figure, at_most })
}

fn short(name: &str, connections: usize, requests: u64) -> Workload {
    let about = format!("a connection for each small request, {connections} at once");
    Workload {
        who: WITH_DEFER,
        goal: at_most(Figure::Cpu, 1.0),
        ..new(name, &about, Traffic::fresh(connections, requests))
    }
}

fn bulk(way: &str, streams: usize, goal: f64) -> Workload {
    let bytes = GIB / streams as u64;
    let traffic = Traffic::reuse(streams, streams as u64);
    let traffic = match way {
        "upload" => Traffic {
            upload: bytes,
            answer: 16,
            ..traffic
        },
        _ => Traffic {
            answer: bytes,
            ..traffic
        },
    };
    Workload {
        unit: Unit::GibiByte,
        who: WITH_SPLICE,
        goal: at_most(Figure::Cpu, goal),
        ..new(
            &format!("{way}-{streams}"),
            &format!("{way} of 1 GiB in all, {streams} at once"),
            traffic,
        )
    }
}

/// Answers of one size. About half a GiB a round, and no more than ten thousand requests.
fn size(kib: u64) -> Workload {
    let requests = (512 * 1024 / kib).clamp(32, 10_000);
    let name = if kib < 1024 {
        format!("size-{kib}k")
    } else {
        format!("size-{}m", kib / 1024)
    };
    Workload {
        unit: Unit::Request,
        who: WITH_SPLICE,
        goal: at_most(Figure::Cpu, 1.0),
        ..new(
            &name,
            &format!("answers of {kib} KiB on 8 connections"),
            Traffic {
                answer: kib * 1024,
                ..Traffic::reuse(8, requests)
            },
        )
    }
}

fn storm(name: &str, threads: usize) -> Workload {
    Workload {
        setup: Setup {
            threads,
            ..Setup::PLAIN
        },
        goal: at_most(Figure::Pace, 1.0),
        ..new(
            name,
            &format!("2,000 connections at the same moment, {threads} threads"),
            Traffic {
                manner: Manner::Fresh,
                ..Traffic::fresh(2_000, 2_000)
            },
        )
    }
}

fn pool(balance: Balance, servers: usize) -> Workload {
    let name = format!("{balance:?}-{servers}").to_lowercase();
    Workload {
        setup: Setup {
            balance,
            servers,
            threads: 1,
        },
        who: BALANCERS,
        ..new(
            &name,
            &format!("as short-32, {balance:?} over {servers} servers"),
            Traffic::fresh(32, 3_000),
        )
    }
}
