//! A workload: its traffic, its contestants, its figures and its goals.

use super::balancer::Balancer;
use super::setup::Setup;
use super::traffic::Traffic;

#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: String,
    /// For human readers.
    pub(crate) about: String,
    /// The traffic of the first, small round; see [`Amount`].
    pub(crate) traffic: Traffic,
    pub(crate) amount: Amount,
    /// Each contestant takes part once in each of them.
    pub(crate) setups: Vec<Setup>,
    pub(crate) contestants: &'static [Balancer],
    pub(crate) unit: Unit,
    /// The most telling figure.
    pub(crate) figure: Figure,
    pub(crate) goals: Vec<Goal>,
    /// Its part of the time of the whole run, relative to the shares of the others.
    pub(crate) share: f64,
}

/// How a workload fills its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// A round's work grows with it, by the same factor for all contestants.
    Grows,
    /// A round's work is fixed; the number of rounds grows.
    Fixed,
    /// As `Fixed`, with new processes for each round.
    Fresh,
}

/// The unit that CPU is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Connection,
    Request,
    GibiByte,
    /// Idle sessions; CPU is that of one second.
    IdleSession,
}

/// A goal of `lb`, or of `lb` with an option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Goal {
    pub(crate) subject: Balancer,
    pub(crate) against: Against,
    pub(crate) bound: Bound,
}

/// What the figure is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The better of HAProxy and nginx.
    Better,
    Haproxy,
    /// Another HAProxy, given by `--newest`; without it there is no goal.
    Newest,
    /// Sozu; no goal if it is not available.
    Sozu,
    /// The build given by `--other`.
    Other,
    /// The same program in the workload's first setup.
    FirstSetup,
    /// Nothing: the figure itself.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Cpu,
    Rate,
    P99,
    /// Median delay minus that of `direct` in the same round.
    Added,
    Memory,
}

impl Workload {
    /// Adds a goal for plain `lb`.
    pub(crate) fn goal(mut self, against: Against, bound: Bound) -> Self {
        self.goals.push(Goal { subject: Balancer::Lb, against, bound });
        self
    }

    /// Bulk scales by bytes: a round has as many requests as connections, whatever their size.
    pub(crate) fn traffic(&self, scale: f64) -> Traffic {
        match (self.amount, self.unit) {
            (Amount::Fixed | Amount::Fresh, _) => self.traffic,
            (Amount::Grows, Unit::GibiByte) => self.traffic.with_more_bytes(scale),
            (Amount::Grows, _) => self.traffic.with_more_requests(scale),
        }
    }

    /// The name of a table row.
    pub(crate) fn row(&self, balancer: Balancer, setup: &Setup) -> String {
        if self.setups.len() == 1 {
            balancer.name().to_owned()
        } else {
            format!("{}, {}", balancer.name(), setup.servers)
        }
    }
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, value) = match self {
            Self::AtMost(value) => ('≤', value),
            Self::AtLeast(value) => ('≥', value),
        };
        if *value >= 10.0 { write!(f, "{sign} {value:.0}") } else { write!(f, "{sign} {value:.2}") }
    }
}

impl Figure {
    /// Its name, with its unit.
    pub(crate) fn name(self, unit: Unit) -> &'static str {
        match (self, unit) {
            (Self::Cpu, Unit::Connection) => "CPU, µs a connection",
            (Self::Cpu, Unit::Request) => "CPU, µs a request",
            (Self::Cpu, Unit::GibiByte) => "CPU, ms a GiB",
            (Self::Cpu, Unit::IdleSession) => "CPU, µs a second",
            (Self::Rate, _) => "connections a second",
            (Self::P99, _) => "p99, µs",
            (Self::Added, _) => "delay added, µs",
            (Self::Memory, _) => "bytes a session",
        }
    }

    pub(crate) fn more_is_better(self) -> bool {
        self == Self::Rate
    }
}
