//! Upgrades and takeovers of a daemon at its limits: every session moves, the limits hold for both engines together, and
//! what waits is served as places become free.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::limits::{alone, raise_descriptors};
use crate::support::origin::{Behaviour, Origin};
use crate::support::takeover::{TakeoverDir, assert_retires};
use crate::support::wait::{eventually, eventually_eq, observe, settled};
use crate::support::waiting::{Waiting, served};

#[test]
fn at_the_automatic_maxconn_all_sessions_move_and_the_waiting_are_served_as_places_become_free() {
    let _alone = alone();
    raise_descriptors();
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::options().config(&unchecked().origins([&origin])).descriptors(1024).start();
    let mut crowd = Crowd::new(&lb, 50);
    for _ in 0..2 {
        assert_eq!(crowd.largest_while(&origin, || upgrade(&lb, "2s")), crowd.limit, "sessions of both engines");
        crowd.assert_at_limit(&lb);
    }
    crowd.leave();
}

#[test]
fn a_full_daemon_is_taken_over_whole() {
    let _alone = alone();
    raise_descriptors();
    let origin = Origin::start(Behaviour::Echo);
    let dir = TakeoverDir::new(&unchecked().bind(r#"["127.0.0.1:0"]"#).origins([&origin]));
    let mut old = dir.options().descriptors(512).start();
    let mut crowd = Crowd::new(&old, 50);
    let mut new = None;
    let largest = crowd.largest_while(&origin, || new = Some(dir.options().descriptors(512).start()));
    let new = new.unwrap();
    assert_eq!(largest, crowd.limit, "sessions of both engines");
    assert!(new.stderr().contains(" 0 left to drain"), "{}", new.stderr());
    assert_retires(&mut old);
    crowd.assert_at_limit(&new);
    crowd.leave();
}

#[test]
fn limits_of_the_process_and_of_a_frontend_hold_through_an_upgrade() {
    let ways: [fn(Config, &str) -> Config; 2] = [Config::global, Config::frontend];
    for limited in ways {
        let origin = Origin::start(Behaviour::Echo);
        let config = |limit| limited(unchecked().origins([&origin]), limit);
        let lb = Lb::start(&config("maxconn = 10"));
        let mut crowd = Crowd::new(&lb, 15);
        assert_eq!(crowd.largest_while(&origin, || upgrade(&lb, "300ms")), 10);
        crowd.assert_at_limit(&lb);
        // A smaller one is kept as soon as sessions have left.
        lb.write_config(&config("maxconn = 6").text());
        assert_eq!(crowd.largest_while(&origin, || upgrade(&lb, "300ms")), 10);
        crowd.assert_at_limit(&lb);
        crowd.limit = 6;
        let kept = crowd.clients.split_off(10);
        crowd.clients.truncate(7);
        assert_eq!(settled(HANG, Duration::from_millis(200), || origin.open()), 7);
        crowd.clients.remove(0);
        crowd.clients.extend(kept);
        assert_eq!(settled(HANG, Duration::from_millis(200), || origin.open()), 6);
        crowd.leave();
    }
}

#[test]
fn a_servers_limit_holds_through_an_upgrade_and_its_queue_moves() {
    let origin = Origin::start(Behaviour::Echo);
    let config = unchecked().backend(r#"timeout = { queue = "60s" }"#);
    let lb = Lb::start(&config.server_with("a", origin.server(), "maxconn = 10"));
    let mut crowd = Crowd::new_at(10, &lb, 15);
    eventually_eq(HANG, 15, || lb.status().backend("app").number("queue"));
    let addr = lb.addr("web");
    let mut late = Vec::new();
    let largest = crowd.largest_while(&origin, || {
        // Some come while the new engine serves beside the old one.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                eventually(HANG, "probation", || lb.stderr().contains("parked").then_some(()));
                late = Waiting::queue(addr, 5);
            });
            upgrade(&lb, "1s");
        });
    });
    assert_eq!(largest, 10, "sessions of both engines on the server");
    crowd.clients.extend(late);
    crowd.assert_at_limit(&lb);
    eventually_eq(HANG, 20, || lb.status().backend("app").number("queue"));
    crowd.leave();
}

#[test]
fn places_that_become_free_in_the_old_engine_serve_clients_of_the_new_one() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&unchecked().frontend("maxconn = 10").origins([&origin]));
    let mut crowd = Crowd::new(&lb, 10);
    std::thread::scope(|scope| {
        let upgrading = scope.spawn(|| upgrade(&lb, "5s"));
        eventually(HANG, "probation", || lb.stderr().contains("parked").then_some(()));
        let leaving: Vec<_> = crowd.clients.drain(..5).collect();
        drop(leaving);
        // Long before the sessions move.
        eventually_eq(HANG, 10, || served(&mut crowd.clients));
        assert!(!upgrading.is_finished());
        upgrading.join().unwrap();
    });
    crowd.assert_at_limit(&lb);
    crowd.leave();
}

/// Without checks, whose connections the origin would count among the sessions.
fn unchecked() -> Config {
    Config::bare().backend("check = false\nobserve = \"none\"")
}

/// Clients of a balancer that is full, in front of an echo: as many as it may serve, and more that wait.
struct Crowd {
    limit: usize,
    clients: Vec<Waiting>,
}

impl Crowd {
    fn new(lb: &Lb, more: usize) -> Self {
        let limit = lb.status().frontend("web").number("maxconn");
        Self::new_at(usize::try_from(limit).unwrap(), lb, more)
    }

    fn new_at(limit: usize, lb: &Lb, more: usize) -> Self {
        let addr = lb.addr("web");
        let mut clients = Waiting::queue(addr, limit);
        eventually_eq(HANG, limit, || served(&mut clients));
        let mut waiting = Waiting::queue(addr, more);
        observe(Duration::from_millis(100));
        assert_eq!(served(&mut waiting), 0);
        clients.extend(waiting);
        Self { limit, clients }
    }

    /// The most connections that the origin has at once while `work` runs.
    fn largest_while(&self, origin: &Origin, work: impl FnOnce()) -> usize {
        let (largest, over) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    largest.fetch_max(origin.open(), Ordering::Relaxed);
                    observe(Duration::from_millis(1));
                }
            });
            work();
            over.store(true, Ordering::Relaxed);
        });
        usize::try_from(largest.into_inner()).unwrap()
    }

    fn assert_at_limit(&mut self, lb: &Lb) {
        assert_eq!(settled(HANG, Duration::from_millis(200), || served(&mut self.clients)), self.limit);
        self.clients.iter_mut().filter(|client| client.was_served()).for_each(Waiting::ping);
        let status = lb.status();
        assert_eq!(status.backend("app").number("sessions") as usize, self.limit);
    }

    /// The served clients leave, until all were served.
    fn leave(mut self) {
        while !self.clients.is_empty() {
            eventually_eq(HANG, self.clients.len().min(self.limit), || served(&mut self.clients));
            self.clients.iter_mut().filter(|client| client.was_served()).for_each(Waiting::ping);
            self.clients.retain(|client| !client.was_served());
        }
    }
}

/// Upgrades; every session must move.
#[track_caller]
fn upgrade(lb: &Lb, probation: &str) {
    let said = lb.command_ok(&["upgrade", "--probation", probation]);
    assert!(said.contains(" 0 left to drain"), "{said}");
}
