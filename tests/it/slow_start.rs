//! A server that comes back cold gets a small share at first: the edges at which it does so are HAProxy's.

use std::net::SocketAddr;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::Origin;
use crate::support::wait::{eventually, eventually_eq};

/// Commands that take a server away and bring it back: those of `lb`, and HAProxy's.
const EDGES: [[[&str; 2]; 2]; 4] = [
    [["maint app/a", "ready app/a"], ["app/s0 state maint", "app/s0 state ready"]],
    [["drain app/a", "ready app/a"], ["app/s0 state drain", "app/s0 state ready"]],
    [["weight app/a 0", "weight app/a 1"], ["app/s0 weight 0", "app/s0 weight 1"]],
    [["maint app/a", "drain app/a"], ["app/s0 state maint", "app/s0 state drain"]],
];

#[test]
fn a_server_that_leaves_maint_starts_slowly_as_in_haproxy() {
    let servers = ["a", "b"].map(Origin::named);
    for (edge, [ours, theirs]) in EDGES.iter().enumerate() {
        let config = Config::new().backend("slowstart = \"10m\"").origins(&servers);
        let lb = Lb::start(&config);
        let haproxy = Haproxy::balance(&[servers[0].addr(), servers[1].addr()], "default-server slowstart 10m");
        for command in ours {
            lb.command_ok(&[&["server"], &command.split(' ').collect::<Vec<_>>()[..]].concat());
        }
        theirs.iter().for_each(|command| drop(haproxy.command(&format!("set server {command}"))));
        if edge == 3 {
            // The ramp begins with the end of MAINT, whatever comes next.
            lb.command_ok(&["server", "ready", "app/a"]);
            haproxy.command("set server app/s0 state ready");
        }
        let shares = [lb.addr("web"), haproxy.addr()].map(share);
        figure("sessions of 40 for a server that is back, lb and HAProxy", format!("{ours:?}: {shares:?}"));
        let [ours, theirs] = shares;
        // A fifth of them at most, or about half: HAProxy lets one that was away wait for its next turn.
        let (ours_slow, theirs_slow) = (ours <= 8, theirs <= 8);
        assert_eq!(
            (ours_slow, theirs_slow),
            ([0, 3].contains(&edge), ours_slow),
            "edge {edge}: {ours}, {theirs} of 40"
        );
        if edge == 0 {
            lb.command_ok(&["upgrade", "--probation", "0s"]);
            let after = share(lb.addr("web"));
            assert!(after <= 8, "{after} of 40 after an upgrade");
        }
    }
}

#[test]
fn a_slow_start_ends_also_after_an_upgrade() {
    let mut servers = ["a", "b"].map(Origin::named);
    let lb = Lb::start(&Config::new().backend("slowstart = \"4s\"").origins(&servers));
    let wait_for = |state: &str| eventually_eq(HANG, state.to_owned(), || lb.status().server("app/a").text("status"));
    servers[0].stop();
    wait_for("DOWN");
    servers[0].restart();
    wait_for("UP");
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    eventually(HANG, "its full share", || (share(lb.addr("web")) == 20).then_some(()));
}

/// How many of 40 sessions come to the server `a`.
fn share(addr: SocketAddr) -> usize {
    (0..40).filter(|_| greeting(addr).unwrap() == "a").count()
}
