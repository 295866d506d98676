//! A dead server costs live traffic next to nothing, and is not trusted again before it has proved itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use crate::support::ab::Ab;
use crate::support::client::{HANG, greeting};
use crate::support::config::{Config, WORKERS};
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::limits::alone;
use crate::support::machine::Stopwatch;
use crate::support::netns::Netns;
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::{eventually, eventually_eq, observe};

#[test]
fn a_closed_port_costs_no_client_anything() {
    let _alone = alone();
    let mut dead = Origin::stopped(Behaviour::Http(100));
    let alive = [Origin::start(Behaviour::Http(100)), Origin::start(Behaviour::Http(100))];
    // Checks so slow that only live traffic can detect it.
    let config = Config::bare()
        .backend(r#"check = { inter = "1s", fastinter = "200ms", downinter = "200ms", rise = 3, fall = 3 }"#)
        .origins([&dead, &alive[0], &alive[1]]);
    let lb = Lb::start(&config);
    Ab::run(lb.addr("web"), 5000, 16, &[]).assert_flawless();
    let server = lb.status().server("app/a");
    figure("sessions that met a closed port before it was out", server.number("connect_errors"));
    assert!(server.number("connect_errors") <= 16, "each client met it more than once");
    eventually_eq(HANG, "DOWN".to_owned(), || lb.status().server("app/a").text("status"));
    let before = (server.number("sessions_total"), dead.requests());
    dead.restart();
    eventually_eq(HANG, "UP".to_owned(), || lb.status().server("app/a").text("status"));
    // The newest first; a check of a port does not show at the server.
    let checks = lb.status().server("app/a").checks();
    let passed = checks.iter().take_while(|(passed, ..)| *passed).count();
    assert!(passed >= 3, "UP after {passed} checks, rise is 3: {checks:?}");
    assert_eq!(dead.requests(), before.1, "no session before it was UP");
    Ab::run(lb.addr("web"), 300, 4, &[]).assert_flawless();
    eventually(HANG, "sessions for the returned server", || {
        (lb.status().server("app/a").number("sessions_total") > before.0).then_some(())
    });
}

#[test]
fn a_machine_that_vanished_slows_at_most_one_session_a_worker() {
    let _alone = alone();
    let netns = Netns::new();
    let far = Origin::start_in(&netns, Behaviour::SpeakFirst(b"far".to_vec()));
    let near = [1, 2].map(|_| Origin::start(Behaviour::SpeakFirst(b"near".to_vec())));
    let config = Config::bare()
        .backend(
            r#"check = { inter = "2s", fastinter = "300ms", downinter = "300ms", rise = 2, fall = 3, timeout = "1s" }"#,
        )
        .backend(r#"timeout = { connect = "1s" }"#)
        .origins([&far, &near[0], &near[1]]);
    let lb = Lb::start(&config);
    let addr = lb.addr("web");
    let went_far = || (0..3).filter(|_| greeting(addr).unwrap() == "far").count();
    eventually(HANG, "every server in turn", || (went_far() == 1).then_some(()));

    let (slow, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let done = AtomicBool::new(false);
    let gate = RwLock::new(());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let in_flight = gate.read().unwrap();
                    let watch = Stopwatch::start();
                    if let Err(error) = greeting(addr) {
                        failed.lock().unwrap().push(error);
                    }
                    let took = watch.elapsed();
                    if took > Duration::from_millis(500) {
                        slow.lock().unwrap().push(took);
                    }
                    drop(in_flight);
                    // The rate of a small site, spread over the clients.
                    observe(Duration::from_millis(5));
                }
            });
        }
        observe(Duration::from_millis(200));
        {
            // A session that is open when the machine vanishes is lost with it; none is.
            let _quiet = gate.write().unwrap();
            netns.black_hole();
        }
        eventually_eq(HANG, "DOWN".to_owned(), || lb.status().server("app/a").text("status"));
        observe(Duration::from_secs(2));
        done.store(true, Ordering::Relaxed);
    });
    let (slow, failed) = (slow.into_inner().unwrap(), failed.into_inner().unwrap());
    figure("sessions slowed by a machine that vanished", format!("{} (workers: {WORKERS}) {slow:?}", slow.len()));
    assert!(failed.is_empty(), "{failed:?}");
    assert!(slow.len() as u64 <= WORKERS, "{slow:?}");

    let before = lb.status().server("app/a").number("sessions_total");
    netns.heal();
    eventually_eq(HANG, "UP".to_owned(), || lb.status().server("app/a").text("status"));
    assert_eq!(lb.status().server("app/a").number("sessions_total"), before);
    eventually(HANG, "sessions for the returned machine", || (went_far() > 0).then_some(()));
}
