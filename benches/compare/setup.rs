//! How a balancer is set up for a workload: servers, algorithm, threads.

use std::net::{Ipv4Addr, SocketAddr};

/// The servers of a balancer, its algorithm and its threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) balance: Balance,
    pub(crate) servers: usize,
    pub(crate) threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balance {
    RoundRobin,
    LeastConn,
    Random,
    Source,
}

impl Setup {
    pub(crate) const PLAIN: Self = Self { balance: Balance::RoundRobin, servers: 3, threads: 1 };

    /// The servers' addresses: the origin listens on all of 127.0.0.0/8.
    pub(crate) fn addrs(&self, port: u16) -> Vec<SocketAddr> {
        let ip = |index: usize| {
            let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
            Ipv4Addr::new(127, 1, high, low)
        };
        (0..self.servers).map(|index| SocketAddr::from((ip(index), port))).collect()
    }
}
