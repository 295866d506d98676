//! Open sessions through upgrades: every byte, every state, on time; counters, health and weights are preserved.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::ab::Ab;
use crate::support::client::{Client, HANG, connect, read_to_end};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::limits::{alone, amount, raise_descriptors};
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::ping_pong::PingPong;
use crate::support::plan::{Pace, Plan};
use crate::support::proc;
use crate::support::status::Status;
use crate::support::wait::{eventually, eventually_eq, observe};

#[test]
fn sessions_in_every_state_continue_byte_by_byte() {
    let _alone = alone();
    let (planned, echo, http) =
        (Origin::start(Behaviour::Planned), Origin::start(Behaviour::Echo), Origin::start(Behaviour::Http(100)));
    let lb = Lb::start(
        &Config::new()
            // A stalled session must not be cut, however slow the machine.
            .backend(r#"timeout = { client = "10m", server = "10m" }"#)
            .backend(r#"user_timeout = "0""#)
            .origins([&planned])
            .table(&also("echo", &echo))
            .table(&also("http", &http)),
    );
    let addr = lb.addr("web");
    let resets = proc::netstat("TcpOutRsts");
    let drops = proc::netstat("ListenDrops");
    let stop = AtomicBool::new(false);
    let moved = std::thread::scope(|scope| {
        let ping_pong = PingPong::start(lb.addr("echo"), 100);
        let bulks: Vec<_> = (0..20).map(|lane| scope.spawn(bulk_until(addr, lane, &stop))).collect();
        // Readers that read nothing until the end: residue in user space or in a pipe, at every upgrade.
        let stalled: Vec<_> = (0..20)
            .map(|n| {
                let plan = Plan { pace: Pace::ClientStalls, ..Plan::new(1000 + n, 1000, 6_000_000 + n) };
                let client = Client::connect(addr, plan).unwrap();
                let (stop, planned) = (&stop, &planned);
                scope.spawn(move || {
                    let outcome = client.finish(|| {
                        planned.wait_until_stuck(plan.seed);
                        wait_for(stop);
                    });
                    assert!(outcome.is_whole(plan.down), "{plan:?}: {outcome:?}");
                })
            })
            .collect();
        // Clients that have sent FIN; their server has not read yet.
        let half_closed: Vec<_> = (0..20)
            .map(|n| {
                let plan = Plan { pace: Pace::ServerStalls, ..Plan::new(2000 + n, 50_000 + 70_000 * n, 3000) };
                let (client, stop) = (Client::connect(addr, plan).unwrap(), &stop);
                // The end of the answer follows once the server has read everything, which is after the last upgrade.
                scope.spawn(move || (plan, client.finish(|| wait_for(stop))))
            })
            .collect();
        // The same load without an upgrade, for comparison.
        Ab::run(lb.addr("http"), 5_000, 8, &[]).assert_flawless();
        let quiet = ping_pong.slowest_so_far();
        let mut ab = Ab::start(lb.addr("http"), amount(5_000, 200_000), 8, &[]);
        let (mut moved, mut upgrades) = (0, 0);
        while upgrades < amount(20, 200) || ab.is_running() {
            moved += upgrade(&lb, "50ms");
            upgrades += 1;
        }
        let report = ab.finish();
        figure(&format!("ab beside moving sessions, {upgrades} upgrades"), &report);
        report.assert_flawless();
        stop.store(true, Ordering::Relaxed);
        planned.release();
        ping_pong.run_for(1000);
        let ping_pong = ping_pong.finish();
        ping_pong.assert_unharmed();
        figure(
            "longest pause of a ping-pong session through upgrades under load",
            format!("{:?}, before the first one {quiet:?}", ping_pong.slowest),
        );
        let bulk_bytes: u64 = bulks.into_iter().map(|bulk| bulk.join().unwrap()).sum();
        stalled.into_iter().for_each(|stalled| stalled.join().unwrap());
        for half_closed in half_closed {
            let (plan, outcome) = half_closed.join().unwrap();
            assert!(outcome.is_whole(plan.down), "{plan:?}: {outcome:?}");
            assert!(planned.outcome(plan.seed).is_whole(plan.up), "{plan:?}");
        }
        figure("bulk bytes checked", bulk_bytes);
        moved
    });
    figure("sessions moved", moved);
    figure(
        "TcpOutRsts and ListenDrops meanwhile, other tests included",
        format!("{} {}", proc::netstat("TcpOutRsts") - resets, proc::netstat("ListenDrops") - drops),
    );
    assert!(moved >= 140 * amount(10, 100), "{moved}");
}

#[test]
fn thousands_of_open_sessions_move_without_a_long_pause() {
    let _alone = alone();
    let limit = raise_descriptors();
    // Both ends of the client and server connections are in this process.
    let count = if limit >= 40_000 { 9000 } else { 4000 };
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().backend(r#"timeout = { client = "10m", server = "10m" }"#).origins([&origin]));
    let addr = lb.addr("web");
    let mut open: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = connect(addr).unwrap();
            stream.write_all(b"a").unwrap();
            stream
        })
        .collect();
    let mut byte = [0];
    open.iter_mut().for_each(|stream| stream.read_exact(&mut byte).unwrap());
    let pulse = PingPong::start(addr, 8);
    pulse.run_for(2000);
    let quiet = pulse.finish().slowest;
    let mut pauses = Vec::new();
    for round in 0..amount(3, 20) {
        let pulse = PingPong::start(addr, 8);
        let moved = upgrade(&lb, "100ms");
        let begun = Instant::now();
        eventually(HANG, "the old engine is gone", || (proc::descendants(lb.pid()).len() == 1).then_some(()));
        let gone = begun.elapsed();
        pulse.run_for(100);
        let pulse = pulse.finish();
        pulse.assert_unharmed();
        pauses.push(pulse.slowest);
        assert!(moved >= count, "round {round}: {moved} moved");
        figure("old engine gone after the upgrade was reported", format!("{gone:?}"));
        // Each one still works, and is one byte ahead.
        for stream in &mut open {
            stream.write_all(b"b").unwrap();
        }
        for stream in &mut open {
            stream.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"b");
        }
    }
    figure(
        &format!("worst pause of eight busy sessions beside {count} open ones, in upgrades"),
        format!("{pauses:?}, without one {quiet:?}"),
    );
    // Shorter than what a client would call a pause; the figure gives its length.
    let limit = quiet * 3 + Duration::from_millis(700);
    assert!(pauses.iter().all(|pause| *pause < limit), "{pauses:?}");
}

#[test]
fn counts_health_administration_and_weights_are_preserved() {
    let (a, b, c) = (Origin::start(Behaviour::Echo), Origin::start(Behaviour::Echo), Origin::start(Behaviour::Echo));
    let dead = Origin::stopped(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&a, &b, &c, &dead]));
    let addr = lb.addr("web");
    lb.command_ok(&["server", "drain", "app/b"]);
    lb.command_ok(&["server", "weight", "app/c", "3"]);
    eventually(HANG, "d is DOWN", || (lb.status().server("app/d").text("status") == "DOWN").then_some(()));
    for _ in 0..40 {
        echo_once(addr, b"count me");
    }
    let open = PingPong::start(addr, 4);
    eventually_eq(HANG, 4, || lb.status().frontend("web").number("sessions"));
    let before = lb.status();
    upgrade(&lb, "0s");
    eventually(HANG, "the last counts", || {
        (lb.status().frontend("web").number("sessions_total") >= before.frontend("web").number("sessions_total"))
            .then_some(())
    });
    open.run_for(100);
    open.finish().assert_unharmed();
    eventually_eq(HANG, 0, || lb.status().frontend("web").number("sessions"));
    let after = lb.status();
    assert_eq!(after.frontend("web").number("sessions_total"), before.frontend("web").number("sessions_total"));
    let sum =
        |status: &Status, key| ["app/a", "app/b", "app/c"].iter().map(|s| status.server(s).number(key)).sum::<u64>();
    assert_eq!(sum(&after, "sessions_total"), sum(&before, "sessions_total"));
    assert_eq!(sum(&after, "sessions"), 0, "leastconn's counts are exact again");
    assert_eq!(sum(&after, "bytes_in"), after.frontend("web").number("bytes_in"));
    assert!(after.frontend("web").number("bytes_in") > before.frontend("web").number("bytes_in"));
    assert_eq!(after.server("app/b").text("status"), "DRAIN");
    assert_eq!(after.server("app/c").number("weight"), 3);
    assert_eq!(after.server("app/d").text("status"), "DOWN");
    let of_d = |status: &Status| status.server("app/d").number("connect_errors");
    assert_eq!(of_d(&after), of_d(&before), "a server that was DOWN got traffic");
    let times = after.server("app/a").at("/session_ms/p99").and_then(|p99| p99.as_f64());
    assert!(times.is_some_and(|p99| p99 > 0.0), "the histograms began anew: {times:?}");
}

#[test]
fn an_idle_timeout_continues_to_count() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().backend(r#"timeout = { client = "4s", server = "4s" }"#).origins([&origin]));
    let mut stream = connect(lb.addr("web")).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let idle = Stopwatch::start();
    observe(Duration::from_millis(2500));
    // On a busy machine the upgrade may last longer than the session.
    let (clock, running) = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| upgrade(&lb, "0s"));
        let (rest, ending) = read_to_end(&stream);
        let ended = (idle.by_the_clock(), idle.elapsed());
        assert_eq!((rest.as_slice(), ending), (&b""[..], Ending::Fin));
        upgrade.join().unwrap();
        ended
    });
    figure("idle timeout of 4 s, moved after 2.5 s: ended after", format!("{running:?}"));
    // Started anew it would have taken 6.5 s and more.
    assert!(clock > Duration::from_millis(3900) && running < Duration::from_millis(6000), "{clock:?}, {running:?}");
}

#[test]
fn sessions_that_wait_for_a_server_continue_to_wait_in_the_new_engine() {
    let mut origin = Origin::stopped(Behaviour::Echo);
    let lb = Lb::start(&Config::new().backend(r#"timeout = { queue = "60s" }"#).origins([&origin]));
    eventually(HANG, "DOWN", || (lb.status().server("app/a").text("status") == "DOWN").then_some(()));
    let mut held: Vec<_> = (0..10_u8)
        .map(|n| {
            let mut stream = connect(lb.addr("web")).unwrap();
            stream.write_all(&[n]).unwrap();
            stream
        })
        .collect();
    eventually_eq(HANG, 10, || lb.status().backend("app").number("queue"));
    assert_eq!(upgrade(&lb, "0s"), 10);
    eventually_eq(HANG, 10, || lb.status().backend("app").number("queue"));
    origin.restart();
    for (n, stream) in (0..).zip(&mut held) {
        let mut byte = [255];
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [n]);
    }
}

#[test]
fn a_removed_frontend_and_a_removed_backend_keep_their_sessions() {
    let (origin, old) = (Origin::start(Behaviour::Echo), Origin::start(Behaviour::Echo));
    let config = Config::new().origins([&origin]);
    let lb = Lb::start(&config.clone().table(&also("old", &old)));
    let sessions = PingPong::start(lb.addr("old"), 5);
    lb.write_config(&config.text());
    upgrade(&lb, "0s");
    sessions.run_for(200);
    upgrade(&lb, "0s");
    sessions.run_for(200);
    sessions.finish().assert_unharmed();
}

#[test]
fn the_number_of_workers_may_change_with_an_upgrade() {
    let origin = Origin::start(Behaviour::Echo);
    let config = Config::new().origins([&origin]);
    let lb = Lb::start(&config);
    let sessions = PingPong::start(lb.addr("web"), 20);
    for threads in [4, 1, 2] {
        lb.write_config(&config.text().replace("threads = 2", &format!("threads = {threads}")));
        upgrade(&lb, "0s");
        assert_eq!(lb.status().number("threads"), threads);
        // Connections of every listener of the group are served, whichever worker polls it.
        for _ in 0..64 {
            echo_once(lb.addr("web"), b"anyone there?");
        }
        sessions.run_for(200);
    }
    sessions.finish().assert_unharmed();
}

/// One client after the other, each with megabytes both ways, until stopped. Returns the number of verified bytes.
fn bulk_until(addr: std::net::SocketAddr, lane: u64, stop: &AtomicBool) -> impl FnOnce() -> u64 + Send {
    static SEED: AtomicU64 = AtomicU64::new(1 << 32);
    move || {
        let mut bytes = 0;
        while !stop.load(Ordering::Relaxed) {
            let plan = Plan::new(SEED.fetch_add(1, Ordering::Relaxed), 3_000_000 + lane, 4_000_000 - lane);
            let outcome = Client::run(addr, plan);
            assert!(outcome.is_whole(plan.down), "{plan:?}: {outcome:?}");
            bytes += plan.up + plan.down;
        }
        bytes
    }
}

fn wait_for(flag: &AtomicBool) {
    eventually(Duration::from_secs(600), "the end", || flag.load(Ordering::Relaxed).then_some(()));
}

fn echo_once(addr: std::net::SocketAddr, message: &[u8]) {
    let mut stream = connect(addr).unwrap();
    stream.write_all(message).unwrap();
    let mut back = vec![0; message.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, message);
}

/// A further frontend and backend of that name.
fn also(name: &str, origin: &Origin) -> String {
    format!(
        "[frontend.{name}]\nbind = [\"127.0.0.1:0\"]\nbackend = \"{name}\"\n\
         [backend.{name}]\n[backend.{name}.servers]\na = \"{}\"\n",
        origin.server()
    )
}

/// An upgrade after which no session is left behind. Returns the number of moved ones.
#[track_caller]
fn upgrade(lb: &Lb, probation: &str) -> u64 {
    let output = lb.command(&["upgrade", "--probation", probation]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{report}{}", String::from_utf8_lossy(&output.stderr));
    // "upgraded in 0.4 s: engine 15851 serves, 200 sessions moved, 0 left to drain"
    let before = report.split(" session").next().unwrap();
    let moved = before.rsplit(' ').next().unwrap();
    moved.parse().unwrap_or_else(|_| panic!("no number of sessions in {report}"))
}
