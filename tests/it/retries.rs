//! Where a session goes whose server refuses it.

use std::io::Read;
use std::time::Duration;

use crate::support::client::{HANG, connect};
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::port::Port;
use crate::support::wait::{eventually, eventually_eq};
use crate::support::waiting::{Waiting, served};

#[test]
fn the_session_that_takes_a_server_down_is_served_by_the_other_one_at_once() {
    let (dead, alive) = (Port::reserve(), Origin::named("alive"));
    // Whether the server is DOWN before the session looks for another one is a race: many tries.
    let algorithms = ["roundrobin", "leastconn", "random", "source", "first"].repeat(5);
    let tables = algorithms.iter().enumerate().map(|(number, balance)| {
        format!(
            "[frontend.f{number}]\nbind = [\"127.0.0.1:0\"]\nbackend = \"b{number}\"\n\
             [backend.b{number}]\nbalance = \"{balance}\"\ncheck = {{ inter = \"1h\" }}\n\
             [backend.b{number}.servers]\ndead = \"{}\"\nalive = \"{}\"\n",
            dead.addr(),
            alive.server()
        )
    });
    let config = tables.fold(Config::new().origins([&alive]), |config, table| config.table(&table));
    let lb = Lb::start(&config);
    let status = lb.status();
    for (number, balance) in algorithms.iter().enumerate() {
        let addr = status.bound(&format!("f{number}"))[0];
        // In turn they meet each server; a hash or a draw may not meet the dead one.
        for _ in 0..2 {
            let watch = Stopwatch::start();
            let mut greeting = [0; 5];
            connect(addr).unwrap().read_exact(&mut greeting).unwrap();
            assert_eq!(&greeting, b"alive");
            // Not the turn-around of a second.
            assert!(watch.elapsed() < Duration::from_millis(800), "{balance}: {watch:?}");
        }
    }
    let lines = || lb.stdout().lines().map(str::to_owned).collect::<Vec<_>>();
    eventually_eq(HANG, 2 * algorithms.len(), || lines().len());
    let retried = |line: &&String| line.contains("/1 0/0") || line.contains("/+1 0/0");
    let lines = lines();
    let retried: Vec<&String> = lines.iter().filter(retried).collect();
    assert!(retried.len() >= 10 && retried.iter().all(|line| line.contains("/+1 0/0")), "{retried:#?}");
}

#[test]
fn a_session_refused_by_one_server_waits_for_a_place_on_the_other() {
    let (dead, alive) = (Port::reserve(), Origin::start(Behaviour::Echo));
    // Its checks are too rare to tell, and what traffic finds is not to take it DOWN.
    let config = Config::bare()
        .backend("observe = \"none\"\nretries = 1\ncheck = { inter = \"1h\" }\ntimeout = { queue = \"20s\" }")
        .server_with("alive", alive.server(), "maxconn = 1")
        .server("dead", dead.addr());
    let lb = Lb::start(&config);
    let mut first = Waiting::new(lb.addr("web"), 1);
    eventually(HANG, "the first is served", || first.is_served().then_some(()));
    let mut others = Waiting::queue(lb.addr("web"), 3);
    eventually_eq(HANG, 3, || lb.status().backend("app").number("queue"));
    drop(first);
    while !others.is_empty() {
        eventually_eq(HANG, 1, || served(&mut others));
        others.retain(|client| !client.was_served());
    }
}
