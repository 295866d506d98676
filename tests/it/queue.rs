//! Sessions without a usable server wait instead of being refused, in order and for a limited time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use crate::support::ab::Ab;
use crate::support::client::{HANG, connect, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::limits::alone;
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::wait::{eventually_eq, observe};
use crate::support::waiting::{Waiting, served};

#[test]
fn with_no_server_usable_sessions_wait_until_one_is() {
    let (mut origin, lb) = down(r#"timeout = { queue = "20s" }"#);
    let mut clients = Waiting::queue(lb.addr("web"), 20);
    eventually_eq(HANG, 20, || lb.status().backend("app").number("queue"));
    assert_eq!(served(&mut clients), 0);
    origin.restart();
    eventually_eq(HANG, 20, || served(&mut clients));
    assert_eq!(lb.status().backend("app").number("queue"), 0);
}

#[test]
fn a_server_added_by_reload_serves_waiting_sessions() {
    let (_origin, lb) = down(r#"timeout = { queue = "20s" }"#);
    let mut clients = Waiting::queue(lb.addr("web"), 5);
    eventually_eq(HANG, 5, || lb.status().backend("app").number("queue"));
    let other = Origin::start(Behaviour::Echo);
    lb.reload(&Config::new().backend(r#"timeout = { queue = "20s" }"#).server("b", other.server()));
    eventually_eq(HANG, 5, || served(&mut clients));
}

#[test]
fn waiting_ends_at_the_queues_timeout() {
    let (_origin, lb) = down(r#"timeout = { queue = "500ms" }"#);
    let watch = Stopwatch::start();
    let client = connect(lb.addr("web")).unwrap();
    let (bytes, _) = read_to_end(&client);
    assert!(bytes.is_empty());
    assert!(
        watch.by_the_clock() >= Duration::from_millis(490) && watch.elapsed() < Duration::from_secs(2),
        "{watch:?}"
    );
    eventually_eq(HANG, 0, || lb.status().backend("app").number("queue"));
}

#[test]
fn the_queue_is_bounded_and_served_in_order() {
    let (mut origin, lb) = down("maxqueue = 3\ntimeout = { queue = \"20s\" }");
    let mut waiting = Vec::new();
    for index in 1..=3 {
        waiting.push(Waiting::new(lb.addr("web"), index));
        eventually_eq(HANG, u64::from(index), || lb.status().backend("app").number("queue"));
    }
    let client = connect(lb.addr("web")).unwrap();
    let watch = Stopwatch::start();
    assert!(read_to_end(&client).0.is_empty());
    assert!(watch.elapsed() < Duration::from_secs(2), "the fourth is turned away at once");
    origin.restart();
    eventually_eq(HANG, 3, || served(&mut waiting));
}

#[test]
fn one_at_a_time_they_are_served_first_come_first_served() {
    let origin = Origin::start(Behaviour::Echo);
    let config =
        Config::new().backend(r#"timeout = { queue = "20s" }"#).server_with("a", origin.server(), "maxconn = 1");
    let lb = Lb::start(&config);
    let mut clients = vec![Waiting::new(lb.addr("web"), 0)];
    eventually_eq(HANG, 1, || served(&mut clients));
    for index in 1..8 {
        clients.push(Waiting::new(lb.addr("web"), index));
        eventually_eq(HANG, u64::from(index), || lb.status().backend("app").number("queue"));
    }
    while !clients.is_empty() {
        assert!(clients[0].is_served());
        drop(clients.remove(0));
        eventually_eq(HANG, clients.len().min(1), || served(&mut clients));
    }
}

#[test]
fn a_client_that_gives_up_leaves_the_queue() {
    let (mut origin, lb) = down(r#"timeout = { queue = "20s" }"#);
    let mut clients = Waiting::queue(lb.addr("web"), 6);
    eventually_eq(HANG, 6, || lb.status().backend("app").number("queue"));
    clients.drain(2..).for_each(Waiting::give_up);
    eventually_eq(HANG, 2, || lb.status().backend("app").number("queue"));
    origin.restart();
    eventually_eq(HANG, 2, || served(&mut clients));
}

#[test]
fn a_server_in_a_restart_of_a_second_fails_no_request() {
    let _alone = alone();
    let mut origin = Origin::start(Behaviour::Http(100));
    let config = Config::new().backend("replay = \"16k\"\ntimeout = { queue = \"10s\" }").origins([&origin]);
    let lb = Lb::start(&config);
    let mut ab = Ab::start(lb.addr("web"), 30_000, 16, &[]);
    let mut restarts = 0;
    while ab.is_running() {
        let served = origin.requests();
        eventually_eq(HANG, true, || origin.requests() > served + 500 || !ab.is_running());
        origin.stop();
        observe(Duration::from_millis(300));
        origin.restart();
        restarts += 1;
    }
    ab.finish().assert_flawless();
    assert!(restarts > 1);
}

#[test]
fn a_session_dialled_while_its_server_restarts_goes_to_it_once_it_listens() {
    // The port is bound but does not listen yet: the connection is refused, then accepted within `retries`.
    let mut origin = Origin::stopped(Behaviour::SpeakFirst(b"here".to_vec()));
    let lb = Lb::start(&Config::new().backend(r#"timeout = { queue = "20s" }"#).origins([&origin]));
    let addr = lb.addr("web");
    // It has not closed its half: a client that did, in silence, would not be waited for.
    let client = std::thread::spawn(move || {
        let mut greeting = [0; 4];
        connect(addr)?.read_exact(&mut greeting)?;
        std::io::Result::Ok(greeting)
    });
    eventually_eq(HANG, true, || {
        lb.status().server("app/a").number("connect_errors") > 0 || lb.status().backend("app").number("queue") > 0
    });
    origin.restart();
    assert_eq!(&client.join().unwrap().unwrap(), b"here");
}

#[test]
fn a_client_that_closes_in_the_queue_reaches_no_server_unless_it_waits_for_an_answer() {
    let [ours, theirs] = [(); 2].map(|()| Origin::start(Behaviour::Echo));
    let config = Config::bare().backend("timeout = { queue = \"20s\" }").backend("check = false");
    let lb = Lb::start(&config.server_with("a", ours.server(), "maxconn = 1"));
    let haproxy = Haproxy::balance(&[theirs.addr()], "default-server maxconn 1\n timeout queue 20s");
    // Its start was a session, too.
    let before = 1;
    eventually_eq(HANG, before, || haproxy.stat("s0", "stot"));
    closing_clients(lb.addr("web"), || lb.status().backend("app").number("queue"));
    closing_clients(haproxy.addr(), || haproxy.stat("BACKEND", "qcur"));
    let served = lb.status().server("app/a").number("sessions_total");
    assert_eq!((served, haproxy.stat("s0", "stot") - before), (3, 3));
    eventually_eq(HANG, 5, || lb.stdout().lines().count());
    assert_eq!(lb.stdout().matches(" CQ ").count(), 2, "{}", lb.stdout());
}

/// While a session has the only place: one client closes in silence, one resets, one closes after a word, and one closes
/// its half after a word and gets it back.
fn closing_clients(addr: SocketAddr, queue: impl Fn() -> u64) {
    let mut first = Waiting::new(addr, 1);
    eventually_eq(HANG, true, || first.is_served());
    let silent = connect(addr).unwrap();
    eventually_eq(HANG, 1, &queue);
    drop(silent);
    eventually_eq(HANG, 0, &queue);
    let reset = Waiting::new(addr, 2);
    eventually_eq(HANG, 1, &queue);
    reset.give_up();
    eventually_eq(HANG, 0, &queue);
    let closed = Waiting::new(addr, 3);
    eventually_eq(HANG, 1, &queue);
    drop(closed);
    let mut half = connect(addr).unwrap();
    eventually_eq(HANG, 2, &queue);
    half.write_all(b"word").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    // Long enough for the FINs to be seen.
    observe(Duration::from_millis(100));
    assert_eq!(queue(), 2);
    drop(first);
    assert_eq!(read_to_end(&half), (b"word".to_vec(), Ending::Fin));
}

#[test]
fn a_client_that_closes_in_silence_does_not_wait_for_a_dead_server() {
    let (mut origin, lb) = down(r#"timeout = { queue = "20s" }"#);
    let clients: Vec<_> = (0..3).map(|_| connect(lb.addr("web")).unwrap()).collect();
    eventually_eq(HANG, 3, || lb.status().backend("app").number("queue"));
    drop(clients);
    eventually_eq(HANG, 0, || lb.status().backend("app").number("queue"));
    origin.restart();
    eventually_eq(HANG, "UP".to_owned(), || lb.status().server("app/a").text("status"));
    assert_eq!(lb.status().server("app/a").number("sessions_total"), 0);
    assert_eq!(lb.stdout().matches(" CQ ").count(), 3, "{}", lb.stdout());
}

/// A balancer whose only server, an echo, is DOWN.
fn down(options: &str) -> (Origin, Lb) {
    let origin = Origin::stopped(Behaviour::Echo);
    let lb = Lb::start(&Config::new().backend(options).origins([&origin]));
    eventually_eq(HANG, "DOWN".to_owned(), || lb.status().server("app/a").text("status"));
    (origin, lb)
}
