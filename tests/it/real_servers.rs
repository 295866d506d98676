//! Real nginx servers under ApacheBench while they are killed and restarted. Without `-r` ab stops at the first
//! connection error.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::ab::{Ab, AbReport};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::hammer::Hammer;
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
    let spread: Vec<u64> =
        ["a", "b", "c"].iter().map(|name| status.server(&format!("app/{name}")).number("sessions_total")).collect();
    figure("spread over the three", format!("{spread:?}"));
    assert_eq!(spread.iter().sum::<u64>(), status.frontend("web").number("sessions_total"));
    assert!(spread.iter().all(|&sessions| sessions.abs_diff(spread[0]) <= 1), "{spread:?}");
}

#[test]
fn a_server_killed_and_restarted_each_second_fails_nothing_with_replay() {
    let _alone = alone();
    let mut servers = three();
    let lb = Lb::start(&over(&servers).backend(r#"replay = "16k""#));
    let (report, kills) = under_kills(Ab::start(lb.addr("web"), amount(100_000, 1_000_000), 64, &[]), &mut servers[1]);
    figure("a server killed each second, with replay", format!("{kills} kills: {report}"));
    report.assert_flawless();
    assert!(kills > 1, "ab was over before a second kill");
}

#[test]
fn without_replay_only_the_sessions_in_the_killed_servers_hands_fail() {
    let _alone = alone();
    let (clients, kills) = (64, 6);
    let mut servers = three();
    let addrs: Vec<_> = servers.iter().map(Nginx::addr).collect();
    let mut hammered = |addr| {
        let hammer = Hammer::start(addr, clients);
        observe(Duration::from_millis(500));
        (0..kills).for_each(|_| kill_for_a_while(&mut servers[1]));
        hammer.finish()
    };
    let haproxy = Haproxy::balance(&addrs, "");
    let theirs = hammered(haproxy.addr());
    figure("a server killed each second, HAProxy", format!("{kills} kills: {theirs}"));
    let lb = Lb::start(&over_addrs(&addrs));
    let ours = hammered(lb.addr("web"));
    figure("a server killed each second, without replay", format!("{kills} kills: {ours}"));
    assert!(ours.failed() <= kills * clients as u64, "more failed than were in its hands: {ours}");
    let elsewhere = ours.failures.keys().filter(|failure| failure.starts_with("connect: connection refused"));
    assert_eq!(elsewhere.count(), 0, "the balancer itself always accepts: {ours}");
}

#[test]
fn the_only_server_restarts_within_the_queues_timeout_and_nothing_fails() {
    let _alone = alone();
    let mut servers = [Nginx::start()];
    let config = over(&servers).backend(r#"replay = "16k""#).backend(r#"timeout = { connect = "2s", queue = "10s" }"#);
    let lb = Lb::start(&config);
    let (report, kills) = under_kills(Ab::start(lb.addr("web"), 50_000, 64, &[]), &mut servers[0]);
    figure("the only server restarted each second", format!("{kills} restarts: {report}"));
    report.assert_flawless();
    assert!(kills > 0, "ab was over before the first kill");
}

fn three() -> [Nginx; 3] {
    [Nginx::start(), Nginx::start(), Nginx::start()]
}

fn over(servers: &[Nginx]) -> Config {
    over_addrs(&servers.iter().map(Nginx::addr).collect::<Vec<_>>())
}

fn over_addrs(servers: &[SocketAddr]) -> Config {
    let names = ["a", "b", "c"].into_iter();
    names.zip(servers).fold(Config::new(), |config, (name, server)| config.server(name, server))
}

/// Kills the server each second until ab is done.
fn under_kills(mut ab: Ab, server: &mut Nginx) -> (AbReport, u64) {
    let mut kills = 0;
    observe(Duration::from_millis(500));
    while ab.is_running() {
        kill_for_a_while(server);
        kills += 1;
    }
    (ab.finish(), kills)
}

/// One second, for a third of which the server is away.
fn kill_for_a_while(server: &mut Nginx) {
    server.kill();
    observe(Duration::from_millis(333));
    server.restart();
    observe(Duration::from_millis(667));
}
