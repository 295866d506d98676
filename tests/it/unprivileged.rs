//! As an unprivileged user: pipes (`fs.pipe-user-pages-soft`) and descriptors are limited, and no session may fail for
//! it.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::limits::{alone, raise_descriptors};
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Outcome;
use crate::support::plan::{Pace, Plan};
use crate::support::proc;
use crate::support::wait::settled;
use std::sync::Barrier;
use std::time::Duration;

#[test]
fn more_busy_sessions_than_pipes_lose_no_byte() {
    let _alone = alone();
    raise_descriptors();
    let origin = Origin::start(Behaviour::Planned);
    let lb = Lb::options().config(&Config::new().origins([&origin])).uid(NOBODY).start();
    let addr = lb.addr("web");
    let size = 3_000_000;
    // All stall at once with data in flight, which is when pipes are held.
    let (stalled, go) = (Barrier::new(SESSIONS + 1), Barrier::new(SESSIONS + 1));
    let run = &|seed| {
        let plan = Plan { pace: Pace::ClientStalls, down_chunk: 128 * 1024, ..Plan::new(seed, 100, size) };
        Client::connect(addr, plan).unwrap().finish(|| {
            stalled.wait();
            go.wait();
        })
    };
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..SESSIONS as u64).map(|seed| scope.spawn(move || run(seed))).collect();
        stalled.wait();
        let bytes = || lb.status().frontend("web").number("bytes_out");
        settled(crate::support::client::HANG, Duration::from_millis(500), bytes);
        figure(
            &format!("ends of pipes held by {SESSIONS} stalled sessions of an ordinary user"),
            proc::pipes(lb.pid()),
        );
        go.wait();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for (seed, outcome) in outcomes.iter().enumerate() {
        assert!(outcome.is_whole(size), "{seed}: {outcome:?}");
        assert!(origin.outcome(seed as u64).is_whole(100));
    }
}

const SESSIONS: usize = 600;
const NOBODY: u32 = 65_534;
