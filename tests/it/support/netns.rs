//! A network namespace connected to the test's by a veth pair, for servers whose packets can vanish. Needs root.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(crate) struct Netns {
    name: String,
    near: Ipv4Addr,
    far: Ipv4Addr,
}

impl Netns {
    /// Addresses are from 198.18.0.0/15, which is reserved for tests (RFC 2544).
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = (std::process::id() % 2048) * 16 + NEXT.fetch_add(1, Ordering::Relaxed) % 16;
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number * 4;
        let netns = Self { name: format!("lbt{number}"), near: (base + 1).into(), far: (base + 2).into() };
        let Self { name, near, far } = &netns;
        ip(&["netns", "add", name]);
        ip(&["link", "add", &format!("{name}n"), "type", "veth", "peer", "name", "far", "netns", name]);
        ip(&["addr", "add", &format!("{near}/30"), "dev", &format!("{name}n")]);
        ip(&["link", "set", &format!("{name}n"), "up"]);
        ip(&["-n", name, "addr", "add", &format!("{far}/30"), "dev", "far"]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        ip(&["-n", name, "link", "set", "far", "up"]);
        netns
    }

    /// The address at the far end.
    pub(crate) fn far(&self) -> Ipv4Addr {
        self.far
    }

    /// Gives the near end a link-local address; returns the address with its interface, as in a configuration.
    pub(crate) fn near_link_local(&self) -> String {
        let interface = format!("{}n", self.name);
        ip(&["-6", "addr", "add", "fe80::77/64", "dev", &interface, "nodad"]);
        format!("fe80::77%{interface}")
    }

    pub(crate) fn descriptor(&self) -> OwnedFd {
        File::open(format!("/run/netns/{}", self.name)).unwrap().into()
    }

    /// From now on nothing is answered: packets arrive and vanish, as with a machine that has lost its power.
    pub(crate) fn black_hole(&self) {
        ip(&["-n", &self.name, "route", "add", "blackhole", &format!("{}/32", self.near)]);
    }

    pub(crate) fn heal(&self) {
        ip(&["-n", &self.name, "route", "del", "blackhole", &format!("{}/32", self.near)]);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Also removes the pair of interfaces.
        drop(Command::new("ip").args(["netns", "del", &self.name]).status());
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip(8) of iproute2 is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {error} (network namespaces need root)", args.join(" "));
}
