//! Host names of servers while the engine runs: what is found is applied, and other processes are given what is known.

use std::collections::BTreeSet;

use crate::engine::Engine;
use crate::engine::pools::PoolsNews;

/// Takes found servers or found addresses in.
pub(super) fn take(engine: &mut Engine, news: &PoolsNews) {
    match news {
        PoolsNews::Discovered(backends) => apply_discovered(engine, backends),
        PoolsNews::Names => {
            if engine.pools.learn(&engine.config) {
                report(engine);
            }
        }
        PoolsNews::Tracked => engine.pools.follow_tracked(),
        PoolsNews::Interfaces => engine.pools.refresh(&engine.config, |_| false),
    }
}

/// Leaves the table with the supervisor, for the engine that replaces this one after a crash.
pub(super) fn report(engine: &mut Engine) {
    let parts = engine.pools.name_parts();
    if let Err(error) = engine.reports.names(parts) {
        tracing::debug!("{error}");
    }
}

/// Applies the servers found for these backends. Those whose host names are new come when these are found.
fn apply_discovered(engine: &mut Engine, backends: &BTreeSet<String>) {
    engine.pools.apply_discovered(&engine.config, backends);
    if engine.reloads.is_idle() {
        drop(engine.pools.follow_names(&engine.config, None));
    }
}
