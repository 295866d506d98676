//! Real nginx servers under ApacheBench, as they are killed and come back. Without `-r` ab stops at the first
//! connection that fails.

use std::time::Duration;

use crate::support::ab::{Ab, AbReport};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::limits::{alone, amount};
use crate::support::nginx::Nginx;
use crate::support::wait::observe;

#[test]
fn a_hundred_thousand_requests_over_three_servers_without_a_failure() {
    let _alone = alone();
    let servers = three();
    let lb = Lb::start(&over(&servers));
    let report = Ab::run(lb.addr("web"), 100_000, 64, &[]);
    figure("ab -n 100000 -c 64 over three nginx", &report);
    report.assert_flawless();
    let status = lb.status();
    let spread: Vec<u64> = ["a", "b", "c"]
        .iter()
        .map(|name| {
            status
                .server(&format!("app/{name}"))
                .number("sessions_total")
        })
        .collect();
    figure("spread over the three", format!("{spread:?}"));
    assert_eq!(
        spread.iter().sum::<u64>(),
        status.frontend("web").number("sessions_total")
    );
    assert!(
        spread
            .iter()
            .all(|&sessions| sessions.abs_diff(spread[0]) <= 1),
        "{spread:?}"
    );
}

#[test]
fn a_server_killed_and_restarted_each_second_fails_nothing_with_replay() {
    let _alone = alone();
    let mut servers = three();
    let lb = Lb::start(&over(&servers).backend(r#"replay = "16k""#));
    let (report, kills) = under_kills(
        Ab::start(lb.addr("web"), amount(100_000, 1_000_000), 64, &[]),
        &mut servers[1],
    );
    figure(
        "a server killed each second, with replay",
        format!("{kills} kills: {report}"),
    );
    report.assert_flawless();
    assert!(kills > 1, "ab was over before a second kill");
}

#[test]
fn without_replay_only_the_sessions_in_the_killed_servers_hands_fail() {
    let _alone = alone();
    let mut servers = three();
    // With -r, ab counts failures and goes on.
    let requests = 60_000;
    let addrs: Vec<_> = servers.iter().map(Nginx::addr).collect();
    let haproxy = Haproxy::balance(&addrs, "");
    let (theirs, kills) = under_kills(
        Ab::start(haproxy.addr(), requests, 64, &["-r"]),
        &mut servers[1],
    );
    figure(
        "a server killed each second, HAProxy",
        format!("{kills} kills: {theirs}"),
    );
    let lb = Lb::start(&over(&servers));
    let (ours, kills) = under_kills(
        Ab::start(lb.addr("web"), requests, 64, &["-r"]),
        &mut servers[1],
    );
    figure(
        "a server killed each second, no replay",
        format!("{kills} kills: {ours}"),
    );
    // ab counts a reset answer up to three times: as receive error, length error and exception.
    assert!(
        ours.failed <= kills * 64 * 3,
        "more failed than were in its hands: {ours}"
    );
}

#[test]
fn the_only_server_restarts_within_the_queues_patience_and_nothing_fails() {
    let _alone = alone();
    let mut servers = [Nginx::start()];
    let config = over(&servers)
        .backend(r#"replay = "16k""#)
        .backend(r#"timeout = { connect = "2s", queue = "10s" }"#);
    let lb = Lb::start(&config);
    let (report, kills) = under_kills(Ab::start(lb.addr("web"), 50_000, 64, &[]), &mut servers[0]);
    figure(
        "the only server restarted each second",
        format!("{kills} restarts: {report}"),
    );
    report.assert_flawless();
    assert!(kills > 0, "ab was over before the first kill");
}

fn three() -> [Nginx; 3] {
    [Nginx::start(), Nginx::start(), Nginx::start()]
}

fn over(servers: &[Nginx]) -> Config {
    let names = ["a", "b", "c"].into_iter();
    names
        .zip(servers)
        .fold(Config::new(), |config, (name, server)| {
            config.server(name, server.addr())
        })
}

/// Each second until ab is done, the server is killed and stays away for a third of it.
fn under_kills(mut ab: Ab, server: &mut Nginx) -> (AbReport, u64) {
    let mut kills = 0;
    observe(Duration::from_millis(500));
    while ab.is_running() {
        server.kill();
        kills += 1;
        observe(Duration::from_millis(333));
        server.restart();
        observe(Duration::from_millis(667));
    }
    (ab.finish(), kills)
}
