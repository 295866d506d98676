//! When descriptors run out, what is established goes on and the others wait their turn.

use std::process::Command;
use std::time::Duration;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::limits::{alone, raise_descriptors};
use crate::support::origin::{Behaviour, Origin};
use crate::support::proc;
use crate::support::process::run;
use crate::support::wait::{eventually, observe, settled};
use crate::support::waiting::{Waiting, served};

#[test]
fn with_256_descriptors_nobody_is_refused_and_nothing_spins() {
    let _alone = alone();
    starve(|_| {});
}

#[test]
fn when_descriptors_are_taken_away_from_it_accepting_pauses() {
    let _alone = alone();
    // It may think of more than there are: accept(2) itself fails.
    starve(|lb| {
        for pid in proc::tree(lb.pid()) {
            let mut command = Command::new("prlimit");
            command.args(["--pid", &pid.to_string(), "--nofile=180:180"]);
            assert!(run(&command, HANG).status.success());
        }
    });
}

/// With 256 descriptors, of which `take_away` may take some.
fn starve(take_away: impl FnOnce(&Lb)) {
    raise_descriptors();
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::options()
        .config(&Config::new().origins([&origin]))
        .descriptors(256)
        .start();
    take_away(&lb);
    let addr = lb.addr("web");
    let mut clients = Waiting::queue(addr, 128 + 200);
    let count = settled(HANG, Duration::from_millis(500), || served(&mut clients));
    assert!(
        count >= 50 && count < clients.len(),
        "{count} of {} served at once",
        clients.len()
    );

    let before = lb.cpu();
    observe(Duration::from_secs(2));
    let spent = lb.cpu() - before;
    figure(
        "CPU in 2 s with clients waiting for descriptors",
        format!("{spent:?}, {count} sessions open"),
    );
    assert!(spent < Duration::from_millis(100), "it spins: {spent:?}");
    // Commands are answered and checks go on from the reserve.
    assert_eq!(lb.status().server("app/a").text("status"), "UP");
    let (mut established, mut waiting): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(Waiting::was_served);
    established.iter_mut().for_each(Waiting::ping);

    // As some leave, others are served, until all were.
    drop(established);
    while !waiting.is_empty() {
        eventually(HANG, "another client served", || {
            (served(&mut waiting) > 0).then_some(())
        });
        let (mut now, still): (Vec<_>, Vec<_>) = waiting.into_iter().partition(Waiting::was_served);
        now.iter_mut().for_each(Waiting::ping);
        waiting = still;
    }
}
