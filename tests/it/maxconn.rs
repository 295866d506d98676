//! At a limit accepting stops; no client is refused, and waiting ones are served as others leave.

use std::time::Duration;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::{eventually_eq, settled};
use crate::support::waiting::{Waiting, served};

#[test]
fn beyond_a_frontends_maxconn_connections_wait_in_the_kernel() {
    let (origin, lb) = ten_of_twenty_five(|config| config.frontend("maxconn = 10"));
    assert_eq!((origin.open(), lb.status().frontend("web").number("sessions")), (0, 0));
}

#[test]
fn beyond_the_global_maxconn_connections_wait_in_the_kernel() {
    ten_of_twenty_five(|config| config.global("maxconn = 10"));
}

#[test]
fn beyond_a_servers_maxconn_sessions_wait_in_the_queue() {
    let origin = Origin::start(Behaviour::Echo);
    let config =
        Config::new().backend(r#"timeout = { queue = "20s" }"#).server_with("a", origin.server(), "maxconn = 10");
    let lb = Lb::start(&config);
    let mut clients = Waiting::queue(lb.addr("web"), 25);
    eventually_eq(HANG, (10, 15), || {
        let status = lb.status();
        (status.server("app/a").number("sessions"), status.backend("app").number("queue"))
    });
    assert_eq!(served(&mut clients), 10);
    leave_in_tens(clients);
}

#[test]
fn a_maxconn_raised_by_reload_lets_the_waiting_in() {
    let origin = Origin::start(Behaviour::Echo);
    let config = |limit: u32| Config::new().frontend(&format!("maxconn = {limit}")).origins([&origin]);
    let lb = Lb::start(&config(5));
    let mut clients = Waiting::queue(lb.addr("web"), 20);
    assert_eq!(settled(HANG, Duration::from_millis(200), || served(&mut clients)), 5);
    lb.reload(&config(15));
    eventually_eq(HANG, 15, || served(&mut clients));
}

fn ten_of_twenty_five(limited: impl FnOnce(Config) -> Config) -> (Origin, Lb) {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&limited(Config::new().origins([&origin])));
    let mut clients = Waiting::queue(lb.addr("web"), 25);
    assert_eq!(settled(HANG, Duration::from_millis(200), || served(&mut clients)), 10);
    assert_eq!(lb.status().frontend("web").number("sessions"), 10);
    leave_in_tens(clients);
    eventually_eq(HANG, 0, || lb.status().frontend("web").number("sessions"));
    (origin, lb)
}

/// The served clients leave, and the next ten are served.
fn leave_in_tens(mut clients: Vec<Waiting>) {
    while !clients.is_empty() {
        eventually_eq(HANG, clients.len().min(10), || served(&mut clients));
        clients.iter_mut().filter(|client| client.was_served()).for_each(Waiting::ping);
        clients.retain(|client| !client.was_served());
    }
}
