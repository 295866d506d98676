//! When descriptors run out, established sessions continue and new ones wait.

use std::process::Command;
use std::time::Duration;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::limits::{alone, raise_descriptors};
use crate::support::origin::{Behaviour, Origin};
use crate::support::proc;
use crate::support::process::run;
use crate::support::wait::{eventually, observe, settled};
use crate::support::waiting::{Waiting, served};

#[test]
fn when_accept_fails_it_pauses_and_resumes_later() {
    let _alone = alone();
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let addr = lb.addr("web");
    let mut established = Waiting::queue(addr, 5);
    eventually(HANG, "sessions", || (served(&mut established) == 5).then_some(()));
    // Fewer than are open already: every new descriptor fails, first of all that of accept(2).
    limit_descriptors(&lb, "20:");
    let mut waiting = Waiting::queue(addr, 20);
    lb.assert_at_rest("accept fails", Duration::from_secs(2));
    assert_eq!(served(&mut waiting), 0);
    established.iter_mut().for_each(Waiting::ping);
    limit_descriptors(&lb, "4096:");
    eventually(HANG, "all waiting clients served", || (served(&mut waiting) == 20).then_some(()));
    established.iter_mut().for_each(Waiting::ping);
}

#[test]
fn a_session_without_a_descriptor_for_its_server_waits_for_one() {
    let _alone = alone();
    // Trying one server after the other would use up the attempts at once.
    let origins = [0, 1, 2].map(|_| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::bare().backend("check = false").origins(&origins));
    let addr = lb.addr("web");
    let mut established = Waiting::queue(addr, 5);
    eventually(HANG, "sessions", || (served(&mut established) == 5).then_some(()));
    // One more, which the client takes.
    limit_descriptors(&lb, &format!("{}:", proc::free_descriptor(lb.engine()) + 1));
    let mut held = Waiting::new(addr, 1);
    eventually(HANG, "the error message", || lb.stderr().contains("cannot connect").then_some(()));
    observe(Duration::from_millis(300));
    assert!(!held.is_served());
    limit_descriptors(&lb, "4096:");
    eventually(HANG, "service after the wait", || held.is_served().then_some(()));
    established.iter_mut().for_each(Waiting::ping);
}

/// Sets the soft limit of the running processes.
fn limit_descriptors(lb: &Lb, limit: &str) {
    for pid in proc::tree(lb.pid()) {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid.to_string(), &format!("--nofile={limit}")]);
        assert!(run(&command, HANG).status.success());
    }
}

#[test]
fn with_256_descriptors_no_client_is_refused_and_nothing_spins() {
    let _alone = alone();
    raise_descriptors();
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::options().config(&Config::new().origins([&origin])).descriptors(256).start();
    let addr = lb.addr("web");
    let mut clients = Waiting::queue(addr, 128 + 200);
    let count = settled(HANG, Duration::from_millis(500), || served(&mut clients));
    assert!(count >= 50 && count < clients.len(), "{count} of {} served at once", clients.len());

    lb.assert_at_rest(&format!("clients wait for descriptors beside {count} sessions"), Duration::from_secs(2));
    // Commands are answered and checks continue from the reserve.
    assert_eq!(lb.status().server("app/a").text("status"), "UP");
    let (mut established, mut waiting): (Vec<_>, Vec<_>) = clients.into_iter().partition(Waiting::was_served);
    established.iter_mut().for_each(Waiting::ping);

    // As sessions end, others are served, until all were.
    drop(established);
    while !waiting.is_empty() {
        eventually(HANG, "another client served", || (served(&mut waiting) > 0).then_some(()));
        let (mut now, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(Waiting::was_served);
        now.iter_mut().for_each(Waiting::ping);
        waiting = still;
    }
}
