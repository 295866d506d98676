//! Which servers are UP, and how that is determined.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::schedulers::thousand_servers;
use crate::support::client::{HANG, connect, greeting, read_to_end};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::limits::alone;
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::ping_pong::PingPong;
use crate::support::redis::Redis;
use crate::support::wait::{eventually, eventually_eq, observe, settled};

#[test]
fn a_server_goes_down_after_fall_failures_and_comes_up_after_rise() {
    let mut origin = Origin::start(Behaviour::Http(1));
    let lb = Lb::start(&with_check(r#"{ type = "http", inter = "50ms", rise = 4, fall = 3 }"#, &origin));
    let checks = || lb.status().server("app/a").checks();
    eventually(HANG, "a first result", || checks().first().cloned());
    origin.stop();
    wait_for(&lb, "DOWN");
    let last = checks();
    let failures = last.iter().take_while(|(passed, ..)| !passed).count();
    assert!(failures >= 3 && last[0].1.to_lowercase().contains("refused"), "{last:?}");
    let before = origin.requests();
    origin.restart();
    wait_for(&lb, "UP");
    assert!(origin.requests() - before >= 4, "UP after {} checks", origin.requests() - before);
    eventually(HANG, "sixteen results and no more", || (checks().len() == 16).then_some(()));
    assert_eq!(settled(HANG, Duration::from_millis(300), || checks().len()), 16);
}

#[test]
fn http_checks_judge_the_status() {
    let origin = Origin::start(Behaviour::Http(10));
    let check = r#"{ type = "http", path = "/ping", inter = "50ms", rise = 2, fall = 2 }"#;
    let lb = Lb::start(&with_check(check, &origin));
    wait_for(&lb, "UP");
    for (status, state) in [(503, "DOWN"), (302, "UP"), (404, "DOWN"), (204, "UP")] {
        origin.set_http_status(status);
        wait_for(&lb, state);
    }
    let silent = Origin::start(Behaviour::Stall);
    let check = r#"{ type = "http", inter = "50ms", timeout = "100ms", rise = 2, fall = 2 }"#;
    wait_for(&Lb::start(&with_check(check, &silent)), "DOWN");
}

#[test]
fn an_http_check_may_expect_one_status() {
    let origin = Origin::start(Behaviour::Http(10));
    let check = r#"{ type = "http", status = "200-204", inter = "50ms", rise = 1, fall = 1 }"#;
    let lb = Lb::start(&with_check(check, &origin));
    wait_for(&lb, "UP");
    origin.set_http_status(302);
    wait_for(&lb, "DOWN");
}

#[test]
fn a_script_finds_the_primary_among_redis_servers() {
    let mut primary = Redis::primary();
    let replica = Redis::replica_of(&primary);
    let check = r#"check = { type = "script", inter = "100ms", rise = 1, fall = 2, init_state = "down", steps = [
        { send = "PING\r\n" }, { expect = "+PONG" },
        { send = "info replication\r\n" }, { expect = "role:master" },
        { send = "QUIT\r\n" }, { expect = "+OK" },
    ] }"#;
    let check = check.replace('\n', " ");
    let config = Config::bare().backend(&check).server("a", primary.addr()).server("b", replica.addr());
    let lb = Lb::start(&config);
    let states = || ["app/a", "app/b"].map(|server| lb.status().server(server).text("status"));
    eventually_eq(HANG, ["UP", "DOWN"].map(str::to_owned), states);
    assert!(role(lb.addr("web")).contains("master"));
    primary.kill();
    replica.promote();
    eventually_eq(HANG, ["DOWN", "UP"].map(str::to_owned), states);
    assert!(role(lb.addr("web")).contains("master"));
}

#[test]
fn drain_maint_and_ready_work_as_named() {
    let origins = ["a", "b"].map(|name| Origin::start(Behaviour::SpeakFirst(name.as_bytes().to_vec())));
    let lb = Lb::start(&Config::new().origins(&origins));
    let addr = lb.addr("web");
    let open: Vec<TcpStream> = (0..4).map(|_| connect(addr).unwrap()).collect();
    eventually_eq(HANG, 2, || lb.status().server("app/a").number("sessions"));
    for (command, state) in [("drain", "DRAIN"), ("maint", "MAINT")] {
        lb.command_ok(&["server", command, "app/a"]);
        assert_eq!(lb.status().server("app/a").text("status"), state);
        let served: Vec<String> = (0..6).map(|_| greeting(addr).unwrap()).collect();
        assert_eq!(served, ["b"; 6], "no new sessions");
        assert_eq!(lb.status().server("app/a").number("sessions"), 2, "open ones stay");
        let age = || lb.status().server("app/a").checks().first().map_or(u64::MAX, |newest| newest.2);
        let checked = command == "drain";
        eventually_eq(HANG, checked, || {
            observe(Duration::from_millis(350));
            age() < 300
        });
        lb.command_ok(&["server", "ready", "app/a"]);
        wait_for(&lb, "UP");
        eventually(HANG, "sessions again", || (greeting(addr).unwrap() == "a").then_some(()));
    }
    for stream in open {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&stream).1, Ending::Fin);
    }
}

#[test]
fn a_server_that_is_down_keeps_its_sessions_unless_told_otherwise() {
    for (option, cut) in [("", false), (r#"on_marked_down = "shutdown-sessions""#, true)] {
        // Checked by HTTP, which the origin starts to answer badly; its sessions work.
        let origin = Origin::start(Behaviour::Http(10));
        let check = r#"{ type = "http", inter = "50ms", rise = 2, fall = 2 }"#;
        let lb = Lb::start(&with_check(check, &origin).backend(option));
        let session = connect(lb.addr("web")).unwrap();
        eventually_eq(HANG, 1, || lb.status().server("app/a").number("sessions"));
        origin.set_http_status(500);
        wait_for(&lb, "DOWN");
        if cut {
            assert_ne!(read_to_end(&session).1, Ending::Timeout);
            eventually_eq(HANG, true, || lb.stdout().contains(" D"));
        } else {
            assert_eq!(settled(HANG, Duration::from_millis(200), || lb.status().server("app/a").number("sessions")), 1);
        }
    }
}

#[test]
fn a_server_in_maint_loses_its_sessions_where_one_that_is_down_does() {
    let origin = Origin::named("a");
    let lb = Lb::start(&Config::new().backend("on_marked_down = \"shutdown-sessions\"").origins([&origin]));
    let session = connect(lb.addr("web")).unwrap();
    eventually_eq(HANG, 1, || lb.status().server("app/a").number("sessions"));
    lb.command_ok(&["server", "drain", "app/a"]);
    assert_eq!(lb.status().server("app/a").number("sessions"), 1);
    lb.command_ok(&["server", "maint", "app/a"]);
    assert_eq!(read_to_end(&session), (b"a".to_vec(), Ending::Fin));
    eventually_eq(HANG, true, || lb.stdout().contains(" D- "));
}

#[test]
fn checks_of_a_thousand_servers_cost_little() {
    let _alone = alone();
    let (origin, config) = thousand_servers();
    let lb = Lb::start(&config);
    // A check of a port does not show at the server; the results give the number of checks.
    let results = || lb.status().check_results("app");
    eventually(HANG, "a first check of each", || (results() >= 1000).then_some(()));
    let (before, cpu, watch) = (results(), lb.cpu(), Stopwatch::start());
    let bare = bare_connect(origin.addr(), Duration::from_secs(6));
    let cpu = lb.cpu() - cpu;
    let checks = results() - before;
    // One each 2 s, with jitter.
    let due = |time: Duration| (time.as_secs_f64() / 2.0 * 1000.0) as usize;
    let expected = due(watch.elapsed()) * 4 / 5..=due(watch.by_the_clock()) * 5 / 4;
    let each = cpu.as_secs_f64() / f64::from(u32::try_from(checks).unwrap());
    let share = cpu.as_secs_f64() / 6.0 * 100.0;
    let ratio = each / bare.as_secs_f64();
    figure(
        "CPU of checking 1,000 servers each 2 s",
        format!(
            "{share:.1} % of a core, {checks} checks in 6 s, {:.0} µs a check, {ratio:.2} of a bare connect",
            each * 1e6
        ),
    );
    assert!(expected.contains(&checks), "{checks} checks, {expected:?}");
    assert!(ratio < BARE, "{ratio:.2} of a bare connect");
}

/// The limit of a check's CPU, in units of a connect by an otherwise idle thread on the same machine at the same time.
/// Measured: 0.85 to 1.2.
const BARE: f64 = if cfg!(debug_assertions) { 10.0 } else { 2.0 };

/// CPU of a connect and a close, one each 2 ms or so for a while.
fn bare_connect(addr: SocketAddr, time: Duration) -> Duration {
    let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let (begun, before) = (Instant::now(), cpu());
    let mut connects = 0;
    while begun.elapsed() < time {
        drop(connect(addr).unwrap());
        connects += 1;
        observe(Duration::from_millis(2));
    }
    (cpu() - before) / connects
}

#[test]
fn a_check_that_hangs_delays_no_other_and_no_session() {
    let stalled = Origin::start(Behaviour::Stall);
    let fine = Origin::start(Behaviour::Echo);
    let check = r#"{ type = "script", steps = [{ send = "x" }, { expect = "x" }], inter = "100ms", timeout = "300ms", rise = 1, fall = 2 }"#;
    let lb = Lb::start(&Config::bare().backend(&format!("check = {check}")).origins([&stalled, &fine]));
    wait_for(&lb, "DOWN");
    assert_eq!(lb.status().server("app/b").text("status"), "UP");
    PingPong::start(lb.addr("web"), 10).finish().assert_unharmed();
}

fn with_check(check: &str, origin: &Origin) -> Config {
    Config::bare().backend(&format!("check = {check}")).origins([origin])
}

#[track_caller]
fn wait_for(lb: &Lb, state: &str) {
    eventually_eq(HANG, state.to_owned(), || lb.status().server("app/a").text("status"));
}

/// The greeting of the server behind `addr`.
fn role(addr: SocketAddr) -> String {
    let mut stream = connect(addr).unwrap();
    std::io::Write::write_all(&mut stream, b"info replication\r\nquit\r\n").unwrap();
    let text = String::from_utf8(read_to_end(&stream).0).unwrap();
    text.lines().find(|line| line.starts_with("role:")).unwrap_or_default().to_owned()
}
