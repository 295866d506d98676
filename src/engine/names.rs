//! Host names of servers while the engine runs: looked up again from time to time, and when new ones are found.

use std::collections::BTreeSet;

use tokio::time::sleep;

use crate::control::resolver::{FOLLOW, Lookup, Lookups};
use crate::engine::Engine;
use crate::engine::inputs::{Jobs, LoopEvent};

/// Waits until names are due to be looked up again.
pub(super) fn wait(jobs: &mut Jobs) {
    // Jitter keeps load balancers that were started together from asking together.
    let pause = FOLLOW.mul_f64(0.9 + fastrand::f64() / 5.0);
    jobs.start(async move {
        sleep(pause).await;
        LoopEvent::NamesDue
    });
}

/// Looks the names in use up again.
pub(super) fn look_up(engine: &mut Engine, jobs: &mut Jobs) {
    let names = engine.pools.names(&engine.config);
    if engine.reloads.is_idle() {
        engine.pools.keep_names(&names);
    }
    if names.is_empty() {
        return wait(jobs);
    }
    let lookups = Lookups::start(names).all();
    jobs.start_apart(async { LoopEvent::Names(lookups.await) }, None);
}

/// Takes the answers of [`look_up`] in.
pub(super) fn take(engine: &mut Engine, jobs: &mut Jobs, lookups: Vec<Lookup>) {
    learn(engine, lookups);
    wait(jobs);
}

/// Applies the servers found for these backends. Their host names must be looked up before they serve; nothing else
/// waits for that.
pub(super) fn apply_discovered(engine: &mut Engine, jobs: &mut Jobs, backends: &BTreeSet<String>) {
    engine.pools.apply_discovered(&engine.config, backends);
    let names = engine.pools.names(&engine.config);
    if engine.pools.begin_look_up(&names) {
        let lookups = Lookups::start(names).all();
        jobs.start_apart(async { LoopEvent::NewNames(lookups.await) }, None);
    }
}

/// Takes the answers for newly found names in.
pub(super) fn take_new(engine: &mut Engine, lookups: Vec<Lookup>) {
    learn(engine, lookups);
    engine.pools.end_look_up();
}

fn learn(engine: &mut Engine, lookups: Vec<Lookup>) {
    if engine.pools.learn(lookups) {
        engine.pools.refresh(&engine.config, |_| true);
    }
}
